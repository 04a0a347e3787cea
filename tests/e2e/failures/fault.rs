//! Faults of the system below alfred, by a library that is preloaded into it: `tests/data/faults.c`.

use crate::support::Home;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may go wrong with processes that were prepared for it.
pub(super) struct Faults {
    library: PathBuf,
    control: PathBuf,
    store: PathBuf,
}

impl Faults {
    /// Compiles the library. The disk is the one with the store of this home.
    pub(super) fn below(home: &Home) -> Self {
        let library = home.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/faults.c");
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-shared", "-fPIC", "-o"]);
        let done = compile.arg(&library).arg(source).output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "cc: {told}");
        Self {
            library,
            control: home.path().join("fault"),
            store: home.path().join("store"),
        }
    }

    /// Has a process feel what goes wrong.
    pub(super) fn prepare(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAULT_FILE", &self.control)
            .env("FAULT_FOLDER", &self.store);
    }

    /// From now on, this goes wrong.
    pub(super) fn begin(&self, what: &str) {
        let new = self.control.with_extension("new");
        std::fs::write(&new, what).unwrap();
        std::fs::rename(new, &self.control).unwrap();
    }

    /// From now on, nothing does.
    pub(super) fn end(&self) {
        std::fs::remove_file(&self.control).unwrap();
    }
}

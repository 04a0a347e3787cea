//! Which units `alfred up` has started since the machine booted, so that `alfred down` stops those and no others.
//!
//! The file is in `/run`, so it is gone when the machine is. One line a unit.

use crate::failure::Failure;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The record, in a folder of its own.
#[derive(Clone, Debug)]
pub(super) struct Record {
    file: PathBuf,
}

impl Record {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self {
            file: folder.join("started"),
        }
    }

    /// The units in it; none where there is no file.
    pub(super) fn units(&self) -> Result<BTreeSet<String>, Failure> {
        match std::fs::read_to_string(&self.file) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(self.failure("read").because(error)),
        }
    }

    /// Adds these.
    pub(super) fn add(&self, units: &[String]) -> Result<(), Failure> {
        let mut all = self.units()?;
        all.extend(units.iter().cloned());
        self.write(&all)
    }

    /// Takes these out.
    pub(super) fn remove(&self, units: &[String]) -> Result<(), Failure> {
        let mut all = self.units()?;
        all.retain(|unit| !units.contains(unit));
        self.write(&all)
    }

    fn write(&self, units: &BTreeSet<String>) -> Result<(), Failure> {
        let lines: Vec<&str> = units.iter().map(String::as_str).collect();
        let text = lines.join("\n");
        let written = || {
            if let Some(folder) = self.file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            // Beside it first: half a record would leave units running for ever.
            let partial = self.file.with_extension("partial");
            std::fs::write(&partial, text)?;
            std::fs::rename(&partial, &self.file)
        };
        written().map_err(|error: std::io::Error| self.failure("write").because(error))
    }

    fn failure(&self, verb: &str) -> Failure {
        Failure::failed(format!(
            "cannot {verb} {}, where the started units are noted",
            self.file.display()
        ))
        .hint("run it with sudo, as the one that started them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_noted_and_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::in_folder(&folder.path().join("alfred-stack"));
        assert!(record.units().unwrap().is_empty());
        record.add(&["a".to_owned(), "b".to_owned()]).unwrap();
        record.add(&["b".to_owned(), "c".to_owned()]).unwrap();
        record.remove(&["a".to_owned()]).unwrap();
        assert_eq!(
            record.units().unwrap().into_iter().collect::<Vec<_>>(),
            ["b", "c"]
        );
    }
}

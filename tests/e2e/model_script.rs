//! `scripts/model`: what it leaves is the pinned model, and a second run mends what was damaged.

use alfred::embed::verify::{GraphOrigin, verify};
use std::path::{Path, PathBuf};
use std::process::Command;

fn run_script(folder: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/model");
    let output = Command::new(script).arg(folder).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

#[test]
fn makes_the_pinned_model_and_mends_a_damaged_copy() {
    let root = tempfile::tempdir().unwrap();
    let folder = run_script(root.path());
    assert_eq!(folder, root.path().join("all-MiniLM-L6-v2"));
    assert_eq!(verify(&folder).unwrap().graph, GraphOrigin::Pinned);

    let graph = folder.join("model.onnx");
    let written = || graph.metadata().unwrap().modified().unwrap();
    let before = written();
    run_script(root.path());
    assert_eq!(written(), before, "a sound copy is left alone");

    let mut bytes = std::fs::read(&graph).unwrap();
    bytes[1_000_000] ^= 1;
    std::fs::write(&graph, bytes).unwrap();
    verify(&folder).unwrap_err();
    run_script(root.path());
    assert_eq!(verify(&folder).unwrap().graph, GraphOrigin::Pinned);
}

//! Where the compose file is: installed, or in a checkout.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// Below the prefix of an installation, as `/usr`.
const INSTALLED: &str = "share/alfred/compose/compose.yaml";
/// Below a checkout.
const IN_CHECKOUT: &str = "packaging/compose/compose.yaml";
/// Folders above the program in which a checkout is looked for: `target/debug/deps` is the deepest.
const MAX_ABOVE: usize = 4;

/// The file that was `said`; else the one that belongs to `program`, as it was installed or built; else that of a
/// checkout in the current folder; else that of the packages.
///
/// # Errors
/// When there is none, or the one that was said is not there.
pub fn find(said: Option<&Path>, program: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(said) = said {
        return match std::path::absolute(said) {
            Ok(path) if path.is_file() => Ok(path),
            _ => Err(Failure::usage(format!(
                "--file {}: there is no such file",
                said.display()
            ))),
        };
    }
    let tried: Vec<PathBuf> = places(program).collect();
    let found = tried.iter().find(|path| path.is_file());
    found.cloned().ok_or_else(|| {
        let list: Vec<String> = tried
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Failure::failed("the compose file was not found")
            .because(format!("looked at {}", list.join(", ")))
            .hint("install the package, run alfred in its checkout, or name the file with --file")
    })
}

fn places(program: Option<&Path>) -> impl Iterator<Item = PathBuf> {
    let folder = program.and_then(Path::parent);
    let prefix = folder
        .filter(|folder| folder.ends_with("bin"))
        .and_then(Path::parent);
    let installed = prefix.map(|prefix| prefix.join(INSTALLED));
    let above = folder.map(|folder| folder.ancestors().take(MAX_ABOVE));
    let built = above
        .into_iter()
        .flatten()
        .map(|folder| folder.join(IN_CHECKOUT));
    installed
        .into_iter()
        .chain(built)
        .chain(std::path::absolute(IN_CHECKOUT))
        .chain([Path::new("/usr").join(INSTALLED)])
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str) -> PathBuf {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        path
    }

    #[test]
    fn the_file_that_belongs_to_the_program_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let installed = put(root, "usr/share/alfred/compose/compose.yaml");
        let program = root.join("usr/bin/alfred");
        assert_eq!(find(None, Some(&program)).unwrap(), installed);
        let built = put(root, "checkout/packaging/compose/compose.yaml");
        let program = root.join("checkout/target/debug/alfred");
        assert_eq!(find(None, Some(&program)).unwrap(), built);
        assert_eq!(find(Some(&installed), Some(&program)).unwrap(), installed);
        let missing = find(Some(&root.join("no.yaml")), None).unwrap_err();
        assert_eq!(missing.kind().exit_code(), 2);
    }
}

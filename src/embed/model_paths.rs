//! Where models are looked for, and where a pulled one goes.

use super::EmbedError;
use super::model_folder::{ABOUT_FILE, check_name};
use std::path::{Path, PathBuf};

/// The folders that hold model folders. Resolved by the configuration, which alone reads the
/// environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPaths {
    /// Set by the user; where it is set, no other folder is looked at.
    pub configured: Option<PathBuf>,
    /// The daemon's: `/var/lib/alfred/models`.
    pub state: PathBuf,
    /// A person's: `$XDG_DATA_HOME/alfred/models`; `None` without a home.
    pub user: Option<PathBuf>,
    /// The package's: `/usr/share/alfred/models`.
    pub shared: PathBuf,
}

impl ModelPaths {
    /// The daemon's folder.
    pub const STATE: &'static str = "/var/lib/alfred/models";
    /// The package's folder.
    pub const SHARED: &'static str = "/usr/share/alfred/models";

    /// The standard places; `user` is `$XDG_DATA_HOME/alfred/models`.
    #[must_use]
    pub fn standard(configured: Option<PathBuf>, user: Option<PathBuf>) -> Self {
        Self {
            configured,
            state: Self::STATE.into(),
            user,
            shared: Self::SHARED.into(),
        }
    }

    /// The folders in the order in which they are searched: the configured one alone; else the
    /// daemon's, the person's, the package's. What was pulled wins over what was installed.
    #[must_use]
    pub fn search_order(&self) -> Vec<&Path> {
        if let Some(configured) = &self.configured {
            return vec![configured];
        }
        let mut order = vec![self.state.as_path()];
        order.extend(self.user.as_deref());
        order.push(&self.shared);
        order
    }

    /// The first folder that holds the model `name`.
    ///
    /// # Errors
    /// [`EmbedError::Model`] naming every place that was searched.
    pub fn find(&self, name: &str) -> Result<PathBuf, EmbedError> {
        let failed = |problem| EmbedError::Model {
            model: name.to_owned(),
            path: self.search_order()[0].join(name),
            problem,
        };
        check_name(name).map_err(failed)?;
        let order = self.search_order();
        let found = order
            .iter()
            .map(|folder| folder.join(name))
            .find(|folder| folder.join(ABOUT_FILE).exists());
        found.ok_or_else(|| {
            let places: Vec<_> = order
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            failed(format!("not found; searched {}", places.join(", ")))
        })
    }

    /// Every model that is there, by name, the first folder that holds it winning.
    #[must_use]
    pub fn list(&self) -> Vec<(String, PathBuf)> {
        let mut models = std::collections::BTreeMap::new();
        for folder in self.search_order() {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            for entry in entries {
                let name = entry.file_name().to_string_lossy().into_owned();
                if check_name(&name).is_ok() && entry.path().join(ABOUT_FILE).exists() {
                    models.entry(name).or_insert_with(|| entry.path());
                }
            }
        }
        models.into_iter().collect()
    }

    /// Where a pulled model goes: the configured folder; else the daemon's, where it or
    /// `/var/lib/alfred` may be written; else the person's.
    #[must_use]
    pub fn destination(&self) -> &Path {
        if let Some(configured) = &self.configured {
            return configured;
        }
        let state_parent = self.state.parent().unwrap_or(&self.state);
        match &self.user {
            Some(user) if !is_writable(&self.state) && !is_writable(state_parent) => user,
            _ => &self.state,
        }
    }
}

fn is_writable(folder: &Path) -> bool {
    folder.is_dir() && rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: &Path) -> ModelPaths {
        ModelPaths {
            configured: None,
            state: root.join("state/models"),
            user: Some(root.join("user/models")),
            shared: root.join("shared/models"),
        }
    }

    fn put(folder: &Path, name: &str) {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join(ABOUT_FILE), "{}").unwrap();
    }

    #[test]
    fn finds_in_order_and_says_where_it_looked() {
        let root = tempfile::tempdir().unwrap();
        let paths = paths(root.path());
        let missing = paths.find("m").unwrap_err().to_string();
        for place in ["state/models", "user/models", "shared/models"] {
            assert!(missing.contains(place), "{missing}");
        }
        put(&paths.shared, "m");
        assert_eq!(paths.find("m").unwrap(), paths.shared.join("m"));
        put(paths.user.as_ref().unwrap(), "m");
        put(&paths.state, "other");
        assert_eq!(paths.find("m").unwrap(), root.path().join("user/models/m"));
        let names: Vec<_> = paths.list().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["m", "other"]);
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        let root = tempfile::tempdir().unwrap();
        for name in ["../etc", "", ".hidden", "a/b"] {
            assert!(paths(root.path()).find(name).is_err(), "{name}");
        }
    }

    #[test]
    fn goes_where_it_may_be_written() {
        let root = tempfile::tempdir().unwrap();
        let mut paths = paths(root.path());
        assert_eq!(paths.destination(), root.path().join("user/models"));
        std::fs::create_dir_all(root.path().join("state")).unwrap();
        assert_eq!(paths.destination(), root.path().join("state/models"));
        paths.configured = Some("/elsewhere".into());
        assert_eq!(paths.destination(), Path::new("/elsewhere"));
    }
}

//! Where API keys are kept: read by the daemon, written by `alfred key`.

use crate::access::{Entry, Keys, file};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::failure::Failure;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest file of keys: [`crate::access::MAX_KEYS`] of them, each bound to dozens of collections.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The file is read by the daemon's group, and written by its owner.
const MODE: u32 = 0o640;
/// Write permission of others.
const OTHERS_WRITE: u32 = 0o002;
/// How long another `alfred key` is waited for, and how often it is looked.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Where the daemon of this configuration reads its keys.
pub(super) struct Source {
    /// Always absolute.
    pub(super) path: PathBuf,
    /// It comes from systemd, and is not `alfred`'s to write.
    pub(super) is_credential: bool,
}

impl Source {
    pub(super) fn of(config: &Config) -> Self {
        let is_credential = config.keys_credential.is_some();
        let path = config.keys_credential.clone();
        let path = path.unwrap_or_else(|| config.keys_file());
        Self {
            path: std::path::absolute(&path).unwrap_or(path),
            is_credential,
        }
    }
}

/// The keys in force; `None` where none are configured. A file that was named has to be there.
pub(super) fn load(config: &Config) -> Result<Option<Keys>, Failure> {
    let source = Source::of(config);
    match read(&source.path)? {
        Some(entries) => Ok(Some(Keys::new(entries))),
        None if source.is_credential || config.is_said("server.keys_file") => {
            let what = format!("there is no file of keys {}", source.path.display());
            Err(Failure::configuration(what)
                .hint("make it with `alfred key new NAME`, or leave `server.keys_file` out"))
        }
        None => Ok(None),
    }
}

/// The keys in a file; `None` when there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<Entry>>, Failure> {
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Failure::configuration(format!("the keys in {} cannot be used", path.display()))
            .because(cause)
    };
    // A pipe must not hold up a reload; a regular file does not mind.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(failed(error.into()).hint("check who owns it; the daemon has to read it"));
        }
    };
    let metadata = file.metadata().map_err(|error| failed(error.into()))?;
    if let Some(problem) = unsound(&metadata) {
        return Err(failed(problem.into()));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| failed(error.into()))?;
    let entries = file::parse(&text).map_err(|error| {
        failed(error.into()).hint("`alfred key new NAME` writes it as it has to be")
    })?;
    Ok(Some(entries))
}

fn unsound(metadata: &Metadata) -> Option<String> {
    if !metadata.is_file() {
        return Some("it is no regular file".to_owned());
    }
    if metadata.len() > MAX_FILE_BYTES {
        let bytes = metadata.len();
        return Some(format!(
            "it has {bytes} bytes, and {MAX_FILE_BYTES} are the most"
        ));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Some("everybody may write it, and so make a key: chmod o-w".to_owned());
    }
    None
}

/// Changes the keys in `path`: what `change` leaves is there afterwards, synced, or nothing is different.
/// A new file belongs to whom the folder belongs, so that a file that root makes in the daemon's folder
/// is the daemon's.
pub(super) fn change<T>(
    path: &Path,
    change: impl FnOnce(&mut Vec<Entry>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let failed = |error: std::io::Error| {
        let hint = match error.kind() {
            ErrorKind::PermissionDenied => "run it as root, or as the user of the daemon",
            ErrorKind::NotFound => "make the folder first, or name another file with --file",
            _ => "check the folder and the space that is left",
        };
        Failure::failed(format!("cannot write the keys in {}", path.display()))
            .because(error)
            .hint(hint)
    };
    let locked = File::open(folder).map_err(failed)?;
    lock(&locked).map_err(failed)?;
    let mut entries = read(path)?.unwrap_or_default();
    let changed = change(&mut entries)?;
    write(path, folder, &file::render(&entries)).map_err(failed)?;
    locked.sync_all().map_err(failed)?;
    Ok(changed)
}

/// One change at a time, by a lock on the folder, which needs no file of its own.
fn lock(folder: &File) -> std::io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => SystemClock.sleep(LOCK_PAUSE),
            locked => return locked.map_err(Into::into),
        }
    }
    Err(std::io::Error::new(
        ErrorKind::WouldBlock,
        "another `alfred key` is changing them",
    ))
}

/// Through a file with a name that nobody can foresee, which is never followed: the folder may be another
/// user's than the one who writes here.
fn write(path: &Path, folder: &Path, text: &str) -> std::io::Result<()> {
    let before = std::fs::symlink_metadata(path).ok();
    let before = before.filter(Metadata::is_file);
    let mut part = tempfile::Builder::new()
        .prefix(".keys-")
        .permissions(std::fs::Permissions::from_mode(MODE))
        .tempfile_in(folder)?;
    let like = match &before {
        Some(before) => before.clone(),
        None => std::fs::metadata(folder)?,
    };
    let mode = before.map_or(MODE, |before| before.mode() & 0o777);
    let own = part.as_file().metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        let changed = std::os::unix::fs::fchown(part.as_file(), Some(like.uid()), Some(like.gid()));
        // Who is not root writes as who they are.
        if let Err(error) = changed
            && rustix::process::geteuid().is_root()
        {
            return Err(error);
        }
    }
    // After the owner, and past the umask.
    part.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))?;
    part.write_all(text.as_bytes())?;
    part.as_file().sync_all()?;
    part.persist(path).map_err(|failed| failed.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Digest, Role, Scope};

    fn entry(name: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            role: Role::Query,
            scope: Scope::default(),
            digest: Digest::of(name.as_bytes()),
            created_at: None,
        }
    }

    fn add(path: &Path, name: &str) -> Result<(), Failure> {
        change(path, |entries| {
            entries.push(entry(name));
            Ok(())
        })
    }

    #[test]
    fn a_file_is_made_changed_and_kept_when_a_change_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        assert!(read(&path).unwrap().is_none());
        add(&path, "a").unwrap();
        let mode = std::fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o640);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        add(&path, "b").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let refused = change(&path, |entries| {
            entries.clear();
            Err::<(), _>(Failure::failed("no"))
        });
        assert!(refused.is_err());
        assert_eq!(read(&path).unwrap().unwrap(), [entry("a"), entry("b")]);
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing but the file");
    }

    #[test]
    fn changes_at_the_same_time_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d", "e", "f"] {
                let path = &path;
                scope.spawn(move || add(path, name).unwrap());
            }
        });
        assert_eq!(read(&path).unwrap().unwrap().len(), 6);
    }

    #[test]
    fn what_others_may_write_and_what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        add(&path, "a").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o646)).unwrap();
        let refused = read(&path).unwrap_err().render();
        assert!(refused.contains("everybody may write it"), "{refused}");
        assert!(
            read(folder.path())
                .unwrap_err()
                .render()
                .contains("regular file")
        );
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        assert!(read(&pipe).unwrap_err().render().contains("regular file"));
    }

    #[test]
    fn a_link_is_replaced_and_what_it_leads_to_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("keys.toml"), folder.path().join("other"));
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        add(&path, "a").unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "");
        assert_eq!(read(&path).unwrap().unwrap(), [entry("a")]);
    }
}

//! Who holds the store: everyone who has it open shares a lock, a restore wants it alone.

use crate::store::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// The lock's file inside the store's folder; it stays when the store is closed.
const FILE_NAME: &str = "alfred.lock";

/// Held by each open store; released when dropped, and by the kernel when the process ends.
pub(super) struct SharedLock {
    _file: File,
}

impl SharedLock {
    /// For who may only read the folder: the lock's file may be absent, and is not made.
    pub(super) fn take_if_there(folder: &Path) -> Result<Option<Self>, StoreError> {
        match File::open(folder.join(FILE_NAME)) {
            Ok(file) => Self::lock(folder, file).map(Some),
            Err(_) => Ok(None),
        }
    }

    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        Self::lock(folder, open(folder)?)
    }

    fn lock(folder: &Path, file: File) -> Result<Self, StoreError> {
        let taken = file.try_lock_shared();
        taken.map_err(|error| refused(folder, &error, "a backup is being restored into it"))?;
        Ok(Self { _file: file })
    }
}

/// Held while the file is replaced.
pub(super) struct ExclusiveLock {
    _file: File,
}

impl ExclusiveLock {
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        let file = open(folder)?;
        let taken = file.try_lock();
        taken.map_err(|error| refused(folder, &error, "a process has it open; stop it first"))?;
        Ok(Self { _file: file })
    }
}

fn refused(folder: &Path, error: &TryLockError, holder: &str) -> StoreError {
    match error {
        TryLockError::WouldBlock => StoreError::Busy {
            location: folder.display().to_string(),
            problem: holder.to_owned(),
        },
        TryLockError::Error(error) => StoreError::Open {
            path: folder.to_owned(),
            problem: format!("it cannot be locked: {error}"),
        },
    }
}

fn open(folder: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let path = folder.join(FILE_NAME);
    let file = options
        .open(&path)
        .map_err(|error| unusable(folder, &error))?;
    give_to_owner_of(folder, &path);
    Ok(file)
}

/// Creates the folder when absent.
pub(super) fn prepare_folder(folder: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))
}

/// Gives a file that root has made to whom the folder belongs: the daemon, which could not open it. What
/// cannot be given away stays as it is, and the daemon will say so.
pub(super) fn give_to_owner_of(folder: &Path, file: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (Ok(of_folder), Ok(of_file)) = (std::fs::metadata(folder), std::fs::metadata(file)) else {
        return;
    };
    if of_file.uid() == 0 && of_folder.uid() != 0 {
        let (uid, gid) = (Some(of_folder.uid()), Some(of_folder.gid()));
        if let Err(error) = std::os::unix::fs::chown(file, uid, gid) {
            tracing::warn!(%error, "{} stays root's: {error}", file.display());
        }
    }
}

fn unusable(folder: &Path, error: &std::io::Error) -> StoreError {
    let user = rustix::process::geteuid().as_raw();
    let problem = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!("the user with id {user} may not write it")
        }
        _ => error.to_string(),
    };
    StoreError::Open {
        path: folder.to_owned(),
        problem,
    }
}

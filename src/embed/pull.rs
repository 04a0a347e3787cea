//! Puts a model in place: from the publisher's hub, a folder, or a wheel or zip archive.
//!
//! Everything is gathered in `.NAME.partial` beside its place and checked there
//! ([`super::verify`]); only then it is renamed, so that `NAME` is a whole, checked model at any
//! time. What fails a check is removed; what a broken connection left is kept, for the next pull to
//! go on with.
//!
//! The hub's graph is not pinned by its digest: the publisher may export it anew from the same
//! weights. Its tokenizer is pinned, and the graph must turn texts into the vectors that another
//! implementation computed from the pinned weights, which no other model and no damaged one does.

mod error;

pub use error::PullError;

use super::hub::Hub;
use super::known::KnownModel;
use super::model_folder::{
    ABOUT_FILE, About, FileAbout, GRAPH_FILE, LICENSE_FILE, TOKENIZER_FILE, check_name,
};
use super::verify::{Verified, verify};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The hub that models are pulled from where no other is named.
pub const HUB_URL: &str = "https://huggingface.co";
/// Largest `model.json` in an archive.
const ABOUT_MAX_BYTES: u64 = 64 * 1024;
/// Most that is unpacked of an archive, in bytes; of each file no more than its description says. The
/// runtime reads a graph into memory whole.
const ARCHIVE_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Where a model comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A hub at this URL, or a mirror of one.
    Hub(&'a str),
    /// A model folder, a folder as cloned from the hub, or a wheel or zip archive that holds a
    /// model folder.
    Path(&'a Path),
}

/// How far it is, for a person who waits.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// A URL or file name.
    pub what: &'a str,
    /// Bytes that are there.
    pub done_bytes: u64,
    /// Bytes that there will be, when that is known.
    pub total_bytes: Option<u64>,
}

/// Puts the model `name` into `destination/name`, replacing what is there; returns that folder and
/// how it was judged.
///
/// # Errors
/// See [`PullError`]; `destination/name` is then what it was before.
pub fn pull(
    name: &str,
    source: Source<'_>,
    destination: &Path,
    progress: &dyn Fn(Progress<'_>),
) -> Result<(PathBuf, Verified), PullError> {
    check_name(name).map_err(|problem| PullError::Name { problem })?;
    if matches!(source, Source::Hub(_)) && KnownModel::find(name).is_none() {
        let name = name.to_owned();
        return Err(PullError::Unknown { name });
    }
    let staging = Staging::open(destination, name)?;
    let gathered = match source {
        Source::Hub(base_url) => from_hub(name, base_url, &staging.path, progress),
        Source::Path(path) if path.is_dir() => from_folder(name, path, &staging.path, progress),
        Source::Path(path) => from_archive(name, path, &staging.path, progress),
    };
    match gathered {
        Ok(()) => {}
        // These leave a beginning to go on with.
        Err(error @ (PullError::Cut { .. } | PullError::Unreachable { .. })) => return Err(error),
        Err(error) => {
            staging.remove();
            return Err(error);
        }
    }
    match verify(&staging.path) {
        Ok(verified) => Ok((staging.install(destination, name)?, verified)),
        Err(error) => {
            staging.remove();
            Err(PullError::Unsound(error))
        }
    }
}

/// The folder in which a model is gathered, locked against a second pull.
struct Staging {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl Staging {
    fn open(destination: &Path, name: &str) -> Result<Self, PullError> {
        let path = destination.join(format!(".{name}.partial"));
        std::fs::create_dir_all(&path).map_err(|error| PullError::io("create", &path, error))?;
        let lock_path = destination.join(format!(".{name}.lock"));
        let lock =
            File::create(&lock_path).map_err(|error| PullError::io("create", &lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path,
                lock_path,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(PullError::Running { path }),
            Err(TryLockError::Error(error)) => Err(PullError::io("lock", &lock_path, error)),
        }
    }

    /// Renames it to its place; an older model there goes only once the new one has its name.
    fn install(&self, destination: &Path, name: &str) -> Result<PathBuf, PullError> {
        let place = destination.join(name);
        let old = destination.join(format!(".{name}.old"));
        let failed = |error| PullError::io("write", &place, error);
        if place.exists() {
            let _ = std::fs::remove_dir_all(&old);
            std::fs::rename(&place, &old).map_err(failed)?;
        }
        std::fs::rename(&self.path, &place).map_err(failed)?;
        sync(&place).map_err(failed)?;
        sync(destination).map_err(failed)?;
        let _ = std::fs::remove_dir_all(&old);
        let _ = std::fs::remove_file(&self.lock_path);
        Ok(place)
    }

    fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.path);
        let _ = std::fs::remove_file(&self.lock_path);
    }
}

fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

fn from_hub(
    name: &str,
    base_url: &str,
    staging: &Path,
    progress: &dyn Fn(Progress<'_>),
) -> Result<(), PullError> {
    let known = KnownModel::find(name).ok_or_else(|| PullError::Unknown {
        name: name.to_owned(),
    })?;
    let hub = Hub::new(base_url);
    for (remote, local) in [
        (TOKENIZER_FILE, TOKENIZER_FILE),
        (known.hub_graph, GRAPH_FILE),
    ] {
        let url = hub.url(known.repository, remote);
        hub.download(&url, &staging.join(local), progress)?;
    }
    describe(known, staging)
}

fn from_folder(
    name: &str,
    folder: &Path,
    staging: &Path,
    progress: &dyn Fn(Progress<'_>),
) -> Result<(), PullError> {
    let about_path = folder.join(ABOUT_FILE);
    if about_path.exists() {
        let text = std::fs::read(&about_path)
            .map_err(|error| PullError::io("read", &about_path, error))?;
        let about = read_about(name, folder, &text)?;
        for file in about.files.keys() {
            copy(&folder.join(file), &staging.join(file), progress)?;
        }
        return write(&staging.join(ABOUT_FILE), &text);
    }
    let known = KnownModel::find(name);
    let graph = [
        known.map_or(GRAPH_FILE, |known| known.hub_graph),
        GRAPH_FILE,
    ]
    .map(|file| folder.join(file))
    .into_iter()
    .find(|file| file.exists());
    let (Some(known), Some(graph)) = (known, graph) else {
        return Err(PullError::Source {
            path: folder.to_owned(),
            problem: format!("it holds neither {ABOUT_FILE} nor {GRAPH_FILE}"),
        });
    };
    copy(&graph, &staging.join(GRAPH_FILE), progress)?;
    let tokenizer = folder.join(TOKENIZER_FILE);
    copy(&tokenizer, &staging.join(TOKENIZER_FILE), progress)?;
    describe(known, staging)
}

fn from_archive(
    name: &str,
    path: &Path,
    staging: &Path,
    progress: &dyn Fn(Progress<'_>),
) -> Result<(), PullError> {
    let bad = |problem: String| PullError::Source {
        path: path.to_owned(),
        problem,
    };
    let file = File::open(path).map_err(|error| PullError::io("open", path, error))?;
    let mut archive = zip::ZipArchive::new(file)
        .map_err(|error| bad(format!("it is no folder, wheel or zip archive: {error}")))?;
    let suffix = format!("/{ABOUT_FILE}");
    let about_entry = archive
        .file_names()
        .filter_map(|entry| Some(entry.ok()?.into_owned()))
        .find(|entry| entry == ABOUT_FILE || entry.ends_with(&suffix))
        .ok_or_else(|| bad(format!("no {ABOUT_FILE} is in it, so no model folder")))?;
    let prefix = about_entry.trim_end_matches(ABOUT_FILE);
    let mut text = Vec::new();
    unpack(&mut archive, &about_entry, ABOUT_MAX_BYTES, &mut text).map_err(bad)?;
    let about = read_about(name, path, &text)?;
    // Few bytes of an archive can be many on disk: no more is written than the description says.
    let stated = about.files.values().map(|file| file.bytes);
    let total = stated.fold(0_u64, u64::saturating_add);
    if total > ARCHIVE_MAX_BYTES {
        return Err(bad(format!(
            "{ABOUT_FILE} lists {total} bytes, over the limit of {ARCHIVE_MAX_BYTES}"
        )));
    }
    for (file, of_file) in &about.files {
        let target = staging.join(file);
        let mut out =
            File::create(&target).map_err(|error| PullError::io("create", &target, error))?;
        let entry = format!("{prefix}{file}");
        let bytes = unpack(&mut archive, &entry, of_file.bytes, &mut out).map_err(bad)?;
        out.sync_all()
            .map_err(|error| PullError::io("write", &target, error))?;
        progress(Progress {
            what: file,
            done_bytes: bytes,
            total_bytes: Some(bytes),
        });
    }
    write(&staging.join(ABOUT_FILE), &text)
}

fn unpack(
    archive: &mut zip::ZipArchive<File>,
    entry: &str,
    max_bytes: u64,
    out: &mut impl std::io::Write,
) -> Result<u64, String> {
    use std::io::Read as _;
    let file = archive
        .by_name(entry)
        .map_err(|error| format!("{entry}: {error}"))?;
    let mut file = file.take(max_bytes);
    let failed = |error| format!("{entry}: {error}");
    let bytes = std::io::copy(&mut file, out).map_err(failed)?;
    let mut file = file.into_inner();
    if file.read(&mut [0]).map_err(failed)? > 0 {
        return Err(format!("{entry} is over the limit of {max_bytes} bytes"));
    }
    Ok(bytes)
}

fn read_about(name: &str, path: &Path, text: &[u8]) -> Result<About, PullError> {
    let bad = |problem: String| PullError::Source {
        path: path.to_owned(),
        problem,
    };
    let about: About =
        serde_json::from_slice(text).map_err(|error| bad(format!("{ABOUT_FILE}: {error}")))?;
    about
        .check()
        .map_err(|problem| bad(format!("{ABOUT_FILE}: {problem}")))?;
    if about.name != name {
        return Err(bad(format!(
            "it holds the model {}, not {name}",
            about.name
        )));
    }
    Ok(about)
}

/// Writes the licence and `model.json` beside the graph and tokenizer of a known model.
fn describe(known: &KnownModel, staging: &Path) -> Result<(), PullError> {
    write(&staging.join(LICENSE_FILE), known.license_text.as_bytes())?;
    let mut about = known.about();
    for file in [GRAPH_FILE, TOKENIZER_FILE, LICENSE_FILE] {
        let path = staging.join(file);
        let bytes = std::fs::read(&path).map_err(|error| PullError::io("read", &path, error))?;
        about.files.insert(file.to_owned(), FileAbout::of(&bytes));
    }
    let path = staging.join(ABOUT_FILE);
    let mut text = serde_json::to_vec_pretty(&about)
        .map_err(|error| PullError::io("write", &path, error.into()))?;
    text.push(b'\n');
    write(&path, &text)
}

fn copy(from: &Path, to: &Path, progress: &dyn Fn(Progress<'_>)) -> Result<(), PullError> {
    let bytes = std::fs::copy(from, to).map_err(|error| PullError::io("copy", from, error))?;
    progress(Progress {
        what: &from.to_string_lossy(),
        done_bytes: bytes,
        total_bytes: Some(bytes),
    });
    sync(to).map_err(|error| PullError::io("write", to, error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PullError> {
    std::fs::write(path, bytes)
        .and_then(|()| sync(path))
        .map_err(|error| PullError::io("write", path, error))
}

#[cfg(test)]
mod tests;

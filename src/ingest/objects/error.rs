//! What object storage answers, as one line and a hint for people.

use super::settings::Settings;
use crate::ingest::files::FilesError;
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error;

/// Longest part of a server's own words that is shown, in characters.
const MAX_WORDS: usize = 300;

/// Why objects were not listed, or one of them not read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The argument makes no sense.
    #[error(transparent)]
    Argument(#[from] FilesError),
    /// The environment's `AWS_…` variables make no sense.
    #[error("the settings of object storage are wrong: {0}")]
    Settings(String),
    /// There is no such bucket.
    #[error("there is no bucket {bucket} at {endpoint}")]
    NoBucket {
        /// Its name.
        bucket: String,
        /// Who was asked.
        endpoint: String,
    },
    /// There is no such object: it was deleted, or never there.
    #[error("there is no such object")]
    NoObject,
    /// The credentials are wrong, missing, or not enough.
    #[error("access to {what} is denied by {endpoint}: {reason}")]
    Denied {
        /// A URL.
        what: String,
        /// Who refused.
        endpoint: String,
        /// In the server's words.
        reason: String,
        /// No credentials were named.
        is_anonymous: bool,
    },
    /// The bucket is in another region.
    #[error("{what} cannot be read from {endpoint}: {reason}")]
    Region {
        /// A URL.
        what: String,
        /// Who was asked.
        endpoint: String,
        /// In the server's words.
        reason: String,
    },
    /// No connection, or no encrypted one.
    #[error("cannot reach {endpoint}: {problem}")]
    Unreachable {
        /// Who was asked.
        endpoint: String,
        /// In the system's words.
        problem: String,
    },
    /// It took too long.
    #[error("{endpoint} did not answer in time")]
    Slow {
        /// Who was asked.
        endpoint: String,
    },
    /// Less than the whole object came.
    #[error("the object broke off after {got} of {bytes} bytes")]
    Truncated {
        /// Bytes that came.
        got: u64,
        /// Bytes of the object.
        bytes: u64,
    },
    /// It is larger than what is read at all.
    #[error("the object is too large: {bytes} bytes")]
    TooLarge {
        /// Bytes of the object.
        bytes: u64,
    },
    /// The server was out of reach for others before.
    #[error("it was not tried: {endpoint} was out of reach for {times} objects in a row")]
    GivenUp {
        /// Who was asked.
        endpoint: String,
        /// How often.
        times: u32,
    },
    /// Everything else.
    #[error("{endpoint} answered for {what}: {problem}")]
    Failed {
        /// A URL.
        what: String,
        /// Who was asked.
        endpoint: String,
        /// In the server's words.
        problem: String,
    },
}

impl ObjectError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Argument(FilesError::Bucket { .. }) => "write it as s3://bucket/prefix/**/*.md",
            Self::Argument(FilesError::Missing(_)) => {
                "check its name; with / at its end it is a prefix, which may be empty"
            }
            Self::Argument(_) => {
                "only local paths and s3:// are read; other S3-compatible stores are named by \
                 AWS_ENDPOINT_URL"
            }
            Self::Settings(_) => "correct the AWS_… variables of the environment",
            Self::NoBucket { .. } => "check the name of the bucket, and AWS_ENDPOINT_URL",
            Self::Denied {
                is_anonymous: true, ..
            } => "no credentials were given: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            Self::Denied { .. } => {
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; s3:ListBucket and s3:GetObject \
                 are needed"
            }
            Self::Region { .. } => "set AWS_REGION to the region of the bucket",
            Self::Unreachable { .. } | Self::GivenUp { .. } => {
                "check AWS_ENDPOINT_URL and that the server is up; a private certificate authority \
                 is named by AWS_CA_BUNDLE"
            }
            Self::Slow { .. } => "try again when the server is less busy",
            Self::Failed { .. } => "check AWS_ENDPOINT_URL and AWS_REGION",
            Self::NoObject | Self::Truncated { .. } | Self::TooLarge { .. } => return None,
        })
    }

    /// Whether other objects of this server would fare no better.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Slow { .. })
    }

    /// What the library says of a request for `what`, without its addresses, headers and keys.
    pub(super) fn of(error: &object_store::Error, what: &str, settings: &Settings) -> Self {
        let what = what.to_owned();
        let endpoint = settings.endpoint();
        if let Some(kind) = transport(error) {
            let problem = innermost(error);
            return match kind {
                HttpErrorKind::Timeout => Self::Slow { endpoint },
                HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Interrupted => {
                    Self::Unreachable { endpoint, problem }
                }
                _ => Self::Failed {
                    what,
                    endpoint,
                    problem,
                },
            };
        }
        let text = error.to_string();
        let code = tag(&text, "Code").unwrap_or_default();
        let problem = settings.redact(&words(&text));
        let is_denied = matches!(
            error,
            object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
        ) || [401, 403].contains(&status(&text));
        match code.as_str() {
            "NoSuchBucket" | "InvalidBucketName" => Self::NoBucket {
                bucket: super::pattern::split(&what)
                    .map_or("", |(b, _)| b)
                    .to_owned(),
                endpoint,
            },
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => Self::Region {
                what,
                endpoint,
                reason: problem,
            },
            _ if text.contains("Received redirect without LOCATION") => Self::Region {
                what,
                endpoint,
                reason: "it points elsewhere".to_owned(),
            },
            _ if is_denied || code == "InvalidAccessKeyId" || code == "ExpiredToken" => {
                Self::Denied {
                    what,
                    endpoint,
                    reason: problem,
                    is_anonymous: !settings.has_credentials(),
                }
            }
            _ if matches!(error, object_store::Error::NotFound { .. }) => Self::NoObject,
            _ => Self::Failed {
                what,
                endpoint,
                problem,
            },
        }
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What went wrong below HTTP, if that is where it went wrong.
fn transport(error: &object_store::Error) -> Option<HttpErrorKind> {
    chain(error).find_map(|error| Some(error.downcast_ref::<HttpError>()?.kind()))
}

fn innermost(error: &object_store::Error) -> String {
    let last = chain(error).last().map(ToString::to_string);
    crate::domain::query::shorten(&last.unwrap_or_default(), MAX_WORDS)
}

/// The status that the library wrote into its message; 0 when there is none.
fn status(text: &str) -> u16 {
    let (_, rest) = text.split_once("status code: ").unwrap_or_default();
    rest.get(..3)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// The server's code and message, else the status alone. The rest of its answer repeats headers.
fn words(text: &str) -> String {
    let all = match (tag(text, "Code"), tag(text, "Message")) {
        (Some(code), Some(message)) if code != message => format!("{message} ({code})"),
        (Some(code), _) => code,
        (None, _) => match status(text) {
            0 => "an answer that is not S3's".to_owned(),
            status => format!("status {status}"),
        },
    };
    crate::domain::query::shorten(&all, MAX_WORDS)
}

/// The text of an element of an S3 error document.
fn tag(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    let inner = inner
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    Some(inner.trim().trim_end_matches('.').to_owned()).filter(|inner| !inner.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_its_code_and_message_alone() {
        let text = "Error performing GET http://h/b in 1ms - Server returned non-2xx status code: \
                    403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code><Message>No &amp; no.\
                    </Message><CanonicalRequest>x-amz-security-token:T</CanonicalRequest></Error>";
        assert_eq!(words(text), "No & no (SignatureDoesNotMatch)");
        assert_eq!(status(text), 403);
        assert_eq!(words("status code: 502 Bad Gateway: <html>"), "status 502");
        assert_eq!(words("gibberish"), "an answer that is not S3's");
    }
}

//! The one door between blocking code and the asynchronous client: list, look at, fetch.

use super::error::ObjectError;
use super::pattern;
use super::settings::Settings;
use crate::domain::SourceName;
use crate::ingest::pipeline::MAX_FILE_BYTES;
use crate::secret::Secret;
use futures_util::StreamExt as _;
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Most keys of one page: the server's own limit.
const PAGE_KEYS: usize = 1_000;
/// After so many objects in a row for which the server was out of reach, the others are not tried:
/// each would wait for all its retries.
const GIVE_UP_AFTER: u32 = 16;
/// Room that is reserved for a body before it comes; a length is only a promise.
const RESERVE_BYTES: usize = 8 << 20;

/// Buckets of one server. Blocks; may be called from many threads at a time, never from a
/// runtime's.
pub struct Objects {
    settings: Settings,
    runtime: tokio::runtime::Runtime,
    buckets: Mutex<BTreeMap<String, Arc<AmazonS3>>>,
    outages: AtomicU32,
}

/// An object that was listed.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) bytes: u64,
    pub(super) version: Option<String>,
}

/// An object that was fetched.
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// Of these very bytes.
    pub(crate) version: Option<String>,
}

impl Objects {
    /// Objects as the `AWS_…` variables say; nobody is asked yet.
    ///
    /// # Errors
    /// When the variables make no sense.
    pub fn new(variables: &BTreeMap<String, Secret>) -> Result<Self, ObjectError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("objects")
            .enable_all()
            .build()
            .map_err(|error| ObjectError::Settings(format!("no thread for requests: {error}")))?;
        Ok(Self {
            settings: Settings::new(variables)?,
            runtime,
            buckets: Mutex::default(),
            outages: AtomicU32::new(0),
        })
    }

    fn bucket(&self, name: &str) -> Result<Arc<AmazonS3>, ObjectError> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = buckets.get(name) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.settings.client(name)?);
        buckets.insert(name.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// What is at a key; `None` when nothing is.
    pub(super) fn head(&self, bucket: &str, key: &str) -> Result<Option<Listed>, ObjectError> {
        let Ok(path) = Path::parse(key) else {
            return Ok(None);
        };
        let client = self.bucket(bucket)?;
        match self.runtime.block_on(client.head(&path)) {
            Ok(meta) => Ok(Some(listed(meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => {
                let what = pattern::url(bucket, key);
                Err(ObjectError::of(&error, &what, &self.settings))
            }
        }
    }

    /// Lists the objects whose keys begin with `prefix`, a page at a time. A key that cannot be
    /// asked for is an `Err` with the key.
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        each: &mut dyn FnMut(Result<Listed, String>),
    ) -> Result<(), ObjectError> {
        let client = self.bucket(bucket)?;
        let prefix_said = Some(prefix).filter(|prefix| !prefix.is_empty());
        let mut position = Position::default();
        loop {
            let page = client.list_paginated(prefix_said, position.options());
            match self.runtime.block_on(page) {
                Ok(page) => {
                    for object in page.result.objects {
                        each(Ok(listed(object)));
                    }
                    match page.page_token {
                        Some(token) => position.go_on(token),
                        None => return Ok(()),
                    }
                }
                Err(error) => {
                    let Some(key) = unaskable(&error) else {
                        let what = pattern::url(bucket, prefix);
                        return Err(ObjectError::of(&error, &what, &self.settings));
                    };
                    if let Some(key) = position.step_over(key) {
                        each(Err(key));
                    }
                }
            }
        }
    }

    /// Fetches an object whole.
    pub(crate) fn get(&self, source: &SourceName) -> Result<Body, ObjectError> {
        let times = self.outages.load(Ordering::Relaxed);
        if times >= GIVE_UP_AFTER {
            return Err(ObjectError::GivenUp {
                endpoint: self.settings.endpoint(),
                times,
            });
        }
        let (bucket, key) = pattern::split(source.as_str()).ok_or(ObjectError::NoObject)?;
        let client = self.bucket(bucket)?;
        let path = Path::parse(key).map_err(|_| ObjectError::NoObject)?;
        let body = self.runtime.block_on(self.fetch(&client, &path, source));
        match &body {
            Err(error) if error.is_outage() => self.outages.fetch_add(1, Ordering::Relaxed),
            _ => self.outages.swap(0, Ordering::Relaxed),
        };
        body
    }

    async fn fetch(
        &self,
        client: &AmazonS3,
        path: &Path,
        source: &SourceName,
    ) -> Result<Body, ObjectError> {
        let failed = |error| ObjectError::of(&error, source.as_str(), &self.settings);
        let found = client.get(path).await.map_err(failed)?;
        let meta = listed(found.meta.clone());
        if meta.bytes > MAX_FILE_BYTES {
            return Err(ObjectError::TooLarge { bytes: meta.bytes });
        }
        let expected = usize::try_from(meta.bytes).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(expected.min(RESERVE_BYTES));
        let broken_off = |bytes: &[u8]| ObjectError::Truncated {
            got: bytes.len() as u64,
            bytes: meta.bytes,
        };
        let mut parts = found.into_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| match failed(error) {
                error if error.is_outage() && bytes.is_empty() => error,
                // Its retry may fail in another way than the connection did; this is what matters.
                _ => broken_off(&bytes),
            })?;
            bytes.extend_from_slice(&part);
            if bytes.len() > expected {
                break;
            }
        }
        if bytes.len() != expected {
            return Err(broken_off(&bytes));
        }
        Ok(Body {
            bytes,
            version: meta.version,
        })
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Objects({})", self.settings.endpoint())
    }
}

fn listed(meta: ObjectMeta) -> Listed {
    // A list may write an ETag without the quotes that a header has.
    let version = meta
        .e_tag
        .map(|tag| tag.trim_matches('"').to_owned())
        .filter(|tag| !tag.is_empty())
        .map(|tag| format!("{tag}/{}", meta.size));
    Listed {
        key: meta.location.to_string(),
        bytes: meta.size,
        version,
    }
}

/// The key for whose sake the client refuses a whole page: it has an empty part (`a//b`), `.` or
/// `..` in it, and cannot be asked for.
fn unaskable(error: &object_store::Error) -> Option<String> {
    use object_store::path::Error;
    match error {
        object_store::Error::InvalidPath {
            source: Error::EmptySegment { path } | Error::BadSegment { path, .. },
        } => Some(path.clone()),
        _ => None,
    }
}

/// Where a listing is. A page with a key that cannot be asked for is cut in halves until the key
/// stands alone; then the listing goes on behind it.
#[derive(Debug)]
struct Position {
    token: Option<String>,
    after: Option<String>,
    keys: usize,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            token: None,
            after: None,
            keys: PAGE_KEYS,
        }
    }
}

impl Position {
    fn options(&self) -> PaginatedListOptions {
        PaginatedListOptions {
            offset: self.after.clone(),
            max_keys: Some(self.keys),
            page_token: self.token.clone(),
            ..PaginatedListOptions::default()
        }
    }

    fn go_on(&mut self, token: String) {
        *self = Self {
            token: Some(token),
            after: None,
            keys: (self.keys * 2).min(PAGE_KEYS),
        };
    }

    /// Returns the key when it was stepped over.
    fn step_over(&mut self, key: String) -> Option<String> {
        if self.keys > 1 {
            self.keys /= 2;
            return None;
        }
        self.token = None;
        self.after = Some(key.clone());
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's list of keys, of which those with `//` spoil their page.
    fn walk(keys: &[&str]) -> (Vec<String>, usize) {
        let mut position = Position::default();
        let mut seen = Vec::new();
        for requests in 1.. {
            let options = position.options();
            let behind = options.page_token.or(options.offset).unwrap_or_default();
            let rest: Vec<&str> = keys.iter().copied().filter(|key| **key > *behind).collect();
            let page = &rest[..rest.len().min(options.max_keys.unwrap())];
            if let Some(bad) = page.iter().find(|key| key.contains("//")) {
                seen.extend(position.step_over((*bad).to_owned()));
                continue;
            }
            seen.extend(page.iter().map(|key| (*key).to_owned()));
            if page.len() == rest.len() {
                return (seen, requests);
            }
            position.go_on(page.last().copied().unwrap_or_default().to_owned());
        }
        unreachable!("the list ends")
    }

    #[test]
    fn a_key_that_cannot_be_asked_for_hides_no_other() {
        let mut keys: Vec<String> = (0..2_500).map(|n| format!("k{n:04}.md")).collect();
        keys.extend(["a//x", "k0700//x", "k0700//y", "k1999//x", "z//x"].map(str::to_owned));
        keys.sort();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (seen, requests) = walk(&keys);
        assert_eq!(seen, keys);
        assert!(requests < 150, "{requests}");
        assert_eq!(walk(&["a//x"]).0, ["a//x"]);
        assert_eq!(walk(&[]).1, 1);
    }
}

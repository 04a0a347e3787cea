//! `s3://` arguments to a list of objects, and their bodies one by one.
//!
//! Works with S3 and with what speaks its protocol (MinIO, Ceph, R2) through `AWS_ENDPOINT_URL`.
//! The source of an object is its URL. What a folder is for files, a prefix is here: formats by
//! ending, hidden names left out, patterns with the same meaning.
//!
//! **Incremental by ETag.** An object's version is its ETag with its size. The version takes the
//! place of the bytes in the document's content hash ([`crate::ingest::Ingester::version_hash`]),
//! beside everything else that is in it: model, chunk settings, metadata, version of extraction.
//! So the store needs no further column, another `chunk_tokens` makes every object work again as
//! it does for files, and whether an object has to be fetched is told from a list alone, hundreds
//! of them in one look at the store. A running daemon is asked the same way: a document that is
//! offered with a `version` and without `content` is `unchanged` or refused. An ETag is compared
//! and never taken for an MD5: that of a multipart upload is none. Its price: the same bytes
//! uploaded in other parts are another version, and are embedded again. An object without an ETag
//! is fetched each time and compared by its bytes.
//!
//! **Limits.** A page of a list has 1,000 keys; a key, size and ETag stay in memory for each object
//! found, and a body only while it is worked on, [`FETCHES`] at a time, none larger than
//! [`crate::ingest::pipeline::MAX_FILE_BYTES`].
//!
//! **Decided.** A list that fails stops the run before anything is stored or deleted. An object
//! that is gone when it is fetched is a warning; its document stays until a list is without it.

mod bucket;
mod checked;
mod error;
mod pattern;
mod settings;

pub use bucket::Objects;
pub use error::ObjectError;
pub use pattern::Pattern;

use super::files::{FilesError, Found, FoundFile, Place, Unmatched, ending};
use crate::domain::SourceName;
use crate::extract::Format;
use bucket::Listed;
use std::collections::BTreeMap;

/// Bodies that are fetched at a time: enough to hide the way to the server, few enough for the
/// memory of the largest.
pub const FETCHES: usize = 8;

/// Whether an argument of `alfred ingest` is a URL and no path.
#[must_use]
pub fn is_url(argument: &str) -> bool {
    argument.contains("://")
}

/// Lists what `arguments` name and adds it to `found`. Nothing is fetched.
///
/// # Errors
/// When an argument makes no sense, names nothing, or cannot be listed to its end.
pub fn find(arguments: &[String], objects: Objects, found: &mut Found) -> Result<(), ObjectError> {
    let patterns: Vec<Pattern> = arguments
        .iter()
        .map(|argument| Pattern::parse(argument))
        .collect::<Result<_, _>>()?;
    let mut kept = Kept {
        found,
        by_source: BTreeMap::new(),
    };
    for (argument, pattern) in arguments.iter().zip(patterns) {
        add(&objects, &mut kept, argument, pattern)?;
    }
    let Kept { found, by_source } = kept;
    found.files.extend(by_source.into_values());
    found.files.sort_by(|a, b| a.source.cmp(&b.source));
    found.objects = Some(objects);
    Ok(())
}

fn add(
    objects: &Objects,
    kept: &mut Kept<'_>,
    argument: &str,
    pattern: Pattern,
) -> Result<(), ObjectError> {
    let is_key = pattern.key().is_some();
    if let Some(key) = pattern.key()
        && let Some(listed) = objects.head(&pattern.bucket, key)?
    {
        kept.found.coverage.has_plain_files = true;
        kept.keep(&pattern.bucket, listed, true);
        return Ok(());
    }
    let pattern = pattern.folder();
    let mut is_there = false;
    let mut matched = 0_u64;
    objects.list(&pattern.bucket, &pattern.prefix, &mut |object| {
        is_there = true;
        match object {
            Ok(object) if pattern.covers_key(&object.key) => {
                matched += 1;
                kept.keep(&pattern.bucket, object, false);
            }
            Ok(_) => {}
            Err(key) => {
                let problem = "its key has an empty part, `.` or `..`; rename it".to_owned();
                kept.problem(&pattern::url(&pattern.bucket, &key), problem);
            }
        }
    })?;
    if is_key && !is_there {
        // Neither an object nor a prefix of any: misspelt rather than emptied.
        return Err(FilesError::Missing(argument.to_owned()).into());
    }
    if matched == 0 {
        kept.found.unmatched.push(Unmatched {
            pattern: argument.to_owned(),
            missing: None,
        });
    }
    kept.found.coverage.objects.push(pattern);
    Ok(())
}

struct Kept<'a> {
    found: &'a mut Found,
    by_source: BTreeMap<String, FoundFile>,
}

impl Kept<'_> {
    fn problem(&mut self, url: &str, problem: String) {
        self.found.problems.push((url.into(), problem));
    }

    fn keep(&mut self, bucket: &str, object: Listed, is_named: bool) {
        let url = pattern::url(bucket, &object.key);
        let format = Format::of_source(&object.key);
        if format.is_none() && !is_named {
            let ending = ending(std::path::Path::new(&object.key));
            self.found.skipped.count(&ending, 1);
            return;
        }
        match SourceName::new(&url) {
            Ok(source) => {
                let file = FoundFile {
                    place: Place::Object {
                        version: object.version,
                    },
                    source,
                    format,
                    bytes: object.bytes,
                };
                self.by_source.insert(url, file);
            }
            Err(error) => self.problem(&url, error.to_string()),
        }
    }
}

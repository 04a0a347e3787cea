//! PURE: `s3://bucket/key`, a prefix or a glob of keys: what an argument covers.

use crate::extract::Format;
use crate::ingest::files::FilesError;
use globset::{GlobBuilder, GlobMatcher};

/// How the URL of an object begins.
const SCHEME: &str = "s3://";
/// What makes a key a pattern, as for files.
const GLOB: [char; 4] = ['*', '?', '[', '{'];

/// The bucket and the key of an object's URL.
pub(super) fn split(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix(SCHEME)?.split_once('/')
}

/// The URL by which an object is known.
pub(super) fn url(bucket: &str, key: &str) -> String {
    format!("{SCHEME}{bucket}/{key}")
}

/// Which objects an argument covers, whether or not they are there.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Whose objects.
    pub(in crate::ingest) bucket: String,
    /// How their keys begin: everything before the first glob character.
    pub(in crate::ingest) prefix: String,
    /// What whole keys look like; `None` covers all below the prefix.
    matcher: Option<GlobMatcher>,
}

impl Pattern {
    /// # Errors
    /// When it is no `s3://` URL, or the bucket or the pattern is malformed.
    pub fn parse(argument: &str) -> Result<Self, FilesError> {
        let Some(rest) = argument.strip_prefix(SCHEME) else {
            return Err(FilesError::Scheme(argument.to_owned()));
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let is_sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bucket.is_empty() || bucket.starts_with('.') || !bucket.chars().all(is_sound) {
            return Err(FilesError::Bucket {
                url: argument.to_owned(),
                bucket: bucket.to_owned(),
            });
        }
        let malformed = |error: globset::Error| FilesError::Pattern {
            pattern: argument.to_owned(),
            problem: error.kind().to_string(),
        };
        let (prefix, matcher) = match key.find(GLOB) {
            None => (key, None),
            Some(at) => {
                let glob = GlobBuilder::new(key).literal_separator(true).build();
                (&key[..at], Some(glob.map_err(malformed)?.compile_matcher()))
            }
        };
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            matcher,
        })
    }

    /// The key, where the argument may be one object's: no glob, and no folder by its slash.
    pub(super) fn key(&self) -> Option<&str> {
        let is_key = self.matcher.is_none() && !self.prefix.is_empty();
        Some(self.prefix.as_str()).filter(|key| is_key && !key.ends_with('/'))
    }

    /// The same as a folder.
    pub(super) fn folder(mut self) -> Self {
        if self.matcher.is_none() && !self.prefix.is_empty() && !self.prefix.ends_with('/') {
            self.prefix.push('/');
        }
        self
    }

    /// Whether it covers an object of its bucket. As in folders, names that begin with a dot are
    /// left out below the part that was written out.
    pub(super) fn covers_key(&self, key: &str) -> bool {
        let folder = self.prefix.rfind('/').map_or(0, |slash| slash + 1);
        let hidden = |rest: &str| rest.split('/').any(|name| name.starts_with('.'));
        key.starts_with(&self.prefix)
            && !key.get(folder..).is_some_and(hidden)
            && self
                .matcher
                .as_ref()
                .is_none_or(|matcher| matcher.is_match(key))
    }

    /// Whether a document with this source would have been found, were its object there.
    #[must_use]
    pub fn covers(&self, source: &str) -> bool {
        split(source).is_some_and(|(bucket, key)| {
            bucket == self.bucket && Format::of_source(key).is_some() && self.covers_key(key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(argument: &str) -> Pattern {
        Pattern::parse(argument).unwrap().folder()
    }

    #[test]
    fn the_longest_literal_part_is_listed() {
        for (argument, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://b/docs", "b", "docs/"),
            ("s3://b/docs/", "b", "docs/"),
            ("s3://b/docs/re*.md", "b", "docs/re"),
            ("s3://my.b-1_x/**/*.md", "my.b-1_x", ""),
            ("s3://b/a/{x,y}/[ab].md", "b", "a/"),
        ] {
            let pattern = pattern(argument);
            assert_eq!((&*pattern.bucket, &*pattern.prefix), (bucket, prefix));
        }
        assert_eq!(Pattern::parse("s3://b/a.md").unwrap().key(), Some("a.md"));
        assert_eq!(Pattern::parse("s3://b/a/").unwrap().key(), None);
        assert_eq!(Pattern::parse("s3://b/a*").unwrap().key(), None);
    }

    #[test]
    fn globs_mean_what_they_mean_for_files() {
        let covers = |argument: &str, key: &str| pattern(argument).covers(&url("b", key));
        assert!(covers("s3://b/docs/**/*.md", "docs/a.md"));
        assert!(covers("s3://b/docs/**/*.md", "docs/x/y/a.md"));
        assert!(!covers("s3://b/docs/*.md", "docs/x/a.md"));
        assert!(covers("s3://b/docs/?.{md,txt}", "docs/a.txt"));
        assert!(!covers("s3://b/docs/[ab].md", "docs/c.md"));
        assert!(covers("s3://b/docs", "docs/c.md"));
        assert!(!covers("s3://b/docs", "docs-old/c.md"));
        assert!(!covers("s3://b/docs", "docs/c.png"));
        assert!(!covers("s3://other/docs", "docs/c.md"));
        assert!(!covers("s3://b", ".git/c.md") && !covers("s3://b/**/*.md", "a/.x/c.md"));
        assert!(covers("s3://b/.git/", ".git/c.md"));
        assert!(!pattern("s3://b").covers("docs/a.md"));
    }

    #[test]
    fn what_is_no_bucket_is_refused() {
        for argument in ["gs://b/x", "https://b/x", "az://b", "S3://b"] {
            let error = Pattern::parse(argument).unwrap_err();
            assert!(matches!(error, FilesError::Scheme(_)), "{argument}");
        }
        for argument in [
            "s3://",
            "s3:///a.md",
            "s3://a b/x",
            "s3://../x",
            "s3://a@b/x",
        ] {
            let error = Pattern::parse(argument).unwrap_err();
            assert!(matches!(error, FilesError::Bucket { .. }), "{argument}");
        }
        let error = Pattern::parse("s3://b/[x.md").unwrap_err();
        assert!(matches!(error, FilesError::Pattern { .. }));
    }
}

//! PURE: which sources the arguments of an ingest cover, for `--prune`.

use super::objects::Pattern;
use crate::extract::Format;
use globset::GlobMatcher;

/// Which sources the arguments cover, whether or not a file is still there.
#[derive(Debug, Default)]
pub struct Coverage {
    pub(super) folders: Vec<String>,
    pub(super) patterns: Vec<GlobMatcher>,
    /// Below these something could not be read: what is there is not known.
    pub(super) doubtful: Vec<String>,
    /// Prefixes and patterns of object storage.
    pub(super) objects: Vec<Pattern>,
    /// Plain files were named, which cover nothing but themselves.
    pub has_plain_files: bool,
}

impl Coverage {
    /// Whether a document with this source would have been found, were its file there.
    #[must_use]
    pub fn covers(&self, source: &str) -> bool {
        // A path never looks like a URL, and a folder covers no URL, not even the root.
        if source.contains("://") {
            return self.objects.iter().any(|pattern| pattern.covers(source));
        }
        let inside = |folder: &String| {
            folder.is_empty()
                || source
                    .strip_prefix(folder.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        let is_doubtful = |path: &String| path == source || inside(path);
        Format::of_source(source).is_some()
            && !self.doubtful.iter().any(is_doubtful)
            && (self.folders.iter().any(inside)
                || self.patterns.iter().any(|pattern| pattern.is_match(source)))
    }
}

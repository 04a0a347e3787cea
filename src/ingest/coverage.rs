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
    /// The first folder or pattern that covers some of `stored` and none of `found`: more likely it was
    /// not mounted than emptied. A folder of the empty name is the root itself.
    #[must_use]
    pub fn emptied(&self, stored: &[&str], found: &[&str]) -> Option<(String, usize)> {
        let emptied = |name: String, covers: &dyn Fn(&str) -> bool| {
            let lost = stored.iter().filter(|source| covers(source)).count();
            (lost > 0 && !found.iter().any(|source| covers(source))).then_some((name, lost))
        };
        let folders = self.folders.iter().find_map(|folder| {
            let name = if folder.is_empty() { "." } else { folder };
            emptied(name.to_owned(), &|source| is_inside(folder, source))
        });
        let patterns = || {
            self.patterns.iter().find_map(|pattern| {
                let name = pattern.glob().glob().to_owned();
                emptied(name, &|source| pattern.is_match(source))
            })
        };
        let objects = || {
            self.objects.iter().find_map(|pattern| {
                let name = format!("s3://{}/{}", pattern.bucket, pattern.prefix);
                emptied(name, &|source| pattern.covers(source))
            })
        };
        folders.or_else(patterns).or_else(objects)
    }

    /// Whether a document with this source would have been found, were its file there.
    #[must_use]
    pub fn covers(&self, source: &str) -> bool {
        // A path never looks like a URL, and a folder covers no URL, not even the root.
        if source.contains("://") {
            return self.objects.iter().any(|pattern| pattern.covers(source));
        }
        let inside = |folder: &String| is_inside(folder, source);
        let is_doubtful = |path: &String| path == source || inside(path);
        Format::of_source(source).is_some()
            && !self.doubtful.iter().any(is_doubtful)
            && (self.folders.iter().any(inside)
                || self.patterns.iter().any(|pattern| pattern.is_match(source)))
    }
}

fn is_inside(folder: &str, source: &str) -> bool {
    if source.contains("://") {
        return false;
    }
    folder.is_empty()
        || source
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_which_nothing_is_left_is_told_from_one_with_less() {
        let coverage = Coverage {
            folders: vec!["docs".to_owned(), "notes".to_owned()],
            ..Coverage::default()
        };
        let stored = ["docs/a.md", "docs/b.md", "notes/c.md", "other/d.md"];
        let emptied = |found: &[&str]| coverage.emptied(&stored, found);
        assert_eq!(emptied(&["docs/a.md", "notes/c.md"]), None);
        assert_eq!(emptied(&["docs/a.md"]), Some(("notes".to_owned(), 1)));
        assert_eq!(
            emptied(&["notes/c.md", "x.md"]),
            Some(("docs".to_owned(), 2))
        );
        assert_eq!(Coverage::default().emptied(&stored, &[]), None);
    }
}

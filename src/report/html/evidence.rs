//! The section on what the flight recorder took: why, what it shows, and the files.

use super::words::{clock, size};
use crate::report::markup::{address, escape};
use crate::soak::evidence::{FOLDER, FileRecord, Taken};
use crate::soak::units::show_count;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Component, Path};

/// Largest file whose text is shown in the page.
const MAX_FILE_BYTES: u64 = 16 * 1024;
/// Most text of files in a page.
pub(super) const MAX_SHOWN_BYTES: usize = 1024 * 1024;

/// Where a run's evidence is, and where its marks are.
pub(super) struct Place<'a> {
    /// The run folder.
    pub(super) folder: &'a Path,
    /// The way from the report to it; empty, or with `/` at its end.
    pub(super) way: &'a str,
    /// Names of elements begin with it.
    pub(super) prefix: &'a str,
    /// Of each that was taken the flag of its mark; empty without one.
    pub(super) flags: &'a [String],
}

/// Adds every piece of evidence; `room` is what text of files may still be shown.
pub(super) fn section(page: &mut String, taken: &[Taken], place: &Place<'_>, room: &mut usize) {
    for (number, one) in taken.iter().enumerate() {
        let prefix = place.prefix;
        let flag = place.flags.get(number).map_or("", String::as_str);
        let at = one
            .record
            .at_s
            .map_or_else(String::new, |at_s| format!(" at {}", clock(at_s)));
        let _ = writeln!(
            page,
            "<article class=\"taken\" id=\"{prefix}taken-{number}\" tabindex=\"-1\">\n\
             <h3><span class=\"flag\">{}</span> {}{at}</h3>",
            escape(flag),
            escape(one.reason()),
        );
        if !flag.is_empty() {
            let flag = escape(flag);
            let _ = writeln!(
                page,
                "<p><a href=\"#{prefix}mark-{flag}\">Mark {flag}</a></p>"
            );
        }
        about(page, one);
        files(page, one, place, room);
        page.push_str("</article>\n");
    }
}

fn about(page: &mut String, one: &Taken) {
    let record = &one.record;
    if let Some(problem) = &one.problem {
        let _ = writeln!(page, "<p>Not complete: {}</p>", escape(problem));
    }
    if !record.trigger.is_empty() {
        let _ = writeln!(page, "<p><strong>{}</strong></p>", escape(&record.trigger));
    }
    if !record.summary.is_empty() {
        page.push_str("<ul>\n");
        for line in &record.summary {
            let _ = writeln!(page, "<li>{}</li>", escape(line));
        }
        page.push_str("</ul>\n");
    }
    let facts = [
        (!record.wall.is_empty()).then(|| record.wall.clone()),
        record
            .took_ms
            .map(|ms| format!("took {} ms", show_count(ms))),
        record.bytes.map(size),
        record.cpu_s.map(|cpu_s| format!("{cpu_s} s of CPU")),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    if !facts.is_empty() {
        let _ = writeln!(page, "<p class=\"quiet\">{}</p>", escape(&facts.join(", ")));
    }
}

fn files(page: &mut String, one: &Taken, place: &Place<'_>, room: &mut usize) {
    let record = &one.record;
    if record.files.is_empty() && record.missing.is_empty() {
        return;
    }
    page.push_str("<ul>\n");
    for file in &record.files {
        page.push_str("<li>");
        self::file(page, file, &one.name, (place, &mut *room));
        page.push_str("</li>\n");
    }
    for missing in &record.missing {
        let (what, why) = (escape(&missing.what), escape(&missing.why));
        let _ = writeln!(page, "<li>not taken: {what}: {why}</li>");
    }
    page.push_str("</ul>\n");
}

fn file(
    page: &mut String,
    file: &FileRecord,
    folder: &str,
    (place, room): (&Place<'_>, &mut usize),
) {
    let name = escape(&file.name);
    let what = escape(&file.what);
    let colon = if what.is_empty() { "" } else { ": " };
    let bytes = file
        .bytes
        .map_or_else(String::new, |bytes| format!(" ({})", size(bytes)));
    if !is_name(&file.name) {
        let _ = write!(page, "{name}{colon}{what}{bytes}");
        return;
    }
    let way = format!("{}{FOLDER}/{folder}/{}", place.way, file.name);
    let _ = write!(
        page,
        "<a href=\"{}\">{name}</a>{colon}{what}{bytes}",
        address(&way)
    );
    let path = place.folder.join(FOLDER).join(folder).join(&file.name);
    if let Some(text) = small_text(&path).filter(|text| text.len() <= *room) {
        *room -= text.len();
        let _ = write!(
            page,
            "<details><summary>Text of {name}</summary><pre tabindex=\"0\">{}</pre></details>",
            escape(&text)
        );
    }
}

/// Whether it names a file in the folder, and nothing elsewhere.
fn is_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none()
}

/// The text of a small file; `None` for links, large files, and what is no text.
fn small_text(path: &Path) -> Option<String> {
    let about = std::fs::symlink_metadata(path).ok()?;
    if !about.is_file() || about.len() > MAX_FILE_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    (!text.is_empty() && text.chars().all(is_text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_no_links() {
        assert!(is_name("profile.pb.gz") && is_name("a b"));
        for name in ["", "..", ".", "/etc/passwd", "../verdict.json", "a/b"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn links_and_large_files_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        std::fs::write(&path, "{}\n").unwrap();
        assert_eq!(small_text(&path).unwrap(), "{}\n");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(small_text(&link), None);
        std::fs::write(&path, vec![b'x'; 16 * 1024 + 1]).unwrap();
        assert_eq!(small_text(&path), None);
        std::fs::write(&path, [0, 1, 2]).unwrap();
        assert_eq!(small_text(&path), None);
    }
}

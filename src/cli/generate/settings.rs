//! Section 5: alfred.toml, from the shipped file, which documents every key, and the table of keys.

use super::Page;
use super::roff_page::{MANUAL, plain_text, see_also, source, tagged};
use crate::config::keys::{self, Key, Kind};
use clap_mangen::roff::{Roff, bold, italic, roman};

/// The shipped file. A test of the configuration holds it and the table of keys together.
const SHIPPED: &str = include_str!("../../../etc/alfred.toml");

/// Keys that one comment describes.
#[derive(Default)]
struct Entry {
    section: String,
    keys: Vec<&'static Key>,
    text: String,
}

/// The page.
pub(super) fn page(date: &str) -> Page {
    let mut roff = Roff::new();
    roff.control("TH", ["ALFRED.TOML", "5", date, source().as_str(), MANUAL]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("alfred.toml - configuration of alfred")]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([italic("/etc/alfred/alfred.toml")]);
    roff.control("br", []);
    roff.text([italic("/etc/alfred/conf.d/*.toml")]);
    let (introduction, entries) = read(SHIPPED);
    roff.control("SH", ["DESCRIPTION"]);
    plain_text(&mut roff, &introduction);
    settings(&mut roff, &entries);
    tagged(
        &mut roff,
        "FILES",
        &[
            (
                "/etc/alfred/alfred.toml",
                "The main file, unless --config names another.",
            ),
            ("./alfred.toml", "The main file where that one is missing."),
            (
                "conf.d/*.toml",
                "Beside the main file: read after it, in name order.",
            ),
        ],
    );
    see_also(
        &mut roff,
        &[
            "alfred(1)",
            "alfred-config(1)",
            "alfred-serve(1)",
            "systemd.exec(5)",
        ]
        .map(str::to_owned),
    );
    Page {
        file: "alfred.toml.5".to_owned(),
        roff: roff.render(),
    }
}

fn settings(roff: &mut Roff, entries: &[Entry]) {
    let mut section = "";
    for entry in entries {
        if entry.section != section {
            section = &entry.section;
            roff.control("SH", [format!("SECTION [{section}]").as_str()]);
        }
        for (index, key) in entry.keys.iter().enumerate() {
            roff.control(if index == 0 { "TP" } else { "TQ" }, []);
            let leaf = key.path.rsplit('.').next().unwrap_or(key.path);
            roff.text([bold(leaf), roman(format!(" = {}", key.default))]);
        }
        roff.text([roman(entry.text.clone())]);
        if let Some(values) = entry.keys.first().map(|key| values(key.kind)) {
            roff.control("br", []);
            roff.text([italic(values)]);
        }
    }
}

/// What a value may be, in words.
fn values(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer(least, most) => format!("{least} to {most}"),
        Kind::Ratio => "0 to 1".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::List => "list of texts".to_owned(),
        Kind::Choice(words) => {
            let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            quoted.join(" | ")
        }
    }
}

/// The comment at the file's head without its title, and what documents the keys.
fn read(shipped: &str) -> (String, Vec<Entry>) {
    let (head, body) = shipped.split_once("\n\n").unwrap_or_default();
    let introduction: Vec<&str> = head
        .lines()
        .skip(1)
        .map(|line| line.trim_start_matches('#').trim())
        .collect();
    let introduction = introduction.join("\n");
    let mut entries = Vec::new();
    let (mut section, mut entry) = (String::new(), Entry::default());
    for line in body.lines().chain([""]) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            name.clone_into(&mut section);
        } else if let Some(comment) = line.strip_prefix("# ") {
            if !entry.text.is_empty() {
                entry.text.push(' ');
            }
            entry.text.push_str(comment);
        } else if let Some((leaf, _)) = line
            .strip_prefix('#')
            .and_then(|rest| rest.split_once(" = "))
        {
            entry.keys.extend(keys::find(&format!("{section}.{leaf}")));
            entry.section.clone_from(&section);
        } else if line.is_empty() && !entry.keys.is_empty() {
            entries.push(std::mem::take(&mut entry));
        }
    }
    (introduction.trim().to_owned(), entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_page_with_words_about_it() {
        let (introduction, entries) = read(SHIPPED);
        assert!(introduction.contains("conf.d"));
        let documented: Vec<&str> = entries
            .iter()
            .filter(|entry| entry.text.len() > 10)
            .flat_map(|entry| entry.keys.iter().map(|key| key.path))
            .collect();
        let known: Vec<&str> = keys::KEYS.iter().map(|key| key.path).collect();
        assert_eq!(documented, known);
    }
}

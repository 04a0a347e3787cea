//! Files that people write: configuration, corpora, keys, scenarios and their queries.

use super::parts;
use crate::access;
use crate::config::{Config, Environment, keys::KEYS};
use crate::ingest::corpus::Corpus;
use crate::soak::queries::QuerySet;
use crate::soak::scenario::Scenario;
use crate::soak::settings::Settings;
use std::path::Path;

/// `alfred.toml`, a corpus of `ingest.d`, the file of keys, and a value of the environment.
///
/// # Panics
/// When a configuration that was accepted cannot be shown, or a file of keys does not survive being
/// written.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let nowhere = Environment::of(&[("HOME", "/nonexistent")]);
    if let Ok(config) = Config::of_text(text, &nowhere) {
        assert_eq!(config.show().len(), KEYS.len());
        assert!(config.raw.ingest.overlap_tokens <= config.raw.ingest.chunk_tokens / 4);
    }
    let _ = Corpus::parse(Path::new("corpus.toml"), text);
    if let Ok(entries) = access::file::parse(text) {
        let again = access::file::parse(&access::file::render(&entries));
        assert_eq!(again.as_ref(), Ok(&entries));
    }
    let key = &KEYS[text.len() % KEYS.len()];
    let name = format!("ALFRED__{}", key.path.to_uppercase().replace('.', "__"));
    let variables = [(name.as_str(), text)];
    let _ = Config::of_text("", &Environment::of(&variables));
}

/// A scenario, then, after a NUL, its queries, whose first byte says how they are written.
///
/// # Panics
/// When a scenario that was accepted has a schedule that cannot be followed.
pub fn scenario(data: &[u8]) {
    let mut parts = parts(data);
    let text = parts.next().unwrap_or_default();
    if let Ok(text) = std::str::from_utf8(text)
        && let Ok(settings) = Settings::parse(Path::new("/scenario.toml"), text)
        && let Ok(scenario) = Scenario::resolve(settings)
    {
        follow(&scenario);
    }
    if let Some((kind, queries)) = parts.next().and_then(<[u8]>::split_first) {
        let name = ["q.txt", "q.jsonl", "q.csv"][usize::from(*kind) % 3];
        let columns = ["query".to_owned(), "lang".to_owned()];
        for columns in [&columns[..1], &columns[..]] {
            if let Ok(set) = QuerySet::of(Path::new(name), queries, columns) {
                assert!(!set.is_empty());
            }
        }
    }
}

/// The first and the last requests are due, in order, and within the run.
fn follow(scenario: &Scenario) {
    let schedule = scenario.load.schedule();
    let (count, length_ns) = (schedule.count(), schedule.length_ns());
    assert!(count > 0);
    let mut cursor = schedule.cursor();
    let mut last = 0;
    let indexes = (0..count.min(50)).chain(count.saturating_sub(20).max(50)..count);
    for index in indexes {
        let due = cursor.due_ns(index);
        assert!(due.is_some(), "request {index} of {count} is never due");
        let due = due.unwrap_or_default();
        assert!(due >= last, "request {index} is due before the one before");
        assert!(due <= length_ns, "request {index} is due after the end");
        last = due;
    }
    assert_eq!(cursor.due_ns(count), None);
}

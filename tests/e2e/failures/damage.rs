//! The store's files, changed behind its back: what is noticed, by whom, and what answers are worth
//! where nothing is.

use super::Cells;
use super::killed::Chance;
use super::watch::Pace;
use crate::failures::cases;
use crate::support::Home;
use alfred::clock::SystemClock;
use alfred::domain::{CollectionName, EmbeddedDocument, Filter, Mode, QueryText};
use alfred::store::embedded::{EmbeddedStore, admin};
use alfred::store::{EmbeddingRepo as _, ExportRequest, Hit, SearchRequest, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

cases! {
    flipped: "A bit flipped in the store's file",
    zeroed: "A block of 4 KiB in the file zeroed",
    truncated: "The file cut short",
    log: "A bit flipped in the write-ahead log of a daemon that was killed",
}

pub(super) const COLUMNS: &[&str] = &[
    "times",
    "refused at the start",
    "refused by a search",
    "answers as before, `alfred store check` finds it",
    "answers as before, nothing to find",
    "titles or word searches differ, and `alfred store check` finds it",
    "wrong text, or wrong by vector",
];

/// Documents in the store.
const DOCUMENTS: usize = 40;
/// Every so many documents there is a question about one.
const ASKED: usize = 4;
/// The same run for run, so that the figures are.
const SEED: u64 = 8;

#[derive(Debug, Default)]
pub(super) struct Seen {
    times: usize,
    at_the_start: usize,
    by_a_search: usize,
    by_check: usize,
    nothing: usize,
    /// Titles, or what searches for words find; the check finds it.
    differ: usize,
    /// Where, with what the check says.
    wrong: Vec<String>,
}

impl From<Seen> for Cells {
    fn from(seen: Seen) -> Self {
        let counts = [
            seen.times,
            seen.at_the_start,
            seen.by_a_search,
            seen.by_check,
            seen.nothing,
            seen.differ,
            seen.wrong.len(),
        ];
        Self(counts.iter().map(ToString::to_string).collect())
    }
}

/// What a question found.
type Answer = Vec<Hit>;

/// A store, its backup, and what questions found in it.
struct Rig {
    home: Home,
    documents: Vec<EmbeddedDocument>,
    answers: Vec<Answer>,
    file: Vec<u8>,
}

impl Rig {
    fn new() -> Self {
        let home = Home::new();
        for n in 0..DOCUMENTS {
            let text = format!(
                "# Subject {n}\n\nWhat number {n} says of itself is this: {}.\n\n## Details\n\n{}",
                "otters hold hands ".repeat(n % 7),
                format!("Detail {n} is kept beside detail {}. ", n * n).repeat(20)
            );
            home.write(&format!("docs/{n}.md"), text);
        }
        home.alfred(&["ingest", "docs"]).expect(0);
        home.alfred(&["store", "backup", "backup.db"]).expect(0);
        let file = std::fs::read(home.path().join("store/alfred.db")).unwrap();
        let store = open(&home.path().join("store")).unwrap();
        let documents = store.export(&ExportRequest {
            collection: &CollectionName::default(),
            after: None,
            chunks: 10_000,
        });
        let documents = documents.unwrap();
        assert_eq!(documents.len(), DOCUMENTS);
        let answers = answers(&store, &documents).map(Result::unwrap).collect();
        Self {
            home,
            documents,
            answers,
            file,
        }
    }

    /// A folder with this for a store.
    fn put(&self, file: &[u8], log: Option<&[u8]>) -> PathBuf {
        let folder = self.home.path().join("damaged");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("alfred.db"), file).unwrap();
        if let Some(log) = log {
            std::fs::write(folder.join("alfred.db-wal"), log).unwrap();
        }
        folder
    }

    fn look(&self, seen: &mut Seen, what: &str, file: &[u8], log: Option<&[u8]>) {
        seen.times += 1;
        // Each alone with the files: opening them may write.
        let checked = admin::check(&self.put(file, log));
        let found = match &checked {
            Ok(report) if report.problems.is_empty() => None,
            Ok(report) => Some(report.problems.join("; ")),
            Err(error) => Some(error.to_string()),
        };
        let store = match open(&self.put(file, log)) {
            Ok(store) => store,
            Err(error) => {
                is_clear(&error);
                assert!(
                    found.is_some(),
                    "{what}: the check says nothing, opening: {error}"
                );
                seen.at_the_start += 1;
                return;
            }
        };
        self.judge(seen, what, &store, found);
    }

    fn judge(&self, seen: &mut Seen, what: &str, store: &EmbeddedStore, found: Option<String>) {
        let (mut refused, mut wrong, mut differ) = (0, 0, 0);
        let all = answers(store, &self.documents).zip(&self.answers);
        for (number, (answer, good)) in all.enumerate() {
            match answer {
                Ok(answer) if is_same(&answer, good) => {}
                // Each question is asked in the modes vector, text and hybrid.
                Ok(answer) if number % 3 == 0 && !is_ranked_like(&answer, good) => wrong += 1,
                Ok(answer) if !answer.iter().all(|hit| self.is_stored(hit)) => wrong += 1,
                Ok(_) => differ += 1,
                Err(error) => {
                    is_clear(&error);
                    refused += 1;
                }
            }
        }
        match (wrong + differ, refused, found) {
            (0, 0, None) => seen.nothing += 1,
            (0, 0, Some(_)) => seen.by_check += 1,
            (0, _, Some(_)) => seen.by_a_search += 1,
            (0, _, None) => panic!("{what}: a search fails, and the check finds nothing"),
            (_, _, Some(_)) if wrong == 0 => seen.differ += 1,
            (.., found) => {
                let told = format!("{what}: {wrong} wrong, {differ} differ; check: {found:?}");
                seen.wrong.push(told);
            }
        }
    }

    /// Whether a document of this source has this text.
    fn is_stored(&self, hit: &Hit) -> bool {
        let mut of_source = self
            .documents
            .iter()
            .filter(|one| one.source.as_str() == hit.source);
        of_source.any(|document| {
            document
                .chunks
                .iter()
                .any(|(chunk, _)| chunk.text == hit.text)
        })
    }
}

/// The same chunks with the same scores.
fn is_ranked_like(answer: &Answer, good: &Answer) -> bool {
    let same = |a: &Hit, b: &Hit| a.id == b.id && (a.score - b.score).abs() < 1e-4;
    answer.len() == good.len() && answer.iter().zip(good).all(|(a, b)| same(a, b))
}

fn open(folder: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(folder, Arc::new(SystemClock))
}

/// The message says that it is the store, and what is wrong with it.
fn is_clear(error: &StoreError) {
    let text = error.to_string();
    assert!(
        matches!(error, StoreError::Damaged { .. }),
        "{error:?}: {text}"
    );
}

fn answers(
    store: &EmbeddedStore,
    documents: &[EmbeddedDocument],
) -> impl Iterator<Item = Result<Answer, StoreError>> {
    let asked = documents
        .iter()
        .step_by(ASKED)
        .flat_map(|document| [Mode::Vector, Mode::Text, Mode::Hybrid].map(|mode| (document, mode)));
    asked.map(|(document, mode)| {
        let (chunk, vector) = &document.chunks[0];
        let text: String = chunk.text.chars().take(200).collect();
        store.search(&SearchRequest {
            collection: &CollectionName::default(),
            mode,
            text: &QueryText::new(&text).unwrap(),
            embedding: Some(vector),
            filter: &Filter::default(),
            limit: 10,
        })
    })
}

fn is_same(answer: &Answer, good: &Answer) -> bool {
    let same = |a: &Hit, b: &Hit| {
        let (a, b) = (
            Hit {
                score: 0.0,
                ..a.clone()
            },
            Hit {
                score: 0.0,
                ..b.clone()
            },
        );
        a == b
    };
    let near = |a: &Hit, b: &Hit| (a.score - b.score).abs() < 1e-4;
    answer.len() == good.len()
        && answer
            .iter()
            .zip(good)
            .all(|(a, b)| same(a, b) && near(a, b))
}

/// Damage is told, and mended by a restore.
fn is_mended_by_a_restore(rig: &Rig, damaged: &[u8]) {
    let home = &rig.home;
    let store = home.path().join("store/alfred.db");
    std::fs::write(&store, damaged).unwrap();
    let said = home.alfred(&["store", "check"]).expect(1);
    assert!(said.stderr.contains("hint: restore a backup"), "{said:?}");
    let said = home
        .alfred(&["store", "backup", "backup.db", "--force"])
        .expect(1);
    assert!(said.stderr.contains("damaged"), "{said:?}");
    home.alfred(&["store", "restore", "backup.db", "--force"])
        .expect(0);
    home.alfred(&["store", "check"]).expect(0);
    let store = open(&home.path().join("store")).unwrap();
    for (answer, good) in answers(&store, &rig.documents).zip(&rig.answers) {
        assert!(is_same(&answer.unwrap(), good));
    }
}

#[track_caller]
fn no_wrong_answers(seen: &Seen) {
    assert!(seen.wrong.is_empty(), "{seen:#?}");
}

fn flipped(pace: &Pace) -> Seen {
    let (rig, mut seen, mut chance) = (Rig::new(), Seen::default(), Chance(SEED));
    let mut found = None;
    for _ in 0..pace.flips {
        let (at, bit) = (chance.below(rig.file.len() as u64), chance.below(8));
        let mut file = rig.file.clone();
        file[usize::try_from(at).unwrap()] ^= 1 << bit;
        let before = seen.nothing;
        rig.look(&mut seen, &format!("bit {bit} of byte {at}"), &file, None);
        if before == seen.nothing {
            found.get_or_insert(file);
        }
    }
    no_wrong_answers(&seen);
    is_mended_by_a_restore(&rig, &found.expect("some flip matters"));
    seen
}

fn zeroed(pace: &Pace) -> Seen {
    const BLOCK: usize = 4_096;
    let (rig, mut seen) = (Rig::new(), Seen::default());
    let blocks = rig.file.len() / BLOCK;
    for block in (0..blocks).step_by(1 + blocks / pace.flips) {
        let mut file = rig.file.clone();
        file[block * BLOCK..][..BLOCK].fill(0);
        rig.look(&mut seen, &format!("block {block}"), &file, None);
    }
    no_wrong_answers(&seen);
    seen
}

fn truncated(pace: &Pace) -> Seen {
    let (rig, mut seen, mut chance) = (Rig::new(), Seen::default(), Chance(SEED));
    for _ in 0..pace.flips / 4 {
        let length = usize::try_from(chance.below(rig.file.len() as u64)).unwrap();
        // An empty file is a store that was never written to.
        let file = &rig.file[..length.max(1)];
        rig.look(&mut seen, &format!("cut to {length} bytes"), file, None);
    }
    no_wrong_answers(&seen);
    seen
}

/// What is behind the flipped bit was confirmed and is gone: to SQLite it is the end of a write that
/// was cut off. So this is about what is left: it answers as it did before.
fn log(pace: &Pace) -> Seen {
    let (rig, mut seen, mut chance) = (Rig::new(), Seen::default(), Chance(SEED));
    let log = log_of_a_killed_daemon(&rig);
    for _ in 0..pace.flips / 4 {
        let (at, bit) = (chance.below(log.len() as u64), chance.below(8));
        let mut flipped = log.clone();
        flipped[usize::try_from(at).unwrap()] ^= 1 << bit;
        rig.look(
            &mut seen,
            &format!("bit {bit} of byte {at}"),
            &rig.file,
            Some(&flipped),
        );
    }
    no_wrong_answers(&seen);
    seen
}

/// The log of writes into another collection, which no question is about.
fn log_of_a_killed_daemon(rig: &Rig) -> Vec<u8> {
    let daemon = rig.home.serve(&[]);
    for n in 0..5 {
        let document = serde_json::json!({
            "source": format!("late/{n}.md"), "content": format!("# Late {n}\n\nIt came late."),
            "collection": "late",
        });
        let (status, reply) = daemon.request("POST", "/v1/documents", Some(&document));
        assert_eq!(status, 200, "{reply}");
    }
    // Killed: a daemon that stops in order leaves no log.
    drop(daemon);
    let log = std::fs::read(rig.home.path().join("store/alfred.db-wal")).unwrap();
    assert!(!log.is_empty());
    log
}

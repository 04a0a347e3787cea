//! An ingest that is killed at random moments, over both stores: every document is whole or absent,
//! the next run completes the work, and searches find what they find in a store made at once.

use super::Cells;
use super::watch::Pace;
use crate::failures::cases;
use crate::postgres_server::Server;
use crate::provider::Standin;
use crate::support::{Home, finish};
use alfred::clock::{Clock as _, SystemClock};
use alfred::domain::{CollectionName, EmbeddedDocument, Filter, Mode, QueryText};
use alfred::secret::Secret;
use alfred::store::embedded::{self, EmbeddedStore};
use alfred::store::postgres::{PostgresSettings, PostgresStore, Quantization};
use alfred::store::{EmbeddingRepo, ExportRequest, SearchRequest};
use alfred::telemetry::metrics::PoolMetrics;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

cases! {
    embedded: "`kill -9` at random moments, embedded store",
    postgres: "`kill -9` at random moments, PostgreSQL",
}

pub(super) const COLUMNS: &[&str] = &[
    "killed",
    "of these in the middle",
    "documents, whole and in part",
    "next run",
    "searches that differ from a rebuild's",
];

/// Documents of a version of the corpus.
const DOCUMENTS: usize = 12;
/// In every so many rounds the store is empty at first, so that its making is cut off too.
const FRESH: usize = 4;

pub(super) struct Seen {
    kills: usize,
    in_the_middle: usize,
    documents: usize,
    slowest: Duration,
    searches: usize,
}

impl From<Seen> for Cells {
    fn from(seen: Seen) -> Self {
        Self(vec![
            seen.kills.to_string(),
            seen.in_the_middle.to_string(),
            format!("{} whole, 0 in part", seen.documents),
            format!("complete, in {:.1} s at most", seen.slowest.as_secs_f64()),
            format!("0 of {}", seen.searches),
        ])
    }
}

/// Documents by their source.
type State = BTreeMap<String, EmbeddedDocument>;

/// What a search found: source, position and score, in order of the first two.
type Found = Vec<(String, u32, f32)>;

/// Where the stores are, by name.
enum Place {
    Folder,
    Database(Server),
}

impl Place {
    fn folder(home: &Home, store: &str) -> PathBuf {
        home.path().join("stores").join(store)
    }

    fn dsn(server: &Server, store: &str) -> String {
        let dsn = server.dsn();
        dsn.reveal()
            .replace("dbname=alfred", &format!("dbname={store}"))
    }

    fn prepare(&self, home: &Home, store: &str, command: &mut Command) {
        match self {
            Self::Folder => command.env("ALFRED__STORE__PATH", Self::folder(home, store)),
            Self::Database(server) => command.env("POSTGRES_DSN", Self::dsn(server, store)),
        };
    }

    /// Makes it a store that was never opened.
    fn clear(&self, home: &Home, store: &str) {
        match self {
            Self::Folder => {
                let _ = std::fs::remove_dir_all(Self::folder(home, store));
            }
            Self::Database(server) => {
                server.execute(&format!("DROP DATABASE IF EXISTS {store} WITH (FORCE)"));
                server.execute(&format!("CREATE DATABASE {store}"));
            }
        }
    }

    /// `None` where the store was not made yet.
    fn open(&self, home: &Home, store: &str) -> Option<Box<dyn EmbeddingRepo>> {
        match self {
            Self::Folder => {
                let folder = Self::folder(home, store);
                let open = || EmbeddedStore::open(&folder, Arc::new(SystemClock)).unwrap();
                embedded::exists(&folder).then(|| Box::new(open()) as _)
            }
            Self::Database(server) => {
                let settings = PostgresSettings {
                    dsn: Secret::new(Self::dsn(server, store)),
                    pool_size: 2,
                    max_reads: 0,
                    pool_timeout: Duration::from_secs(10),
                    statement_timeout: Duration::from_secs(10),
                    ef_search: 40,
                    quantization: Quantization::default(),
                    search_path: None,
                    metrics: PoolMetrics::default(),
                };
                Some(Box::new(PostgresStore::open(settings).unwrap()))
            }
        }
    }
}

/// A place, a provider, and two versions of a corpus in it, stored undisturbed.
struct Rig {
    place: Place,
    standin: Standin,
    home: Home,
    versions: Vec<State>,
    found: Vec<Vec<Found>>,
}

impl Rig {
    fn new(place: Place) -> Self {
        let mut rig = Self {
            place,
            standin: Standin::start(&[]),
            home: Home::new(),
            versions: Vec::new(),
            found: Vec::new(),
        };
        for version in 0..2 {
            let store = format!("rebuilt_{version}");
            rig.place.clear(&rig.home, &store);
            rig.write(version);
            rig.complete(&store);
            let repo = rig.place.open(&rig.home, &store).unwrap();
            rig.versions.push(state(&*repo));
            let chunks: usize = rig.versions[version]
                .values()
                .map(|one| one.chunks.len())
                .sum();
            assert!(
                (40..=100).contains(&chunks),
                "{chunks} chunks: a search is to find all"
            );
            rig.found.push(rig.searches(&*repo));
        }
        assert!(rig.versions[0] != rig.versions[1]);
        rig
    }

    /// Writes the documents of a version: the second lacks some of the first, has others, and half
    /// of the rest are other texts.
    fn write(&self, version: usize) {
        let _ = std::fs::remove_dir_all(self.home.path().join("docs"));
        for n in 4 * version..4 * version + DOCUMENTS {
            let edition = if n % 2 == 0 { version } else { 0 };
            let mut text = format!("# Document {n}\n\n");
            for section in 0..3 + n % 3 {
                let sentence = format!("Edition {edition} of document {n} says {section}{n}. ");
                let _ = write!(text, "## Section {section}\n\n{}\n\n", sentence.repeat(25));
            }
            self.home.write(&format!("docs/{n}.md"), text);
        }
    }

    fn ingest(&self, store: &str) -> Command {
        let arguments = ["ingest", "docs", "--prune", "--batch", "8", "--json"];
        let mut command = self.standin.alfred(&self.home, &arguments);
        self.place.prepare(&self.home, store, &mut command);
        command
    }

    /// Runs an ingest to its end; how long it took.
    fn complete(&self, store: &str) -> Duration {
        let began = SystemClock.monotonic();
        let done = finish(self.ingest(store).spawn().unwrap()).expect(0);
        let took = began.elapsed();
        assert_eq!(done.json()["failed"], 0, "{done:?}");
        let mut check = self.standin.alfred(&self.home, &["store", "check"]);
        self.place.prepare(&self.home, store, &mut check);
        finish(check.spawn().unwrap()).expect(0);
        took
    }

    fn searches(&self, repo: &dyn EmbeddingRepo) -> Vec<Found> {
        let questions = self.versions.first();
        let questions: Vec<_> = questions.into_iter().flatten().step_by(5).collect();
        let own = state(repo);
        let questions = if questions.is_empty() {
            own.iter().step_by(5).collect()
        } else {
            questions
        };
        let mut found = Vec::new();
        for (_, document) in questions {
            let (chunk, vector) = &document.chunks[0];
            let text: String = chunk.text.chars().take(200).collect();
            for mode in [Mode::Vector, Mode::Text, Mode::Hybrid] {
                let hits = repo.search(&SearchRequest {
                    collection: &CollectionName::default(),
                    mode,
                    text: &QueryText::new(&text).unwrap(),
                    embedding: Some(vector),
                    filter: &Filter::default(),
                    // All of them.
                    limit: 100,
                });
                let hits = hits.unwrap().into_iter();
                let mut hits: Found = hits
                    .map(|hit| (hit.source, hit.position, hit.score))
                    .collect();
                hits.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
                found.push(hits);
            }
        }
        found
    }

    /// Kills an ingest of this version after a while; whether there was something to kill.
    fn cut_off(&self, version: usize, after: Duration) -> bool {
        self.write(version);
        let mut child = self.ingest("store").spawn().unwrap();
        SystemClock.sleep(after);
        let was_running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        was_running
    }

    /// Sees that each document is one of the two, and that none is gone that both versions have.
    fn whole(&self, was_fresh: bool) -> State {
        let repo = self.place.open(&self.home, "store");
        let now = repo.map(|repo| state(&*repo)).unwrap_or_default();
        for (source, document) in &now {
            let is_whole = self
                .versions
                .iter()
                .any(|version| version.get(source) == Some(document));
            assert!(
                is_whole,
                "{source} is neither the old nor the new one: {document:#?}"
            );
        }
        let [old, new] = &self.versions[..] else {
            unreachable!()
        };
        let mut kept = old.keys().filter(|source| new.contains_key(*source));
        let gone = kept.find(|source| !was_fresh && !now.contains_key(*source));
        assert_eq!(gone, None, "it was there before and is to be there after");
        now
    }
}

fn state(repo: &dyn EmbeddingRepo) -> State {
    let mut state = State::new();
    loop {
        let after = state.last_key_value().map(|(source, _)| source.clone());
        let page = repo.export(&ExportRequest {
            collection: &CollectionName::default(),
            after: after.as_deref(),
            chunks: 1_000,
        });
        let page = page.unwrap();
        if page.is_empty() {
            return state;
        }
        state.extend(page.into_iter().map(|one| (one.source.to_string(), one)));
    }
}

fn assert_same(found: &[Found], rebuilt: &[Found]) {
    for (found, rebuilt) in found.iter().zip(rebuilt) {
        let same = |a: &(String, u32, f32), b: &(String, u32, f32)| {
            (&a.0, a.1) == (&b.0, b.1) && (a.2 - b.2).abs() < 1e-4
        };
        let all =
            found.len() == rebuilt.len() && found.iter().zip(rebuilt).all(|(a, b)| same(a, b));
        assert!(all, "found: {found:#?}\nin a rebuilt store: {rebuilt:#?}");
    }
    assert_eq!(found.len(), rebuilt.len());
}

/// Numbers that look like chance, from a seed (SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[expect(clippy::print_stdout, reason = "a failure is followed up by its seed")]
fn killed(stores: Place, pace: &Pace) -> Seen {
    let now = SystemClock.wall().duration_since(UNIX_EPOCH).unwrap();
    let start = now.as_secs();
    println!("seed {start}");
    let mut chance = Chance(start);
    let rig = Rig::new(stores);
    rig.place.clear(&rig.home, "store");
    let mut usual = rig.complete("store");
    let mut seen = Seen {
        kills: 0,
        in_the_middle: 0,
        documents: 0,
        slowest: Duration::ZERO,
        searches: 0,
    };
    for round in 0..pace.kills {
        let version = round % 2;
        let is_fresh = round % FRESH == 0;
        if is_fresh {
            rig.place.clear(&rig.home, "store");
        }
        let us = u64::try_from(usual.as_micros()).unwrap();
        let after = Duration::from_micros(chance.below(us));
        if !rig.cut_off(version, after) {
            usual = usual.min(after);
        }
        let left = rig.whole(is_fresh);
        seen.kills += 1;
        seen.documents += left.len();
        let begun = left != rig.versions[1 - version] && !left.is_empty();
        seen.in_the_middle += usize::from(begun && left != rig.versions[version]);

        seen.slowest = seen.slowest.max(rig.complete("store"));
        let repo = rig.place.open(&rig.home, "store").unwrap();
        assert!(
            state(&*repo) == rig.versions[version],
            "the next run was to complete it"
        );
        let found = rig.searches(&*repo);
        assert_same(&found, &rig.found[version]);
        seen.searches += found.len();
    }
    assert!(
        seen.in_the_middle > 0,
        "no kill came in the middle of the work"
    );
    seen
}

fn embedded(pace: &Pace) -> Seen {
    killed(Place::Folder, pace)
}

fn postgres(pace: &Pace) -> Seen {
    killed(Place::Database(Server::new()), pace)
}

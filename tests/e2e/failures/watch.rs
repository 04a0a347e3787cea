//! Watching a daemon under load while something it depends on goes wrong and comes back.

use super::Cells;
use super::load::{KNOWN, Kind, Load, Patience, Reply};
use crate::support::{Daemon, Log, PATIENCE, request};
use alfred::client::Endpoint;
use alfred::clock::{Clock as _, SystemClock};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Within this a dependency that is back has to be used again.
pub(super) const RECOVERY: Duration = Duration::from_secs(2);

/// A reply that took longer does not count as one of a daemon that has recovered.
const GOOD_WITHIN: Duration = Duration::from_secs(1);

/// How much later than the daemon's own limit a reply may be: the debug build on a busy machine.
const MARGIN: Duration = Duration::from_secs(2);

/// `server.write_timeout_ms` of the daemons.
const WRITE_TIMEOUT: Duration = Duration::from_secs(75);

/// This many requests in a row, all answered well, end a watch.
const STEADY: usize = 30;

/// What the tables of these cases say of each.
pub(super) const COLUMNS: &[&str] = &[
    "what clients saw",
    "slowest reply",
    "well again after",
    "confirmed, then lost",
    "what the log said",
];

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The load before anything goes wrong.
    pub(super) before: Duration,
    /// How long it goes wrong.
    pub(super) fault: Duration,
    /// The `Retry-After` of a provider, in s.
    pub(super) retry_after_s: u64,
    /// `embedding.timeout_ms`.
    pub(super) provider_timeout: Duration,
    /// `server.request_timeout_ms`.
    pub(super) request_timeout: Duration,
    /// The load after it was well again, at least.
    pub(super) after: Duration,
    /// What a disk that is slow takes to sync.
    pub(super) sync: Duration,
    /// `server.header_timeout_ms` and `server.body_timeout_ms` where clients are slow.
    pub(super) client_timeouts: [Duration; 2],
    /// How long more is asked than can be answered.
    pub(super) overload: Duration,
    /// How many connections are idle.
    pub(super) idle: usize,
    /// How often an ingest is killed.
    pub(super) kills: usize,
    /// How many bits are flipped, one at a time.
    pub(super) flips: usize,
}

impl Pace {
    /// Of every day: the whole suite is to be short.
    pub(super) const BRIEF: Self = Self {
        before: Duration::from_millis(300),
        fault: Duration::from_millis(1_200),
        retry_after_s: 5,
        provider_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(3),
        after: Duration::from_millis(0),
        sync: Duration::from_millis(1_500),
        client_timeouts: [Duration::from_millis(1_500), Duration::from_secs(2)],
        overload: Duration::from_secs(10),
        idle: 1_500,
        kills: 12,
        flips: 24,
    };

    /// With the daemon's own limits, for the figures of `docs/failure-modes.md`.
    pub(super) const FULL: Self = Self {
        before: Duration::from_secs(2),
        fault: Duration::from_secs(3),
        retry_after_s: 60,
        provider_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(10),
        after: Duration::from_secs(4),
        sync: Duration::from_secs(10),
        client_timeouts: [Duration::from_secs(10), Duration::from_secs(30)],
        overload: Duration::from_mins(5),
        idle: 10_000,
        kills: 100,
        flips: 200,
    };

    /// As long as something is wrong.
    pub(super) fn wait(&self) {
        SystemClock.sleep(self.fault);
    }

    /// The environment of a daemon with these limits.
    pub(super) fn environment(&self) -> [(&'static str, String); 3] {
        let ms = |limit: Duration| limit.as_millis().to_string();
        [
            ("ALFRED__EMBEDDING__TIMEOUT_MS", ms(self.provider_timeout)),
            (
                "ALFRED__SERVER__REQUEST_TIMEOUT_MS",
                ms(self.request_timeout),
            ),
            ("ALFRED__SERVER__WRITE_TIMEOUT_MS", ms(WRITE_TIMEOUT)),
        ]
    }

    fn patience(&self) -> Patience {
        Patience {
            question: self.request_timeout + MARGIN,
            write: WRITE_TIMEOUT + MARGIN,
        }
    }
}

/// What a case promises beside what all do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    /// What may be replied besides 200, while it lasts and until it is over.
    pub(super) may_say: &'static [(Kind, &'static [&'static str])],
    /// Until when all is well again, from [`Watch::mended`].
    pub(super) recovery: Duration,
}

impl Promise {
    /// Nobody notices.
    pub(super) const NOTHING: Self = Self {
        may_say: &[],
        recovery: RECOVERY,
    };
}

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Replies to requests that were due from the fault to the recovery, by kind and outcome.
    pub(super) replies: BTreeMap<Kind, BTreeMap<String, usize>>,
    pub(super) slowest: Duration,
    /// From the dependency's return to the first reply after which all were good.
    pub(super) recovery: Duration,
    /// Documents whose storing was confirmed, during the whole load.
    pub(super) acknowledged: usize,
    pub(super) lost: usize,
    /// Warnings and errors in the log, each up to its first colon, with how many of them there were;
    /// `None` where there is no log.
    pub(super) said: Option<BTreeMap<String, usize>>,
}

impl From<Seen> for Cells {
    fn from(seen: Seen) -> Self {
        Self(vec![
            replies(&seen),
            format!("{:.2} s", seen.slowest.as_secs_f64()),
            format!("{:.2} s", seen.recovery.as_secs_f64()),
            format!("{} of {}", seen.lost, seen.acknowledged),
            said(seen.said.as_ref()),
        ])
    }
}

/// Each kind of request with its outcomes; those that were all answered come last, together.
fn replies(seen: &Seen) -> String {
    let mut texts = Vec::new();
    let (mut answered, mut count) = (Vec::new(), 0);
    for (kind, outcomes) in &seen.replies {
        if let (1, Some(good)) = (outcomes.len(), outcomes.get("200")) {
            answered.push(kind.name());
            count += good;
            continue;
        }
        let outcomes: Vec<_> = outcomes
            .iter()
            .map(|(outcome, count)| format!("{outcome} × {count}"))
            .collect();
        texts.push(format!("{}: {}", kind.name(), outcomes.join(", ")));
    }
    if texts.is_empty() {
        texts.push(format!("everything: 200 × {count}"));
    } else if !answered.is_empty() {
        texts.push(format!("{}: 200 × {count}", answered.join(", ")));
    }
    texts.join("; ")
}

fn said(said: Option<&BTreeMap<String, usize>>) -> String {
    let Some(said) = said else {
        return "not recorded".to_owned();
    };
    if said.is_empty() {
        return "nothing".to_owned();
    }
    let lines = said.iter().map(|(line, count)| format!("{line} × {count}"));
    lines.collect::<Vec<_>>().join("; ")
}

/// A daemon under load.
pub(super) struct Watch {
    endpoint: Endpoint,
    log: Option<Log>,
    load: Load,
    pace: Pace,
    began: Instant,
    mended: Option<Instant>,
}

impl Watch {
    /// Fills a daemon that works, puts it under load, and sees that all is well.
    pub(super) fn begin(daemon: &Daemon, pace: &Pace) -> Self {
        fill(&daemon.endpoint);
        Self::begin_full(&daemon.endpoint, Some(daemon.log.clone()), pace)
    }

    /// Puts a daemon under load that has documents and works, and sees that it does.
    pub(super) fn begin_full(endpoint: &Endpoint, log: Option<Log>, pace: &Pace) -> Self {
        let watch = Self::begin_broken(endpoint, log, pace);
        SystemClock.sleep(pace.before);
        let before = watch.load.so_far();
        let bad: Vec<_> = before.iter().filter(|reply| !is_good(reply)).collect();
        assert!(bad.is_empty(), "before anything went wrong: {bad:#?}");
        Self {
            began: SystemClock.monotonic(),
            ..watch
        }
    }

    /// Puts a daemon under load that has nothing to work with.
    pub(super) fn begin_broken(endpoint: &Endpoint, log: Option<Log>, pace: &Pace) -> Self {
        Self {
            load: Load::start(endpoint, pace.patience()),
            began: SystemClock.monotonic(),
            mended: None,
            pace: *pace,
            endpoint: endpoint.clone(),
            log,
        }
    }

    /// What the daemon depends on is as it was.
    pub(super) fn mended(&mut self) {
        self.mended = Some(SystemClock.monotonic());
    }

    /// Goes on until all is well, and sees that all promises were kept.
    #[track_caller]
    pub(super) fn end(mut self, promise: &Promise) -> Seen {
        let mended = *self.mended.get_or_insert_with(|| SystemClock.monotonic());
        let most = mended + promise.recovery.max(self.pace.after) + Duration::from_secs(2);
        SystemClock.sleep(self.pace.after);
        while !is_steady(&self.load.so_far(), mended) && SystemClock.monotonic() < most {
            SystemClock.sleep(Duration::from_millis(20));
        }
        let replies = self.load.finish();
        let seen = Seen {
            lost: lost(&self.endpoint, &replies),
            said: self.log.as_ref().map(Log::warnings),
            ..judge(&replies, self.began, mended)
        };
        check(&replies, &seen, self.began, promise);
        assert_eq!(request(&self.endpoint, "GET", "/readyz", None).0, 200);
        seen
    }
}

/// Some documents, and questions whose embeddings are known from then on.
pub(super) fn fill(endpoint: &Endpoint) {
    let documents: Vec<_> = (0..20)
        .map(|number| {
            let content = format!("# Subject {number}\n\nOtters hold hands, {number} of them.\n");
            json!({"source": format!("docs/{number}.md"), "content": content})
        })
        .collect();
    let ask = |path: &str, body| {
        let (status, reply) = request(endpoint, "POST", path, Some(&body));
        assert_eq!(status, 200, "{reply}");
    };
    ask("/v1/documents", json!(documents));
    for question in KNOWN {
        ask("/v1/query", json!({"query": question}));
    }
}

fn is_good(reply: &Reply) -> bool {
    reply.outcome == "200" && reply.took() <= GOOD_WITHIN
}

/// Whether the last [`STEADY`] requests that were due after `mended` were answered well.
fn is_steady(replies: &[Reply], mended: Instant) -> bool {
    let mut after: Vec<&Reply> = replies.iter().filter(|reply| reply.due >= mended).collect();
    after.sort_by_key(|reply| reply.due);
    after.len() >= STEADY && after.iter().rev().take(STEADY).all(|reply| is_good(reply))
}

/// `replies` are in order of due time.
fn judge(replies: &[Reply], began: Instant, mended: Instant) -> Seen {
    let last_bad = replies
        .iter()
        .rposition(|reply| reply.due >= mended && !is_good(reply));
    let first_good = last_bad.map_or(0, |index| index + 1);
    let recovered = replies[first_good..]
        .iter()
        .filter(|reply| reply.due >= mended)
        .map(|reply| reply.ended)
        .min()
        .expect("the daemon was not well again when the load ended");
    let mut seen = Seen {
        replies: BTreeMap::new(),
        slowest: Duration::ZERO,
        recovery: recovered.saturating_duration_since(mended),
        acknowledged: replies.iter().filter(|reply| is_stored(reply)).count(),
        lost: 0,
        said: None,
    };
    for reply in replies {
        if reply.due < began || reply.due > recovered {
            continue;
        }
        let outcomes = seen.replies.entry(reply.kind).or_default();
        *outcomes.entry(reply.outcome.clone()).or_default() += 1;
        seen.slowest = seen.slowest.max(reply.took());
    }
    seen
}

fn is_stored(reply: &Reply) -> bool {
    reply.kind == Kind::Write && reply.outcome == "200"
}

/// How many documents are gone whose storing was confirmed.
fn lost(endpoint: &Endpoint, replies: &[Reply]) -> usize {
    let mut there = BTreeSet::new();
    let mut path = "/v1/documents?limit=100".to_owned();
    let deadline = SystemClock.monotonic() + PATIENCE;
    loop {
        assert!(SystemClock.monotonic() < deadline, "the list has no end");
        let (status, page) = request(endpoint, "GET", &path, None);
        assert_eq!(status, 200, "{page}");
        let documents = page["documents"].as_array().unwrap();
        let sources = documents.iter().map(|document| document["source"].as_str());
        there.extend(sources.map(|source| source.unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/documents?limit=100&cursor={cursor}"),
            None => break,
        }
    }
    let stored = replies.iter().filter(|reply| is_stored(reply));
    let sources = stored.filter_map(|reply| reply.source.as_ref());
    sources.filter(|source| !there.contains(*source)).count()
}

#[track_caller]
fn check(replies: &[Reply], seen: &Seen, began: Instant, promise: &Promise) {
    let may_say = |reply: &Reply| {
        let said = promise
            .may_say
            .iter()
            .filter(|(kind, _)| *kind == reply.kind);
        let mut said = said.flat_map(|(_, outcomes)| outcomes.iter());
        reply.outcome == "200" || said.any(|outcome| reply.outcome == *outcome)
    };
    let describe = |reply: &Reply| {
        let since = reply.due.saturating_duration_since(began);
        format!(
            "{:?} after {since:.2?}: {} in {:.2?}",
            reply.kind,
            reply.outcome,
            reply.took()
        )
    };
    let wrong: Vec<_> = replies
        .iter()
        .filter(|reply| !may_say(reply))
        .map(describe)
        .collect();
    assert!(wrong.is_empty(), "not promised: {wrong:#?}\n{seen:#?}");
    let silent: Vec<_> = replies
        .iter()
        .filter(|reply| reply.outcome.starts_with("503") && !reply.has_retry_after)
        .map(describe)
        .collect();
    assert!(silent.is_empty(), "503 without Retry-After: {silent:#?}");
    assert!(
        seen.recovery <= promise.recovery,
        "well again after {:?}, promised within {:?}: {:#?}\n{seen:#?}",
        seen.recovery,
        promise.recovery,
        replies
            .iter()
            .filter(|reply| !is_good(reply))
            .map(describe)
            .collect::<Vec<_>>()
    );
    assert_eq!(seen.lost, 0, "confirmed and gone: {seen:#?}");
}

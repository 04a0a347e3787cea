//! More questions than can be answered. Those beyond are refused at once, and the others do not wait
//! for it.

use super::Cells;
use super::flood::{Answered, closed, open};
use super::watch::{Pace, fill};
use crate::failures::cases;
use crate::provider::Standin;
use crate::support::{Daemon, Home};
use alfred::clock::{Clock as _, SystemClock};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

cases! {
    ten_times: "Ten times as many new questions as can be answered",
}

pub(super) const COLUMNS: &[&str] = &[
    "can be answered",
    "asked",
    "what clients saw",
    "p50, p95, p99 of those answered",
    "p50, p99, slowest of those refused",
    "at full speed again after",
    "most memory, and before",
];

/// Places for questions; the provider takes [`LATENCY_MS`] for each.
const PLACES: &str = "4";
const LATENCY_MS: &str = "50";
/// Clients that ask one after another to find what can be answered.
const CLIENTS: u32 = 6;
/// Once the overload lasts: it takes this long to tell it from a burst.
const SETTLED: Duration = Duration::from_secs(2);

/// What is promised.
const ANSWERED_WITHIN: Duration = Duration::from_millis(300);
const REFUSED_WITHIN: Duration = Duration::from_millis(50);
const RECOVERY: Duration = Duration::from_secs(2);
const MEMORY_MB: u64 = 100;

#[derive(Clone)]
pub(super) struct Seen {
    per_s: [f64; 2],
    lasted: Duration,
    counts: BTreeMap<u16, usize>,
    answered: Vec<Duration>,
    refused: Vec<Duration>,
    recovery: Duration,
    memory_mb: [u64; 2],
}

impl From<Seen> for Cells {
    fn from(seen: Seen) -> Self {
        let [can, asked] = seen.per_s;
        let counts = seen.counts.iter();
        let counts = counts.map(|(status, count)| format!("{status} × {count}"));
        let ms = |times: &[Duration], parts: &[f64]| {
            let ms = |part: &f64| format!("{:.0}", percentile(times, *part).as_secs_f64() * 1e3);
            parts.iter().map(ms).collect::<Vec<_>>().join(", ") + " ms"
        };
        Self(vec![
            format!("{can:.0}/s"),
            format!("{asked:.0}/s for {} s", seen.lasted.as_secs()),
            counts.collect::<Vec<_>>().join(", "),
            ms(&seen.answered, &[0.5, 0.95, 0.99]),
            ms(&seen.refused, &[0.5, 0.99, 1.0]),
            format!("{:.2} s", seen.recovery.as_secs_f64()),
            format!("{} MB, {} MB", seen.memory_mb[1], seen.memory_mb[0]),
        ])
    }
}

/// `times` are in order.
fn percentile(times: &[Duration], part: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let rank = (times.len() as f64 * part).ceil() as usize;
    times[rank.clamp(1, times.len()) - 1]
}

fn ten_times(pace: &Pace) -> Seen {
    let (home, standin) = (Home::new(), Standin::start(&["--latency-ms", LATENCY_MS]));
    let mut command = standin.alfred(&home, &["serve", "--listen", "127.0.0.1:0"]);
    command.env("ALFRED__SERVER__MAX_IN_FLIGHT", PLACES);
    let daemon = Daemon::start(command);
    fill(&daemon.endpoint);
    closed(&daemon.endpoint, "warming", CLIENTS, Duration::from_secs(1));
    let measured = Duration::from_secs(2);
    let before = closed(&daemon.endpoint, "before", CLIENTS, measured);
    let can = per_s(&before, measured);
    let memory_before = memory_mb(&daemon, "VmRSS");

    let start = SystemClock.monotonic();
    let during = open(&daemon.endpoint, "during", 10.0 * can, pace.overload);
    let end = SystemClock.monotonic();
    let after = closed(&daemon.endpoint, "after", CLIENTS, 2 * RECOVERY);
    let memory_mb = [memory_before, memory_mb(&daemon, "VmHWM")];
    let seen = Seen {
        per_s: [can, per_s(&during, pace.overload)],
        recovery: full_speed(&after, end, can),
        memory_mb,
        ..judge(&during, start, pace)
    };
    check(&seen, &during);
    seen
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn per_s(answered: &[Answered], lasted: Duration) -> f64 {
    answered.len() as f64 / lasted.as_secs_f64()
}

fn judge(during: &[Answered], start: Instant, pace: &Pace) -> Seen {
    let mut counts = BTreeMap::new();
    for one in during {
        *counts.entry(one.status).or_default() += 1;
    }
    let times = |status: u16| {
        // In five minutes the beginning counts like the rest.
        let from = start
            + if pace.overload > 30 * SETTLED {
                Duration::ZERO
            } else {
                SETTLED
            };
        let those = during
            .iter()
            .filter(|one| one.status == status && one.due >= from);
        let mut times: Vec<Duration> = those.map(Answered::took).collect();
        times.sort_unstable();
        times
    };
    Seen {
        per_s: [0.0; 2],
        lasted: pace.overload,
        counts,
        answered: times(200),
        refused: times(503),
        recovery: Duration::ZERO,
        memory_mb: [0; 2],
    }
}

/// From `end` to the beginning of the first half second in which nine tenths are answered of what can
/// be, after which no question is refused any more.
fn full_speed(after: &[Answered], end: Instant, can: f64) -> Duration {
    const HALF: Duration = Duration::from_millis(500);
    let refused = after.iter().filter(|one| one.status != 200);
    let last_refused = refused.map(|one| one.ended).max().unwrap_or(end);
    let steps = (0..30).map(|step| last_refused + Duration::from_millis(100) * step);
    for from in steps {
        let within = after
            .iter()
            .filter(|one| (from..from + HALF).contains(&one.ended));
        let within: Vec<_> = within.copied().collect();
        if per_s(&within, HALF) >= 0.9 * can {
            return from.saturating_duration_since(end);
        }
    }
    let seconds = (0..4).map(|second| {
        let from = end + Duration::from_secs(second);
        let within = |one: &&Answered| (from..from + 2 * HALF).contains(&one.ended);
        let within: Vec<_> = after.iter().filter(within).collect();
        let good = within.iter().filter(|one| one.status == 200).count();
        format!("{good} of {}", within.len())
    });
    let seconds: Vec<_> = seconds.collect();
    panic!(
        "not at {can:.0}/s again within {:?}; good each second: {seconds:?}",
        2 * RECOVERY
    );
}

/// `VmRSS` or `VmHWM` of the daemon.
fn memory_mb(daemon: &Daemon, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(key)).unwrap();
    let kib = value.trim_matches(|c: char| !c.is_ascii_digit());
    kib.parse::<u64>().unwrap() / 1024
}

fn check(seen: &Seen, during: &[Answered]) {
    let mut lags: Vec<_> = during
        .iter()
        .map(|one| one.sent.saturating_duration_since(one.due))
        .collect();
    lags.sort_unstable();
    let late = format!(
        "{:?}; the client was late by {:?} (p99)",
        Cells::from(seen.clone()).0,
        percentile(&lags, 0.99)
    );
    let unknown: Vec<_> = seen
        .counts
        .keys()
        .filter(|status| ![200, 503].contains(*status))
        .collect();
    assert!(unknown.is_empty(), "{:?}", seen.counts);
    let silent = during
        .iter()
        .filter(|one| one.status == 503 && !one.has_retry_after);
    assert_eq!(silent.count(), 0, "503 without Retry-After");
    let [can, _] = seen.per_s;
    let answered: Vec<_> = during
        .iter()
        .filter(|one| one.status == 200)
        .copied()
        .collect();
    let answered = per_s(&answered, seen.lasted);
    assert!(
        answered > 0.8 * can,
        "{answered:.0}/s were answered of {can:.0}/s; {late}"
    );
    let p95 = percentile(&seen.answered, 0.95);
    assert!(
        p95 < ANSWERED_WITHIN,
        "p95 of those answered: {p95:?}; {late}"
    );
    let p99 = percentile(&seen.refused, 0.99);
    assert!(
        p99 < REFUSED_WITHIN,
        "p99 of those refused: {p99:?}; {late}"
    );
    assert!(
        seen.recovery <= RECOVERY,
        "full speed after {:?}",
        seen.recovery
    );
    let [before, most] = seen.memory_mb;
    assert!(
        most < before + MEMORY_MB,
        "{before} MB before, {most} MB at most"
    );
}

//! What is shown of what was sampled beside the windows, and of what happened: a few lines of the
//! text report, and columns of the CSV.

use crate::plain;
use crate::soak::event::{Event, EventRecord};
use crate::soak::evidence::{self, Taken};
use crate::soak::record::WindowRecord;
use crate::soak::run_folder::RecordedRun;
use crate::soak::units::{float, show_count};
use std::fmt::Write as _;

/// Events that the text report shows of a run; `events.jsonl` has them all.
const EVENTS_SHOWN: usize = 8;
/// Evidence that it shows, and lines of the summary of each; the folders have it all.
const EVIDENCE_SHOWN: usize = 8;
const SUMMARY_SHOWN: usize = 6;

/// A figure of a window as text; empty when it was not sampled.
type Column = (&'static str, fn(&WindowRecord) -> Option<String>);

macro_rules! columns {
    ($part:ident: $($field:ident),+) => {
        &[$((
            concat!(stringify!($part), "_", stringify!($field)),
            |window| window.$part.as_ref()?.$field.map(|value| value.to_string()),
        )),+]
    };
}

/// Columns of the unit under test; the names are those of `windows.jsonl` with the object before.
const UNIT: &[Column] = columns!(unit: processes, rss_bytes, pss_bytes, anon_bytes, cpu_s, threads,
    descriptors, voluntary_switches, involuntary_switches, read_bytes, written_bytes, restarts,
    cgroup_memory_bytes, cgroup_anon_bytes, cgroup_cpu_s, journal_errors, journal_warnings);

/// Columns of the machine.
const HOST: &[Column] = columns!(host: cpu_pressure_s, memory_pressure_s, io_pressure_s, load_1min,
    steal_s, cpu_s, available_bytes, free_bytes);

/// Columns before them: memory of the generator, and judged answers.
const OWN: &str = ",generator_rss_bytes,relevance_answers,relevance_hits";

/// Headings, each with a comma before.
pub(super) fn csv_head() -> String {
    UNIT.iter()
        .chain(HOST)
        .fold(OWN.to_owned(), |mut head, (name, _)| {
            let _ = write!(head, ",{name}");
            head
        })
}

/// A window's values, each with a comma before.
pub(super) fn csv_values(window: &WindowRecord) -> String {
    let rss = window.resources.generator_rss_bytes;
    let rss = rss.map_or_else(String::new, |rss| rss.to_string());
    let relevance = &window.relevance;
    let mut line = format!(",{rss},{},{}", relevance.answers, relevance.hits);
    for (_, value) in UNIT.iter().chain(HOST) {
        let _ = write!(line, ",{}", value(window).unwrap_or_default());
    }
    line
}

/// The unit under test in a line; `None` when it was not sampled.
pub(super) fn unit_line(run: &RecordedRun) -> Option<String> {
    let sampled: Vec<_> = run
        .windows
        .iter()
        .filter_map(|window| Some((window, window.unit.as_ref()?)))
        .collect();
    let (_, last) = sampled.last()?;
    let sample = &run.run.scenario.sample;
    let mut line = match (&sample.unit, sample.pid) {
        (Some(unit), _) => unit.clone(),
        (None, Some(pid)) => format!("process {pid}"),
        (None, None) => "target".to_owned(),
    };
    let mut rss = sampled.iter().filter_map(|(_, unit)| unit.rss_bytes);
    if let Some(first) = rss.next() {
        let most = rss.fold(first, u64::max);
        let now = last.rss_bytes.unwrap_or(most);
        let (first, now, most) = (mib(first), mib(now), mib(most));
        let _ = write!(line, ": RSS {first} to {now} MiB, at most {most}");
    }
    let (cpu_s, length_s) = sampled
        .iter()
        .filter_map(|(window, unit)| Some((unit.cpu_s?, window.length_s)))
        .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    if length_s > 0.0 {
        let _ = write!(line, ", {:.3} cores", cpu_s / length_s);
    }
    if let Some(descriptors) = last.descriptors {
        let _ = write!(line, ", {descriptors} descriptors");
    }
    if let Some(threads) = last.threads {
        let _ = write!(line, ", {threads} threads");
    }
    let logged = |of: fn(&crate::soak::record::UnitSample) -> Option<u64>| {
        sampled
            .iter()
            .map(|(_, unit)| of(unit))
            .sum::<Option<u64>>()
    };
    if let Some(errors) = logged(|unit| unit.journal_errors) {
        let warnings = logged(|unit| unit.journal_warnings).unwrap_or(0);
        let (errors, warnings) = (show_count(errors), show_count(warnings));
        let _ = write!(line, ", logged {errors} errors and {warnings} warnings");
    }
    Some(line)
}

/// How many requests were asked for, where the duration ended the run before; `None` where nothing is
/// missing, or something else is why.
pub(super) fn unreached_line(run: &RecordedRun) -> Option<String> {
    let coverage = &run.verdict.as_ref()?.coverage;
    let (wanted, due) = (run.run.scenario.count?, run.tally.counts.due);
    let is_whole = !coverage.stopped_early && coverage.windows_recorded == coverage.windows_planned;
    (is_whole && due < wanted).then(|| {
        format!(
            "{} of {} requests that were asked for fell due: the duration ended the run",
            show_count(due),
            show_count(wanted)
        )
    })
}

/// What happened to a run, a line each.
pub(super) fn event_lines(run: &RecordedRun) -> Vec<String> {
    // Evidence has lines of its own.
    let is_shown = |record: &&EventRecord| !matches!(record.event, Event::EvidenceTaken { .. });
    let events: Vec<&EventRecord> = run.events.iter().filter(is_shown).collect();
    let mut lines: Vec<String> = events
        .iter()
        .take(EVENTS_SHOWN)
        .map(|record| format!("{:.0} s: {}", record.at_s, record.event))
        .collect();
    let more = events.len().saturating_sub(EVENTS_SHOWN);
    if more > 0 {
        lines.push(format!(
            "and {} more in events.jsonl",
            show_count(more as u64)
        ));
    }
    lines
}

/// The evidence of a run: what was seen, where it lies, what it cost, and below it what stands out.
pub(super) fn evidence_lines(run: &RecordedRun) -> Vec<Vec<String>> {
    let all = evidence::whole(&run.folder);
    let mut shown: Vec<Vec<String>> = all.iter().take(EVIDENCE_SHOWN).map(evidence_line).collect();
    let more = all.len().saturating_sub(EVIDENCE_SHOWN);
    if more > 0 {
        let more = show_count(more as u64);
        shown.push(vec![format!("and {more} more in {}", evidence::FOLDER)]);
    }
    shown
}

fn evidence_line(one: &Taken) -> Vec<String> {
    let record = &one.record;
    let head = format!(
        "{:.0} s: {}: {}/{} ({:.1} KB in {:.1} s, {:.2} CPU s)",
        record.at_s.unwrap_or(0.0),
        record.trigger,
        evidence::FOLDER,
        one.name,
        float(record.bytes.unwrap_or(0)) / 1e3,
        float(record.took_ms.unwrap_or(0)) / 1e3,
        record.cpu_s.unwrap_or(0.0)
    );
    let summary = record.summary.iter().take(SUMMARY_SHOWN).cloned();
    std::iter::once(head)
        .chain(summary)
        // Whoever wrote the files is not who reads them on a terminal.
        .map(|line| plain::one_line(&line))
        .collect()
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", float(bytes) / 1_048_576.0)
}

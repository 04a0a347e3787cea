//! Tables that belong to no plot: percentiles of all series side by side, the scenario, the host.

use super::words::{cells, length, size};
use crate::report::markup::Table;
use crate::report::{Report, server};
use crate::soak::latency::{PERCENTILE_NAMES, Series};
use crate::soak::record::{HostRecord, RelevanceRecord, RunRecord, ScenarioRecord};
use crate::soak::run_folder::RecordedRun;
use crate::soak::units::show_count;

/// Longest body template that is shown whole, in characters.
const BODY_SHOWN: usize = 2_000;

/// Percentiles of the four series side by side, a row a percentile; the server's own buckets beside those of
/// the service time, where they are known.
pub(super) fn percentiles(page: &mut String, report: &Report) {
    page.push_str("<h2 id=\"percentiles\">Percentiles</h2>\n");
    let mut columns: Vec<(&str, Vec<String>)> = Vec::new();
    for series in Series::ALL {
        let percentiles = report.tally.percentiles(series).in_ms();
        columns.push((series.as_str(), cells(&percentiles).collect()));
        let own = server::of(report).filter(|_| series == Series::Service);
        if let Some(cells) = own.and_then(server::cells) {
            columns.push(("server", cells.into()));
        }
    }
    let head: Vec<&str> = std::iter::once("percentile")
        .chain(columns.iter().map(|(name, _)| *name))
        .collect();
    let table = Table {
        label: "Percentiles",
        caption: "Response: from due, every due request. Ok: from due, those that ended ok. Service: \
                  from send. Lag: from due to send. Response far above service means waiting before \
                  sending.",
        head: &head,
        last_is_words: false,
    };
    let rows = PERCENTILE_NAMES.iter().enumerate().map(|(place, name)| {
        let values = columns.iter().map(|(_, column)| column[place].clone());
        std::iter::once((*name).to_owned()).chain(values).collect()
    });
    table.write(page, rows);
}

/// A row: a name and what is said of it; rows without a value are left out.
type Row = (&'static str, Option<String>);

/// What was asked, of whom, by which machine.
pub(super) fn scenario(page: &mut String, run: &RecordedRun) {
    let RunRecord { scenario, host, .. } = &run.run;
    let head: [Row; 5] = [
        ("run", Some(run.run.id.clone())),
        ("scenario", Some(run.run.name.clone())),
        ("scenario file", run.run.scenario_file.clone()),
        ("target", Some(run.run.target.clone())),
        ("start (UTC)", Some(run.run.start.wall.clone())),
    ];
    let rows = head
        .into_iter()
        .chain(load(scenario))
        .chain(requests(scenario))
        .chain(held_against(scenario))
        .chain(machine(host, &run.run.version));
    let table = Table {
        label: "Scenario and host",
        caption: "",
        head: &["what", "value"],
        last_is_words: true,
    };
    let said = |(name, value): Row| Some(vec![name.to_owned(), value.filter(|v| !v.is_empty())?]);
    table.write(page, rows.filter_map(said));
}

fn load(scenario: &ScenarioRecord) -> [Row; 8] {
    [
        ("load", Some(scenario.load())),
        ("duration", Some(length(scenario.duration_s))),
        ("count", scenario.count.map(show_count)),
        ("window", Some(length(scenario.window_s))),
        ("warm-up", Some(length(scenario.warmup_s))),
        (
            "arrivals",
            Some(format!("{}, seed {}", scenario.arrivals, scenario.seed)),
        ),
        ("in-flight cap", Some(show_count(scenario.max_in_flight))),
        ("connections", scenario.connections.map(show_count)),
    ]
}

fn requests(scenario: &ScenarioRecord) -> [Row; 11] {
    let sample = &scenario.sample;
    let mut body: String = scenario.body.chars().take(BODY_SHOWN).collect();
    if body.len() < scenario.body.len() {
        body.push_str(" …");
    }
    let unit = sample.unit.clone();
    [
        ("method", Some(scenario.method.clone())),
        ("headers", Some(scenario.header_names.join(", "))),
        ("body", Some(body)),
        (
            "queries",
            scenario
                .queries
                .as_ref()
                .map(|file| queries(scenario, file)),
        ),
        (
            "timeout",
            Some(format!(
                "{} ms from send, {} ms of grace at the end",
                show_count(scenario.timeout_ms),
                show_count(scenario.grace_ms)
            )),
        ),
        ("trust", scenario.trust.clone()),
        ("expected status", Some(scenario.expected_status.join(", "))),
        ("checks", Some(scenario.checks.join(", "))),
        (
            "relevance",
            scenario.relevance.as_ref().map(|relevance| {
                let RelevanceRecord { file, pointer, .. } = relevance;
                format!("{file}, sources at {pointer}, BLAKE3 {}", relevance.blake3)
            }),
        ),
        (
            "Prometheus",
            scenario
                .prometheus
                .as_ref()
                .map(|asked| format!("{} {{{}}}", asked.url, asked.selector)),
        ),
        (
            "sampled",
            unit.or_else(|| sample.pid.map(|pid| format!("process {pid}"))),
        ),
    ]
}

fn queries(scenario: &ScenarioRecord, file: &str) -> String {
    let order = if scenario.shuffle { ", shuffled" } else { "" };
    let unique = if scenario.unique {
        ", each made unique"
    } else {
        ""
    };
    format!(
        "{file}: {} texts{order}{unique}, BLAKE3 {}",
        show_count(scenario.query_count),
        scenario.queries_blake3
    )
}

fn held_against(scenario: &ScenarioRecord) -> [Row; 3] {
    [
        ("thresholds", Some(scenario.thresholds.join(", "))),
        ("drift budgets", Some(scenario.drift.join(", "))),
        ("step budgets", Some(scenario.steps.join(", "))),
    ]
}

fn machine(host: &HostRecord, version: &str) -> [Row; 4] {
    [
        ("generator", Some(format!("alfred {version}"))),
        ("host", Some(host.hostname.clone())),
        ("kernel", Some(format!("{}, {}", host.kernel, host.machine))),
        (
            "processors, memory",
            Some(format!("{}, {}", host.cpus, size(host.memory_bytes))),
        ),
    ]
}

//! PURE: which plots a run has, and what is drawn in each.

use super::grid::{Fold, Grid};
use crate::soak::figure::{Figure, Unit as FigureUnit};
use crate::soak::latency::Series;
use crate::soak::record::{HostSample, UnitSample, VerdictRecord, WindowRecord};
use crate::soak::run_folder::RecordedRun;
use crate::soak::stats::drift::DROPPED;
use crate::soak::tally::ratio;
use crate::soak::threshold::{Metric, Threshold};
use crate::soak::units::{float, milliseconds};
use crate::soak::verdict::lag_limit_ms;
use std::collections::BTreeSet;

/// Bytes of a mebibyte.
const MIB: f64 = 1_048_576.0;
/// Kinds of errors that have a line each: as many as there are.
const MAX_KINDS: usize = 16;

/// In what a plot's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) enum Unit {
    #[serde(rename = "ms")]
    Ms,
    #[serde(rename = "/s")]
    PerSecond,
    #[serde(rename = "%")]
    Percent,
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "cores")]
    Cores,
    #[serde(rename = "")]
    Count,
}

/// How the upright axis runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Axis {
    /// Equal ratios are equally far apart.
    Log,
    /// From 0.
    Zero,
    /// From the lowest value.
    Fitted,
}

/// A plot.
pub(super) struct Plot {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What it shows, in a sentence or two.
    pub(super) about: String,
    pub(super) unit: Unit,
    pub(super) axis: Axis,
    pub(super) fold: Fold,
    pub(super) lines: Vec<Line>,
    pub(super) limits: Vec<Limit>,
    pub(super) slopes: Vec<Slope>,
}

/// A line of a plot, a value a point.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) values: Vec<Option<f64>>,
}

/// A threshold, drawn across.
#[derive(serde::Serialize)]
pub(super) struct Limit {
    pub(super) label: String,
    pub(super) value: f64,
}

/// A fitted line: from a time and value to another.
#[derive(serde::Serialize)]
pub(super) struct Slope {
    pub(super) label: String,
    pub(super) from: [f64; 2],
    pub(super) to: [f64; 2],
}

/// What plots are made of.
pub(super) struct Source<'a> {
    pub(super) run: &'a RecordedRun,
    /// Whose fitted slopes are drawn.
    pub(super) verdict: Option<&'a VerdictRecord>,
    pub(super) grid: Grid<'a>,
    thresholds: Vec<Threshold>,
}

/// A name and how it is read.
type Reading<'r> = (&'r str, &'r dyn Fn(&WindowRecord) -> Option<f64>);

impl<'a> Source<'a> {
    pub(super) fn new(
        run: &'a RecordedRun,
        verdict: Option<&'a VerdictRecord>,
        most_points: usize,
    ) -> Self {
        let thresholds = run.run.scenario.thresholds.iter();
        Self {
            run,
            verdict,
            grid: Grid::of(&run.windows, most_points),
            thresholds: thresholds.filter_map(|text| text.parse().ok()).collect(),
        }
    }

    /// Lines for those that were measured at all.
    fn lines(&self, fold: Fold, readings: &[Reading<'_>]) -> Vec<Line> {
        readings
            .iter()
            .map(|(name, reading)| Line {
                name: (*name).to_owned(),
                values: self.grid.column(fold, reading),
            })
            .filter(|line| line.values.iter().any(Option::is_some))
            .collect()
    }

    /// Thresholds whose metric has a place in the plot: its value there.
    fn limits(&self, place: impl Fn(Metric, f64) -> Option<f64>) -> Vec<Limit> {
        let limit = |threshold: &Threshold| {
            Some(Limit {
                label: threshold.to_string(),
                value: place(threshold.metric(), threshold.limit())?,
            })
        };
        self.thresholds.iter().filter_map(limit).collect()
    }

    /// Fitted slopes of these figures, in the units of plots.
    fn slopes(&self, figures: &[Figure]) -> Vec<Slope> {
        let Some(verdict) = self.verdict else {
            return Vec::new();
        };
        let until_s = verdict.coverage.measured_s;
        let from_s = until_s * DROPPED;
        let slope = |figure: &Figure| {
            let drift = verdict.drift.iter().find(|d| d.series == figure.as_str())?;
            let (slope, level) = (drift.slope_per_h?, drift.level?);
            let scale = match figure.unit() {
                FigureUnit::Bytes => MIB,
                FigureUnit::Ms | FigureUnit::Count => 1.0,
            };
            let end = level + slope * (until_s - from_s) / 3_600.0;
            let change = figure.show_change(slope);
            Some(Slope {
                label: format!("{} {change} an hour, {}", figure.as_str(), drift.status),
                from: [from_s, level / scale],
                to: [until_s, end / scale],
            })
        };
        figures.iter().filter_map(slope).collect()
    }
}

/// Every plot of a run; those of which nothing was measured are left out.
pub(super) fn all(source: &Source<'_>) -> Vec<Plot> {
    let mut plots = vec![
        response(source),
        throughput(source),
        errors(source),
        lag(source),
    ];
    plots.extend(beside(source));
    plots.push(pressure(source));
    plots.retain(|plot| !plot.lines.is_empty());
    plots
}

fn ms(us: Option<u64>) -> Option<f64> {
    us.map(milliseconds)
}

fn response(source: &Source<'_>) -> Plot {
    Plot {
        id: "response",
        title: "Response",
        about: "From when each request was due, all due requests; one that did not end ok counts \
                as the timeout at least."
            .to_owned(),
        unit: Unit::Ms,
        axis: Axis::Log,
        fold: Fold::Most,
        lines: source.lines(
            Fold::Most,
            &[
                ("p50", &|w| ms(w.response_us.p50)),
                ("p95", &|w| ms(w.response_us.p95)),
                ("p99", &|w| ms(w.response_us.p99)),
                ("p99.9", &|w| ms(w.response_us.p99_9)),
                ("max", &|w| ms(w.response_us.max)),
            ],
        ),
        limits: source.limits(|metric, limit| {
            matches!(metric, Metric::Quantile(Series::Response, _)).then_some(limit)
        }),
        slopes: source.slopes(&[Figure::P50, Figure::P95, Figure::P99]),
    }
}

fn throughput(source: &Source<'_>) -> Plot {
    let rate = |count: u64, w: &WindowRecord| (w.length_s > 0.0).then(|| float(count) / w.length_s);
    Plot {
        id: "throughput",
        title: "Throughput",
        about: "Requests that were due, and those that ended ok, a second; each counts where it \
                was due."
            .to_owned(),
        unit: Unit::PerSecond,
        axis: Axis::Zero,
        fold: Fold::Mean,
        lines: source.lines(
            Fold::Mean,
            &[
                ("ok", &|w| rate(w.counts.ok, w)),
                ("due", &|w| rate(w.counts.due, w)),
            ],
        ),
        limits: source
            .limits(|metric, limit| matches!(metric, Metric::Throughput).then_some(limit)),
        slopes: Vec::new(),
    }
}

/// Only what occurred has a line; without any error there is no plot.
fn errors(source: &Source<'_>) -> Plot {
    let kinds: BTreeSet<&String> = source
        .run
        .windows
        .iter()
        .flat_map(|window| window.errors_by_kind.keys())
        .collect();
    let percent = |count: u64, w: &WindowRecord| ratio(count, w.counts.due).map(|r| r * 100.0);
    let mut lines = Vec::new();
    for kind in kinds.into_iter().take(MAX_KINDS) {
        let count = |w: &WindowRecord| w.errors_by_kind.get(kind).copied().unwrap_or(0);
        lines.extend(source.lines(Fold::Most, &[(kind.as_str(), &|w| percent(count(w), w))]));
    }
    let counts = &source.run.tally.counts;
    if counts.shed > 0 {
        lines.extend(source.lines(Fold::Most, &[("shed", &|w| percent(w.counts.shed, w))]));
    }
    if counts.in_flight_at_end > 0 {
        let unfinished = |w: &WindowRecord| percent(w.counts.in_flight_at_end, w);
        lines.extend(source.lines(Fold::Most, &[("in flight at end", &unfinished)]));
    }
    Plot {
        id: "errors",
        title: "Errors by kind",
        about: "Share of the due requests that did not end ok.".to_owned(),
        unit: Unit::Percent,
        axis: Axis::Zero,
        fold: Fold::Most,
        lines,
        limits: source.limits(|metric, limit| {
            matches!(metric, Metric::ErrorRate | Metric::Shed).then_some(limit * 100.0)
        }),
        slopes: Vec::new(),
    }
}

fn lag(source: &Source<'_>) -> Plot {
    let mut limits = source.limits(|metric, limit| {
        matches!(metric, Metric::Quantile(Series::Lag, _)).then_some(limit)
    });
    limits.push(Limit {
        label: "most that a verdict bears at p99".to_owned(),
        value: lag_limit_ms(&source.thresholds),
    });
    Plot {
        id: "lag",
        title: "Lag of the generator",
        about: "From when requests were due to when they were sent.".to_owned(),
        unit: Unit::Ms,
        axis: Axis::Log,
        fold: Fold::Most,
        lines: source.lines(
            Fold::Most,
            &[
                ("p50", &|w| ms(w.lag_us.p50)),
                ("p99", &|w| ms(w.lag_us.p99)),
                ("max", &|w| ms(w.lag_us.max)),
            ],
        ),
        limits,
        slopes: Vec::new(),
    }
}

/// What the unit under test used.
fn beside(source: &Source<'_>) -> [Plot; 4] {
    type Of<T> = fn(&UnitSample) -> Option<T>;
    let count = |of: Of<u64>| move |w: &WindowRecord| w.unit.as_ref().and_then(of).map(float);
    let mib = |of: Of<u64>| {
        move |w: &WindowRecord| w.unit.as_ref().and_then(of).map(|bytes| float(bytes) / MIB)
    };
    let fitted = |id, title, about: &str, lines, slopes| Plot {
        id,
        title,
        about: about.to_owned(),
        unit: Unit::Count,
        axis: Axis::Fitted,
        fold: Fold::Most,
        lines,
        limits: Vec::new(),
        slopes,
    };
    let memory = source.lines(
        Fold::Most,
        &[
            ("rss", &mib(|u| u.rss_bytes)),
            ("pss", &mib(|u| u.pss_bytes)),
            ("anon", &mib(|u| u.anon_bytes)),
            ("control group", &mib(|u| u.cgroup_memory_bytes)),
        ],
    );
    let threads = source.lines(
        Fold::Most,
        &[
            ("threads", &count(|u| u.threads)),
            ("processes", &count(|u| u.processes)),
        ],
    );
    [
        Plot {
            unit: Unit::Mebibytes,
            ..fitted(
                "memory",
                "Memory of the target",
                "At the end of each window; the axis need not begin at 0.",
                memory,
                source.slopes(&[Figure::Rss, Figure::Pss, Figure::Anon]),
            )
        },
        cpu(source),
        fitted(
            "descriptors",
            "Open descriptors of the target",
            "At the end of each window; the axis need not begin at 0.",
            source.lines(Fold::Most, &[("descriptors", &count(|u| u.descriptors))]),
            source.slopes(&[Figure::Fds]),
        ),
        Plot {
            axis: Axis::Zero,
            ..fitted(
                "threads",
                "Threads of the target",
                "At the end of each window.",
                threads,
                source.slopes(&[Figure::Threads]),
            )
        },
    ]
}

fn cpu(source: &Source<'_>) -> Plot {
    let cores = |cpu_s: Option<f64>, w: &WindowRecord| {
        cpu_s
            .filter(|_| w.length_s > 0.0)
            .map(|cpu_s| cpu_s / w.length_s)
    };
    Plot {
        id: "cpu",
        title: "CPU",
        about: "Processors kept busy: by the target where it is sampled, by the generator, and by \
                everything on the generator's machine."
            .to_owned(),
        unit: Unit::Cores,
        axis: Axis::Zero,
        fold: Fold::Mean,
        lines: source.lines(
            Fold::Mean,
            &[
                ("target", &|w| cores(w.unit.as_ref()?.cpu_s, w)),
                ("control group", &|w| {
                    cores(w.unit.as_ref()?.cgroup_cpu_s, w)
                }),
                ("generator", &|w| {
                    cores(Some(w.resources.generator_cpu_s), w)
                }),
                ("machine", &|w| cores(w.host.as_ref()?.cpu_s, w)),
            ],
        ),
        limits: Vec::new(),
        slopes: Vec::new(),
    }
}

fn pressure(source: &Source<'_>) -> Plot {
    let share = |of: fn(&HostSample) -> Option<f64>| {
        move |w: &WindowRecord| {
            let waited_s = of(w.host.as_ref()?)?;
            (w.length_s > 0.0).then(|| waited_s / w.length_s * 100.0)
        }
    };
    Plot {
        id: "pressure",
        title: "Pressure on the generator's machine",
        about: "Share of the time in which something waited (PSI).".to_owned(),
        unit: Unit::Percent,
        axis: Axis::Zero,
        fold: Fold::Mean,
        lines: source.lines(
            Fold::Mean,
            &[
                ("processor", &share(|h| h.cpu_pressure_s)),
                ("memory", &share(|h| h.memory_pressure_s)),
                ("disk", &share(|h| h.io_pressure_s)),
                ("stolen", &share(|h| h.steal_s)),
            ],
        ),
        limits: Vec::new(),
        slopes: Vec::new(),
    }
}

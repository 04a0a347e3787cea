//! PURE: what the windows of a run show beyond their sums: thresholds on stretches, drift, steps,
//! and windows in which the generator itself was starved.

use super::figure::Figure;
use super::latency::Series;
use super::record::{DriftRecord, StepRecord, WindowRecord};
use super::scopes::{Scopes, Worst};
use super::stats::drift::{self, Answer, Drift, Question};
use super::stats::numbers::whole;
use super::stats::steps;
use super::threshold::{Scope, Threshold};
use super::units::milliseconds;
use hdrhistogram::Histogram;
use std::fmt;
use std::str::FromStr;

/// Chance in drift tests and step searches: fixed, so that a run is judged alike every time.
const SEED: u64 = 7;

/// How far a figure may step up.
#[derive(Clone, Debug, PartialEq)]
pub struct StepBudget {
    /// Of what.
    pub figure: Figure,
    /// As a share of the level before.
    pub share: f64,
}

impl FromStr for StepBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not a step budget such as p95<10%");
        let (name, share) = text.split_once('<').ok_or_else(wrong)?;
        let figure = Figure::named(name.trim()).ok_or_else(wrong)?;
        let percent = share.trim().strip_suffix('%').ok_or_else(wrong)?;
        let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
        let share = percent / 100.0;
        let least = steps::MIN_SIZE;
        if !(least..=1e6).contains(&share) {
            return Err(format!(
                "{text:?}: a step budget is at least {}%",
                least * 100.0
            ));
        }
        Ok(Self { figure, share })
    }
}

impl fmt::Display for StepBudget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (self.share * 1e8).round() / 1e6;
        write!(formatter, "{}<{percent}%", self.figure.as_str())
    }
}

/// What a run is held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// What must hold; budgets of growth among them.
    pub thresholds: &'a [Threshold],
    /// Budgets of growth that only long runs are held against.
    pub drift: &'a [Threshold],
    /// Budgets of steps.
    pub steps: &'a [StepBudget],
    /// The planned length of a window.
    pub window_s: f64,
    /// The length of the plan, as shortened by an interrupt.
    pub measured_s: f64,
}

/// What the windows show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Of each threshold, in their order, the worst stretch; `None` on the whole run, or when the
    /// run has no such stretch.
    pub worst: Vec<Option<Worst>>,
    /// Every drift test.
    pub drift: Vec<DriftRecord>,
    /// Steps, in the order of figures and time.
    pub steps: Vec<StepRecord>,
    /// p50 of lag of every window, in milliseconds.
    pub lag_p50_ms: Vec<f64>,
}

impl Findings {
    /// Looks at `windows`; `feed` is handed a function and calls it with the histograms of every
    /// window, in order.
    ///
    /// # Errors
    /// What `feed` fails with.
    pub fn of<E>(
        asked: &Asked<'_>,
        windows: &[WindowRecord],
        feed: impl FnOnce(&mut dyn FnMut(usize, Series, &Histogram<u64>)) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut scopes = Scopes::new(asked.thresholds, windows, asked.window_s);
        if !scopes.is_empty() {
            feed(&mut |place, series, histogram| scopes.add(place, series, histogram))?;
        }
        let worst = asked.thresholds.iter().map(|t| scopes.worst(t)).collect();
        Ok(Self {
            worst,
            drift: drift_records(asked, windows),
            steps: step_records(asked, windows),
            lag_p50_ms: windows
                .iter()
                .filter_map(|w| w.lag_us.p50.map(milliseconds))
                .collect(),
        })
    }

    /// Says in words which run these are of.
    pub fn name_the_run(&mut self, id: &str) {
        for record in &mut self.drift {
            record.reason = format!("{id}: {}", record.reason);
        }
    }

    /// Adds what another run shows: of each threshold the worse stretch, and all else, drifts that
    /// fail first.
    pub fn take_worse(&mut self, other: Self, thresholds: &[Threshold]) {
        let pairs = self.worst.iter_mut().zip(other.worst).zip(thresholds);
        for ((mine, theirs), threshold) in pairs {
            let worse = match (&mine, &theirs) {
                (Some(mine), Some(theirs)) => {
                    threshold.worse(mine.value, theirs.value) != mine.value
                }
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if worse {
                *mine = theirs;
            }
        }
        self.drift.extend(other.drift);
        let rank = |record: &DriftRecord| match record.status.as_str() {
            "fail" => 0,
            "insufficient" | "not applicable" => 1,
            _ => 2,
        };
        self.drift.sort_by_key(rank);
        self.steps.extend(other.steps);
        self.lag_p50_ms.extend(other.lag_p50_ms);
    }

    /// The drift test of this figure.
    #[must_use]
    pub fn drift_of(&self, figure: Figure) -> Option<&DriftRecord> {
        self.drift
            .iter()
            .find(|record| record.series == figure.as_str())
    }
}

/// Why this threshold cannot be judged on these findings; `None` when it can.
#[must_use]
pub fn cannot_be_judged(
    threshold: &Threshold,
    worst: Option<&Worst>,
    findings: &Findings,
) -> Option<String> {
    if let Some((figure, _)) = threshold.budget() {
        let record = findings.drift_of(figure)?;
        return (!record.is_judged()).then(|| format!("{threshold}: {}", record.reason));
    }
    let absent = worst.is_none();
    match threshold.scope() {
        Scope::Run => None,
        Scope::Every(_) => absent.then(|| {
            format!("the run is too short for {threshold}: it has no such stretch without a gap")
        }),
        Scope::LastQuarter => absent
            .then(|| format!("the run is too short for {threshold}: it has fewer than 4 windows")),
    }
}

fn drift_records(asked: &Asked<'_>, windows: &[WindowRecord]) -> Vec<DriftRecord> {
    let budgets = asked.thresholds.iter().chain(asked.drift);
    let budgets: Vec<(Figure, f64)> = budgets.filter_map(Threshold::budget).collect();
    let tested = |figure: &Figure| {
        let budget = budgets
            .iter()
            .filter(|(of, _)| of == figure)
            .map(|(_, limit)| *limit);
        // Of two budgets the tighter.
        let budget = budget.reduce(f64::min);
        let series = figure.series(windows);
        let followed = Figure::FOLLOWED.contains(figure) && !series.is_empty();
        if budget.is_none() && !followed {
            return None;
        }
        let question = Question {
            series: &series,
            expected: whole((asked.measured_s / asked.window_s).ceil()),
            length_s: asked.measured_s,
            budget_per_h: budget,
            seed: SEED,
        };
        Some(drift_record(*figure, &question, drift::test(&question)))
    };
    Figure::ALL.iter().filter_map(tested).collect()
}

fn drift_record(figure: Figure, question: &Question<'_>, found: Drift) -> DriftRecord {
    let show = |per_h: f64| format!("{} an hour", figure.show_change(per_h));
    let estimate = found.estimate;
    let slope = estimate.map_or_else(String::new, |e| {
        let interval = e.interval_per_h;
        let (low, high) = (
            figure.show_change(interval.lower),
            figure.show_change(interval.upper),
        );
        format!("{} (95 % interval {low} to {high})", show(e.slope_per_h))
    });
    let budget = question.budget_per_h.map_or_else(String::new, show);
    let (status, reason) = match found.answer {
        Answer::Within => {
            // Else a slope beyond the budget that passes is not understood.
            let is_above = estimate.is_some_and(|e| {
                question
                    .budget_per_h
                    .is_some_and(|budget| e.interval_per_h.lower > budget)
            });
            let why = if is_above {
                ", but its end does not go on so"
            } else {
                ""
            };
            ("pass", format!("{slope}, budget {budget}{why}"))
        }
        Answer::Beyond => (
            "fail",
            format!("{slope}, budget {budget}, and its end agrees"),
        ),
        Answer::NoBudget => ("not judged", format!("{slope}, no budget is set")),
        Answer::TooShort => (
            "not applicable",
            "the run is shorter than 30 minutes".to_owned(),
        ),
        Answer::Missing => (
            "insufficient",
            format!(
                "{} of {} windows have this figure, too few or too uneven to judge",
                found.present, question.expected
            ),
        ),
    };
    DriftRecord {
        series: figure.as_str().to_owned(),
        status: status.to_owned(),
        reason,
        unit: figure.unit().per_hour().to_owned(),
        budget_per_h: question.budget_per_h,
        slope_per_h: estimate.map(|e| e.slope_per_h),
        lower_per_h: estimate.map(|e| e.interval_per_h.lower),
        upper_per_h: estimate.map(|e| e.interval_per_h.upper),
        halves_per_h: estimate.map(|e| e.halves_per_h),
        last_half_per_h: estimate.map(|e| e.last_half_per_h),
        last_quarter_per_h: estimate.map(|e| e.last_quarter_per_h),
        level: estimate.map(|e| e.level),
        floors: estimate.map_or(0, |e| e.floors as u64),
        values: found.present as u64,
    }
}

fn step_records(asked: &Asked<'_>, windows: &[WindowRecord]) -> Vec<StepRecord> {
    let mut records = Vec::new();
    for figure in Figure::ALL {
        let budget = asked
            .steps
            .iter()
            .filter(|b| b.figure == figure)
            .map(|b| b.share);
        let budget = budget.reduce(f64::min);
        if budget.is_none() && !Figure::FOLLOWED.contains(&figure) {
            continue;
        }
        let found = steps::find(&figure.series(windows), SEED).unwrap_or_default();
        records.extend(found.iter().map(|step| StepRecord {
            series: figure.as_str().to_owned(),
            unit: figure.unit().as_str().to_owned(),
            at_s: step.at_s,
            before: step.before,
            after: step.after,
            change: step.share(),
            budget,
            pass: budget.is_none_or(|budget| step.share() <= budget),
        }));
    }
    records
}

/// Step budgets that these windows are too few for, in words.
#[must_use]
pub fn too_short_for_steps(budgets: &[StepBudget], windows: &[WindowRecord]) -> Vec<String> {
    let told = |budget: &StepBudget| {
        let (present, needed) = (budget.figure.series(windows).len(), steps::MIN_VALUES);
        let reason = format!(
            "the step budget {budget} needs {needed} windows with that figure, there are {present}"
        );
        (present < needed).then_some(reason)
    };
    budgets.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::latency::{Latencies, Percentiles};
    use crate::soak::sampler::record::UnitSample;
    use crate::soak::stats::numbers::size;
    use crate::soak::tally::Counts;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    /// Windows of 10 s, each with ten requests of so many milliseconds.
    fn windows(latencies_ms: &[u64]) -> (Vec<WindowRecord>, Vec<Latencies>) {
        let mut histograms = Vec::new();
        let mut records = Vec::new();
        for (place, ms) in latencies_ms.iter().enumerate() {
            let mut latencies = Latencies::default();
            (0..10).for_each(|_| latencies.record(Series::Response, ms * 1_000_000));
            let counts = Counts {
                due: 10,
                ok: 10,
                ..Counts::default()
            };
            records.push(record(place, counts, &latencies));
            histograms.push(latencies);
        }
        (records, histograms)
    }

    fn record(place: usize, counts: Counts, latencies: &Latencies) -> WindowRecord {
        let of = |series| Percentiles::of(latencies.of(series));
        WindowRecord {
            window: place as u64,
            start_s: size(place) * 10.0,
            length_s: 10.0,
            counts,
            errors_by_kind: BTreeMap::new(),
            errors_by_cause: BTreeMap::new(),
            response_us: of(Series::Response),
            ok_us: of(Series::Ok),
            service_us: of(Series::Service),
            lag_us: of(Series::Lag),
            cache: crate::soak::tally::CacheCounts::default(),
            relevance: crate::soak::relevance::RelevanceCounts::default(),
            resources: crate::soak::record::ResourceRecord::default(),
            unit: None,
            host: None,
            metrics: BTreeMap::new(),
        }
    }

    fn worst_of(texts: &[&str], records: &[WindowRecord], all: &[Latencies]) -> Vec<Option<Worst>> {
        let thresholds: Vec<Threshold> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let asked = Asked {
            thresholds: &thresholds,
            window_s: 10.0,
            measured_s: 10.0 * size(records.len()),
            ..Asked::default()
        };
        let found = Findings::of::<Infallible>(&asked, records, |each| {
            for (place, latencies) in all.iter().enumerate() {
                for series in Series::ALL {
                    each(place, series, latencies.of(series));
                }
            }
            Ok(())
        });
        found.unwrap().worst
    }

    #[test]
    fn every_stretch_is_looked_at_and_the_worst_told_with_its_place() {
        let (records, all) = windows(&[5, 5, 50, 5, 5, 5, 9, 9]);
        let texts = [
            "p95<10ms in every window",
            "max<10ms in every 20s",
            "p95<10ms in last quarter",
            "throughput>0.5/s in every 20s",
            "p95<10ms in every 90s",
            "p95<10ms",
        ];
        let worst = worst_of(&texts, &records, &all);
        let told =
            |place: usize| worst[place].map(|w| (w.value.map(f64::round), w.at_s, w.until_s));
        assert_eq!(told(0), Some((Some(50.0), 20.0, 30.0)));
        assert_eq!(told(1), Some((Some(50.0), 10.0, 30.0)));
        assert_eq!(told(2), Some((Some(9.0), 60.0, 80.0)));
        assert_eq!(told(3), Some((Some(1.0), 0.0, 20.0)));
        assert_eq!((told(4), told(5)), (None, None));
    }

    #[test]
    fn a_stretch_with_a_hole_in_it_is_none() {
        let (mut records, all) = windows(&[5, 50, 50, 5]);
        records[2].window = 7;
        records[3].window = 8;
        let worst = worst_of(&["mean<9ms in every 20s"], &records, &all);
        let mean_ms = worst[0].unwrap().value.unwrap();
        assert!(
            (27.0..28.0).contains(&mean_ms),
            "{mean_ms}: never 50 and 50 together"
        );
        let none = worst_of(&["mean<9ms in every 30s"], &records, &all);
        assert_eq!(none, [None]);
    }

    /// Two hours; memory grows by `mib_per_h`, and is known in the first `known` windows.
    fn growing(mib_per_h: f64, known: usize) -> Vec<WindowRecord> {
        let (mut records, _) = windows(&[5; 720]);
        for (place, record) in records.iter_mut().enumerate().take(known) {
            let bytes = (200.0 + mib_per_h * size(place) / 360.0) * 1_048_576.0;
            record.unit = Some(UnitSample {
                rss_bytes: Some(whole(bytes) as u64),
                ..UnitSample::default()
            });
        }
        records
    }

    fn drift_of_rss(records: &[WindowRecord], budgets: &[Threshold], hours: f64) -> DriftRecord {
        let asked = Asked {
            drift: budgets,
            window_s: 10.0,
            measured_s: hours * 3_600.0,
            ..Asked::default()
        };
        let found = Findings::of::<Infallible>(&asked, records, |_| Ok(())).unwrap();
        assert!(found.drift_of(Figure::P95).is_some(), "always followed");
        found.drift_of(Figure::Rss).cloned().unwrap_or_default()
    }

    #[test]
    fn growth_beyond_its_budget_is_a_drift_and_missing_data_never_passes() {
        let budget = ["rss_growth<1MiB/h".parse().unwrap()];
        let status = |records: &[WindowRecord], hours| drift_of_rss(records, &budget, hours).status;
        assert_eq!(status(&growing(3.0, 720), 2.0), "fail");
        assert_eq!(status(&growing(0.5, 720), 2.0), "pass");
        assert_eq!(status(&growing(0.0, 600), 2.0), "insufficient");
        assert_eq!(status(&growing(0.0, 0), 2.0), "insufficient");
        assert_eq!(
            status(&growing(9.0, 720)[..120], 1.0 / 3.0),
            "not applicable"
        );
        let told = drift_of_rss(&growing(3.0, 720), &[], 2.0);
        assert_eq!(
            (told.status.as_str(), told.unit.as_str()),
            ("not judged", "bytes/h")
        );
        let mib_per_h = told.slope_per_h.unwrap() / 1_048_576.0;
        assert!((mib_per_h - 3.0).abs() < 0.05, "{mib_per_h}");
        assert!(told.reason.contains("+3.0 MiB an hour"), "{}", told.reason);
    }

    #[test]
    fn a_step_is_told_with_its_time_and_held_against_its_budget_only() {
        let mut latencies_ms = vec![100; 200];
        latencies_ms.extend([130; 160]);
        let (records, _) = windows(&latencies_ms);
        let steps_with = |budgets: &[StepBudget]| {
            let asked = Asked {
                steps: budgets,
                window_s: 10.0,
                measured_s: 3_600.0,
                ..Asked::default()
            };
            Findings::of::<Infallible>(&asked, &records, |_| Ok(()))
                .unwrap()
                .steps
        };
        let free = steps_with(&[]);
        assert_eq!(free.len(), 1);
        assert!((free[0].at_s - 2_005.0).abs() < 11.0, "{free:?}");
        assert!((free[0].change - 0.3).abs() < 0.01 && free[0].pass);
        assert!(!steps_with(&["p95<10%".parse().unwrap()])[0].pass);
        assert!(steps_with(&["p95<50%".parse().unwrap()])[0].pass);
        let short = too_short_for_steps(&["p95<10%".parse().unwrap()], &records[..100]);
        assert!(short[0].contains("needs 120 windows"), "{short:?}");
    }
}

//! `alfred soak`: load on a schedule, and a verdict.

use super::soak_after::Around;
use super::soak_capacity::{self, CapacityArgs};
use super::soak_notice::{Noticed, Voice};
use super::soak_request::RequestArgs;
use super::soak_server::ServerArgs;
use super::{Context, Outcome, soak_resume};
use crate::client::Target;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::failure::{Failure, FailureKind};
use crate::notify::News;
use crate::report::{Format, Report};
use crate::soak::causes;
use crate::soak::queries::QueriesError;
use crate::soak::record::{RunRecord, Verdict, VerdictRecord};
use crate::soak::recorder::settings::RecorderSettings;
use crate::soak::run_folder::{self, RunFolderError};
use crate::soak::scenario::Scenario;
use crate::soak::settings::{ArrivalKind, ScenarioError, Settings};
use crate::soak::stage::Stage;
use crate::soak::threshold::Threshold;
use crate::soak::units::{Rate, parse_duration, parse_duration_or_seconds};
use crate::soak::{FinishedRun, Place, SoakError, run_log};
use crate::telemetry::events::{self, SoakVerdict};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  A minute at 10 requests a second, failing when p95 reaches 300 ms:
    alfred soak --target http://127.0.0.1:8080/v1/query --queries perf/queryset.txt \\
      --qps 10 --duration 60s

  Against the local daemon's socket, Poisson arrivals, every query different:
    alfred soak --target unix:/run/alfred/alfred.sock:/v1/query --queries perf/queryset.txt \\
      --qps 50 --duration 10m --arrivals poisson --seed 7 --unique --threshold 'p99<1s'

  With what the daemon used meanwhile: memory, CPU, descriptors, restarts, errors in its journal:
    alfred soak --target http://127.0.0.1:8080/v1/query --queries perf/queryset.txt \
      --qps 10 --duration 8h --unit alfred.service

  Going on with a run that was cut off, to its planned end:
    alfred soak --resume /var/lib/alfred/soak/20261123T220000Z-nightly-1f0c2d3e

  A scenario file, for half an hour instead of what it says:
    alfred soak /etc/alfred/soak.d/smoke.toml --duration 30m

  The highest rate that the target holds, with every threshold met:
    alfred soak --target http://127.0.0.1:8080/v1/query --queries perf/queryset.txt \\
      --find-capacity --unit alfred.service

Latency is measured from when a request was due, not from when it was sent, so a target that stalls
is charged for every request that came due meanwhile.

Exit codes: 0 PASS, 99 FAIL (a threshold was crossed), 98 INVALID (the run cannot be judged),
2 usage, 78 the scenario file is wrong, 1 anything else.
Ctrl-C once ends the run with its window and judges it; twice aborts it.";

/// Sends requests on a schedule, measures from when each was due, and judges.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SoakArgs {
    /// Scenario file; flags win over what it says
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: Option<PathBuf>,
    /// What is asked, and what is held against the answers.
    #[command(flatten)]
    pub request: RequestArgs,
    /// Requests a second, as 10 or 0.5
    #[arg(long, value_name = "RATE", env = "QPS")]
    pub qps: Option<Rate>,
    /// A ramp: within this time the rate changes evenly to this one, from --qps (else 0) on;
    /// repeatable, as --stage 1m:50 --stage 10m:50 --stage 1m:0
    #[arg(
        long = "stage",
        value_name = "DURATION:RATE",
        conflicts_with = "duration"
    )]
    pub stages: Vec<Stage>,
    /// End after so many requests
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// How long to measure, as 60s, 10m or 2h; a bare number is seconds
    #[arg(long, env = "DURATION", value_parser = parse_duration_or_seconds)]
    pub duration: Option<Duration>,
    /// Length of a window [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub window: Option<Duration>,
    /// Requests before the duration, not counted [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub warmup: Option<Duration>,
    /// How arrivals are spread [default: uniform]
    #[arg(long)]
    pub arrivals: Option<ArrivalKind>,
    /// Seed of Poisson arrivals and of shuffling [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,
    /// With so many in flight, a due request is shed [default: 10000]
    #[arg(long, value_name = "COUNT")]
    pub max_in_flight: Option<usize>,
    /// What must hold: p95<300ms, max<2s, ok_p99<1s, error_rate<1%, throughput>9.9/s,
    /// hit_rate>=0.9, 'p95<500ms in every 5m', 'p95<300ms in last quarter', rss_growth<1MiB/h; repeatable
    /// [default: p95<300ms and error_rate<1%]
    #[arg(long = "threshold", value_name = "EXPR")]
    pub thresholds: Vec<Threshold>,
    /// Name of the scenario [default: the file's, else soak]
    #[arg(long)]
    pub name: Option<String>,
    /// Sample this systemd unit beside the windows: memory, CPU, descriptors, restarts, journal
    #[arg(long, value_name = "UNIT", conflicts_with = "pid")]
    pub unit: Option<String>,
    /// Sample this process and its children beside the windows
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Where the target's metrics are [default with --unit or --pid: /metrics of the target]
    #[arg(long, value_name = "URL")]
    pub metrics: Option<Target>,
    /// The Prometheus that scrapes the target.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Take no evidence when something goes wrong: no profile, threads, journal in RUN_DIR/evidence
    #[arg(long)]
    pub no_recorder: bool,
    /// Go on with this run, which was cut off, to its planned end
    #[arg(long, value_name = "RUN_DIR", conflicts_with_all = ["out", "resume_unfinished", "resume_all"])]
    pub resume: Option<PathBuf>,
    /// Go on with the newest unfinished run of this scenario file; without one, begin a new run
    #[arg(long, requires = "scenario", conflicts_with_all = ["out", "resume_all"])]
    pub resume_unfinished: bool,
    /// Go on with all unfinished runs among the runs, side by side
    #[arg(long, exclusive = true)]
    pub resume_all: bool,
    /// Record the run in this folder instead of a new one among the runs
    #[arg(long, value_name = "RUN_DIR")]
    pub out: Option<PathBuf>,
    /// Flags of `--find-capacity`
    #[command(flatten)]
    pub capacity: CapacityArgs,
}

impl SoakArgs {
    /// What flags and, where they are silent, the scenario file say.
    pub(super) fn given(&self) -> Result<Settings, ScenarioError> {
        let settings = self.settings();
        match &self.scenario {
            Some(path) => Ok(settings.or(Settings::read(path)?)),
            None => Ok(settings),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            name: self.name.clone(),
            qps: self.qps,
            stages: (!self.stages.is_empty()).then(|| self.stages.clone()),
            count: self.count,
            duration: self.duration,
            window: self.window,
            warmup: self.warmup,
            arrivals: self.arrivals,
            seed: self.seed,
            max_in_flight: self.max_in_flight,
            thresholds: (!self.thresholds.is_empty()).then(|| self.thresholds.clone()),
            unit: self.unit.clone(),
            pid: self.pid,
            metrics: self.metrics.clone(),
            prometheus: self.server.settings(),
            recorder: self.no_recorder.then(RecorderSettings::disabled),
            ..self.request.settings()
        }
    }
}

/// What is to be done.
pub(super) enum Plan {
    /// A new run.
    New { scenario: Scenario, place: Place },
    /// A run that was cut off.
    Resume { scenario: Scenario, folder: PathBuf },
}

/// Runs the verb; new run folders go into `runs_dir` of the configuration.
///
/// # Errors
/// When the arguments make no sense, the run cannot be made, or its verdict is not PASS.
pub fn run(args: &SoakArgs, config: &Config, context: &Context) -> Outcome {
    let runs_dir = &config.runs_dir;
    let around = Around::of(config, context)?;
    if args.resume_all {
        return soak_resume::all(runs_dir, around.voice);
    }
    if args.capacity.find_capacity {
        return soak_capacity::perform(args, &around);
    }
    let plan = match &args.resume {
        Some(folder) => soak_resume::one(args, folder)?,
        None if args.resume_unfinished => soak_resume::newest_or_new(args, &around)?,
        None => Plan::New {
            scenario: new_scenario(args, &around)?,
            place: match &args.out {
                Some(folder) => Place::At(folder.clone()),
                None => Place::In(runs_dir.clone()),
            },
        },
    };
    perform(&plan, &around)
}

/// The scenario of a new run, once what it samples is there.
pub(super) fn new_scenario(args: &SoakArgs, around: &Around<'_>) -> Result<Scenario, Failure> {
    around.say_what_the_environment_says(args);
    let scenario = args.given().and_then(Scenario::resolve);
    let scenario = scenario.map_err(|error| in_file(args, resolve_failure(error)))?;
    match scenario.sampling.absent() {
        None => Ok(scenario),
        Some(absent) => Err(Failure::usage("cannot start a soak")
            .because(absent)
            .hint("name what runs with --pid or --unit, or leave both out")),
    }
}

/// What is wrong in the scenario file alone is wrong in the configuration.
fn in_file(args: &SoakArgs, failure: Failure) -> Failure {
    let Some(path) = &args.scenario else {
        return failure;
    };
    let alone = Settings::read(path).and_then(Scenario::resolve);
    match alone {
        Err(error @ ScenarioError::Value(_)) => {
            let problem = format!("the scenario {} is wrong: {error}", path.display());
            Failure::configuration("cannot start a soak").because(problem)
        }
        _ => failure,
    }
}

/// Makes the run, says its verdict, tells others, and ends as it does.
pub(super) fn perform(plan: &Plan, around: &Around<'_>) -> Outcome {
    let (Plan::New { scenario, .. } | Plan::Resume { scenario, .. }) = plan;
    let is_new = matches!(plan, Plan::New { .. });
    let unreached = scenario.unreached().filter(|_| is_new);
    let unasked = scenario.unasked().filter(|_| is_new);
    for note in scenario
        .unused()
        .into_iter()
        .chain(unreached)
        .chain(unasked)
    {
        around.voice.warn(&note);
    }
    let mut view = Noticed::new(scenario.thresholds.clone(), around.voice);
    let made = match plan {
        Plan::New { scenario, place } => crate::soak::run(scenario, place, &SystemClock, &mut view),
        Plan::Resume { scenario, folder } => {
            crate::soak::resume::resume(scenario, folder, &SystemClock, &mut view)
        }
    };
    drop(view);
    let place = match plan {
        Plan::New { place, .. } => Some(place),
        Plan::Resume { .. } => None,
    };
    let finished = made.map_err(|error| run_failure(error, place))?;
    let run = run_folder::read_run(&finished.folder).map_err(super::report::folder_failure)?;
    record(&finished, &run);
    let report = run_folder::read(&finished.folder).and_then(|run| Report::of(vec![run]));
    if let Err(problem) = keep_page(&finished, report.as_ref()) {
        // The verdict stands without it, and the page can be made again.
        let hint = "make it again with: alfred report RUN --format html -o report.html";
        around
            .voice
            .warn(&format!("report.html: {problem}; {hint}"));
    }
    let printed = print(&finished, report, around.context);
    let news = News::of_run(&run, &finished.verdict, &finished.folder);
    around.after(&finished.folder, &news);
    printed?;
    judged(&finished, around.voice)
}

/// The verdict in the journal.
fn record(finished: &FinishedRun, run: &RunRecord) {
    let verdict = &finished.verdict;
    events::soak_verdict(&SoakVerdict {
        verdict: verdict.verdict.as_str(),
        scenario: &run.name,
        target: &run.target,
        run: &finished.folder.display().to_string(),
        reason: &reasons(finished),
        due: verdict.counts.due,
        ok: verdict.counts.ok,
        errors: verdict.counts.error,
        error_rate: verdict.error_rate,
        p50_ms: verdict.response_ms.p50,
        p95_ms: verdict.response_ms.p95,
        p99_ms: verdict.response_ms.p99,
        measured_s: verdict.coverage.measured_s,
        capacity_per_s: None,
    });
}

/// Writes the report for people beside the verdict.
fn keep_page(
    finished: &FinishedRun,
    report: Result<&Report, &RunFolderError>,
) -> Result<(), String> {
    let report = report.map_err(ToString::to_string)?;
    let page = report.write(Format::Html, false);
    let page = page.map_err(|error| format!("{error}"))?;
    run_log::write_atomically(&finished.folder, run_log::files::REPORT, page.as_bytes())
        .map_err(|error| format!("{error}: {}", error.source))
}

fn print(
    finished: &FinishedRun,
    report: Result<Report, RunFolderError>,
    context: &Context,
) -> Outcome {
    let text = if context.json {
        json(&finished.verdict)?
    } else {
        report
            .map_err(|error| Failure::failed("cannot report on the run").because(error))?
            .write(Format::Text, console::colors_enabled())
            .map_err(|error| Failure::failed("cannot report on the run").because(error))?
    };
    super::report::to_stdout(&text)
}

fn json(verdict: &VerdictRecord) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(verdict)
        .map_err(|error| Failure::failed("cannot write the verdict as JSON").because(error))?;
    Ok(text + "\n")
}

/// Where the journal has the verdict it has been told.
fn judged(finished: &FinishedRun, voice: Voice) -> Outcome {
    let kind = match finished.verdict.verdict {
        Verdict::Pass => return Ok(()),
        Verdict::Fail => FailureKind::ThresholdCrossed,
        Verdict::Invalid => FailureKind::Invalid,
    };
    let word = finished.verdict.verdict.as_str();
    let reasons = reasons(finished);
    let folder = finished.folder.display();
    Err(
        Failure::new(kind, format!("the soak ended {word}: {reasons}"))
            .hint(format!(
                "see every window with: alfred report {folder} --format csv"
            ))
            .told(voice.in_journal),
    )
}

fn reasons(finished: &FinishedRun) -> String {
    let mut reasons = finished.verdict.reasons.join("; ");
    let causes = causes::show(&finished.verdict.errors_by_cause, 1);
    if !causes.is_empty() {
        let _ = write!(reasons, "; errors: {causes}");
    }
    reasons
}

pub(super) fn resolve_failure(error: ScenarioError) -> Failure {
    let hint = match &error {
        ScenarioError::Missing { hint, .. } => Some((*hint).to_owned()),
        ScenarioError::UnknownKey { closest, .. } => Some(format!("did you mean `{closest}`?")),
        _ => None,
    };
    let kind = match &error {
        ScenarioError::UnknownKey { .. } | ScenarioError::Wrong { .. } => {
            FailureKind::Configuration
        }
        _ => FailureKind::Usage,
    };
    Failure::new(kind, "cannot start a soak")
        .because(error)
        .maybe_hint(hint)
}

/// Why there is no run, and what to do; `place` is that of a new one.
pub(super) fn run_failure(error: SoakError, place: Option<&Place>) -> Failure {
    match error {
        SoakError::Queries(QueriesError::Relevance(relevance)) => {
            Failure::usage("cannot start a soak").because(relevance).hint(
                "name a file with --relevance FILE whose lines are a query, a tab, and the sources that \
                 answer it, with tabs between",
            )
        }
        SoakError::Queries(queries) => {
            let is_absent = matches!(&queries, QueriesError::Read { .. });
            let hint = if is_absent {
                "name another file of queries with --queries FILE; the source tree has \
                 perf/queryset.txt"
            } else {
                "name a file of queries with --queries FILE: lines of text, lines of JSON (.jsonl), or CSV (.csv)"
            };
            Failure::usage("cannot start a soak")
                .because(queries)
                .hint(hint)
        }
        SoakError::Path(path) => Failure::usage("cannot start a soak").because(path),
        SoakError::RunLog(_) => {
            let hint = match place {
                Some(Place::At(_)) => "choose a folder that is new or empty with --out RUN_DIR",
                Some(Place::In(_)) => "choose a folder that you may write to with --out RUN_DIR",
                None => "see that the disk has room and the folder may be written",
            };
            Failure::failed("the soak cannot be recorded")
                .because(error)
                .hint(hint)
        }
        SoakError::Lost { .. } => Failure::failed("the soak cannot be recorded")
            .because(error)
            .hint("see that the disk has room, and that nobody removes the folder of a run"),
        SoakError::Folder(folder) => super::report::folder_failure(folder),
        SoakError::Resume(resume) => soak_resume::failure(resume),
        SoakError::Left { folder } => {
            let hint = format!("go on with: alfred soak --resume {}", folder.display());
            Failure::failed("the soak has no verdict yet")
                .because(SoakError::Left { folder })
                .hint(hint)
        }
        SoakError::Start(start) => {
            let hint = causes::hint(&start.to_string(), "").map(str::to_owned);
            Failure::failed("the soak cannot be run")
                .because(SoakError::Start(start))
                .maybe_hint(hint)
        }
    }
}

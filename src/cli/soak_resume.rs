//! `alfred soak --resume`, `--resume-unfinished` and `--resume-all`: runs that were cut off.

use super::Outcome;
use super::soak::{Plan, SoakArgs, perform, resolve_failure};
use super::soak_after::Around;
use super::soak_notice::Voice;
use crate::clock::{Clock, SystemClock};
use crate::failure::{Failure, FailureKind};
use crate::soak::Place;
use crate::soak::clocks::{Reading, boot_id};
use crate::soak::record::RunRecord;
use crate::soak::resume::{self, ResumeError};
use crate::soak::run_folder;
use crate::soak::scenario::Scenario;
use crate::soak::units::show_duration;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// A run whose planned end passed longer ago than this is judged, and another one begins; one that
/// was cut off shortly before its end is judged, and that is the outcome. A service manager starts a
/// killed run again within seconds.
const JUST_ENDED: Duration = Duration::from_mins(2);
/// A resumed run that is killed is resumed so many times more.
const ATTEMPTS: u32 = 5;
/// Before that.
const PAUSE: Duration = Duration::from_secs(10);

/// What `--resume RUN_DIR` is to do. The scenario is that of the run; what the command line says
/// besides must be the same.
pub(super) fn one(args: &SoakArgs, folder: &Path) -> Result<Plan, Failure> {
    let run = run_folder::read_run(folder).map_err(super::report::folder_failure)?;
    let given = args.given().map_err(resolve_failure)?;
    let settings = if args.scenario.is_some() {
        given
    } else {
        let recorded = resume::settings_of(folder, &run, &given).map_err(failure)?;
        given.or(recorded)
    };
    let scenario = Scenario::resolve(settings).map_err(resolve_failure)?;
    Ok(Plan::Resume {
        scenario,
        folder: folder.to_owned(),
    })
}

/// What `--resume-unfinished SCENARIO.toml` is to do: to go on with the newest unfinished run of that
/// very scenario; without one, to begin a new run.
pub(super) fn newest_or_new(args: &SoakArgs, around: &Around<'_>) -> Result<Plan, Failure> {
    let runs_dir = around.runs_dir;
    let say = |line: &str| around.voice.say(line);
    let scenario =
        Scenario::resolve(args.given().map_err(resolve_failure)?).map_err(resolve_failure)?;
    refuse_second(&scenario, runs_dir)?;
    let unfinished = run_folder::unfinished(runs_dir).map_err(super::report::folder_failure)?;
    let of_this = |(_, run): &&(PathBuf, RunRecord)| run.name == scenario.name;
    for (folder, run) in unfinished.iter().rev().filter(of_this) {
        let plan = Plan::Resume {
            scenario: scenario.clone(),
            folder: folder.clone(),
        };
        let ended = ended_ago(run, &SystemClock);
        if ended.is_none_or(|ago| ago <= JUST_ENDED) {
            match resume::is_same(&scenario, folder, run) {
                Ok(()) => return Ok(plan),
                Err(error) => say(&format!("{}: not resumed: {error}", folder.display())),
            }
            continue;
        }
        let ago = show_duration(Duration::from_secs(ended.unwrap_or_default().as_secs()));
        say(&format!(
            "{}: its planned end passed {ago} ago; judging what there is",
            folder.display()
        ));
        if let Err(failure) = perform(&plan, around)
            && !failure.is_told()
        {
            say(&failure.to_string());
        }
    }
    Ok(Plan::New {
        scenario,
        place: Place::In(runs_dir.to_owned()),
    })
}

fn refuse_second(scenario: &Scenario, runs_dir: &Path) -> Outcome {
    let folders = run_folder::list(runs_dir).map_err(super::report::folder_failure)?;
    let is_this = |folder: &&PathBuf| {
        run_folder::is_held(folder)
            && run_folder::read_run(folder).is_ok_and(|run| run.name == scenario.name)
    };
    match folders.iter().rev().find(is_this) {
        None => Ok(()),
        Some(folder) => Err(Failure::failed(format!(
            "another process is recording a run of {} in {}",
            scenario.name,
            folder.display()
        ))
        .hint("wait for it to end, or end it with SIGINT")),
    }
}

/// How long ago the run was to end; `None` when it still is to.
fn ended_ago(run: &RunRecord, clock: &dyn Clock) -> Option<Duration> {
    let (passed_ns, _) = Reading::take(clock).since(&run.start, &boot_id());
    let passed = Duration::from_nanos(u64::try_from(passed_ns).unwrap_or(0));
    let planned = Duration::try_from_secs_f64(run.scenario.duration_s).unwrap_or_default();
    passed.checked_sub(planned)
}

/// Goes on with every unfinished run in `runs_dir`, each in a process of its own, and waits for all.
pub(super) fn all(runs_dir: &Path, voice: Voice) -> Outcome {
    let unfinished = run_folder::unfinished(runs_dir).map_err(super::report::folder_failure)?;
    if unfinished.is_empty() {
        voice.say(&format!("no unfinished runs in {}", runs_dir.display()));
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot wait for runs").because(error))?;
    let guard = runtime.enter();
    // The runs get these signals too, and each knows what to do; this process waits for them.
    let held = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ]
    .map(signal);
    drop(guard);
    let threads: Vec<_> = unfinished
        .into_iter()
        .map(|(folder, _)| std::thread::spawn(move || resume_in_a_process(&folder, voice)))
        .collect();
    let ends = threads.into_iter().filter_map(|thread| thread.join().ok());
    let codes: Vec<i32> = ends.collect();
    drop(held);
    let worst = |kind: FailureKind| codes.contains(&i32::from(kind.exit_code()));
    let count = codes.len();
    if codes.iter().all(|code| *code == 0) {
        return Ok(());
    }
    let kind = match (
        worst(FailureKind::ThresholdCrossed),
        worst(FailureKind::Invalid),
    ) {
        (true, _) => FailureKind::ThresholdCrossed,
        (false, true) => FailureKind::Invalid,
        (false, false) => FailureKind::Failed,
    };
    let what = format!("of {count} unfinished runs not all ended PASS");
    Err(Failure::new(kind, what).hint("see each with: alfred runs"))
}

fn resume_in_a_process(folder: &Path, voice: Voice) -> i32 {
    let say = |line: &str| voice.say(line);
    for _ in 0..ATTEMPTS {
        let ended = std::env::current_exe().and_then(|own| {
            Command::new(own)
                .args(["soak", "--resume"])
                .arg(folder)
                .env_remove("NOTIFY_SOCKET")
                .env_remove("WATCHDOG_USEC")
                .stdin(Stdio::null())
                .status()
        });
        match ended {
            Ok(status) if status.signal().is_none() => return code(status),
            Ok(status) => say(&format!(
                "{}: its process ended: {status}",
                folder.display()
            )),
            Err(error) => {
                say(&format!("{}: cannot be resumed: {error}", folder.display()));
                return 1;
            }
        }
        SystemClock.sleep(PAUSE);
    }
    1
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(1)
}

/// Why a run is not resumed, and what to do.
pub(super) fn failure(error: ResumeError) -> Failure {
    let hint = match &error {
        ResumeError::Finished { .. } => "see it with: alfred report RUN",
        ResumeError::Busy { .. } => "wait for it to end, or end it with SIGINT",
        ResumeError::Changed { .. } => {
            "resume it with the scenario that it began with: --resume RUN_DIR alone"
        }
        ResumeError::Queries { .. } => {
            "put back the queries that the run began with, name a file of them with --queries FILE, or \
             begin a new run"
        }
        ResumeError::Header { .. } => "give it again with --header 'NAME: VALUE'",
        ResumeError::Recorded { .. } | ResumeError::Scenario(_) => {
            "resume it with the version of alfred that began it"
        }
    };
    Failure::usage("cannot resume the run")
        .because(error)
        .hint(hint)
}

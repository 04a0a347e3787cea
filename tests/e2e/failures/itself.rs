//! What the daemon takes from the system, and its own defects. The provider is well.

use super::clients::connect;
use super::fault::Faults;
use super::load::Kind;
use super::watch::{Pace, Promise, RECOVERY, Seen, Watch, fill};
use crate::failures::cases;
use crate::http::panicking;
use crate::provider::Standin;
use crate::support::{Daemon, Home};
use alfred::clock::{Clock as _, SystemClock};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use std::process::Command;
use std::time::Duration;

cases! {
    descriptors: "No descriptor is left (RLIMIT_NOFILE)",
    names: "DNS gone: the provider's name is not resolved, after 5 s of trying",
    threads: "No thread can be started (EAGAIN)",
    parser: "The process that reads documents crashes, again and again (SIGSEGV)",
    panics: "Every question panics in its handler",
}

const UNRESOLVED: &[&str] = &["503 `openai_error`", "503 `overloaded`", "504 `timeout`"];
/// Until it is seen that the provider is away, those who wait for it may take all places.
const CROWDED: &[&str] = &["503 `overloaded`"];
const ANY: &[&str] = &[
    "503 `openai_error`",
    "503 `search_error`",
    "503 `overloaded`",
    "504 `timeout`",
];

/// Whatever needs a descriptor or a thread that is not to be had.
const ALL: Promise = Promise {
    may_say: &[
        (Kind::NewQuestion, ANY),
        (Kind::KnownQuestion, ANY),
        (Kind::Words, ANY),
        (Kind::Write, ANY),
        (Kind::Health, &["503 `overloaded`"]),
    ],
    recovery: RECOVERY,
};

fn serve(home: &Home, standin: &Standin, pace: &Pace, change: impl Fn(&mut Command)) -> Daemon {
    let mut command = standin.alfred(home, &["serve", "--listen", "127.0.0.1:0"]);
    command.envs(pace.environment());
    change(&mut command);
    Daemon::start(command)
}

fn pid(daemon: &Daemon) -> Pid {
    Pid::from_raw(daemon.pid().cast_signed()).unwrap()
}

fn descriptors(pace: &Pace) -> Seen {
    let (home, standin) = (Home::new(), Standin::start(&[]));
    let daemon = serve(&home, &standin, pace, |_| {});
    let mut watch = Watch::begin(&daemon, pace);
    let limit = |current| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(
            Some(pid(&daemon)),
            Resource::Nofile,
            Rlimit { current, maximum },
        )
        .unwrap()
        .current
    };
    // Numbers from here on are not given out, and those below are taken.
    let before = limit(Some(8));
    let newcomer = connect(&daemon);
    pace.wait();
    drop(newcomer);
    limit(before);
    watch.mended();
    let seen = watch.end(&ALL);
    let is_felt = seen.said.as_ref().is_some_and(|said| !said.is_empty());
    assert!(is_felt, "nothing went wrong: {seen:#?}");
    seen
}

fn names(pace: &Pace) -> Seen {
    let (home, mut standin) = (Home::new(), Standin::start(&[]));
    let faults = Faults::below(&home);
    let (_, url) = standin.variables();
    let daemon = serve(&home, &standin, pace, |command| {
        faults.prepare(command);
        command.env("OPENAI_BASE_URL", url.replace("127.0.0.1", "localhost"));
    });
    let mut watch = Watch::begin(&daemon, pace);
    faults.begin("names");
    // So that nobody goes on over a connection that is there.
    standin.kill();
    standin.start_again(&[]);
    pace.wait();
    faults.end();
    watch.mended();
    let promise = Promise {
        may_say: &[
            (Kind::NewQuestion, UNRESOLVED),
            (Kind::Write, UNRESOLVED),
            (Kind::KnownQuestion, CROWDED),
            (Kind::Words, CROWDED),
        ],
        recovery: RECOVERY,
    };
    watch.end(&promise)
}

fn threads(pace: &Pace) -> Seen {
    let (home, standin) = (Home::new(), Standin::start(&[]));
    let faults = Faults::below(&home);
    let daemon = serve(&home, &standin, pace, |command| faults.prepare(command));
    fill(&daemon.endpoint);
    // Until those that were started for the first requests are gone.
    SystemClock.sleep(IDLE_THREADS);
    faults.begin("threads");
    let mut watch = Watch::begin_broken(&daemon.endpoint, Some(daemon.log.clone()), pace);
    pace.wait();
    faults.end();
    watch.mended();
    watch.end(&ALL)
}

/// How long a thread of the runtime waits for work before it ends, and a bit.
const IDLE_THREADS: Duration = Duration::from_millis(10_500);

/// As a stack overflow ends it, or memory that is not there.
fn parser(pace: &Pace) -> Seen {
    let (home, standin) = (Home::new(), Standin::start(&[]));
    let daemon = serve(&home, &standin, pace, |_| {});
    let mut watch = Watch::begin(&daemon, pace);
    let end = SystemClock.monotonic() + pace.fault;
    let mut crashed = 0;
    while SystemClock.monotonic() < end {
        for child in children_of(daemon.pid()) {
            crashed += usize::from(kill_process(child, Signal::SEGV).is_ok());
        }
        SystemClock.sleep(Duration::from_millis(50));
    }
    assert!(crashed > 0, "no process reads documents");
    watch.mended();
    watch.end(&Promise {
        may_say: &[(Kind::Write, &["422 `invalid_field`"])],
        recovery: RECOVERY,
    })
}

fn children_of(pid: u32) -> Vec<Pid> {
    let path = |task: std::io::Result<std::fs::DirEntry>| task.unwrap().path().join("children");
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(path(task)).ok());
    let children = lists.collect::<Vec<_>>().join(" ");
    let numbers = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// The server of the daemon, over a store and an answer of the tests.
fn panics(pace: &Pace) -> Seen {
    let server = panicking();
    fill(&server.endpoint);
    let mut watch = Watch::begin_full(&server.endpoint, None, pace);
    server.panics(true);
    pace.wait();
    server.panics(false);
    watch.mended();
    watch.end(&Promise {
        may_say: &[
            (Kind::NewQuestion, &["500 `internal`"]),
            (Kind::KnownQuestion, &["500 `internal`"]),
            (Kind::Words, &["500 `internal`"]),
        ],
        recovery: RECOVERY,
    })
}

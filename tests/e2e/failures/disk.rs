//! The disk with the store. Reads go on whatever becomes of it; the provider is well.

use super::fault::Faults;
use super::load::Kind;
use super::watch::{Pace, Promise, RECOVERY, Seen, Watch};
use crate::failures::cases;
use crate::provider::Standin;
use crate::support::{Daemon, Home};
use alfred::clock::{Clock as _, SystemClock};
use std::time::Duration;

cases! {
    full: "Full: every write fails with ENOSPC",
    read_only: "Read-only: every write fails with EROFS",
    slow: "Slow: every sync takes 10 s",
}

const DOWN: &str = "503 `search_error`";
const BUSY: &str = "503 `overloaded`";

/// The store's file takes nothing.
const REFUSED: Promise = Promise {
    may_say: &[(Kind::Write, &[DOWN])],
    recovery: RECOVERY,
};

/// Those who write hold their places for as long as a sync takes.
const LATE: Promise = Promise {
    may_say: &[(Kind::Write, &[BUSY])],
    recovery: RECOVERY,
};

fn goes_wrong(pace: &Pace, what: &str, lasts: Duration, promise: &Promise) -> Seen {
    let (home, standin) = (Home::new(), Standin::start(&[]));
    let faults = Faults::below(&home);
    let mut command = standin.alfred(&home, &["serve", "--listen", "127.0.0.1:0"]);
    command.envs(pace.environment());
    faults.prepare(&mut command);
    let daemon = Daemon::start(command);
    let mut watch = Watch::begin(&daemon, pace);
    faults.begin(what);
    SystemClock.sleep(lasts);
    faults.end();
    watch.mended();
    let seen = watch.end(promise);
    let is_felt = seen.replies[&Kind::Write].keys().any(|said| said != "200");
    assert!(is_felt, "nothing went wrong: {seen:#?}");
    assert_eq!(daemon.stop(), 0);
    home.alfred(&["store", "check"]).expect(0);
    seen
}

fn full(pace: &Pace) -> Seen {
    goes_wrong(pace, "full", pace.fault, &REFUSED)
}

fn read_only(pace: &Pace) -> Seen {
    goes_wrong(pace, "read-only", pace.fault, &REFUSED)
}

fn slow(pace: &Pace) -> Seen {
    let what = format!("slow {}", pace.sync.as_millis());
    goes_wrong(pace, &what, pace.sync + Duration::from_secs(1), &LATE)
}

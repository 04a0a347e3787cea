//! The cache that several daemons share. Whatever becomes of it, nobody is to notice.

use super::watch::{Pace, Promise, RECOVERY, Seen, Watch};
use crate::caching::{Redis, wait_for};
use crate::failures::cases;
use crate::provider::Standin;
use crate::support::{Daemon, Home, eventually};
use rustix::process::Signal;
use serde_json::json;

cases! {
    paused: "Paused (SIGSTOP)",
    killed: "Killed (SIGKILL) and started again, empty",
    garbage: "Every key filled with garbage",
}

fn parts(pace: &Pace) -> (Redis, Daemon, Standin, Home) {
    let (home, standin, redis) = (Home::new(), Standin::start(&[]), Redis::plain(&[]));
    let mut command = standin.alfred(&home, &["serve", "--listen", "127.0.0.1:0"]);
    command
        .envs(pace.environment())
        .env("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port))
        // So that questions asked before are looked up there too.
        .env("ALFRED__EMBEDDING__CACHE_ENTRIES", "1");
    let daemon = Daemon::start(command);
    wait_for(&daemon, "state", &json!("up"));
    (redis, daemon, standin, home)
}

/// The time until the cache is in use again, too.
fn end(mut watch: Watch, daemon: &Daemon) -> Seen {
    watch.mended();
    let back = alfred::clock::Clock::monotonic(&alfred::clock::SystemClock);
    let is_up = || (crate::caching::redis_of(daemon)["state"] == "up").then_some(());
    eventually(RECOVERY, is_up);
    let used_after = alfred::clock::Clock::monotonic(&alfred::clock::SystemClock) - back;
    let seen = watch.end(&Promise::NOTHING);
    Seen {
        recovery: seen.recovery.max(used_after),
        ..seen
    }
}

fn paused(pace: &Pace) -> Seen {
    let (redis, daemon, _standin, _home) = parts(pace);
    let watch = Watch::begin(&daemon, pace);
    redis.signal(Signal::STOP);
    pace.wait();
    redis.signal(Signal::CONT);
    end(watch, &daemon)
}

fn killed(pace: &Pace) -> Seen {
    let (mut redis, daemon, _standin, _home) = parts(pace);
    let watch = Watch::begin(&daemon, pace);
    redis.kill();
    pace.wait();
    redis.start_again();
    end(watch, &daemon)
}

fn garbage(pace: &Pace) -> Seen {
    let (redis, daemon, _standin, _home) = parts(pace);
    let watch = Watch::begin(&daemon, pace);
    let client = ::redis::Client::open(format!("redis://127.0.0.1:{}", redis.port)).unwrap();
    let mut connection = client.get_connection().unwrap();
    let keys: Vec<String> = ::redis::cmd("KEYS")
        .arg("*")
        .query(&mut connection)
        .unwrap();
    assert!(!keys.is_empty(), "nothing was written to the cache");
    for (number, key) in keys.iter().enumerate() {
        let mut command = ::redis::cmd("DEL");
        let _: i64 = command.arg(key).query(&mut connection).unwrap();
        if number % 2 == 0 {
            let mut command = ::redis::cmd("SET");
            let _: String = command
                .arg(key)
                .arg("garbage")
                .query(&mut connection)
                .unwrap();
        } else {
            let mut command = ::redis::cmd("RPUSH");
            let _: i64 = command
                .arg(key)
                .arg("a list")
                .query(&mut connection)
                .unwrap();
        }
    }
    pace.wait();
    end(watch, &daemon)
}

//! What a service manager sees and does: readiness, watchdog, status, sockets it passes, reload.
//! The same in a booted systemd is in `tests/system`.

use super::support::{Daemon, Home, PATIENCE, eventually};
use alfred::client::{Endpoint, Limits, Outgoing, request_blocking};
use alfred::clock::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A service manager's end of the line.
pub(crate) struct Manager {
    pub(crate) path: PathBuf,
    messages: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    pub(crate) fn new(home: &Home) -> Self {
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let messages: Arc<Mutex<Vec<String>>> = Arc::default();
        let shared = Arc::clone(&messages);
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                shared.lock().unwrap().push(text);
            }
        });
        Self { path, messages }
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        let messages = self.messages();
        messages.iter().filter(|text| text.contains(what)).count()
    }

    /// Waits until `what` was said more than `before` times.
    #[track_caller]
    fn wait_for(&self, what: &str, before: usize) {
        eventually(PATIENCE, || (self.count(what) > before).then_some(()));
    }
}

fn config(home: &Home, more: &str) -> PathBuf {
    home.write(
        "alfred.toml",
        format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{more}"),
    )
}

fn served(home: &Home, manager: &Manager, environment: &[(&str, &str)]) -> Daemon {
    let mut command = home.command(&["serve", "--config", "alfred.toml"]);
    command.env("NOTIFY_SOCKET", &manager.path);
    command.envs(environment.iter().copied());
    Daemon::start(command)
}

fn signal(daemon: &Daemon, signal: Signal) {
    let pid = Pid::from_raw(daemon.pid().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn reload(home: &Home) -> super::support::Done {
    home.alfred(&["reload", "--socket", "store/alfred.sock", "--json"])
}

#[test]
fn ready_comes_once_a_request_came_back_and_the_end_is_announced() {
    let home = Home::new();
    config(&home, "");
    let manager = Manager::new(&home);
    let daemon = served(&home, &manager, &[]);
    manager.wait_for("READY=1", 0);
    let messages = manager.messages();
    let ready = messages.iter().position(|text| text.contains("READY=1"));
    let ready = ready.unwrap();
    assert!(
        messages[ready].contains("STATUS=serving 0 documents"),
        "{messages:?}"
    );
    assert!(
        messages[..ready]
            .iter()
            .any(|text| text.contains("STATUS=starting: ")),
        "{messages:?}"
    );
    assert_eq!(manager.count("WATCHDOG=1"), 0, "nobody asked for it");
    assert_eq!(
        daemon.request("GET", "/livez", None),
        (200, json!({"status": "working"}))
    );
    assert_eq!(daemon.stop(), 0);
    assert_eq!(manager.count("STOPPING=1"), 1);
    // 30 s of drain_timeout_s, 150 ms of lame_duck_ms, and 10 s.
    assert_eq!(manager.count("EXTEND_TIMEOUT_USEC=40150000"), 1);
    assert_eq!(manager.count("READY=1"), 1);
}

/// Processor time comes in pieces of 20 ms a second, as under a tight quota: the start needs far longer than the 5 s
/// after which it asks.
#[test]
fn a_long_start_that_gets_on_asks_for_more_time() {
    let home = Home::new();
    config(&home, "");
    let manager = Manager::new(&home);
    let mut command = home.command(&["serve", "--config", "alfred.toml"]);
    command.env("NOTIFY_SOCKET", &manager.path);
    let child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    eventually(PATIENCE, || {
        kill_process(pid, Signal::STOP).unwrap();
        SystemClock.sleep(Duration::from_millis(980));
        kill_process(pid, Signal::CONT).unwrap();
        // `eventually` sleeps the 20 ms.
        (manager.count("EXTEND_TIMEOUT_USEC=60000000") > 0).then_some(())
    });
    assert_eq!(manager.count("READY=1"), 0);
    manager.wait_for("READY=1", 0);
    kill_process(pid, Signal::TERM).unwrap();
    super::support::finish(child).expect(0);
}

#[test]
fn a_start_that_fails_says_why_in_the_status() {
    let home = Home::new();
    home.write("store/alfred.db", "this is no database, and was never one");
    config(&home, "");
    let manager = Manager::new(&home);
    let mut command = home.command(&["serve", "--config", "alfred.toml"]);
    command.env("NOTIFY_SOCKET", &manager.path);
    super::support::finish(command.spawn().unwrap()).expect(1);
    assert_eq!(
        manager.count("STATUS=failed: error: "),
        1,
        "{:?}",
        manager.messages()
    );
    assert_eq!(manager.count("READY=1"), 0);
}

#[test]
fn the_watchdog_is_fed_while_work_gets_done_and_not_while_the_process_stands_still() {
    let home = Home::new();
    config(&home, "");
    let manager = Manager::new(&home);
    let daemon = served(&home, &manager, &[("WATCHDOG_USEC", "1000000")]);
    manager.wait_for("WATCHDOG=1", 3);
    signal(&daemon, Signal::STOP);
    let pid = daemon.pid();
    eventually(PATIENCE, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')')
            .next()
            .unwrap()
            .trim()
            .starts_with('T')
            .then_some(())
    });
    // What was on its way arrives.
    std::thread::park_timeout(Duration::from_millis(100));
    let before = manager.count("WATCHDOG=1");
    std::thread::park_timeout(Duration::from_secs(1));
    assert_eq!(manager.count("WATCHDOG=1"), before);
    signal(&daemon, Signal::CONT);
    manager.wait_for("WATCHDOG=1", before);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_socket_whose_file_is_gone_ends_no_daemon_that_others_reach() {
    let home = Home::new();
    config(&home, "");
    let manager = Manager::new(&home);
    let daemon = served(&home, &manager, &[("WATCHDOG_USEC", "1000000")]);
    manager.wait_for("WATCHDOG=1", 1);
    std::fs::remove_file(home.path().join("store/alfred.sock")).unwrap();
    let before = manager.count("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1", before + 3);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_pipe_or_a_huge_file_as_configuration_is_refused_at_once() {
    let home = Home::new();
    config(&home, "");
    let daemon = served(&home, &Manager::new(&home), &[]);
    std::fs::create_dir(home.path().join("conf.d")).unwrap();
    let pipe = home.path().join("conf.d/10.toml");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::Mode::from_raw_mode(0o600),
    )
    .unwrap();
    let refused = reload(&home).expect(1);
    assert!(
        refused.stderr.contains("no regular file"),
        "{}",
        refused.stderr
    );
    std::fs::remove_file(&pipe).unwrap();
    std::fs::write(&pipe, "#".repeat(2 << 20)).unwrap();
    let refused = reload(&home).expect(1);
    assert!(
        refused.stderr.contains("2097152 bytes"),
        "{}",
        refused.stderr
    );
    std::fs::remove_file(&pipe).unwrap();
    reload(&home).expect(0);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn the_daemon_is_found_though_its_store_is_another_one_now() {
    let home = Home::new();
    config(&home, "");
    let daemon = served(&home, &Manager::new(&home), &[]);
    config(&home, "[store]\ndsn = \"postgresql://a@127.0.0.1:1/b\"\n");
    let told = home.alfred(&["reload", "--config", "alfred.toml", "--json"]);
    assert_eq!(
        told.expect(0).json()["needs_restart"],
        json!(["store.kind"])
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_reload_applies_what_it_can_and_names_the_rest() {
    let home = Home::new();
    config(&home, "");
    let manager = Manager::new(&home);
    let daemon = served(&home, &manager, &[]);
    manager.wait_for("READY=1", 0);
    config(
        &home,
        "max_body_bytes = 1024\nlame_duck_ms = 1\n[embedding]\nmodel = \"another\"\n",
    );
    let told = reload(&home).expect(0).json();
    assert_eq!(
        told["changed"],
        json!(["server.max_body_bytes", "server.lame_duck_ms"])
    );
    assert_eq!(told["needs_restart"], json!(["embedding.model"]));
    let large = json!({"query": "x".repeat(2_000)});
    assert_eq!(daemon.request("POST", "/v1/query", Some(&large)).0, 413);
    assert_eq!(
        daemon
            .request("POST", "/v1/query", Some(&json!({"query": "a"})))
            .0,
        200
    );
    manager.wait_for("READY=1", 1);
    let messages = manager.messages();
    let reloading = messages
        .iter()
        .find(|text| text.contains("RELOADING=1"))
        .unwrap();
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    let (_, status) = daemon.request("GET", "/v1/status", None);
    assert_eq!(status["reload"]["successful"], true);
    assert_eq!(
        status["reload"]["needs_restart"],
        json!(["embedding.model"])
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_broken_configuration_is_refused_and_the_old_one_stays() {
    let home = Home::new();
    config(&home, "max_body_bytes = 2048\n");
    let manager = Manager::new(&home);
    let daemon = served(&home, &manager, &[]);
    manager.wait_for("READY=1", 0);
    for broken in ["max_bodybytes = 4096\n", "max_in_flight = 0\n", "[store\n"] {
        config(&home, &format!("max_body_bytes = 9000\n{broken}"));
        let refused = reload(&home).expect(1);
        assert!(refused.stderr.contains("alfred.toml"), "{}", refused.stderr);
        let (_, status) = daemon.request("GET", "/v1/status", None);
        assert_eq!(status["reload"]["successful"], false, "{status}");
    }
    // By signal nobody waits for an answer: it is in the status.
    let before = manager.count("READY=1");
    signal(&daemon, Signal::HUP);
    manager.wait_for("READY=1", before);
    assert!(
        manager
            .messages()
            .last()
            .unwrap()
            .contains("reload refused: ")
    );
    let large = json!({"query": "x".repeat(3_000)});
    assert_eq!(
        daemon.request("POST", "/v1/query", Some(&large)).0,
        413,
        "the old limit"
    );
    config(&home, "max_body_bytes = 9000\n");
    signal(&daemon, Signal::HUP);
    eventually(PATIENCE, || {
        let (status, _) = daemon.request("POST", "/v1/query", Some(&large));
        (status == 200).then_some(())
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn reloads_under_load_fail_no_request() {
    let home = Home::new();
    config(&home, "");
    let manager = Manager::new(&home);
    let daemon = served(&home, &manager, &[]);
    manager.wait_for("READY=1", 0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = || {
            let mut answered = 0;
            while !done.load(Ordering::Relaxed) {
                daemon.ask(&json!({"query": "a question", "top_k": 1}));
                answered += 1;
            }
            answered
        };
        let clients = [scope.spawn(load), scope.spawn(load)];
        let told: Vec<_> = (0..20)
            .map(|entries| {
                let places = 4 + entries;
                let cache = format!("[embedding]\ncache_entries = {entries}\n");
                config(&home, &format!("max_in_flight = {places}\n{cache}"));
                reload(&home)
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        for told in told {
            let changed = &told.expect(0).json()["changed"];
            assert_eq!(
                *changed,
                json!(["server.max_in_flight", "embedding.cache_entries"])
            );
        }
        for client in clients {
            assert!(client.join().unwrap() > 20);
        }
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_reload_is_not_for_the_network() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let (status, problem) = daemon.request("POST", "/v1/reload", None);
    assert_eq!((status, problem["kind"].as_str()), (404, Some("not_found")));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn the_state_is_logged_on_request() {
    let home = Home::new();
    config(&home, "[log]\nformat = \"json\"\n");
    let log = home.path().join("log");
    let manager = Manager::new(&home);
    let mut command = home.command(&["serve", "--config", "alfred.toml"]);
    command
        .env("NOTIFY_SOCKET", &manager.path)
        .stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let mut child = command.spawn().unwrap();
    manager.wait_for("READY=1", 0);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::USR1).unwrap();
    let state: Value = eventually(PATIENCE, || {
        let text = std::fs::read_to_string(&log).unwrap();
        let line = text.lines().find(|line| line.contains("\"state\""))?;
        let event: Value = serde_json::from_str(line).ok()?;
        serde_json::from_str(event["state"].as_str()?).ok()
    });
    assert_eq!(state["status"]["ready"], true, "{state}");
    assert!(state["descriptors"].as_u64().unwrap() > 5);
    assert!(state["threads"].as_object().unwrap().len() > 2, "{state}");
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Passes listening sockets as systemd does: from descriptor 3 on, by number in the environment.
const PASS: &str = "
import os, socket, sys
unix, tcp = socket.socket(socket.AF_UNIX), socket.socket()
unix.bind(sys.argv[1]); unix.listen(64)
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
tcp.bind(('127.0.0.1', int(sys.argv[2]))); tcp.listen(64)
high = [os.dup2(s.fileno(), 100 + n) for n, s in enumerate((tcp, unix))]
for n, fd in enumerate(high): os.dup2(fd, 3 + n, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='tcp:unix')
os.execv(sys.argv[3], sys.argv[3:])
";

/// The status over a unix socket.
pub(crate) fn over(socket: &Path, path: &str) -> u16 {
    let target = Endpoint::Unix(socket.to_owned()).at(path);
    let limits = Limits {
        timeout: PATIENCE,
        max_response_bytes: 1 << 20,
    };
    let response = request_blocking(&target, Outgoing::default(), limits).unwrap();
    response.status.as_u16()
}

/// A daemon on sockets that it is passed: one over TCP, and `socket`.
pub(crate) fn passed(home: &Home, manager: &Manager, socket: &Path) -> Daemon {
    let of_alfred = home.command(&[
        "serve",
        "--config",
        "alfred.toml",
        "--listen",
        "127.0.0.1:1",
    ]);
    let mut command = Command::new("python3");
    command.arg("-c").arg(PASS).arg(socket).arg("0");
    command
        .arg(of_alfred.get_program())
        .args(of_alfred.get_args());
    command.current_dir(home.path()).env_clear();
    command.envs(
        of_alfred
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command.env("NOTIFY_SOCKET", &manager.path);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let daemon = Daemon::start(command);
    manager.wait_for("READY=1", 0);
    daemon
}

#[test]
fn sockets_that_are_passed_win_over_the_configuration() {
    let home = Home::new();
    config(&home, "");
    let manager = Manager::new(&home);
    let socket = home.path().join("passed.sock");
    let daemon = passed(&home, &manager, &socket);
    assert_eq!(daemon.request("GET", "/readyz", None).0, 200);
    assert_eq!(over(&socket, "/readyz"), 200);
    // Local commands have one of their own beside the store.
    assert_eq!(over(&home.path().join("store/alfred.sock"), "/readyz"), 200);
    assert_eq!(daemon.stop(), 0);
    assert!(socket.exists(), "it is not the daemon's to remove");
    assert!(!home.path().join("store/alfred.sock").exists());
}

//! Daemons that share a Redis: what one embedded the other finds, and what goes wrong with it costs
//! no query anything.

use crate::support::{Daemon, Done, Home, PATIENCE, eventually, finish};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A Redis of this test's own, on a port of its own; gone when it goes out of scope.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    arguments: Vec<String>,
    dir: tempfile::TempDir,
}

impl Redis {
    /// `arguments` are made from the port.
    fn start(arguments: impl Fn(u16) -> Vec<String>) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (dir, arguments) = (tempfile::tempdir().unwrap(), arguments(port));
        Self {
            child: launch(dir.path(), port, &arguments),
            port,
            arguments,
            dir,
        }
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it where it was, empty.
    pub(crate) fn start_again(&mut self) {
        self.child = launch(self.dir.path(), self.port, &self.arguments);
    }

    pub(crate) fn plain(arguments: &[&str]) -> Self {
        Self::start(|port| {
            let port = ["--port".to_owned(), port.to_string()];
            let more = arguments.iter().map(ToString::to_string);
            port.into_iter().chain(more).collect()
        })
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a Redis and waits until it takes connections.
fn launch(dir: &Path, port: u16, arguments: &[String]) -> Child {
    let mut child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(dir)
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed (Debian: redis-server)");
    eventually(PATIENCE, || {
        assert_eq!(child.try_wait().unwrap(), None, "redis-server ended");
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    child
}

/// A daemon with this Redis.
fn serve(home: &Home, url: &str, environment: &[(&str, &Path)]) -> Daemon {
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REDIS_URL", url);
    command.env("ALFRED__EMBEDDING__REDIS_TIMEOUT_MS", "200");
    command.envs(environment.iter().copied());
    Daemon::start(command)
}

pub(crate) fn redis_of(daemon: &Daemon) -> Value {
    let (_, mut status) = daemon.request("GET", "/v1/status", None);
    status["cache"]["redis"].take()
}

pub(crate) fn wait_for(daemon: &Daemon, key: &str, value: &Value) {
    eventually(PATIENCE, || (&redis_of(daemon)[key] == value).then_some(()));
}

fn is_cached(daemon: &Daemon, text: &str) -> bool {
    let reply = daemon.ask(&json!({"query": text}));
    reply["usage"]["embedding_cached"].as_bool().unwrap()
}

#[test]
fn what_one_daemon_was_asked_the_other_need_not_embed() {
    let redis = Redis::plain(&[]);
    let url = format!("redis://127.0.0.1:{}/1", redis.port);
    let (home, other) = (Home::new(), Home::new());
    let first = serve(&home, &url, &[]);
    assert!(!is_cached(&first, "What do otters eat?"));
    wait_for(&first, "writes", &json!(1));
    let second = serve(&other, &url, &[]);
    assert!(is_cached(&second, " What do\totters eat? "));
    let found = redis_of(&second);
    assert_eq!(
        (&found["hits"], &found["state"]),
        (&json!(1), &json!("up")),
        "{found}"
    );
    // From memory now.
    assert!(is_cached(&second, "What do otters eat?"));
    let (_, status) = second.request("GET", "/v1/status", None);
    let cache = &status["cache"];
    assert_eq!(
        (&cache["hits"], &cache["misses"]),
        (&json!(2), &json!(0)),
        "{cache}"
    );
    let shown = other.alfred(&["status"]).expect(0).stdout;
    assert!(
        shown.contains("cache.redis.state") && shown.contains(" up\n"),
        "{shown}"
    );
}

#[test]
fn commands_without_a_daemon_share_too() {
    let redis = Redis::plain(&[]);
    let home = Home::new();
    home.write("doc.md", "Otters eat sea urchins.");
    home.alfred(&["ingest", "doc.md"]).expect(0);
    let cached = || {
        let mut command = home.command(&["query", "What do otters eat?", "--json"]);
        command.env("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port));
        command.env("ALFRED__EMBEDDING__REDIS_TIMEOUT_MS", "500");
        let reply = finish(command.spawn().unwrap()).expect(0).json();
        reply["usage"]["embedding_cached"].as_bool().unwrap()
    };
    assert!(!cached());
    assert!(cached());
}

#[test]
fn a_paused_redis_costs_queries_nothing_and_is_back_within_2_s() {
    let redis = Redis::plain(&[]);
    let home = Home::new();
    let daemon = serve(&home, &format!("redis://127.0.0.1:{}", redis.port), &[]);
    assert!(!is_cached(&daemon, "one"));
    wait_for(&daemon, "writes", &json!(1));
    redis.signal(rustix::process::Signal::STOP);
    for number in 0..20 {
        assert!(!is_cached(&daemon, &format!("while it is paused {number}")));
    }
    let paused = redis_of(&daemon);
    assert_eq!(
        (&paused["state"], &paused["timeouts"]),
        (&json!("down"), &json!(1)),
        "{paused}"
    );
    redis.signal(rustix::process::Signal::CONT);
    eventually(std::time::Duration::from_secs(2), || {
        (redis_of(&daemon)["state"] == "up").then_some(())
    });
    assert!(!is_cached(&daemon, "when it is back"));
    wait_for(&daemon, "writes", &json!(2));
}

#[test]
fn a_wrong_password_is_one_warning_without_the_password() {
    let redis = Redis::plain(&["--requirepass", "right"]);
    let home = Home::new();
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env(
        "REDIS_URL",
        format!("redis://:hunter2@127.0.0.1:{}", redis.port),
    );
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("the shared cache is away") {
        assert!(
            log.read_line(&mut text).unwrap() > 0,
            "no warning in {text}"
        );
    }
    let asked = home.alfred(&["query", "anything"]).expect(0);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    log.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(
        text.matches("the shared cache is away").count(),
        1,
        "{text}"
    );
    assert!(text.contains("Password authentication failed"), "{text}");
    assert!(
        !text.contains("hunter2") && !asked.stderr.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn an_address_that_is_none_is_a_mistake_in_the_configuration() {
    let home = Home::new();
    home.write("doc.md", "text");
    for arguments in [
        ["serve", "--check"].as_slice(),
        &["config", "check"],
        &["ingest", "doc.md"],
    ] {
        for url in [
            "http://:hunter2@cache:6379",
            "rediss://:hunter2@cache/#insecure",
        ] {
            let mut command = home.command(arguments);
            command.env("REDIS_URL", url);
            let done: Done = finish(command.spawn().unwrap()).expect(78);
            assert!(
                done.stderr.contains("`embedding.redis_url`"),
                "{}",
                done.stderr
            );
            assert!(done.stderr.contains("hint: "), "{}", done.stderr);
            assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
        }
    }
}

/// A CA and a certificate of localhost signed by it, as `ca.crt`, `localhost.crt`, `localhost.key`.
fn certificates(dir: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(dir);
        let done = command.output().expect("openssl is installed");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=test -days 2"
    ));
    openssl(&format!(
        "req {key} -keyout localhost.key -out localhost.csr -subj /CN=localhost"
    ));
    std::fs::write(dir.join("extensions"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        "x509 -req -in localhost.csr -CA ca.crt -CAkey ca.key -out localhost.crt -days 2 \
         -extfile extensions",
    );
}

#[test]
fn tls_is_spoken_with_a_server_whose_authority_is_known() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let redis = Redis::start(|port| {
        [
            ["--port", "0"],
            ["--tls-port", &port.to_string()],
            ["--tls-cert-file", &path("localhost.crt")],
            ["--tls-key-file", &path("localhost.key")],
            ["--tls-ca-cert-file", &path("ca.crt")],
            ["--tls-auth-clients", "no"],
        ]
        .concat()
        .into_iter()
        .map(String::from)
        .collect()
    });
    let url = format!("rediss://localhost:{}", redis.port);
    let home = Home::new();
    let ca = dir.path().join("ca.crt");
    let daemon = serve(&home, &url, &[("SSL_CERT_FILE", &ca)]);
    assert!(!is_cached(&daemon, "one"));
    wait_for(&daemon, "writes", &json!(1));
    assert_eq!(daemon.stop(), 0);
    let daemon = serve(&home, &url, &[("SSL_CERT_FILE", &ca)]);
    wait_for(&daemon, "state", &json!("up"));
    assert!(is_cached(&daemon, "one"));
    assert_eq!(daemon.stop(), 0);
    // Nobody vouches for it: no connection, and no query fails.
    let daemon = serve(&home, &url, &[]);
    wait_for(&daemon, "state", &json!("down"));
    assert!(!is_cached(&daemon, "one"));
}

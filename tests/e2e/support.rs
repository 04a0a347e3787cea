//! What the end-to-end tests share: a home of their own, the binary, a daemon.

use alfred::client::{Endpoint, Limits, Outgoing, Trust, request_blocking};
use alfred::clock::{Clock as _, SystemClock};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest that any one command or start may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in {:?} ({})", self.stdout, self.stderr))
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }
}

/// A folder that is current folder, home and state of every command run in it.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file below the home, with its folders.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `alfred` with a clean environment, the test's model and this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alfred"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("XDG_DATA_HOME", self.path())
            .env("ALFRED__STORE__PATH", self.path().join("store"))
            .env("ALFRED__SOAK__RUNS_DIR", self.path().join("runs"))
            .env("ALFRED__EMBEDDING__MODELS_DIR", models_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `alfred` to its end.
    pub(crate) fn alfred(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments).spawn().unwrap())
    }

    /// Starts `alfred serve` on a free port and waits until it listens.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Daemon {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend_from_slice(arguments);
        Daemon::start(self.command(&all))
    }
}

/// The folder that holds the test's model: `$ALFRED_TEST_MODELS`, else the cache of
/// `scripts/model`.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find the model where the script put it"
)]
pub(crate) fn models_dir() -> PathBuf {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache")));
    let models = var("ALFRED_TEST_MODELS")
        .or_else(|| var("ALFRED_CACHE").map(|cache| cache.join("models")))
        .or_else(|| cache().map(|cache| cache.join("alfred/models")))
        .unwrap_or_default();
    assert!(
        models.join("all-MiniLM-L6-v2/model.json").exists(),
        "run scripts/model first"
    );
    models
}

/// The program that `scripts/NAME` installs and prints.
pub(crate) fn installed_by(name: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(name);
    let found = Command::new(script).output().unwrap();
    assert!(found.status.success(), "{found:?}");
    String::from_utf8(found.stdout).unwrap().trim().into()
}

/// What a script of `tests/e2e/browser` found in Chromium; its last argument is the folder for pictures,
/// `$ALFRED_PICTURES`, where that is set.
#[expect(
    clippy::disallowed_methods,
    reason = "a person who wants pictures says so in the environment"
)]
pub(crate) fn browse(script: &str, arguments: &[&str]) -> Value {
    let modules = installed_by("browser");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("node");
    command
        .arg(root.join("tests/e2e/browser").join(script))
        .args(arguments)
        .env("NODE_PATH", modules);
    if let Some(pictures) = std::env::var_os("ALFRED_PICTURES") {
        command.arg(pictures);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits for a command, within bounds.
pub(crate) fn finish(mut child: Child) -> Done {
    let read = |stream: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stream) = stream {
                let _ = stream.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|s| Box::new(s) as _));
    let stderr = read(child.stderr.take().map(|s| Box::new(s) as _));
    let deadline = SystemClock.monotonic() + PATIENCE * 4;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if SystemClock.monotonic() > deadline {
            child.kill().unwrap();
            panic!("the command did not end: {}", stderr.join().unwrap());
        }
        SystemClock.sleep(Duration::from_millis(10));
    };
    Done {
        code: status.code().unwrap_or(-1),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// A running daemon; killed when it goes out of scope.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) endpoint: Endpoint,
    pub(crate) log: Log,
}

/// What a daemon has logged since it listened, one event a line; the first [`Log::KEPT`] of them.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Value>>>);

impl Log {
    const KEPT: usize = 10_000;

    fn take(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (true, Ok(event)) = (lines.len() < Self::KEPT, serde_json::from_str(line)) {
            lines.push(event);
        }
    }

    /// Warnings and errors, each up to its first colon, with how many of them there were.
    pub(crate) fn warnings(&self) -> BTreeMap<String, usize> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = BTreeMap::new();
        for event in lines.iter() {
            let message = event["message"].as_str().unwrap_or_default();
            if matches!(event["level"].as_str(), Some("WARN" | "ERROR")) {
                let head = message.split(": ").next().unwrap_or_default();
                *counts.entry(head.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

impl Daemon {
    /// Starts the command and waits for its line "listening" with an `http://` or `https://` address.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        let url = loop {
            let mut line = String::new();
            let read = stderr.read_line(&mut line).unwrap();
            assert!(read > 0, "the daemon ended before it listened: {log}");
            log.push_str(&line);
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            match event["address"].as_str() {
                Some(url) if url.starts_with("http") => break url.to_owned(),
                _ => {}
            }
        };
        let log = Log::default();
        let kept = log.clone();
        // Read on, so that the daemon never waits for its log.
        std::thread::spawn(move || {
            let lines = stderr.lines().map_while(Result::ok);
            lines.for_each(|line| kept.take(&line));
        });
        Self {
            child,
            endpoint: url.parse().unwrap(),
            log,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Status and JSON body of one request.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        request(&self.endpoint, method, path, body)
    }

    /// The reply to a question, which must succeed.
    #[track_caller]
    pub(crate) fn ask(&self, body: &Value) -> Value {
        let (status, reply) = self.request("POST", "/v1/query", Some(body));
        assert_eq!(status, 200, "{reply}");
        reply
    }

    /// Sends SIGTERM and waits for the exit code.
    pub(crate) fn stop(mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and JSON body of one request.
pub(crate) fn request(
    endpoint: &Endpoint,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let mut outgoing = Outgoing {
        method: method.parse().unwrap(),
        trust: Trust::Anybody,
        ..Outgoing::default()
    };
    if let Some(body) = body {
        outgoing.body = body.to_string().into();
        outgoing
            .headers
            .insert("content-type", "application/json".parse().unwrap());
    }
    let limits = Limits {
        timeout: PATIENCE,
        max_response_bytes: 64 << 20,
    };
    let response = request_blocking(&endpoint.at(path), outgoing, limits).unwrap();
    let body = serde_json::from_slice(&response.body).unwrap_or_default();
    (response.status.as_u16(), body)
}

/// Tries until `check` gives a value, for at most `patience`.
#[track_caller]
pub(crate) fn eventually<T>(patience: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = SystemClock.monotonic() + patience;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(
            SystemClock.monotonic() < deadline,
            "not within {patience:?}"
        );
        SystemClock.sleep(Duration::from_millis(20));
    }
}

/// What `promtool check metrics` says of an exposition.
pub(crate) fn promtool_says(text: &str) -> String {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian: prometheus)");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let done = finish(child);
    format!("{}{}", done.stdout, done.stderr)
}

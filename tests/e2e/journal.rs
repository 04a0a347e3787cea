//! Logging in the journal: a stand-in for journald at its real path, in a mount namespace of its
//! own, and journald itself.

use crate::support::{Home, PATIENCE, eventually};
use alfred::client::{Endpoint, Limits, Outgoing, request_blocking};
use alfred::clock::{Clock as _, SystemClock};
use alfred::telemetry::{burst, events};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A log line that nobody takes must not delay a reply; this is far above what a reply takes on a
/// machine that runs every test at once.
const PROMPT: Duration = Duration::from_secs(2);

pub(crate) type Fields = BTreeMap<String, String>;

/// What listens where journald does.
pub(crate) struct Journal {
    pub(crate) folder: tempfile::TempDir,
    socket: Option<UnixDatagram>,
    /// Entries that came before the one that was waited for, and may be waited for, too.
    passed: RefCell<Vec<Fields>>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        let mut journal = Self {
            folder: tempfile::tempdir().unwrap(),
            socket: None,
            passed: RefCell::default(),
        };
        journal.appear();
        journal
    }

    fn appear(&mut self) {
        let socket = UnixDatagram::bind(self.folder.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        self.socket = Some(socket);
    }

    fn vanish(&mut self) {
        self.socket = None;
        std::fs::remove_file(self.folder.path().join("socket")).unwrap();
    }

    /// Until somebody reads, every further line has to wait.
    fn fill(&self) {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        let path = self.folder.path().join("socket");
        while sender.send_to(b"FILLER=1\n", &path).is_ok() {}
    }

    /// An entry for which `wanted` holds, and which was not returned yet.
    #[track_caller]
    pub(crate) fn until(&self, wanted: impl Fn(&Fields) -> bool) -> Fields {
        let mut seen = self.passed.borrow_mut();
        if let Some(place) = seen.iter().position(&wanted) {
            return seen.remove(place);
        }
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = self.socket.as_ref().unwrap().recv(&mut buffer);
            let Ok(length) = read else {
                panic!("nothing more after {seen:#?}");
            };
            let fields = parse(&buffer[..length]);
            assert!(
                !fields.values().any(|value| value.contains("hunter2")),
                "a secret: {fields:?}"
            );
            if wanted(&fields) {
                return fields;
            }
            seen.push(fields);
        }
    }
}

/// The journal's native protocol: `NAME=value`, or the name, the length and the value.
fn parse(mut datagram: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while !datagram.is_empty() {
        let end = datagram.iter().position(|byte| *byte == b'\n').unwrap();
        let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..equals]), text(&line[equals + 1..]));
            datagram = rest;
        } else {
            let (length, rest) = rest.split_first_chunk::<8>().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            fields.insert(text(line), text(&rest[..length]));
            datagram = &rest[length + 1..];
        }
    }
    fields
}

/// A command in namespaces of its own, in which `$ALFRED` is the program, with its settings.
pub(crate) fn in_namespaces(home: &Home, arguments: &[&str]) -> Command {
    let alfred = home.command(&[]);
    let settings = alfred.get_envs();
    let mut command = Command::new("unshare");
    command
        .arg("--mount")
        .args(arguments)
        .current_dir(home.path())
        .env_clear()
        .envs(settings.filter_map(|(key, value)| Some((key, value?))))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("ALFRED", alfred.get_program())
        .stdin(Stdio::null());
    command
}

/// A daemon at a unix socket, whose stderr is a file.
pub(crate) struct Serving {
    child: Child,
    endpoint: Endpoint,
    stderr: std::path::PathBuf,
}

impl Serving {
    /// Whose log goes to the file.
    pub(crate) fn plain(home: &Home, variables: &[(&str, &str)]) -> Self {
        let stderr = home.path().join("stderr");
        let listen = format!("unix:{}", home.path().join("alfred.sock").display());
        let mut command = home.command(&["serve", "--listen", &listen]);
        command
            .envs(variables.iter().copied())
            .stderr(File::create(&stderr).unwrap())
            .stdout(Stdio::null());
        Self::of(&mut command, &listen, stderr)
    }

    fn of(command: &mut Command, listen: &str, stderr: std::path::PathBuf) -> Self {
        let mut serving = Self {
            child: command.spawn().unwrap(),
            endpoint: format!("{listen}:/").parse().unwrap(),
            stderr,
        };
        eventually(PATIENCE, || {
            let ended = serving.child.try_wait().unwrap();
            assert_eq!(ended, None, "{}", serving.on_stderr());
            serving.status("/readyz").filter(|status| *status == 200)
        });
        serving
    }

    /// Whose `/run/systemd/journal` is `journal`.
    fn start(home: &Home, journal: &Path, variables: &[(&str, &str)]) -> Self {
        let socket = home.path().join("alfred.sock");
        let listen = format!("unix:{}", socket.display());
        let stderr = home.path().join("stderr");
        let file = File::create(&stderr).unwrap();
        let identity = file.metadata().unwrap();
        let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                      mount --bind \"$JOURNAL\" /run/systemd/journal && \
                      exec \"$ALFRED\" serve --listen \"$LISTEN\"";
        let mut command = in_namespaces(home, &["sh", "-c", script]);
        command
            .env("JOURNAL", journal)
            .env("LISTEN", &listen)
            // As systemd does for a service whose stderr is the journal.
            .env(
                "JOURNAL_STREAM",
                format!("{}:{}", identity.dev(), identity.ino()),
            )
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(file);
        Self::of(&mut command, &listen, stderr)
    }

    pub(crate) fn on_stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// The status of a GET; `None` where nothing listens.
    pub(crate) fn status(&self, path: &str) -> Option<u16> {
        let outgoing = Outgoing {
            method: "GET".parse().unwrap(),
            ..Outgoing::default()
        };
        self.send(path, outgoing)
    }

    /// The status of a query.
    pub(crate) fn ask(&self, question: &str) -> u16 {
        let mut outgoing = Outgoing {
            method: "POST".parse().unwrap(),
            body: serde_json::json!({ "query": question }).to_string().into(),
            ..Outgoing::default()
        };
        let json = "application/json".parse().unwrap();
        outgoing.headers.insert("content-type", json);
        self.send("/v1/query", outgoing).unwrap()
    }

    pub(crate) fn send(&self, path: &str, outgoing: Outgoing) -> Option<u16> {
        let limits = Limits {
            timeout: PATIENCE,
            max_response_bytes: 1 << 20,
        };
        let reply = request_blocking(&self.endpoint.at(path), outgoing, limits);
        Some(reply.ok()?.status.as_u16())
    }

    /// A connection of one's own.
    pub(crate) fn connect(&self) -> UnixStream {
        let Endpoint::Unix(path) = &self.endpoint else {
            panic!("it listens at a unix socket");
        };
        UnixStream::connect(path).unwrap()
    }

    /// A request that is logged, and answered soon.
    #[track_caller]
    fn fail_a_request(&self) {
        let before = SystemClock.monotonic();
        assert_eq!(self.status("/nothing/here"), Some(404));
        let took = SystemClock.monotonic() - before;
        assert!(took < PROMPT, "{took:?}");
    }

    /// Stops it, within the time that the last lines and the drain may take.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = eventually(Duration::from_secs(10), || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.on_stderr());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Past the test runner, which keeps what a test that succeeds prints to itself.
fn skipped(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {why}");
}

/// Whether this user may make mount namespaces; loud where not.
pub(crate) fn may_unshare(what: &str) -> bool {
    let unshared = Command::new("unshare").args(["--mount", "true"]).status();
    let may = unshared.is_ok_and(|status| status.success());
    if !may {
        skipped(what, "needs root, to put a socket where journald's is");
    }
    may
}

fn has(name: &'static str, value: &'static str) -> impl Fn(&Fields) -> bool {
    move |fields| fields.get(name).is_some_and(|found| found == value)
}

#[test]
fn lines_are_entries_with_fields_ids_and_no_secrets() {
    if !may_unshare("entries of the journal") {
        return;
    }
    let (home, journal) = (Home::new(), Journal::new());
    let secret = [("REDIS_URL", "redis://:hunter2@127.0.0.1:1")];
    let mut serving = Serving::start(&home, journal.folder.path(), &secret);
    let entry = journal.until(|fields| {
        let message = fields.get("MESSAGE");
        message.is_some_and(|text| text.starts_with("listening on unix:"))
    });
    for (name, value) in [("PRIORITY", "6"), ("SYSLOG_IDENTIFIER", "alfred")] {
        assert_eq!(entry[name], value);
    }
    assert!(entry["TARGET"].starts_with("alfred::"), "{entry:?}");
    assert!(entry["CODE_FILE"].starts_with("src/"), "{entry:?}");
    assert!(entry["ALFRED_ADDRESS"].starts_with("unix:"), "{entry:?}");
    assert!(!entry.contains_key("MESSAGE_ID"), "{entry:?}");

    assert_eq!(serving.ask("which cache?"), 200);
    let entry = journal.until(has("MESSAGE_ID", events::DEPENDENCY_DOWN));
    assert_eq!(entry["ALFRED_DEPENDENCY"], "redis");
    assert_eq!(entry["PRIORITY"], "4");
    assert!(
        entry["MESSAGE"].contains("shared cache is away"),
        "{entry:?}"
    );
    assert!(entry["ALFRED_PLACE"].contains("127.0.0.1:1"), "{entry:?}");
    assert!(!entry.contains_key("ALFRED_MESSAGE_ID"), "{entry:?}");

    serving.fail_a_request();
    let entry = journal.until(has("ALFRED_STATUS", "404"));
    assert!(entry["ALFRED_REQUEST_ID"].len() > 8, "{entry:?}");
    for (name, value) in [
        ("MESSAGE_ID", events::REQUEST_FAILED),
        ("PRIORITY", "6"),
        ("ALFRED_ROUTE", "unknown"),
        ("ALFRED_METHOD", "GET"),
        ("ALFRED_KIND", "not_found"),
        ("ALFRED_PEER", "unix"),
    ] {
        assert_eq!(entry[name], value, "{name}");
    }
    assert!(entry["ALFRED_DURATION_MS"].parse::<f64>().unwrap() > 0.0);
    let unknown = ["CLIENT", "KEY", "TRACE_ID", "QUEUE_MS", "STAGE", "QUERY"];
    for name in unknown.map(|name| format!("ALFRED_{name}")) {
        assert!(!entry.contains_key(&name), "{name}: {entry:?}");
    }
    serving.stop();
    assert_eq!(serving.on_stderr(), "", "logged twice");
}

#[test]
fn a_frozen_journal_holds_up_no_reply_and_no_stop() {
    if !may_unshare("a frozen journal") {
        return;
    }
    let (home, journal) = (Home::new(), Journal::new());
    let mut serving = Serving::start(&home, journal.folder.path(), &[]);
    journal.until(has("MESSAGE_ID", events::STARTED));
    journal.fill();
    for _ in 0..15 {
        serving.fail_a_request();
    }
    // The rest of the burst is in a sum.
    for _ in 0..burst::WHOLE {
        journal.until(has("ALFRED_STATUS", "404"));
    }
    journal.fill();
    serving.fail_a_request();
    serving.stop();
}

#[test]
fn lines_go_to_stderr_while_the_journal_is_gone() {
    if !may_unshare("a journal that goes and comes back") {
        return;
    }
    let (home, mut journal) = (Home::new(), Journal::new());
    let mut serving = Serving::start(&home, journal.folder.path(), &[]);
    journal.until(has("MESSAGE_ID", events::STARTED));
    journal.vanish();
    serving.fail_a_request();
    // A line that was on its way when the journal went may be here as well: rather twice than lost.
    let failed = |line: &&str| line.contains("\"status\"");
    let line = eventually(PATIENCE, || {
        serving.on_stderr().lines().find(failed).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["status"], &line["level"]),
        (&404.into(), &"INFO".into())
    );
    journal.appear();
    serving.fail_a_request();
    journal.until(has("ALFRED_STATUS", "404"));
    assert_eq!(
        serving.on_stderr().lines().filter(failed).count(),
        1,
        "back in the journal alone"
    );
    serving.stop();
}

/// A shell pipeline whose reader stands still, from before the start.
#[test]
fn a_full_pipe_on_stderr_holds_up_no_start_no_reply_and_no_stop() {
    let home = Home::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'\n'; 512]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    let listen = format!("unix:{}", home.path().join("alfred.sock").display());
    let mut command = home.command(&["serve", "--listen", &listen]);
    let child = command
        .stderr(writer)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // It holds a copy of the pipe's end.
    drop(command);
    let mut serving = Serving {
        child,
        endpoint: format!("{listen}:/").parse().unwrap(),
        stderr: home.write("stderr", ""),
    };
    eventually(PATIENCE, || serving.status("/healthz"));
    for _ in 0..15 {
        serving.fail_a_request();
    }
    serving.stop();
    drop(reader);
}

#[test]
fn an_overload_is_one_line_however_many_are_refused() {
    let home = Home::new();
    let limits = [
        ("ALFRED__SERVER__MAX_IN_FLIGHT", "1"),
        ("ALFRED__SERVER__MAX_WAITING", "0"),
    ];
    let mut serving = Serving::plain(&home, &limits);
    let refused = std::thread::scope(|scope| {
        let serving = &serving;
        let asker = |thread: usize| {
            move || {
                let ask = |number: usize| serving.ask(&format!("question {thread} {number}"));
                (0..25).map(ask).filter(|status| *status == 503).count()
            }
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(asker(thread))).collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.sum::<usize>()
    });
    assert!(refused > 20, "{refused}");
    serving.stop();
    let began = serving.on_stderr().matches(events::OVERLOAD_BEGAN).count();
    assert_eq!(began, 1, "{}", serving.on_stderr());
}

/// Starts journald and alfred, lets a dependency be away, and prints what the journal has.
const WITH_JOURNALD: &str = r#"set -eu
for folder in /run /var/lib/systemd/catalog /usr/lib/systemd/catalog; do
  mount -t tmpfs none $folder
done
mkdir -p /run/log/journal
cp "$CATALOG" /usr/lib/systemd/catalog/
journalctl --update-catalog
"$JOURNALD" &
until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done
"$ALFRED" serve --listen "unix:$PWD/alfred.sock" 2>stderr &
alfred=$!
until journalctl -D /run/log/journal MESSAGE_ID="$ID" --quiet | grep -q away; do sleep 0.1; done
kill "$alfred"
wait "$alfred"
until journalctl -D /run/log/journal -t alfred | grep -q ': stopped'; do sleep 0.1; done
journalctl -D /run/log/journal -t alfred -o json --output-fields=MESSAGE,MESSAGE_ID,PRIORITY,ALFRED_PLACE
journalctl -D /run/log/journal -x MESSAGE_ID="$ID" --no-pager
journalctl -D /run/log/journal -p warning -t alfred --no-pager >warnings
cat stderr >&2"#;

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// journald itself keeps the entries, and `journalctl -x` explains them from our catalog.
#[test]
fn journald_takes_the_entries_and_explains_them() {
    if !may_unshare("journald itself") {
        return;
    }
    if !Path::new(JOURNALD).exists() {
        skipped("journald itself", "it is not there (package systemd)");
        return;
    }
    let home = Home::new();
    let pid = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let script = ["timeout", "40", "sh", "-c", WITH_JOURNALD];
    let child = in_namespaces(&home, &[&pid[..], &script[..]].concat())
        .env("ALFRED__LOG__FORMAT", "journal")
        .env(
            "CATALOG",
            concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/alfred.catalog"),
        )
        .env("ID", events::DEPENDENCY_DOWN)
        .env("JOURNALD", JOURNALD)
        .env("REDIS_URL", "redis://:hunter2@127.0.0.1:1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let done = crate::support::finish(child).expect(0);
    let text = &done.stdout;
    let entries: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let of = |id: &str| entries.iter().find(|entry| entry["MESSAGE_ID"] == id);
    let down = of(events::DEPENDENCY_DOWN).unwrap();
    assert_eq!(
        (&down["PRIORITY"], &down["ALFRED_PLACE"]),
        (&"4".into(), &"127.0.0.1:1".into())
    );
    for explained in [
        "Subject: alfred cannot reach redis",
        "nothing fails; queries are embedded anew",
    ] {
        assert!(text.contains(explained), "{explained}: {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let warnings = std::fs::read_to_string(home.path().join("warnings")).unwrap();
    assert!(
        warnings.contains("away") && !warnings.contains("listening"),
        "{warnings}"
    );
}

//! A PostgreSQL server of a test's own: in a temporary folder, on a unix socket and a free
//! loopback port, gone with the test.
//!
//! The folder is a copy of one that was made once; `fsync` is off unless asked for. As root the
//! server runs as `nobody`, since it refuses to run as root. It dies with the thread that started
//! it, also when the test is killed.

use crate::clock::{Clock, SystemClock};
use crate::secret::Secret;
use postgres::{Client, NoTls};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A server that is not up after this long will not be.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// User and group the server runs as when the tests run as root: nobody, nogroup.
const NOBODY: u32 = 65534;

/// A running, stopped or frozen server.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    config: String,
    postmaster: Option<Child>,
}

impl Server {
    /// A server that is up, with the superuser and database `alfred` and trust authentication.
    pub(crate) fn new() -> Self {
        Self::with_config(&[])
    }

    /// As [`Server::new`], with lines for `postgresql.conf`; later ones win.
    pub(crate) fn with_config(lines: &[&str]) -> Self {
        let folder = temporary_folder();
        copy(&template(), &folder.path().join("data"));
        Self::begin(folder, lines)
    }

    /// A streaming standby of `primary`.
    pub(crate) fn standby_of(primary: &Self) -> Self {
        let folder = temporary_folder();
        run(command("pg_basebackup")
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .arg(format!("--pgdata={}", folder.path().join("data").display()))
            .arg(format!("--dbname={}", primary.dsn().reveal())));
        Self::begin(folder, &[])
    }

    fn begin(folder: tempfile::TempDir, lines: &[&str]) -> Self {
        let mut server = Self {
            port: free_port(),
            config: lines.join("\n"),
            folder,
            postmaster: None,
        };
        server.start();
        server
    }

    /// Over the unix socket.
    pub(crate) fn dsn(&self) -> Secret {
        let folder = self.folder.path().display();
        Secret::new(format!(
            "host={folder} port={} user=alfred dbname=alfred",
            self.port
        ))
    }

    /// Over TCP.
    pub(crate) fn tcp_dsn(&self) -> Secret {
        Secret::new(format!(
            "postgresql://alfred@127.0.0.1:{}/alfred",
            self.port
        ))
    }

    /// The loopback port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The server's folder, with `data` and `log` in it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Restarts it with these lines for `postgresql.conf` instead of those before.
    pub(crate) fn configure(&mut self, lines: &[&str]) {
        self.config = lines.join("\n");
        self.restart();
    }

    /// Puts a file into the data folder, for the server's eyes only.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let path = self.folder.path().join("data").join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        give_to_server(&path);
    }

    /// Starts a stopped server and waits until it answers; a standby, until it takes reads.
    pub(crate) fn start(&mut self) {
        self.launch();
        let end = SystemClock.monotonic() + START_TIMEOUT;
        while self.try_connect().is_none() {
            let gone = self.postmaster.as_mut().map(Child::try_wait);
            assert!(
                matches!(gone, Some(Ok(None))) && SystemClock.monotonic() < end,
                "the server does not start:\n{}",
                self.log()
            );
            SystemClock.sleep(Duration::from_millis(10));
        }
    }

    /// Starts a stopped server without waiting for it.
    pub(crate) fn launch(&mut self) {
        assert!(self.postmaster.is_none(), "the server runs already");
        let folder = self.folder.path();
        let mut config = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
             fsync = off\nfull_page_writes = off\nshared_buffers = 32MB\n\
             max_connections = 60\nlog_min_messages = warning\nwal_level = replica\n\
             max_wal_senders = 4\nautovacuum = off\n",
            self.port,
            folder.display()
        );
        let _ = writeln!(config, "{}", self.config);
        let file = folder.join("data/postgresql.auto.conf");
        // What pg_basebackup wrote stays: where the primary is.
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        for line in kept
            .lines()
            .filter(|line| line.starts_with("primary_conninfo"))
        {
            let _ = writeln!(config, "{line}");
        }
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .unwrap();
        let child = command("postgres")
            .arg("-D")
            .arg(folder.join("data"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        self.postmaster = Some(child);
    }

    /// Stops the server at once, as a crash would: connections are cut.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::QUIT);
    }

    /// Stops it in order: connections are told, and nothing has to be recovered.
    pub(crate) fn shut_down(&mut self) {
        self.end(Signal::INT);
    }

    /// Kills all its processes.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Stops and starts it.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Freezes all its processes: the kernel still accepts connections and data.
    pub(crate) fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Thaws them.
    pub(crate) fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// Makes a standby the primary, and waits until it takes writes.
    pub(crate) fn promote(&self) {
        self.execute("SELECT pg_promote(true, 30)");
    }

    /// Runs SQL on a connection of its own; the rows' first columns.
    pub(crate) fn execute(&self, sql: &str) -> Vec<String> {
        let mut client = self.client();
        let messages = client.simple_query(sql).unwrap();
        messages
            .iter()
            .filter_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect()
    }

    /// A plain connection.
    pub(crate) fn client(&self) -> Client {
        self.try_connect().expect("the server takes connections")
    }

    /// What the server wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A plain connection, if there is room for it.
    pub(crate) fn try_connect(&self) -> Option<Client> {
        Client::connect(self.dsn().reveal(), NoTls).ok()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.postmaster.as_ref().expect("the server runs"))
    }

    /// The children of the postmaster are process groups of their own.
    fn signal_all(&self, signal: Signal) {
        let postmaster = self.pid();
        // The postmaster first and last: no child is born in between that is missed.
        let _ = kill_process(postmaster, signal);
        for child in children_of(postmaster) {
            let _ = kill_process(child, signal);
        }
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut child) = self.postmaster.take() else {
            return;
        };
        let postmaster = Pid::from_child(&child);
        let children = children_of(postmaster);
        let _ = kill_process(postmaster, Signal::CONT);
        let _ = kill_process(postmaster, signal);
        for process in children {
            // Frozen ones would neither hear nor die.
            let _ = kill_process(process, Signal::CONT);
            if signal == Signal::KILL {
                let _ = kill_process(process, signal);
            }
        }
        let _ = child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The processes whose parent is `parent`.
fn children_of(parent: Pid) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", parent.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// A folder that the server's user may use; its path is short, since a socket's has to be.
fn temporary_folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix("alfred-pg")
        .tempdir_in("/tmp")
        .unwrap();
    give_to_server(folder.path());
    folder
}

fn give_to_server(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// One of PostgreSQL's programs, as the server's user, ending with this process.
fn command(program: &str) -> Command {
    as_server_user(&programs().join(program))
}

/// Any program as the server's user, ending with this process.
pub(crate) fn as_server_user(program: &Path) -> Command {
    // PR_SET_PDEATHSIG is kept over exec, and lost where the user changes: setpriv sets it last.
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The folder of PostgreSQL's programs.
fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
        let output = Command::new(script).output().unwrap();
        assert!(
            output.status.success(),
            "scripts/postgres: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    })
}

/// A data folder as `initdb` makes it, with the database `alfred`; made once, under a lock.
fn template() -> PathBuf {
    let cache = if is_root() {
        PathBuf::from("/var/cache/alfred")
    } else {
        std::env::home_dir().unwrap().join(".cache/alfred")
    };
    std::fs::create_dir_all(&cache).unwrap();
    // Of these very programs: another version's folder is of no use.
    let version = blake3::hash(programs().to_string_lossy().as_bytes()).to_hex();
    let template = cache.join(format!("test-data-{}", &version[..12]));
    let lock = std::fs::File::create(cache.join("test-data.lock")).unwrap();
    lock.lock().unwrap();
    if !template.exists() {
        let scratch = temporary_folder();
        let data = scratch.path().join("data");
        run(command("initdb")
            .args([
                "--username=alfred",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .args(["--no-sync", "--no-instructions"])
            .arg(format!("--pgdata={}", data.display())));
        create_database(&data);
        let partial = cache.join(format!("test-data.{}", std::process::id()));
        copy(&data, &partial);
        std::fs::rename(&partial, &template).unwrap();
    }
    template
}

/// Makes the database `alfred` without starting a server.
fn create_database(data: &Path) {
    let mut child = command("postgres")
        .args(["--single", "-D"])
        .arg(data)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"CREATE DATABASE alfred\n").unwrap();
    drop(input);
    assert!(
        child.wait().unwrap().success(),
        "the database alfred cannot be made"
    );
}

/// Copies a folder with owner and mode.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .arg(from)
        .arg(to));
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// A port nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

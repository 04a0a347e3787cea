//! Programs that stand in for `docker`, `podman`, `podman-compose`, `systemctl` and `journalctl`, and servers that
//! answer as a service does that is ready.

use crate::support::Home;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// Writes down how it was called, and answers as all of them do.
const CONTAINERS: &str = r#"#!/bin/sh
cd "$(dirname "$0")/.."
name=$(basename "$0")
echo "$name $* [$OPENAI_API_KEY]" >>calls
case "$name $*" in
  "docker compose version") echo 'Docker Compose version v2.40.0' ;;
  "podman compose version") echo 'Error: unrecognized command `podman compose`' >&2; exit 125 ;;
  "podman-compose version") echo 'podman-compose version 1.6.0' ;;
  *" ps "*) cat running 2>/dev/null || true ;;
  *" up -d"*) if [ -e failing ]; then echo 'no such image' >&2; exit 1; fi ;;
  *" logs -f "*) echo "a line of ${*##* }"; exec sleep 600 ;;
  *" logs --tail "*) echo "a line of ${*##* }" ;;
esac
"#;

/// As `systemctl`, over a folder `units` with a file for each unit whose text is its state.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")/.."
echo "systemctl $*" >>calls
verb=$1
while [ "$1" != -- ]; do shift; done
shift
for unit; do
  case $verb in
    show)
      echo "Id=$unit"
      if [ -e "units/$unit" ]; then echo LoadState=loaded; else echo LoadState=not-found; fi
      echo "ActiveState=$(cat "units/$unit" 2>/dev/null || echo inactive)"
      echo ;;
    start) echo active >"units/$unit" ;;
    stop) echo inactive >"units/$unit" ;;
  esac
done
"#;

const JOURNALCTL: &str = "#!/bin/sh\necho 'a line of the journal'\n";

/// A folder of programs that is the whole `PATH`.
pub(super) struct Engines<'a> {
    home: &'a Home,
    folder: PathBuf,
}

impl<'a> Engines<'a> {
    /// Stand-ins of these names, with the few programs that they need themselves.
    pub(super) fn new(home: &'a Home, names: &[&str]) -> Self {
        let folder = home.path().join("engines");
        for program in ["sh", "cat", "dirname", "basename", "sleep"] {
            let real = ["/bin", "/usr/bin"]
                .map(|folder| PathBuf::from(folder).join(program))
                .into_iter()
                .find(|path| path.exists())
                .unwrap();
            std::fs::create_dir_all(folder.join("bin")).unwrap();
            std::os::unix::fs::symlink(real, folder.join("bin").join(program)).unwrap();
        }
        for name in names {
            let text = match *name {
                "systemctl" => SYSTEMCTL,
                "journalctl" => JOURNALCTL,
                _ => CONTAINERS,
            };
            let path = home.write(&format!("engines/bin/{name}"), text);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { home, folder }
    }

    /// `alfred` that finds these programs and no others.
    pub(super) fn alfred(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command
            .env("PATH", self.folder.join("bin"))
            .env("ALFRED_STACK_DIR", self.folder.join("record"));
        command
    }

    /// These services have containers that run.
    pub(super) fn running(&self, services: &[&str]) {
        let line = |name: &&str| {
            format!(
                "{{\"Service\":\"{name}\",\"Name\":\"alfred-{name}-1\",\"State\":\"running\"}}\n"
            )
        };
        let text: String = services.iter().map(line).collect();
        self.home.write("engines/running", text);
    }

    /// Nothing can be started.
    pub(super) fn failing(&self) {
        self.home.write("engines/failing", "");
    }

    /// A unit, and how it is.
    pub(super) fn unit(&self, name: &str, state: &str) {
        self.home.write(&format!("engines/units/{name}"), state);
    }

    pub(super) fn state_of(&self, unit: &str) -> String {
        let text = std::fs::read_to_string(self.folder.join("units").join(unit));
        text.unwrap().trim().to_owned()
    }

    /// How the programs were called, in order.
    pub(super) fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// A server that answers every connection as one that is ready; it ends with the test.
pub(super) struct Listening(u16);

impl Listening {
    pub(super) fn postgres() -> Self {
        // AuthenticationSASL.
        Self::with(|_| b"R\0\0\0\x08\0\0\0\x0a".to_vec())
    }

    pub(super) fn redis() -> Self {
        Self::with(|_| b"+PONG\r\n".to_vec())
    }

    /// 200 for this path, 404 for others.
    pub(super) fn http(path: &'static str) -> Self {
        Self::with(move |request| {
            let wanted = format!("GET {path} ");
            let is_it = String::from_utf8_lossy(request).starts_with(&wanted);
            let status = if is_it { "200 OK" } else { "404 Not Found" };
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes()
        })
    }

    fn with(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream: TcpStream = stream.unwrap();
                let mut request = [0; 4096];
                let read = stream.read(&mut request).unwrap_or(0);
                let _ = stream.write_all(&answer(&request[..read]));
            }
        });
        Self(port)
    }

    pub(super) fn port(&self) -> String {
        self.0.to_string()
    }
}

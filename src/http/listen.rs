//! Addresses to listen on, and the sockets bound to them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where to listen: `127.0.0.1:8080`, `[::1]:8080`, `localhost:0` or `unix:/run/alfred/alfred.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A host (name or number) and port; port 0 takes a free one.
    Tcp(String),
    /// A path in the file system.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    /// The error continues "the address ADDRESS ".
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err("needs an absolute path after `unix:`".to_owned())
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err("is neither HOST:PORT nor unix:/PATH".to_owned()),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => formatter.write_str(address),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// A bound socket: by [`bind`], or passed by systemd.
#[derive(Debug)]
pub enum Listener {
    /// Over the network.
    Tcp(TcpListener),
    /// In the file system.
    Unix(UnixListener),
}

impl Listener {
    /// The address as a client would write it: `http://127.0.0.1:8080`, or `https://` where TLS is
    /// spoken over TCP; `unix:/path`.
    #[must_use]
    pub fn url(&self, over_tls: bool) -> String {
        match self {
            Self::Tcp(socket) => {
                let scheme = if over_tls { "https" } else { "http" };
                let address = socket.local_addr();
                let address = address.map_or_else(|_| "?".to_owned(), |found| found.to_string());
                format!("{scheme}://{address}")
            }
            Self::Unix(socket) => {
                let address = socket.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                format!("unix:{}", path.unwrap_or(Path::new("?")).display())
            }
        }
    }

    /// The TCP address, with the real port.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// The socket file that this process made; goes with it, unless another file has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    made: (u64, u64),
}

impl SocketFile {
    /// Of an address that has just been bound; `None` for one without a file.
    #[must_use]
    pub fn of(address: &ListenAddress) -> Option<Self> {
        let ListenAddress::Unix(path) = address else {
            return None;
        };
        Some(Self {
            made: identity(path)?,
            path: path.clone(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.made) {
            // Whether it goes or not: a socket that nobody serves is replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: ListenAddress,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl BindError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match (self.source.kind(), &self.address) {
            (io::ErrorKind::AddrInUse, ListenAddress::Tcp(address)) => {
                let port = address.rsplit(':').next().unwrap_or_default();
                format!(
                    "another process has the port: see `ss -ltnp 'sport = :{port}'`, or choose \
                     another with `--listen`"
                )
            }
            (io::ErrorKind::AddrInUse, ListenAddress::Unix(_)) => {
                "another daemon serves this socket: see `alfred status`".to_owned()
            }
            (io::ErrorKind::AlreadyExists, ListenAddress::Unix(path)) => format!(
                "move {} away, or choose another path with `--listen unix:/PATH`",
                path.display()
            ),
            (io::ErrorKind::PermissionDenied, ListenAddress::Tcp(_)) => {
                "ports below 1024 need a privilege: choose a higher one with `--listen`".to_owned()
            }
            (_, ListenAddress::Unix(path)) => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                format!("check that {} exists and may be written", folder.display())
            }
            (io::ErrorKind::AddrNotAvailable, _) => {
                "no interface of this machine has that address: see `ip address`".to_owned()
            }
            _ => return None,
        };
        Some(hint)
    }
}

/// Binds one address. A socket file that nobody serves any more is replaced; a new one has mode
/// 0660.
///
/// # Errors
/// When the address is taken, not of this machine, or not allowed.
pub fn bind(address: &ListenAddress) -> Result<Listener, BindError> {
    let bound = match address {
        ListenAddress::Tcp(text) => bind_tcp(text).map(Listener::Tcp),
        ListenAddress::Unix(path) => bind_unix(path).map(Listener::Unix),
    };
    bound.map_err(|source| BindError {
        address: address.clone(),
        source,
    })
}

fn bind_tcp(address: &str) -> io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    let listener = TcpListener::bind(addresses.as_slice())?;
    // As many as the system allows wait to be accepted. The standard library says 128, and who is one too
    // many in a burst tries again a second later.
    rustix::net::listen(&listener, i32::MAX)?;
    Ok(listener)
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let there = std::fs::symlink_metadata(path).ok();
    if let Some(there) = there {
        if !there.file_type().is_socket() {
            let problem = format!("there is {} already, and no socket", what_is(&there));
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
        }
        match UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            Err(error) => return Err(error),
        }
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

fn what_is(there: &std::fs::Metadata) -> &'static str {
    if there.is_file() {
        "a regular file"
    } else if there.is_dir() {
        "a folder"
    } else if there.is_symlink() {
        "a symbolic link"
    } else {
        "another kind of file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundreds_that_come_at_once_wait_in_the_kernel() {
        let listener = bind_tcp("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let brief = std::time::Duration::from_millis(900);
        let all: Vec<_> = (0..600)
            .map(|_| std::net::TcpStream::connect_timeout(&address, brief).unwrap())
            .collect();
        assert_eq!(all.len(), 600);
    }

    #[test]
    fn addresses_are_read_and_shown() {
        for text in [
            "127.0.0.1:8080",
            "[::1]:0",
            "localhost:80",
            "unix:/run/a.sock",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["8080", ":8080", "a:99999", "a:", "unix:a.sock", "unix:", ""] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let first = bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = first.tcp_address().unwrap();
        let error = bind(&taken.to_string().parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {taken}"));
        let hint = error.hint().unwrap();
        assert!(
            hint.contains(&format!("sport = :{}", taken.port())),
            "{hint}"
        );
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_served_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let address = ListenAddress::Unix(path.clone());
        drop(bind(&address).unwrap());
        assert!(path.exists(), "the file stays when the socket closes");
        let served = bind(&address).unwrap();
        assert_eq!(served.url(true), format!("unix:{}", path.display()));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let error = bind(&address).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        drop(served);
    }

    #[test]
    fn other_files_are_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        std::fs::write(&path, "mine").unwrap();
        let error = bind(&ListenAddress::Unix(path.clone())).unwrap_err();
        let problem = error.source.to_string();
        assert_eq!(problem, "there is a regular file already, and no socket");
        assert!(error.hint().unwrap().starts_with("move "), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn only_the_socket_that_was_made_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let address = ListenAddress::Unix(path.clone());
        let first = bind(&address).unwrap();
        let first_file = SocketFile::of(&address).unwrap();
        // Another daemon took the path over while the first one still had its socket.
        std::fs::remove_file(&path).unwrap();
        let second = bind(&address).unwrap();
        let second_file = SocketFile::of(&address).unwrap();
        drop((first, first_file));
        assert!(path.exists(), "the second one's file stays");
        drop((second, second_file));
        assert!(!path.exists());
        assert!(SocketFile::of(&"127.0.0.1:0".parse().unwrap()).is_none());
    }
}

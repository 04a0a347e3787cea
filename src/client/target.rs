//! Addresses as people write them: `http://host:port/path`, `https://host:port/path` and
//! `unix:/socket:/path`.

use super::ClientError;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `http://host[:port]`, port 80 when none is said.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `https://host[:port]`, port 443 when none is said.
    Tls {
        /// A name or an address, without brackets; the certificate has to be for it.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:/path/of/the.sock`.
    Unix(PathBuf),
}

/// One resource of a server: where it listens, and the path with its query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where the server listens.
    pub endpoint: Endpoint,
    /// Path and query as sent, beginning with `/`.
    pub path: String,
}

impl Endpoint {
    /// The resource `path` (beginning with `/`) of this server.
    #[must_use]
    pub fn at(&self, path: impl Into<String>) -> Target {
        Target {
            endpoint: self.clone(),
            path: path.into(),
        }
    }

    /// What goes into the `Host` header: `localhost` for a unix socket.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port } if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Self::Tcp { host, port } | Self::Tls { host, port } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { .. } => write!(formatter, "http://{}", self.authority()),
            Self::Tls { .. } => write!(formatter, "https://{}", self.authority()),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Unix(_) => write!(formatter, "{}:{}", self.endpoint, self.path),
            Endpoint::Tcp { .. } | Endpoint::Tls { .. } => {
                write!(formatter, "{}{}", self.endpoint, self.path)
            }
        }
    }
}

impl FromStr for Endpoint {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let target: Target = text.parse()?;
        if target.path == "/" {
            Ok(target.endpoint)
        } else {
            Err(refuse(text, "it names a path, but a server is meant"))
        }
    }
}

impl FromStr for Target {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("unix:") {
            return unix(text, rest);
        }
        // RFC 3986, 3.1: the scheme in any case.
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        if scheme.eq_ignore_ascii_case("https") {
            return http(text, 443, |host, port| Endpoint::Tls { host, port });
        }
        if scheme.eq_ignore_ascii_case("http") {
            return http(text, 80, |host, port| Endpoint::Tcp { host, port });
        }
        Err(refuse(
            text,
            "it must begin with http://, https:// or unix:/",
        ))
    }
}

fn unix(text: &str, rest: &str) -> Result<Target, ClientError> {
    let (socket, path) = match rest.split_once(":/") {
        Some((socket, path)) => (socket, format!("/{path}")),
        None => (rest, "/".to_owned()),
    };
    if !socket.starts_with('/') || socket.len() < 2 {
        return Err(refuse(
            text,
            "the socket must be an absolute path, as unix:/run/x.sock",
        ));
    }
    check_path(text, &path)?;
    Ok(Endpoint::Unix(PathBuf::from(socket)).at(path))
}

fn http(
    text: &str,
    default_port: u16,
    endpoint: fn(String, u16) -> Endpoint,
) -> Result<Target, ClientError> {
    let without_fragment = text.split('#').next().unwrap_or(text);
    let uri: http::Uri = without_fragment
        .parse()
        .map_err(|error| refuse(text, format!("{error}")))?;
    let authority = uri
        .authority()
        .ok_or_else(|| refuse(text, "it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(refuse(
            text,
            "it holds a user name; send an Authorization header instead",
        ));
    }
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        return Err(refuse(text, "it names no host"));
    }
    let port = match authority.as_str().rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| refuse(text, "the port must be 1 to 65535"))?,
        _ => default_port,
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    check_path(text, path)?;
    Ok(endpoint(host, port).at(path))
}

fn check_path(text: &str, path: &str) -> Result<(), ClientError> {
    path.parse::<http::uri::PathAndQuery>()
        .map(|_| ())
        .map_err(|error| refuse(text, format!("its path: {error}")))
}

/// What was said, without a user name and password.
fn without_user(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if scheme.is_empty() => format!("***{}", &rest[at..]),
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

fn refuse(text: &str, problem: impl Into<String>) -> ClientError {
    ClientError::Address {
        text: without_user(text),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn a_password_is_not_shown() {
        for text in [
            "http://me:secret@host/",
            "ftp://me:secret@host/x@y",
            "me:secret@host",
        ] {
            let told = text.parse::<Target>().unwrap_err().to_string();
            assert!(
                told.contains("***@host") && !told.contains("secret"),
                "{told}"
            );
        }
        let told = "ftp://host/x@y".parse::<Target>().unwrap_err().to_string();
        assert!(told.contains("ftp://host/x@y"), "{told}");
    }

    #[test]
    fn reads_http_and_unix() {
        let tcp = target("http://127.0.0.1:8080/v1/query?a=1");
        assert_eq!(tcp.endpoint.authority(), "127.0.0.1:8080");
        assert_eq!(tcp.path, "/v1/query?a=1");
        assert_eq!(
            target("http://example.org").to_string(),
            "http://example.org:80/"
        );
        assert_eq!(target("http://[::1]:9/x").to_string(), "http://[::1]:9/x");
        assert_eq!(
            target("https://example.org/a").to_string(),
            "https://example.org:443/a"
        );
        assert_eq!(target("https://[::1]:9/x").endpoint.authority(), "[::1]:9");
        assert_eq!(
            target("http://x/{{query}}?q={{query}}").path,
            "/{{query}}?q={{query}}"
        );
        assert_eq!(target("HTTP://x:1/A").to_string(), "http://x:1/A");
        assert_eq!(target("Https://x/").to_string(), "https://x:443/");
        let unix = target("unix:/run/alfred/alfred.sock:/v1/query");
        assert_eq!(
            unix.endpoint,
            Endpoint::Unix("/run/alfred/alfred.sock".into())
        );
        assert_eq!(unix.path, "/v1/query");
        assert_eq!(target("unix:/run/a.sock").path, "/");
        for text in ["http://127.0.0.1:8080/v1/query", "unix:/a.sock:/b"] {
            assert_eq!(target(text).to_string(), text);
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        for (text, reason) in [
            ("localhost:8080", "must begin with"),
            ("http://", "is not a usable address"),
            ("http://x:99999/", "is not a usable address"),
            ("http://x:0/", "the port must be"),
            ("http://me:secret@x/", "user name"),
            ("unix:relative", "absolute path"),
            ("unix:/a.sock:/a b", "its path"),
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!("http://x/path".parse::<Endpoint>().is_err());
    }
}

//! The servers of a DSN: `host`, `hostaddr` and `port`.

use super::DsnError;
use super::said::Said;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

/// libpq's.
const DEFAULT_PORT: u16 = 5432;
/// Where Debian's and most other servers put their socket.
pub(super) const DEFAULT_SOCKET_FOLDER: &str = "/var/run/postgresql";

/// Where one server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) enum Host {
    /// A name or address; `address`, where given, is what is connected to, `name` what the
    /// certificate has to be for.
    Tcp {
        name: String,
        address: Option<IpAddr>,
    },
    /// The folder of its socket.
    Unix(PathBuf),
}

/// One server of the DSN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) struct Endpoint {
    pub(in crate::store::postgres) host: Host,
    pub(in crate::store::postgres) port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Unix(folder) => write!(formatter, "{}", encode(&folder.to_string_lossy()))?,
            Host::Tcp { name, .. } if name.contains(':') => write!(formatter, "[{name}]")?,
            Host::Tcp { name, .. } => formatter.write_str(&encode(name))?,
        }
        if self.port == DEFAULT_PORT {
            return Ok(());
        }
        write!(formatter, ":{}", self.port)
    }
}

/// `host`, `hostaddr` and `port` as a list of servers.
pub(super) fn endpoints(said: &Said) -> Result<Vec<Endpoint>, DsnError> {
    let list = |key| {
        said.text(key)
            .map(|text| text.split(',').map(str::to_owned).collect())
    };
    let hosts: Option<Vec<String>> = list("host");
    let addresses: Option<Vec<String>> = list("hostaddr");
    let ports: Vec<String> = list("port").unwrap_or_default();
    let count = hosts.as_ref().or(addresses.as_ref()).map_or(1, Vec::len);
    if addresses.as_ref().is_some_and(|list| list.len() != count) {
        return Err(DsnError::new(
            "`host` and `hostaddr` are not of the same length",
        ));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(DsnError::new(format!(
            "there are {count} hosts and {} ports",
            ports.len()
        )));
    }
    let item = |list: &Option<Vec<String>>, index: usize| {
        let item = list.as_ref().and_then(|list| list.get(index));
        item.map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    let port = |index: usize| match ports.get(index).or(ports.first()).map(|text| text.trim()) {
        None | Some("") => Ok(DEFAULT_PORT),
        // Not shown: with a `/` in a password that is not encoded, its start stands here.
        Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
            DsnError::new(
                "a port is no number from 1 to 65535; `:`, `/`, `?`, `#` and `@` in a user or \
                 password are percent-encoded",
            )
        }),
    };
    (0..count)
        .map(|index| {
            Ok(Endpoint {
                host: host(item(&hosts, index), item(&addresses, index))?,
                port: port(index)?,
            })
        })
        .collect()
}

fn host(name: Option<String>, address: Option<String>) -> Result<Host, DsnError> {
    let address = address
        .map(|text| text.parse::<IpAddr>())
        .transpose()
        .map_err(|_| DsnError::new("`hostaddr` is no IP address"))?;
    Ok(match (name, address) {
        (None, None) => Host::Unix(PathBuf::from(DEFAULT_SOCKET_FOLDER)),
        (Some(name), None) if name.starts_with('/') => Host::Unix(PathBuf::from(name)),
        (Some(name), None) if name.starts_with('@') => {
            return Err(DsnError::new("abstract unix sockets are not supported"));
        }
        (Some(name), address) => Host::Tcp { name, address },
        (None, Some(address)) => Host::Tcp {
            name: address.to_string(),
            address: Some(address),
        },
    })
}

/// Percent-encodes what would end a part of a URL.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_alphanumeric() || "-._~".contains(character) {
            encoded.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

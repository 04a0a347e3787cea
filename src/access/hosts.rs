//! By which names the daemon may be asked: a page in a browser whose own name leads to this machine (DNS
//! rebinding) sends that name as `Host`, and is refused by it.

use std::net::IpAddr;

/// Names beside those of loopback. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Host names and addresses without ports; one that begins with a dot stands for all names below it.
    ///
    /// # Errors
    /// The first that is none.
    pub fn parse(names: &[String]) -> Result<Self, String> {
        let parsed = names.iter().map(|name| {
            let plain = normal(name.trim());
            let below = plain.strip_prefix('.').unwrap_or(&plain);
            let is_address = plain.parse::<IpAddr>().is_ok();
            let is_part = |part: &str| {
                let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
                !part.is_empty() && part.len() < 64 && part.chars().all(sound)
            };
            if is_address || below.split('.').all(is_part) {
                Ok(plain)
            } else {
                Err(name.clone())
            }
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether no names were given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the daemon may be asked as `host`, which has no port.
    #[must_use]
    pub fn allow(&self, host: &str) -> bool {
        let host = normal(host);
        let is_meant = |name: &String| match name.strip_prefix('.') {
            Some(above) => host
                .strip_suffix(above)
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
            None => *name == host,
        };
        is_loopback(&host) || self.0.iter().any(is_meant)
    }
}

/// In small letters, without the brackets of an address and the dot of the root.
fn normal(host: &str) -> String {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = inner.unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether `host`, without a port, is `localhost` or an address of loopback.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Result<Hosts, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Hosts::parse(&names)
    }

    #[test]
    fn loopback_and_the_names_that_were_given_are_allowed() {
        let hosts = hosts(&["Alfred.example.org", ".lan", "10.0.0.7", "fd00::7"]).unwrap();
        for good in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "alfred.example.org",
            "ALFRED.example.org.",
            "a.lan",
            "a.b.lan",
            "10.0.0.7",
            "[fd00::7]",
        ] {
            assert!(hosts.allow(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "lan",
            ".lan",
            "xlan",
            "example.org",
            "x.alfred.example.org",
            "alfred.example.org.evil.org",
            "127.0.0.1.nip.io",
            "localhost.evil.org",
            "10.0.0.8",
            "0.0.0.0",
        ] {
            assert!(!hosts.allow(bad), "{bad}");
        }
        assert!(!Hosts::default().allow("alfred.example.org"));
    }

    #[test]
    fn what_is_no_host_is_named() {
        for bad in ["", ".", "a b", "http://a", "a:8080", "a/b", "*", "a..b"] {
            assert_eq!(hosts(&["good", bad]), Err(bad.to_owned()));
        }
        assert!(hosts(&[]).unwrap().is_empty());
    }
}

//! For whom a proxy asks, where it is one that is believed.

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Addresses and networks of proxies whose `X-Forwarded-For` is believed. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Addresses, as `127.0.0.1`, and networks, as `10.0.0.0/8`.
    ///
    /// # Errors
    /// The first that is neither.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let parsed = texts.iter().map(|text| {
            let address = || text.trim().parse::<IpAddr>().map(IpNet::from);
            let network = text.trim().parse().map(|network: IpNet| network.trunc());
            network.or_else(|_| address()).map_err(|_| text.clone())
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who asks through `peer`: the last of `forwarded`, the values of `X-Forwarded-For` in the order in
    /// which they stand, that no trusted proxy has as its own address. What stands before it is
    /// whatever the client liked to write.
    #[must_use]
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut hops = forwarded.rev().flat_map(|value| value.rsplit(','));
        while self.trust(client) {
            match hops.next().map(str::trim).and_then(address) {
                Some(before) => client = before.to_canonical(),
                None => break,
            }
        }
        client
    }
}

/// An address, which some proxies write with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse().ok();
    ip.or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(texts: &[&str]) -> Result<Proxies, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Proxies::parse(&texts)
    }

    #[track_caller]
    fn assert_client(peer: &str, forwarded: &[&str], expected: &str) {
        let proxies = proxies(&["127.0.0.1", "10.0.0.0/8", "fd00::/8"]).unwrap();
        let client = proxies.client(peer.parse().unwrap(), forwarded.iter().copied());
        assert_eq!(client.to_string(), expected, "{peer} {forwarded:?}");
    }

    #[test]
    fn addresses_and_networks_are_read_and_others_named() {
        for bad in ["", "10.0.0.0/33", "nginx", "unix:", "10.0.0.1:80"] {
            assert_eq!(proxies(&["::1", bad]), Err(bad.to_owned()));
        }
        let proxies = proxies(&["10.1.2.3/8"]).unwrap();
        assert!(proxies.trust("10.9.9.9".parse().unwrap()));
        assert!(proxies.trust("::ffff:10.9.9.9".parse().unwrap()));
        assert!(!proxies.trust("11.0.0.1".parse().unwrap()));
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_client("192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        assert_client("127.0.0.1", &["203.0.113.9"], "203.0.113.9");
        assert_client("::ffff:127.0.0.1", &["203.0.113.9"], "203.0.113.9");
        assert_client("127.0.0.1", &[], "127.0.0.1");
    }

    #[test]
    fn what_the_client_wrote_itself_is_not_believed() {
        // nginx appends the address that it sees.
        assert_client("127.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
        assert_client("127.0.0.1", &["1.1.1.1", "203.0.113.9"], "203.0.113.9");
        assert_client("127.0.0.1", &["203.0.113.9, 10.0.0.2"], "203.0.113.9");
        assert_client(
            "127.0.0.1",
            &["1.1.1.1, 203.0.113.9,10.0.0.2 "],
            "203.0.113.9",
        );
        assert_client("127.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        assert_client("127.0.0.1", &["1.1.1.1, nonsense"], "127.0.0.1");
        assert_client("127.0.0.1", &["1.1.1.1, nonsense, 10.0.0.2"], "10.0.0.2");
        assert_client("127.0.0.1", &[""], "127.0.0.1");
    }

    #[test]
    fn ports_and_brackets_are_left_out() {
        assert_client("127.0.0.1", &["203.0.113.9:4711"], "203.0.113.9");
        assert_client("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1");
        assert_client("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        assert_client("127.0.0.1", &["2001:db8::1"], "2001:db8::1");
    }
}

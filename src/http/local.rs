//! Whether a request comes from this machine, as far as can be told.

use super::wire::socket::Peer;
use crate::access::is_loopback;
use http::header::{self, HeaderMap, HeaderName};
use http::uri::{Authority, Uri};

/// By these, and by whatever begins with `x-forwarded`, a proxy says for whom it asks.
const OF_PROXIES: [&str; 10] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-envoy-external-address",
];

/// Over a unix socket; or from a loopback address, by the name of one, and with nothing that a proxy
/// would have added. A page in a browser that has its own name lead to this machine is not meant.
pub(super) fn is_local(peer: Peer, uri: &Uri, headers: &HeaderMap) -> bool {
    let Peer::Tcp(address) = peer else {
        return true;
    };
    let mut hosts = headers.get_all(header::HOST).iter().peekable();
    address.ip().to_canonical().is_loopback()
        && hosts.peek().is_some()
        && hosts.all(|host| names_loopback(host.as_bytes()))
        && uri
            .authority()
            .is_none_or(|named| is_loopback(named.host()))
        && !headers.keys().any(is_of_a_proxy)
}

fn is_of_a_proxy(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-forwarded") || OF_PROXIES.contains(&name.as_str())
}

fn names_loopback(host: &[u8]) -> bool {
    let authority = Authority::try_from(host);
    authority.is_ok_and(|authority| is_loopback(authority.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(peer: &str, uri: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        is_local(
            Peer::Tcp(peer.parse().unwrap()),
            &uri.parse().unwrap(),
            &map,
        )
    }

    #[test]
    fn a_loopback_peer_by_a_loopback_name_is_local() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.1.2.3:8080",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(local("127.0.0.1:5", "/debug", &[("host", host)]), "{host}");
            assert!(local("[::1]:5", "/debug", &[("host", host)]), "{host}");
        }
        assert!(local("[::ffff:127.0.0.1]:5", "/", &[("host", "localhost")]));
        let absolute = "http://127.0.0.1:8080/debug";
        assert!(local("127.0.0.1:5", absolute, &[("host", "localhost")]));
    }

    #[test]
    fn others_are_not() {
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "10.0.0.1",
            "::1",
            "localhost@example.org",
        ] {
            assert!(!local("127.0.0.1:5", "/debug", &[("host", host)]), "{host}");
        }
        let good = ("host", "localhost");
        assert!(!local("127.0.0.1:5", "/debug", &[]));
        assert!(!local(
            "127.0.0.1:5",
            "/debug",
            &[good, ("host", "example.org")]
        ));
        assert!(!local("10.0.0.7:5", "/debug", &[good]));
        assert!(!local("127.0.0.1:5", "http://example.org/debug", &[good]));
        for name in [
            "x-forwarded-for",
            "x-forwarded-proto",
            "forwarded",
            "via",
            "x-real-ip",
        ] {
            assert!(
                !local("127.0.0.1:5", "/debug", &[good, (name, "127.0.0.1")]),
                "{name}"
            );
        }
        assert!(is_local(
            Peer::Unix,
            &"/debug".parse().unwrap(),
            &HeaderMap::new()
        ));
    }
}

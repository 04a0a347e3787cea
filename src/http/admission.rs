//! Who asks, and whether they may: the policy applied to the head of a request.
//!
//! In this order: the host that is asked for, the key that is shown, the rate, the role. Probes answer
//! anybody, as a load balancer with an old key must not take a sound daemon out. Which collections a
//! key is bound to is for the handlers, which know the collection.

use super::local;
use super::problem::Problem;
use super::routes::{EVIDENCE, Route};
use super::wire::socket::Peer;
use crate::access::{Hosts, Key, Policy, Role, Scope};
use http::header::{self, HeaderMap, HeaderName};
use http::uri::{Authority, Uri};
use http::{Method, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What is known of a request before it is read.
pub(super) struct Arrival<'a> {
    pub(super) peer: Peer,
    /// Whether it came to a listener on loopback.
    pub(super) at_loopback: bool,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) route: Option<&'static Route>,
    pub(super) method: &'a Method,
    /// Nanoseconds since the daemon began.
    pub(super) now_ns: u64,
}

/// As whom somebody asks.
#[derive(Clone, Debug)]
enum Standing {
    /// Over the unix socket without a key: whoever may open it may do everything.
    Socket,
    /// There are no keys, so nobody needs one.
    Anonymous,
    /// There are keys, and none was shown.
    Stranger,
    /// What was shown is no key.
    Impostor,
    Keyed(Arc<Key>),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    standing: Standing,
    /// From where, as far as those in between are believed; `None` over a unix socket.
    pub(super) client: Option<IpAddr>,
    /// Whether from this machine, with no proxy between.
    pub(super) is_local: bool,
}

/// What a route asks of who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Nothing, not even that a key is right.
    Nothing,
    /// Nothing, but a key that is shown has to be right.
    NoKey,
    /// A key of this role.
    Role(Role),
    /// A key of this role that is not bound to collections: it is about the whole daemon.
    Whole(Role),
    /// To be on this machine, or the whole of an administrator.
    Machine,
}

fn needs(route: Option<&'static Route>, method: &Method) -> Needs {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let template = route.map_or("", |route| route.template);
    match template {
        "/healthz" | "/health" | "/livez" | "/readyz" => Needs::Nothing,
        "/openapi.json" | "/" | "/console/{file}" => Needs::NoKey,
        "/v1/documents" | "/v1/documents/{id}" if !reads => Needs::Role(Role::Write),
        "/v1/collections/{name}" => Needs::Role(Role::Admin),
        "/metrics" | "/v1/runs" | "/v1/runs/{name}/report.html" => Needs::Whole(Role::Query),
        "/v1/reload" => Needs::Whole(Role::Admin),
        // There may be profiles in it.
        EVIDENCE => Needs::Machine,
        _ if template.starts_with("/debug/") => Needs::Machine,
        // What there is not is told to whoever has a key.
        _ => Needs::Role(Role::Query),
    }
}

impl Guest {
    /// What of the corpus is seen.
    pub(super) fn scope(&self) -> Scope {
        self.key().map(|key| key.scope.clone()).unwrap_or_default()
    }

    /// The key that was shown, where it is right.
    pub(super) fn key(&self) -> Option<&Key> {
        match &self.standing {
            Standing::Keyed(key) => Some(key),
            _ => None,
        }
    }

    /// Whether nothing speaks for who asks but the address: reloads are for others.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self.standing, Standing::Anonymous)
    }

    fn may(&self, needs: Needs, what: &dyn Fn() -> String) -> Result<(), Problem> {
        let (role, whole) = match needs {
            Needs::Nothing => return Ok(()),
            Needs::Machine if self.is_local => (None, false),
            Needs::NoKey => (None, false),
            Needs::Role(role) => (Some(role), false),
            Needs::Whole(role) => (Some(role), true),
            Needs::Machine => (Some(Role::Admin), true),
        };
        match (&self.standing, role) {
            (Standing::Impostor, _) => Err(unauthorized(
                "the key is not known here; was it revoked, or is it for another daemon?",
            )),
            (Standing::Stranger, Some(_)) => {
                Err(unauthorized("send a key as `authorization: Bearer KEY`"))
            }
            (Standing::Anonymous, Some(_)) if needs == Needs::Machine => Err(forbidden(
                "profiles are for this machine: over the unix socket, or from a loopback address to \
                 `localhost` with no proxy between; others need an admin key",
            )),
            (Standing::Keyed(key), Some(role)) => key_may(key, role, whole, what),
            _ => Ok(()),
        }
    }
}

fn key_may(key: &Key, role: Role, whole: bool, what: &dyn Fn() -> String) -> Result<(), Problem> {
    let Key {
        name, role: has, ..
    } = key;
    if *has < role {
        let detail = format!(
            "{} needs the role {role}, and the key {name} has {has}",
            what()
        );
        return Err(forbidden(detail));
    }
    if whole && key.scope.is_bound() {
        let detail = format!(
            "{} is about the whole daemon, and the key {name} is bound to collections",
            what()
        );
        return Err(forbidden(detail));
    }
    Ok(())
}

/// 401: no key, or none that is known.
fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

/// 403: not with this key, or not from there.
pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// Who asks, and why they are refused, if they are.
pub(super) fn admit(policy: &Policy, arrival: &Arrival<'_>) -> (Guest, Option<Problem>) {
    let guest = Guest {
        standing: standing(policy, arrival),
        client: client(policy, arrival),
        is_local: is_local(policy, arrival),
    };
    let needs = needs(arrival.route, arrival.method);
    if needs == Needs::Nothing {
        return (guest, None);
    }
    let what = || {
        let path = arrival.route.map_or("this path", |route| route.template);
        let method = crate::domain::query::shorten(arrival.method.as_str(), 20);
        format!("{method} {path}")
    };
    let admitted = asks_for_us(policy, arrival)
        .and_then(|()| within_rate(policy, &guest, arrival.now_ns))
        .and_then(|()| guest.may(needs, &what));
    (guest, admitted.err())
}

fn standing(policy: &Policy, arrival: &Arrival<'_>) -> Standing {
    let is_unix = arrival.peer == Peer::Unix;
    let Some(keys) = &policy.keys else {
        return if is_unix {
            Standing::Socket
        } else {
            Standing::Anonymous
        };
    };
    let mut shown = arrival.headers.get_all(header::AUTHORIZATION).iter();
    match (shown.next(), shown.next()) {
        (None, _) if is_unix => Standing::Socket,
        (None, _) => Standing::Stranger,
        (Some(shown), None) => bearer(shown.as_bytes())
            .and_then(|key| keys.find(key))
            .map_or(Standing::Impostor, |key| Standing::Keyed(Arc::clone(key))),
        // Two would be a question of which one a proxy in front has looked at.
        (Some(_), Some(_)) => Standing::Impostor,
    }
}

/// The token of `Bearer TOKEN` (RFC 6750), whose scheme may be written in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

fn client(policy: &Policy, arrival: &Arrival<'_>) -> Option<IpAddr> {
    let Peer::Tcp(address) = arrival.peer else {
        return None;
    };
    let forwarded = arrival.headers.get_all(FORWARDED_FOR).iter();
    let forwarded: Vec<&str> = forwarded
        .map(|value| value.to_str().unwrap_or(""))
        .collect();
    Some(policy.proxies.client(address.ip(), forwarded.into_iter()))
}

/// A proxy that is named as one asks for others, whatever its requests look like.
fn is_local(policy: &Policy, arrival: &Arrival<'_>) -> bool {
    let is_proxy = match arrival.peer {
        Peer::Tcp(address) => policy.proxies.trust(address.ip()),
        Peer::Unix => false,
    };
    !is_proxy && local::is_local(arrival.peer, arrival.uri, arrival.headers)
}

/// On loopback, or where names are given: whether it is this daemon that is asked for. 403 and not 421
/// (Misdirected Request), which lets a client try once more.
fn asks_for_us(policy: &Policy, arrival: &Arrival<'_>) -> Result<(), Problem> {
    let is_checked = arrival.at_loopback || !policy.hosts.is_empty();
    if arrival.peer == Peer::Unix || !is_checked {
        return Ok(());
    }
    let named = arrival.headers.get_all(header::HOST).iter();
    let foreign = named
        .map(|host| host.to_str().unwrap_or("?"))
        .chain(arrival.uri.authority().map(Authority::as_str))
        .find(|authority| !names_us(&policy.hosts, authority));
    let Some(foreign) = foreign else {
        return Ok(());
    };
    let shown = crate::domain::query::shorten(foreign, 80);
    let detail = format!(
        "this daemon is not asked for as {shown:?}; add the name to server.allowed_hosts, if it is meant"
    );
    Err(Problem::new(StatusCode::FORBIDDEN, "misdirected", detail))
}

fn names_us(hosts: &Hosts, authority: &str) -> bool {
    let parsed = authority.parse::<Authority>();
    // No browser sends the name of a user in `Host`.
    parsed.is_ok_and(|parsed| !authority.contains('@') && hosts.allow(parsed.host()))
}

/// The unix socket is for those who look after the daemon, who must get through.
fn within_rate(policy: &Policy, guest: &Guest, now_ns: u64) -> Result<(), Problem> {
    let Some(client) = guest.client else {
        return Ok(());
    };
    let taken = policy.take(guest.key(), client, now_ns);
    taken.map_err(|(quota, wait)| {
        let per_s = quota.per_s();
        let whose = guest.key().map_or("address", |_| "key");
        let detail =
            format!("over {per_s} requests per second of this {whose} (server.rate_limit)");
        rate_limited(detail, wait)
    })
}

fn rate_limited(detail: String, wait: Duration) -> Problem {
    let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
    problem.retry_after = Some(wait);
    problem
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;

//! What a request's span says of it, after OpenTelemetry's semantic conventions for HTTP servers 1.x.

use super::App;
use super::observe::{ABANDONED, Observation};
use super::service::RequestInfo;
use super::wire::socket::Peer;
use crate::telemetry::trace::{Attribute, Described, Value};
use http::header::{HOST, HeaderMap, USER_AGENT};
use http::uri::Authority;
use http::{Method, Request};

/// Methods with a name in spans; others are `_OTHER`.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// What is kept of a request's head until its span is made; only where one is.
#[derive(Debug)]
pub(super) struct Head {
    path: String,
    authority: Option<Authority>,
    agent: Option<String>,
    is_tls: bool,
}

impl Head {
    /// `None` where the request is not traced.
    pub(super) fn of<B>(request: &Request<B>, info: &RequestInfo, app: &App) -> Option<Self> {
        if !info.trail.is_recorded() {
            return None;
        }
        let headers = request.headers();
        Some(Self {
            path: request.uri().path().to_owned(),
            authority: text(headers, &HOST).and_then(|host| host.parse().ok()),
            agent: text(headers, &USER_AGENT).map(ToOwned::to_owned),
            is_tls: app.tls.is_some() && info.peer != Peer::Unix,
        })
    }

    /// Hands the spans of the request, which is answered, to the exporter.
    pub(super) fn export(self, seen: &Observation<'_>) {
        seen.trail.export(seen.ended, || self.described(seen));
    }

    fn described(self, seen: &Observation<'_>) -> Described {
        let is_known = METHODS.contains(seen.method);
        let method = if is_known {
            seen.method.as_str()
        } else {
            "_OTHER"
        };
        let route = Some(seen.route).filter(|route| route.starts_with('/'));
        let scheme = if self.is_tls { "https" } else { "http" };
        let has_left = seen.kind == Some(ABANDONED);
        let is_error = seen.status.is_server_error();
        let mut attributes: Vec<Attribute> = vec![
            ("http.request.method", method.into()),
            ("url.path", self.path.as_str().into()),
            ("url.scheme", scheme.into()),
            ("alfred.request_id", seen.request_id.into()),
        ];
        if !has_left {
            let status = seen.status.as_u16().into();
            attributes.push(("http.response.status_code", status));
        }
        if !is_known {
            let original = seen.method.as_str().into();
            attributes.push(("http.request.method_original", original));
        }
        attributes.extend(route.map(|route| ("http.route", Value::from(route))));
        if let Some(authority) = &self.authority {
            attributes.push(("server.address", authority.host().into()));
            let port = authority.port_u16();
            attributes.extend(port.map(|port| ("server.port", Value::from(port))));
        }
        let client = seen.client.map(|client| client.to_string());
        attributes.extend(client.map(|it| ("client.address", Value::from(&*it))));
        if let Peer::Tcp(peer) = seen.peer {
            let address = peer.ip().to_string();
            attributes.push(("network.peer.address", address.as_str().into()));
            attributes.push(("network.peer.port", peer.port().into()));
        }
        let agent = self.agent.as_deref();
        attributes.extend(agent.map(|agent| ("user_agent.original", Value::from(agent))));
        attributes.extend(seen.key.map(|key| ("alfred.key", Value::from(key))));
        attributes.extend(seen.kind.map(|kind| ("alfred.kind", Value::from(kind))));
        if is_error || has_left {
            let what = seen.kind.unwrap_or(seen.status.as_str());
            attributes.push(("error.type", what.into()));
        }
        let name = match route {
            Some(route) => format!("{method} {route}"),
            None if is_known => method.to_owned(),
            None => "HTTP".to_owned(),
        };
        Described {
            name,
            attributes,
            is_error,
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

//! The envelope of every request: its id, its limits, its record, and a reply even when a handler
//! panics.

use super::admission::{self, Arrival, Guest};
use super::live::{Generation, Live};
use super::observe::Observation;
use super::problem::Problem;
use super::reply::{self, Failed};
use super::routes::{self, Route};
use super::wire::gate::Signals;
use super::wire::socket::Peer;
use futures_util::FutureExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use hyper::body::{Body as _, Incoming};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;
use warp::reply::Response;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id of a caller's own, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// What the filters know of a request beside its path and body.
#[derive(Debug)]
pub(super) struct RequestInfo {
    id: HeaderValue,
    pub(super) method: Method,
    pub(super) peer: Peer,
    pub(super) route: Option<&'static Route>,
    /// Who asks.
    pub(super) guest: Guest,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) content_encoding: Option<HeaderValue>,
    body_read: AtomicBool,
}

impl RequestInfo {
    /// The request's id: visible ASCII.
    pub(super) fn request_id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// Nothing of the body is left on the connection.
    pub(super) fn mark_body_read(&self) {
        self.body_read.store(true, Ordering::Relaxed);
    }
}

/// What the requests of one connection share.
pub(super) struct Caller {
    pub(super) live: Arc<Live>,
    pub(super) peer: Peer,
    /// Whether it came to a listener on loopback.
    pub(super) at_loopback: bool,
    pub(super) signals: Arc<Signals>,
    /// The server stops: replies ask the client to go elsewhere.
    pub(super) stopping: Arc<AtomicBool>,
}

/// Answers one request.
pub(super) async fn respond(caller: Arc<Caller>, mut request: Request<Incoming>) -> Response {
    let now = caller.live.now();
    let app = &now.app;
    let started = app.clock.monotonic();
    let in_flight = app.observer.enter();
    let has_body = !request.body().is_end_stream();
    let trace_id = trace_id(request.headers());
    let headers = request.headers();
    let route = routes::find(request.uri().path());
    let since = started.saturating_duration_since(app.observer.started());
    let arrival = Arrival {
        peer: caller.peer,
        at_loopback: caller.at_loopback,
        uri: request.uri(),
        headers,
        route,
        method: request.method(),
        now_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
    };
    let (guest, refused) = admission::admit(&app.policy, &arrival);
    let info = Arc::new(RequestInfo {
        id: request_id(headers.get(&REQUEST_ID).map(HeaderValue::as_bytes)),
        method: request.method().clone(),
        peer: caller.peer,
        route,
        guest,
        content_type: headers.get(header::CONTENT_TYPE).cloned(),
        content_encoding: headers.get(header::CONTENT_ENCODING).cloned(),
        body_read: AtomicBool::new(!has_body),
    });
    // It has been looked at, and is for nobody else.
    request.headers_mut().remove(header::AUTHORIZATION);
    request.extensions_mut().insert(Arc::clone(&info));
    let mut response = match refused {
        Some(problem) => reply::problem(problem, &info),
        None => answer(&now, request, &info).await,
    };
    let failed = response.extensions_mut().remove::<Failed>();
    let ended = app.clock.monotonic();
    app.observer.record(&Observation {
        route: info.route.map_or("unknown", |route| route.template),
        method: &info.method,
        status: response.status(),
        ended,
        duration: ended.saturating_duration_since(started),
        request_id: info.request_id(),
        peer: caller.peer,
        client: info.guest.client,
        key: info.guest.key().map_or("", |key| &key.name),
        trace_id: trace_id.as_deref().unwrap_or_default(),
        kind: failed.as_ref().map(|failed| failed.kind),
        cause: failed.as_ref().map_or("", |failed| &failed.cause),
    });
    let unread = !info.body_read.load(Ordering::Relaxed);
    if unread {
        caller.signals.unread.store(true, Ordering::Relaxed);
    }
    let headers = response.headers_mut();
    if unread || caller.stopping.load(Ordering::Relaxed) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(REQUEST_ID, info.id.clone());
    in_flight.answered();
    caller.signals.answered();
    response
}

async fn answer(now: &Generation, request: Request<Incoming>, info: &Arc<RequestInfo>) -> Response {
    let limit = now.app.settings.max_body_bytes;
    if request.body().size_hint().lower() > limit as u64 {
        return reply::problem(Problem::body_too_large(limit), info);
    }
    // Who may was decided by the table of routes: what is not in there goes nowhere else.
    if info.route.is_none() {
        return reply::problem(routes::unserved(request.uri().path(), info), info);
    }
    match AssertUnwindSafe((now.routes)(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => reply::problem(Problem::internal(panic_text(panic.as_ref())), info),
    }
}

/// What a panic said.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// The caller's id if it is 1 to 128 visible ASCII characters, else a new UUID.
pub(super) fn request_id(offered: Option<&[u8]>) -> HeaderValue {
    let sane = offered.filter(|id| {
        (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    let own = sane.and_then(|id| HeaderValue::from_bytes(id).ok());
    own.unwrap_or_else(|| {
        let mut buffer = Uuid::encode_buffer();
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

/// The trace id of a well-formed `traceparent` (W3C Trace Context, version 00).
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = parts.next()?;
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let sound = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && trace.bytes().any(|b| b != b'0')
        && is_hex(parent, 16)
        && is_hex(flags, 2);
    sound.then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_request_ids_are_kept_and_others_replaced() {
        assert_eq!(request_id(Some(b"abc-1")), "abc-1");
        for bad in [
            None,
            Some(&b""[..]),
            Some(b"a b"),
            Some(b"\xff"),
            Some(&[b'a'; 129]),
        ] {
            let id = request_id(bad);
            assert!(
                Uuid::parse_str(id.to_str().unwrap()).is_ok(),
                "{bad:?}: {id:?}"
            );
        }
    }

    #[test]
    fn the_trace_id_is_taken_from_a_sound_traceparent_only() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", text.parse().unwrap());
            trace_id(&headers)
        };
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let sound = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(read(&sound).as_deref(), Some(trace));
        for bad in [
            "",
            "00-x-y-01",
            &sound.to_uppercase(),
            &sound.replace(trace, &"0".repeat(32)),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

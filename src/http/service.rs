//! The envelope of every request: its id, its trace, its limits, its record, and a reply even when a
//! handler panics.

use super::App;
use super::admission::{self, Arrival, Guest};
use super::live::{Generation, Live};
use super::observe::{ABANDONED, Observation};
use super::problem::Problem;
use super::reply::{self, Failed};
use super::routes::{self, Route};
use super::traced::Head;
use super::wire::gate::Signals;
use super::wire::socket::Peer;
use crate::telemetry::trace::{Incoming as IncomingTrace, Trail};
use futures_util::FutureExt;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
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
    /// What happens to it, and when.
    pub(super) trail: Arc<Trail>,
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
    let headers = request.headers();
    let route = routes::find(request.uri().path());
    let incoming = IncomingTrace::of(headers);
    let is_traced = incoming.is_some() || !is_probe(route);
    let exporter = app.traces.as_ref().filter(|_| is_traced);
    let trail = Trail::begin(started, incoming, exporter, || app.clock.wall());
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
        trail: Arc::new(trail),
        body_read: AtomicBool::new(!has_body),
    });
    let open = Open {
        head: Head::of(&request, &info, app),
        info: &info,
        is_recorded: false,
        app,
    };
    // It has been looked at, and is for nobody else.
    request.headers_mut().remove(header::AUTHORIZATION);
    request.extensions_mut().insert(Arc::clone(&info));
    let mut response = match refused {
        Some(problem) => reply::problem(problem, &info),
        None => answer(&now, request, &info).await,
    };
    open.answered(&mut response);
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
    let since = app
        .clock
        .monotonic()
        .saturating_duration_since(app.observer.started());
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    caller.signals.answered(now_ms);
    response
}

/// A request until it is recorded, once: with its reply, or as one whose client left before.
struct Open<'a> {
    app: &'a App,
    info: &'a RequestInfo,
    /// What its span says, where it is traced.
    head: Option<Head>,
    is_recorded: bool,
}

impl Open<'_> {
    fn answered(mut self, response: &mut Response) {
        self.is_recorded = true;
        let head = self.head.take();
        let failed = response.extensions_mut().remove::<Failed>();
        let seen = self.observed(response.status(), failed.as_ref());
        self.app.observer.record(&seen);
        if let Some(head) = head {
            head.export(&seen);
        }
    }

    fn observed<'a>(&'a self, status: StatusCode, failed: Option<&'a Failed>) -> Observation<'a> {
        let (app, info) = (self.app, self.info);
        let trail = &*info.trail;
        let ended = app.clock.monotonic();
        let cause = failed.map_or("", |failed| &failed.cause);
        // A remark is on what a good reply lacks.
        let remark = trail.remark().filter(|_| status.is_success());
        Observation {
            route: info.route.map_or("unknown", |route| route.template),
            method: &info.method,
            status,
            ended,
            duration: ended.saturating_duration_since(trail.began()),
            request_id: info.request_id(),
            peer: info.peer,
            client: info.guest.client,
            key: info.guest.key().map(|key| &*key.name),
            trail,
            kind: failed.map(|failed| failed.kind),
            cause: remark.unwrap_or(cause),
            slow_after: app.settings.slow_after().filter(|_| is_soon(info)),
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_recorded {
            return;
        }
        let head = self.head.take();
        let left = Failed {
            kind: ABANDONED,
            cause: "the client left before the reply".into(),
        };
        let seen = self.observed(client_left(), Some(&left));
        self.app.observer.left(&seen);
        if let Some(head) = head {
            head.export(&seen);
        }
    }
}

/// What nginx calls "client closed request"; nobody gets it.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT)
}

/// Whether it is asked every few seconds by machines, whose traces nobody looks at.
fn is_probe(route: Option<&'static Route>) -> bool {
    let template = route.map_or("", |route| route.template);
    ["/healthz", "/health", "/livez", "/readyz", "/metrics"].contains(&template)
}

/// Whether it is to be answered soon. Storing, deleting, reloading and profiles take their time.
fn is_soon(info: &RequestInfo) -> bool {
    let template = info.route.map_or("", |route| route.template);
    let reads = [Method::GET, Method::HEAD].contains(&info.method);
    template == "/v1/query" || (reads && !template.starts_with("/debug/"))
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
}

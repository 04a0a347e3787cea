//! One connection from accept to close.

use super::problem::Problem;
use super::reply::hex;
use super::service::{self, Caller};
use super::wire::framing::{Refusal, Refused};
use super::wire::gate::{Gate, Limits};
use super::wire::handshake::{Greeted, greet};
use super::wire::socket::Socket;
use super::{App, server::Phase};
use http::{HeaderMap, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// Most bytes that hyper keeps for one connection beside the gate's own; bodies pass in pieces of
/// at most this.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// How long a refused client may go on sending until it has read the reply: closing at once would
/// reset the connection and lose the reply.
const LINGER: Duration = Duration::from_secs(2);
/// How long a connection that is to make room may still write the rest of a reply.
const LAST_REPLY: Duration = Duration::from_millis(100);
/// How long a handshake may still take when the server stops: a request may come right after it.
const LAST_HANDSHAKE: Duration = Duration::from_millis(500);

/// Serves one connection until it closes, its time is up, or the server stops.
pub(super) async fn serve(socket: Socket, caller: Arc<Caller>, mut phase: watch::Receiver<Phase>) {
    let app = caller.live.app();
    let _connected = app.observer.connect();
    let secured = tokio::select! {
        biased;
        secured = secure(&app, socket, app.settings.header_timeout()) => secured,
        () = last_handshake(&mut phase) => None,
        () = caller.signals.told_to_leave() => None,
    };
    let Some(socket) = secured else { return };
    let signals = Arc::clone(&caller.signals);
    let gate = Gate::new(socket, limits(&app), Arc::clone(&signals));
    let respond = service_fn(move |request| {
        let caller = Arc::clone(&caller);
        let reply = service::respond(caller, request);
        Box::pin(async move { Ok::<_, Infallible>(reply.await) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None) // The gate's, which answers.
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(gate, respond);
    let closing = *phase.borrow_and_update() >= Phase::Closing;
    signals.closing.store(closing, Ordering::Release);
    let mut done = false;
    let mut cut_at = None;
    while !done {
        tokio::select! {
            biased;
            // An error here is the client's going away, or a write that stalled for too long.
            _ = poll_fn(|cx| connection.poll_without_shutdown(cx)) => done = true,
            now = next(&mut phase) => match now {
                Phase::Serving | Phase::LameDuck => {}
                Phase::Closing => signals.closing.store(true, Ordering::Release),
                Phase::Cut => return,
            },
            () = signals.told_to_leave() => {
                let now = tokio::time::Instant::now();
                cut_at = Some(if signals.last_answered() == 0 && signals.is_silent() {
                    // The runtime sees what has arrived before it sees that the time is up: who has asked
                    // by now, and was not read yet, is answered.
                    now
                } else {
                    signals.closing.store(true, Ordering::Release);
                    now + LAST_REPLY
                });
            }
            () = sleep_until(cut_at), if cut_at.is_some() => {
                // One that was asked at the last moment is answered, and closes then.
                let was_closing = signals.closing.swap(true, Ordering::AcqRel);
                if signals.is_silent() && (was_closing || signals.last_answered() == 0) {
                    return;
                }
                cut_at = Some(tokio::time::Instant::now() + LAST_REPLY);
            }
        }
    }
    let (mut socket, refused) = connection.into_parts().io.finish();
    if let Some(refused) = refused {
        let (problem, request_id) = to_problem(refused);
        refuse(&app, &mut socket, &problem, &request_id).await;
    } else if signals.unread.load(Ordering::Relaxed) {
        linger(&mut socket).await;
    }
}

/// The connection with TLS, where that is spoken over it; `None` when it is over already. Counts as a
/// connection meanwhile, and takes at most `patience`.
async fn secure(app: &App, socket: Socket, patience: Duration) -> Option<Socket> {
    let (stream, tls) = match (socket, &app.tls) {
        (Socket::Tcp(stream), Some(tls)) => (stream, tls),
        (socket, _) => return Some(socket),
    };
    let greeted = tokio::time::timeout(patience, greet(stream, tls.config())).await;
    match greeted.unwrap_or_else(|_| Greeted::Failed(io::ErrorKind::TimedOut.into())) {
        Greeted::Secure(socket) => return Some(socket),
        Greeted::Plain(mut socket) => {
            let problem = Problem::malformed("plain_http", "TLS is spoken here: ask over https://");
            let id = service::request_id(None);
            refuse(app, &mut socket, &problem, id.to_str().unwrap_or_default()).await;
        }
        Greeted::Gone => {}
        Greeted::Failed(error) => {
            app.observer.no_handshake();
            tracing::debug!(%error, "no TLS with a client: {error}");
        }
    }
    None
}

/// Ends a while after the server has begun to close connections.
async fn last_handshake(phase: &mut watch::Receiver<Phase>) {
    if phase
        .wait_for(|phase| *phase >= Phase::Closing)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(LAST_HANDSHAKE).await;
}

/// The next phase; never ends when there is none to come.
async fn next(phase: &mut watch::Receiver<Phase>) -> Phase {
    if phase.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    *phase.borrow_and_update()
}

/// Ends then, or never.
async fn sleep_until(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn limits(app: &App) -> Limits {
    Limits {
        max_head_bytes: app.settings.max_head_bytes,
        header_timeout: app.settings.header_timeout(),
        idle_timeout: app.settings.idle_timeout(),
        write_timeout: app.settings.body_timeout(),
    }
}

fn to_problem(refused: Refused) -> (Problem, String) {
    let id = service::request_id(refused.request_id.as_deref());
    let problem = match refused.why {
        Refusal::HeadTooLarge(detail) => Problem::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            detail,
        ),
        Refusal::BadHead(detail) => Problem::malformed("bad_request", detail),
        Refusal::BadChunk => Problem::malformed("bad_body", "the chunks are malformed"),
        Refusal::SlowHead => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow_request",
            "the request head did not arrive in time",
        ),
    };
    let id = id
        .to_str()
        .map_or_else(|_| hex(id.as_bytes()), ToOwned::to_owned);
    (problem, id)
}

/// Answers a connection beyond the cap without reading a request from it.
pub(super) async fn turn_away(app: &App, socket: Socket) {
    let Some(mut socket) = secure(app, socket, LINGER).await else {
        return;
    };
    let problem = Problem::overloaded("every connection is taken (server.max_connections)");
    let id = service::request_id(None);
    refuse(app, &mut socket, &problem, id.to_str().unwrap_or_default()).await;
}

/// Writes an error reply past hyper, and closes so that it arrives.
async fn refuse(app: &App, socket: &mut Socket, problem: &Problem, request_id: &str) {
    app.observer.refused(problem.status);
    tracing::debug!(
        request_id,
        status = problem.status.as_u16(),
        kind = problem.kind,
        "connection refused: {}",
        problem.detail
    );
    let bytes = raw_reply(app.clock.wall().into(), problem, request_id);
    let written = tokio::time::timeout(LINGER, socket.write_all(&bytes)).await;
    if matches!(written, Ok(Ok(()))) {
        linger(socket).await;
    }
}

fn raw_reply(now: OffsetDateTime, problem: &Problem, request_id: &str) -> Vec<u8> {
    let body = problem.to_json(request_id).to_string();
    let mut headers = HeaderMap::new();
    problem.headers(&mut headers);
    let mut text = format!("HTTP/1.1 {}\r\n", problem.status);
    for (name, value) in &headers {
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let _ = write!(
        text,
        "x-request-id: {request_id}\r\ndate: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        now.format(format).unwrap_or_default(),
        body.len()
    );
    text.push_str(&body);
    text.into_bytes()
}

/// Says that no more will be written, and reads on until the client closes or [`LINGER`] is over.
async fn linger(socket: &mut Socket) {
    let drain = async {
        socket.shutdown().await?;
        let mut sink = [0; 8 * 1024];
        while socket.read(&mut sink).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // Whichever way it ends, the connection is over.
    let _ = tokio::time::timeout(LINGER, drain).await;
}

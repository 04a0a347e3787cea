//! Accepting connections, and stopping without losing any.

use super::App;
use super::connection;
use super::crowd::{Crowd, Room};
use super::listen::Listener;
use super::live::Live;
use super::places::{Place, Places};
use super::service::Caller;
use super::wire::gate::Signals;
use super::wire::socket::{Peer, Socket};
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Most connections beyond the cap that are told so at once; more are dropped.
const MAX_TURNED_AWAY: usize = 64;
/// Most connections that were told to make room and are not gone yet.
const MAX_LEAVING: usize = 64;
/// How long it is waited until one of the connections has to make room, and the pause between two looks.
const ROOM_PATIENCE: Duration = Duration::from_millis(500);
const ROOM_PAUSE: Duration = Duration::from_millis(5);
/// The pause after the system ran out of descriptors or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connection tasks get to notice that they are cut.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// What the server is doing, as connections see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// Replies carry `Connection: close`; new connections are still taken.
    LameDuck,
    /// No new connections; those with nothing left to answer close.
    Closing,
    /// Time is up.
    Cut,
}

/// How the server stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Requests that were still running when `drain_timeout_s` was over.
    pub cut_requests: usize,
}

/// Serves `listeners` until `shutdown` is ready; then stops in order: `lame_duck_ms` with
/// `Connection: close` on every reply, then no new connections (what has arrived is still
/// answered), then at most `drain_timeout_s` for what runs.
///
/// Call it inside a multi-threaded tokio runtime with I/O and time enabled. Blocking work that was
/// cut off may still run when this returns: end the runtime with `shutdown_timeout`.
///
/// # Errors
/// When a listener cannot be handed to the runtime.
pub async fn serve(
    live: Arc<Live>,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<Stopped> {
    let server = Arc::new(Server::new(Arc::clone(&live)));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let acceptor = Acceptor::new(listener)?;
        accepting.spawn(Arc::clone(&server).accept(acceptor));
    }
    shutdown.await;
    let app = live.app();
    app.readiness
        .wait_for(super::SERVING, "the daemon is stopping");
    server.stopping.store(true, Ordering::Relaxed);
    server.enter(Phase::LameDuck);
    tokio::time::sleep(app.settings.lame_duck()).await;
    server.enter(Phase::Closing);
    accepting.join_all().await;
    let drained = tokio::time::timeout(app.settings.drain_timeout(), server.all_closed()).await;
    let cut_requests = if drained.is_ok() {
        0
    } else {
        app.observer.in_flight()
    };
    server.enter(Phase::Cut);
    let _ = tokio::time::timeout(CUT_GRACE, server.all_closed()).await;
    app.observer.end();
    Ok(Stopped { cut_requests })
}

struct Server {
    live: Arc<Live>,
    phase: watch::Sender<Phase>,
    stopping: Arc<AtomicBool>,
    /// Connections over TCP, and over unix sockets.
    tcp: Arc<Places>,
    unix: Arc<Places>,
    tcp_crowd: Arc<Crowd>,
    unix_crowd: Arc<Crowd>,
    turned_away: Arc<Places>,
}

impl Server {
    fn new(live: Arc<Live>) -> Self {
        Self {
            live,
            phase: watch::Sender::new(Phase::Serving),
            stopping: Arc::default(),
            unix: Arc::default(),
            tcp: Arc::default(),
            tcp_crowd: Arc::default(),
            unix_crowd: Arc::default(),
            turned_away: Arc::default(),
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    async fn accept(self: Arc<Self>, acceptor: Acceptor) {
        let mut phase = self.phase.subscribe();
        let at_loopback = acceptor.is_at_loopback();
        loop {
            let closing = async {
                phase
                    .wait_for(|phase| *phase >= Phase::Closing)
                    .await
                    .is_ok()
            };
            let accepted = tokio::select! {
                biased;
                _ = closing => break,
                accepted = acceptor.accept() => accepted,
            };
            self.take(accepted, at_loopback).await;
        }
        // What the kernel has accepted already is served too.
        while let Some(accepted) = acceptor.accept_now().await {
            self.take(accepted, at_loopback).await;
        }
    }

    async fn take(&self, accepted: io::Result<(Socket, Peer)>, at_loopback: bool) {
        match accepted {
            Ok((socket, peer)) => self.start(socket, peer, at_loopback).await,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    async fn start(&self, socket: Socket, peer: Peer, at_loopback: bool) {
        let app = self.live.app();
        let (places, crowd) = match peer {
            Peer::Tcp(_) => (&self.tcp, &self.tcp_crowd),
            Peer::Unix => (&self.unix, &self.unix_crowd),
        };
        let place = place(&app, places, crowd).await;
        let Some(place) = place else {
            self.turn_away(app, socket);
            return;
        };
        let signals = Arc::new(Signals::default());
        let member = crowd.enter(&signals);
        let caller = Arc::new(Caller {
            live: Arc::clone(&self.live),
            peer,
            at_loopback,
            signals,
            stopping: Arc::clone(&self.stopping),
        });
        let phase = self.phase.subscribe();
        tokio::spawn(async move {
            connection::serve(socket, caller, phase).await;
            drop(member);
            drop(place);
        });
    }

    fn turn_away(&self, app: Arc<App>, socket: Socket) {
        if let Some(place) = self.turned_away.enter(MAX_TURNED_AWAY) {
            tokio::spawn(async move {
                connection::turn_away(&app, socket).await;
                drop(place);
            });
        }
    }

    /// Ends when no connection is open.
    async fn all_closed(&self) {
        self.tcp.all_left().await;
        self.unix.all_left().await;
    }
}

/// A place for one more connection, which another may have to leave. While it waits for one, those who
/// come wait in the kernel; it does so only when one is sure to be had before long.
async fn place(app: &App, places: &Arc<Places>, crowd: &Crowd) -> Option<Place> {
    let limit = app.settings.max_connections;
    if let Some(place) = places.enter(limit) {
        return Some(place);
    }
    app.crowd.refused(limit, 0);
    let patience = Instant::now() + ROOM_PATIENCE;
    loop {
        let now = Instant::now();
        // It takes a moment until the other is gone.
        if let Some(place) = places.enter(limit + MAX_LEAVING) {
            match crowd.make_room(now) {
                Room::Made => return Some(place),
                Room::None => return None,
                Room::Soon => drop(place),
            }
        }
        if now >= patience {
            return None;
        }
        tokio::time::sleep(ROOM_PAUSE).await;
        if let Some(place) = places.enter(limit) {
            return Some(place);
        }
    }
}

/// A listener in the runtime.
enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    fn new(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Self::Tcp)
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(Self::Unix)
            }
        }
    }

    /// Whether only this machine reaches it.
    fn is_at_loopback(&self) -> bool {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .is_ok_and(|address| address.ip().to_canonical().is_loopback()),
            Self::Unix(_) => true,
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// A connection that is waiting already.
    async fn accept_now(&self) -> Option<io::Result<(Socket, Peer)>> {
        poll_fn(|cx| match self.poll_accept(cx) {
            Poll::Ready(Ok(accepted)) => Poll::Ready(Some(Ok(accepted))),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_accept(&self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<(Socket, Peer)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(socket, address)| {
                // Replies are written whole: waiting for more would only delay them. That a
                // connection is gone already shows when it is read.
                let _ = socket.set_nodelay(true);
                (Socket::Tcp(socket), Peer::Tcp(address))
            }),
            Self::Unix(listener) => {
                let accepted = listener.poll_accept(cx);
                accepted.map_ok(|(socket, _)| (Socket::Unix(socket), Peer::Unix))
            }
        }
    }
}

/// Whether only the connection that was to be accepted is to blame.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

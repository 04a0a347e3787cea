//! An HTTP server that misbehaves on purpose, and knows how long it took itself.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// What the server does with a request once it has read it.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Answers 200 after `delay`.
    Steady { delay: Duration },
    /// As steady, but answers nothing between `from` and `from + length` after the first request.
    Freeze {
        delay: Duration,
        from: Duration,
        length: Duration,
    },
    /// Takes one request after the other, `each` for every one, however many wait.
    Queue { each: Duration },
    /// Answers one request every `each`, and 503 at once beyond that and a small burst.
    Limited { each: Duration },
    /// Never answers.
    Silent,
    /// Answers at once with this status.
    Status(u16),
    /// Resets the connection.
    Reset,
    /// Resets the connection in the middle of the answer.
    Half,
    /// Answers with something that is not HTTP.
    Garbage,
    /// Announces and sends a body without end.
    Endless,
    /// Answers 200 and closes the connection each time.
    Closing,
    /// Answers whatever it is asked with metrics.
    Metrics,
    /// Answers as alfred does, every second time from its cache.
    Alfred,
    /// Answers 200 with this body.
    Says(String),
}

/// What it has for a flight recorder, at `/v1/status`, `/metrics` and `/debug/pprof/`: never a part of
/// the load, and counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Aside {
    /// 404.
    #[default]
    Nothing,
    /// A status, metrics, and profiles, that of the CPU after the seconds that it was asked for.
    Profiles,
    /// The same, and profiles that never come.
    HangingProfiles,
    /// The same, and profiles without end.
    EndlessProfiles,
    /// The same, and 403 for profiles.
    ForbiddenProfiles,
}

/// A running server; dropping it stops it.
pub(crate) struct TestTarget {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct State {
    behaviour: Behaviour,
    aside: Aside,
    /// What was asked aside, and how long after the first request of the load.
    asked_aside: Mutex<Vec<(String, Duration)>>,
    first: Mutex<Option<Instant>>,
    /// When what was taken in so far is done, of [`Behaviour::Queue`] and [`Behaviour::Limited`].
    free: Mutex<Option<Instant>>,
    served: Mutex<Vec<Duration>>,
    bodies: Mutex<Vec<String>>,
    paths: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

impl TestTarget {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::start_with(behaviour, Aside::default())
    }

    pub(crate) fn start_with(behaviour: Behaviour, aside: Aside) -> Self {
        let state = Arc::new(State {
            behaviour,
            aside,
            asked_aside: Mutex::new(Vec::new()),
            first: Mutex::new(None),
            free: Mutex::new(None),
            served: Mutex::new(Vec::new()),
            bodies: Mutex::new(Vec::new()),
            paths: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let accepting = tokio::spawn(accept(listener, shared));
                let _ = stopped.await;
                accepting.abort();
            });
        });
        Self {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/query", self.address)
    }

    /// How long each answer took by the server's own clock, in milliseconds, sorted.
    pub(crate) fn own_latencies_ms(&self) -> Vec<f64> {
        let mut own: Vec<f64> = self
            .state
            .served
            .lock()
            .unwrap()
            .iter()
            .map(|took| took.as_secs_f64() * 1e3)
            .collect();
        own.sort_by(f64::total_cmp);
        own
    }

    /// Method, path and version of all requests.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.state.paths.lock().unwrap().clone()
    }

    /// Paths that were asked for aside, and how long after the first request of the load.
    pub(crate) fn asked_aside(&self) -> Vec<(String, Duration)> {
        self.state.asked_aside.lock().unwrap().clone()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// The bodies of all requests.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.state.bodies.lock().unwrap().clone()
    }
}

impl Drop for TestTarget {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    let mut is_counted = false;
    while let Some((path, body)) = read_request(&mut stream, &mut buffer).await? {
        let arrived = now();
        if state.is_aside(&path) {
            answer_aside(&mut stream, &state, &path).await?;
            continue;
        }
        if !std::mem::replace(&mut is_counted, true) {
            state.connections.fetch_add(1, Ordering::Relaxed);
        }
        let first = *state.first.lock().unwrap().get_or_insert(arrived);
        let number = {
            let mut bodies = state.bodies.lock().unwrap();
            bodies.push(body);
            state.paths.lock().unwrap().push(path);
            bodies.len()
        };
        wait(&state.behaviour, first).await;
        let behaviour = state.admitted(arrived).await;
        let go_on = answer(&mut stream, &behaviour, number).await?;
        state.served.lock().unwrap().push(arrived.elapsed());
        if !go_on {
            break;
        }
    }
    Ok(())
}

/// Requests that a [`Behaviour::Limited`] target takes at once.
const BURST: u32 = 20;

/// A profile as a recorder sees it: gzip.
pub(crate) const PROFILE: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x2b, 0x28, 0xca, 0x4f, 0xcb, 0xcc,
    0x49, 0x05, 0x00, 0x0f, 0xaa, 0x57, 0x81, 0x07, 0x00, 0x00, 0x00,
];

async fn answer_aside(stream: &mut TcpStream, state: &State, line: &str) -> io::Result<()> {
    let since = state.first.lock().unwrap().map(|first| first.elapsed());
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let asked = (path.clone(), since.unwrap_or_default());
    state.asked_aside.lock().unwrap().push(asked);
    let is_profile = path.starts_with("/debug/pprof/");
    let (status, body): (u16, &[u8]) = match (state.aside, is_profile) {
        (Aside::Nothing, _) => (404, b"{}"),
        (Aside::Profiles, true) => {
            let seconds = path
                .split("seconds=")
                .nth(1)
                .and_then(|rest| rest.split('&').next());
            let seconds: u64 = seconds.map_or(0, |seconds| seconds.parse().unwrap());
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            (200, PROFILE)
        }
        (Aside::HangingProfiles, true) => std::future::pending().await,
        (Aside::EndlessProfiles, true) => {
            answer(stream, &Behaviour::Endless, 0).await?;
            return Ok(());
        }
        (Aside::ForbiddenProfiles, true) => (403, b"only for a loopback peer"),
        (_, false) if path == "/metrics" => (200, b"process_open_fds 7\nprocess_threads 3\n"),
        (_, false) => (200, b"{\"version\": \"9.9\", \"pool\": {\"busy\": 4}}"),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

impl State {
    /// Whether a request is one of a recorder; the metrics target is asked for its metrics by others.
    fn is_aside(&self, line: &str) -> bool {
        let is = |path: &str| line.starts_with(&format!("GET {path}"));
        let is_metrics = is("/metrics ") && !matches!(self.behaviour, Behaviour::Metrics);
        is("/debug/pprof/") || is("/v1/status ") || is_metrics
    }

    /// What is done with a request that arrived now, after its place in the queue came.
    async fn admitted(&self, arrived: Instant) -> Behaviour {
        let (each, most) = match self.behaviour {
            Behaviour::Queue { each } => (each, Duration::MAX),
            Behaviour::Limited { each } => (each, each * BURST),
            _ => return self.behaviour.clone(),
        };
        let done = {
            let mut free = self.free.lock().unwrap();
            let begins = free.map_or(arrived, |free| free.max(arrived));
            if begins.saturating_duration_since(arrived) > most {
                return Behaviour::Status(503);
            }
            *free.insert(begins + each)
        };
        if matches!(self.behaviour, Behaviour::Queue { .. }) {
            tokio::time::sleep_until(done.into()).await;
        }
        Behaviour::Status(200)
    }
}

async fn wait(behaviour: &Behaviour, first: Instant) {
    match behaviour {
        Behaviour::Steady { delay } => tokio::time::sleep(*delay).await,
        Behaviour::Freeze {
            delay,
            from,
            length,
        } => {
            tokio::time::sleep(*delay).await;
            let since = first.elapsed();
            if (*from..*from + *length).contains(&since) {
                tokio::time::sleep((*from + *length).saturating_sub(since)).await;
            }
        }
        Behaviour::Silent => std::future::pending().await,
        _ => {}
    }
}

/// Answers; `false` when the connection is to be closed.
async fn answer(stream: &mut TcpStream, behaviour: &Behaviour, number: usize) -> io::Result<bool> {
    let json = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let reply = match behaviour {
        Behaviour::Status(status) => {
            format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}")
        }
        Behaviour::Garbage => "220 mail.example.org ESMTP at your service\r\n\r\n".to_owned(),
        Behaviour::Closing => {
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}".to_owned()
        }
        Behaviour::Alfred => json(&format!(
            r#"{{"answer": null, "citations": [], "usage": {{"embedding_tokens": 3, "embedding_cached": {}}}}}"#,
            number.is_multiple_of(2)
        )),
        Behaviour::Metrics => json(&format!(
            "# TYPE process_open_fds gauge\nprocess_open_fds 7\n\
             embedding_cache_hits_total{{tier=\"memory\"}} {number}\nother_total 1\n"
        )),
        Behaviour::Says(body) => json(body),
        Behaviour::Reset => {
            stream.set_zero_linger()?;
            return Ok(false);
        }
        Behaviour::Half => {
            let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it";
            stream.write_all(half.as_bytes()).await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.set_zero_linger()?;
            return Ok(false);
        }
        Behaviour::Endless => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&[b'x'; 16_384]).await?;
            }
        }
        _ => json("{}"),
    };
    stream.write_all(reply.as_bytes()).await?;
    Ok(!matches!(
        behaviour,
        Behaviour::Garbage | Behaviour::Closing
    ))
}

/// The first line and the body of the next request; `None` when the client closed.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(String, String)>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let rest = buffer.split_off(end + 4 + length);
                let body = String::from_utf8_lossy(&buffer[end + 4..]).into_owned();
                let first = String::from_utf8_lossy(&buffer[..end]);
                let first = first.lines().next().unwrap_or_default().to_owned();
                *buffer = rest;
                return Ok(Some((first, body)));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test server measures itself")]
fn now() -> Instant {
    Instant::now()
}

//! A Redis of each test's own, and a model that counts.

use super::super::{RedisAddress, RedisCache, SharedState};
use crate::clock::{Clock as _, Deadline, SystemClock};
use crate::domain::{Embedding, ModelId};
use crate::embed::{CachedEmbedder, EmbedError, Embedded, Embedder};
use crate::secret::Secret;
use rustix::process::{Pid, Signal, kill_process};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// More than the default, since tests run side by side on few cores.
pub(super) const TIMEOUT: Duration = Duration::from_millis(200);
/// What a query may take beyond the timeout on a machine that is busy.
pub(super) const SLACK: Duration = Duration::from_millis(150);

/// A Redis of this test's own; gone when it goes out of scope.
pub(super) struct Redis {
    child: Child,
    pub(super) port: u16,
    arguments: Vec<String>,
    _dir: tempfile::TempDir,
}

impl Redis {
    pub(super) fn start(arguments: &[&str]) -> Self {
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let dir = tempfile::tempdir().unwrap();
            let mut all: Vec<String> = [
                ["--port", &port.to_string()],
                ["--bind", "127.0.0.1"],
                ["--dir", dir.path().to_str().unwrap()],
                ["--save", ""],
                ["--appendonly", "no"],
            ]
            .concat()
            .into_iter()
            .map(String::from)
            .collect();
            all.extend(arguments.iter().map(ToString::to_string));
            let mut redis = Self {
                child: Self::spawn(&all),
                port,
                arguments: all,
                _dir: dir,
            };
            if redis.is_there() {
                return redis;
            }
        }
        panic!("redis-server does not start; install it (Debian: redis-server)");
    }

    pub(super) fn spawn(arguments: &[String]) -> Child {
        Command::new("redis-server")
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Waits until it listens; false when somebody else took the port first.
    pub(super) fn is_there(&mut self) -> bool {
        eventually("redis listens or ends", || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect(("127.0.0.1", self.port))
                .ok()
                .map(|_| true)
        })
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn start_again(&mut self) {
        self.child = Self::spawn(&self.arguments);
        assert!(self.is_there());
    }

    pub(super) fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection_with_timeout(PATIENCE).unwrap()
    }

    pub(super) fn ask(&self, command: &[&str]) -> redis::Value {
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query(&mut self.connection()).unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Embeds into as many dimensions as a large model has, and counts.
pub(super) struct Model {
    pub(super) id: ModelId,
    calls: AtomicU64,
}

impl Model {
    pub(super) fn new() -> Arc<Self> {
        let id = ModelId {
            name: "fake model".to_owned(),
            dimensions: 1536,
        };
        Arc::new(Self {
            id,
            calls: AtomicU64::new(0),
        })
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Embedder for Model {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn max_tokens(&self) -> usize {
        8_191
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split(' ').count()
    }

    fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let vector = |text: &&str| {
            let bytes = text.bytes().cycle().take(self.id.dimensions);
            Embedding::normalised(bytes.map(f32::from).collect()).unwrap()
        };
        Ok(Embedded {
            vectors: texts.iter().map(vector).collect(),
            tokens: texts
                .iter()
                .map(|text| self.count_tokens(text) as u64)
                .sum(),
        })
    }
}

#[track_caller]
pub(super) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = SystemClock.monotonic() + PATIENCE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(
            SystemClock.monotonic() < end,
            "not within {PATIENCE:?}: {what}"
        );
        SystemClock.sleep(Duration::from_millis(2));
    }
}

pub(super) fn start(url: &str, timeout: Duration) -> RedisCache {
    let address = RedisAddress::parse(&Secret::new(url)).unwrap();
    RedisCache::start(address, timeout).unwrap()
}

/// A daemon's cache, without memory of its own so that every query looks into Redis.
pub(super) fn forgetful(model: &Arc<Model>, url: &str) -> CachedEmbedder {
    let model: Arc<dyn Embedder> = model.clone();
    CachedEmbedder::new(model, 0).with_shared(Box::new(start(url, TIMEOUT)))
}

pub(super) fn ask(cache: &CachedEmbedder, text: &str) -> crate::embed::QueryEmbedding {
    cache.embed_query(text, Deadline::NONE).unwrap()
}

pub(super) fn wait_for(cache: &CachedEmbedder, state: SharedState) {
    eventually("the state of the shared cache", || {
        (cache.shared().unwrap().state == state).then_some(())
    });
}

pub(super) fn wait_for_writes(cache: &CachedEmbedder, count: u64) {
    eventually("a write", || {
        (cache.shared().unwrap().writes >= count).then_some(())
    });
}

pub(super) fn took<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = SystemClock.monotonic();
    let value = work();
    (value, SystemClock.monotonic() - start)
}

//! A server on a port of its own, for one test.

use super::client::Connection;
use super::fake_runs::FakeRuns;
use super::fakes;
use alfred::clock::SystemClock;
use alfred::http::{self, AnswerFn, App, Settings, Stopped};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A running server; stops when told, or when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) app: Arc<App>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Stopped>>,
}

/// Settings for tests: nothing takes long.
pub(super) fn settings() -> Settings {
    Settings {
        max_body_bytes: 64 * 1024,
        drain_timeout_s: 5,
        ..Settings::default()
    }
}

/// Starts a server whose answers come at once.
pub(super) fn start() -> Server {
    start_with(settings(), Arc::new(fakes::instant_answer))
}

/// Starts a server.
pub(super) fn start_with(settings: Settings, answer: Arc<AnswerFn>) -> Server {
    let app = App::new(fakes::use_cases(answer), settings, Arc::new(SystemClock));
    start_app(app.with_runs(Arc::new(FakeRuns)))
}

/// Starts a server for `app`.
pub(super) fn start_app(app: App) -> Server {
    start_on(app, http::bind(&"127.0.0.1:0".parse().unwrap()).unwrap())
}

/// Starts a server on a listener.
pub(super) fn start_on(app: App, listener: http::Listener) -> Server {
    let app = Arc::new(app);
    let address = listener
        .tcp_address()
        .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let (stop, stopped) = oneshot::channel();
    let shared = Arc::clone(&app);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let shutdown = async {
            let _ = stopped.await;
        };
        let outcome = runtime.block_on(http::serve(
            Arc::new(http::Live::new(shared)),
            vec![listener],
            shutdown,
        ));
        runtime.shutdown_background();
        outcome.unwrap()
    });
    Server {
        address,
        app,
        stop: Some(stop),
        thread: Some(thread),
    }
}

impl Server {
    /// Opens a connection.
    pub(super) fn connect(&self) -> Connection {
        Connection::tcp(self.address)
    }

    /// Asks the server to stop, without waiting for it.
    pub(super) fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops the server.
    pub(super) fn stop(mut self) -> Stopped {
        self.ask_to_stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

//! Opens connections, and heeds signals: what is rare and may take its time, on a thread of its own
//! with a tokio runtime, so that a slow name server or TLS handshake delays no request.

use super::poll::Waker;
use super::{Interrupt, Shared};
use crate::client::{ClientError, Connector, Socket};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What became of a connection for the request with this number.
pub(super) struct Opened {
    pub(super) number: u64,
    pub(super) socket: Result<Socket, ClientError>,
}

/// The thread, as others see it. It ends when this is dropped. Both its queues are bounded by the
/// limit of connections.
pub(super) struct Opener {
    asked: UnboundedSender<u64>,
    opened: Receiver<Opened>,
}

struct Worker {
    connector: Connector,
    /// No request waits longer.
    timeout: Duration,
    opened: Sender<Opened>,
    waker: Waker,
}

impl Opener {
    /// Starts the thread.
    pub(super) fn start(
        connector: Connector,
        timeout: Duration,
        waker: Waker,
        shared: Arc<Shared>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (asked, asks) = unbounded_channel();
        let (sender, opened) = channel();
        let worker = Arc::new(Worker {
            connector,
            timeout,
            opened: sender,
            waker,
        });
        let thread = std::thread::Builder::new()
            .name("soak-opener".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::spawn(heed_signals(shared));
                    open_all(worker, asks).await;
                });
                // A name lookup may still hang in its thread; do not wait for it.
                runtime.shutdown_background();
            })?;
        Ok((Self { asked, opened }, thread))
    }

    /// Asks for a connection for the request with this number.
    pub(super) fn open(&self, number: u64) {
        // It ends after whoever asks.
        let _ = self.asked.send(number);
    }

    /// The next that was opened, or could not be.
    pub(super) fn opened(&self) -> Option<Opened> {
        self.opened.try_recv().ok()
    }
}

async fn open_all(worker: Arc<Worker>, mut asks: UnboundedReceiver<u64>) {
    while let Some(number) = asks.recv().await {
        tokio::spawn(open(Arc::clone(&worker), number));
    }
}

async fn open(worker: Arc<Worker>, number: u64) {
    // Boxed: it carries room for a TLS handshake.
    let opening = Box::pin(worker.connector.open());
    let socket = match tokio::time::timeout(worker.timeout, opening).await {
        Ok(Ok(stream)) => stream
            .into_socket()
            .map_err(|source| ClientError::Local { source }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ClientError::Timeout {
            after: worker.timeout,
        }),
    };
    if worker.opened.send(Opened { number, socket }).is_ok() {
        worker.waker.wake();
    }
}

/// A person's SIGINT ends the run early, the second one aborts it. SIGTERM and SIGHUP abort it at
/// once: whoever stops the process from outside has not asked for a verdict on part of the run.
async fn heed_signals(shared: Arc<Shared>) {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else {
        return;
    };
    loop {
        let abort = tokio::select! {
            _ = interrupt.recv() => None,
            _ = terminate.recv() => Some("SIGTERM"),
            _ = hangup.recv() => Some("SIGHUP"),
        };
        let mut asked = shared.interrupt();
        *asked = Some(match (abort, *asked) {
            (_, Some(first @ Interrupt::Abort(_))) => first,
            (Some(signal), _) => Interrupt::Abort(signal),
            (None, None) => Interrupt::Stop,
            (None, Some(Interrupt::Stop)) => Interrupt::Abort("a second SIGINT"),
        });
    }
}

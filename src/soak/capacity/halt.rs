//! Whether somebody asked for an end: a run hears of signals by itself, and what is between two runs or
//! after one would not, since the process keeps the handlers of the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Listens until it is dropped.
pub(crate) struct Halt {
    asked: Arc<AtomicBool>,
    _stop: oneshot::Sender<()>,
}

impl Halt {
    /// Listens for SIGINT, SIGTERM and SIGHUP.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let asked = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = oneshot::channel::<()>();
        let told = Arc::clone(&asked);
        std::thread::Builder::new()
            .name("soak-halt".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = first_signal() => told.store(true, Ordering::Relaxed),
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self { asked, _stop: stop })
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn first_signal() {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

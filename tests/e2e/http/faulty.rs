//! A server with a defect that comes and goes, for tests of what a defect does.

use super::fakes;
use super::server::{Server, settings, start_with};
use alfred::client::Endpoint;
use alfred::clock::Deadline;
use alfred::domain::Query;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The server of the daemon with a store in memory.
pub(crate) struct Faulty {
    pub(crate) endpoint: Endpoint,
    panics: Arc<AtomicBool>,
    _server: Server,
}

/// A server whose answers panic when told to.
pub(crate) fn panicking() -> Faulty {
    let panics = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&panics);
    let answer = move |query: &Query, deadline: Deadline| {
        assert!(!told.load(Ordering::Relaxed), "told to panic");
        fakes::instant_answer(query, deadline)
    };
    let server = start_with(settings(), Arc::new(answer));
    Faulty {
        endpoint: format!("http://{}", server.address).parse().unwrap(),
        panics,
        _server: server,
    }
}

impl Faulty {
    /// Whether answers panic, from now on.
    pub(crate) fn panics(&self, does: bool) {
        self.panics.store(does, Ordering::Relaxed);
    }
}

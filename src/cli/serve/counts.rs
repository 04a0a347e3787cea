//! The counts of the corpus for `/metrics`, made beside the requests: a scrape asks no store.

use crate::clock::{Clock as _, SystemClock};
use crate::http::{App, Live};
use std::sync::Arc;
use std::time::Duration;

/// How often the store is asked at least: another process may write to it.
const EVERY: Duration = Duration::from_secs(15);
/// How often at most, however much is written.
const PAUSE: Duration = Duration::from_millis(500);

/// Counts now, where that asks nothing over a network, and from then on, until the process ends.
pub(super) fn keep(live: &Arc<Live>) -> std::io::Result<()> {
    let app = live.app();
    if app.cases().repo.pool().is_none() {
        count(&app);
    }
    drop(app);
    let live = Arc::clone(live);
    let thread = std::thread::Builder::new().name("alfred-counts".to_owned());
    thread.spawn(move || {
        loop {
            let app = live.app();
            count(&app);
            let corpus = app.metrics().corpus.clone();
            // A reload waits for who has the application before.
            drop(app);
            SystemClock.sleep(PAUSE);
            corpus.wait_for_change(EVERY);
        }
    })?;
    Ok(())
}

/// What a store cannot tell stays as it was told last.
fn count(app: &App) {
    let Ok(collections) = app.cases().repo.collections() else {
        return;
    };
    let counts: Vec<_> = collections
        .iter()
        .map(|info| (info.name.as_str(), info.documents, info.chunks))
        .collect();
    app.metrics().corpus.set(&counts);
}

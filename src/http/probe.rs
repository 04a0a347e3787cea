//! Whether the daemon gets work done, which is more than that it lives: what the watchdog asks.
//!
//! A search of the index on a blocking thread has to come back, and the places for queries have to
//! move. That a dependency is down is no reason to be restarted: nothing is asked of PostgreSQL, a
//! provider or Redis.

use super::App;
use crate::domain::{CollectionName, Embedding, Filter, Mode, QueryText};
use crate::store::SearchRequest;
use std::time::Duration;

/// Times the longest a query may take after which places in which nothing ends are taken for stuck.
const PATIENCE: u32 = 3;

/// Fails with what is stuck; blocks.
pub(super) fn probe(app: &App) -> Result<(), String> {
    search(app);
    let longest = Duration::from_millis(app.settings.request_timeout_ms);
    let patience = (longest * PATIENCE).max(Duration::from_millis(app.settings.stuck_after_ms));
    match app.queries.jammed_for() {
        Some(jammed) if jammed > patience => Err(format!(
            "all {} places for queries are taken, and none came free for {} s",
            app.settings.max_in_flight,
            jammed.as_secs()
        )),
        _ => Ok(()),
    }
}

/// A search like any other, where the store is on this machine; whatever it finds, it came back.
fn search(app: &App) {
    let repo = &app.cases.repo;
    if repo.pool().is_some() {
        return;
    }
    let mut values = vec![0.0; app.cases.embedder.model().dimensions];
    if let Some(first) = values.first_mut() {
        *first = 1.0;
    }
    if let (Ok(embedding), Ok(text)) = (Embedding::normalised(values), QueryText::new("watchdog")) {
        let _ = repo.search(&SearchRequest {
            collection: &CollectionName::default(),
            mode: Mode::Vector,
            text: &text,
            embedding: Some(&embedding),
            filter: &Filter::default(),
            limit: 1,
        });
    }
}

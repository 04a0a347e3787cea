//! Documents from one store to the other, or to another model.

use super::{Place, print};
use crate::cli::counter::Counter;
use crate::cli::wiring::{self, store_failure};
use crate::cli::{Context, Outcome, output};
use crate::config::{Config, StoreKind};
use crate::embed::Embedder;
use crate::failure::Failure;
use crate::store::EmbeddingRepo;
use crate::store::embedded::admin;
use crate::store::postgres::PostgresStore;
use crate::store::postgres::reembed::Reembedding;
use crate::transfer::{self, TransferError, Transferred};
use std::path::Path;
use std::sync::Arc;

/// Refused documents that are named.
const MAX_NAMED: usize = 20;

pub(super) fn copy(from: Place, to: Place, config: &Config, context: &Context) -> Outcome {
    if from == to {
        return Err(Failure::usage("a store cannot be copied to itself")
            .hint("alfred store copy embedded postgres"));
    }
    let source = open(from, false, config)?;
    let target = open(to, true, config)?;
    let done = with_progress(&*source, |report| {
        transfer::copy(&*source, &*target, report)
    })?;
    finish(&done, context)
}

/// Embeds everything with the configured model.
pub(super) fn reembed(config: &Config, context: &Context) -> Outcome {
    let embedder = wiring::open_model(config, None, &Arc::default())?;
    match config.store_kind {
        StoreKind::Postgres => reembed_postgres(&*embedder, config, context),
        StoreKind::Embedded => reembed_embedded(&*embedder, config, context),
    }
}

fn reembed_postgres(embedder: &dyn Embedder, config: &Config, context: &Context) -> Outcome {
    let current = wiring::postgres(config)?;
    if is_of(&current, embedder)? {
        return already(embedder, context);
    }
    let settings = wiring::postgres_settings(config);
    let mut stores =
        Reembedding::begin(current, settings, embedder.model()).map_err(store_failure)?;
    let mut done = with_progress(&stores.current, |report| {
        transfer::reembed(&stores.current, &stores.next, embedder, report)
    })?;
    // What was written meanwhile: first while it is served and written, so that writers are held up
    // for what is left of it alone.
    done.add(again(&stores.current, &stores.next, embedder).map_err(stopped)?);
    let last_pass = |current: &PostgresStore, next: &PostgresStore| {
        done.add(again(current, next, embedder)?);
        Ok(())
    };
    stores.finish(last_pass).map_err(stopped)?;
    finish(&done, context)
}

/// Takes over what was written since.
fn again(
    current: &dyn EmbeddingRepo,
    next: &dyn EmbeddingRepo,
    embedder: &dyn Embedder,
) -> Result<Transferred, TransferError> {
    let more = transfer::reembed(current, next, embedder, &mut |_, _| {})?;
    // What was there already was counted before.
    Ok(Transferred {
        unchanged: 0,
        ..more
    })
}

/// The new store grows in a folder beside, and takes the place of the old one when nobody has that
/// open.
fn reembed_embedded(embedder: &dyn Embedder, config: &Config, context: &Context) -> Outcome {
    let folder = config.store_dir.join("reembed");
    let done = {
        let current = wiring::embedded(&config.store_dir, false)?;
        if is_of(&*current, embedder)? {
            return already(embedder, context);
        }
        let next = open_next(&folder, embedder)?;
        let mut done = with_progress(&*current, |report| {
            transfer::reembed(&*current, &*next, embedder, report)
        })?;
        // What was written and deleted meanwhile.
        done.add(again(&*current, &*next, embedder).map_err(stopped)?);
        transfer::delete_gone(&*current, &*next).map_err(stopped)?;
        done
    };
    let file = folder.join("alfred.db");
    admin::restore(&file, &config.store_dir, true).map_err(|error| {
        Failure::failed("the new vectors are made, and cannot be put in place")
            .because(error)
            .hint("stop the daemon over this store, then run the same command again")
    })?;
    remove(&folder)?;
    finish(&done, context)
}

/// The store that grows, empty if what it holds is for another model.
fn open_next(folder: &Path, embedder: &dyn Embedder) -> Result<Arc<dyn EmbeddingRepo>, Failure> {
    if folder.exists() {
        let next = wiring::embedded(folder, true)?;
        let recorded = next.model().map_err(store_failure)?;
        if recorded.is_none_or(|recorded| recorded == *embedder.model()) {
            return Ok(next);
        }
        drop(next);
        remove(folder)?;
    }
    std::fs::create_dir_all(folder).map_err(|error| {
        Failure::failed(format!("cannot make {}", folder.display())).because(error)
    })?;
    wiring::embedded(folder, true)
}

fn remove(folder: &Path) -> Result<(), Failure> {
    std::fs::remove_dir_all(folder).map_err(|error| {
        Failure::failed(format!("cannot remove {}", folder.display())).because(error)
    })
}

fn is_of(store: &dyn EmbeddingRepo, embedder: &dyn Embedder) -> Result<bool, Failure> {
    let stored = store.model().map_err(store_failure)?;
    Ok(stored.as_ref() == Some(embedder.model()))
}

fn already(embedder: &dyn Embedder, context: &Context) -> Outcome {
    let text = format!("the store was written with {} already", embedder.model());
    print(context, &Transferred::default(), &text)
}

fn open(place: Place, to_write: bool, config: &Config) -> Result<Arc<dyn EmbeddingRepo>, Failure> {
    match place {
        Place::Postgres => wiring::postgres_of_dsn(config),
        Place::Embedded => wiring::embedded(&config.store_dir, to_write),
    }
}

/// Runs `work` with a progress bar over the chunks of `source`.
fn with_progress(
    source: &dyn EmbeddingRepo,
    work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<Transferred, TransferError>,
) -> Result<Transferred, Failure> {
    let total = source.info().map_err(store_failure)?.chunks;
    let mut progress = Counter::start(total, "chunks");
    let outcome = work(&mut |_, chunks| progress.advance(chunks));
    progress.finish();
    outcome.map_err(stopped)
}

fn stopped(error: TransferError) -> Failure {
    let hint = error.hint();
    Failure::failed("the transfer stopped; what was stored stays, run it again to go on")
        .because(error)
        .maybe_hint(hint)
}

fn finish(done: &Transferred, context: &Context) -> Outcome {
    for refused in done.refused.iter().take(MAX_NAMED) {
        output::error(&format!("error: {refused}"));
    }
    let text = format!(
        "{} documents with {} chunks stored, {} there already, {} refused",
        done.stored,
        done.chunks,
        done.unchanged,
        done.refused.len()
    );
    print(context, done, &text)?;
    if done.refused.is_empty() {
        return Ok(());
    }
    let what = format!("{} documents were refused", done.refused.len());
    Err(Failure::failed(what).hint("the reasons are above; the other documents are stored"))
}

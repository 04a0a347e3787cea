//! `alfred serve`

mod app;
mod attendant;
mod counts;
mod door;
mod dump;
mod own;
mod policy;
mod reload;
mod runs;
mod sockets;
mod starting;
mod status;
mod tls;
mod traces;

use super::{Context, Outcome, output, providers, wiring};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::domain::{CollectionName, Filter, Mode, QueryText};
use crate::failure::Failure;
use crate::http::{self, Listener};
use crate::store::SearchRequest;
use crate::telemetry::systemd::Notifier;
use crate::telemetry::{events, logging};
use attendant::Attendant;
use clap::Args;
use door::Door;
use reload::Reloader;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// How long blocking work that was cut off may still run at the end.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Arguments of `alfred serve`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    alfred serve\n  \
    alfred serve --listen 127.0.0.1:9000 --listen unix:/tmp/alfred.sock\n  \
    alfred serve --check\n\n\
    SIGTERM and SIGINT stop it: what runs is finished, within `server.drain_timeout_s`. SIGHUP reloads \
    the configuration, SIGUSR1 writes the state of the daemon to the log. Sockets that systemd passes \
    are served instead of `server.listen`.")]
pub(super) struct ServeArgs {
    /// Listen here, as HOST:PORT or unix:/PATH; may be repeated [default: `server.listen`]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &ServeArgs, context: &Context) -> Outcome {
    let began = SystemClock.monotonic();
    let listen = (!arguments.listen.is_empty()).then(|| arguments.listen.join(","));
    let context = context.clone();
    let is_json = context.json;
    let load = move || context.config_with(&[("server.listen", listen.clone())]);
    let config = load()?;
    let door = checked(&config)?;
    if arguments.check {
        warn_of(&door);
        return if is_json {
            output::print_json(&json!({ "valid": true, "file": config.main_file }))
        } else {
            output::print("the configuration is good")
        };
    }
    logging::start(
        &config.raw.log.level,
        logging::Format::of_setting(&config.raw.log.format),
    );
    let notifier = Arc::new(Notifier::default());
    let first = reload::First {
        config,
        door,
        load: Box::new(load),
    };
    let served = open_and_serve(began, first, &notifier);
    if let Err(failure) = &served {
        notifier.status(&format!("failed: {}", failure.render().replace('\n', "; ")));
    }
    served
}

/// What is wrong with the configuration beyond single values; if nothing, who may come in.
pub(super) fn checked(config: &Config) -> Result<Door, Failure> {
    let door = Door::of(config)?;
    sockets::addresses(config, &door.policy)?;
    wiring::redis_address(config)?;
    wiring::check_dsn(config)?;
    providers::check(config)?;
    traces::target(config)?;
    Ok(door)
}

/// What is no error and worth a look, on stderr.
pub(super) fn warn_of(door: &Door) {
    if let Some(trouble) = tls::trouble(door.tls.as_ref()) {
        output::error(&format!("warning: {trouble}"));
    }
}

fn open_and_serve(began: Instant, first: reload::First, notifier: &Arc<Notifier>) -> Outcome {
    let starting = starting::Starting::begin(notifier);
    // The files of sockets go when this returns, however it does.
    let sockets = sockets::open(&first.config, &first.door)?;
    let over_tls = first.door.tls.is_some();
    tls::warn_of_trouble(first.door.tls.as_ref());
    starting.step("opening the store and the model");
    let parts = wiring::open_for_serving(&first.config)?;
    starting.step("warming up");
    warm_up(&parts);
    let exposed = sockets::exposed(&sockets.listeners, over_tls);
    let reloader = Reloader::new(first, Arc::clone(notifier), parts, exposed)?;
    let attendant = Arc::new(Attendant {
        live: reloader.begin(sockets.are_passed),
        notifier: Arc::clone(notifier),
        own: own::Own::through(&sockets.listeners, over_tls),
        reloader,
        began,
        is_stopping: AtomicBool::new(false),
    });
    counts::keep(&attendant.live)
        .map_err(|error| Failure::failed("cannot start a thread to count on").because(error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start the runtime").because(error))?;
    let stopped = runtime.block_on(serve(&attendant, sockets.listeners, starting));
    runtime.shutdown_timeout(LAST_WORK);
    attendant.reloader.dismiss();
    let stopped = stopped.map_err(|error| Failure::failed("cannot serve").because(error))?;
    events::stopped(u64::try_from(stopped.cut_requests).unwrap_or(u64::MAX));
    Ok(())
}

/// Runs the local model and a search of a local store once, so that the first caller does not wait for
/// memory to be touched. What is remote is left alone: it may be down, and a provider costs.
fn warm_up(parts: &wiring::Parts) {
    let (repo, embedder) = (parts.searcher.repo(), parts.searcher.embedder());
    if embedder.provider() != "local" {
        return;
    }
    let text = "warming up";
    // Past the cache: nobody asked.
    let (Ok(vectors), Ok(question)) = (embedder.embed(&[text]), QueryText::new(text)) else {
        return;
    };
    if repo.pool().is_some() {
        return;
    }
    // Whatever it says: the first query will say it again, to somebody.
    let _ = repo.search(&SearchRequest {
        collection: &CollectionName::default(),
        mode: Mode::Hybrid,
        text: &question,
        embedding: vectors.vectors.first(),
        filter: &Filter::default(),
        limit: 1,
    });
}

async fn serve(
    attendant: &Arc<Attendant>,
    listeners: Vec<Listener>,
    starting: starting::Starting,
) -> std::io::Result<http::Stopped> {
    // Before READY=1: a manager may send any of them from then on.
    let signals = Signals::install()?;
    let over_tls = attendant.live.app().tls().is_some();
    for listener in &listeners {
        let address = listener.url(over_tls);
        info!(address, "listening on {address}");
    }
    attendant.start(starting)?;
    let shutdown = async {
        signals.until_stop(attendant).await;
        attendant.stopping();
    };
    http::serve(Arc::clone(&attendant.live), listeners, shutdown).await
}

/// The signals that a daemon is managed with.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Ends at SIGTERM or SIGINT; answers the others.
    async fn until_stop(mut self, attendant: &Arc<Attendant>) {
        let name = loop {
            tokio::select! {
                _ = self.terminate.recv() => break "SIGTERM",
                _ = self.interrupt.recv() => break "SIGINT",
                _ = self.hangup.recv() => aside("alfred-reload", attendant, |attendant| {
                    // The outcome is in the log, the status line and `/v1/status`.
                    let _ = attendant.reloader.reload();
                }),
                _ = self.user1.recv() => aside("alfred-dump", attendant, |attendant| {
                    dump::write(attendant);
                }),
                _ = self.user2.recv() => warn!("SIGUSR2 means nothing to this version"),
            }
        };
        let in_flight = attendant.live.app().observer().in_flight();
        events::stopping(name, u64::try_from(in_flight).unwrap_or(u64::MAX));
    }
}

/// Does what blocks on a thread of its own, which works even when all others are stuck.
fn aside(name: &str, attendant: &Arc<Attendant>, work: fn(&Attendant)) {
    let attendant = Arc::clone(attendant);
    let thread = std::thread::Builder::new().name(name.to_owned());
    if let Err(error) = thread.spawn(move || work(&attendant)) {
        warn!(%error, "no thread to answer a signal on: {error}");
    }
}

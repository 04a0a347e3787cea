//! `alfred serve`

use super::{Context, Outcome, daemon, output, providers, wiring};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::failure::Failure;
use crate::http::{self, App, BindError, ListenAddress, Listener, Settings, SocketFile, UseCases};
use crate::telemetry::logging;
use clap::Args;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// How long blocking work that was cut off may still run at the end.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Arguments of `alfred serve`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    alfred serve\n  \
    alfred serve --listen 127.0.0.1:9000 --listen unix:/tmp/alfred.sock\n  \
    alfred serve --check\n\n\
    SIGTERM and SIGINT stop it: what runs is finished, within `server.drain_timeout_s`.")]
pub(super) struct ServeArgs {
    /// Listen here, as HOST:PORT or unix:/PATH; may be repeated [default: `server.listen`]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &ServeArgs, context: &Context) -> Outcome {
    let listen = (!arguments.listen.is_empty()).then(|| arguments.listen.join(","));
    let config = context.config_with(&[("server.listen", listen)])?;
    let addresses = addresses(&config)?;
    wiring::redis_address(&config)?;
    providers::check(&config)?;
    if arguments.check {
        return if context.json {
            output::print_json(&json!({ "valid": true, "file": config.main_file }))
        } else {
            output::print("the configuration is good")
        };
    }
    logging::start(
        &config.raw.log.level,
        logging::Format::of_setting(&config.raw.log.format),
    );
    // The files of sockets go when this returns, however it does.
    let (listeners, _socket_files) = bind_all(&addresses, &config)?;
    let parts = wiring::open_for_serving(&config)?;
    let app = app(&config, &parts);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start the runtime").because(error))?;
    let stopped = runtime.block_on(serve(app, listeners));
    runtime.shutdown_timeout(LAST_WORK);
    let stopped = stopped.map_err(|error| Failure::failed("cannot serve").because(error))?;
    if stopped.cut_requests > 0 {
        warn!(
            cut_requests = stopped.cut_requests,
            "stopped with requests unfinished"
        );
    } else {
        info!("stopped");
    }
    Ok(())
}

async fn serve(app: Arc<App>, listeners: Vec<Listener>) -> std::io::Result<http::Stopped> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut user1 = signal(SignalKind::user_defined1())?;
    let mut user2 = signal(SignalKind::user_defined2())?;
    let shutdown = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return info!("SIGTERM: finishing what runs"),
                _ = interrupt.recv() => return info!("SIGINT: finishing what runs"),
                _ = user1.recv() => warn!("SIGUSR1: this version has no state dump; see `alfred status`"),
                _ = user2.recv() => warn!("SIGUSR2 means nothing to this version"),
                _ = hangup.recv() => {
                    warn!("SIGHUP: this version cannot reload; restart to change the configuration");
                }
            }
        }
    };
    for listener in &listeners {
        info!(address = listener.url(), "listening");
    }
    http::serve(app, listeners, shutdown).await
}

/// The configured addresses, checked. Beyond loopback only when that was said, since there are no keys.
pub(super) fn addresses(config: &Config) -> Result<Vec<ListenAddress>, Failure> {
    let mut addresses = Vec::new();
    for text in &config.raw.server.listen {
        let address: ListenAddress = text.parse().map_err(|problem| {
            let hint = "as 127.0.0.1:8080, or unix:/run/alfred/alfred.sock";
            if config.is_from_flag("server.listen") {
                Failure::usage(format!("--listen: the address {text} {problem}")).hint(hint)
            } else {
                Failure::configuration(format!("`server.listen`: the address {text} {problem}"))
                    .hint(hint)
            }
        })?;
        if let ListenAddress::Tcp(host) = &address
            && !config.raw.server.allow_anonymous
            && !is_loopback(host)
        {
            let what = format!("`server.listen`: {text} is open to others, and anybody may ask");
            return Err(Failure::configuration(what).hint(
                "listen on 127.0.0.1 behind a proxy that checks who asks, or set \
                 `server.allow_anonymous = true`",
            ));
        }
        addresses.push(address);
    }
    if addresses.is_empty() {
        return Err(Failure::configuration("`server.listen` is empty")
            .hint("name at least one address, as [\"127.0.0.1:8080\"]"));
    }
    Ok(addresses)
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Binds what is configured, and the socket for local commands. Without the latter the daemon
/// serves all the same.
fn bind_all(
    addresses: &[ListenAddress],
    config: &Config,
) -> Result<(Vec<Listener>, Vec<SocketFile>), Failure> {
    let failed = |error: BindError| {
        let hint = error.hint();
        let source = error.source.to_string();
        Failure::failed(error.to_string())
            .because(source)
            .maybe_hint(hint)
    };
    let (mut listeners, mut files) = (Vec::new(), Vec::new());
    for address in addresses {
        listeners.push(http::bind(address).map_err(failed)?);
        files.extend(SocketFile::of(address));
    }
    let local = ListenAddress::Unix(daemon::socket_of(config));
    if !addresses.contains(&local) {
        let made = std::fs::create_dir_all(&config.store_dir);
        match made
            .map_err(|error| error.to_string())
            .and_then(|()| http::bind(&local).map_err(|error| format!("{error}: {}", error.source)))
        {
            Ok(listener) => {
                listeners.push(listener);
                files.extend(SocketFile::of(&local));
            }
            Err(problem) => warn!(problem, "local commands will not find this daemon"),
        }
    }
    Ok((listeners, files))
}

fn app(config: &Config, parts: &wiring::Parts) -> Arc<App> {
    let server = &config.raw.server;
    let settings = Settings {
        max_connections: server.max_connections,
        max_body_bytes: server.max_body_bytes,
        max_head_bytes: server.max_head_bytes,
        max_in_flight: server.max_in_flight,
        max_waiting: server.max_waiting,
        queue_timeout_ms: server.queue_timeout_ms,
        request_timeout_ms: server.request_timeout_ms,
        max_writes_in_flight: server.max_writes_in_flight,
        write_timeout_ms: server.write_timeout_ms,
        header_timeout_ms: server.header_timeout_ms,
        body_timeout_ms: server.body_timeout_ms,
        idle_timeout_ms: server.idle_timeout_ms,
        lame_duck_ms: server.lame_duck_ms,
        drain_timeout_s: server.drain_timeout_s,
        default_answer: config.raw.answer.kind,
    };
    let cases = UseCases::new(Arc::clone(&parts.searcher), Arc::clone(&parts.ingester));
    let searcher = Arc::clone(&parts.searcher);
    let provider_stats = parts.provider_stats.clone();
    let status = move || -> Map<String, Value> {
        let cache = searcher.cache();
        let mut section = json!({
            "entries": cache.entries(), "hits": cache.hits(), "misses": cache.misses(),
            "memory": {"hits": cache.memory_hits(), "misses": cache.memory_misses()},
        });
        if let Some(shared) = cache.shared() {
            section["redis"] = json!(shared);
        }
        let mut sections = Map::from_iter([("cache".to_owned(), section)]);
        if let Some(stats) = &provider_stats {
            sections.insert("provider".to_owned(), json!(stats.snapshot()));
        }
        sections
    };
    Arc::new(App::new(cases, settings, Arc::new(SystemClock)).with_status(Arc::new(status)))
}

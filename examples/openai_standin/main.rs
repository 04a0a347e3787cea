//! A stand-in for OpenAI's API, for tests and benchmarks: the real request and response shapes, and
//! every way to fail, settable at start by flags and at run time through `POST /control`.
//!
//! ```text
//! cargo run --example openai_standin -- --listen 127.0.0.1:0 --latency-ms 100
//! curl -s http://127.0.0.1:PORT/control -d '{"fail_status": 429, "retry_after": "2", "fail_count": 5}'
//! curl -s http://127.0.0.1:PORT/control        # counters and settings
//! OPENAI_API_KEY=any OPENAI_BASE_URL=http://127.0.0.1:PORT/v1 alfred serve
//! ```
//!
//! The first line on stdout is the base URL, as `http://127.0.0.1:40123/v1`.

mod behaviour;
mod chat;
mod embeddings;
mod reply;
mod state;
mod vectors;

use behaviour::Behaviour;
use clap::Parser;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use reply::{Reply, error};
use state::State;
use std::convert::Infallible;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Largest request: 2,048 inputs of some 8,192 tokens are far below it.
const BODY_MAX_BYTES: usize = 256 << 20;

#[derive(Parser)]
#[command(about = "A stand-in for OpenAI's embeddings and chat completions")]
struct Arguments {
    /// Listen here; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Refuse requests without `Authorization: Bearer KEY`
    #[arg(long, default_value = "")]
    key: String,
    /// Embed with the local model in this folder instead of hashing words
    #[arg(long)]
    model_dir: Option<PathBuf>,
    /// Dimensions of models that are not OpenAI's
    #[arg(long, default_value_t = 1_536)]
    dimensions: usize,
    #[command(flatten)]
    behaviour: Behaviour,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let vectors = vectors::Vectors::open(arguments.model_dir.as_deref(), arguments.dimensions)?;
    let state = Arc::new(State::new(arguments.key, vectors, arguments.behaviour));
    let listener = TcpListener::bind(&arguments.listen).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "http://{}/v1", listener.local_addr()?)?;
    stdout.flush()?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most often: some will be free in a moment.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            // A client that goes away in the middle is its own business.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    let body = match Limited::new(body, BODY_MAX_BYTES).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(problem) => return Ok(error(StatusCode::BAD_REQUEST, &problem.to_string())),
    };
    if path == "/control" {
        return Ok(state.control(&parts.method, &body));
    }
    let reply = route(&state, &parts, &path, &body).await;
    state.count_reply(&path, reply.status());
    Ok(reply)
}

/// A request to the API: first what goes wrong, then the key, then the work.
async fn route(state: &State, parts: &Parts, path: &str, body: &Bytes) -> Reply {
    state.keep_trace(path, &parts.headers);
    let behaviour = state.behaviour_for(path);
    tokio::time::sleep(Duration::from_millis(behaviour.latency_ms)).await;
    if behaviour.hang {
        std::future::pending::<()>().await;
    }
    if let Some(reply) = state.fault(path, &behaviour) {
        return reply;
    }
    let given = parts.headers.get("authorization");
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or("");
    if let Some(refused) = state.refuse(given) {
        return refused;
    }
    let reply = match (&parts.method, path) {
        (&Method::POST, "/v1/embeddings") => embeddings::answer(state, &behaviour, body),
        (&Method::POST, "/v1/chat/completions") => chat::answer(state, &behaviour, body),
        (&Method::GET, "/v1/models") => embeddings::models(),
        (method, _) => {
            let message = format!("Invalid URL ({method} {path})");
            return error(StatusCode::NOT_FOUND, &message);
        }
    };
    reply::damage(reply, &behaviour)
}

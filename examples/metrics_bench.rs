//! The CPU time that recording all metrics of one query takes, in µs, as one line of JSON.
//!
//! ```text
//! cargo run --release --example metrics_bench
//! ```
//!
//! What a query records on its way, on the daemon's own handles: in flight, a look into the cache that
//! finds nothing, the call to the model, a wait for a connection, the search, the answer. Two threads
//! record at once, as requests do.

use alfred::clock::{Clock as _, SystemClock};
use alfred::telemetry::metrics::{Answered, Metrics, Tier, Timer};
use std::hint::black_box;
use std::time::Duration;

const THREADS: u32 = 2;
const QUERIES: u32 = 1_000_000;
const ROUNDS: usize = 5;

/// One query, answered in a time that differs from query to query.
fn record(metrics: &Metrics, embedding: &Timer, number: u32) {
    metrics.requests.in_flight.inc();
    metrics.cache.looked(Tier::Memory, false);
    embedding.time(|| black_box(number));
    metrics
        .pool
        .waited(Duration::from_nanos(u64::from(number % 1_000)));
    metrics.repo.search.time(|| black_box(number));
    metrics.requests.answered(&Answered {
        route: "/v1/query",
        method: "POST",
        status: "200",
        duration: Duration::from_micros(u64::from(number % 400_000)),
        is_query: true,
        owed: (number.is_multiple_of(100)).then_some("search_error"),
    });
    metrics.requests.in_flight.dec();
}

/// Wall-clock time for each query of one thread, in µs.
fn round(metrics: &Metrics) -> f64 {
    let began = SystemClock.monotonic();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let embedding = metrics.embedding.of("local");
                for number in 0..QUERIES {
                    record(metrics, &embedding, number);
                }
            });
        }
    });
    began.elapsed().as_secs_f64() * 1e6 / f64::from(QUERIES)
}

#[expect(clippy::print_stdout, reason = "it is a command")]
fn main() {
    let metrics = Metrics::default();
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round(&metrics)).collect();
    rounds.sort_by(f64::total_cmp);
    println!(
        "{{\"threads\": {THREADS}, \"us_per_query\": {:.3}, \"highest\": {:.3}}}",
        rounds[ROUNDS / 2],
        rounds[ROUNDS - 1]
    );
}

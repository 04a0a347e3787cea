//! Times what lies between a query and its embedder.
//!
//!     query_cache_bench provider          a provider of 100 ms a call: calls and latency, by window
//!     query_cache_bench local MODEL_DIR   the local model: queries alone and in batches
//!     query_cache_bench redis URL         the cost of a hit in Redis
//!     query_cache_bench follow URL        one query a millisecond for 10 s: when Redis stops to answer
//!                                         and when it begins, and what the queries between cost

use alfred::clock::{Clock, Deadline, SystemClock};
use alfred::domain::{Embedding, ModelId};
use alfred::embed::{
    CachedEmbedder, EmbedError, Embedded, Embedder, Gatherer, LocalModel, RedisAddress, RedisCache,
};
use alfred::secret::Secret;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

/// What a call to the simulated provider takes, and each text in it.
const CALL: Duration = Duration::from_millis(100);
const TEXT: Duration = Duration::from_micros(200);
/// Calls a second that it takes; more get no answer.
const CALLS_MAX_PER_S: u64 = 500;
/// Callers, as a daemon has places for queries by default.
const CALLERS: usize = 64;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let out = &mut std::io::stdout().lock();
    match arguments[..] {
        ["provider"] => provider(out),
        ["local", dir] => local(Path::new(dir), out),
        ["redis", url] => redis(url, out),
        ["follow", url] => follow(url, out),
        _ => Err("usage: query_cache_bench provider|local MODEL_DIR|redis URL|follow URL".into()),
    }
}

/// Answers after [`CALL`]; counts.
struct Provider {
    id: ModelId,
    calls: AtomicU64,
    texts: AtomicU64,
    refused: AtomicU64,
    this_second: Mutex<(Instant, u64)>,
    call: Duration,
}

impl Provider {
    fn new(dimensions: usize, call: Duration) -> Arc<Self> {
        Arc::new(Self {
            id: ModelId {
                name: "simulated".to_owned(),
                dimensions,
            },
            calls: AtomicU64::new(0),
            texts: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            this_second: Mutex::new((SystemClock.monotonic(), 0)),
            call,
        })
    }

    fn is_over_limit(&self) -> bool {
        let now = SystemClock.monotonic();
        let Ok(mut second) = self.this_second.lock() else {
            return true;
        };
        if now - second.0 >= Duration::from_secs(1) {
            *second = (now, 0);
        }
        second.1 += 1;
        second.1 > CALLS_MAX_PER_S
    }
}

impl Embedder for Provider {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn max_tokens(&self) -> usize {
        8_191
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split(' ').count()
    }

    fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.texts.fetch_add(texts.len() as u64, Ordering::Relaxed);
        if !self.call.is_zero() && self.is_over_limit() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(EmbedError::Unavailable {
                provider: "simulated".to_owned(),
                problem: "429".to_owned(),
                retry_after: None,
            });
        }
        let texts_took = TEXT * u32::try_from(texts.len()).unwrap_or(u32::MAX);
        if !self.call.is_zero() {
            SystemClock.sleep(self.call + texts_took);
        }
        let one = Embedding::normalised(vec![1.0; self.id.dimensions]);
        let one = one.map_err(|error| EmbedError::Inference {
            model: self.id.name.clone(),
            texts: texts.len(),
            problem: error.to_string(),
        })?;
        Ok(Embedded {
            vectors: vec![one; texts.len()],
            tokens: texts.len() as u64,
        })
    }

    fn provider(&self) -> &'static str {
        "openai"
    }
}

/// When each query is due after the start, and which it is.
type Load = Vec<(Duration, u64)>;

/// Poisson arrivals; half of the queries were asked before.
fn steady(per_s: f64, seconds: f64) -> Load {
    let mut random = StdRng::seed_from_u64(7);
    let (mut load, mut at, mut asked) = (Load::new(), 0.0, 0_u64);
    loop {
        at += -(1.0 - random.random::<f64>()).ln() / per_s;
        if at > seconds {
            return load;
        }
        let repeats = asked > 0 && random.random_bool(0.5);
        let which = if repeats {
            random.random_range(0..asked)
        } else {
            asked
        };
        asked += u64::from(!repeats);
        load.push((Duration::from_secs_f64(at), which));
    }
}

/// `size` different queries at once, every 300 ms.
fn bursts(size: u64, count: u64) -> Load {
    (0..count * size)
        .map(|number| (Duration::from_millis(300 * (number / size)), number))
        .collect()
}

fn provider(out: &mut impl Write) -> Result<(), Failure> {
    let loads = [
        ("200/s", steady(200.0, 10.0)),
        ("1000/s", steady(1_000.0, 5.0)),
        ("bursts of 32", bursts(32, 20)),
    ];
    for (name, load) in loads {
        let distinct: HashSet<u64> = load.iter().map(|(_, which)| *which).collect();
        writeln!(
            out,
            "{name}: {} queries, {} distinct",
            load.len(),
            distinct.len()
        )?;
        for window_ms in [0, 1, 2, 5, 20] {
            let provider = Provider::new(384, CALL);
            let embedder: Arc<dyn Embedder> = provider.clone();
            let window = Duration::from_millis(window_ms);
            let gatherer = Gatherer::new(Arc::clone(&embedder), 128).with_window(window);
            let cache = CachedEmbedder::new(embedder, 1_000_000).gathering(gatherer);
            let (times, failed) = play(&cache, &load);
            writeln!(
                out,
                "  window {window_ms:2} ms: {} calls ({} refused), {:.2} texts a call, {failed} failed, \
                 misses p50 {:.1} p95 {:.1} p99 {:.1} ms",
                provider.calls.load(Ordering::Relaxed),
                provider.refused.load(Ordering::Relaxed),
                ratio(&provider.texts, &provider.calls),
                percentile(&times, 50),
                percentile(&times, 95),
                percentile(&times, 99),
            )?;
        }
    }
    Ok(())
}

/// Asks every query when it is due; times from then on of those that were not in the cache, sorted,
/// and how many failed.
fn play(cache: &CachedEmbedder, load: &Load) -> (Vec<Duration>, usize) {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let times = Mutex::new(Vec::new());
    let start = SystemClock.monotonic() + Duration::from_millis(50);
    let ask = || {
        while let Some((due, which)) = load.get(next.fetch_add(1, Ordering::Relaxed)) {
            let due = start + *due;
            SystemClock.sleep(due.saturating_duration_since(SystemClock.monotonic()));
            match cache.embed_query(&format!("query {which}"), Deadline::NONE) {
                Ok(made) if !made.cached => {
                    let time = SystemClock.monotonic() - due;
                    times
                        .lock()
                        .map(|mut times| times.push(time))
                        .unwrap_or_default();
                }
                Ok(_) => {}
                Err(_) => _ = failed.fetch_add(1, Ordering::Relaxed),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(ask);
        }
    });
    let mut times = times.into_inner().unwrap_or_default();
    times.sort_unstable();
    (times, failed.into_inner())
}

/// Eight callers with different short questions, one after the other.
fn local(dir: &Path, out: &mut impl Write) -> Result<(), Failure> {
    const EACH: usize = 60;
    let model: Arc<dyn Embedder> = Arc::new(LocalModel::open(dir, 2)?);
    let words = [
        "upgrade", "chart", "store", "backup", "token", "limit", "restart", "cache",
    ];
    for (name, window_ms) in [("alone", 0), ("in batches", 2)].repeat(3) {
        let gatherer =
            Gatherer::new(Arc::clone(&model), 8).with_window(Duration::from_millis(window_ms));
        let (times, took) = by_many(8, EACH, |caller, number| {
            let (word, other) = (words[(caller + number) % 8], words[caller]);
            let text = format!("How do I {word} the {other} number {number}?");
            gatherer.embed(&text, Deadline::NONE).is_ok()
        });
        writeln!(
            out,
            "{name}: {:.0} queries/s, p50 {:.1} p95 {:.1} ms",
            per_second(times.len(), took),
            percentile(&times, 50),
            percentile(&times, 95)
        )?;
    }
    Ok(())
}

fn redis(url: &str, out: &mut impl Write) -> Result<(), Failure> {
    const HITS: usize = 20_000;
    for dimensions in [384, 1_536] {
        let address = RedisAddress::parse(&Secret::new(url))?;
        let redis = RedisCache::start(address, Duration::from_millis(20))?;
        let model: Arc<dyn Embedder> = Provider::new(dimensions, Duration::ZERO);
        let cache = CachedEmbedder::new(model, 0).with_shared(Box::new(redis));
        // Different ones, so that callers do not share a look.
        let ask = |caller: usize| {
            let made = cache.embed_query(&format!("query {caller}"), Deadline::NONE);
            made.is_ok_and(|made| made.cached)
        };
        for callers in [1, 8] {
            while !(0..callers).all(ask) {
                SystemClock.sleep(Duration::from_millis(10));
            }
            let (times, took) = by_many(callers, HITS / callers, |caller, _| ask(caller));
            writeln!(
                out,
                "{dimensions} dimensions, {callers} callers: {} hits, p50 {:.0} p99 {:.0} us, {:.0}/s",
                times.len(),
                percentile(&times, 50) * 1e3,
                percentile(&times, 99) * 1e3,
                per_second(times.len(), took)
            )?;
        }
        writeln!(out, "{:?}", cache.shared())?;
    }
    Ok(())
}

/// The model takes no time here, so all that is measured is the cache.
fn follow(url: &str, out: &mut impl Write) -> Result<(), Failure> {
    let address = RedisAddress::parse(&Secret::new(url))?;
    let redis = RedisCache::start(address, Duration::from_millis(20))?;
    let model: Arc<dyn Embedder> = Provider::new(384, Duration::ZERO);
    let cache = CachedEmbedder::new(model, 0).with_shared(Box::new(redis));
    let start = SystemClock.monotonic();
    let (mut was_cached, mut times) = (false, Vec::new());
    while start.elapsed() < Duration::from_secs(10) {
        let asked = SystemClock.monotonic();
        let is_cached = cache.embed_query("a query", Deadline::NONE)?.cached;
        if is_cached != was_cached {
            times.sort_unstable();
            writeln!(
                out,
                "{:.3} s: found {is_cached} after {} queries with p50 {:.1} p99 {:.1} max {:.1} us",
                start.elapsed().as_secs_f64(),
                times.len(),
                percentile(&times, 50) * 1e3,
                percentile(&times, 99) * 1e3,
                percentile(&times, 100) * 1e3
            )?;
            out.flush()?;
            times.clear();
            was_cached = is_cached;
        }
        times.push(SystemClock.monotonic() - asked);
        SystemClock.sleep(Duration::from_millis(1));
    }
    writeln!(out, "{:?}", cache.shared())?;
    Ok(())
}

/// Has each of `callers` ask `each` times in a row; the times of those that succeeded, sorted, and
/// that of everything.
fn by_many(
    callers: usize,
    each: usize,
    ask: impl Fn(usize, usize) -> bool + Sync,
) -> (Vec<Duration>, Duration) {
    let run = |caller: usize| {
        let mut times = Vec::with_capacity(each);
        for number in 0..each {
            let start = SystemClock.monotonic();
            if ask(caller, number) {
                times.push(SystemClock.monotonic() - start);
            }
        }
        times
    };
    let start = SystemClock.monotonic();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let run = &run;
        let callers: Vec<_> = (0..callers)
            .map(|caller| scope.spawn(move || run(caller)))
            .collect();
        let joined = callers.into_iter().filter_map(|caller| caller.join().ok());
        joined.flatten().collect()
    });
    let took = SystemClock.monotonic() - start;
    times.sort_unstable();
    (times, took)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a short run")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// In milliseconds; of times that are sorted.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times
        .get(at)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a short run")]
fn ratio(a: &AtomicU64, b: &AtomicU64) -> f64 {
    a.load(Ordering::Relaxed) as f64 / b.load(Ordering::Relaxed) as f64
}

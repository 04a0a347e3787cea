//! Times the local embedding model alone; `perf/bench/embedding` runs it beside another runtime.
//!
//!     embed_bench MODEL_DIR open
//!     embed_bench MODEL_DIR serve      reads `query TOKENS N` and `bulk TOKENS TEXTS N` lines on
//!                                      stdin, answers each with a line of milliseconds
//!     embed_bench MODEL_DIR tokens FILE
//!     embed_bench MODEL_DIR cache

use alfred::clock::{Clock, Deadline, SystemClock};
use alfred::embed::{CachedEmbedder, Embedder, LocalModel};
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

/// Hits of the cache that are timed.
const HITS: u32 = 1_000_000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let out = &mut std::io::stdout().lock();
    match arguments[..] {
        [dir, "open"] => {
            let (_, ms) = timed(|| LocalModel::open(Path::new(dir), 2))?;
            writeln!(out, "{ms:.1}")?;
        }
        [dir, "serve"] => serve(dir, out)?,
        [dir, "tokens", file] => {
            let model = LocalModel::open(Path::new(dir), 1)?;
            let text = std::fs::read_to_string(file)?;
            let (tokens, ms) = timed(|| {
                let sentences = text.split_inclusive(['.', '\n']);
                Ok::<_, Failure>(
                    sentences
                        .map(|part| model.count_tokens(part))
                        .sum::<usize>(),
                )
            })?;
            writeln!(out, "{} bytes, {tokens} tokens, {ms:.1} ms", text.len())?;
        }
        [dir, "cache"] => {
            let cache = CachedEmbedder::new(Arc::new(LocalModel::open(Path::new(dir), 1)?), 100);
            let text = "How do I upgrade the Helm chart?";
            cache.embed_query(text, Deadline::NONE)?;
            let ((), ms) = timed(|| {
                (0..HITS).try_for_each(|_| cache.embed_query(text, Deadline::NONE).map(drop))
            })?;
            writeln!(out, "{:.2} us a hit", ms * 1e3 / f64::from(HITS))?;
        }
        _ => return Err("usage: embed_bench MODEL_DIR open|serve|tokens FILE|cache".into()),
    }
    Ok(())
}

fn serve(dir: &str, out: &mut impl Write) -> Result<(), Failure> {
    let (one, two) = (
        LocalModel::open(Path::new(dir), 1)?,
        LocalModel::open(Path::new(dir), 2)?,
    );
    writeln!(out, "ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let (model, texts, tokens, count): (_, usize, usize, usize) = match words[..] {
            ["query", tokens, count] => (&one, 1, tokens.parse()?, count.parse()?),
            ["bulk", tokens, texts, count] => {
                (&two, texts.parse()?, tokens.parse()?, count.parse()?)
            }
            _ => return Err(format!("what is {line:?}?").into()),
        };
        // One-token words, and the two special tokens.
        let text = "word ".repeat(tokens - 2);
        let texts = vec![text.as_str(); texts];
        let mut times = Vec::new();
        for _ in 0..count {
            let (embedded, ms) = timed(|| model.embed(&texts))?;
            assert_eq!(embedded.tokens, u64::try_from(tokens * texts.len())?);
            times.push(format!("{ms:.4}"));
        }
        writeln!(out, "{}", times.join(" "))?;
        out.flush()?;
    }
    Ok(())
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, f64), E> {
    let start = SystemClock.monotonic();
    let value = work()?;
    Ok((value, (SystemClock.monotonic() - start).as_secs_f64() * 1e3))
}

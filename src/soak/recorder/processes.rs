//! Evidence from /proc: threads and what they wait for, memory, descriptors by kind. What another user's
//! process does not show without the right to trace it is named as missing.

use super::piece::{Piece, plain};
use crate::soak::sampler::process::number_after;
use crate::soak::units::show_count;
use procfs::process::Process;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// What the file is called, and what is missing without it.
const WHAT: &str = "threads, memory and descriptors of the unit (/proc)";
/// Most processes, threads and descriptors that are looked at.
const MAX_PROCESSES: usize = 64;
const MAX_THREADS: usize = 4_096;
const MAX_DESCRIPTORS: usize = 20_000;
/// Kinds of descriptors, and places in which threads wait, that the summary names.
const NAMED: usize = 3;

/// A thread at one moment.
#[derive(Clone, Debug, Default)]
struct Thread {
    id: i32,
    name: String,
    state: char,
    /// The kernel function that it waits in, where that may be read.
    waits_in: Option<String>,
    user_ticks: u64,
    system_ticks: u64,
}

/// Counts of the processes together.
#[derive(Clone, Debug, Default)]
struct Totals {
    threads: Vec<Thread>,
    descriptors: BTreeMap<String, u64>,
    most_descriptors: Option<u64>,
    rss_bytes: u64,
    anon_bytes: u64,
    swap_bytes: u64,
}

/// `processes.txt` of the processes `pids`; `who` they are, in words.
pub(super) fn take(pids: &[i32], who: &str, max_bytes: u64) -> Piece {
    let mut text = String::new();
    let mut totals = Totals::default();
    let mut refused: Vec<String> = Vec::new();
    let mut found = 0_u64;
    for pid in pids.iter().take(MAX_PROCESSES) {
        let Ok(process) = Process::new(*pid) else {
            continue;
        };
        found += 1;
        describe(&process, &mut text, &mut totals, &mut refused);
    }
    if found == 0 {
        return Piece::missing(WHAT, &format!("no process of {who} lives"));
    }
    let ticks = format!("ticks of 1/{} s", procfs::ticks_per_second());
    let text = format!("{who}: {found} processes; CPU times of threads are {ticks}\n\n{text}");
    let mut piece = Piece::file("processes.txt", WHAT, text.into_bytes(), max_bytes);
    for line in summary(&totals) {
        piece.say(&line);
    }
    refused.sort();
    refused.dedup();
    for what in refused {
        let why =
            "another user's process, and no right to trace it (see sampling.conf in docs/soak.md)";
        piece.lacks(&what, why);
    }
    piece
}

fn describe(process: &Process, text: &mut String, totals: &mut Totals, refused: &mut Vec<String>) {
    let folder = std::path::PathBuf::from(format!("/proc/{}", process.pid()));
    let name = process.stat().map(|stat| stat.comm).unwrap_or_default();
    let _ = writeln!(text, "process {} ({})", process.pid(), plain(&name, 64));
    for (file, what) in [
        ("status", ""),
        ("smaps_rollup", "PSS (smaps_rollup)"),
        ("limits", ""),
    ] {
        match std::fs::read_to_string(folder.join(file)) {
            Ok(content) => {
                let _ = writeln!(
                    text,
                    "\n{file}:\n{}",
                    super::piece::plain_lines(content.trim_end())
                );
                if file == "status" {
                    totals.add_memory(&content);
                } else if file == "limits" {
                    totals.most_descriptors =
                        descriptor_limit(&content).or(totals.most_descriptors);
                }
            }
            Err(error) => {
                let _ = writeln!(text, "\n{file}: {error}");
                if !what.is_empty() {
                    refused.push(what.to_owned());
                }
            }
        }
    }
    let room = MAX_THREADS.saturating_sub(totals.threads.len());
    let threads = threads(process, room);
    let _ = writeln!(
        text,
        "\nthreads: id, name, state, waits in, CPU time in user and in system mode"
    );
    for thread in &threads {
        let _ = writeln!(
            text,
            "{:>9}  {:<16}  {}  {:<32}  {:>8}  {:>8}",
            thread.id,
            thread.name,
            thread.state,
            thread.waits_in.as_deref().unwrap_or("-"),
            thread.user_ticks,
            thread.system_ticks
        );
    }
    totals.threads.extend(threads);
    let seen: u64 = totals.descriptors.values().sum();
    let room = MAX_DESCRIPTORS.saturating_sub(usize::try_from(seen).unwrap_or(usize::MAX));
    match descriptors(&folder.join("fd"), room) {
        Ok(kinds) => {
            let _ = writeln!(text, "\ndescriptors by kind:");
            for (kind, count) in by_count(&kinds) {
                let _ = writeln!(text, "{count:>9}  {kind}");
            }
            for (kind, count) in kinds {
                *totals.descriptors.entry(kind).or_default() += count;
            }
        }
        Err(error) => {
            let _ = writeln!(text, "\ndescriptors: {error}");
            refused.push("descriptors".to_owned());
        }
    }
    text.push('\n');
}

impl Totals {
    fn add_memory(&mut self, status: &str) {
        let bytes = |name: &str| number_after(status, name).unwrap_or(0) * 1_024;
        self.rss_bytes += bytes("VmRSS:");
        self.anon_bytes += bytes("RssAnon:");
        self.swap_bytes += bytes("VmSwap:");
    }
}

fn threads(process: &Process, most: usize) -> Vec<Thread> {
    let Ok(tasks) = process.tasks() else {
        return Vec::new();
    };
    let read = |task: procfs::process::Task| {
        let stat = task.stat().ok()?;
        let place = format!("/proc/{}/task/{}/wchan", task.pid, task.tid);
        let waits_in = std::fs::read_to_string(place).ok();
        Some(Thread {
            id: task.tid,
            name: plain(&stat.comm, 16),
            state: stat.state,
            waits_in: waits_in.filter(|place| !place.is_empty() && place != "0"),
            user_ticks: stat.utime,
            system_ticks: stat.stime,
        })
    };
    tasks.flatten().take(most).filter_map(read).collect()
}

/// How many descriptors of each kind are in a `/proc/PID/fd`.
fn descriptors(folder: &Path, most: usize) -> std::io::Result<BTreeMap<String, u64>> {
    let mut kinds = BTreeMap::new();
    for entry in std::fs::read_dir(folder)?.take(most) {
        // One that was closed meanwhile is none any more.
        let Ok(target) = entry.and_then(|entry| std::fs::read_link(entry.path())) else {
            continue;
        };
        *kinds.entry(kind(&target.to_string_lossy())).or_default() += 1;
    }
    Ok(kinds)
}

/// `socket`, `pipe`, `anon_inode:[eventpoll]`, a device, or a folder of files.
fn kind(target: &str) -> String {
    if let Some((kind, _)) = target
        .split_once(":[")
        .filter(|(kind, _)| *kind != "anon_inode")
    {
        return plain(kind, 32);
    }
    if !target.starts_with('/') || target.starts_with("/dev/") {
        return plain(target, 64);
    }
    let deleted = if target.ends_with(" (deleted)") {
        " (deleted)"
    } else {
        ""
    };
    let folder = target.rsplit_once('/').map_or("", |(folder, _)| folder);
    // Three levels: /var/lib/alfred.
    let end = folder
        .match_indices('/')
        .nth(3)
        .map_or(folder.len(), |(place, _)| place);
    format!("files in {}/{deleted}", plain(&folder[..end], 64))
}

/// The soft limit of descriptors in a `/proc/PID/limits`.
fn descriptor_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn by_count(kinds: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut sorted: Vec<(&str, u64)> = kinds.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
    sorted.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    sorted
}

fn summary(totals: &Totals) -> Vec<String> {
    let mut lines = vec![states(&totals.threads)];
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    for thread in &totals.threads {
        if let Some(place) = &thread.waits_in {
            *places.entry(place.clone()).or_default() += 1;
        }
    }
    if !places.is_empty() {
        let named: Vec<String> = by_count(&places)
            .into_iter()
            .take(NAMED)
            .map(|(place, count)| format!("{} in {place}", show_count(count)))
            .collect();
        lines.push(format!("threads wait: {}", named.join(", ")));
    }
    let all: u64 = totals.descriptors.values().sum();
    if all > 0 {
        let named: Vec<String> = by_count(&totals.descriptors)
            .into_iter()
            .take(NAMED)
            .map(|(kind, count)| format!("{} {kind}", show_count(count)))
            .collect();
        let mut line = format!("{} descriptors: {}", show_count(all), named.join(", "));
        if let Some(most) = totals.most_descriptors {
            let _ = write!(line, "; at most {}", show_count(most));
        }
        lines.push(line);
    }
    let mib = |bytes: u64| show_count(bytes / 1_048_576);
    lines.push(format!(
        "memory: RSS {} MiB, anonymous {} MiB, swapped out {} MiB",
        mib(totals.rss_bytes),
        mib(totals.anon_bytes),
        mib(totals.swap_bytes)
    ));
    lines
}

/// `14 threads: 11 sleeping, 2 running, 1 in D (alfred-blocking in folio_wait_bit)`.
fn states(threads: &[Thread]) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for thread in threads {
        *counts.entry(state_name(thread.state)).or_default() += 1;
    }
    let mut sorted: Vec<(&str, u64)> = counts.into_iter().collect();
    sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let named: Vec<String> = sorted
        .into_iter()
        .map(|(name, count)| {
            let mut text = format!("{} {name}", show_count(count));
            let blocked = threads.iter().find(|thread| thread.state == 'D');
            if let Some(thread) = blocked.filter(|_| name == "in D") {
                let place = thread.waits_in.as_deref().unwrap_or("an unknown place");
                let _ = write!(text, " ({} in {place})", thread.name);
            }
            text
        })
        .collect();
    format!(
        "{} threads: {}",
        show_count(threads.len() as u64),
        named.join(", ")
    )
}

fn state_name(state: char) -> &'static str {
    match state {
        'R' => "running",
        'S' => "sleeping",
        'I' => "idle",
        'D' => "in D",
        'T' => "stopped",
        't' => "traced",
        'Z' | 'X' => "dead",
        _ => "in another state",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_have_kinds() {
        for (target, expected) in [
            ("socket:[123]", "socket"),
            ("pipe:[9]", "pipe"),
            ("anon_inode:[eventpoll]", "anon_inode:[eventpoll]"),
            ("/dev/null", "/dev/null"),
            ("/memfd:x (deleted)", "files in / (deleted)"),
            ("/var/lib/alfred/a/b/alfred.db", "files in /var/lib/alfred/"),
            ("/tmp/x\u{1b}[2J/y", "files in /tmp/x·[2J/"),
            ("/etc/passwd", "files in /etc/"),
        ] {
            assert_eq!(kind(target), expected, "{target}");
        }
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024   524288   files\n";
        assert_eq!(descriptor_limit(limits), Some(1_024));
    }

    #[test]
    fn the_thread_that_is_stuck_stands_out() {
        let thread = |state, name: &str, place: Option<&str>| Thread {
            state,
            name: name.to_owned(),
            waits_in: place.map(str::to_owned),
            ..Thread::default()
        };
        let mut threads = vec![thread('S', "tokio", Some("futex_wait_queue")); 11];
        threads.push(thread('R', "main", None));
        threads.push(thread('D', "alfred-blocking", Some("folio_wait_bit")));
        let expected =
            "13 threads: 11 sleeping, 1 in D (alfred-blocking in folio_wait_bit), 1 running";
        assert_eq!(states(&threads), expected);
        let totals = Totals {
            threads,
            descriptors: BTreeMap::from([("socket".to_owned(), 3_050), ("pipe".to_owned(), 70)]),
            most_descriptors: Some(65_536),
            rss_bytes: 300 << 20,
            ..Totals::default()
        };
        let lines = summary(&totals);
        assert_eq!(
            lines[1],
            "threads wait: 11 in futex_wait_queue, 1 in folio_wait_bit"
        );
        assert_eq!(
            lines[2],
            "3,120 descriptors: 3,050 socket, 70 pipe; at most 65,536"
        );
        assert_eq!(
            lines[3],
            "memory: RSS 300 MiB, anonymous 0 MiB, swapped out 0 MiB"
        );
    }

    #[test]
    fn this_process_is_described_with_its_threads_and_descriptors() {
        let pid = std::process::id().cast_signed();
        let piece = take(&[pid, i32::MAX], "this test", 1 << 20);
        let text = String::from_utf8(piece.files[0].1.clone()).unwrap();
        for part in [
            "VmRSS",
            "Max open files",
            "Pss:",
            "descriptors by kind",
            "threads: id",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(piece.missing.is_empty(), "{:?}", piece.missing);
        assert!(piece.summary.len() >= 3, "{:?}", piece.summary);
        let gone = take(&[i32::MAX], "x.service", 1 << 20);
        assert_eq!(gone.missing[0].why, "no process of x.service lives");
    }
}

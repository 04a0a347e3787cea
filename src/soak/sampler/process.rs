//! What a set of processes uses, from /proc. A process that may not be looked into (PSS, descriptors
//! and disk bytes need the same rights as a debugger) leaves those fields out.

use super::machine::since;
use super::record::UnitSample;
use procfs::process::{Process, all_processes};
use std::collections::{BTreeMap, BTreeSet};

/// Most processes that are looked into.
const MAX_PROCESSES: usize = 4_096;

/// One process at one moment.
#[derive(Clone, Debug, Default)]
struct One {
    /// With the pid this names a process for good.
    started_ticks: u64,
    /// Its own CPU time and that of children it waited for.
    cpu_ticks: u64,
    threads: u64,
    rss_bytes: Option<u64>,
    pss_bytes: Option<u64>,
    anon_bytes: Option<u64>,
    descriptors: Option<u64>,
    voluntary: Option<u64>,
    involuntary: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
}

/// The processes at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct ProcessReading(BTreeMap<i32, One>);

impl ProcessReading {
    /// Reads those of `pids` that live.
    pub(super) fn take(pids: impl IntoIterator<Item = i32>) -> Self {
        let read = |pid| read(pid).map(|one| (pid, one));
        Self(
            pids.into_iter()
                .take(MAX_PROCESSES)
                .filter_map(read)
                .collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they use now, and what they used since `before`.
    pub(super) fn since(&self, before: &Self) -> UnitSample {
        if self.0.is_empty() {
            return UnitSample {
                processes: Some(0),
                ..UnitSample::default()
            };
        }
        let level = |of: fn(&One) -> Option<u64>| self.0.values().map(of).sum::<Option<u64>>();
        let gained = |of: fn(&One) -> Option<u64>| {
            self.0
                .iter()
                .map(|(pid, now)| match before.0.get(pid) {
                    Some(then) if then.started_ticks == now.started_ticks => {
                        // A thread that ended takes its share of some counters along.
                        Some(since(of(now), of(then)).unwrap_or_default())
                            .filter(|_| of(now).is_some())
                    }
                    _ => of(now),
                })
                .sum::<Option<u64>>()
        };
        UnitSample {
            processes: Some(self.0.len() as u64),
            threads: level(|one| Some(one.threads)),
            rss_bytes: level(|one| one.rss_bytes),
            pss_bytes: level(|one| one.pss_bytes),
            anon_bytes: level(|one| one.anon_bytes),
            descriptors: level(|one| one.descriptors),
            cpu_s: gained(|one| Some(one.cpu_ticks)).map(super::ticks_s),
            voluntary_switches: gained(|one| one.voluntary),
            involuntary_switches: gained(|one| one.involuntary),
            read_bytes: gained(|one| one.read_bytes),
            written_bytes: gained(|one| one.written_bytes),
            ..UnitSample::default()
        }
    }
}

fn read(pid: i32) -> Option<One> {
    let process = Process::new(pid).ok()?;
    let stat = process.stat().ok()?;
    let status = process.status().ok()?;
    let io = process.io().ok();
    let bytes = |kib: Option<u64>| kib.map(|kib| kib * 1_024);
    let children = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
    Some(One {
        started_ticks: stat.starttime,
        cpu_ticks: stat.utime + stat.stime + children,
        threads: status.threads,
        rss_bytes: bytes(status.vmrss),
        pss_bytes: pss_bytes(pid),
        anon_bytes: bytes(status.rssanon),
        descriptors: process.fd_count().ok().map(|count| count as u64),
        // Of all threads, where they may be read: the file of the process has its first one's alone.
        voluntary: switches(pid, "voluntary_ctxt_switches:"),
        involuntary: switches(pid, "nonvoluntary_ctxt_switches:"),
        read_bytes: io.as_ref().map(|io| io.read_bytes),
        written_bytes: io.as_ref().map(|io| io.write_bytes),
    })
}

fn pss_bytes(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    number_after(&text, "Pss:").map(|kib| kib * 1_024)
}

fn switches(pid: i32, name: &str) -> Option<u64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("status")).ok()?;
        number_after(&text, name)
    };
    Some(threads.flatten().filter_map(of).sum())
}

pub(in crate::soak) fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `pid` and all that descend from it.
pub(in crate::soak) fn family(pid: i32) -> BTreeSet<i32> {
    let mut parents = BTreeMap::new();
    if let Ok(processes) = all_processes() {
        for process in processes.flatten() {
            if let Ok(stat) = process.stat() {
                parents.insert(stat.pid, stat.ppid);
            }
        }
    }
    descendants(pid, &parents)
}

fn descendants(pid: i32, parents: &BTreeMap<i32, i32>) -> BTreeSet<i32> {
    let mut family = BTreeSet::from([pid]);
    loop {
        let before = family.len();
        let children = parents.iter().filter(|(_, parent)| family.contains(parent));
        let children: Vec<i32> = children.map(|(child, _)| *child).collect();
        family.extend(children);
        if family.len() == before {
            return family;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_whole_family() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1)]);
        assert_eq!(descendants(2, &parents), BTreeSet::from([2, 3, 4]));
        assert_eq!(descendants(9, &parents), BTreeSet::from([9]));
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id().cast_signed();
        let before = ProcessReading::take([pid]);
        let sample = ProcessReading::take([pid]).since(&before);
        assert!(sample.rss_bytes.unwrap() > 1_000_000, "{sample:?}");
        assert!(sample.descriptors.unwrap() >= 3, "{sample:?}");
        assert!(sample.threads.unwrap() >= 2, "{sample:?}");
        assert!(
            sample.cpu_s.is_some() && sample.pss_bytes.is_some(),
            "{sample:?}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let of = |descriptors, cpu_ticks| One {
            started_ticks: 7,
            cpu_ticks,
            descriptors,
            ..One::default()
        };
        let before = ProcessReading(BTreeMap::from([(1, of(Some(3), 100))]));
        let now = ProcessReading(BTreeMap::from([(1, of(Some(4), 150)), (2, of(None, 50))]));
        let sample = now.since(&before);
        assert_eq!(sample.descriptors, None);
        assert_eq!(sample.cpu_s, Some(super::super::ticks_s(100)));
        let anew = One {
            started_ticks: 8,
            ..of(Some(1), 30)
        };
        let restarted = ProcessReading(BTreeMap::from([(1, anew)]));
        assert_eq!(restarted.since(&now).cpu_s, Some(super::super::ticks_s(30)));
        assert_eq!(ProcessReading::default().since(&now).processes, Some(0));
    }
}

//! `process_*`, as Prometheus' client libraries have them.
//!
//! Read here and not by the collector of the crate: that one cuts CPU time to whole seconds, which
//! makes a rate over a minute wrong by a sixtieth of a core.

use super::readings::{Reading, Readings};
use procfs::process::{LimitValue, Process, Stat};

pub(super) fn readings() -> Readings {
    let readings = [
        Reading::counter(
            "process_cpu_seconds_total",
            "User and system CPU time, in s.",
        ),
        Reading::gauge("process_open_fds", "Open file descriptors."),
        Reading::gauge("process_max_fds", "Most open file descriptors."),
        Reading::gauge("process_virtual_memory_bytes", "Virtual memory."),
        Reading::gauge("process_resident_memory_bytes", "Resident memory."),
        Reading::gauge(
            "process_start_time_seconds",
            "When the process started, in s since 1970.",
        ),
        Reading::gauge("process_threads", "Threads."),
    ];
    Readings::new(&readings, read)
}

/// In the order of the readings.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn read() -> Vec<Option<f64>> {
    let process = Process::myself().ok();
    let process = process.as_ref();
    let stat = process.and_then(|process| process.stat().ok());
    let of_stat = |value: fn(&Stat) -> f64| stat.as_ref().map(value);
    let limits = process.and_then(|process| process.limits().ok());
    let max_fds = limits.map(|limits| match limits.max_open_files.soft_limit {
        LimitValue::Value(most) => most as f64,
        LimitValue::Unlimited => f64::INFINITY,
    });
    let ticks_per_s = procfs::ticks_per_second() as f64;
    let boot_s = procfs::boot_time_secs().ok();
    let started = stat.as_ref().zip(boot_s);
    vec![
        of_stat(|stat| (stat.utime + stat.stime) as f64).map(|ticks| ticks / ticks_per_s),
        process.and_then(|process| Some(process.fd_count().ok()? as f64)),
        max_fds,
        of_stat(|stat| stat.vsize as f64),
        of_stat(|stat| (stat.rss * procfs::page_size()) as f64),
        started.map(|(stat, boot_s)| boot_s as f64 + stat.starttime as f64 / ticks_per_s),
        of_stat(|stat| stat.num_threads as f64),
    ]
}

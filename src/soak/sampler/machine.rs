//! How the machine is: pressure, load, steal, memory. Source: proc(5) and the kernel's PSI.

use super::record::HostSample;
use crate::program::ask;
use procfs::{
    CpuPressure, Current as _, CurrentSI as _, IoPressure, KernelStats, LoadAverage, Meminfo,
    MemoryPressure,
};
use std::time::Duration;

/// systemd answers in milliseconds; one that is busy going down may take longer.
const SYSTEMD_PATIENCE: Duration = Duration::from_secs(2);

/// Counters of the machine at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct HostReading {
    /// Microseconds of CPU, memory and IO pressure.
    pressure_us: [Option<u64>; 3],
    steal_ticks: Option<u64>,
    busy_ticks: Option<u64>,
    levels: HostSample,
}

impl HostReading {
    pub(super) fn take() -> Self {
        let memory = Meminfo::current().ok();
        let cpu = KernelStats::current().ok().map(|stats| stats.total);
        Self {
            pressure_us: [
                CpuPressure::current().ok().map(|psi| psi.some.total),
                MemoryPressure::current().ok().map(|psi| psi.some.total),
                IoPressure::current().ok().map(|psi| psi.some.total),
            ],
            steal_ticks: cpu.as_ref().and_then(|cpu| cpu.steal),
            busy_ticks: cpu.as_ref().map(|cpu| {
                cpu.user + cpu.nice + cpu.system + cpu.irq.unwrap_or(0) + cpu.softirq.unwrap_or(0)
            }),
            levels: HostSample {
                load_1min: LoadAverage::current().ok().map(|load| f64::from(load.one)),
                available_bytes: memory.as_ref().and_then(|memory| memory.mem_available),
                free_bytes: memory.as_ref().map(|memory| memory.mem_free),
                ..HostSample::default()
            },
        }
    }

    /// What happened since `before`.
    pub(super) fn since(&self, before: &Self) -> HostSample {
        let us = |place: usize| {
            since(self.pressure_us[place], before.pressure_us[place])
                .map(|us| super::round(super::float(us) / 1e6))
        };
        let ticks = |now, then| since(now, then).map(super::ticks_s);
        HostSample {
            cpu_pressure_s: us(0),
            memory_pressure_s: us(1),
            io_pressure_s: us(2),
            steal_s: ticks(self.steal_ticks, before.steal_ticks),
            cpu_s: ticks(self.busy_ticks, before.busy_ticks),
            ..self.levels.clone()
        }
    }
}

/// What a counter gained; nothing when it was not read, or began anew.
pub(super) fn since(now: Option<u64>, then: Option<u64>) -> Option<u64> {
    now?.checked_sub(then?)
}

/// Resident memory of this process.
pub(in crate::soak) fn own_rss_bytes() -> Option<u64> {
    let status = procfs::process::Process::myself().ok()?.status().ok()?;
    status.vmrss.map(|kib| kib * 1_024)
}

/// Whether systemd is taking the machine down: then a signal is no wish of anybody's to end the run.
pub(in crate::soak) fn is_going_down() -> bool {
    ask("systemctl", &["is-system-running"], SYSTEMD_PATIENCE, 100)
        .is_ok_and(|state| state.trim() == "stopping")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let before = HostReading::take();
        let sample = HostReading::take().since(&before);
        assert!(sample.free_bytes.unwrap() > 0);
        assert!(sample.load_1min.unwrap() >= 0.0);
        assert!(sample.cpu_s.unwrap() >= 0.0);
        assert!(own_rss_bytes().unwrap() > 1_000_000);
        assert!(!is_going_down());
    }

    #[test]
    fn a_counter_that_began_anew_says_nothing() {
        assert_eq!(since(Some(5), Some(3)), Some(2));
        assert_eq!(since(Some(3), Some(5)), None);
        assert_eq!(since(None, Some(5)), None);
    }
}

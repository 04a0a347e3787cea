//! What is sampled, as `windows.jsonl` has it. Every field may be missing: what could not be read is
//! left out, never 0.
//!
//! A reading is taken shortly before the end of each window. Levels are as they were then; what is
//! counted is since the reading before.

use serde::{Deserialize, Serialize};

/// What the unit or process under test used, children included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitSample {
    /// Processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Resident memory; what processes share counts in each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Resident memory; what processes share counts once among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pss_bytes: Option<u64>,
    /// Resident memory that no file is behind: heap and stacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// CPU seconds, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
    /// Threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// Open descriptors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<u64>,
    /// Switches to another thread because this one waited, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voluntary_switches: Option<u64>,
    /// Switches because its time was up, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub involuntary_switches: Option<u64>,
    /// Read from disks, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Written to disks, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// Automatic restarts of the unit so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u64>,
    /// Memory of the unit's control group, page cache included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_memory_bytes: Option<u64>,
    /// Anonymous memory of the unit's control group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_anon_bytes: Option<u64>,
    /// CPU seconds of the unit's control group, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_cpu_s: Option<f64>,
    /// Lines that the unit logged at priority err or worse, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_errors: Option<u64>,
    /// Lines that it logged at priority warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_warnings: Option<u64>,
}

/// How the machine was that ran the generator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSample {
    /// Seconds in which something waited for a processor (PSI), since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_s: Option<f64>,
    /// Seconds in which something waited for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_pressure_s: Option<f64>,
    /// Seconds in which something waited for a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_pressure_s: Option<f64>,
    /// Processes that ran or waited to, on average over a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_1min: Option<f64>,
    /// CPU seconds that the host of a virtual machine gave to others, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steal_s: Option<f64>,
    /// CPU seconds of all processors that were used, since the reading before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
    /// Memory that programs could have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// Memory that nothing uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
}

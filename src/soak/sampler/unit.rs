//! A systemd unit: its main process, its restarts, its control group (versions 1 and 2).

use super::process::ProcessReading;
use crate::program::ask;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SYSTEMD_PATIENCE: Duration = Duration::from_secs(2);
/// Deepest nesting of control groups below a unit that is looked into.
const MAX_DEPTH: u32 = 8;

/// What systemd says of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::soak) struct UnitState {
    pub(in crate::soak) main_pid: u32,
    pub(in crate::soak) restarts: u64,
    /// Below the root of the hierarchies; empty while nothing runs.
    pub(in crate::soak) control_group: String,
}

impl UnitState {
    /// Asks systemd.
    pub(in crate::soak) fn ask(unit: &str) -> Result<Self, String> {
        let said = show(unit).map_err(|error| format!("{unit}: {error}"))?;
        Self::parse(&said).ok_or_else(|| format!("{unit}: systemd knows no such unit"))
    }

    /// Whether systemd says that there is none; where it cannot be asked, that is not known.
    pub(in crate::soak) fn is_unknown(unit: &str) -> bool {
        show(unit).is_ok_and(|said| said.lines().any(|line| line == "LoadState=not-found"))
    }

    fn parse(said: &str) -> Option<Self> {
        let value = |name: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        if value("LoadState")? == "not-found" {
            return None;
        }
        Some(Self {
            main_pid: value("MainPID")
                .and_then(|pid| pid.parse().ok())
                .unwrap_or(0),
            restarts: value("NRestarts").and_then(|n| n.parse().ok()).unwrap_or(0),
            control_group: value("ControlGroup").unwrap_or_default().to_owned(),
        })
    }
}

fn show(unit: &str) -> io::Result<String> {
    let properties = "--property=LoadState,MainPID,NRestarts,ControlGroup";
    let arguments = ["show", properties, "--", unit];
    ask("systemctl", &arguments, SYSTEMD_PATIENCE, 10_000)
}

/// Figures of a control group at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::soak) struct GroupReading {
    pub(in crate::soak) memory_bytes: Option<u64>,
    pub(in crate::soak) anon_bytes: Option<u64>,
    pub(in crate::soak) cpu_us: Option<u64>,
}

/// Where control groups are mounted.
#[derive(Clone, Debug)]
pub(in crate::soak) struct Groups {
    root: PathBuf,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/sys/fs/cgroup"),
        }
    }
}

impl Groups {
    /// The folder of a group in the hierarchy that has `file`: version 2, a hybrid's version 2, or
    /// one of version 1.
    pub(in crate::soak) fn find(&self, group: &str, file: &str) -> Option<PathBuf> {
        let group = group.trim_start_matches('/');
        if group.is_empty() || group.split('/').any(|part| part == "..") {
            return None;
        }
        let hierarchies = ["", "unified", "systemd", "memory", "cpuacct", "cpu,cpuacct"];
        hierarchies
            .iter()
            .map(|hierarchy| self.root.join(hierarchy).join(group))
            .find(|folder| folder.join(file).is_file())
    }

    /// Its processes, those of groups below included.
    pub(in crate::soak) fn pids(&self, group: &str) -> BTreeSet<i32> {
        let mut pids = BTreeSet::new();
        if let Some(folder) = self.find(group, "cgroup.procs") {
            collect(&folder, &mut pids, MAX_DEPTH);
        }
        pids
    }

    pub(in crate::soak) fn read(&self, group: &str) -> GroupReading {
        let number = |file: &str| read_number(&self.find(group, file)?.join(file));
        let in_stat = |file: &str, key: &str| {
            let text = std::fs::read_to_string(self.find(group, file)?.join(file)).ok()?;
            text.lines().find_map(|line| {
                let (name, value) = line.split_once(' ')?;
                (name == key).then(|| value.trim().parse().ok())?
            })
        };
        GroupReading {
            memory_bytes: number("memory.current").or_else(|| number("memory.usage_in_bytes")),
            anon_bytes: in_stat("memory.stat", "anon")
                .or_else(|| in_stat("memory.stat", "total_rss")),
            cpu_us: in_stat("cpu.stat", "usage_usec")
                .or_else(|| number("cpuacct.usage").map(|ns| ns / 1_000)),
        }
    }
}

fn read_number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn collect(folder: &Path, pids: &mut BTreeSet<i32>, depth: u32) {
    if let Ok(text) = std::fs::read_to_string(folder.join("cgroup.procs")) {
        pids.extend(
            text.lines()
                .filter_map(|line| line.trim().parse::<i32>().ok()),
        );
    }
    let Some(deeper) = depth.checked_sub(1) else {
        return;
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), pids, deeper);
        }
    }
}

/// The processes of a unit at one moment: those of its control group, else its main process and what
/// descends from it.
pub(super) fn processes(groups: &Groups, state: &UnitState) -> ProcessReading {
    ProcessReading::take(pids(groups, state))
}

/// Which these are.
pub(in crate::soak) fn pids(groups: &Groups, state: &UnitState) -> BTreeSet<i32> {
    let pids = groups.pids(&state.control_group);
    if pids.is_empty() && state.main_pid > 0 {
        return super::process::family(state.main_pid.cast_signed());
    }
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(files: &[(&str, &str)]) -> (tempfile::TempDir, Groups) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let groups = Groups {
            root: root.path().to_owned(),
        };
        (root, groups)
    }

    #[test]
    fn reads_what_systemd_says() {
        let said =
            "LoadState=loaded\nMainPID=417\nNRestarts=2\nControlGroup=/system.slice/a.service\n";
        let state = UnitState::parse(said).unwrap();
        assert_eq!((state.main_pid, state.restarts), (417, 2));
        assert_eq!(state.control_group, "/system.slice/a.service");
        assert_eq!(UnitState::parse("LoadState=not-found\nMainPID=0\n"), None);
        assert_eq!(UnitState::parse(""), None);
    }

    #[test]
    fn version_2() {
        let (_root, groups) = groups(&[
            ("system.slice/a.service/cgroup.procs", "12\n13\n"),
            ("system.slice/a.service/payload/cgroup.procs", "14\n"),
            ("system.slice/a.service/memory.current", "4096\n"),
            (
                "system.slice/a.service/memory.stat",
                "anon 1024\nfile 3072\n",
            ),
            (
                "system.slice/a.service/cpu.stat",
                "usage_usec 2500000\nuser_usec 1\n",
            ),
        ]);
        let group = "/system.slice/a.service";
        assert_eq!(groups.pids(group), BTreeSet::from([12, 13, 14]));
        let expected = GroupReading {
            memory_bytes: Some(4_096),
            anon_bytes: Some(1_024),
            cpu_us: Some(2_500_000),
        };
        assert_eq!(groups.read(group), expected);
        assert!(groups.pids("/../../proc").is_empty());
        assert_eq!(groups.read(""), GroupReading::default());
    }

    #[test]
    fn version_1() {
        let (_root, groups) = groups(&[
            ("systemd/system.slice/a.service/cgroup.procs", "12\n"),
            (
                "memory/system.slice/a.service/memory.usage_in_bytes",
                "4096\n",
            ),
            (
                "memory/system.slice/a.service/memory.stat",
                "cache 1\ntotal_rss 2048\n",
            ),
            ("cpuacct/system.slice/a.service/cpuacct.usage", "3000000\n"),
        ]);
        let group = "/system.slice/a.service";
        assert_eq!(groups.pids(group), BTreeSet::from([12]));
        let read = groups.read(group);
        assert_eq!((read.anon_bytes, read.cpu_us), (Some(2_048), Some(3_000)));
    }
}

//! Run folders without a run: windows of made-up requests, written by the crate's own writer, so that
//! the format is real however long the run would have been.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use alfred::soak::event::{Event, EventRecord};
use alfred::soak::findings::Asked;
use alfred::soak::ledger::ClosedWindow;
use alfred::soak::record::{
    FORMAT, HostRecord, HostSample, ResourceRecord, RunRecord, SampleRecord, ScenarioRecord,
    StartRecord, UnitSample,
};
use alfred::soak::run_folder;
use alfred::soak::run_log::RunLog;
use alfred::soak::sampler::Sample;
use alfred::soak::tally::{ErrorKind, Outcome, Tally, Times};
use alfred::soak::threshold::Threshold;
use alfred::soak::units::float;
use alfred::soak::verdict::{End, Evidence, judge};
use std::path::Path;
use std::time::{Duration, SystemTime};

const MS: u64 = 1_000_000;
const MIB: u64 = 1024 * 1024;
/// Different windows that are made up; they repeat.
const PATTERNS: u64 = 61;

/// What a made-up run was like.
#[derive(Clone, Debug)]
pub(crate) struct Synthetic {
    pub(crate) id: &'static str,
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) windows: u64,
    pub(crate) window_s: u64,
    pub(crate) per_s: u64,
    /// Windows that nothing was recorded of.
    pub(crate) gap: std::ops::Range<u64>,
    /// Windows in which the target answered slowly and half of its answers were errors.
    pub(crate) trouble: std::ops::Range<u64>,
    /// What memory grows by in an hour.
    pub(crate) leak_bytes_per_h: u64,
    /// Whether it ended.
    pub(crate) has_ended: bool,
    pub(crate) thresholds: Vec<String>,
    pub(crate) events: Vec<(f64, Event)>,
}

impl Synthetic {
    /// A run in which nothing happened, of windows of 10 s.
    pub(crate) fn quiet(windows: u64) -> Self {
        Self {
            id: "1f0c2d3e",
            name: "nightly".to_owned(),
            target: "http://127.0.0.1:8080/v1/query".to_owned(),
            windows,
            window_s: 10,
            per_s: 10,
            gap: 0..0,
            trouble: 0..0,
            leak_bytes_per_h: 0,
            has_ended: true,
            thresholds: ["p95<300ms", "error_rate<1%"].map(str::to_owned).to_vec(),
            events: Vec::new(),
        }
    }

    /// Two hours with a gap, trouble, a restart, errors in the journal and a leak: it fails.
    pub(crate) fn troubled() -> Self {
        let restart = Event::UnitRestarted {
            unit: "alfred.service".to_owned(),
            restarts: 1,
            pid: 4242,
        };
        let gap = Event::Gap {
            from_s: 3_000.0,
            to_s: 3_050.0,
            windows_lost: 5,
            rebooted: false,
        };
        Self {
            gap: 300..305,
            trouble: 500..512,
            leak_bytes_per_h: 8 * MIB,
            thresholds: [
                "p95<300ms",
                "error_rate<1%",
                "p95<500ms in every window",
                "throughput>9/s",
                "rss_growth<1MiB/h",
            ]
            .map(str::to_owned)
            .to_vec(),
            events: vec![(3_050.0, gap), (5_061.0, restart)],
            ..Self::quiet(720)
        }
    }

    /// Writes the run folder.
    pub(crate) fn write(&self, folder: &Path) {
        let measured_from = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let mut log = RunLog::create(folder, &self.record(), measured_from).unwrap();
        let patterns: Vec<[Tally; 2]> = (0..PATTERNS)
            .map(|pattern| [self.tally(pattern, false), self.tally(pattern, true)])
            .collect();
        for window in (0..self.windows).filter(|window| !self.gap.contains(window)) {
            let pattern = usize::try_from(window % PATTERNS).unwrap();
            let is_in_trouble = self.trouble.contains(&window);
            let closed = ClosedWindow {
                index: window,
                start_ns: window * self.window_s * 1_000 * MS,
                length_ns: self.window_s * 1_000 * MS,
                tally: patterns[pattern][usize::from(is_in_trouble)].clone(),
            };
            let resources = ResourceRecord {
                generator_cpu_s: 0.2,
                generator_rss_bytes: Some(24 * MIB),
            };
            log.append(&closed, resources, self.sample(window)).unwrap();
            if window % 1_000 == 999 {
                log.settle().unwrap();
            }
        }
        for (at_s, event) in &self.events {
            log.event(&EventRecord {
                at_s: *at_s,
                wall: "2026-11-18T10:00:00Z".to_owned(),
                event: event.clone(),
            });
        }
        log.settle().unwrap();
        if self.has_ended {
            self.finish(folder, &mut log);
        }
    }

    /// As a run that ended is judged.
    fn finish(&self, folder: &Path, log: &mut RunLog) {
        let thresholds: Vec<Threshold> = self
            .thresholds
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let measured_s = float(self.windows * self.window_s);
        let asked = Asked {
            thresholds: &thresholds,
            window_s: float(self.window_s),
            measured_s,
            ..Asked::default()
        };
        let (findings, too_short) = run_folder::findings(folder, &asked).unwrap();
        let run = run_folder::read(folder).unwrap();
        let verdict = judge(&Evidence {
            tally: &run.tally,
            thresholds: &thresholds,
            findings: &findings,
            too_short,
            planned_ns: self.windows * self.window_s * 1_000 * MS,
            measured_ns: self.windows * self.window_s * 1_000 * MS,
            windows_planned: self.windows,
            windows_recorded: run.windows.len() as u64,
            max_in_flight: 10_000,
            end: End::Planned,
            suspended: Duration::ZERO,
            wall_step_ms: 0,
            generator_cpu_s: 0.2 * float(self.windows),
            query_count: 500,
            unique: false,
            judged_queries: None,
            server: None,
        });
        log.finish(&verdict).unwrap();
    }

    fn record(&self) -> RunRecord {
        RunRecord {
            format: FORMAT,
            id: self.id.to_owned(),
            name: self.name.clone(),
            target: self.target.clone(),
            version: "0.9.0".to_owned(),
            scenario: ScenarioRecord {
                method: "POST".to_owned(),
                header_names: vec!["content-type".to_owned()],
                body: r#"{"query": "{{query}}", "top_k": 3}"#.to_owned(),
                queries: Some("/usr/share/alfred/queryset.txt".to_owned()),
                queries_blake3: "9f86d081884c7d65".to_owned(),
                query_count: 500,
                unique: false,
                shuffle: false,
                qps: float(self.per_s),
                stages: Vec::new(),
                count: None,
                duration_s: float(self.windows * self.window_s),
                window_s: float(self.window_s),
                warmup_s: 5.0,
                arrivals: "uniform".to_owned(),
                seed: 1,
                timeout_ms: 10_000,
                grace_ms: 1_000,
                max_in_flight: 10_000,
                connections: None,
                trust: None,
                expected_status: vec!["200-299".to_owned()],
                checks: Vec::new(),
                relevance: None,
                prometheus: None,
                thresholds: self.thresholds.clone(),
                drift: Vec::new(),
                steps: Vec::new(),
                sample: SampleRecord {
                    unit: Some("alfred.service".to_owned()),
                    ..SampleRecord::default()
                },
                recorder: None,
            },
            scenario_file: Some("/etc/alfred/soak.d/nightly.toml".to_owned()),
            host: HostRecord {
                hostname: "soak-1".to_owned(),
                kernel: "Linux 6.12.0".to_owned(),
                machine: "x86_64".to_owned(),
                cpus: 4,
                memory_bytes: 8 * 1024 * MIB,
            },
            start: StartRecord {
                wall: "2026-11-18T09:06:40Z".to_owned(),
                ..StartRecord::default()
            },
        }
    }

    /// Requests of a window: log-normal by a sum of twelve uniform numbers, a few of them slow.
    fn tally(&self, pattern: u64, is_in_trouble: bool) -> Tally {
        let mut random = Random(pattern * 7_919 + 17);
        let mut tally = Tally::default();
        for _ in 0..self.per_s * self.window_s {
            let normal = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
            let slow = if random.unit() < 0.002 { 12.0 } else { 1.0 };
            let factor = if is_in_trouble { 90.0 } else { slow };
            let took_ms = 5.0 * (0.25 * normal).exp() * factor;
            let age_ns = Duration::from_secs_f64(took_ms / 1e3).as_nanos();
            let age_ns = u64::try_from(age_ns).unwrap();
            let lag_ns = 30_000 + random.next() % 200_000;
            tally.due();
            tally.sent(lag_ns);
            let times = Times {
                age_ns: age_ns + lag_ns,
                service_ns: age_ns,
                timeout_ns: 10_000 * MS,
            };
            let outcome = if is_in_trouble && random.unit() < 0.3 {
                Outcome::Error(ErrorKind::Status5xx, "status 503".into())
            } else {
                Outcome::Ok { cached: Some(true) }
            };
            tally.ended(times, outcome);
        }
        tally
    }

    fn sample(&self, window: u64) -> Sample {
        let mut random = Random(window * 104_729 + 3);
        let noise = random.next() % (2 * MIB);
        let leaked = self.leak_bytes_per_h * window * self.window_s / 3_600;
        let rss = 200 * MIB + noise + leaked;
        let busy = if self.trouble.contains(&window) {
            9.0
        } else {
            3.0
        };
        Sample {
            unit: Some(UnitSample {
                processes: Some(1),
                rss_bytes: Some(rss),
                pss_bytes: Some(rss - 12 * MIB),
                anon_bytes: Some(rss - 40 * MIB),
                cpu_s: Some(busy + random.unit()),
                threads: Some(18 + random.next() % 3),
                descriptors: Some(40 + random.next() % 8),
                restarts: Some(0),
                cgroup_memory_bytes: Some(rss + 30 * MIB),
                cgroup_cpu_s: Some(busy + 1.0),
                journal_errors: Some(u64::from(self.trouble.contains(&window)) * 3),
                journal_warnings: Some(0),
                ..UnitSample::default()
            }),
            host: Some(HostSample {
                cpu_pressure_s: Some(0.1 * random.unit()),
                memory_pressure_s: Some(0.0),
                io_pressure_s: Some(0.05),
                load_1min: Some(0.5),
                steal_s: Some(0.0),
                cpu_s: Some(busy + 4.0),
                available_bytes: Some(6_000 * MIB),
                free_bytes: Some(3_000 * MIB),
            }),
            ..Sample::default()
        }
    }
}

/// xorshift64*: the same seed, the same run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn unit(&mut self) -> f64 {
        float(self.next() % 1_000_000) / 1e6
    }
}

/// Evidence as the flight recorder leaves it, with a status and a profile.
pub(crate) fn add_evidence(folder: &Path) {
    let taken = folder.join("evidence/500-stall");
    std::fs::create_dir_all(&taken).unwrap();
    std::fs::write(
        taken.join("status.json"),
        "{\n  \"pool\": {\"idle\": 0, \"busy\": 8}\n}\n",
    )
    .unwrap();
    std::fs::write(taken.join("profile.pb.gz"), [0x1f, 0x8b, 8, 0, 0]).unwrap();
    let record = serde_json::json!({
        "window": 500, "reason": "stall", "at_s": 5004.2, "wall": "2026-11-18T10:30:04Z",
        "trigger": "p95 of the window is 702 ms, 14 times that of the hour before",
        "took_ms": 5031, "bytes": 12345, "cpu_s": 0.02,
        "summary": ["81 % of CPU samples are in pg_query", "all 8 connections of the pool are busy"],
        "files": [
            {"name": "profile.pb.gz", "what": "CPU profile of the target, 5 s", "bytes": 5},
            {"name": "status.json", "what": "GET /v1/status", "bytes": 40}],
        "missing": [{"what": "pg_stat_activity", "why": "no DSN is known"}],
    });
    std::fs::write(taken.join("evidence.json"), record.to_string()).unwrap();
}

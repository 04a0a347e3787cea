//! `latency.hlog`, read by a reader that is not ours: the Python package hdrhistogram.

use crate::soak_bench::Bench;
use crate::soak_target::{Behaviour, TestTarget};
use crate::support::installed_by;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Adds up the intervals of each tag, and says what the whole has, in microseconds.
const READER: &str = r#"
import json, sys
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

empty = lambda: HdrHistogram(1, 3_600_000_000, 3)
told = {}
for tag in ["response", "ok", "service", "lag"]:
    reader, whole, lines = HistogramLogReader(sys.argv[1], empty()), empty(), 0
    while (interval := reader.get_next_interval_histogram()) is not None:
        if interval.get_tag() == tag:
            whole.add(interval)
            lines += 1
    at = whole.get_value_at_percentile
    told[tag] = {
        "lines": lines, "count": whole.get_total_count(), "start": reader.get_start_time_sec(),
        "p50": at(50), "p90": at(90), "p95": at(95), "p99": at(99), "p99_9": at(99.9), "max": at(100),
    }
print(json.dumps(told))
"#;

fn read_by_another(hlog: &Path) -> Value {
    let output = Command::new(installed_by("hdrhistogram"))
        .args(["-c", READER])
        .arg(hlog)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn another_reader_of_the_histogram_log_finds_the_same_percentiles() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Freeze {
        delay: Duration::from_millis(3),
        from: Duration::from_secs(1),
        length: Duration::from_millis(700),
    });
    // 1,000 requests, so that all percentiles fall on a request and no rounding of ranks is seen.
    let flags = "--qps 250 --duration 4s --window 1s --threshold p95<5s";
    let ran = bench.soak("hlog", &target.url(), flags);
    ran.assert_sound(1_000);
    let read = read_by_another(&ran.run.join("latency.hlog"));
    for tag in ["response", "ok", "service", "lag"] {
        assert_eq!(read[tag]["lines"], 4, "{tag}: {read}");
        assert_eq!(read[tag]["count"], 1_000, "{tag}: {read}");
        for name in ["p50", "p90", "p95", "p99", "p99_9", "max"] {
            let ours_ms = ran.verdict()[format!("{tag}_ms")][name].as_f64().unwrap();
            let theirs_ms = read[tag][name].as_f64().unwrap() / 1e3;
            assert!(
                (ours_ms - theirs_ms).abs() < 1e-9,
                "{tag} {name}: {ours_ms} and {theirs_ms} ms"
            );
        }
    }
}

//! Recorded soak runs that need no folder.

use alfred::http::runs::{RecordedRuns, RunList, RunsError};
use serde_json::json;

/// One recorded run, by the name `docs`.
pub(super) struct FakeRuns;

impl RecordedRuns for FakeRuns {
    fn list(&self, most: usize) -> Result<RunList, RunsError> {
        let run = json!({
            "run": "docs", "kind": "run", "name": "nightly", "start": "2026-11-29T22:00:00Z",
            "target": "http://localhost/", "qps": 50.0, "duration_s": 60.0, "stopped_early": false,
            "state": "running", "verdict": null, "requests": null, "p95_ms": null,
            "error_rate": null,
        });
        let runs = vec![run].into_iter().take(most).collect();
        Ok(RunList { runs, total: 1 })
    }

    fn report(&self, name: &str, is_wanted: &dyn Fn() -> bool) -> Result<Vec<u8>, RunsError> {
        assert!(is_wanted());
        match name {
            "docs" => Ok(b"<!DOCTYPE html>\n<title>PASS</title>".to_vec()),
            "large" => Err(RunsError::TooLarge { bytes: 2, most: 1 }),
            "damaged" => Err(RunsError::Failed("/secret/place is damaged".to_owned())),
            _ => Err(RunsError::NotFound),
        }
    }

    fn evidence(&self, names: [&str; 3]) -> Result<Vec<u8>, RunsError> {
        match names {
            ["docs", "1-stall", "main.js"] => Ok(b"alert(1)".to_vec()),
            ["docs", "1-stall", "large"] => Err(RunsError::TooLarge { bytes: 2, most: 1 }),
            _ => Err(RunsError::NotFound),
        }
    }
}

//! `report.html`: what is in the page, and what a browser makes of it.

use crate::soak_bench::Bench;
use crate::soak_target::{Behaviour, TestTarget};
use crate::support::{browse, eventually};
use crate::synthetic_run::{Synthetic, add_evidence};
use alfred::report::{Format, Report};
use alfred::soak::run_folder;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The page of run folders.
fn page(folders: &[&Path]) -> String {
    let runs = folders
        .iter()
        .map(|folder| run_folder::read(folder).unwrap());
    let report = Report::of(runs.collect()).unwrap();
    report.write(Format::Html, false).unwrap()
}

fn written(run: &Synthetic) -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("run");
    run.write(&folder);
    (home, folder)
}

/// What the script draws from.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

/// Without the script, the style and the data.
fn markup(page: &str) -> &str {
    let (_, rest) = page.split_once("<body>").unwrap();
    rest.split_once("<script").unwrap().0
}

/// What a browser that opened it found.
fn look(path: &Path) -> Value {
    browse("look.cjs", &[path.to_str().unwrap()])
}

#[test]
fn nothing_that_a_run_names_becomes_markup() {
    let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&";
    let run = Synthetic {
        name: hostile.to_owned(),
        target: format!("http://127.0.0.1/{hostile}"),
        thresholds: vec!["p95<300ms".to_owned(), hostile.to_owned()],
        has_ended: false,
        ..Synthetic::quiet(3)
    };
    let (_home, folder) = written(&run);
    let taken = folder.join("evidence/1-<b>");
    std::fs::create_dir_all(&taken).unwrap();
    std::fs::write(taken.join("note.txt"), hostile).unwrap();
    let record = serde_json::json!({
        "reason": hostile, "trigger": hostile, "summary": [hostile], "wall": hostile,
        "files": [{"name": "note.txt", "what": hostile}, {"name": hostile},
            {"name": "../../secret"}, {"name": "javascript:alert(3)"}],
        "missing": [{"what": hostile, "why": hostile}],
    });
    std::fs::write(taken.join("evidence.json"), record.to_string()).unwrap();
    let page = page(&[&folder]);
    let markup = markup(&page);
    assert!(
        !markup.contains("<script>alert") && !markup.contains("<img"),
        "{markup}"
    );
    assert!(markup.contains("&lt;script&gt;alert(1)"));
    assert!(!markup.contains("href=\"javascript") && !markup.contains("href=\"../"));
    assert!(markup.contains("href=\"evidence/1-%3Cb%3E/note.txt\""));
    // The data, the library and the page's own: nothing else is run.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
    let marks = data(&page)["runs"][0]["marks"].clone();
    assert_eq!(marks[0]["text"], format!("{hostile}: {hostile}"));
}

#[test]
fn lines_break_where_nothing_was_recorded() {
    let run = Synthetic {
        gap: 2..5,
        ..Synthetic::quiet(8)
    };
    let (_home, folder) = written(&run);
    let data = data(&page(&[&folder]));
    let run = &data["runs"][0];
    let times: Vec<f64> = serde_json::from_value(run["x"].clone()).unwrap();
    assert_eq!(times, [5.0, 15.0, 35.0, 55.0, 65.0, 75.0]);
    for plot in run["plots"].as_array().unwrap() {
        for line in plot["lines"].as_array().unwrap() {
            let values = line["values"].as_array().unwrap();
            assert_eq!(values.len(), times.len());
            assert_eq!(values[2], Value::Null, "{plot}");
            assert_ne!(values[1], Value::Null);
        }
    }
    let heat = run["heat"]["columns"].as_array().unwrap();
    let empty = |column: &Value| column.as_array().unwrap().is_empty();
    let places: Vec<usize> = (0..8).filter(|place| empty(&heat[*place])).collect();
    assert_eq!(places, [2, 3, 4]);
    let counted: u64 = heat
        .iter()
        .flat_map(|column| column.as_array().unwrap().iter().skip(1))
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(counted, 5 * 100);
}

#[test]
fn a_run_without_windows_and_one_that_did_not_end_have_a_page() {
    let none = Synthetic {
        has_ended: false,
        ..Synthetic::quiet(0)
    };
    let (_home, folder) = written(&none);
    let empty = page(&[&folder]);
    assert!(markup(&empty).contains("<strong>INVALID</strong>"));
    assert!(markup(&empty).contains("There is no window to draw"));
    let unfinished = Synthetic {
        has_ended: false,
        ..Synthetic::quiet(4)
    };
    let (_home, folder) = written(&unfinished);
    let page = page(&[&folder]);
    assert!(markup(&page).contains("did not end: it has no verdict"));
    assert_eq!(data(&page)["runs"][0]["x"].as_array().unwrap().len(), 4);
}

#[test]
fn several_runs_have_their_plots_one_after_the_other_and_a_comparison_on_top() {
    let home = tempfile::tempdir().unwrap();
    let folders = ["one", "two"].map(|name| home.path().join(name));
    Synthetic::quiet(70).write(&folders[0]);
    let other = Synthetic {
        id: "77aa01b2",
        ..Synthetic::quiet(60)
    };
    other.write(&folders[1]);
    add_evidence(&folders[1]);
    let runs = || {
        folders
            .each_ref()
            .map(|folder| run_folder::read(folder).unwrap())
    };
    let report = Report::of(runs().into()).unwrap();
    let report = report.compared_with(&runs()).unwrap();
    let page = report.write(Format::Html, false).unwrap();
    let data = data(&page);
    assert_eq!(data["runs"][0]["x"].as_array().unwrap().len(), 70);
    assert_eq!(data["runs"][1]["x"].as_array().unwrap().len(), 60);
    let markup = markup(&page);
    let compared = markup.find("Compared with 1f0c2d3e, 77aa01b2").unwrap();
    assert!(compared < markup.find("id=\"plots\"").unwrap());
    assert!(markup.contains("id=\"plot-1-response\"") && markup.contains("href=\"two/evidence/"));
    let mut ids: Vec<&str> = markup.split(" id=\"").skip(1).collect();
    for id in &mut ids {
        *id = id.split('"').next().unwrap();
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id stands twice");
}

#[test]
fn evidence_and_its_mark_lead_to_each_other() {
    let (_home, folder) = written(&Synthetic::troubled());
    add_evidence(&folder);
    let page = page(&[&folder]);
    let marks = data(&page)["runs"][0]["marks"].clone();
    let flags: Vec<&str> = marks
        .as_array()
        .unwrap()
        .iter()
        .map(|mark| mark["flag"].as_str().unwrap())
        .collect();
    for flag in ["G1", "R1", "E1", "J1", "T1"] {
        assert!(flags.contains(&flag), "{flag} of {flags:?}");
    }
    let markup = markup(&page);
    assert!(markup.contains("id=\"mark-E1\"") && markup.contains("href=\"#mark-E1\""));
    assert!(markup.contains("id=\"taken-0\"") && markup.contains("href=\"#taken-0\""));
    assert!(markup.contains("href=\"evidence/500-stall/profile.pb.gz\""));
    assert!(
        markup.contains("&quot;busy&quot;: 8"),
        "a small text is shown"
    );
    assert!(markup.contains("no DSN is known"));
    let verdict = markup.find("<strong>FAIL</strong>").unwrap();
    let reason = markup.find("rss_growth&lt;1MiB/h was crossed").unwrap();
    assert!(verdict < reason && reason < markup.find("<nav").unwrap());
}

#[test]
fn a_soak_leaves_a_page_and_one_that_cannot_be_written_is_a_warning() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Steady {
        delay: Duration::from_millis(2),
    });
    let flags = "--qps 50 --duration 1s --window 500ms";
    let ran = bench.soak("fine", &target.url(), flags);
    let page = std::fs::read_to_string(ran.run.join("report.html")).unwrap();
    let word = ran.last_line();
    assert!(page.contains(&format!("<strong>{word}</strong>")), "{word}");
    assert!(page.ends_with("</html>\n") && !ran.stderr.contains("warning"));

    // A folder of that name, and not an empty one, which a file cannot take the place of.
    let run = bench.path("blocked");
    let child = bench
        .command(&["soak", "--target", &target.url(), "--out"])
        .arg(&run)
        .args(["--queries", "queries.txt"])
        .args("--qps 50 --duration 2s --window 500ms".split(' '))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually(Duration::from_secs(20), || {
        run.join("run.json").exists().then_some(())
    });
    std::fs::create_dir_all(run.join("report.html/taken")).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("warning: report.html"), "{stderr}");
    let verdict: Value =
        serde_json::from_slice(&std::fs::read(run.join("verdict.json")).unwrap()).unwrap();
    let code = match verdict["verdict"].as_str().unwrap() {
        "PASS" => 0,
        "FAIL" => 99,
        _ => 98,
    };
    assert_eq!(output.status.code(), Some(code), "{stderr}");
}

/// What holds of every page in a browser.
fn assert_usable(found: &Value, plots: usize) {
    assert_eq!(found["requests"], serde_json::json!([]));
    assert_eq!(found["errors"], serde_json::json!([]));
    assert_eq!(found["violations"], serde_json::json!([]));
    assert_eq!(found["dark_violations"], serde_json::json!([]));
    assert_eq!(found["plots"].as_array().unwrap().len(), plots);
    for plot in found["plots"].as_array().unwrap() {
        assert!(plot["colours"].as_u64().unwrap() > 10, "{plot}");
    }
    assert!(
        found["overflow"].as_i64().unwrap() <= 0,
        "wider than the screen"
    );
    assert!(
        found["narrow_overflow"].as_i64().unwrap() <= 0,
        "wider than a phone"
    );
}

#[test]
fn a_browser_shows_the_page_and_keys_move_its_cursor() {
    let (_home, folder) = written(&Synthetic::troubled());
    add_evidence(&folder);
    let path = folder.join("report.html");
    std::fs::write(&path, page(&[&folder])).unwrap();
    let found = look(&path);
    assert_usable(&found, 10);
    let results = found["narrow_results"].as_array().unwrap();
    let is_seen = |result: &Value| ["✓ held", "✗ crossed"].iter().any(|word| result == word);
    assert!(
        results.len() == 5 && results.iter().all(is_seen),
        "beyond the edge of a phone: {results:?}"
    );
    assert_eq!(found["crossings"], serde_json::json!([true, false]));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let keys = &found["keys"];
    assert!(
        text(&keys["first"]).starts_with("0:00:05, 2026-11-18 09:06:45 UTC: p50 "),
        "{keys}"
    );
    assert!(text(&keys["second"]).starts_with("0:00:15"), "{keys}");
    assert!(
        text(&keys["mark"]).contains("Marks: G1: resumed after"),
        "{keys}"
    );
    for other in keys["others"].as_array().unwrap() {
        assert!(
            text(other).contains("UTC"),
            "the cursor moves in all plots: {keys}"
        );
    }
    assert_ne!(keys["whole"], keys["near"], "plus zooms");
    assert_eq!(keys["whole"], keys["back"], "0 shows all");
    assert_ne!(keys["outline"], "none", "the focus can be seen");
    let dragged = found["dragged"].as_f64().unwrap();
    assert!((0.15..0.25).contains(&dragged), "{dragged}");
    let snapshot = text(&found["snapshot"]);
    for part in [
        "FAIL",
        "heading \"Thresholds\"",
        "table",
        "rss_growth<1MiB/h",
        "application",
    ] {
        assert!(snapshot.contains(part), "{part} in {snapshot}");
    }
    let plain = text(&found["without_script"]);
    for part in [
        "FAIL",
        "Percentiles",
        "was started again",
        "The plots need JavaScript",
    ] {
        assert!(plain.contains(part), "{part} in {plain}");
    }
}

/// 72 hours of windows of 10 s at 50 requests a second: the folder, the page and opening it stay small.
#[test]
fn long_three_days_of_windows_stay_small_and_open_within_3_s() {
    let run = Synthetic {
        per_s: 50,
        gap: 12_000..12_030,
        trouble: 20_000..20_040,
        leak_bytes_per_h: 1024 * 1024,
        ..Synthetic::quiet(25_920)
    };
    // In memory where that can be had: every window is synced twice, and the disk is not what is tested.
    let home = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let folder = home.path().join("run");
    run.write(&folder);
    let files = std::fs::read_dir(&folder).unwrap();
    let size: u64 = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 150_000_000, "the run folder has {size} bytes");
    let page = page(&[&folder]);
    assert!(
        page.len() < 15_000_000,
        "the report has {} bytes",
        page.len()
    );
    let path = folder.join("report.html");
    std::fs::write(&path, &page).unwrap();
    let found = look(&path);
    assert_usable(&found, 10);
    let took_ms = found["took_ms"].as_u64().unwrap();
    println!(
        "run folder {size} bytes, report {} bytes, drawn after {took_ms} ms",
        page.len()
    );
    assert!(took_ms < 3_000, "drawn after {took_ms} ms");
}

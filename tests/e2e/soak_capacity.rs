//! `alfred soak --find-capacity`, as a user runs it, against targets whose capacity is known.

use crate::soak_bench::{Bench, within_attempts};
use crate::soak_target::{Behaviour, TestTarget};
use crate::support::{PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::time::{Duration, Instant};

const SHORT_STEPS: &str = "--find-capacity --from 100 --up-to 3000 --step-duration 1s";

struct Searched {
    code: i32,
    stdout: String,
    stderr: String,
    record: Value,
}

fn search(bench: &Bench, name: &str, target: &str, flags: &str) -> Searched {
    let ran = bench.soak(name, target, flags);
    let text = std::fs::read(ran.run.join("capacity.json"))
        .unwrap_or_else(|error| panic!("{error}: {}", ran.stderr));
    let record: Value = serde_json::from_slice(&text).unwrap();
    for step in record["steps"].as_array().unwrap() {
        let run = ran.run.join(step["run"].as_str().unwrap());
        assert!(run.join("verdict.json").exists(), "each step is a run");
    }
    let page = std::fs::read_to_string(ran.run.join("capacity.html")).unwrap();
    assert!(
        !page.contains("http-equiv") && !page.contains("<script"),
        "{page}"
    );
    let has_steps = !record["steps"].as_array().unwrap().is_empty();
    assert_eq!(page.contains("<svg"), has_steps, "{page}");
    let told = std::fs::read_to_string(ran.run.join("capacity.txt")).unwrap();
    assert_eq!(told, ran.stdout);
    Searched {
        code: ran.code,
        stdout: ran.stdout,
        stderr: ran.stderr,
        record,
    }
}

impl Searched {
    fn held(&self) -> f64 {
        self.record["held"]["rate_per_s"].as_f64().unwrap_or(0.0)
    }

    /// Whether a rate within 5 % of `capacity` was found and confirmed, and everything agrees.
    fn is_near(&self, capacity: f64) -> Result<(), String> {
        let (held, broke) = (self.held(), self.record["broke"]["rate_per_s"].as_f64());
        let near = (held / capacity - 1.0).abs() <= 0.05;
        if self.code == 0 && self.record["confirmed"] == true && near && broke > Some(held) {
            assert!(self.stdout.ends_with("\nPASS\n"), "{}", self.stdout);
            assert!(
                self.stdout.contains("highest rate held: "),
                "{}",
                self.stdout
            );
            let steps = self.record["steps"].as_array().unwrap();
            assert_eq!(self.stderr.matches("\nstep ").count(), steps.len());
            assert!(steps.len() as u64 <= self.record["asked"]["most_steps"].as_u64().unwrap());
            return Ok(());
        }
        Err(format!("{}: {}\n{}", self.code, self.stdout, self.stderr))
    }
}

#[test]
fn the_capacity_of_a_queue_is_found_within_five_percent() {
    let bench = Bench::new();
    within_attempts(3, |number| {
        let each = Duration::from_micros(2_500);
        let target = TestTarget::start(Behaviour::Queue { each });
        let found = search(
            &bench,
            &format!("queue{number}"),
            &target.url(),
            SHORT_STEPS,
        );
        found.is_near(400.0)
    });
}

#[test]
fn the_capacity_of_a_target_that_refuses_is_found_and_the_refusal_named() {
    let bench = Bench::new();
    within_attempts(3, |number| {
        let each = Duration::from_millis(2);
        let target = TestTarget::start(Behaviour::Limited { each });
        let name = format!("limited{number}");
        let found = search(&bench, &name, &target.url(), SHORT_STEPS);
        found.is_near(500.0)?;
        let first = &found.record["saturated"][0];
        assert_eq!(
            first["what"], "the target's admission (status 503)",
            "{first}"
        );
        assert!(
            found.stdout.contains("error_rate<1% was crossed"),
            "{}",
            found.stdout
        );
        Ok(())
    });
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long it takes is what is tested"
)]
fn a_dead_target_is_told_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let from = Instant::now();
    let found = search(&Bench::new(), "dead", &url, "--find-capacity");
    assert!(from.elapsed() < Duration::from_secs(5));
    assert_eq!(found.code, 99, "{}", found.stderr);
    assert!(found.stdout.ends_with("\nFAIL\n"), "{}", found.stdout);
    assert_eq!(found.record["steps"].as_array().unwrap().len(), 0);
    let told = "does not answer as expected, before any load: ";
    assert!(found.stderr.contains(told), "{}", found.stderr);
    assert!(found.stderr.contains("refused"), "{}", found.stderr);
}

#[test]
fn a_target_too_slow_for_the_lowest_rate_fails() {
    let each = Duration::from_millis(100);
    let target = TestTarget::start(Behaviour::Queue { each });
    let found = search(&Bench::new(), "slow", &target.url(), SHORT_STEPS);
    assert_eq!(found.code, 99, "{}", found.stderr);
    assert_eq!(
        found.record["steps"].as_array().unwrap().len(),
        2,
        "tried once more"
    );
    let told = "not even the lowest rate, 100/s, held: p95<300ms was crossed";
    assert!(found.stderr.contains(told), "{}", found.stderr);
}

#[test]
fn long_a_target_that_fails_without_any_load_is_told_so() {
    // Quick answers, most of them 503: nothing to wait for, and waited for all the same.
    let each = Duration::from_secs(2);
    let target = TestTarget::start(Behaviour::Limited { each });
    let flags = "--find-capacity --from 20 --step-duration 1s --timeout 1s";
    let found = search(&Bench::new(), "failing", &target.url(), flags);
    assert_eq!(found.code, 99, "{}", found.stderr);
    for told in [
        "not even the lowest rate, 20/s, held: ",
        "error_rate<1% was crossed",
    ] {
        assert!(found.stderr.contains(told), "{}", found.stderr);
    }
    assert!(
        found.stderr.contains("the last with: status 503"),
        "{}",
        found.stderr
    );
}

#[test]
fn the_generators_limit_is_invalid_and_named() {
    let delay = Duration::from_millis(4);
    let target = TestTarget::start(Behaviour::Steady { delay });
    let flags = "--find-capacity --from 50 --up-to 1000 --step-duration 1s --max-in-flight 1 \
                 --precision 20%";
    let found = search(&Bench::new(), "generator", &target.url(), flags);
    assert_eq!(found.code, 98, "{}", found.stderr);
    assert!(found.stdout.ends_with("\nINVALID\n"), "{}", found.stdout);
    assert_eq!(found.record["broke"]["answer"], "generator");
    assert_eq!(found.record["confirmed"], false);
    let told = "the generator was the limit: at ";
    assert!(found.stderr.contains(told), "{}", found.stderr);
    assert!(found.stderr.contains("in-flight cap"), "{}", found.stderr);
}

#[test]
fn what_never_breaks_holds_the_highest_rate_that_was_asked() {
    let target = TestTarget::start(Behaviour::Status(200));
    let flags = "--find-capacity --from 50 --up-to 100 --step-duration 1s";
    let bench = Bench::new();
    within_attempts(3, |number| {
        let found = search(&bench, &format!("fast{number}"), &target.url(), flags);
        let told = "nothing broke up to 100/s: the capacity is higher, raise --up-to";
        if found.code == 0 && found.held() >= 100.0 && found.stdout.contains(told) {
            return Ok(());
        }
        Err(format!(
            "{}: {}\n{}",
            found.code, found.stdout, found.stderr
        ))
    });
}

#[test]
fn an_interrupted_search_reports_what_it_knows() {
    let bench = Bench::new();
    let target = TestTarget::start(Behaviour::Steady {
        delay: Duration::from_millis(1),
    });
    let out = bench.path("interrupted");
    let mut arguments = vec!["soak", "--target"];
    let url = target.url();
    arguments.extend([url.as_str(), "--queries", "queries.txt", "--out"]);
    arguments.extend([out.to_str().unwrap()]);
    arguments.extend(["--find-capacity", "--from", "20", "--step-duration", "2s"]);
    let child = bench
        .command(&arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Its windows come at its end. On a busy machine it may be the first rate once more.
    let begun = |prefix: &str| {
        let steps = std::fs::read_dir(&out).ok()?;
        let mut names = steps.map(|step| step.unwrap().file_name().into_string().unwrap());
        names.find(|name| name.starts_with(prefix))
    };
    let second = eventually(PATIENCE, || begun("02-"));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(98), "{stderr}");
    assert!(stderr.contains("the search was interrupted"), "{stderr}");
    let text = std::fs::read(out.join("capacity.json")).unwrap();
    let record: Value = serde_json::from_slice(&text).unwrap();
    if second == "02-40" {
        assert_eq!(record["held"]["rate_per_s"], 20.0, "{record}");
    }
    assert_eq!(record["verdict"], "INVALID");
}

#[test]
fn a_search_that_makes_no_sense_is_refused() {
    let bench = Bench::new();
    let with = |more: &str| {
        let base = "soak --target http://127.0.0.1:9/ --queries queries.txt";
        let line = format!("{base} {more}");
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let output = bench.command(&arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), stderr)
    };
    let stretch = bench.path("stretch.toml");
    std::fs::write(&stretch, "thresholds = [\"p95<1s in every 5m\"]\n").unwrap();
    for (flags, reason) in [
        (
            "--find-capacity stretch.toml",
            "needs steps of at least 5m, and a step is 10s",
        ),
        ("--find-capacity --precision 90%", "0.5% to 50%"),
        (
            "--find-capacity --precision much",
            "not a precision such as 3%",
        ),
        ("--find-capacity --from 9 --up-to 8", "nothing lies between"),
        ("--find-capacity --resume x", "cannot be used with"),
        ("--from 9", "--find-capacity"),
    ] {
        let (code, stderr) = with(flags);
        assert_eq!(code, Some(2), "{flags}: {stderr}");
        assert!(stderr.contains(reason), "{flags}: {stderr}");
    }
}

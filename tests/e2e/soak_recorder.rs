//! The flight recorder: evidence of a bad moment is taken while it lasts, and costs the run nothing,
//! whatever the target does to it.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use crate::postgres_server::Server;
use crate::soak_bench::{Bench, Ran, assert_folder_agrees, within_attempts};
use crate::soak_target::{Aside, Behaviour, PROFILE, TestTarget};
use crate::support::eventually;
use alfred::soak::event::Event;
use alfred::soak::evidence::{self, EvidenceRecord, Taken};
use alfred::soak::run_folder;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const QUICK: Behaviour = Behaviour::Steady {
    delay: Duration::from_millis(2),
};
const BROKEN: Behaviour = Behaviour::Status(500);
const STALL_FROM: Duration = Duration::from_secs(3);
const STALL: Duration = Duration::from_secs(3);
const STALLING: Behaviour = Behaviour::Freeze {
    delay: Duration::from_millis(2),
    from: STALL_FROM,
    length: STALL,
};

/// A soak by a scenario file whose table `[recorder]` has these lines.
fn soak(bench: &Bench, name: &str, target: &TestTarget, recorder: &str, flags: &str) -> Ran {
    let file = format!("{name}.toml");
    std::fs::write(bench.path(&file), format!("[recorder]\n{recorder}\n")).unwrap();
    bench.soak(name, &target.url(), &format!("{file} {flags}"))
}

/// All evidence of a run; each folder has what its record says.
fn evidence(run: &Path) -> Vec<Taken> {
    let all = evidence::whole(run);
    for one in &all {
        let folder = run.join(evidence::FOLDER).join(&one.name);
        let mut bytes = 0;
        for file in &one.record.files {
            let content = std::fs::read(folder.join(&file.name)).unwrap();
            assert_eq!(Some(content.len() as u64), file.bytes, "{}", file.name);
            bytes += file.bytes.unwrap();
        }
        assert_eq!(Some(bytes), one.record.bytes);
        assert_eq!(
            std::fs::read_dir(&folder).unwrap().count(),
            one.record.files.len() + 1
        );
    }
    let taken: Vec<String> = run_folder::read(run)
        .unwrap()
        .events
        .into_iter()
        .filter_map(|record| match record.event {
            Event::EvidenceTaken { folder, .. } => Some(folder),
            _ => None,
        })
        .collect();
    let folders: Vec<String> = all.iter().map(|one| one.name.clone()).collect();
    assert_eq!(taken, folders);
    all
}

/// FAIL, or INVALID where the machine is too busy for the generator: what is recorded is the same.
fn assert_not_passed(ran: &Ran) {
    assert!([98, 99].contains(&ran.code), "{}", ran.stderr);
}

fn has(record: &EvidenceRecord, file: &str) -> bool {
    record.files.iter().any(|one| one.name == file)
}

/// Why what begins with `what` is missing.
fn why<'a>(record: &'a EvidenceRecord, what: &str) -> &'a str {
    let missing = record.missing.iter().find(|one| one.what.starts_with(what));
    &missing
        .unwrap_or_else(|| panic!("{what} is not missing: {record:?}"))
        .why
}

#[test]
fn a_stall_gets_evidence_while_it_lasts() {
    within_attempts(3, |_| {
        let bench = Bench::new();
        let target = TestTarget::start_with(STALLING, Aside::Profiles);
        let own = std::process::id();
        let flags = format!("--qps 50 --duration 10s --window 1s --pid {own}");
        let ran = soak(&bench, "stall", &target, "profile_s = 1", &flags);
        assert_not_passed(&ran);
        let all = evidence(&ran.run);
        let stalls = all.iter().filter(|one| one.record.reason == "stall");
        let [stall] = stalls.collect::<Vec<_>>()[..] else {
            return Err(format!("{all:?}"));
        };
        let record = &stall.record;
        // Within 2 s of the end of the window in which it began, and while nothing was answered.
        let window_end_s = STALL_FROM.as_secs_f64().ceil() + 1.0;
        let at_s = record.at_s.unwrap();
        let is_late = at_s > window_end_s + 2.0 || at_s < STALL_FROM.as_secs_f64();
        let asked = target.asked_aside();
        let profile = asked
            .iter()
            .find(|(path, _)| path.starts_with("/debug/pprof/profile"));
        let (path, since) = profile.unwrap();
        if is_late || *since + Duration::from_secs(1) > STALL_FROM + STALL {
            return Err(format!("at {at_s} s, {path} after {since:?}"));
        }
        assert!(path.ends_with("?seconds=1&frequency=49"), "{path}");
        for file in [
            "profile.pb.gz",
            "heap.pb.gz",
            "metrics.txt",
            "status.json",
            "processes.txt",
        ] {
            assert!(has(record, file), "{file}: {record:?}");
        }
        let folder = ran.run.join("evidence").join(&stall.name);
        assert_eq!(
            std::fs::read(folder.join("profile.pb.gz")).unwrap(),
            PROFILE
        );
        assert!(
            record
                .trigger
                .contains("twice the tightest latency threshold")
        );
        assert!(
            (1_000..5_000).contains(&record.took_ms.unwrap()),
            "{record:?}"
        );
        let cpu_s = record.cpu_s.unwrap();
        assert!(cpu_s > 0.0 && cpu_s < 1.0, "{cpu_s}");
        let summary = record.summary.join("\n");
        for part in [
            " threads: ",
            " descriptors: ",
            "status: pool.busy 4",
            "process_open_fds 7",
        ] {
            assert!(summary.contains(part), "{part}: {summary}");
        }
        assert_eq!(why(record, "journal"), "no unit is named (--unit)");
        // Whoever reads the report finds it, and whoever watched the run was told.
        let line = format!("evidence/{}", stall.name);
        assert!(
            ran.stdout.contains(&line) && ran.stdout.contains(" threads: "),
            "{}",
            ran.stdout
        );
        assert!(ran.stderr.contains(&line), "{}", ran.stderr);
        ran.assert_sound(500);
        Ok(())
    });
}

#[test]
fn a_calm_run_takes_nothing_and_asks_the_target_nothing() {
    within_attempts(3, |_| {
        let bench = Bench::new();
        let target = TestTarget::start_with(QUICK, Aside::Profiles);
        let ran = bench.soak(
            "calm",
            &target.url(),
            "--qps 50 --duration 4s --window 500ms",
        );
        let asked = target.asked_aside();
        // INVALID where the machine is too busy for the generator: the target was calm all the same.
        if ![0, 98].contains(&ran.code) || !asked.is_empty() || ran.run.join("evidence").exists() {
            return Err(format!("{asked:?} {}", ran.stdout));
        }
        assert!(!ran.stdout.contains("evidence"), "{}", ran.stdout);
        Ok(())
    });
}

#[test]
fn told_to_take_none_it_takes_none() {
    let bench = Bench::new();
    let target = TestTarget::start_with(BROKEN, Aside::Profiles);
    let flags = "--qps 20 --duration 2s --window 500ms";
    for (name, recorder, more) in [
        ("flag", "", " --no-recorder"),
        ("key", "enabled = false", ""),
    ] {
        let ran = soak(&bench, name, &target, recorder, &format!("{flags}{more}"));
        assert_not_passed(&ran);
        assert!(!ran.run.join("evidence").exists());
        assert_eq!(
            run_folder::read(&ran.run).unwrap().run.scenario.recorder,
            None
        );
    }
    assert!(target.asked_aside().is_empty());
}

#[test]
fn a_dead_target_costs_no_time_and_is_told_why() {
    let bench = Bench::new();
    let flags = "--qps 20 --duration 3s --window 500ms";
    let ran = bench.soak("dead", "http://127.0.0.1:1/v1/query", flags);
    assert_not_passed(&ran);
    let all = evidence(&ran.run);
    assert_eq!(all.len(), 1, "{all:?}");
    let record = &all[0].record;
    assert_eq!(all[0].name, "0-threshold");
    assert!(
        record.trigger.contains("error_rate<1%: 100.00 %"),
        "{}",
        record.trigger
    );
    let took_ms = record.took_ms.unwrap();
    assert!(took_ms < 2_500, "{took_ms}");
    for what in ["what the target says", "metrics", "CPU profile"] {
        assert!(why(record, what).contains("refused"), "{record:?}");
    }
    assert!(why(record, "heap").starts_with("not asked"));
    ran.assert_sound(60);
}

#[test]
fn profiles_that_hang_have_no_end_or_are_refused_cost_themselves_alone() {
    for (aside, reason) in [
        (Aside::HangingProfiles, "no complete answer within 3000 ms"),
        (Aside::EndlessProfiles, "larger than"),
        (
            Aside::ForbiddenProfiles,
            "status 403: only for a loopback peer",
        ),
    ] {
        let bench = Bench::new();
        let target = TestTarget::start_with(BROKEN, aside);
        let flags = "--qps 20 --duration 5s --window 500ms";
        let ran = soak(&bench, "odd", &target, "profile_s = 1", flags);
        assert_not_passed(&ran);
        let all = evidence(&ran.run);
        let record = &all[0].record;
        let why = why(record, "CPU profile of the target, 1 s at 49 Hz");
        assert!(why.contains(reason), "{aside:?}: {why}");
        let took_ms = record.took_ms.unwrap();
        assert!(took_ms < 5_500, "{aside:?}: {took_ms}");
        assert!(
            has(record, "status.json") && has(record, "metrics.txt"),
            "{record:?}"
        );
        ran.assert_sound(100);
    }
}

#[test]
fn takings_are_limited_and_a_target_without_profiles_is_asked_once() {
    let bench = Bench::new();
    let target = TestTarget::start_with(BROKEN, Aside::Nothing);
    let limits = "quiet_s = 1\nmax_takings = 3\nheap = false";
    let flags = "--qps 20 --duration 8s --window 500ms";
    let ran = soak(&bench, "often", &target, limits, flags);
    assert_not_passed(&ran);
    let all = evidence(&ran.run);
    assert_eq!(all.len(), 3, "{all:?}");
    for pair in all.windows(2) {
        let same = pair[0].record.reason == pair[1].record.reason;
        let quiet_s = if same { 1.0 } else { 0.2 };
        let apart_s = pair[1].record.at_s.unwrap() - pair[0].record.at_s.unwrap();
        assert!(apart_s >= quiet_s - 0.002, "{pair:?}");
    }
    let asked = target.asked_aside();
    let profiles = asked
        .iter()
        .filter(|(path, _)| path.starts_with("/debug/pprof/"))
        .count();
    assert_eq!(profiles, 1, "{asked:?}");
    assert!(why(&all[0].record, "CPU profile").contains("status 404"));
    assert!(why(&all[2].record, "CPU profile").contains("404 earlier in this run"));
    let events = run_folder::read(&ran.run).unwrap().events;
    let left_out = events.iter().find_map(|record| match &record.event {
        Event::EvidenceLeftOut { counts, .. } => counts.get("threshold").copied(),
        _ => None,
    });
    assert!(left_out.is_some_and(|count| count >= 8), "{events:?}");
    assert!(
        ran.stdout.contains("no evidence was taken of"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_resumed_run_counts_what_was_taken_before() {
    let bench = Bench::new();
    let target = TestTarget::start_with(BROKEN, Aside::Nothing);
    std::fs::write(
        bench.path("one.toml"),
        "[recorder]\nquiet_s = 1\nmax_takings = 1\n",
    )
    .unwrap();
    let run = bench.path("one");
    let url = target.url();
    let mut child = bench
        .command(&[
            "soak",
            "one.toml",
            "--target",
            &url,
            "--queries",
            "queries.txt",
        ])
        .args([
            "--qps",
            "20",
            "--duration",
            "8s",
            "--window",
            "500ms",
            "--out",
        ])
        .arg(&run)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(Duration::from_secs(20), || {
        run_folder::read(&run).ok()?.events.first().map(drop)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // A taking that was cut off, and what a resume leaves alone.
    let torn = run.join("evidence/.9-stall");
    std::fs::create_dir(&torn).unwrap();
    std::fs::write(torn.join("profile.pb.gz"), "half").unwrap();
    let output = bench
        .command(&["soak", "--resume", "one"])
        .output()
        .unwrap();
    let ran = Ran::of(&output, run.clone());
    assert!(run.join("verdict.json").exists(), "{}", ran.stderr);
    assert_eq!(evidence(&run).len(), 1);
    assert!(!torn.exists());
}

#[test]
fn a_full_disk_costs_the_evidence_alone() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting a small file system needs root");
        return;
    }
    let bench = Bench::new();
    let target = TestTarget::start_with(BROKEN, Aside::Profiles);
    std::fs::create_dir(bench.path("small")).unwrap();
    std::fs::write(
        bench.path("s.toml"),
        "[recorder]\nprofile_s = 1\nquiet_s = 5\n",
    )
    .unwrap();
    // The disk is full when evidence is to be written, and has room again before the end.
    let script = r#"
        mount -t tmpfs -o size=200k none small || exit 90
        "$ALFRED" soak s.toml --target "$TARGET" --queries queries.txt --qps 20 --duration 10s \
            --window 1s --out small/run 2>said >told &
        pid=$!
        until [ -s small/run/run.json ]; do sleep 0.05; done
        dd if=/dev/zero of=small/ballast bs=1k count=300 2>/dev/null
        until grep -q 'is lost' said; do kill -0 $pid || break; sleep 0.05; done
        [ -z "$(ls -A small/run/evidence 2>/dev/null)" ] && echo "nothing is left"
        rm small/ballast
        wait $pid
        echo "soak: $?"
        cp -r small/run whole
    "#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .current_dir(bench.path(""))
        .env("ALFRED", env!("CARGO_BIN_EXE_alfred"))
        .env("TARGET", target.url())
        .output()
        .unwrap();
    let said = std::fs::read_to_string(bench.path("said")).unwrap_or_default();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("soak: 9"), "{stdout}\n{said}");
    assert!(stdout.contains("nothing is left"), "{stdout}\n{said}");
    assert!(
        said.contains("evidence 0-threshold is lost: No space left"),
        "{said}"
    );
    let whole = bench.path("whole");
    let verdict = std::fs::read(whole.join("verdict.json")).unwrap();
    assert_folder_agrees(&whole, &serde_json::from_slice(&verdict).unwrap());
    // With room again, evidence is kept again.
    assert!(!evidence(&whole).is_empty());
}

#[test]
fn hostile_names_of_threads_reach_no_terminal() {
    let bench = Bench::new();
    let target = TestTarget::start_with(BROKEN, Aside::Nothing);
    let hostile = r"printf '\033[2J\033[31mx' > /proc/self/comm; exec 3<'a
b'; echo ready; read end";
    std::fs::write(bench.path("a\nb"), "").unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", hostile])
        .current_dir(bench.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut stdout = std::io::BufReader::new(shell.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut ready).unwrap();
    let flags = format!("--qps 20 --duration 2s --window 500ms --pid {}", shell.id());
    let ran = bench.soak("hostile", &target.url(), &flags);
    drop(shell.stdin.take());
    shell.wait().unwrap();
    let all = evidence(&ran.run);
    let folder = ran.run.join("evidence").join(&all[0].name);
    let text = std::fs::read_to_string(folder.join("processes.txt")).unwrap();
    let threads = text.split("threads: id").nth(1).unwrap();
    assert!(threads.contains("·[2J·[31mx"), "{text}");
    assert!(
        !text.contains('\u{1b}') && !ran.stdout.contains('\u{1b}'),
        "{text}"
    );
}

/// systemd and its journal as far as a recorder asks them.
const UNIT: &str = r#"
    mkdir -p /run/log && mount -t tmpfs none /run/log || exit 90
    mkdir -p /run/log/journal/x && touch /run/log/journal/x/system.journal
    cat >bin/systemctl <<EOF
#!/bin/sh
printf 'LoadState=loaded\nMainPID=$$\nNRestarts=0\nControlGroup=\n'
EOF
    cat >bin/journalctl <<'EOF'
#!/bin/sh
echo "$*" >>asked
echo '{"__CURSOR":"b","__REALTIME_TIMESTAMP":"1700000001000000","PRIORITY":"3","SYSLOG_IDENTIFIER":"alfred","_PID":"7","MESSAGE":"the store does not answer"}'
echo '{"__CURSOR":"a","__REALTIME_TIMESTAMP":"1700000000000000","PRIORITY":"6","SYSLOG_IDENTIFIER":"alfred","MESSAGE":"ready"}'
EOF
    chmod +x bin/*
    PATH=$PWD/bin:$PATH "$ALFRED" soak --target "$TARGET" --queries queries.txt --qps 20 \
        --duration 3s --window 500ms --unit alfred --out run
"#;

#[test]
fn what_the_unit_logged_is_in_the_report() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a journal of its own needs root");
        return;
    }
    let bench = Bench::new();
    let target = TestTarget::start_with(BROKEN, Aside::Nothing);
    std::fs::create_dir(bench.path("bin")).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", UNIT])
        .current_dir(bench.path(""))
        .env("ALFRED", env!("CARGO_BIN_EXE_alfred"))
        .env("TARGET", target.url())
        .output()
        .unwrap();
    let ran = Ran::of(&output, bench.path("run"));
    let all = evidence(&ran.run);
    let record = &all[0].record;
    let line = "journal: 1 error among 2 lines; the first: the store does not answer";
    assert!(record.summary.iter().any(|said| said == line), "{record:?}");
    assert!(
        ran.stdout.contains("the store does not answer"),
        "{}",
        ran.stdout
    );
    let folder = ran.run.join("evidence").join(&all[0].name);
    let text = std::fs::read_to_string(folder.join("journal.txt")).unwrap();
    let lines = "2023-11-14T22:13:20Z alfred: ready\n\
                 2023-11-14T22:13:21Z alfred[7] err: the store does not answer\n";
    assert_eq!(text, lines);
    assert!(has(record, "processes.txt"), "{record:?}");
    let asked = std::fs::read_to_string(bench.path("asked")).unwrap();
    let since = asked
        .lines()
        .find(|line| line.contains("--since=@"))
        .unwrap();
    assert!(
        since.contains("--unit=alfred.service") && since.contains("--lines=500"),
        "{since}"
    );
}

#[test]
fn what_postgresql_does_is_read_where_the_scenario_says_how() {
    let server = Server::new();
    let bench = Bench::new();
    let target = TestTarget::start_with(BROKEN, Aside::Nothing);
    let mut held = server.client();
    held.batch_execute("set application_name = 'stuck'; begin")
        .unwrap();
    let dsn = server.dsn();
    let recorder = format!("pg_stat_activity = {:?}", dsn.reveal());
    let ran = soak(
        &bench,
        "pg",
        &target,
        &recorder,
        "--qps 20 --duration 2s --window 500ms",
    );
    let all = evidence(&ran.run);
    let record = &all[0].record;
    assert!(has(record, "pg_stat_activity.csv"), "{record:?}");
    let folder = ran.run.join("evidence").join(&all[0].name);
    let csv = std::fs::read_to_string(folder.join("pg_stat_activity.csv")).unwrap();
    let row = csv.lines().find(|line| line.contains(",stuck,")).unwrap();
    assert!(row.contains("idle in transaction"), "{csv}");
    let said = |line: &String| line.starts_with("PostgreSQL: 1 sessions");
    assert!(record.summary.iter().any(said), "{record:?}");
}

#[test]
fn a_scenario_with_a_password_or_an_unknown_key_is_refused() {
    let bench = Bench::new();
    let target = TestTarget::start(QUICK);
    for (recorder, problem) in [
        (
            "pg_stat_activity = \"postgres://me:hunter2@localhost/x\"",
            "password file",
        ),
        ("quiet = 1", "unknown field `quiet`"),
        ("profile_s = 0", "recorder.profile_s must be 1 to 60"),
    ] {
        let ran = soak(&bench, "no", &target, recorder, "--qps 1 --duration 1s");
        assert!([2, 78].contains(&ran.code), "{}", ran.stderr);
        assert!(ran.stderr.contains(problem), "{}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        assert!(!ran.run.exists());
    }
}

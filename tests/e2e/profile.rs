//! Profiles of a daemon under load, read by `go tool pprof`.

use crate::support::{Daemon, Home, PATIENCE};
use alfred::client::{Limits, Outgoing, request_blocking};
use serde_json::json;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// What `go tool pprof -top` says of a profile.
fn top(home: &Home, profile: &[u8]) -> String {
    let file = home.write("profile.pb.gz", profile);
    let mut command = Command::new("go");
    command
        .args(["tool", "pprof", "-top", "-nodecount=400"])
        .arg(file);
    command
        .env("HOME", home.path())
        .env("PPROF_TMPDIR", home.path());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command
        .spawn()
        .expect("go is installed (Debian: golang-go)");
    crate::support::finish(child).expect(0).stdout
}

fn take(daemon: &Daemon, path: &str) -> Vec<u8> {
    let limits = Limits {
        timeout: PATIENCE * 2,
        max_response_bytes: 64 << 20,
    };
    let endpoint = daemon.endpoint.at(path);
    let reply = request_blocking(&endpoint, Outgoing::default(), limits).unwrap();
    let shown = String::from_utf8_lossy(&reply.body);
    assert_eq!(reply.status.as_u16(), 200, "{shown}");
    reply.body.to_vec()
}

#[test]
fn profiles_under_load_are_read_by_pprof() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let text = "# Otters\n\nAn otter holds hands while it sleeps.\n";
    let document = json!({"source": "a.md", "content": text});
    assert_eq!(
        daemon.request("POST", "/v1/documents", Some(&document)).0,
        200
    );
    let stop = AtomicBool::new(false);
    let (cpu, svg, heap) = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each one is embedded anew.
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                daemon.ask(&json!({"query": format!("What do otters do, number {number}?")}));
            }
        });
        let cpu = take(&daemon, "/debug/pprof/profile?seconds=4");
        let svg = take(&daemon, "/debug/pprof/flamegraph?seconds=1");
        let heap = take(&daemon, "/debug/pprof/heap");
        stop.store(true, Ordering::Relaxed);
        (cpu, svg, heap)
    });
    // A build that was not packaged names its own functions without their paths, or not at all: `tests/system`
    // looks for those in a package.
    let cpu = top(&home, &cpu);
    assert!(cpu.contains("Type: cpu"), "{cpu}");
    assert!(!cpu.contains("Total samples = 0"), "{cpu}");
    let svg = String::from_utf8(svg).unwrap();
    assert!(svg.contains("<svg") && !svg.contains("no samples"), "{svg}");
    let heap = top(&home, &heap);
    assert!(heap.contains("Type: inuse_space"), "{heap}");
    assert!(heap.contains("__rust_begin_short_backtrace"), "{heap}");
}

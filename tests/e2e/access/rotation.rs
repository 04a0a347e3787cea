//! Keys that change while requests run: none that had a valid one fails.

use super::{key, to};
use crate::support::Home;
use serde_json::json;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const ROTATIONS: usize = 12;
const CLIENTS: usize = 4;

#[test]
fn rotating_keys_under_load_fails_no_request_with_a_valid_one() {
    let home = Home::new();
    let steady = key(&home, "steady", &[]);
    let current = RwLock::new(key(&home, "app-0", &[]));
    let daemon = home.serve(&[]);
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let question = json!({"query": "a question", "mode": "text"});
    let ask = |key: &str| {
        let reply = to(&daemon)
            .with(key)
            .send("POST", "/v1/query", Some(&question));
        assert_eq!(reply.status, 200, "{reply:?}");
        asked.fetch_add(1, Ordering::Relaxed);
    };
    let load = |client: usize| {
        while !done.load(Ordering::Relaxed) {
            match client {
                0 => ask(&steady),
                // Held while it is asked with: it is valid until it is changed.
                _ => ask(&current.read().unwrap()),
            }
        }
    };
    let load = &load;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || load(client));
        }
        // Whatever happens, the clients end.
        let rotated = std::panic::catch_unwind(|| {
            for number in 1..=ROTATIONS {
                let next = key(&home, &format!("app-{number}"), &[]);
                let former = std::mem::replace(&mut *current.write().unwrap(), next);
                let name = format!("app-{}", number - 1);
                home.alfred(&["key", "revoke", &name]).expect(0);
                assert_eq!(to(&daemon).with(&former).get("/v1/status").status, 401);
            }
        });
        done.store(true, Ordering::Relaxed);
        rotated.unwrap();
    });
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked >= 300, "only {asked} requests while keys changed");
    println!("{asked} requests while keys were changed {ROTATIONS} times");
    let left = home.alfred(&["key", "list", "--json"]).expect(0).json();
    assert_eq!(left["keys"].as_array().unwrap().len(), 2);
    assert_eq!(daemon.stop(), 0);
}

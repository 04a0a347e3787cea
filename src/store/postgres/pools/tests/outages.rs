//! Crashes, frost and failover under load, with how long each took.

use super::*;

/// What a loop of calls saw.
#[derive(Default, Debug)]
struct Seen {
    ok: Vec<i32>,
    failed: usize,
    /// Errors that are neither Unavailable nor Busy.
    strange: Vec<String>,
    slowest: Duration,
    /// When the first success after the last failure came.
    recovered: Option<Instant>,
}

/// Calls `call` with 0, 1, … until told to stop.
fn hammer(stop: &AtomicBool, call: impl Fn(i32) -> Result<(), StoreError>) -> Seen {
    let mut seen = Seen::default();
    let mut down = false;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = now();
        match call(n) {
            Ok(()) => {
                seen.ok.push(n);
                if std::mem::take(&mut down) {
                    seen.recovered = Some(now());
                }
            }
            Err(error) => {
                down = true;
                seen.failed += 1;
                if !matches!(
                    error,
                    StoreError::Unavailable { .. } | StoreError::Busy { .. }
                ) {
                    seen.strange.push(error.to_string());
                }
                // As often as a client would.
                SystemClock.sleep(Duration::from_millis(2));
            }
        }
        seen.slowest = seen.slowest.max(began.elapsed());
    }
    seen
}

fn restart_under_load(dsn: impl Fn(&Server) -> Secret, what: &str) {
    let mut server = Server::new();
    table(&server);
    let pools = pools(&dsn(&server), SETTINGS);
    pools.read("cannot read", one).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (pools, stop) = (&pools, &stop);
        let mut readers = Vec::new();
        for _ in 0..6 {
            readers.push(
                scope.spawn(move || hammer(stop, |_| pools.read("cannot read", one).map(drop))),
            );
        }
        let writer = scope.spawn(move || hammer(stop, |n| pools.write("cannot write", insert(n))));
        sleep_ms(300);
        server.stop();
        sleep_ms(700);
        assert!(matches!(
            pools.health(),
            Err(StoreError::Unavailable { .. })
        ));
        let began = now();
        assert!(pools.read("cannot read", one).is_err());
        assert!(
            began.elapsed() < Duration::from_millis(100),
            "{:?}",
            began.elapsed()
        );
        server.start();
        let back = now();
        sleep_ms(1500);
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            check(&reader.join().unwrap(), back, &format!("{what} read"));
        }
        let wrote = writer.join().unwrap();
        check(&wrote, back, &format!("{what} write"));
        let kept = server.execute("SELECT n::text FROM t");
        let kept: std::collections::HashSet<i32> =
            kept.iter().map(|n| n.parse().unwrap()).collect();
        let lost = wrote.ok.iter().filter(|n| !kept.contains(n)).count();
        assert_eq!(lost, 0, "what was acknowledged is kept");
    });
    pools.health().unwrap();
    let state = pools.state();
    assert!(
        state.busy == 0 && state.idle >= 1 && state.idle <= state.max,
        "{state:?}"
    );
}

fn check(seen: &Seen, back: Instant, what: &str) {
    assert!(seen.strange.is_empty(), "{:?}", seen.strange);
    assert!(
        seen.failed > 0,
        "{what}: the server was gone and nobody noticed"
    );
    let recovered = seen.recovered.expect("calls succeed again");
    // Started is when the first connection was made by the test itself, which may be after ours.
    let took = recovered.saturating_duration_since(back);
    eprintln!(
        "{what}: {} ok, {} failed, slowest call {:?}, recovered {took:?} after the start",
        seen.ok.len(),
        seen.failed,
        seen.slowest
    );
    assert!(took < Duration::from_secs(2), "{what}: {took:?}");
    assert!(
        seen.slowest < Duration::from_secs(2),
        "{what}: {:?}",
        seen.slowest
    );
}

#[test]
fn a_crash_under_load_is_over_within_two_seconds_over_a_socket() {
    restart_under_load(Server::dsn, "unix");
}

#[test]
fn a_crash_under_load_is_over_within_two_seconds_over_tcp() {
    restart_under_load(Server::tcp_dsn, "tcp");
}

/// Opens as many connections as there may be.
fn fill(pools: &Pools, count: u32) {
    let nap = |client: &mut Session| Ok(client.batch_execute("SELECT pg_sleep(0.2)")?);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..count)
            .map(|_| scope.spawn(|| pools.read("cannot sleep", nap)))
            .collect();
        for call in calls {
            call.join().unwrap().unwrap();
        }
    });
}

/// Freezes a server under calls; how long these took to end.
fn freeze(dsn: &str, settings: PoolSettings) -> (Vec<Duration>, Duration, Duration) {
    let server = Server::new();
    let dsn = match dsn {
        "tcp" => format!("{}?connect_timeout=1", server.tcp_dsn().reveal()),
        _ => format!("{} connect_timeout=1", server.dsn().reveal()),
    };
    let pools = pools(&Secret::new(dsn), settings);
    thread::scope(|scope| {
        let pools = &pools;
        fill(pools, settings.pool_size);
        server.pause();
        let frozen = now();
        let stuck: Vec<_> = (0..settings.pool_size)
            .map(|_| {
                scope.spawn(move || {
                    let _ = pools.read("cannot read", one);
                    frozen.elapsed()
                })
            })
            .collect();
        sleep_ms(100);
        // New calls: in time at first, at once as soon as it is known.
        while pools.health().is_ok() {
            let began = now();
            let error = pools.read("cannot read", one).unwrap_err();
            assert!(
                matches!(
                    error,
                    StoreError::Busy { .. } | StoreError::Unavailable { .. }
                ),
                "{error}"
            );
            let limit = settings.pool_timeout + Duration::from_millis(150);
            assert!(began.elapsed() < limit, "{:?}", began.elapsed());
            assert!(frozen.elapsed() < Duration::from_secs(8), "nobody notices");
        }
        let noticed = frozen.elapsed();
        for _ in 0..20 {
            let began = now();
            assert!(pools.read("cannot read", one).is_err());
            assert!(
                began.elapsed() < Duration::from_millis(50),
                "{:?}",
                began.elapsed()
            );
        }
        sleep_ms(3500);
        server.resume();
        let thawed = now();
        while pools.read("cannot read", one).is_err() {
            assert!(
                thawed.elapsed() < Duration::from_secs(2),
                "it does not recover"
            );
            sleep_ms(5);
        }
        let recovered = thawed.elapsed();
        let ends = stuck.into_iter().map(|one| one.join().unwrap()).collect();
        let state = pools.state();
        assert!(state.busy == 0, "{state:?}");
        (ends, noticed, recovered)
    })
}

const FROZEN: PoolSettings = PoolSettings {
    pool_size: 3,
    max_reads: 3,
    pool_timeout: Duration::from_millis(300),
    statement_timeout: Duration::from_millis(500),
};

#[test]
fn a_frozen_server_holds_up_nobody_new_and_works_after_it_over_a_socket() {
    let (ends, noticed, recovered) = freeze("unix", FROZEN);
    eprintln!("unix: noticed {noticed:?}, recovered {recovered:?}, stuck calls {ends:?}");
}

#[test]
fn a_frozen_server_holds_up_nobody_new_and_works_after_it_over_tcp() {
    let (ends, noticed, recovered) = freeze("tcp", FROZEN);
    eprintln!("tcp: noticed {noticed:?}, recovered {recovered:?}, stuck calls {ends:?}");
    // statement_timeout and the grace, not the end of the frost.
    let limit = Duration::from_millis(500 + 2000 + 700);
    assert!(ends.iter().all(|end| *end < limit), "{ends:?}");
}

#[test]
fn a_failover_is_ridden_out() {
    let mut primary = Server::new();
    table(&primary);
    let standby = Server::standby_of(&primary);
    let dsn = format!(
        "postgresql://alfred@127.0.0.1:{},127.0.0.1:{}/alfred",
        primary.port(),
        standby.port()
    );
    let pools = pools(&Secret::new(dsn), SETTINGS);
    let recovering = |client: &mut Session| {
        Ok(client
            .query_one("SELECT pg_is_in_recovery()", &[])?
            .get::<_, bool>(0))
    };
    assert!(
        pools.read("cannot read", recovering).unwrap(),
        "reads go to the standby"
    );
    assert!(
        !pools.write("cannot write", recovering).unwrap(),
        "writes go to the primary"
    );
    assert!(
        !pools
            .dedicated()
            .unwrap()
            .query_one("SELECT pg_is_in_recovery()", &[])
            .unwrap()
            .get::<_, bool>(0)
    );
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (pools, stop) = (&pools, &stop);
        let writer = scope.spawn(move || hammer(stop, |n| pools.write("cannot write", insert(n))));
        let reader =
            scope.spawn(move || hammer(stop, |_| pools.read("cannot read", one).map(drop)));
        sleep_ms(300);
        primary.kill();
        sleep_ms(500);
        let error = pools
            .write("cannot write", insert(-1))
            .unwrap_err()
            .to_string();
        assert!(error.contains("it is a standby"), "{error}");
        standby.promote();
        let promoted = now();
        sleep_ms(1500);
        stop.store(true, Ordering::Relaxed);
        check(&writer.join().unwrap(), promoted, "failover write");
        let read = reader.join().unwrap();
        assert_eq!(read.failed, 0, "reads go on: {read:?}");
        eprintln!(
            "failover read: {} ok, slowest {:?}",
            read.ok.len(),
            read.slowest
        );
    });
    pools.health().unwrap();
}

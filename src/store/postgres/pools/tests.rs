//! Against a real server: restarts, exhaustion, freezing, failover.

mod outages;

use super::*;
use crate::clock::SystemClock;
use crate::secret::Secret;
use crate::store::postgres::testing::Server;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

const SETTINGS: PoolSettings = PoolSettings {
    pool_size: 4,
    max_reads: 4,
    pool_timeout: Duration::from_millis(500),
    statement_timeout: Duration::from_secs(1),
};

fn pools(dsn: &Secret, settings: PoolSettings) -> Pools {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = PoolMetrics::default();
    Pools::new(Dsn::parse(dsn).unwrap(), settings, &clock, &metrics)
}

fn now() -> Instant {
    SystemClock.monotonic()
}

fn one(client: &mut Session) -> Result<i32, Fault> {
    Ok(client.query_one("SELECT 1", &[])?.get(0))
}

fn table(server: &Server) {
    server.execute("CREATE TABLE t (n int PRIMARY KEY)");
}

/// Writes `n`, again where it is not known whether it was written.
fn insert(n: i32) -> impl FnMut(&mut Session) -> Result<(), Fault> {
    move |client| {
        client.execute("INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING", &[&n])?;
        Ok(())
    }
}

fn sleep_ms(milliseconds: u64) {
    SystemClock.sleep(Duration::from_millis(milliseconds));
}

#[test]
fn reads_and_writes_on_one_server() {
    let began = now();
    let server = Server::new();
    eprintln!("server up after {:?}", began.elapsed());
    let pools = pools(&server.dsn(), SETTINGS);
    assert_eq!(pools.read("cannot read", one).unwrap(), 1);
    let timeout = pools.write("cannot write", |client| {
        Ok(client
            .query_one("SHOW statement_timeout", &[])?
            .get::<_, String>(0))
    });
    assert_eq!(timeout.unwrap(), "1s");
    let timeout = pools
        .dedicated()
        .unwrap()
        .query_one("SHOW statement_timeout", &[])
        .unwrap();
    assert_eq!(timeout.get::<_, &str>(0), "0");
    assert_eq!(pools.state().max, 4);
    pools.health().unwrap();
}

#[test]
fn a_restart_is_ridden_out_without_a_word() {
    let mut server = Server::new();
    let pools = pools(&server.dsn(), SETTINGS);
    pools.read("cannot read", one).unwrap();
    server.restart();
    assert_eq!(pools.read("cannot read", one).unwrap(), 1);
}

#[test]
fn an_exhausted_pool_says_so_in_time() {
    let server = Server::new();
    let settings = PoolSettings {
        pool_size: 2,
        max_reads: 2,
        pool_timeout: Duration::from_millis(200),
        statement_timeout: Duration::from_secs(5),
    };
    let pools = pools(&server.dsn(), settings);
    let nap = |client: &mut Session| Ok(client.batch_execute("SELECT pg_sleep(1)")?);
    thread::scope(|scope| {
        let sleepers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| pools.read("cannot sleep", nap)))
            .collect();
        while pools.state().busy < 2 {
            sleep_ms(5);
        }
        let began = now();
        let error = pools.read("cannot read", one).unwrap_err();
        let took = began.elapsed();
        assert!(
            took > Duration::from_millis(190) && took < Duration::from_millis(400),
            "{took:?}"
        );
        assert!(matches!(error, StoreError::Busy { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("all 2 connections (store.pool_size)") && text.contains("200 ms"),
            "{text}"
        );
        for sleeper in sleepers {
            sleeper.join().unwrap().unwrap();
        }
    });
    assert_eq!(pools.state().timeouts, 1);
    pools.health().unwrap();
    assert_eq!(pools.read("cannot read", one).unwrap(), 1);
}

#[test]
fn a_statement_that_takes_too_long_is_busy() {
    let server = Server::new();
    table(&server);
    let pools = pools(&server.dsn(), SETTINGS);
    let nap = |client: &mut Session| Ok(client.batch_execute("SELECT pg_sleep(10)")?);
    let error = pools.read("cannot sleep", nap).unwrap_err();
    assert!(matches!(&error, StoreError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("57014"), "{error}");
    let mut holder = server.client();
    holder.batch_execute("BEGIN; LOCK TABLE t").unwrap();
    let error = pools.write("cannot write", insert(1)).unwrap_err();
    assert!(
        error.to_string().contains("a lock was not to be had"),
        "{error}"
    );
    holder.batch_execute("ROLLBACK").unwrap();
    // The connection is as good as before.
    pools.write("cannot write", insert(1)).unwrap();
    let error = pools
        .read("cannot read", |client| {
            Ok(client.batch_execute("SELECT nothing")?)
        })
        .unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("42703"), "{cause}");
}

#[test]
fn a_connection_to_a_server_that_takes_no_writes_any_more_is_thrown_away() {
    let server = Server::new();
    table(&server);
    let dsn = format!("{} target_session_attrs=read-write", server.dsn().reveal());
    let pools = pools(&Secret::new(dsn), SETTINGS);
    pools.write("cannot write", insert(1)).unwrap();
    let read_only = |value: &str| {
        server.execute(&format!(
            "ALTER SYSTEM SET default_transaction_read_only = {value}"
        ));
        server.execute("SELECT pg_reload_conf()");
        while server.execute("SHOW default_transaction_read_only") != [value] {
            sleep_ms(5);
        }
    };
    read_only("on");
    let began = now();
    let error = loop {
        match pools.write("cannot write", insert(2)) {
            // The sessions hear of it a moment later than a new one.
            Ok(()) => assert!(began.elapsed() < Duration::from_secs(2)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    read_only("off");
    let began = now();
    while pools.write("cannot write", insert(3)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(2));
        sleep_ms(5);
    }
}

#[test]
fn a_server_that_was_never_there_is_found_when_it_comes() {
    let mut server = Server::new();
    server.stop();
    let pools = pools(&server.dsn(), SETTINGS);
    let began = now();
    let error = pools.read("cannot read", one).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
    server.start();
    let began = now();
    while pools.read("cannot read", one).is_err() {
        assert!(began.elapsed() < Duration::from_secs(2));
        sleep_ms(5);
    }
    eprintln!("found after {:?}", began.elapsed());
}

#[test]
fn threads_end_with_the_pools_and_a_runtime_may_drop_them() {
    // Without those of the allocator, which come by themselves.
    let is_ours = |task: &std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| !name.starts_with("jemalloc"))
    };
    let count = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.filter_map(Result::ok).filter(is_ours).count()
    };
    let server = Server::new();
    let before = count();
    let pools = pools(&server.dsn(), SETTINGS);
    pools.read("cannot read", one).unwrap();
    assert!(
        count() > before && count() <= before + 5,
        "{}",
        count() - before
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async move { drop(pools) });
    let began = now();
    while count() > before {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{} threads stay",
            count() - before
        );
        sleep_ms(5);
    }
    let began = now();
    while server
        .execute("SELECT pid::text FROM pg_stat_activity WHERE application_name = 'alfred'")
        .len()
        > 1
    {
        assert!(began.elapsed() < Duration::from_secs(5), "connections stay");
    }
}

#[test]
fn a_password_is_in_no_message() {
    let server = Server::with_config(&["password_encryption = 'scram-sha-256'"]);
    server.execute("CREATE ROLE reader LOGIN PASSWORD 'right'");
    let hba = server.folder().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(
        &hba,
        format!("host all reader 127.0.0.1/32 scram-sha-256\n{rules}"),
    )
    .unwrap();
    server.execute("SELECT pg_reload_conf()");
    let dsn = |user: &str, password: &str, name: &str| {
        let port = server.port();
        Secret::new(format!(
            "postgresql://{user}:{password}@127.0.0.1:{port}/{name}"
        ))
    };
    let right = pools(&dsn("reader", "right", "alfred"), SETTINGS);
    let began = now();
    while right.read("cannot read", one).is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "the rule does not come into force"
        );
    }
    for (user, name, code) in [
        ("reader", "alfred", "28P01"),
        ("nobody", "alfred", "28"),
        ("reader", "absent", ""),
    ] {
        let pools = pools(&dsn(user, "hush-hush", name), SETTINGS);
        let error = pools.read("cannot read", one).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        let text = format!(
            "{error} {error:?} {} {:?}",
            pools.location(),
            pools.health()
        );
        assert!(text.contains(code) && !text.contains("hush"), "{text}");
    }
}

/// Where PgBouncer is installed.
#[test]
fn a_pooler_that_takes_no_session_settings_is_worked_with() {
    use crate::store::postgres::testing::{as_server_user, free_port};
    let server = Server::new();
    server.execute("ALTER ROLE alfred SET statement_timeout = '3s'");
    let (port, folder) = (free_port(), server.folder().display());
    let config = format!(
        "[databases]\nalfred = host={folder} port={} user=alfred\n[pgbouncer]\nlisten_port = {port}\n\
         listen_addr = 127.0.0.1\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n",
        server.port()
    );
    server.put("pgbouncer.ini", config.as_bytes());
    let spawned = as_server_user(std::path::Path::new("pgbouncer"))
        .arg(server.folder().join("data/pgbouncer.ini"))
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut pooler = spawned.unwrap();
    let dsn = format!("postgresql://alfred@127.0.0.1:{port}/alfred");
    let pools = pools(&Secret::new(dsn), SETTINGS);
    let began = now();
    let timeout = loop {
        let timeout = pools.read("cannot read", |client| {
            let messages = client.simple_query("SHOW statement_timeout")?;
            Ok(messages.iter().find_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            }))
        });
        if let Some(status) = pooler.try_wait().unwrap() {
            eprintln!("skipped: PgBouncer does not run here: {status}");
            return;
        }
        match timeout {
            Ok(timeout) => break timeout,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(5), "{error}"),
        }
        sleep_ms(20);
    };
    assert_eq!(timeout.as_deref(), Some("3s"), "the role's");
    let nap = |client: &mut Session| {
        client.simple_query("SELECT pg_sleep(10)")?;
        Ok(())
    };
    let error = pools.read("cannot sleep", nap).unwrap_err().to_string();
    // The role's limit of 3 s and the silence of 1 s + 2 s meet here.
    assert!(
        error.contains("57014") || error.contains("said nothing for 3000 ms"),
        "{error}"
    );
    pooler.kill().unwrap();
    pooler.wait().unwrap();
}

#[test]
fn reads_take_turns_and_hold_no_write_up() {
    let server = Server::new();
    let settings = PoolSettings {
        max_reads: 1,
        pool_timeout: Duration::from_secs(10),
        ..SETTINGS
    };
    let pools = pools(&server.dsn(), settings);
    pools.write("cannot write", one).unwrap();
    let nap = |client: &mut Session| Ok(client.batch_execute("SELECT pg_sleep(0.4)")?);
    let started = SystemClock.monotonic();
    let wrote = thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(|| pools.read("cannot sleep", nap)));
        // Both are there: one sleeps, one waits for it.
        while pools.state().busy == 0 {
            thread::yield_now();
        }
        pools.write("cannot write", one).unwrap();
        let wrote = started.elapsed();
        for reader in readers {
            reader.join().unwrap().unwrap();
        }
        wrote
    });
    let read = started.elapsed();
    assert!(wrote < Duration::from_millis(400), "{wrote:?}");
    assert!(read >= Duration::from_millis(800), "{read:?}");
}

#[test]
fn where_the_database_is_decides_how_many_read_at_once() {
    let places = |dsn: &str, max_reads| {
        let dsn = Dsn::parse(&Secret::new(dsn)).unwrap();
        let settings = PoolSettings {
            max_reads,
            pool_size: 77,
            ..SETTINGS
        };
        reads_at_once(&dsn, settings)
    };
    let cores = thread::available_parallelism().unwrap().get();
    for here in [
        "host=/run/postgresql",
        "host=localhost",
        "host=127.0.0.1,::1",
        "host=::1",
    ] {
        assert_eq!(places(here, 0), cores, "{here}");
    }
    for elsewhere in ["host=db.internal", "host=localhost,db2", "host=10.0.0.1"] {
        assert_eq!(places(elsewhere, 0), 77, "{elsewhere}");
    }
    assert_eq!(places("host=localhost", 5), 5);
}

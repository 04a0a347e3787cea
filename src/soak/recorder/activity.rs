//! Evidence from PostgreSQL: what its sessions do and wait for, where the scenario says how to connect.
//!
//! `psql` is asked, not a library: a soak knows nothing of stores, and whoever soaks another service has
//! the same use for it. Passwords are refused in the scenario, so that neither arguments nor `run.json` have
//! one; libpq takes them from a password file or a service file.

use super::piece::Piece;
use crate::program::{Asked, ask_all};
use crate::soak::units::show_count;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

const WHAT: &str = "sessions of PostgreSQL (pg_stat_activity)";
const PATIENCE: Duration = Duration::from_secs(5);
const SQL: &str = "\
    select pid, application_name, state, wait_event_type, wait_event, \
    round(extract(epoch from clock_timestamp() - query_start)::numeric, 3) as query_age_s, \
    round(extract(epoch from clock_timestamp() - xact_start)::numeric, 3) as transaction_age_s, \
    case when wait_event_type = 'Lock' then pg_blocking_pids(pid)::text end as blocked_by, \
    left(query, 200) as query \
    from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() \
    order by query_start limit 500";

/// `pg_stat_activity.csv`.
pub(super) fn take(conninfo: &str, max_bytes: u64) -> Piece {
    let connect = format!("--dbname={conninfo}");
    let said = ask_all(Asked {
        program: "psql",
        arguments: &[
            "--no-psqlrc",
            "--no-password",
            "--csv",
            "--command",
            SQL,
            &connect,
        ],
        environment: &[
            ("PGCONNECT_TIMEOUT", "2"),
            ("PGAPPNAME", "alfred-soak"),
            (
                "PGOPTIONS",
                "-c statement_timeout=2000 -c default_transaction_read_only=on",
            ),
        ],
        stderr: true,
        patience: PATIENCE,
        max_bytes,
    });
    match said {
        Ok(said) => piece(&said, max_bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Piece::missing(WHAT, "psql is not installed")
        }
        Err(error) => Piece::missing(WHAT, &error.to_string()),
    }
}

fn piece(csv: &str, max_bytes: u64) -> Piece {
    let mut piece = Piece::file(
        "pg_stat_activity.csv",
        WHAT,
        csv.as_bytes().to_vec(),
        max_bytes,
    );
    let mut rows = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(csv.as_bytes());
    let places = rows.headers().cloned().unwrap_or_default();
    let place = |name: &str| places.iter().position(|header| header == name);
    let (state, kind, event, age) = (
        place("state"),
        place("wait_event_type"),
        place("wait_event"),
        place("query_age_s"),
    );
    let (mut sessions, mut active, mut oldest_s) = (0, 0, 0.0_f64);
    let mut waits: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows.records().flatten() {
        let field = |place: Option<usize>| place.and_then(|at| row.get(at)).unwrap_or_default();
        sessions += 1;
        if field(state) != "active" {
            continue;
        }
        active += 1;
        oldest_s = oldest_s.max(field(age).parse().unwrap_or(0.0));
        if !field(kind).is_empty() {
            let wait = format!("{} {}", field(kind), field(event));
            *waits.entry(wait).or_default() += 1;
        }
    }
    let mut line = format!(
        "PostgreSQL: {} sessions, {} active",
        show_count(sessions),
        show_count(active)
    );
    if active > 0 {
        let _ = write!(line, ", the oldest query for {oldest_s:.1} s");
    }
    let waits: Vec<String> = waits
        .iter()
        .map(|(wait, count)| format!("{} for {wait}", show_count(*count)))
        .collect();
    if !waits.is_empty() {
        let _ = write!(line, "; waiting: {}", waits.join(", "));
    }
    piece.say(&line);
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_wait_are_counted_by_what_for() {
        let csv = "pid,application_name,state,wait_event_type,wait_event,query_age_s,transaction_age_s,blocked_by,query\n\
                   1,a,active,Lock,transactionid,12.500,13,{2},\"update x\nset y\"\n\
                   2,a,idle in transaction,Client,ClientRead,40,40,,update x\n\
                   3,a,active,,,0.1,0.1,,select\n";
        let piece = piece(csv, 1 << 20);
        let expected = "PostgreSQL: 3 sessions, 2 active, the oldest query for 12.5 s; waiting: \
                        1 for Lock transactionid";
        assert_eq!(piece.summary, [expected]);
        assert_eq!(
            super::piece("", 9).summary,
            ["PostgreSQL: 0 sessions, 0 active"]
        );
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let missing = take("host=127.0.0.1 port=1 user=nobody", 1_000);
        assert!(missing.files.is_empty());
        let why = &missing.missing[0].why;
        assert!(
            why.contains("refused") || why.contains("psql is not installed"),
            "{why}"
        );
    }
}

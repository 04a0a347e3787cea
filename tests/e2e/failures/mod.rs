//! What clients see while something that the daemon depends on is broken, and how soon all is well
//! again: each case breaks one thing under load, mends it, and holds the daemon to what
//! `docs/failure-modes.md` promises.
//!
//! Every day each case is a test of its own, with short faults and short limits. The tests that
//! begin with `long_` run those of a table with the daemon's own limits; told to by
//! `ALFRED_REWRITE_GOLDEN`, they write the page.

mod clients;
mod damage;
mod disk;
mod fault;
mod flood;
mod itself;
mod killed;
mod load;
mod overload;
mod page;
mod postgres;
mod provider;
mod redis;
mod standby;
mod start;
mod tunnel;
mod watch;

use watch::Pace;

/// One thing that goes wrong.
pub(super) struct Case {
    /// What happens, as the page has it.
    name: &'static str,
    run: fn(&Pace) -> Cells,
}

/// What a case saw, as the page has it, in the columns of its table.
pub(super) struct Cells(Vec<String>);

/// A table of the page.
pub(super) struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    cases: &'static [Case],
}

/// The cases of one dependency, and a test for each.
macro_rules! cases {
    ($($function:ident: $name:literal,)+) => {
        pub(super) const CASES: &[crate::failures::Case] = &[$(crate::failures::Case {
            name: $name,
            run: |pace| $function(pace).into(),
        }),+];

        mod every_day {
            $(
                #[test]
                fn $function() {
                    super::$function(&crate::failures::watch::Pace::BRIEF);
                }
            )+
        }
    };
}
use cases;

/// All tables, by what is broken, and a test that makes each.
macro_rules! tables {
    ($($test:ident: $name:literal, $columns:expr, $cases:expr;)+) => {
        const TABLES: &[Table] = &[$(Table { name: $name, columns: $columns, cases: $cases }),+];

        $(
            #[test]
            fn $test() {
                page::make($name);
            }
        )+
    };
}

tables! {
    long_provider: "The embedding provider", watch::COLUMNS, provider::CASES;
    long_postgres: "PostgreSQL", watch::COLUMNS, postgres::CASES;
    long_standby: "PostgreSQL with a standby", watch::COLUMNS, standby::CASES;
    long_redis: "Redis", watch::COLUMNS, redis::CASES;
    long_start: "At the start", watch::COLUMNS, start::CASES;
    long_disk: "The disk", watch::COLUMNS, disk::CASES;
    long_itself: "The daemon itself", watch::COLUMNS, itself::CASES;
    long_clients: "Clients that misbehave", watch::COLUMNS, clients::CASES;
    long_overload: "More than it can do", overload::COLUMNS, overload::CASES;
    long_killed: "Killed in the middle of an ingest", killed::COLUMNS, killed::CASES;
    long_damage: "A damaged store", damage::COLUMNS, damage::CASES;
}

//! What clients see while something that the daemon depends on is broken, and how soon all is well
//! again: each case breaks one thing under load, mends it, and holds the daemon to what
//! `docs/failure-modes.md` promises.
//!
//! Every day each case is a test of its own, with short faults and short limits. The test that
//! begins with `long_` runs all of them with the daemon's own limits; told to by
//! `ALFRED_REWRITE_GOLDEN`, it writes the page.

mod load;
mod page;
mod postgres;
mod provider;
mod redis;
mod standby;
mod start;
mod watch;

use watch::{Pace, Seen};

/// One thing that goes wrong.
pub(super) struct Case {
    /// What happens, as the page has it.
    name: &'static str,
    run: fn(&Pace) -> Seen,
}

/// The cases of one dependency, and a test for each.
macro_rules! cases {
    ($($function:ident: $name:literal,)+) => {
        pub(super) const CASES: &[crate::failures::Case] = &[$(crate::failures::Case {
            name: $name,
            run: $function,
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

/// All cases, by what is broken.
const DEPENDENCIES: [(&str, &[Case]); 5] = [
    ("The embedding provider", provider::CASES),
    ("PostgreSQL", postgres::CASES),
    ("PostgreSQL with a standby", standby::CASES),
    ("Redis", redis::CASES),
    ("At the start", start::CASES),
];

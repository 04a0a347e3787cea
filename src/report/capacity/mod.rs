//! Reports on a search for the highest rate: text for people, and a page with the curve.

mod page;
mod plot;
mod text;

pub use page::page;
pub use text::{line, text};

use crate::soak::capacity::record::EdgeRecord;

/// A rate as people read it: `1,234/s`, `12.5/s`.
fn show_rate(per_s: f64) -> String {
    if per_s >= 1_000.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is 0 to 1,000,000"
        )]
        let whole = per_s.round() as u64;
        return format!("{}/s", crate::soak::units::show_count(whole));
    }
    let text = format!("{per_s:.2}");
    format!("{}/s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `held 3 of 4 tries`.
fn show_tries(edge: &EdgeRecord) -> String {
    let word = if edge.tried == 1 { "try" } else { "tries" };
    format!("held {} of {} {word}", edge.held, edge.tried)
}

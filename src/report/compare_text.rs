//! A comparison for people.

use super::compare::{Compared, Comparison};
use super::text::Palette;
use crate::soak::stats::welch::MIN_BATCHES;
use std::fmt::Write as _;

pub(super) fn show(text: &mut String, comparison: &Comparison, palette: &Palette) {
    let [old, new] = comparison.batches;
    let _ = writeln!(
        text,
        "\n{} {}",
        palette.strong.apply_to("compared with"),
        comparison.baseline.join(" ")
    );
    let _ = writeln!(
        text,
        "{old} and {new} batches of {} windows, ratios with 98 % intervals",
        comparison.batch_windows
    );
    let head = format!("{:<12}{:>12}{:>12}{:>8}", "", "baseline", "run", "ratio");
    let _ = writeln!(text, "{}", palette.quiet.apply_to(head));
    let enough = old.min(new) >= MIN_BATCHES;
    for metric in &comparison.metrics {
        line(text, metric, enough, palette);
    }
    for note in &comparison.notes {
        let _ = writeln!(
            text,
            "{} the scenarios differ, {note}",
            palette.doubtful.apply_to("!")
        );
    }
}

fn line(text: &mut String, compared: &Compared, enough: bool, palette: &Palette) {
    let show =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| compared.show(value));
    let (old, new) = (show(compared.baseline), show(compared.run));
    let _ = write!(text, "{:<12}{old:>12}{new:>12}", compared.metric);
    let interval = (
        compared.ratio,
        compared.lower,
        compared.upper,
        compared.smallest_seen,
    );
    let (Some(ratio), Some(lower), Some(upper), Some(seen)) = interval else {
        let why = if enough {
            "not measured in both"
        } else {
            "too few windows to compare"
        };
        let _ = writeln!(text, "{:>8}  {why}", "-");
        return;
    };
    let _ = write!(text, "{ratio:>8.3}  ({lower:.3} to {upper:.3})");
    let said = match compared.result.as_str() {
        "no difference seen" => format!(
            "\n{:<12}no difference seen that this much data can show; \
             the smallest would have been {:.1} %",
            "",
            seen * 100.0
        ),
        word => format!("  {}", palette.strong.apply_to(word)),
    };
    let _ = writeln!(text, "{said}");
}

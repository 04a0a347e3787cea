//! A comparison for people.

use super::compare::{Compared, Comparison, TOO_NOISY};
use super::text::Palette;
use crate::plain;
use crate::soak::stats::welch::MIN_BATCHES;
use std::fmt::Write as _;

pub(super) fn show(text: &mut String, comparison: &Comparison, palette: &Palette) {
    let [old, new] = comparison.batches;
    let _ = writeln!(
        text,
        "\n{} {}",
        palette.strong.apply_to("compared with"),
        plain::one_line(&comparison.baseline.join(" "))
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
            palette.doubtful.apply_to("!"),
            note = plain::one_line(note)
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
    if compared.is_too_noisy() {
        let _ = writeln!(text, "{:>8}  {TOO_NOISY}", "-");
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_called_noise_and_figures_that_mean_nothing_are_not_shown() {
        let said = |seen: f64, upper: f64| {
            let compared = Compared {
                metric: "p95".to_owned(),
                unit: "ms".to_owned(),
                baseline: Some(10.0),
                run: Some(18.4),
                ratio: Some(1.837),
                lower: Some(0.0),
                upper: Some(upper),
                smallest_seen: Some(seen),
                result: "no difference seen".to_owned(),
            };
            let mut text = String::new();
            line(&mut text, &compared, true, &Palette::new(false));
            text
        };
        let noisy = said(8e10, 3_477_608_302.044);
        assert!(noisy.contains(TOO_NOISY), "{noisy}");
        assert!(
            !noisy.contains("3477608302") && !noisy.contains('%'),
            "{noisy}"
        );
        let quiet = said(0.2, 1.9);
        assert!(
            quiet.contains("(0.000 to 1.900)") && quiet.contains("20.0 %"),
            "{quiet}"
        );
    }
}

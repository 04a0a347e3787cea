//! PURE: bars and sparklines, from block characters or from ASCII.

use crate::soak::units::float;

/// The characters that are drawn with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glyphs {
    full: char,
    empty: char,
    /// From least to most.
    heights: [char; 8],
    pub(super) good: &'static str,
    pub(super) bad: &'static str,
    pub(super) unknown: &'static str,
    pub(super) ellipsis: &'static str,
}

pub(super) const BLOCKS: Glyphs = Glyphs {
    full: '█',
    empty: '░',
    heights: ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
    good: "✓",
    bad: "✗",
    unknown: "·",
    ellipsis: "…",
};

pub(super) const ASCII: Glyphs = Glyphs {
    full: '#',
    empty: '.',
    heights: ['_', '.', ':', '-', '=', '+', '*', '#'],
    good: "+",
    bad: "X",
    unknown: "?",
    ellipsis: "~",
};

impl Glyphs {
    /// A bar of `cells`, of which `share` (0 to 1) is full.
    pub(super) fn bar(&self, share: f64, cells: usize) -> String {
        let full = rounded(share.clamp(0.0, 1.0) * float(cells as u64)).min(cells);
        let part = |glyph, count| std::iter::repeat_n(glyph, count).collect::<String>();
        part(self.full, full) + &part(self.empty, cells - full)
    }

    /// A character a value, as high as its share of the greatest; a space where there is none.
    pub(super) fn sparkline(&self, values: impl Iterator<Item = Option<u64>> + Clone) -> String {
        let most = float(values.clone().flatten().max().unwrap_or(0)).max(1.0);
        let height = |value: u64| {
            let place = rounded(float(value) / most * 8.0).clamp(1, 8);
            self.heights[place - 1]
        };
        values.map(|value| value.map_or(' ', height)).collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of cells, from 0 to some hundred"
)]
fn rounded(value: f64) -> usize {
    value.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_it_should_be() {
        assert_eq!(BLOCKS.bar(0.5, 4), "██░░");
        assert_eq!(ASCII.bar(0.0, 3), "...");
        assert_eq!(ASCII.bar(7.0, 3), "###");
        assert_eq!(ASCII.bar(f64::NAN, 3), "...");
        assert_eq!(BLOCKS.bar(1.0, 0), "");
    }

    #[test]
    fn a_sparkline_shows_a_freeze_and_a_gap() {
        let values = [Some(5_000), Some(6_000), None, Some(3_500_000), Some(5_000)];
        assert_eq!(BLOCKS.sparkline(values.into_iter()), "▁▁ █▁");
        assert_eq!(BLOCKS.sparkline((1..=8).map(|n| Some(n * 10))), "▁▂▃▄▅▆▇█");
        assert_eq!(ASCII.sparkline([Some(0), Some(0)].into_iter()), "__");
        assert_eq!(BLOCKS.sparkline(std::iter::empty()), "");
    }
}

//! What the page's script draws from, as JSON in the page: short numbers, a list a line.

use super::heat::Heat;
use super::marks::Mark;
use super::plots::{Axis, Limit, Plot, Slope, Unit};
use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};

/// Significant digits of values: histograms have three, and slopes of memory show with five.
const DIGITS: i32 = 5;

/// All of it.
#[derive(Serialize)]
pub(super) struct Page<'a> {
    pub(super) runs: Vec<Run<'a>>,
}

/// A run.
#[derive(Serialize)]
pub(super) struct Run<'a> {
    pub(super) id: &'a str,
    /// When the measured part began, in milliseconds since the epoch; 0 when unknown.
    pub(super) start_ms: u64,
    /// Where the time axis ends.
    pub(super) length_s: f64,
    /// The middles of points.
    pub(super) x: Numbers,
    pub(super) plots: Vec<Drawn<'a>>,
    pub(super) heat: Option<&'a Heat>,
    pub(super) marks: &'a [Mark],
}

/// A plot.
#[derive(Serialize)]
pub(super) struct Drawn<'a> {
    id: &'a str,
    title: &'a str,
    unit: Unit,
    axis: Axis,
    lines: Vec<Values<'a>>,
    limits: &'a [Limit],
    slopes: &'a [Slope],
}

#[derive(Serialize)]
struct Values<'a> {
    name: &'a str,
    values: Numbers,
}

/// Numbers, `null` where there is none.
pub(super) struct Numbers(pub(super) Vec<Option<f64>>);

impl<'a> Drawn<'a> {
    pub(super) fn of(plot: &'a Plot) -> Self {
        Self {
            id: plot.id,
            title: plot.title,
            unit: plot.unit,
            axis: plot.axis,
            lines: plot
                .lines
                .iter()
                .map(|line| Values {
                    name: &line.name,
                    values: Numbers(line.values.iter().map(|v| v.map(short)).collect()),
                })
                .collect(),
            limits: &plot.limits,
            slopes: &plot.slopes,
        }
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for value in &self.0 {
            match value {
                // Without ".0", which would be a fifth of the page.
                Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "a whole number below 2^53"
                    )]
                    list.serialize_element(&(*value as i64))?;
                }
                value => list.serialize_element(value)?,
            }
        }
        list.end()
    }
}

/// `value` with [`DIGITS`] significant digits.
pub(super) fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an exponent of at most 308"
    )]
    let places = DIGITS - 1 - value.abs().log10().floor() as i32;
    if places <= 0 {
        return value.round();
    }
    let scale = 10.0_f64.powi(places.min(300));
    (value * scale).round() / scale
}

/// JSON that an element of HTML can hold: no `<`, so no end of the element and no comment.
///
/// # Errors
/// When it cannot be turned into JSON.
pub(super) fn embedded<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    // A `<` can stand in a text alone, where the escape means the same.
    Ok(serde_json::to_string(value)?.replace('<', "\\u003c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_gaps_are_null() {
        let numbers = [Some(5.0), None, Some(0.123_456_7), Some(209_715.27)].map(|v| v.map(short));
        let json = serde_json::to_string(&Numbers(numbers.to_vec())).unwrap();
        assert_eq!(json, "[5,null,0.12346,209715]");
        assert!(short(f64::NAN).abs() < f64::EPSILON);
        assert!((short(1e-320)).abs() < 1e-300);
    }

    #[test]
    fn no_text_ends_the_element() {
        let json = embedded(&"</script><!-- <script>").unwrap();
        assert!(!json.contains('<'));
        assert_eq!(
            serde_json::from_str::<String>(&json).unwrap(),
            "</script><!-- <script>"
        );
    }
}

//! The latency-by-rate curve as an SVG: both axes logarithmic, one line a percentile. Lines differ in
//! dashes and marks as well as in colour; what did not hold is hollow. Colours are those of the page.

use super::show_rate;
use crate::report::show_ms;
use crate::soak::capacity::curve::Point;
use crate::soak::capacity::record::CapacityRecord;
use crate::soak::latency::Series;
use crate::soak::threshold::{Metric, Threshold};
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 694.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 352.0;
/// Least distance of two labels at the ends of lines.
const LABEL_GAP: f64 = 15.0;

/// A line: its name, class, and values.
type Line = (&'static str, &'static str, fn(&Point) -> Option<f64>);

const LINES: [Line; 3] = [
    ("p50", "a", |point| point.p50_ms),
    ("p95", "b", |point| point.p95_ms),
    ("p99", "c", |point| point.p99_ms),
];

/// A logarithmic axis.
struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// Over `values` with some air, drawn from `start` to `end`; `None` without values.
    fn over(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Option<Self> {
        let (mut from, mut to) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            (from, to) = (from.min(value), to.max(value));
        }
        (to > 0.0).then_some(Self {
            from: from / 1.25,
            to: to * 1.25,
            start,
            end,
        })
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.max(self.from) / self.from).ln() / (self.to / self.from).ln();
        self.start + (self.end - self.start) * share.min(1.0)
    }

    /// 1, 2 and 5 of every decade; of long axes the decades alone.
    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.to / self.from > 3_000.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        (-6..8)
            .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
            .filter(|value| (self.from..=self.to).contains(value))
            .collect()
    }
}

/// The plot; `None` when there is nothing to draw.
pub(super) fn svg(record: &CapacityRecord) -> Option<String> {
    let rates = Axis::over(record.curve.iter().map(|p| p.rate_per_s), LEFT, RIGHT)?;
    let limits = limits(record);
    let latencies = record
        .curve
        .iter()
        .flat_map(|point| LINES.iter().filter_map(|(_, _, value)| value(point)))
        .chain(limits.iter().map(|(_, limit)| *limit));
    let latencies = Axis::over(latencies, BOTTOM, TOP)?;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"plot-title plot-desc\">\n\
         <title id=\"plot-title\">Latency by rate</title>\n\
         <desc id=\"plot-desc\">p50, p95 and p99 of the response in milliseconds by requests a \
         second, both axes logarithmic. The table below has the same figures.</desc>\n"
    );
    grid(&mut svg, &rates, &latencies);
    for (expr, limit) in &limits {
        let y = latencies.at(*limit);
        let _ = writeln!(
            svg,
            "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"quiet\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT + 6.0,
            y - 5.0,
            crate::report::markup::escape(expr)
        );
    }
    marks(&mut svg, record, &rates);
    for line in LINES {
        draw(&mut svg, &record.curve, line, (&rates, &latencies));
    }
    labels(&mut svg, &record.curve, &latencies);
    svg.push_str("</svg>\n");
    Some(svg)
}

/// Thresholds on latencies of the response, with their limits.
fn limits(record: &CapacityRecord) -> Vec<(String, f64)> {
    let of = |text: &String| {
        let threshold: Threshold = text.parse().ok()?;
        let is_drawn = matches!(threshold.metric(), Metric::Quantile(Series::Response, _));
        let limit = threshold.latency_limit_ms().filter(|_| is_drawn)?;
        Some((text.clone(), limit))
    };
    record.asked.thresholds.iter().filter_map(of).collect()
}

fn grid(svg: &mut String, rates: &Axis, latencies: &Axis) {
    for tick in rates.ticks() {
        let x = rates.at(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            BOTTOM + 18.0,
            show_rate(tick)
        );
    }
    for tick in latencies.ticks() {
        let y = latencies.at(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            round_latency(tick)
        );
    }
    let _ = writeln!(
        svg,
        "<text text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">requests a second</text>",
        f64::midpoint(LEFT, RIGHT),
        HEIGHT - 8.0
    );
}

/// A round number of milliseconds.
fn round_latency(ms: f64) -> String {
    if ms >= 1_000.0 {
        format!("{} s", ms / 1e3)
    } else if ms >= 1.0 {
        format!("{ms} ms")
    } else {
        format!("{:.0} us", ms * 1e3)
    }
}

/// Upright lines at the ends of the interval and at the knee.
fn marks(svg: &mut String, record: &CapacityRecord, rates: &Axis) {
    let held = record.held.map(|edge| ("held", "held", edge.rate_per_s));
    let broke = record.broke.map(|edge| ("broke", "broke", edge.rate_per_s));
    let knee = record
        .knee
        .as_ref()
        .map(|knee| ("knee", "knee", knee.rate_per_s));
    // Ends of the interval lie close together: their names go to either side.
    let sides = [
        ("end", -4.0, TOP - 8.0),
        ("start", 4.0, TOP - 8.0),
        ("end", -4.0, TOP - 24.0),
    ];
    for (mark, (anchor, aside, y)) in [held, broke, knee].into_iter().zip(sides) {
        let Some((name, class, rate)) = mark else {
            continue;
        };
        let x = rates.at(rate);
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{BOTTOM}\"/>\
             <text text-anchor=\"{anchor}\" x=\"{:.1}\" y=\"{y:.1}\">{name} {}</text>",
            y + 2.0,
            x + aside,
            show_rate(rate)
        );
    }
}

fn draw(svg: &mut String, curve: &[Point], line: Line, (rates, latencies): (&Axis, &Axis)) {
    let (name, class, value) = line;
    let places: Vec<(f64, f64, &Point, f64)> = curve
        .iter()
        .filter_map(|point| {
            let ms = value(point)?;
            Some((rates.at(point.rate_per_s), latencies.at(ms), point, ms))
        })
        .collect();
    let points = places.iter().fold(String::new(), |mut all, (x, y, ..)| {
        let _ = write!(all, "{x:.1},{y:.1} ");
        all
    });
    let _ = writeln!(
        svg,
        "<polyline class=\"line {class}\" points=\"{}\"/>",
        points.trim_end()
    );
    for (x, y, point, ms) in places {
        let (state, word) = if point.is_held() {
            ("", "held")
        } else {
            (" hollow", "did not hold")
        };
        let shape = match class {
            "a" => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", x - 4.0),
            "b" => format!("M{:.1} {:.1}h7v7h-7z", x - 3.5, y - 3.5),
            _ => format!("M{:.1} {:.1}h9l-4.5 -8z", x - 4.5, y + 4.0),
        };
        let _ = writeln!(
            svg,
            "<path class=\"mark {class}{state}\" d=\"{shape}\"><title>{name} {} at {}, {word}\
             </title></path>",
            show_ms(Some(ms)),
            show_rate(point.rate_per_s)
        );
    }
}

/// Names at the right ends of the lines, apart from each other.
fn labels(svg: &mut String, curve: &[Point], latencies: &Axis) {
    let Some(last) = curve.last() else {
        return;
    };
    let mut lowest = f64::INFINITY;
    for (name, class, value) in LINES {
        let Some(ms) = value(last) else {
            continue;
        };
        // From p50 upwards, so y only falls.
        let y = (latencies.at(ms) + 4.0).min(lowest - LABEL_GAP);
        lowest = y;
        let _ = writeln!(
            svg,
            "<text class=\"name {class}\" x=\"{:.1}\" y=\"{y:.1}\">{name}</text>",
            RIGHT + 6.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_ticks() {
        let axis = Axis::over([8.0, 130.0].into_iter(), 0.0, 100.0).unwrap();
        assert_eq!(axis.ticks(), [10.0, 20.0, 50.0, 100.0]);
        assert!(axis.at(8.0) > 0.0 && axis.at(130.0) < 100.0);
        let long = Axis::over([1.0, 90_000.0].into_iter(), 0.0, 100.0).unwrap();
        assert_eq!(
            long.ticks(),
            [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]
        );
        assert!(Axis::over([0.0].into_iter(), 0.0, 1.0).is_none());
    }
}

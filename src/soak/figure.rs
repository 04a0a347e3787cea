//! PURE: what is followed through a run from window to window: percentiles of the response, and
//! what the unit under test holds.

use super::record::WindowRecord;
use super::units::{float, milliseconds};

/// A figure of every window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// The median of `response`, in milliseconds.
    P50,
    /// p95 of `response`, in milliseconds.
    P95,
    /// p99 of `response`, in milliseconds.
    P99,
    /// Resident memory of the unit, in bytes.
    Rss,
    /// Its proportional share of memory, in bytes.
    Pss,
    /// Its anonymous memory, in bytes.
    Anon,
    /// Its open descriptors.
    Fds,
    /// Its threads.
    Threads,
}

/// In what a figure is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
}

impl Unit {
    /// Its name in verdicts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Bytes => "bytes",
            Self::Count => "count",
        }
    }

    /// The name of a change an hour.
    #[must_use]
    pub fn per_hour(self) -> &'static str {
        match self {
            Self::Ms => "ms/h",
            Self::Bytes => "bytes/h",
            Self::Count => "1/h",
        }
    }
}

impl Figure {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::P50,
        Self::P95,
        Self::P99,
        Self::Rss,
        Self::Pss,
        Self::Anon,
        Self::Fds,
        Self::Threads,
    ];
    /// Those that every long run is looked at for.
    pub const FOLLOWED: [Self; 5] = [Self::P95, Self::Rss, Self::Anon, Self::Fds, Self::Threads];

    /// Its name in scenarios and verdicts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Rss => "rss",
            Self::Pss => "pss",
            Self::Anon => "anon",
            Self::Fds => "fds",
            Self::Threads => "threads",
        }
    }

    /// The figure of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.as_str() == name)
    }

    /// In what it is counted.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::P50 | Self::P95 | Self::P99 => Unit::Ms,
            Self::Rss | Self::Pss | Self::Anon => Unit::Bytes,
            Self::Fds | Self::Threads => Unit::Count,
        }
    }

    /// Its value in a window; `None` when it was not measured.
    #[must_use]
    pub fn of(self, window: &WindowRecord) -> Option<f64> {
        let response = &window.response_us;
        let unit = window.unit.as_ref();
        match self {
            Self::P50 => response.p50.map(milliseconds),
            Self::P95 => response.p95.map(milliseconds),
            Self::P99 => response.p99.map(milliseconds),
            Self::Rss => unit?.rss_bytes.map(float),
            Self::Pss => unit?.pss_bytes.map(float),
            Self::Anon => unit?.anon_bytes.map(float),
            Self::Fds => unit?.descriptors.map(float),
            Self::Threads => unit?.threads.map(float),
        }
    }

    /// Its values through a run: seconds from the end of the warm-up to the middle of the window,
    /// and the value. Windows without it are left out.
    #[must_use]
    pub fn series(self, windows: &[WindowRecord]) -> Vec<(f64, f64)> {
        let point = |window: &WindowRecord| {
            Some((window.start_s + window.length_s / 2.0, self.of(window)?))
        };
        windows.iter().filter_map(point).collect()
    }

    /// `value` with its unit, as `5.31 ms`, `203.1 MiB` or `12.5`.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self.unit() {
            Unit::Ms if value.abs() >= 1e3 => format!("{:.2} s", value / 1e3),
            Unit::Ms => format!("{value:.2} ms"),
            Unit::Bytes => show_bytes(value),
            Unit::Count => format!("{value:.1}"),
        }
    }

    /// [`Figure::show`] of a change, with its sign.
    #[must_use]
    pub fn show_change(self, value: f64) -> String {
        let sign = if value >= 0.0 { "+" } else { "" };
        format!("{sign}{}", self.show(value))
    }
}

/// Bytes in the largest unit that they fill.
fn show_bytes(bytes: f64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fills = |shift: &i32| bytes.abs() >= 2.0_f64.powi(*shift);
    match units.iter().find(|(_, shift)| fills(shift)) {
        Some((unit, shift)) => format!("{:.1} {unit}", bytes / 2.0_f64.powi(*shift)),
        None => format!("{bytes:.0} B"),
    }
}

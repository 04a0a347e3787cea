//! One line a window, for spreadsheets and data frames.

use super::{Report, beside};
use crate::soak::latency::{PERCENTILE_NAMES, Percentiles, Series};
use std::fmt::Write as _;

pub(super) fn report(report: &Report) -> String {
    let mut text =
        "run,window,start_s,length_s,due,ok,error,shed,in_flight_at_end,generator_cpu_s".to_owned();
    for series in Series::ALL {
        for name in PERCENTILE_NAMES {
            let name = name.replace('.', "_");
            let _ = write!(text, ",{}_{name}_us", series.as_str());
        }
    }
    text.push_str(&beside::csv_head());
    text.push('\n');
    for run in &report.runs {
        for window in &run.windows {
            let counts = &window.counts;
            let _ = write!(
                text,
                "{},{},{},{},{},{},{},{},{},{}",
                run.run.id,
                window.window,
                window.start_s,
                window.length_s,
                counts.due,
                counts.ok,
                counts.error,
                counts.shed,
                counts.in_flight_at_end,
                window.resources.generator_cpu_s
            );
            let of_series = [
                window.response_us,
                window.ok_us,
                window.service_us,
                window.lag_us,
            ];
            for value in of_series.iter().flat_map(Percentiles::values) {
                let shown = value.map_or_else(String::new, |value| value.to_string());
                let _ = write!(text, ",{shown}");
            }
            text.push_str(&beside::csv_values(window));
            text.push('\n');
        }
    }
    text
}

//! A plot's place in the page, and its values as a table for those who do not see it.

use super::Shown;
use super::plots::{Plot, Unit};
use super::words::{clock, milliseconds};
use crate::report::markup::{Table, escape};
use std::fmt::Write as _;

/// Most rows of a table of values; each stands for a stretch of points.
const MAX_ROWS: usize = 60;

/// A plot: heading, place to draw, values. `level` is that of its heading.
pub(super) fn figure(page: &mut String, one: &Shown<'_>, (run, level): (usize, u8), plot: &Plot) {
    open(page, (run, level), (plot.id, plot.title), &plot.about);
    let stretch = one.times.len().div_ceil(MAX_ROWS).max(1);
    let caption = if stretch == 1 {
        String::new()
    } else {
        format!(
            "A row stands for {stretch} points, with the {} of their values.",
            plot.fold.as_str()
        )
    };
    let mut head = vec!["from"];
    head.extend(plot.lines.iter().map(|line| line.name.as_str()));
    let label = format!("{}, values", plot.title);
    let table = Table {
        label: &label,
        caption: &caption,
        head: &head,
        last_is_words: false,
    };
    page.push_str("<details><summary>Values</summary>\n");
    let rows = (0..one.times.len()).step_by(stretch).map(|from| {
        let until = (from + stretch).min(one.times.len());
        let mut row = vec![clock(one.times[from])];
        row.extend(plot.lines.iter().map(|line| {
            let values = line.values[from..until].iter().copied().flatten();
            shown(plot.unit, plot.fold.of(values))
        }));
        row
    });
    table.write(page, rows);
    page.push_str("</details></section>\n");
}

/// The heat map of `response`; its values are those of the plot before.
pub(super) fn heat(page: &mut String, one: &Shown<'_>, place: (usize, u8)) {
    let column_s = one.heat.as_ref().map_or(0.0, |heat| heat.column_s);
    let about = format!(
        "How many requests took how long: each column is {}, each row of latencies 15 % above the one \
         below. The deeper the colour, the more requests. The percentiles above are its values in \
         figures.",
        super::words::length(column_s)
    );
    open(page, place, ("heat", "Response, all requests"), &about);
    page.push_str("</section>\n");
}

fn open(page: &mut String, (run, level): (usize, u8), (id, title): (&str, &str), about: &str) {
    let _ = write!(
        page,
        "<section class=\"plot\">\n<h{level} id=\"plot-{run}-{id}\">{}</h{level}>\n\
         <p class=\"quiet\" id=\"about-{run}-{id}\">{}</p>\n\
         <div class=\"canvas\" data-run=\"{run}\" data-plot=\"{id}\"></div>\n",
        escape(title),
        escape(about)
    );
}

/// A value in the unit of its plot.
fn shown(unit: Unit, value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    match unit {
        Unit::Ms => milliseconds(Some(value)),
        Unit::PerSecond => format!("{value:.2}/s"),
        Unit::Percent => format!("{value:.2} %"),
        Unit::Mebibytes => format!("{value:.1} MiB"),
        Unit::Cores => format!("{value:.3}"),
        Unit::Count => format!("{value:.0}"),
    }
}

//! The page that the run of all cases writes, and that lists exactly the cases there are.

use super::watch::{Pace, Seen};
use super::{Case, DEPENDENCIES};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Set to anything, the run of all cases writes the page.
const REWRITE: &str = "ALFRED_REWRITE_GOLDEN";

/// Between these the tables are; what is around them is written by hand.
const BEGIN: &str = "<!-- written by tests/e2e/failures: begin -->\n";
const END: &str = "<!-- written by tests/e2e/failures: end -->\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/failure-modes.md")
}

/// What is before, between and after the marks.
fn parts(page: &str) -> [&str; 3] {
    let (before, rest) = page.split_once(BEGIN).expect("the page has its begin mark");
    let (tables, after) = rest.split_once(END).expect("the page has its end mark");
    [before, tables, after]
}

#[test]
fn the_page_lists_every_case_and_no_other() {
    let page = std::fs::read_to_string(path()).unwrap();
    let [_, tables, _] = parts(&page);
    let mut listed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut heading = "";
    for line in tables.lines() {
        heading = line.strip_prefix("### ").unwrap_or(heading);
        let cells: Vec<&str> = line.split(" | ").collect();
        if cells.len() == 5 && !line.starts_with("| case") {
            let name = cells[0].trim_start_matches("| ");
            listed.entry(heading).or_default().push(name);
        }
    }
    let cases = DEPENDENCIES.map(|(name, cases)| {
        let names = cases.iter().map(|case| case.name).collect();
        (name, names)
    });
    let how = "run the test long_all_failures with ALFRED_REWRITE_GOLDEN=1";
    assert_eq!(listed, BTreeMap::from(cases), "{how}");
}

/// Everything, with the daemon's own limits: minutes.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by its environment to write the page"
)]
fn long_all_failures() {
    let mut tables = String::new();
    for (dependency, cases) in DEPENDENCIES {
        write!(
            tables,
            "\n### {dependency}\n\n\
             | case | what clients saw | slowest reply | well again after | confirmed, then lost |\n\
             |---|---|---|---|---|\n"
        )
        .unwrap();
        for case in cases {
            tables.push_str(&row(case, &(case.run)(&Pace::FULL)));
        }
    }
    tables.push('\n');
    if std::env::var_os(REWRITE).is_some() {
        let page = std::fs::read_to_string(path()).unwrap();
        let [before, _, after] = parts(&page);
        std::fs::write(path(), [before, BEGIN, &tables, END, after].concat()).unwrap();
    }
}

fn row(case: &Case, seen: &Seen) -> String {
    format!(
        "| {} | {} | {:.2} s | {:.2} s | {} of {} |\n",
        case.name,
        replies(seen),
        seen.slowest.as_secs_f64(),
        seen.recovery.as_secs_f64(),
        seen.lost,
        seen.acknowledged
    )
}

/// Each kind of request with its outcomes; those that were all answered come last, together.
fn replies(seen: &Seen) -> String {
    let mut texts = Vec::new();
    let (mut answered, mut count) = (Vec::new(), 0);
    for (kind, outcomes) in &seen.replies {
        if let (1, Some(good)) = (outcomes.len(), outcomes.get("200")) {
            answered.push(kind.name());
            count += good;
            continue;
        }
        let outcomes: Vec<_> = outcomes
            .iter()
            .map(|(outcome, count)| format!("{outcome} × {count}"))
            .collect();
        texts.push(format!("{}: {}", kind.name(), outcomes.join(", ")));
    }
    if texts.is_empty() {
        texts.push(format!("everything: 200 × {count}"));
    } else if !answered.is_empty() {
        texts.push(format!("{}: 200 × {count}", answered.join(", ")));
    }
    texts.join("; ")
}

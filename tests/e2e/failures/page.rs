//! The page that the run of all cases writes, and that lists exactly the cases there are.

use super::watch::Pace;
use super::{Case, TABLES, Table};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Set to anything, the run of a table writes it into the page.
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
        let name = line
            .strip_prefix("| ")
            .and_then(|row| row.split_once(" | "));
        if let Some((name, _)) = name.filter(|(name, _)| *name != "case") {
            listed.entry(heading).or_default().push(name);
        }
    }
    let cases = TABLES.iter().map(|table| {
        let names = table.cases.iter().map(|case| case.name).collect();
        (table.name, names)
    });
    let how = "run the tests failures::long_… with ALFRED_REWRITE_GOLDEN=1";
    assert_eq!(listed, cases.collect(), "{how}");
}

/// Runs the cases of a table with the daemon's own limits: minutes.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by its environment to write the page"
)]
pub(super) fn make(name: &str) {
    let table = TABLES.iter().find(|table| table.name == name).unwrap();
    let mut text = head(table);
    for case in table.cases {
        text.push_str(&row(case));
    }
    if std::env::var_os(REWRITE).is_some() {
        let page = std::fs::read_to_string(path()).unwrap();
        let [before, tables, after] = parts(&page);
        let tables = with(tables, name, &text);
        std::fs::write(path(), [before, BEGIN, &tables, END, after].concat()).unwrap();
    }
}

fn head(table: &Table) -> String {
    let columns = table.columns.join(" | ");
    let rule = "---|".repeat(table.columns.len() + 1);
    format!("### {}\n\n| case | {columns} |\n|{rule}\n", table.name)
}

fn row(case: &Case) -> String {
    let cells = (case.run)(&Pace::FULL).0.join(" | ");
    format!("| {} | {cells} |\n", case.name)
}

/// The tables with this one in its place, in the order in which they are here.
fn with(tables: &str, name: &str, text: &str) -> String {
    let sections = tables.split("\n### ").skip(1);
    let mut sections: BTreeMap<&str, String> = sections
        .filter_map(|section| section.split_once('\n'))
        .map(|(heading, rest)| (heading, format!("### {heading}\n{}\n", rest.trim_end())))
        .collect();
    sections.insert(name, text.to_owned());
    let mut all = String::new();
    for section in TABLES.iter().filter_map(|table| sections.get(table.name)) {
        all.push('\n');
        all.push_str(section);
    }
    all + "\n"
}

#[test]
fn a_table_takes_its_own_place() {
    let tables = "\n### PostgreSQL\n\n| old |\n\n### Redis\n\n| kept |\n\n";
    let new = "### PostgreSQL\n\n| new |\n";
    let both = "\n### PostgreSQL\n\n| new |\n\n### Redis\n\n| kept |\n\n";
    assert_eq!(with(tables, "PostgreSQL", new), both);
    let disk = "### The disk\n\n| new |\n";
    assert_eq!(
        with(both, "The disk", disk),
        format!(
            "{}\n{disk}\n",
            both.trim_end_matches('\n').to_owned() + "\n"
        )
    );
}

//! Tables of data as rows of cells between bars, the first row the header.

use super::inline::{Run, one_line};
use scraper::{ElementRef, Node};

/// Elements that show a table to be layout, not data.
const LAYOUT_MARKS: [&str; 9] = [
    "table", "h1", "h2", "h3", "h4", "pre", "article", "section", "form",
];

/// A cell of a table of data is no longer, on average.
const CELL_MAX_CHARS: usize = 400;

/// The table as text, or `None` when it only lays out the page and is to be read as running text.
pub(super) fn text(table: ElementRef<'_>) -> Option<String> {
    let layout = matches!(table.attr("role"), Some("presentation" | "none"))
        || table
            .descendent_elements()
            .skip(1)
            .any(|e| LAYOUT_MARKS.contains(&e.value().name()));
    if layout {
        return None;
    }
    let mut rows = Vec::new();
    let mut caption = String::new();
    for element in table.descendent_elements() {
        match element.value().name() {
            "tr" => rows.push(cells(element)),
            "caption" => caption = one_line(&element.text().collect::<String>()),
            _ => {}
        }
    }
    rows.retain(|cells| cells.iter().any(|cell| !cell.is_empty()));
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell_count: usize = rows.iter().map(Vec::len).sum();
    let chars: usize = rows.iter().flatten().map(String::len).sum();
    if columns < 2 || rows.len() < 2 || chars > cell_count * CELL_MAX_CHARS {
        return None;
    }
    let mut lines = Vec::with_capacity(rows.len() + 2);
    for (index, cells) in rows.iter().enumerate() {
        lines.push(line(cells, columns));
        if index == 0 {
            lines.push(format!("|{}", " --- |".repeat(columns)));
        }
    }
    let body = lines.join("\n");
    Some(if caption.is_empty() {
        body
    } else {
        format!("{caption}\n\n{body}")
    })
}

fn cells(row: ElementRef<'_>) -> Vec<String> {
    let is_cell = |e: &ElementRef<'_>| matches!(e.value().name(), "td" | "th");
    row.child_elements().filter(is_cell).map(cell).collect()
}

fn cell(cell: ElementRef<'_>) -> String {
    let mut run = Run::default();
    for node in cell.descendants() {
        match node.value() {
            Node::Text(text) => run.push(text),
            Node::Element(e) if matches!(e.name(), "br" | "p" | "li" | "div") => run.space(),
            _ => {}
        }
    }
    run.take().replace('|', "\\|")
}

fn line(cells: &[String], columns: usize) -> String {
    let mut line = String::from("|");
    for index in 0..columns {
        let cell = cells.get(index).map_or("", String::as_str);
        line.push(' ');
        line.push_str(cell);
        line.push_str(if cell.is_empty() { "|" } else { " |" });
    }
    line
}

//! Running headers, footers and page numbers, which are dropped.
//!
//! A line at the edge of its page is furniture when it stands at the edge of several pages, digits
//! aside, or when a number in it counts along with the pages, as several others do.

use super::lines::Line;
use std::collections::HashMap;

/// Lines from each edge that are looked at.
const EDGE_LINES: usize = 2;

/// Pages on which a line must stand at the edge to be furniture.
const PAGES_MIN: usize = 3;

/// Longest line that can be furniture, in characters.
const LINE_MAX: usize = 150;

/// Removes furniture from pages.
pub(super) fn drop_from(pages: &mut [Vec<Line>]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for page in pages.iter() {
        let mut keys: Vec<String> = edges(page).iter().map(|&at| key(page, at)).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            *seen.entry(key).or_default() += 1;
        }
    }
    let offset = number_offset(pages);
    for (index, page) in pages.iter_mut().enumerate() {
        let drop: Vec<usize> = edges(page)
            .into_iter()
            .filter(|&at| {
                let Some(line) = page.get(at) else {
                    return false;
                };
                let repeated = seen.get(&key(page, at)).is_some_and(|&n| n >= PAGES_MIN);
                let short = line.text.chars().count() <= LINE_MAX;
                let counts = offset.is_some_and(|offset| numbers(line, index).contains(&offset));
                let numbered = offset.is_some() && is_page_number(&line.text);
                short && (repeated || counts || numbered)
            })
            .collect();
        let mut at = 0;
        page.retain(|_| {
            at += 1;
            !drop.contains(&(at - 1))
        });
    }
}

/// The lines at the upper and lower edge, by position on the page.
fn edges(page: &[Line]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..page.len()).collect();
    order.sort_by(|&a, &b| {
        let y = |at: usize| page.get(at).map_or(0.0, |line| line.y);
        y(b).total_cmp(&y(a)).then(a.cmp(&b))
    });
    let end = order.len().saturating_sub(EDGE_LINES).max(EDGE_LINES);
    let top = order.iter().take(EDGE_LINES);
    top.chain(order.iter().skip(end)).copied().collect()
}

/// A line's text without the digits that differ from page to page.
fn key(page: &[Line], at: usize) -> String {
    let text = page.get(at).map_or("", |line| line.text.as_str());
    let mut key = String::new();
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        if !c.is_numeric() {
            key.extend(c.to_lowercase());
        } else if !key.ends_with('#') {
            key.push('#');
        }
    }
    key
}

/// What the numbers at the start and end of a line are more than the 0-based page.
fn numbers(line: &Line, page: usize) -> Vec<i64> {
    let page = i64::try_from(page).unwrap_or(0);
    let mut words = line.text.split_whitespace();
    let ends = [words.next(), words.next_back()];
    let parse = |word: &str| word.parse::<i64>().ok().filter(|number| *number < 100_000);
    let ends = ends.into_iter().flatten().filter_map(parse);
    ends.map(|number| number - page).collect()
}

/// What most page numbers are more than the 0-based page, when enough pages have one.
fn number_offset(pages: &[Vec<Line>]) -> Option<i64> {
    let mut seen: HashMap<i64, usize> = HashMap::new();
    for (index, page) in pages.iter().enumerate() {
        let lines = edges(page).into_iter().filter_map(|at| page.get(at));
        let mut offsets: Vec<i64> = lines.flat_map(|line| numbers(line, index)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        for offset in offsets {
            *seen.entry(offset).or_default() += 1;
        }
    }
    let most = seen
        .into_iter()
        .max_by_key(|&(offset, count)| (count, offset))?;
    (most.1 >= PAGES_MIN).then_some(most.0)
}

/// Digits, or a small Roman number.
fn is_page_number(text: &str) -> bool {
    let text = text.trim_matches(|c: char| c == '-' || c == '–' || c.is_whitespace());
    let all = |set: fn(char) -> bool| text.chars().all(set);
    !text.is_empty()
        && text.len() <= 6
        && (all(|c| c.is_ascii_digit()) || all(|c| "ivxlc".contains(c.to_ascii_lowercase())))
}

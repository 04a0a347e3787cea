use super::*;

fn blocks(source: &str) -> Vec<(BlockKind, String)> {
    let read = read(source);
    read.blocks.into_iter().map(|b| (b.kind, b.text)).collect()
}

fn owned(expected: &[(BlockKind, &str)]) -> Vec<(BlockKind, String)> {
    expected
        .iter()
        .map(|(k, t)| (*k, (*t).to_owned()))
        .collect()
}

use BlockKind::{Code, Heading, ListItem, Paragraph, Table};

#[test]
fn a_page_without_its_furniture() {
    let page = "<html><head><title>Upgrading — Docs</title><style>p{}</style></head><body>\
        <nav><a href=/>Home</a></nav><header>Site</header>\
        <h1>Upgrading<a class=headerlink href=#x>¶</a></h1>\
        <p>Run <code>helm  upgrade</code>\n now.<br>Then <b>wait</b>.</p>\
        <script>var x = '<p>no</p>';</script>\
        <div>Loose text<p>Inner</p>tail</div>\
        <footer>Imprint</footer></body></html>";
    let text = read(page);
    assert_eq!(text.title.as_deref(), Some("Upgrading"));
    assert_eq!(
        blocks(page),
        owned(&[
            (Paragraph, "Site"),
            (Heading(1), "Upgrading"),
            (Paragraph, "Run helm upgrade now.\nThen wait."),
            (Paragraph, "Loose text"),
            (Paragraph, "Inner"),
            (Paragraph, "tail"),
        ])
    );
}

#[test]
fn lists_listings_and_tables() {
    let page = "<ul><li>one<li>two<ol start=3><li>three</li></ol></li></ul>\
        <div class='highlight-sh'><pre>\nrun  <b>x</b>\n  y\n</pre></div>\
        <table><caption>Keys</caption><tr><th>k</th><th>v</th></tr><tr><td>a|b</td><td></td></tr></table>";
    assert_eq!(
        blocks(page),
        owned(&[
            (ListItem, "- one"),
            (ListItem, "- two"),
            (ListItem, "  3. three"),
            (Code, "```sh\nrun  x\n  y\n```"),
            (Table, "Keys\n\n| k | v |\n| --- | --- |\n| a\\|b | |"),
        ])
    );
}

#[test]
fn a_table_that_lays_out_the_page_is_running_text() {
    let page = "<table><tr><td><h2>Left</h2>text</td><td><table><tr><td>deep</td></tr></table></td></tr></table>";
    assert_eq!(
        blocks(page),
        owned(&[
            (Heading(2), "Left"),
            (Paragraph, "text"),
            (Paragraph, "deep")
        ])
    );
}

#[test]
fn main_is_the_content() {
    let long = "Words of the content. ".repeat(10);
    let page = format!("<body><div>Menu</div><main><p>{long}</p></main><div>Ads</div></body>");
    assert_eq!(blocks(&page), owned(&[(Paragraph, long.trim())]));
}

#[test]
fn a_page_that_is_all_furniture_is_read_after_all() {
    assert_eq!(
        blocks("<nav><p>Only this</p></nav>"),
        owned(&[(Paragraph, "Only this")])
    );
}

#[test]
fn characters_and_entities() {
    assert_eq!(
        blocks("<p>a &lt; b &amp; c&nbsp;d</p>"),
        owned(&[(Paragraph, "a < b & c\u{a0}d")])
    );
}

#[test]
fn the_title_is_without_the_name_of_the_site() {
    let title = |page: &str| read(page).title;
    let guide = Some("Guide".to_owned());
    assert_eq!(title("<title>Guide - Site</title><h2>Guide</h2>x"), guide);
    assert_eq!(title("<h1>§Guide</h1>x"), guide);
    assert_eq!(
        title("<title>Site: all</title><h1>Guide</h1>x").as_deref(),
        Some("Site: all")
    );
}

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
fn blocks_are_kept_as_written() {
    let source = "# The *guide* to `x`\n\nSome **bold** [link](u)\ntext.\n\n```sh\nrun\n\nmore\n```\n\n\
                  | a | b |\n|---|--:|\n| 1 | 2 |\n\nSetext\n------\n\n    indented\n      code\n";
    assert_eq!(
        blocks(source),
        owned(&[
            (Heading(1), "The guide to x"),
            (Paragraph, "Some **bold** [link](u)\ntext."),
            (Code, "```sh\nrun\n\nmore\n```"),
            (Table, "| a | b |\n|---|--:|\n| 1 | 2 |"),
            (Heading(2), "Setext"),
            (Code, "    indented\n      code"),
        ])
    );
}

#[test]
fn items_are_blocks_of_their_own_and_listings_in_them_too() {
    let source = "- one\n  goes on\n- two\n  - inner\n\n1. do:\n\n   ```\n   x\n   ```\n\n   then\n2. [ ] open\n";
    assert_eq!(
        blocks(source),
        owned(&[
            (ListItem, "- one\n  goes on"),
            (ListItem, "- two"),
            (ListItem, "  - inner"),
            (ListItem, "1. do:"),
            (Code, "   ```\n   x\n   ```"),
            (ListItem, "   then"),
            (ListItem, "2. [ ] open"),
        ])
    );
}

#[test]
fn comments_are_dropped_and_html_is_read() {
    let source = "<!-- licence\n\nheader -->\n\nA <!-- inner --> b.\n\n<details>\n<summary>More</summary>\n\n\
                  inside\n\n</details>\n\n<p align=center>Centred <b>text</b></p>\n\n- x <!-- y --> z\n";
    assert_eq!(
        blocks(source),
        owned(&[
            (Paragraph, "A  b."),
            (Paragraph, "More"),
            (Paragraph, "inside"),
            (Paragraph, "Centred text"),
            (ListItem, "- x  z"),
        ])
    );
}

#[test]
fn quotes_lose_their_marks() {
    let source = "> First\n> line.\n>\n> > deep\n> > er\n>\n> ```\n> code\n> ```\n";
    assert_eq!(
        blocks(source),
        owned(&[
            (Paragraph, "First\nline."),
            (Paragraph, "deep\ner"),
            (Code, "```\ncode\n```"),
        ])
    );
}

#[test]
fn the_title_comes_from_front_matter_then_from_the_first_top_heading() {
    assert_eq!(
        read("---\ntitle: \"A: b\"\ntags: [x]\n---\n\n# Other\n\ntext\n")
            .title
            .as_deref(),
        Some("A: b")
    );
    assert_eq!(
        read("+++\ntitle = 'T'\n+++\ntext").title.as_deref(),
        Some("T")
    );
    assert_eq!(
        read("## Sub\n\n# Top\n\ntext").title.as_deref(),
        Some("Top")
    );
    assert_eq!(read("text").title, None);
    assert_eq!(
        blocks("---\ntitle: x\n---\n\ntext"),
        owned(&[(Paragraph, "text")])
    );
}

#[test]
fn an_open_fence_reaches_to_the_end() {
    assert_eq!(blocks("```\na\n\nb"), owned(&[(Code, "```\na\n\nb")]));
}

#[test]
fn headings_lose_their_anchors_and_keep_their_braces() {
    let source = "# Set up {#setup}\n\n## Notes { #n .wide }\n\n## `DELETE /v1/documents/{id}`\n\n## Set {a, b}\n";
    assert_eq!(
        blocks(source),
        owned(&[
            (Heading(1), "Set up"),
            (Heading(2), "Notes"),
            (Heading(2), "DELETE /v1/documents/{id}"),
            (Heading(2), "Set {a, b}"),
        ])
    );
}

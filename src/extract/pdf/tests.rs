use super::lines::Line;
use super::{blocks, furniture, read};
use crate::domain::BlockKind;
use std::fmt::Write as _;

/// A file with these objects, numbered from 1; the first is the catalog.
fn file(objects: &[&str]) -> Vec<u8> {
    let mut text = "%PDF-1.4\n".to_owned();
    let mut offsets = String::new();
    for (number, object) in (1..).zip(objects) {
        let _ = writeln!(offsets, "{:010} 00000 n ", text.len());
        let _ = write!(text, "{number} 0 obj\n{object}\nendobj\n");
    }
    let (start, size) = (text.len(), objects.len() + 1);
    let _ = write!(
        text,
        "xref\n0 {size}\n0000000000 65535 f \n{offsets}\
         trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    );
    text.into_bytes()
}

#[test]
fn a_tree_of_pages_that_branches_into_itself_is_refused_at_once() {
    let catalog = "<< /Type /Catalog /Pages 2 0 R >>";
    let of_root = |kids: &str| format!("<< /Type /Pages /Kids [{kids}] /Count .2 >>");
    for (kids, other) in [
        ("2 0 R 2 0 R", "<< >>"),
        (
            "3 0 R 3 0 R",
            "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 4 >>",
        ),
    ] {
        let refused = read(&file(&[catalog, &of_root(kids), other])).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("comes back to object"), "{text}");
    }
}

#[test]
fn a_tree_of_pages_that_is_too_large_is_refused() {
    let nodes = 40_001;
    let mut objects = vec!["<< /Type /Catalog /Pages 2 0 R >>".to_owned()];
    objects.extend((3..nodes + 2).map(|kid| format!("<< /Type /Pages /Kids [{kid} 0 R] >>")));
    objects.push("<< /Type /Page >>".to_owned());
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    let text = read(&file(&objects)).unwrap_err().to_string();
    assert!(text.contains("over 40000 nodes"), "{text}");
}

#[test]
fn a_page_that_is_named_twice_is_read() {
    let text = "BT /F1 10 Tf 72 700 Td (The same words.) Tj ET";
    let bytes = file(&[
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R 3 0 R] /Count 2 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
         /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        &format!("<< /Length {} >>\nstream\n{text}\nendstream", text.len()),
    ]);
    let text = read(&bytes).unwrap();
    assert!(text.blocks[0].text.contains("The same words."));
}

fn line(text: &str, y: f32) -> Line {
    Line {
        text: text.to_owned(),
        left: 72.0,
        right: 72.0 + 5.0 * f32::from(u16::try_from(text.len()).unwrap()),
        y,
        size: 10.0,
        ..Line::default()
    }
}

fn texts(pages: &[Vec<Line>]) -> Vec<String> {
    let blocks = blocks::of_pages(pages);
    blocks.into_iter().map(|block| block.text).collect()
}

#[test]
fn hyphens_that_divide_words_go_and_others_stay() {
    let page = vec![
        line("The chart of this re-", 700.0),
        line("lease is well-", 688.0),
        line("Known and x86-", 676.0),
        line("64 runs it on", 664.0),
    ];
    assert_eq!(
        texts(&[page]),
        ["The chart of this release is well-Known and x86-64 runs it on"]
    );
}

#[test]
fn a_gap_or_a_short_last_line_ends_a_paragraph() {
    let page = vec![
        line("The first paragraph has a line that is long", 700.0),
        line("and ends here.", 688.0),
        line("The second one begins right below the first", 676.0),
        line("and goes on.", 664.0),
        line("The third one stands apart from the others.", 630.0),
    ];
    assert_eq!(texts(&[page]).len(), 3);
}

#[test]
fn a_sentence_goes_on_over_pages() {
    let first = vec![line("A sentence that does not end on", 60.0)];
    let second = vec![line("its page but on the next.", 760.0)];
    let blocks = blocks::of_pages(&[first, second]);
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].page, Some(1));
}

#[test]
fn fixed_width_is_a_listing_with_its_indentation() {
    let code = |text: &str, left: f32, y: f32| Line {
        left,
        fixed: true,
        ..line(text, y)
    };
    let page = vec![
        line("Call it:", 700.0),
        code("if x {", 72.0, 680.0),
        code("run();", 96.0, 668.0),
        code("}", 72.0, 656.0),
    ];
    let blocks = blocks::of_pages(&[page]);
    assert_eq!(blocks[1].kind, BlockKind::Code);
    assert_eq!(blocks[1].text, "```\nif x {\n    run();\n}\n```");
}

#[test]
fn bullets_are_items() {
    let page = vec![
        line("• one", 700.0),
        line("• two", 688.0),
        line("3. three", 676.0),
    ];
    assert_eq!(texts(&[page]), ["- one", "- two", "3. three"]);
}

#[test]
fn running_headers_and_page_numbers_are_dropped() {
    let mut pages: Vec<Vec<Line>> = (0..5_u8)
        .map(|page| {
            vec![
                line("The manual, release 2", 800.0),
                line(
                    &format!(
                        "Words of page {page} stand here alone {}",
                        "x".repeat(page.into())
                    ),
                    700.0,
                ),
                line("and more of them in the middle", 500.0),
                line(
                    &format!("but the last line {} differs", "y".repeat(page.into())),
                    300.0,
                ),
                line(
                    &format!(
                        "Section {} {}",
                        ["A", "B", "C", "D", "E"][usize::from(page)],
                        page + 7
                    ),
                    40.0,
                ),
            ]
        })
        .collect();
    furniture::drop_from(&mut pages);
    for page in &pages {
        assert_eq!(page.len(), 3, "{page:?}");
        assert!(page[0].text.starts_with("Words"));
    }
}

#[test]
fn larger_text_is_a_heading_by_rank() {
    let sized = |text: &str, size: f32, y: f32| Line {
        size,
        ..line(text, y)
    };
    let mut page = vec![
        sized("The Title", 20.0, 780.0),
        sized("First Part", 14.0, 740.0),
    ];
    page.extend((0..20_u8).map(|i| {
        line(
            "Body text that is of the usual size.",
            700.0 - 12.0 * f32::from(i),
        )
    }));
    let blocks = blocks::of_pages(&[page]);
    assert_eq!(blocks[0].kind, BlockKind::Heading(1));
    assert_eq!(blocks[1].kind, BlockKind::Heading(2));
    assert_eq!(blocks[2].kind, BlockKind::Paragraph);
    assert_eq!(blocks::title_of(&blocks).as_deref(), Some("The Title"));
}

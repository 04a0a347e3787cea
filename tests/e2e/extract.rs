//! Files that are broken on purpose, read in worker processes of the real program.

use alfred::domain::ExtractedText;
use alfred::extract::{ExtractError, Extractor, Format};
use std::time::Duration;

fn extractor() -> Extractor {
    Extractor::new(env!("CARGO_BIN_EXE_alfred"))
}

/// A PDF of one page for each of `pages`, which are content streams, `encrypt` in its trailer.
fn pdf(pages: &[&str], trailer: &str) -> Vec<u8> {
    let count = pages.len();
    let kids: Vec<String> = (0..count).map(|i| format!("{} 0 R", 4 + 2 * i)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {count} >>",
            kids.join(" ")
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    for (index, content) in pages.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {} 0 R \
             /Resources << /Font << /F1 3 0 R >> >> >>",
            5 + 2 * index
        ));
        let length = content.len();
        objects.push(format!(
            "<< /Length {length} >>\nstream\n{content}\nendstream"
        ));
    }
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file.extend(format!("{} 0 obj\n{object}\nendobj\n", index + 1).bytes());
    }
    let start = file.len();
    let size = objects.len() + 1;
    file.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").bytes());
    for offset in offsets {
        file.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    let end =
        format!("trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n");
    file.extend(end.bytes());
    file
}

/// A content stream with one line for each of `(size, y, text)`.
fn page(lines: &[(u32, u32, &str)]) -> String {
    let line =
        |(size, y, text): &(u32, u32, &str)| format!("BT /F1 {size} Tf 72 {y} Td ({text}) Tj ET");
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn words(text: &ExtractedText) -> String {
    let texts: Vec<&str> = text
        .blocks
        .iter()
        .map(|block| block.text.as_str())
        .collect();
    texts.join("\n")
}

#[test]
fn a_pdf_has_headings_paragraphs_and_pages() {
    let first = page(&[
        (18, 760, "Upgrading"),
        (
            10,
            730,
            "Run the upgrade of the chart with care and on a quiet after-",
        ),
        (
            10,
            718,
            "noon, then wait until the pods of the release are ready.",
        ),
        (10, 40, "7"),
    ]);
    let second = page(&[
        (14, 760, "Rolling back"),
        (10, 730, "Say which revision is wanted."),
        (10, 40, "8"),
    ]);
    let third = page(&[(10, 730, "The end of it."), (10, 40, "9")]);
    let file = pdf(&[&first, &second, &third], "");
    let text = extractor().extract(Format::Pdf, &file).unwrap();
    let found: Vec<_> = text
        .blocks
        .iter()
        .map(|b| (b.page, b.text.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (Some(1), "Upgrading"),
            (
                Some(1),
                "Run the upgrade of the chart with care and on a quiet afternoon, then wait until \
                 the pods of the release are ready."
            ),
            (Some(2), "Rolling back"),
            (Some(2), "Say which revision is wanted."),
            (Some(3), "The end of it."),
        ]
    );
    assert_eq!(text.title.as_deref(), Some("Upgrading"));
}

#[test]
fn bad_pdfs_each_say_what_is_wrong() {
    let extractor = extractor();
    let refused = |bytes: &[u8]| extractor.extract(Format::Pdf, bytes).unwrap_err();
    let good = pdf(&[&page(&[(10, 700, "Some text.")])], "");

    assert_eq!(refused(b""), ExtractError::Empty);
    assert_eq!(refused(&pdf(&[""], "")), ExtractError::Empty);
    let garbage: Vec<u8> = (0..20_000_u32)
        .flat_map(|i| (i * 7_919).to_be_bytes())
        .collect();
    assert!(
        refused(&garbage)
            .to_string()
            .contains("does not begin as a PDF")
    );
    let half = &good[..good.len() / 2];
    assert!(refused(half).to_string().contains("truncated"));
    let locked = format!(
        "/ID [<00> <00>] /Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -3904 \
         /O <{0}> /U <{0}> >>",
        "ab".repeat(32)
    );
    let locked = pdf(&[&page(&[(10, 700, "Secret.")])], &locked);
    assert_eq!(refused(&locked), ExtractError::Encrypted);
    // None of this has hurt the workers.
    assert_eq!(
        words(&extractor.extract(Format::Pdf, &good).unwrap()),
        "Some text."
    );
}

#[test]
fn deep_nesting_costs_one_error_or_nothing() {
    let extractor = extractor();
    let deep = |open: &str, close: &str, n: usize| {
        format!("{}word{}", open.repeat(n), close.repeat(n)).into_bytes()
    };
    let cases = [
        (Format::Markdown, deep("[", "](u)", 20_000)),
        (Format::Markdown, deep("[", "", 100_000)),
        (Format::Markdown, deep(">", "", 100_000)),
        (Format::Markdown, deep("*", "*", 20_000)),
        (Format::Markdown, deep("- ", "", 20_000)),
        (Format::Markdown, deep("`", "", 100_000)),
        (Format::Markdown, deep("<div>\n", "", 10_000)),
        (Format::Html, deep("<div>", "</div>", 100_000)),
        (Format::Html, deep("<b>", "", 100_000)),
        (Format::Html, deep("<table><tr><td>", "", 10_000)),
        (Format::Html, deep("<ul><li>", "", 5_000)),
        (Format::Html, deep("<svg><g>", "", 20_000)),
        (Format::Pdf, pdf(&[&"[".repeat(200_000)], "")),
        (Format::Pdf, pdf(&[&"q ".repeat(200_000)], "")),
        (
            Format::Pdf,
            pdf(&[""], &format!("/Info {}", "[".repeat(100_000))),
        ),
        (
            Format::Pdf,
            pdf(&[""], &format!("/Info {}", "<</A".repeat(100_000))),
        ),
    ];
    for (format, bytes) in cases {
        let result = extractor.extract(format, &bytes);
        let head = String::from_utf8_lossy(&bytes[..24]).into_owned();
        match result {
            Ok(text) => assert!(words(&text).contains("word"), "{head}"),
            Err(ExtractError::Malformed(_) | ExtractError::Empty) => {}
            Err(other) => panic!("{head}: {other}"),
        }
    }
    assert!(extractor.extract(Format::Markdown, b"still here").is_ok());
}

#[test]
fn a_worker_that_hangs_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hangs");
    std::fs::write(&program, "#!/bin/sh\nexec /bin/sleep 600\n").unwrap();
    make_executable(&program);
    let extractor = Extractor::new(&program).with_timeout(Duration::from_millis(200));
    let error = extractor.extract(Format::Html, b"<p>x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "it is malformed: the parser took more than 0.2 s"
    );
}

#[test]
fn a_worker_that_dies_says_how() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("dies");
    for (script, said) in [
        ("kill -SEGV $$", "the parser crashed (signal 11)"),
        ("kill -XCPU $$", "processor time"),
        (
            "echo memory allocation of 9 bytes failed >&2; kill -ABRT $$",
            "GiB of memory",
        ),
        ("echo broken >&2", "ended without an answer: broken"),
        (
            "head -c 9 >/dev/null; printf xxxxxxxxxxxxxxxx",
            "ended without an answer",
        ),
    ] {
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        make_executable(&program);
        let error = Extractor::new(&program)
            .extract(Format::Pdf, b"%PDF-")
            .unwrap_err();
        assert!(error.to_string().contains(said), "{script}: {error}");
    }
    let missing = Extractor::new("/nowhere/alfred").extract(Format::Pdf, b"%PDF-");
    assert!(matches!(missing, Err(ExtractError::Worker(_))));
}

#[test]
fn a_page_that_grows_without_end_is_stopped() {
    // Each paragraph opens all that were left open before again: quadratic in time and memory.
    let page = (0..40_000)
        .map(|i| format!("<p><b id={i}>"))
        .collect::<Vec<_>>()
        .concat();
    let error = extractor()
        .extract(Format::Html, page.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("GiB of memory") || error.contains("processor time"),
        "{error}"
    );
}

#[test]
fn many_threads_share_one_extractor() {
    let extractor = extractor();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let extractor = &extractor;
            scope.spawn(move || {
                for i in 0..40 {
                    let text = format!("# T{thread}\n\nText {i} of it.");
                    let text = extractor
                        .extract(Format::Markdown, text.as_bytes())
                        .unwrap();
                    assert_eq!(words(&text), format!("T{thread}\nText {i} of it."));
                }
            });
        }
    });
}

#[test]
fn too_large_is_refused_before_it_is_read() {
    let bytes = vec![b'a'; 33 << 20];
    assert_eq!(
        extractor().extract(Format::Html, &bytes).unwrap_err(),
        ExtractError::TooLarge {
            bytes: 33 << 20,
            limit: 32 << 20
        }
    );
}

#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

use super::*;
use crate::domain::{Block, BlockKind};
use proptest::prelude::*;

/// Counts as models do: a run of up to four letters is a token, so is any other character.
fn count(text: &str) -> usize {
    let mut tokens = 0;
    let mut run = 0;
    for c in text.chars() {
        if c.is_alphanumeric() {
            run = (run + 1) % 4;
            tokens += usize::from(run == 1);
        } else {
            run = 0;
            tokens += usize::from(!c.is_whitespace());
        }
    }
    tokens
}

fn block(kind: BlockKind, text: impl Into<String>) -> Block {
    Block {
        kind,
        text: text.into(),
        page: None,
    }
}

fn document(blocks: Vec<Block>) -> ExtractedText {
    ExtractedText {
        title: None,
        blocks,
    }
}

const LIMITS: ChunkLimits = ChunkLimits {
    max_tokens: 64,
    overlap_tokens: 12,
};

fn chunked(text: &ExtractedText) -> Vec<Chunk> {
    chunk(text, LIMITS, &count)
}

/// `words` words of two tokens each, in sentences of eight words.
fn prose(seed: usize, words: usize) -> String {
    let word = |i: usize| {
        let end = if i % 8 == 7 { "." } else { "" };
        let first = if i.is_multiple_of(8) { "W" } else { "w" };
        format!("{first}{:05}{end}", seed * 10_000 + i)
    };
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_short_document_is_one_chunk_under_its_title() {
    let text = ExtractedText {
        title: Some("Guide".into()),
        blocks: vec![
            block(BlockKind::Heading(1), "Guide"),
            block(BlockKind::Paragraph, "Some words."),
        ],
    };
    let chunks = chunked(&text);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].title_path, ["Guide"]);
    assert_eq!(chunks[0].text, "Some words.");
    assert_eq!(chunks[0].tokens as usize, count("Guide\nSome words."));
}

#[test]
fn sections_of_some_size_stay_apart_and_know_their_path() {
    let text = ExtractedText {
        title: Some("Guide".into()),
        blocks: vec![
            block(BlockKind::Heading(2), "Upgrade"),
            block(BlockKind::Paragraph, prose(1, 16)),
            block(BlockKind::Heading(3), "Rollback"),
            block(BlockKind::Paragraph, prose(2, 16)),
        ],
    };
    let chunks = chunked(&text);
    let paths: Vec<_> = chunks.iter().map(Chunk::title_line).collect();
    assert_eq!(paths, ["Guide > Upgrade", "Guide > Upgrade > Rollback"]);
}

#[test]
fn small_siblings_join_with_their_headings_in_the_text() {
    let text = ExtractedText {
        title: Some("Guide".into()),
        blocks: vec![
            block(BlockKind::Heading(2), "Flags"),
            block(BlockKind::Heading(3), "Quiet"),
            block(BlockKind::Paragraph, "Says less."),
            block(BlockKind::Heading(3), "Loud"),
            block(BlockKind::Paragraph, "Says more."),
        ],
    };
    let chunks = chunked(&text);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].title_line(), "Guide > Flags");
    assert_eq!(
        chunks[0].text,
        "### Quiet\n\nSays less.\n\n### Loud\n\nSays more."
    );
}

#[test]
fn overlap_is_whole_sentences_of_the_same_section() {
    let text = document(vec![block(BlockKind::Paragraph, prose(1, 100))]);
    let limits = ChunkLimits {
        max_tokens: 64,
        overlap_tokens: 20,
    };
    let drafts = pack(&text, limits, &count);
    assert!(drafts.len() > 2);
    assert_eq!(drafts[0].overlap_bytes, 0);
    for pair in drafts.windows(2) {
        let overlap = &pair[1].chunk.text[..pair[1].overlap_bytes];
        assert!(overlap.ends_with('.'), "{overlap:?}");
        assert!(pair[0].chunk.text.ends_with(overlap));
        assert!(count(overlap) <= 20);
    }
}

#[test]
fn no_overlap_across_headings() {
    let text = document(vec![
        block(BlockKind::Heading(1), "One"),
        block(BlockKind::Paragraph, prose(1, 24)),
        block(BlockKind::Heading(1), "Two"),
        block(BlockKind::Paragraph, prose(2, 24)),
    ]);
    for draft in pack(&text, LIMITS, &count) {
        assert_eq!(draft.overlap_bytes, 0);
    }
}

#[test]
fn a_listing_that_fits_is_whole_and_one_that_does_not_repeats_its_fence() {
    let lines: Vec<String> = (0..40).map(|i| format!("run{i} x{i}")).collect();
    let code = format!("```sh\n{}\n```", lines.join("\n"));
    let small = "```sh\nhelm upgrade\n```";
    let text = document(vec![
        block(BlockKind::Paragraph, prose(1, 20)),
        block(BlockKind::Code, small),
        block(BlockKind::Code, code),
    ]);
    let chunks = chunked(&text);
    assert!(chunks.iter().any(|chunk| chunk.text.contains(small)));
    let parts: Vec<_> = chunks.iter().filter(|c| c.text.contains("run")).collect();
    assert!(parts.len() > 1);
    for chunk in &chunks[1..] {
        assert_eq!(chunk.text.matches("```").count() % 2, 0, "{}", chunk.text);
        assert!(chunk.text.contains("```sh"));
    }
}

#[test]
fn a_long_table_repeats_its_header() {
    let rows: Vec<String> = (0..40).map(|i| format!("| k{i} | v{i} |")).collect();
    let table = format!("| key | value |\n|---|---|\n{}", rows.join("\n"));
    let chunks = chunked(&document(vec![block(BlockKind::Table, table)]));
    assert!(chunks.len() > 2);
    for chunk in &chunks {
        assert!(chunk.text.starts_with("| key | value |\n|---|---|\n| k"));
        assert!(chunk.text.ends_with(" |"));
    }
}

#[test]
fn a_tail_is_not_left_over() {
    let chunks = chunked(&document(vec![block(BlockKind::Paragraph, prose(1, 36))]));
    assert_eq!(chunks.len(), 2);
    assert!(chunks[1].tokens > 20, "{}", chunks[1].tokens);
}

#[test]
fn a_heading_alone_is_text() {
    let text = document(vec![block(BlockKind::Heading(1), "Only this")]);
    assert_eq!(chunked(&text)[0].text, "Only this");
    assert!(chunked(&document(Vec::new())).is_empty());
}

#[test]
fn a_long_title_leaves_room() {
    let text = ExtractedText {
        title: Some(prose(1, 200)),
        blocks: vec![block(BlockKind::Paragraph, prose(2, 60))],
    };
    for chunk in chunked(&text) {
        assert!(count(&chunk.title_line()) <= 16);
        assert!(chunk.tokens as usize <= 64);
    }
}

#[test]
fn endless_words_and_blanks_are_bounded() {
    let base64 = "QUJD".repeat(20_000);
    let blanks = format!(
        "```\na{}b\n{}c\n```",
        " ".repeat(50_000),
        "\n".repeat(50_000)
    );
    let text = document(vec![
        block(BlockKind::Paragraph, base64.clone()),
        block(BlockKind::Code, blanks),
    ]);
    // A model that knows none of it counts every word as one token.
    let words = |text: &str| text.split_whitespace().count();
    for count in [&count as &dyn Fn(&str) -> usize, &words] {
        let chunks = chunk(&text, LIMITS, count);
        assert!(chunks.len() < 5_000);
        for chunk in &chunks {
            assert!(chunk.text.len() <= LIMITS.max_bytes() + 64);
            assert!(count(&chunk.embedding_text()) <= LIMITS.max_tokens);
        }
        let all: String = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
        assert!(all.starts_with(&base64));
    }
}

#[test]
fn pages_are_those_where_chunks_begin() {
    let blocks = (1..=9)
        .map(|page| Block {
            kind: BlockKind::Paragraph,
            text: prose(page, 8),
            page: u32::try_from(page).ok(),
        })
        .collect();
    for chunk in chunked(&document(blocks)) {
        let page = chunk.page.unwrap();
        assert!(chunk.text.starts_with(&format!("W{page}0000")), "{chunk:?}");
    }
}

fn any_block() -> impl Strategy<Value = (u8, usize, u8)> {
    (0_u8..12, 1_usize..120, 1_u8..5)
}

/// A document in which every word is different.
fn build(shape: &[(u8, usize, u8)], title: bool) -> ExtractedText {
    let mut blocks = Vec::new();
    for (seed, &(kind, words, level)) in shape.iter().enumerate() {
        let text = prose(seed, words);
        let lines = |per: usize, before: &str, after: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            let line = |words: &[&str]| format!("{before}{}{after}", words.join(" "));
            words.chunks(per).map(line).collect::<Vec<_>>().join("\n")
        };
        blocks.push(match kind {
            0..3 => block(BlockKind::Heading(level), prose(seed, words % 6 + 1)),
            3..7 => block(BlockKind::Paragraph, text),
            7 => block(BlockKind::Paragraph, lines(10, "", "")),
            8 => block(BlockKind::ListItem, format!("- {text}")),
            9 => block(
                BlockKind::Code,
                format!("```\n{}\n```", lines(5, "  ", ";")),
            ),
            10 => block(BlockKind::Code, lines(90, "", "")),
            _ => block(
                BlockKind::Table,
                format!("| k | v |\n|---|---|\n{}", lines(3, "| ", " |")),
            ),
        });
    }
    ExtractedText {
        title: title.then(|| "The title".to_owned()),
        blocks,
    }
}

/// The words of [`prose`] in a text.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() > 5)
        .map(str::to_lowercase)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn chunking_covers_the_text(
        shape in prop::collection::vec(any_block(), 0..14),
        title: bool,
        max_tokens in 32_usize..160,
        overlap in 0_usize..4,
    ) {
        let text = build(&shape, title);
        let limits = ChunkLimits { max_tokens, overlap_tokens: max_tokens * overlap / 16 };
        let drafts = pack(&text, limits, &count);

        // Every word of the blocks, once and in order, when overlaps and headings are taken away.
        let heading_words: std::collections::HashSet<String> = text
            .blocks
            .iter()
            .filter(|block| matches!(block.kind, BlockKind::Heading(_)))
            .flat_map(|block| words(&block.text))
            .collect();
        let body: Vec<String> = text.blocks.iter().flat_map(|b| words(&b.text)).collect();
        let body: Vec<_> = body.into_iter().filter(|w| !heading_words.contains(w)).collect();
        let fresh = drafts.iter().flat_map(|draft| words(&draft.chunk.text[draft.overlap_bytes..]));
        let fresh: Vec<_> = fresh.filter(|w| !heading_words.contains(w)).collect();
        prop_assert_eq!(fresh, body);

        // Every heading is a text or in a title path, but for middles of paths too long.
        let shown: std::collections::HashSet<String> =
            drafts.iter().flat_map(|draft| words(&draft.chunk.embedding_text())).collect();
        if max_tokens > 140 {
            for word in &heading_words {
                prop_assert!(shown.contains(word), "{word}");
            }
        }
        for (index, draft) in drafts.iter().enumerate() {
            let chunk = &draft.chunk;
            prop_assert_eq!(chunk.position as usize, index);
            prop_assert!(!chunk.text.trim().is_empty());
            prop_assert_eq!(chunk.tokens as usize, count(&chunk.embedding_text()));
            prop_assert!(chunk.tokens as usize <= max_tokens, "{:?}", chunk);
            prop_assert!(chunk.text.len() <= limits.max_bytes());
        }
        let again: Vec<_> = pack(&text, limits, &count).into_iter().map(|d| d.chunk).collect();
        prop_assert_eq!(chunk(&text, limits, &count), again);
    }

    #[test]
    fn any_text_is_bounded(
        text in "(\\PC|[a-z ]{1,20}|[.!?] |\n){0,200}",
        kind in prop::sample::select(vec![
            BlockKind::Paragraph, BlockKind::Code, BlockKind::Table, BlockKind::ListItem,
            BlockKind::Heading(2),
        ]),
    ) {
        let visible = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<Vec<_>>();
        let drafts = pack(&document(vec![block(kind, text.clone())]), LIMITS, &count);
        let mut found = drafts.iter().flat_map(|d| visible(&d.chunk.embedding_text()[..]));
        for c in visible(&text) {
            prop_assert!(found.any(|other| other == c), "{c:?} is lost");
        }
        for draft in &drafts {
            prop_assert!(draft.chunk.tokens as usize <= LIMITS.max_tokens);
        }
    }
}

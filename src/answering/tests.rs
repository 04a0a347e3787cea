use super::*;
use proptest::prelude::*;

/// Words in lower case; those of the question without stop words.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn find_in(wanted: &[String], text: &str, found: &mut dyn FnMut(usize)) -> usize {
    let words = words(text);
    for word in &words {
        if let Some(at) = wanted.iter().position(|other| other == word) {
            found(at);
        }
    }
    words.len()
}

fn ask(question: &str, texts: &[(&str, &str)]) -> Quoted {
    let sources: Vec<Source<'_>> = texts
        .iter()
        .map(|&(headings, text)| Source {
            headings,
            text,
            is_markdown: true,
        })
        .collect();
    let mut wanted = words(question);
    wanted.retain(|word| !["how", "do", "i", "the", "of", "is", "what", "when"].contains(&&**word));
    let find = |text: &str, found: &mut dyn FnMut(usize)| find_in(&wanted, text, found);
    let question = Question {
        words: wanted.len(),
        wants_number: asks_for_a_number(question),
    };
    extractive(question, &sources, &find).unwrap()
}

const ONE_WORD: Question = Question {
    words: 1,
    wants_number: false,
};

fn answer(question: &str, text: &str) -> String {
    ask(question, &[("", text)]).text
}

#[test]
fn a_row_is_quoted_with_the_names_of_its_columns() {
    let table = "| Name | Default | |\n|---|---|---|\n| `a.conf` | 300 ms | |\n| `b.conf` | `x \\| y` | see [b](b.md) |\n";
    assert_eq!(
        answer("default of a.conf", table),
        "Name: `a.conf`; Default: 300 ms [^1]"
    );
    assert_eq!(
        answer("default of b.conf", table),
        "Name: `b.conf`; Default: `x | y`; see b [^1]"
    );
}

#[test]
fn a_long_row_is_cut_between_words() {
    let long = "word ".repeat(400);
    let table = format!("| Key | Meaning |\n|---|---|\n| otter | {long}|\n");
    let quoted = answer("otter", &table);
    assert!(quoted.starts_with("Key: otter; Meaning: word word"));
    assert!(quoted.ends_with("word… [^1]"), "{quoted}");
    assert!(quoted.chars().count() < 620);
}

#[test]
fn marks_of_markdown_are_left_out() {
    let cases = [
        (
            "The **otter** _sleeps_ in `Cargo.toml`.",
            "The otter sleeps in `Cargo.toml`.",
        ),
        (
            "An otter, see [the page](a.md), [here][1] and ![an image](b.png).",
            "An otter, see the page, here and an image.",
        ),
        (
            "The otter<br>sleeps <b>well</b> in `Vec<u8>` and <name>.",
            "The otter sleeps well in `Vec<u8>` and <name>.",
        ),
        ("- The otter\n  sleeps", "The otter sleeps"),
        ("* [x] The otter sleeps", "The otter sleeps"),
        ("3. Feed the otter", "3. Feed the otter"),
        ("**The otter sleeps. Always** it does.", "The otter sleeps."),
        ("The otter sleeps.[^3]", "The otter sleeps."),
        (
            "The otter eats a[0] &amp; b\\_c.",
            "The otter eats a[0] & b_c.",
        ),
    ];
    for (text, quote) in cases {
        assert_eq!(answer("otter", text), format!("{quote} [^1]"), "{text:?}");
    }
}

#[test]
fn text_that_is_no_markdown_keeps_its_marks() {
    let source = Source {
        headings: "",
        text: "• The __init__ of Vec<String> *otter* [^2]",
        is_markdown: false,
    };
    let find = |text: &str, found: &mut dyn FnMut(usize)| {
        found(0);
        text.len() / 5
    };
    assert_eq!(
        extractive(ONE_WORD, &[source], &find).unwrap().text,
        "The __init__ of Vec<String> *otter* [^1]"
    );
}

#[test]
fn a_listing_is_quoted_in_whole_lines_without_its_fence() {
    let one = "To feed the otter, run:\n\n```sh\notter feed --now\n```\n\nIt purrs.";
    assert_eq!(
        answer("how do I feed the otter", one),
        "To feed the otter, run: `otter feed --now` [^1]"
    );
    let two = "Feed the otter so:\n\n    otter wake\n      otter feed\n\nIt purrs.";
    assert_eq!(
        answer("how do I feed the otter", two),
        "Feed the otter so:\n\n    otter wake\n      otter feed\n\n[^1]"
    );
    // A listing that nothing announces shares the footnote of what it follows.
    let text = "Feed the otter each day.\n\n```\notter wake\notter feed\n```\n";
    assert_eq!(
        answer("feed otter", text),
        "Feed the otter each day. [^1]\n\n    otter wake\n    otter feed"
    );
    let lines: Vec<String> = (0..40).map(|n| format!("line {n}")).collect();
    let long = format!(
        "Feed it:\n\n```\n{}\nfeed otter\nlast\n```",
        lines.join("\n")
    );
    let quoted = answer("feed otter", &long);
    assert!(quoted.starts_with("    …\n    line 33\n"), "{quoted}");
    assert!(
        quoted.ends_with("\n    feed otter\n    …\n\n[^1]"),
        "{quoted}"
    );
    assert_eq!(quoted.matches("\n    line").count(), 7, "{quoted}");
}

#[test]
fn data_that_no_word_of_the_question_is_in_is_not_quoted() {
    let text = "A wrong field gives 422. See below.\n\n```json\n{\"status\": 500}\n```\n";
    assert_eq!(answer("what is 422", text), "A wrong field gives 422. [^1]");
}

#[test]
fn a_list_comes_with_the_sentence_that_announces_it() {
    let text = "Otters sleep when:\n\n- it is dark;\n- they are full.\n\nThey wake later.";
    assert_eq!(
        answer("when do otters sleep", text),
        "Otters sleep when:\nit is dark; [^1]\nthey are full. [^1]"
    );
}

#[test]
fn the_title_is_that_of_the_section_that_is_quoted() {
    let text = "Animals of the river.\n\n## Otters\n\nThey hold hands.\n\n## Pikes\n\nThey bite.";
    let quoted = ask("do otters hold hands", &[("Animals", text)]);
    assert_eq!(quoted.text, "They hold hands. [^1]");
    assert_eq!(quoted.sections, [(0, "Otters".to_owned())]);
    let above = ask("which river", &[("Animals", text)]);
    assert_eq!(above.sections, []);
}

#[test]
fn what_a_section_that_asks_the_question_goes_on_to_say_is_quoted() {
    let text = "## When is the disk full?\n\nIt stops when the disk is full. Free space. Go on.\n\n\
                ## Sync\n\nEvery commit is synced in full.";
    assert_eq!(
        answer("the disk is full", text),
        "It stops when the disk is full. [^1] Free space. [^1] Go on. [^1]"
    );
}

#[test]
fn found_counts_the_words_of_the_question_that_are_anywhere() {
    let sources = [
        ("Rivers", "An otter sleeps."),
        ("", "A pike bites an otter."),
    ];
    assert_eq!(ask("otter pike rivers lorry", &sources).found, 3);
    let none = ask("lorry", &[("", "# Otters\n\nThey sleep.")]);
    assert_eq!((none.found, none.text.as_str()), (0, "They sleep. [^1]"));
}

#[test]
fn nothing_to_quote_is_no_answer() {
    let find = |_: &str, _: &mut dyn FnMut(usize)| 0;
    assert_eq!(extractive(ONE_WORD, &[], &find), None);
}

#[test]
fn a_question_for_a_number_is_answered_with_one() {
    let text = "Otters eat fish in the river. In the river, otters eat 7 fish.";
    assert_eq!(
        answer("how many fish do otters eat", text),
        "Otters eat fish in the river. [^1] In the river, otters eat 7 fish. [^1]"
    );
    for question in ["How long is it?", "what is the maximum", "how many otters"] {
        assert!(asks_for_a_number(question), "{question}");
    }
    for question in ["how do I run it many times", "How?", "longer"] {
        assert!(!asks_for_a_number(question), "{question}");
    }
    let sources = [
        ("", "The pike holds fish at noon."),
        ("", "Nothing."),
        ("", "The pike holds 7 fish at noon."),
    ];
    assert!(
        ask("how large is the fish", &sources)
            .text
            .contains("7 fish")
    );
    assert!(!ask("where is the fish", &sources).text.contains("7 fish"));
}

#[test]
fn without_a_word_of_the_question_the_beginning_is_quoted() {
    let text = "# Rivers\n\n| a | b |\n|---|---|\n";
    let none = ask(
        "lorry",
        &[(
            "",
            &format!("{text}\n## Otters\n\nThey sleep. They eat. They swim. They dive."),
        )],
    );
    assert_eq!(none.text, "They sleep. [^1] They eat. [^1] They swim. [^1]");
    assert_eq!(none.sections, [(0, "Otters".to_owned())]);
}

proptest! {
    #[test]
    fn any_text_is_quoted_within_bounds_and_in_its_own_words(
        text in "([a-zé]{1,5}|[-#|`*_>\\[\\]()^\\\\:.\t \n]|    |\\[\\^a\\]|</?b>|\n\n){0,120}",
        is_markdown: bool,
    ) {
        let source = Source { headings: "a b", text: &text, is_markdown };
        let wanted = ["a".to_owned(), "b".to_owned()];
        let find = |text: &str, found: &mut dyn FnMut(usize)| find_in(&wanted, text, found);
        let question = Question { words: 2, wants_number: true };
        if let Some(quoted) = extractive(question, &[source, source], &find) {
            let there = words(&text);
            for word in words(&quoted.text.replace("[^1]", "").replace("[^2]", "")) {
                prop_assert!(there.iter().any(|other| other.contains(&word) || word.contains(other)));
            }
            prop_assert!(quoted.found <= 2);
            prop_assert!(!quoted.text.contains("[^a]") || quoted.text.contains('`') || text.contains("    ") || text.contains('\t'));
        }
    }
}

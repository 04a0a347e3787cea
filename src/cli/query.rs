//! `alfred query`

use super::daemon::Daemon;
use super::elsewhere::Elsewhere;
use super::{Context, Outcome, output, wiring};
use crate::clock::{Deadline, SystemClock};
use crate::config::StoreKind;
use crate::domain::{AnswerKind, CollectionName, Filter, LimitError, Mode, Query, QueryText, TopK};
use crate::failure::Failure;
use crate::search::SearchError;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

/// Width that excerpts, and on a terminal answers, are wrapped to.
const WIDTH: usize = 92;
/// Lines of an excerpt that are shown.
const EXCERPT_LINES: usize = 3;

/// Arguments of `alfred query`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    alfred query 'How do I upgrade the Helm chart?'\n  \
    alfred query 'p95 target' --mode text --top-k 5\n  \
    alfred query 'backup' --filter 'source=docs/*.md' --json\n\n\
    Asks the running daemon through its socket; with none running it opens the store itself.")]
pub(super) struct QueryArgs {
    /// The question, 1 to 8,192 bytes
    #[arg(value_name = "TEXT")]
    text: String,
    /// How many citations, 1 to 100
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        allow_negative_numbers = true
    )]
    top_k: i64,
    /// What is searched
    #[arg(long, value_enum, default_value_t = ModeArg::Hybrid)]
    mode: ModeArg,
    /// Where
    #[arg(long, value_name = "NAME", default_value = CollectionName::DEFAULT)]
    collection: String,
    /// Only documents with this metadata, or `source=GLOB`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// How the answer is made [default: `answer.kind`, extractive]
    #[arg(long, value_enum)]
    answer: Option<AnswerArg>,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeArg {
    Hybrid,
    Vector,
    Text,
}

#[derive(Clone, Copy, ValueEnum)]
enum AnswerArg {
    Extractive,
    Generated,
    None,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Hybrid => Self::Hybrid,
            ModeArg::Vector => Self::Vector,
            ModeArg::Text => Self::Text,
        }
    }
}

pub(super) fn run(arguments: &QueryArgs, context: &Context) -> Outcome {
    let query = parse(arguments).map_err(|error| usage(&error))?;
    let config = context.config()?;
    let query = Query {
        answer: match arguments.answer {
            Some(AnswerArg::Extractive) => AnswerKind::Extractive,
            Some(AnswerArg::Generated) => AnswerKind::Generated,
            Some(AnswerArg::None) => AnswerKind::None,
            None => config.raw.answer.kind,
        },
        ..query
    };
    let daemon = arguments.elsewhere.daemon(context)?;
    let daemon = daemon.or_else(|| Daemon::find(&config));
    let reply = if let Some(daemon) = daemon {
        daemon.post("/v1/query", &body(&query))?
    } else {
        let is_embedded = config.store_kind == StoreKind::Embedded;
        if is_embedded && !crate::store::embedded::exists(&config.store_dir) {
            let what = format!("there is no store in {}", config.store_dir.display());
            return Err(Failure::failed(what)
                .hint("put documents in with `alfred ingest`, or name another with --store"));
        }
        let most = Duration::from_millis(config.raw.server.request_timeout_ms);
        let answer = wiring::open_for_reading(&config)?
            .searcher
            .answer(&query, Deadline::after(&SystemClock, most))
            .map_err(failure)?;
        crate::http::answer_json(&answer)
    };
    if context.json {
        output::print_json(&reply)
    } else {
        output::print(&render(&reply, std::io::stdout().is_terminal()))
    }
}

fn failure(error: SearchError) -> Failure {
    let hint = error.hint();
    Failure::failed("the question was not answered")
        .because(error)
        .maybe_hint(hint)
}

fn usage(error: &LimitError) -> Failure {
    let hint = match error.field {
        "query" => "ask in words, as alfred query 'How do I upgrade the Helm chart?'",
        "top_k" => "give --top-k a number from 1 to 100",
        "collection" => "list the collections with `alfred store info`",
        _ => "write --filter KEY=VALUE, as 'lang=en' or 'source=docs/*.md'",
    };
    Failure::usage(error.to_string()).hint(hint)
}

fn parse(arguments: &QueryArgs) -> Result<Query, LimitError> {
    let conditions = arguments
        .filter
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), scalar(key, value))),
            None => Err(LimitError::new(
                "filter",
                format!("must be KEY=VALUE, got {pair:?}"),
            )),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Query {
        text: QueryText::new(&arguments.text)?,
        top_k: TopK::new(arguments.top_k)?,
        mode: arguments.mode.into(),
        collection: CollectionName::new(&arguments.collection)?,
        filter: Filter::new(conditions)?,
        answer: AnswerKind::Extractive,
    })
}

/// `true`, `12` and `1.5` are what they look like; to ask for the text "12" write `key="12"`.
fn scalar(key: &str, value: &str) -> Value {
    if key == "source" {
        return value.into();
    }
    match serde_json::from_str(value) {
        Ok(scalar @ (Value::Bool(_) | Value::Number(_) | Value::Null | Value::String(_))) => scalar,
        _ => value.into(),
    }
}

/// The query as `POST /v1/query` takes it.
fn body(query: &Query) -> Value {
    let mut filter: Map<String, Value> = query.filter.metadata.iter().cloned().collect();
    if let Some(glob) = &query.filter.source {
        filter.insert("source".to_owned(), glob.as_str().into());
    }
    json!({
        "query": query.text.as_str(),
        "top_k": query.top_k.get(),
        "mode": query.mode,
        "collection": query.collection.as_str(),
        "filter": filter,
        "answer": query.answer,
    })
}

/// The reply for a person: the answer, then each citation with the beginning of its excerpt.
fn render(reply: &Value, wrapped: bool) -> String {
    let mut text = String::new();
    let citations = reply["citations"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    match reply["answer"].as_str() {
        _ if citations.is_empty() => text.push_str("nothing found\n"),
        Some("") => text.push_str("nothing found that answers this; what is nearest:\n\n"),
        Some(answer) if wrapped => {
            let _ = writeln!(text, "{}\n", wrap_answer(answer));
        }
        Some(answer) => {
            let _ = writeln!(text, "{answer}\n");
        }
        None => {}
    }
    if let Some(reason) = reply["answer_fallback"].as_str() {
        let _ = writeln!(text, "(quoted, not generated: {reason})\n");
    }
    for (index, citation) in citations.iter().enumerate() {
        let field = |key: &str| citation[key].as_str().unwrap_or_default();
        let page = citation["page"]
            .as_u64()
            .map(|page| format!(", page {page}"));
        let title = Some(field("title")).filter(|title| !title.is_empty());
        let _ = writeln!(
            text,
            "[^{}] {}{}{}  (score {:.2})",
            index + 1,
            field("source"),
            page.unwrap_or_default(),
            title.map(|title| format!(" > {title}")).unwrap_or_default(),
            citation["score"].as_f64().unwrap_or_default(),
        );
        for line in beginning(field("excerpt")) {
            let _ = writeln!(text, "     {line}");
        }
    }
    let timing = |key: &str| reply["timings_ms"][key].as_f64().unwrap_or_default();
    let _ = write!(
        text,
        "\n{:.1} ms (embedding {:.1}, search {:.1})",
        timing("total"),
        timing("embed"),
        timing("search")
    );
    text
}

/// An answer wrapped at words, listings left as they are.
fn wrap_answer(answer: &str) -> String {
    let lines = answer.lines().flat_map(|line| {
        if line.starts_with("    ") || line.is_empty() {
            vec![line.to_owned()]
        } else {
            wrap(line)
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The first lines of an excerpt, wrapped at words.
fn beginning(excerpt: &str) -> Vec<String> {
    let mut lines = wrap(excerpt);
    if lines.len() > EXCERPT_LINES {
        lines.truncate(EXCERPT_LINES);
        if let Some(last) = lines.last_mut() {
            last.push('…');
        }
    }
    lines
}

/// The words in lines of at most [`WIDTH`] characters, or one word where that is longer.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() >= WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_wrapped_at_words_and_listings_left_alone() {
        let sentence = "word ".repeat(40);
        let listing = format!("    {}", "x".repeat(120));
        let wrapped = wrap_answer(&format!("{sentence}\n\n{listing}\n\n[^1]"));
        let lines: Vec<&str> = wrapped.lines().collect();
        assert!(lines[0].ends_with("word") && lines[0].len() <= WIDTH);
        assert_eq!(
            lines.iter().filter(|line| line.starts_with("word")).count(),
            3
        );
        assert_eq!(lines[3..], ["", &listing, "", "[^1]"]);
    }

    #[test]
    fn an_empty_answer_says_so() {
        let citation = json!({"source": "a.md", "title": "A", "score": 0.5, "excerpt": "text"});
        let shown = render(&json!({"answer": "", "citations": [citation]}), false);
        assert!(
            shown.starts_with("nothing found that answers this"),
            "{shown}"
        );
        let shown = render(&json!({"answer": "", "citations": []}), false);
        assert!(shown.starts_with("nothing found\n"), "{shown}");
    }

    #[test]
    fn an_answer_that_stands_in_for_a_generated_one_says_why() {
        let citation = json!({"source": "a.md", "title": "A", "score": 0.5, "excerpt": "text"});
        let reply = json!({"answer": "text [^1]", "answer_fallback": "the chat model is not \
            available", "citations": [citation]});
        let shown = render(&reply, false);
        let note = "text [^1]\n\n(quoted, not generated: the chat model is not available)";
        assert!(shown.starts_with(note), "{shown}");
    }
}

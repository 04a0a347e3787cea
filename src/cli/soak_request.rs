//! Flags of `alfred soak` that say what is asked, and what is held against the answers.

use crate::client::Target;
use crate::soak::check::Check;
use crate::soak::relevance::{RelevanceSettings, SourcePointer};
use crate::soak::settings::{Settings, StatusRange};
use crate::soak::units::parse_duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What is asked, and what is held against the answers.
#[derive(Debug, clap::Args)]
pub struct RequestArgs {
    /// Where requests go: http://HOST:PORT/PATH, https://… or unix:/SOCKET:/PATH
    #[arg(long, value_name = "URL", env = "TARGET_URL")]
    pub target: Option<Target>,
    /// Method [default: POST]
    #[arg(long)]
    pub method: Option<String>,
    /// Header to send, as 'Authorization: Bearer …'; repeatable
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    pub headers: Vec<(String, String)>,
    /// Body, {{query}} standing for the query with JSON escapes, {{NAME}} for a field of it; places
    /// in the target's path are filled too
    /// [default: {"query": "{{query}}", "top_k": 3}]
    #[arg(long, value_name = "TEMPLATE")]
    pub body: Option<String>,
    /// Queries, used in turn: lines of text, lines of JSON (.jsonl) or CSV with a header (.csv)
    #[arg(long, value_name = "FILE", env = "QUERY_FILE")]
    pub queries: Option<PathBuf>,
    /// Shuffle the queries: each pass over them has an order of its own, by the seed
    #[arg(long)]
    pub shuffle: bool,
    /// Make every query different, so that no cache answers
    #[arg(long)]
    pub unique: bool,
    /// Request timeout, from send [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// How long requests in flight are waited for at the end [default: the timeout, 60s at most]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub grace: Option<Duration>,
    /// Most connections at a time; what is due beyond waits for one [default: the in-flight cap]
    #[arg(long, value_name = "COUNT")]
    pub connections: Option<usize>,
    /// Trust these authorities over https [default: those of this machine]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca_file: Option<PathBuf>,
    /// Take any certificate over https
    #[arg(long)]
    pub insecure: bool,
    /// Statuses that are no errors, as 200-299 or 404; repeatable [default: 200-299]
    #[arg(long = "expect-status", value_name = "STATUS")]
    pub expected_status: Vec<StatusRange>,
    /// What an answer must hold: /json/pointer, '/hits >= 3', '/status == "ok"', 'contains done',
    /// 'size <= 64KiB'; repeatable
    #[arg(long = "check", value_name = "CHECK")]
    pub checks: Vec<Check>,
    /// Which sources answer which query: lines of a query, a tab, and sources with tabs between; for
    /// the threshold hit_rate>=0.9, on one of them being among the first three that an answer cites
    #[arg(long, value_name = "FILE")]
    pub relevance: Option<PathBuf>,
    /// Where an answer has its sources, best first; a * stands for each element of a list
    /// [default: /citations/*/source]
    #[arg(long, value_name = "POINTER")]
    pub relevance_pointer: Option<SourcePointer>,
}

impl RequestArgs {
    /// These settings and no others.
    pub(super) fn settings(&self) -> Settings {
        let headers: BTreeMap<String, String> = self.headers.iter().cloned().collect();
        let relevance = RelevanceSettings {
            file: self.relevance.clone(),
            pointer: self.relevance_pointer.clone(),
        };
        Settings {
            target: self.target.clone(),
            method: self.method.clone(),
            headers: (!headers.is_empty()).then_some(headers),
            body: self.body.clone(),
            queries: self.queries.clone(),
            shuffle: self.shuffle.then_some(true),
            unique: self.unique.then_some(true),
            timeout: self.timeout,
            grace: self.grace,
            connections: self.connections,
            ca_file: self.ca_file.clone(),
            insecure: self.insecure.then_some(true),
            expected_status: (!self.expected_status.is_empty())
                .then(|| self.expected_status.clone()),
            checks: (!self.checks.is_empty()).then(|| self.checks.clone()),
            relevance: (relevance != RelevanceSettings::default()).then_some(relevance),
            ..Settings::default()
        }
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        // What was given is not shown: it may hold a secret.
        .ok_or_else(|| "a header is NAME: VALUE, and this one has no colon".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

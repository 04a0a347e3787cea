//! A provider of embeddings and answers, played by `examples/openai_standin`: well, badly, not at all.

use crate::support::{Daemon, Home, PATIENCE, eventually};
use alfred::client::{Endpoint, Limits, Outgoing, request_blocking};
use alfred::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const KEY: &str = "sk-e2e-0123456789";
const HELM: &str = "# Upgrading\n\nTo upgrade the Helm chart, run helm upgrade.\n";
const LIMITS: Limits = Limits {
    timeout: PATIENCE,
    max_response_bytes: 64 << 20,
};

/// The stand-in; killed when it goes out of scope.
pub(crate) struct Standin {
    child: Child,
    base_url: String,
}

impl Standin {
    /// The built example.
    pub(crate) fn program() -> PathBuf {
        let tests = std::env::current_exe().unwrap();
        let target = tests.ancestors().nth(2).unwrap();
        let program = target.join("examples/openai_standin");
        assert!(
            program.exists(),
            "run cargo build --example openai_standin first"
        );
        program
    }

    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(Self::program())
            .args(["--key", KEY])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        Self {
            child,
            base_url: line.trim().to_owned(),
        }
    }

    /// Ends it; connections to where it was are refused.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it where it was.
    pub(crate) fn start_again(&mut self, arguments: &[&str]) {
        let url = self.base_url.replace("http://", "");
        let address = url.trim_end_matches("/v1");
        *self = Self::start(&[&["--listen", address], arguments].concat());
    }

    /// Changes how it behaves; `null` changes nothing. Returns counters.
    pub(crate) fn control(&self, change: &Value) -> Value {
        let endpoint: Endpoint = self.base_url.replace("/v1", "").parse().unwrap();
        let mut outgoing = Outgoing::default();
        if !change.is_null() {
            outgoing.method = "POST".parse().unwrap();
            outgoing.body = change.to_string().into();
        }
        let reply = request_blocking(&endpoint.at("/control"), outgoing, LIMITS).unwrap();
        assert!(reply.status.is_success(), "{reply:?}");
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// The key that it wants, and where it is.
    pub(crate) fn variables(&self) -> (String, String) {
        (KEY.to_owned(), self.base_url.clone())
    }

    fn embedding_requests(&self) -> u64 {
        let counters = self.control(&Value::Null);
        let by_status = counters["requests"]["/v1/embeddings"].as_object();
        let counts = by_status.into_iter().flatten();
        counts.map(|(_, count)| count.as_u64().unwrap()).sum()
    }

    /// `alfred` that is to use it.
    pub(crate) fn alfred(&self, home: &Home, arguments: &[&str]) -> Command {
        let mut command = home.command(arguments);
        command
            .env("OPENAI_API_KEY", KEY)
            .env("OPENAI_BASE_URL", &self.base_url);
        command
    }

    /// A daemon that uses it, with one document.
    pub(crate) fn daemon(&self, home: &Home, settings: &[(&str, &str)]) -> Daemon {
        let mut command = self.alfred(home, &["serve", "--listen", "127.0.0.1:0"]);
        command.envs(settings.iter().copied());
        let daemon = Daemon::start(command);
        let document = json!({"source": "docs/helm.md", "content": HELM});
        let (status, reply) = daemon.request("POST", "/v1/documents", Some(&document));
        assert_eq!(status, 200, "{reply}");
        daemon
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A question that no cache knows: status, `Retry-After`, body.
fn ask(daemon: &Daemon, question: &str) -> (u16, Option<u64>, Value) {
    let mut outgoing = Outgoing {
        method: "POST".parse().unwrap(),
        body: json!({"query": question}).to_string().into(),
        ..Outgoing::default()
    };
    let json = "application/json".parse().unwrap();
    outgoing.headers.insert("content-type", json);
    let reply = request_blocking(&daemon.endpoint.at("/v1/query"), outgoing, LIMITS).unwrap();
    let wait = reply.headers.get("retry-after");
    let wait = wait.map(|wait| wait.to_str().unwrap().parse().unwrap());
    let body = serde_json::from_slice(&reply.body).unwrap();
    (reply.status.as_u16(), wait, body)
}

#[test]
fn documents_and_questions_are_embedded_by_the_provider() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    let daemon = standin.daemon(&home, &[]);
    let reply = daemon.ask(&json!({"query": "How do I upgrade the Helm chart?"}));
    assert!(
        reply["answer"].as_str().unwrap().contains("helm upgrade"),
        "{reply}"
    );
    assert!(reply["usage"]["embedding_tokens"].as_u64().unwrap() > 0);
    let (_, status) = daemon.request("GET", "/v1/status", None);
    assert_eq!(
        status["embedder"],
        json!({"model": "text-embedding-3-small", "dimensions": 1536})
    );
    assert_eq!(status["provider"]["requests"], json!({"200": 2}));
    assert!(
        status["provider"]["embedding_tokens"].as_u64().unwrap() > 10,
        "{status}"
    );
    let sent = standin.control(&Value::Null)["last_embeddings"].clone();
    assert_eq!(sent["encoding_format"], "base64");
    assert_eq!(daemon.stop(), 0);

    // The store decides from then on: without a key it says what is missing.
    home.alfred(&["query", "helm"])
        .expect(78)
        .stderr
        .contains("OPENAI_API_KEY")
        .then_some(())
        .unwrap();
    let shown = crate::support::finish(standin.alfred(&home, &["config", "show"]).spawn().unwrap());
    assert!(!shown.expect(0).stdout.contains(KEY));
}

#[test]
fn a_provider_that_fails_is_left_alone_and_used_again_when_it_is_back() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    let daemon = standin.daemon(&home, &[("ALFRED__EMBEDDING__RETRIES", "0")]);
    standin.control(&json!({"fail_status": 500}));
    for n in 0..8 {
        let (status, wait, body) = ask(&daemon, &format!("question {n}"));
        assert_eq!(
            (status, body["kind"].as_str()),
            (503, Some("openai_error")),
            "{body}"
        );
        assert_eq!(wait, Some(1));
    }
    let asked = standin.embedding_requests();
    assert!(
        asked < 8,
        "{asked} requests went to a provider that is down"
    );
    assert_eq!(daemon.request("GET", "/readyz", None).0, 503);
    // Questions that need no provider are answered all the while.
    daemon.ask(&json!({"query": "helm", "mode": "text"}));

    standin.control(&json!({"reset": true}));
    let back = SystemClock.monotonic();
    eventually(PATIENCE, || {
        (ask(&daemon, "another").0 == 200).then_some(())
    });
    let took = SystemClock.monotonic() - back;
    assert!(took < Duration::from_secs(2), "recovered after {took:?}");
    assert_eq!(daemon.request("GET", "/readyz", None).0, 200);
}

#[test]
fn a_rate_limit_is_passed_on_or_waited_for() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    let daemon = standin.daemon(&home, &[]);
    standin.control(&json!({"fail_status": 429, "retry_after": "1", "fail_count": 1}));
    assert_eq!(ask(&daemon, "worth a second").0, 200);
    standin.control(&json!({"fail_status": 429, "retry_after": "60"}));
    let start = SystemClock.monotonic();
    let (status, wait, body) = ask(&daemon, "not worth a minute");
    assert_eq!(
        (status, body["kind"].as_str()),
        (503, Some("openai_error")),
        "{body}"
    );
    assert!(
        wait.is_some_and(|wait| (55..=60).contains(&wait)),
        "{wait:?}"
    );
    assert!(SystemClock.monotonic() - start < Duration::from_secs(2));
    let (_, status) = daemon.request("GET", "/v1/status", None);
    assert_eq!(status["provider"]["requests"]["429"], 2);
}

#[test]
fn a_provider_that_hangs_costs_no_more_than_the_request_has() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    let limit = [("ALFRED__SERVER__REQUEST_TIMEOUT_MS", "1000")];
    let daemon = standin.daemon(&home, &limit);
    standin.control(&json!({"hang": true}));
    let start = SystemClock.monotonic();
    let (status, _, body) = ask(&daemon, "anybody there?");
    assert_eq!(
        (status, body["kind"].as_str()),
        (504, Some("timeout")),
        "{body}"
    );
    assert!(SystemClock.monotonic() - start < Duration::from_secs(3));
}

#[test]
fn senseless_answers_are_errors_and_the_key_is_nowhere() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    home.write("docs/helm.md", HELM);
    let ingest = |key: &str| {
        let mut command = standin.alfred(&home, &["ingest", "docs"]);
        command.env("OPENAI_API_KEY", key);
        crate::support::finish(command.spawn().unwrap())
            .expect(1)
            .stderr
    };
    for (fault, says) in [
        (json!({"wrong_count": true}), "0 vectors for 1 text"),
        (
            json!({"wrong_dimension": true}),
            "1535 dimensions, not 1536",
        ),
        (json!({"nan": true}), "NaN"),
        (json!({"nan": true, "refuse_base64": true}), "null"),
        (json!({"truncate": true}), "cut short"),
    ] {
        let mut change = fault.clone();
        change["reset"] = json!(true);
        standin.control(&change);
        let stderr = ingest(KEY);
        assert!(stderr.contains(says), "{fault}: {stderr}");
    }
    standin.control(&json!({"reset": true}));
    let stderr = ingest("sk-wrong-key");
    assert!(
        stderr.contains("Incorrect API key provided: ***"),
        "{stderr}"
    );
    assert!(
        stderr.contains("401") && stderr.contains("OPENAI_API_KEY"),
        "{stderr}"
    );
    assert!(!stderr.contains("sk-wrong-key"), "{stderr}");
}

#[test]
fn answers_are_written_from_the_citations_or_quoted() {
    let (standin, home) = (Standin::start(&[]), Home::new());
    let settings = [
        ("ALFRED__ANSWER__MODEL", "gpt-4o-mini"),
        ("ALFRED__ANSWER__TIMEOUT_MS", "700"),
        ("ALFRED__EMBEDDING__RETRIES", "0"),
    ];
    let daemon = standin.daemon(&home, &settings);
    standin.control(&json!({"bogus_footnotes": [7]}));
    let question = json!({"query": "How do I upgrade the Helm chart?", "answer": "generated"});
    let reply = daemon.ask(&question);
    let answer = reply["answer"].as_str().unwrap();
    assert!(
        answer.contains("helm upgrade. [^1]") && !answer.contains("[^7]"),
        "{answer}"
    );
    assert!(reply.get("answer_fallback").is_none());
    assert!(
        reply["usage"]["completion_tokens"].as_u64().unwrap() > 0,
        "{reply}"
    );
    let chat = standin.control(&Value::Null)["last_chat"].clone();
    assert_eq!(
        (&chat["model"], &chat["max_tokens"]),
        (&json!("gpt-4o-mini"), &json!(512))
    );

    for (fault, says) in [
        (
            json!({"fail_status": 500, "only": "chat"}),
            "is not available",
        ),
        (
            json!({"hang": true, "only": "chat"}),
            "did not answer within 700 ms",
        ),
        (json!({"chat_text": ""}), "answered nothing"),
        (json!({"chat_text": "Trust me [^8]."}), "do not exist"),
    ] {
        let mut change = fault.clone();
        change["reset"] = json!(true);
        standin.control(&change);
        let reply = daemon.ask(&question);
        let why = reply["answer_fallback"].as_str().unwrap_or_default();
        assert!(why.contains(says), "{fault}: {reply}");
        assert!(
            reply["answer"].as_str().unwrap().contains("helm upgrade"),
            "{reply}"
        );
    }
    let arguments = [
        "query",
        "How do I upgrade the Helm chart?",
        "--answer",
        "generated",
    ];
    let shown = home.alfred(&arguments).expect(0).stdout;
    assert!(shown.contains("(quoted, not generated: "), "{shown}");
    let (_, status) = daemon.request("GET", "/v1/status", None);
    assert!(
        status["provider"]["completion_tokens"].as_u64().unwrap() > 0,
        "{status}"
    );
}

#[test]
fn without_a_key_openai_is_a_configuration_error() {
    let home = Home::new();
    let mut command = home.command(&["serve", "--check"]);
    command.env("ALFRED__EMBEDDING__KIND", "openai");
    let stderr = crate::support::finish(command.spawn().unwrap())
        .expect(78)
        .stderr;
    assert!(stderr.contains("OPENAI_API_KEY is not set"), "{stderr}");
}

use super::testing::{Say, TestProvider};
use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::telemetry::events;
use crate::telemetry::testing::events_of;
use serde_json::json;
use std::time::SystemTime;

fn manual() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH))
}

fn ok() -> Say {
    Say::json(200, &json!({"ok": true}))
}

fn post(provider: &Provider, deadline: Deadline) -> Result<Vec<u8>, ProviderError> {
    provider.post(Call {
        path: "embeddings",
        body: b"{}",
        max_reply_bytes: 1_000,
        deadline,
    })
}

fn within(clock: &dyn Clock, ms: u64) -> Deadline {
    Deadline::after(clock, Duration::from_millis(ms))
}

#[test]
fn what_may_pass_is_tried_again() {
    let server = TestProvider::start(|n, _| match n {
        0 => Say::status(500, ""),
        1 => Say::status(429, "retry-after: 3\r\n"),
        2 => Say::Cut,
        _ => ok(),
    });
    let clock = manual();
    let provider = server.client(3, clock.clone());
    let start = clock.monotonic();
    let deadline = within(&*clock, 30_000);
    assert_eq!(post(&provider, deadline).unwrap(), br#"{"ok":true}"#);
    assert!(clock.monotonic() - start >= Duration::from_secs(3));
    let requests = provider.stats().snapshot().requests;
    let counted: Vec<(&str, u64)> = requests.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    assert_eq!(
        counted,
        [("200", 1), ("429", 1), ("500", 1), ("unreachable", 1)]
    );
    let seen = server.seen();
    assert_eq!(seen[0].traceparent, None, "nobody asked");
    assert_eq!(seen[0].path, "/v1/embeddings");
    assert_eq!(seen[0].authorization.as_deref(), Some("Bearer sk-secret"));
}

#[test]
fn a_provider_is_told_of_the_trace_that_it_is_asked_in() {
    let server = TestProvider::start(|_, _| ok());
    let clock = manual();
    let provider = server.client(0, clock.clone());
    let mut headers = http::HeaderMap::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("tracestate", "a=1".parse().unwrap());
    let incoming = trace::Incoming::of(&headers);
    let trail = trace::Trail::begin(clock.monotonic(), incoming, None, || clock.wall());
    trace::within(&Arc::new(trail), || {
        post(&provider, within(&*clock, 1_000)).unwrap();
    });
    post(&provider, within(&*clock, 1_000)).unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].traceparent.as_deref(), Some(parent));
    assert_eq!(seen[0].tracestate.as_deref(), Some("a=1"));
    assert_eq!((&seen[1].traceparent, &seen[1].tracestate), (&None, &None));
}

#[test]
fn tries_end_after_the_retries() {
    let server = TestProvider::start(|_, _| Say::status(503, ""));
    let clock = manual();
    let provider = server.client(2, clock.clone());
    let error = post(&provider, within(&*clock, 60_000)).unwrap_err();
    assert_eq!(server.seen().len(), 3);
    let text = error.to_string();
    assert!(
        text.contains("status 503: asked to fail, after 3 tries"),
        "{text}"
    );
    assert!(matches!(
        error,
        ProviderError::Unavailable {
            retry_after: None,
            ..
        }
    ));
}

#[test]
fn a_retry_after_beyond_the_deadline_is_answered_at_once() {
    let server = TestProvider::start(|_, _| Say::status(429, "retry-after: 60\r\n"));
    let clock = manual();
    let provider = server.client(3, clock.clone());
    let start = clock.monotonic();
    let error = post(&provider, within(&*clock, 10_000)).unwrap_err();
    let minute = Duration::from_mins(1);
    let ProviderError::Unavailable { retry_after, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(retry_after, Some(minute));
    assert_eq!((server.seen().len(), clock.monotonic()), (1, start));
    // From then on nobody asks before the minute is over.
    assert_eq!(provider.closed_for(), Some(minute));
    assert!(post(&provider, within(&*clock, 10_000)).is_err());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn bulk_work_waits_for_a_minute() {
    let server = TestProvider::start(|n, _| match n {
        0 => Say::status(429, "retry-after: 60\r\n"),
        _ => ok(),
    });
    let clock = manual();
    let provider = server.client(3, clock.clone());
    let start = clock.monotonic();
    assert!(post(&provider, Deadline::NONE).is_ok());
    assert!(clock.monotonic() - start >= Duration::from_mins(1));
}

#[test]
fn a_refusal_is_not_repeated_and_says_what_to_do() {
    for (status, hint) in [
        (401, "OPENAI_API_KEY"),
        (404, "base_url"),
        (413, "batch_max"),
    ] {
        let server = TestProvider::start(move |_, _| {
            Say::json(
                status,
                &json!({"error": {"message": "Incorrect key: sk-secret\n twice"}}),
            )
        });
        let provider = server.client(3, manual());
        let error = post(&provider, Deadline::NONE).unwrap_err();
        assert_eq!(server.seen().len(), 1);
        let text = format!("{error:?} {error}");
        assert!(
            text.contains("Incorrect key: *** twice") && !text.contains("sk-secret"),
            "{text}"
        );
        assert!(
            text.contains(provider.host()) && text.contains(hint),
            "{text}"
        );
    }
}

#[test]
fn a_quota_that_is_used_up_is_not_waited_for() {
    let body = json!({"error": {"message": "You exceeded it", "code": "insufficient_quota"}});
    let server = TestProvider::start(move |_, _| Say::json(429, &body));
    let error = post(&server.client(3, manual()), Deadline::NONE).unwrap_err();
    assert_eq!(server.seen().len(), 1);
    assert!(
        matches!(&error, ProviderError::Refused { hint: Some(hint), .. } if hint.contains("billing"))
    );
}

#[test]
fn answers_at_once_while_the_provider_is_down_and_recovers_by_itself() {
    let server = TestProvider::start(|n, _| match n {
        0..5 => Say::status(500, ""),
        _ => ok(),
    });
    let clock = manual();
    let provider = server.client(0, clock.clone());
    let down = events_of(|| {
        for _ in 0..5 {
            assert!(post(&provider, within(&*clock, 5_000)).is_err());
        }
        assert!(post(&provider, within(&*clock, 5_000)).is_err());
    });
    assert_eq!(down.len(), 1, "said once: {down:?}");
    assert_eq!(down[0]["message_id"], events::DEPENDENCY_DOWN);
    assert!(down[0]["reason"].contains("status 500"), "{down:?}");
    let error = post(&provider, within(&*clock, 5_000)).unwrap_err();
    assert_eq!(server.seen().len(), 5);
    assert!(
        matches!(error, ProviderError::Unavailable { retry_after: Some(wait), .. } if wait <= Duration::from_secs(1))
    );
    clock.advance(Duration::from_secs(1));
    let back = events_of(|| {
        assert!(post(&provider, within(&*clock, 5_000)).is_ok());
        assert!(post(&provider, within(&*clock, 5_000)).is_ok());
    });
    let ids: Vec<&String> = back.iter().map(|event| &event["message_id"]).collect();
    assert_eq!(ids, [events::DEPENDENCY_BACK]);
}

#[test]
fn the_key_goes_to_no_other_host() {
    let other = TestProvider::start(|_, _| ok());
    let target = other.base_url.clone();
    let server = TestProvider::start(move |_, _| {
        Say::status(307, &format!("location: {target}/embeddings\r\n"))
    });
    let error = post(&server.client(3, manual()), Deadline::NONE).unwrap_err();
    assert!(error.to_string().contains("it redirects to"), "{error}");
    assert!(other.seen().is_empty());
}

#[test]
fn a_provider_that_hangs_or_is_not_there_costs_no_more_than_the_deadline() {
    let server = TestProvider::start(|_, _| Say::Hang(Duration::from_secs(20)));
    let provider = server.client(10, Arc::new(SystemClock));
    let start = SystemClock.monotonic();
    let error = post(&provider, within(&SystemClock, 900)).unwrap_err();
    let took = SystemClock.monotonic() - start;
    assert!(matches!(error, ProviderError::TimedOut { .. }), "{error}");
    assert!(
        took >= Duration::from_millis(450) && took < Duration::from_secs(3),
        "{took:?}"
    );

    // Nobody listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let gone = ProviderSettings {
        base_url: BaseUrl::parse(&format!("http://{address}/v1")).unwrap(),
        api_key: Secret::default(),
        timeout: Duration::from_secs(5),
        retries: 1,
    };
    let provider = Provider::new(gone, Arc::default(), manual());
    let error = post(&provider, Deadline::NONE).unwrap_err();
    assert!(error.to_string().contains("after 2 tries"), "{error}");
    assert!(matches!(error, ProviderError::Unavailable { .. }));
}

#[test]
fn an_endless_answer_is_refused() {
    let server = TestProvider::start(|_, _| Say::Reply(200, String::new(), "x".repeat(5_000)));
    let error = post(&server.client(3, manual()), Deadline::NONE).unwrap_err();
    assert!(
        error.to_string().contains("larger than 1000 bytes"),
        "{error}"
    );
    assert_eq!(server.seen().len(), 1);
}

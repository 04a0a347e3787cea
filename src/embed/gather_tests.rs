use super::*;
use crate::domain::ModelId;

/// Remembers its calls, and behaves as it is told.
struct Provider {
    id: ModelId,
    calls: Mutex<Vec<Vec<String>>>,
    behaviour: Mutex<Behaviour>,
}

#[derive(Clone, Copy, Default)]
struct Behaviour {
    latency: Duration,
    is_away: bool,
    crashes_on_batches: bool,
}

impl Provider {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            id: ModelId {
                name: "fake".to_owned(),
                dimensions: 2,
            },
            calls: Mutex::default(),
            behaviour: Mutex::default(),
        })
    }

    fn vector(text: &str) -> Embedding {
        let sum: u16 = text.bytes().map(u16::from).sum();
        Embedding::normalised(vec![1.0, f32::from(sum)]).unwrap()
    }

    /// How many texts each call had.
    fn sizes(&self) -> Vec<usize> {
        lock(&self.calls).iter().map(Vec::len).collect()
    }
}

impl Embedder for Provider {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn max_tokens(&self) -> usize {
        100
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split(' ').count()
    }

    fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
        self.embed_within(texts, Deadline::NONE)
    }

    fn embed_within(&self, texts: &[&str], deadline: Deadline) -> Result<Embedded, EmbedError> {
        lock(&self.calls).push(texts.iter().map(ToString::to_string).collect());
        let behaviour = *lock(&self.behaviour);
        SystemClock.sleep(deadline.cap(&SystemClock, behaviour.latency));
        assert!(
            texts.len() == 1 || !behaviour.crashes_on_batches,
            "as asked"
        );
        let provider = "fake".to_owned();
        if deadline.remaining(&SystemClock) == Some(Duration::ZERO) {
            let problem = "slow".to_owned();
            return Err(EmbedError::TimedOut { provider, problem });
        }
        if behaviour.is_away {
            return Err(EmbedError::Unavailable {
                provider,
                problem: "away".to_owned(),
                retry_after: None,
            });
        }
        if texts.contains(&"bad") {
            return Err(EmbedError::Provider {
                provider,
                problem: "refused".to_owned(),
                hint: None,
            });
        }
        Ok(Embedded {
            vectors: texts.iter().map(|text| Self::vector(text)).collect(),
            tokens: texts
                .iter()
                .map(|text| self.count_tokens(text) as u64)
                .sum(),
        })
    }

    fn provider(&self) -> &'static str {
        "openai"
    }
}

/// A window that threads of a busy machine do not miss.
const LONG: Duration = Duration::from_millis(300);

/// A gatherer to which a query has just come.
fn gatherer(provider: &Arc<Provider>, batch_max: usize) -> Gatherer {
    let shared: Arc<dyn Embedder> = provider.clone();
    let gatherer = Gatherer::new(shared, batch_max).with_window(LONG);
    gatherer.embed("first", Deadline::NONE).unwrap();
    lock(&provider.calls).clear();
    gatherer
}

type Outcome = Result<(Embedding, u64), EmbedError>;

/// Asks for all of `texts` at the same time; each has this long. `None`: the caller crashed.
fn together(
    gatherer: &Gatherer,
    texts: &[(&'static str, Option<Duration>)],
) -> Vec<Option<Outcome>> {
    std::thread::scope(|scope| {
        let ask = |(text, within): (&'static str, Option<Duration>)| {
            let within = within.map(|within| Deadline::after(&SystemClock, within));
            scope.spawn(move || gatherer.embed(text, within.unwrap_or_default()))
        };
        let askers: Vec<_> = texts.iter().copied().map(ask).collect();
        askers.into_iter().map(|asker| asker.join().ok()).collect()
    })
}

fn is_ok(outcome: Option<&Outcome>) -> bool {
    matches!(outcome, Some(Ok(_)))
}

#[test]
fn a_lone_query_does_not_wait() {
    let provider = Provider::new();
    let start = SystemClock.monotonic();
    let gatherer = gatherer(&provider, 8);
    assert!(SystemClock.monotonic() - start < LONG / 2);
    SystemClock.sleep(LONG);
    let start = SystemClock.monotonic();
    gatherer.embed("alone again", Deadline::NONE).unwrap();
    assert!(SystemClock.monotonic() - start < LONG / 2);
    assert_eq!(provider.sizes(), [1]);
}

#[test]
fn queries_that_come_together_share_a_call_and_each_gets_its_own() {
    let provider = Provider::new();
    let texts = ["one", "two words", "and three words", "four"];
    let outcomes = together(&gatherer(&provider, 8), &texts.map(|text| (text, None)));
    for (text, outcome) in texts.iter().zip(outcomes) {
        let (vector, tokens) = outcome.unwrap().unwrap();
        assert_eq!(vector, Provider::vector(text));
        assert_eq!(tokens, provider.count_tokens(text) as u64);
    }
    assert_eq!(provider.sizes(), [4]);
}

#[test]
fn a_full_batch_goes_at_once() {
    let provider = Provider::new();
    let gatherer = gatherer(&provider, 2);
    let start = SystemClock.monotonic();
    let texts = ["one", "two", "three", "four"].map(|text| (text, None));
    assert!(
        together(&gatherer, &texts)
            .iter()
            .all(|one| is_ok(one.as_ref()))
    );
    assert!(SystemClock.monotonic() - start < LONG);
    assert_eq!(provider.sizes(), [2, 2]);
}

#[test]
fn a_bad_text_fails_alone() {
    let provider = Provider::new();
    let texts = ["one", "bad", "two"].map(|text| (text, None));
    let outcomes = together(&gatherer(&provider, 8), &texts);
    let are_ok: Vec<bool> = outcomes.iter().map(|one| is_ok(one.as_ref())).collect();
    assert_eq!(are_ok, [true, false, true]);
    assert_eq!(provider.sizes(), [3, 1, 1, 1]);
}

#[test]
fn a_provider_that_is_away_is_not_asked_for_each() {
    let provider = Provider::new();
    let gatherer = gatherer(&provider, 8);
    lock(&provider.behaviour).is_away = true;
    for outcome in together(&gatherer, &["one", "two", "three"].map(|text| (text, None))) {
        let is_away = matches!(outcome, Some(Err(EmbedError::Unavailable { .. })));
        assert!(is_away, "{outcome:?}");
    }
    assert_eq!(provider.sizes(), [3]);
}

#[test]
fn a_crash_in_a_call_is_that_of_one_caller_alone() {
    let provider = Provider::new();
    let gatherer = gatherer(&provider, 8);
    lock(&provider.behaviour).crashes_on_batches = true;
    let outcomes = together(&gatherer, &["one", "two", "three"].map(|text| (text, None)));
    assert_eq!(
        outcomes.iter().filter(|one| is_ok(one.as_ref())).count(),
        2,
        "{outcomes:?}"
    );
    assert_eq!(
        outcomes.iter().filter(|one| one.is_none()).count(),
        1,
        "{outcomes:?}"
    );
}

#[test]
fn one_with_little_time_leaves_and_fails_nobody() {
    let provider = Provider::new();
    let gatherer = gatherer(&provider, 3);
    lock(&provider.behaviour).latency = LONG;
    let start = SystemClock.monotonic();
    let texts = [
        ("one", Some(LONG * 20)),
        ("two", Some(LONG / 3)),
        ("three", Some(LONG * 30)),
    ];
    let outcomes = together(&gatherer, &texts);
    assert!(SystemClock.monotonic() - start < LONG * 5);
    assert!(
        is_ok(outcomes[0].as_ref()) && is_ok(outcomes[2].as_ref()),
        "{outcomes:?}"
    );
    let is_late = matches!(outcomes[1], Some(Err(EmbedError::TimedOut { .. })));
    assert!(is_late, "{outcomes:?}");
    assert_eq!(provider.sizes(), [3]);
}

#[test]
fn tokens_are_shared_out_without_a_rest() {
    assert_eq!(shares(10, &[1, 1, 1]), [3, 3, 4]);
    assert_eq!(shares(0, &[5, 7]), [0, 0]);
    assert_eq!(shares(9, &[2, 3, 4]), [2, 3, 4]);
    let parts = shares(u64::MAX, &[1, u64::MAX]);
    assert_eq!(
        parts.iter().map(|part| u128::from(*part)).sum::<u128>(),
        u64::MAX.into()
    );
}

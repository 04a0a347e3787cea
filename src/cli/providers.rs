//! Which embedder is meant, and the clients of a provider.

use super::wiring::{embed_failure, model_paths};
use crate::clock::SystemClock;
use crate::config::{Config, EmbeddingKind};
use crate::domain::ModelId;
use crate::embed::EmbedError;
use crate::embed::known::KnownModel;
use crate::embed::openai::{DEFAULT_MODEL, OpenAiEmbedder, OpenAiSettings, own_dimensions};
use crate::failure::Failure;
use crate::provider::chat::ChatModel;
use crate::provider::{BaseUrl, Provider, ProviderSettings, Stats};
use crate::search::Generator;
use std::sync::Arc;
use std::time::Duration;

/// Who embeds: what was said; else what the model's name tells, which was said or is recorded in
/// the store; else, for a new store, a provider where there is a key.
pub(super) fn kind(config: &Config, recorded: Option<&ModelId>) -> EmbeddingKind {
    let embedding = &config.raw.embedding;
    let said = config.is_said("embedding.model");
    let name = match recorded {
        _ if said => Some(&embedding.model),
        recorded => recorded.map(|model| &model.name),
    };
    let has_provider = !embedding.api_key.is_empty() || config.is_said("embedding.base_url");
    let is_ours = |name: &&String| is_local(config, name);
    match (config.embedding_kind, name) {
        (Some(kind), _) => kind,
        (None, Some(name)) if is_ours(&name) => EmbeddingKind::Local,
        (None, Some(name)) if own_dimensions(name).is_some() => EmbeddingKind::OpenAi,
        // Of a model that is known nowhere: one that a store records without its files being here.
        (None, Some(_)) if !said || has_provider => EmbeddingKind::OpenAi,
        (None, None) if !embedding.api_key.is_empty() => EmbeddingKind::OpenAi,
        (None, _) => EmbeddingKind::Local,
    }
}

/// Whether a model of this name runs on this machine.
pub(super) fn is_local(config: &Config, name: &str) -> bool {
    KnownModel::find(name).is_some() || model_paths(config).find(name).is_ok()
}

/// The model of a provider: the one that was said, else the recorded one, else OpenAI's default.
pub(super) fn embedder(
    config: &Config,
    recorded: Option<&ModelId>,
    stats: &Arc<Stats>,
) -> Result<OpenAiEmbedder, Failure> {
    let embedding = &config.raw.embedding;
    let recorded = recorded.filter(|model| !is_local(config, &model.name));
    let model = match recorded {
        _ if config.is_said("embedding.model") => embedding.model.clone(),
        Some(recorded) => recorded.name.clone(),
        None => DEFAULT_MODEL.to_owned(),
    };
    let of_store = recorded.filter(|recorded| recorded.name == model);
    let dimensions = match (embedding.dimensions, of_store) {
        (0, Some(recorded)) => recorded.dimensions,
        (said, _) => said,
    };
    let settings = OpenAiSettings {
        model,
        dimensions,
        batch_max: embedding.batch_max,
    };
    let provider = provider(config, embedding.timeout_ms, stats)?;
    OpenAiEmbedder::open(Arc::new(provider), &settings).map_err(|error| {
        // Only a model of unknown length is asked before it is needed.
        let can_wait = matches!(
            error,
            EmbedError::Unavailable { .. } | EmbedError::TimedOut { .. }
        );
        let hint = "set `embedding.dimensions`, and alfred starts without asking the provider";
        embed_failure(error).maybe_hint(can_wait.then(|| hint.to_owned()))
    })
}

/// What writes generated answers, where a chat model is configured.
pub(super) fn generator(config: &Config, stats: &Arc<Stats>) -> Result<Option<Generator>, Failure> {
    let answer = &config.raw.answer;
    if answer.model.is_empty() {
        return Ok(None);
    }
    let provider = provider(config, answer.timeout_ms, stats)?;
    let chat = ChatModel::new(Arc::new(provider), answer.model.clone(), answer.max_tokens);
    let timeout = Duration::from_millis(answer.timeout_ms);
    Ok(Some(Generator::new(Arc::new(chat), timeout)))
}

/// What is wrong with the settings of the provider, where one was asked for by name.
pub(super) fn check(config: &Config) -> Result<(), Failure> {
    let is_asked_for =
        config.embedding_kind == Some(EmbeddingKind::OpenAi) || !config.raw.answer.model.is_empty();
    if is_asked_for {
        base_url(config)?;
    }
    Ok(())
}

fn provider(config: &Config, timeout_ms: u64, stats: &Arc<Stats>) -> Result<Provider, Failure> {
    let embedding = &config.raw.embedding;
    let settings = ProviderSettings {
        base_url: base_url(config)?,
        api_key: embedding.api_key.clone(),
        timeout: Duration::from_millis(timeout_ms),
        retries: embedding.retries,
    };
    Ok(Provider::new(
        settings,
        Arc::clone(stats),
        Arc::new(SystemClock),
    ))
}

/// The base URL, with a key where it needs one.
fn base_url(config: &Config) -> Result<BaseUrl, Failure> {
    let embedding = &config.raw.embedding;
    let base_url = BaseUrl::parse(&embedding.base_url).map_err(|error| {
        Failure::configuration("`embedding.base_url` is wrong")
            .because(error)
            .hint("give the URL that the provider's API begins with, as https://api.openai.com/v1")
    })?;
    if base_url.is_openai() && embedding.api_key.is_empty() {
        let what = "OPENAI_API_KEY is not set, and api.openai.com answers nobody without a key";
        return Err(Failure::configuration(what).hint(
            "set OPENAI_API_KEY (or `embedding.api_key`); for another server with OpenAI's API set \
             OPENAI_BASE_URL; for the model on this machine `embedding.kind = \"local\"`",
        ));
    }
    if embedding
        .api_key
        .reveal()
        .chars()
        .any(|c| c.is_control() || !c.is_ascii())
    {
        return Err(Failure::configuration(
            "the provider's key has characters that no key can have",
        )
        .hint("look for a line end or quotation marks in OPENAI_API_KEY"));
    }
    Ok(base_url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn config(variables: &[(&str, &str)]) -> Config {
        // No file of the machine that the test runs on is read.
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("alfred.toml");
        std::fs::write(&file, "").unwrap();
        Config::load(Some(&file), &Environment::of(variables), &[]).unwrap()
    }

    fn model(name: &str, dimensions: usize) -> ModelId {
        ModelId {
            name: name.to_owned(),
            dimensions,
        }
    }

    const KEY: (&str, &str) = ("OPENAI_API_KEY", "sk-1");
    const MODEL: &str = "ALFRED__EMBEDDING__MODEL";

    #[test]
    fn the_store_decides_then_the_key() {
        let local = model("all-MiniLM-L6-v2", 384);
        let openai = model(DEFAULT_MODEL, 1_536);
        let other = model("nomic-embed-text", 768);
        let (bare, keyed) = (config(&[]), config(&[KEY]));
        assert_eq!(kind(&bare, None), EmbeddingKind::Local);
        assert_eq!(kind(&keyed, None), EmbeddingKind::OpenAi);
        assert_eq!(kind(&keyed, Some(&local)), EmbeddingKind::Local);
        assert_eq!(kind(&bare, Some(&openai)), EmbeddingKind::OpenAi);
        assert_eq!(kind(&bare, Some(&other)), EmbeddingKind::OpenAi);
    }

    #[test]
    fn what_was_said_wins() {
        let local = model("all-MiniLM-L6-v2", 384);
        let said = config(&[KEY, ("ALFRED__EMBEDDING__KIND", "local")]);
        assert_eq!(kind(&said, None), EmbeddingKind::Local);
        let said = config(&[KEY, (MODEL, "all-MiniLM-L6-v2")]);
        assert_eq!(kind(&said, None), EmbeddingKind::Local);
        let said = config(&[KEY, (MODEL, "text-embedding-3-large")]);
        assert_eq!(kind(&said, Some(&local)), EmbeddingKind::OpenAi);
        assert_eq!(
            kind(&config(&[(MODEL, "unheard-of")]), None),
            EmbeddingKind::Local
        );
    }

    #[test]
    fn the_recorded_length_is_asked_for_unless_another_is_said() {
        let stats = Arc::default();
        let short = model(DEFAULT_MODEL, 256);
        let id = |config: &Config, recorded| {
            use crate::embed::Embedder as _;
            embedder(config, recorded, &stats).unwrap().model().clone()
        };
        assert_eq!(id(&config(&[KEY]), None), model(DEFAULT_MODEL, 1_536));
        assert_eq!(id(&config(&[KEY]), Some(&short)), short);
        let said = config(&[KEY, ("ALFRED__EMBEDDING__DIMENSIONS", "512")]);
        assert_eq!(id(&said, Some(&short)), model(DEFAULT_MODEL, 512));
        let local = model("all-MiniLM-L6-v2", 384);
        assert_eq!(
            id(&config(&[KEY]), Some(&local)),
            model(DEFAULT_MODEL, 1_536)
        );
    }

    #[test]
    fn openai_needs_a_key_and_others_do_not() {
        let asked = ("ALFRED__EMBEDDING__KIND", "openai");
        let missing = check(&config(&[asked])).unwrap_err().render();
        assert!(missing.contains("OPENAI_API_KEY is not set"), "{missing}");
        let own = ("OPENAI_BASE_URL", "http://localhost:11434/v1/");
        assert!(check(&config(&[asked, own])).is_ok());
        let bad = check(&config(&[
            asked,
            KEY,
            ("OPENAI_BASE_URL", "localhost:11434"),
        ]));
        let bad = bad.unwrap_err().render();
        assert!(bad.contains("localhost:11434"), "{bad}");
        let broken = check(&config(&[asked, ("OPENAI_API_KEY", "sk-1\nsk-2")]));
        assert!(!broken.unwrap_err().render().contains("sk-1"));
    }
}

//! What tests of the embedding need: the model folder that `scripts/model` makes.

use super::LocalModel;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The folder of the default model: in `$ALFRED_TEST_MODELS`, else in the cache of `scripts/model`.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find the model where the script put it"
)]
pub(crate) fn model_dir() -> PathBuf {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache")));
    let models = var("ALFRED_TEST_MODELS")
        .or_else(|| var("ALFRED_CACHE").map(|cache| cache.join("models")))
        .or_else(|| cache().map(|cache| cache.join("alfred/models")))
        .unwrap_or_default();
    let dir = models.join(super::DEFAULT_MODEL);
    assert!(
        dir.exists(),
        "no model in {}: run scripts/model",
        dir.display()
    );
    dir
}

/// The model, loaded once for all tests.
pub(crate) fn model() -> &'static LocalModel {
    static MODEL: OnceLock<LocalModel> = OnceLock::new();
    MODEL.get_or_init(|| LocalModel::open(&model_dir(), 2).unwrap())
}

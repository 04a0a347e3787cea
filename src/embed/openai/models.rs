//! What is known of models by name.

/// The model of a provider where none is said.
pub const DEFAULT_MODEL: &str = "text-embedding-3-small";

/// Length of the full vectors of OpenAI's models; `None` for all others.
#[must_use]
pub fn own_dimensions(model: &str) -> Option<usize> {
    match model {
        "text-embedding-3-small" | "text-embedding-ada-002" => Some(1_536),
        "text-embedding-3-large" => Some(3_072),
        _ => None,
    }
}

//! How the stand-in behaves; every setting is a flag at start and a key of `POST /control`.

use clap::Args;
use serde::{Deserialize, Serialize};

/// What is settable. Nothing goes wrong by default.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault by itself")]
pub(crate) struct Behaviour {
    /// Wait this long before each reply
    #[arg(long, default_value_t = 0)]
    pub(crate) latency_ms: u64,
    /// What goes wrong goes wrong here alone: `embeddings` or `chat`
    #[arg(long)]
    pub(crate) only: Option<String>,
    /// Answer with this status, as 500 or 429; 0: do not
    #[arg(long, default_value_t = 0)]
    pub(crate) fail_status: u16,
    /// The code in the error's body, as `insufficient_quota`
    #[arg(long)]
    pub(crate) fail_code: Option<String>,
    /// The `Retry-After` of those replies, in seconds or as an HTTP date
    #[arg(long)]
    pub(crate) retry_after: Option<String>,
    /// How many requests fail; without it all do
    #[arg(long)]
    pub(crate) fail_count: Option<u64>,
    /// For how long requests fail, from now
    #[arg(long)]
    pub(crate) fail_ms: Option<u64>,
    /// Most requests a second; above: 429 with `Retry-After: 1`; 0: no limit
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate_limit: f64,
    /// Never answer
    #[arg(long)]
    pub(crate) hang: bool,
    /// Send a redirect there
    #[arg(long)]
    pub(crate) redirect_to: Option<String>,
    /// Send the first half of the JSON as if it were all
    #[arg(long)]
    pub(crate) truncate: bool,
    /// Break the connection in the middle of the body
    #[arg(long)]
    pub(crate) cut: bool,
    /// Leave out the last vector
    #[arg(long)]
    pub(crate) wrong_count: bool,
    /// Give the first vector twice the index 0
    #[arg(long)]
    pub(crate) duplicate_index: bool,
    /// Send the vectors in the opposite order, with their indexes
    #[arg(long)]
    pub(crate) reversed: bool,
    /// Leave the indexes out
    #[arg(long)]
    pub(crate) no_index: bool,
    /// Make vectors one value shorter
    #[arg(long)]
    pub(crate) wrong_dimension: bool,
    /// Put a NaN in each vector (base64), or null (float)
    #[arg(long)]
    pub(crate) nan: bool,
    /// 400 on `encoding_format: base64`, as some compatible servers do
    #[arg(long)]
    pub(crate) refuse_base64: bool,
    /// 400 on `dimensions`, as servers of other models do
    #[arg(long)]
    pub(crate) refuse_dimensions: bool,
    /// Footnotes that the chat model adds although there are no such passages
    #[arg(long, value_delimiter = ',')]
    pub(crate) bogus_footnotes: Vec<u32>,
    /// What the chat model says instead of quoting its passages
    #[arg(long)]
    pub(crate) chat_text: Option<String>,
}

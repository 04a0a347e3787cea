//! Tells people of a verdict: [`message`] says it in Slack's words (PURE), [`webhook`] posts it.
//!
//! The address is the secret, since whoever has it may post: no message, no log line and no error has
//! more of it than the host.

pub mod message;
pub mod webhook;

pub use message::News;
pub use webhook::{Patience, Undelivered, Webhook};

//! What a collector is told of one piece of work.

use super::context::{SpanId, TraceId};
use std::borrow::Cow;
use std::time::SystemTime;

/// Longest value of an attribute that is text, in bytes: callers choose some of them.
const MAX_TEXT_BYTES: usize = 256;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, cut at 256 bytes.
    Text(String),
    /// A number.
    Int(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// A name of the semantic conventions, or one of ours below `alfred.`, with its value.
pub type Attribute = (&'static str, Value);

/// On which side of a call the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// Something that happened at one moment of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) at: SystemTime,
    pub(super) attributes: Vec<Attribute>,
}

/// One piece of work, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) trace: TraceId,
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// Whether the parent is a caller's.
    pub(super) is_parent_remote: bool,
    pub(super) state: Option<Box<str>>,
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) attributes: Vec<Attribute>,
    pub(super) events: Vec<Event>,
    pub(super) is_error: bool,
}

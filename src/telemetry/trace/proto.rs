//! OTLP's messages for traces, as far as they are sent: opentelemetry-proto 1.x,
//! `trace/v1/trace.proto`, `common/v1/common.proto`, `resource/v1/resource.proto` and
//! `collector/trace/v1/trace_service.proto`.
//!
//! The tags are the contract; `tests/e2e/traces.rs` has OpenTelemetry's own classes read what is made
//! here.

use super::span::{Attribute, Event as SpanEvent, Span as Ended, Value};
use prost::Message;
use std::time::{SystemTime, UNIX_EPOCH};

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`: whether the parent is remote is known.
const HAS_IS_REMOTE: u32 = 0x100;
/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`
const IS_REMOTE: u32 = 0x200;
/// The flag of W3C Trace Context. Nothing else is exported.
const SAMPLED: u32 = 1;
/// `STATUS_CODE_ERROR`
const ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    /// An enumeration, which is a number on the wire.
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(fixed64, tag = "1")]
    pub(super) time_unix_nano: u64,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

/// One of them; a `oneof` is no more than that on the wire.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(string, optional, tag = "1")]
    pub(super) string_value: Option<String>,
    #[prost(int64, optional, tag = "3")]
    pub(super) int_value: Option<i64>,
}

/// What a collector answers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// A request that holds `spans`, all of the process that `resource` describes.
pub(super) fn encode(resource: &[Attribute], spans: &[Ended]) -> Vec<u8> {
    let request = Request {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: key_values(resource),
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(Scope {
                    name: "alfred".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                }),
                spans: spans.iter().map(span).collect(),
            }],
        }],
    };
    request.encode_to_vec()
}

fn span(ended: &Ended) -> Span {
    let remote = if ended.is_parent_remote && ended.parent.is_some() {
        IS_REMOTE
    } else {
        0
    };
    let parent = ended.parent.map(|parent| parent.bytes().to_vec());
    Span {
        trace_id: ended.trace.bytes().to_vec(),
        id: ended.id.bytes().to_vec(),
        trace_state: ended.state.as_deref().unwrap_or_default().to_owned(),
        parent_span_id: parent.unwrap_or_default(),
        name: ended.name.clone().into_owned(),
        kind: ended.kind as i32,
        start_time_unix_nano: unix_nano(ended.began),
        end_time_unix_nano: unix_nano(ended.ended),
        attributes: key_values(&ended.attributes),
        events: ended.events.iter().map(event).collect(),
        status: ended.is_error.then_some(Status { code: ERROR }),
        flags: SAMPLED | HAS_IS_REMOTE | remote,
    }
}

fn event(event: &SpanEvent) -> Event {
    Event {
        time_unix_nano: unix_nano(event.at),
        name: event.name.to_owned(),
        attributes: key_values(&event.attributes),
    }
}

fn key_values(attributes: &[Attribute]) -> Vec<KeyValue> {
    let key_value = |(key, value): &Attribute| {
        let value = match value {
            Value::Text(text) => AnyValue {
                string_value: Some(text.clone()),
                int_value: None,
            },
            Value::Int(number) => AnyValue {
                string_value: None,
                int_value: Some(*number),
            },
        };
        KeyValue {
            key: (*key).to_owned(),
            value: Some(value),
        }
    };
    attributes.iter().map(key_value).collect()
}

fn unix_nano(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// How many spans a collector that answered with success did not take, and why. An answer that
/// cannot be read says nothing of the kind.
pub(super) fn rejected(body: &[u8]) -> (u64, String) {
    let response = Response::decode(body).unwrap_or_default();
    let partial = response.partial_success.unwrap_or_default();
    let count = u64::try_from(partial.rejected_spans).unwrap_or(0);
    (count, partial.error_message)
}

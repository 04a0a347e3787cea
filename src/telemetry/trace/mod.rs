//! Which trace a request belongs to, where its time went, and spans for a collector.
//!
//! A [`Trail`] goes with every request: it notes when each [`Stage`] was reached, for the log and for
//! spans alike. Threads that work for a request do so [`within`] its trail, so that what lies far
//! below, as a call to a provider, finds it without being handed it. Where traces are exported, the
//! [`Exporter`] gets the spans of requests that are sampled; it never holds one up.
//!
//! Trace ids come and go as W3C Trace Context says (level 1, <https://www.w3.org/TR/trace-context-1/>),
//! spans as OTLP over HTTP in protobuf, named after OpenTelemetry's semantic conventions.

mod call;
mod context;
mod delivery;
mod exporter;
mod proto;
mod span;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trail;

pub use call::{Call, Called, Headers};
pub use context::{Incoming, SpanId, TraceId};
pub use exporter::{Exporter, LAST_SPANS, QUEUE_SPANS, Sampling};
pub use span::{Attribute, Value};
pub use target::{BadTarget, Target};
pub use trail::{
    Carried, Described, STAGES, Stage, Stages, Trail, answered, carried, reached, remark, within,
};

//! One event as it waits in the queue: owned, cut to size, and ready to be shown to a subscriber on
//! another thread.

use std::fmt::{self, Write as _};
use std::time::SystemTime;
use tracing::field::{DisplayValue, Field, Visit, display};
use tracing::{Event, Metadata, Subscriber, Value};

/// Longest field, the message included, in bytes. What is longer is cut and ends in [`CUT`].
pub const FIELD_BYTES: usize = 32 * 1024;
/// Most bytes of all fields of one line together: what fits a datagram to the journal on any
/// machine, whose kernel takes 208 KiB by default.
pub const LINE_BYTES: usize = 64 * 1024;
/// Ends what was cut.
pub const CUT: &str = "… [cut]";
/// The field whose value is the message id of [`crate::telemetry::events`].
pub(super) const MESSAGE_ID: &str = "message_id";

/// A value that lives as long as it must.
#[derive(Debug)]
enum Owned {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Text(String),
    /// Shown as it is, without quotes.
    Shown(DisplayValue<String>),
}

impl Owned {
    fn as_value(&self) -> &dyn Value {
        match self {
            Self::Bool(value) => value,
            Self::I64(value) => value,
            Self::U64(value) => value,
            Self::F64(value) => value,
            Self::Text(value) => value,
            Self::Shown(value) => value,
        }
    }
}

/// An event, owned.
#[derive(Debug)]
pub(super) struct Line {
    metadata: &'static Metadata<'static>,
    at: SystemTime,
    /// By the index of the field.
    values: Vec<Option<Owned>>,
    bytes: usize,
}

impl Line {
    /// Takes down what `event` says, cut to the limits.
    pub(super) fn of(event: &Event<'_>, at: SystemTime) -> Self {
        let metadata = event.metadata();
        let mut line = Self {
            metadata,
            at,
            values: metadata.fields().iter().map(|_| None).collect(),
            bytes: 0,
        };
        event.record(&mut line);
        line
    }

    /// When it was logged.
    pub(super) fn at(&self) -> SystemTime {
        self.at
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.values.len() * size_of::<Option<Owned>>() + size_of::<Self>()
    }

    /// The message id it carries, if any.
    pub(super) fn message_id(&self) -> Option<&str> {
        let field = self.metadata.fields().field(MESSAGE_ID)?;
        match self.values.get(field.index())? {
            Some(Owned::Text(id)) => Some(id),
            _ => None,
        }
    }

    /// Shows the event to `subscriber` as if it happened now, with or without its message id.
    ///
    /// The event keeps its own callsite, so names of fields, file and line are those of the place
    /// that logged it. `value_set_all` is hidden from the documentation of `tracing`, and is what its
    /// macros expand to: there is no other way to make an event whose fields are not known at
    /// compile time.
    pub(super) fn show(&self, subscriber: &impl Subscriber, with_message_id: bool) {
        let fields = self.metadata.fields();
        let hidden = fields
            .field(MESSAGE_ID)
            .filter(|_| !with_message_id)
            .map(|field| field.index());
        let values: Vec<Option<&dyn Value>> = self
            .values
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let value = value.as_ref().filter(|_| Some(index) != hidden);
                value.map(Owned::as_value)
            })
            .collect();
        let values = fields.value_set_all(&values);
        subscriber.event(&Event::new(self.metadata, &values));
    }

    fn put(&mut self, field: &Field, value: Owned) {
        if let Some(place) = self.values.get_mut(field.index()) {
            *place = Some(value);
        }
    }

    fn cut(&mut self, value: fmt::Arguments<'_>) -> String {
        let mut text = Bounded {
            text: String::new(),
            most: FIELD_BYTES.min(LINE_BYTES.saturating_sub(self.bytes)),
        };
        let is_whole = text.write_fmt(value).is_ok();
        let mut text = text.text;
        if !is_whole {
            text.push_str(CUT);
        }
        self.bytes += text.len();
        text
    }
}

impl Visit for Line {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Owned::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Owned::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Owned::U64(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Owned::F64(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = self.cut(format_args!("{value}"));
        self.put(field, Owned::Text(text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = self.cut(format_args!("{value:?}"));
        self.put(field, Owned::Shown(display(text)));
    }
}

/// Text that takes no more than `most` bytes, whole characters only, and then refuses.
struct Bounded {
    text: String,
    most: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.most - self.text.len();
        if part.len() <= room {
            self.text.push_str(part);
            return Ok(());
        }
        self.text.push_str(&part[..part.floor_char_boundary(room)]);
        // A shorter part that comes later must not follow a gap.
        self.most = self.text.len();
        Err(fmt::Error)
    }
}

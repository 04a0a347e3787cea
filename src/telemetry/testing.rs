//! What was logged, for tests.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

/// One event: its fields as text, `message` and `message_id` among them.
pub(crate) type Fields = BTreeMap<String, String>;

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Fields>>>);

struct Reader(Fields);

impl Visit for Reader {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Seen {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut reader = Reader(Fields::new());
        event.record(&mut reader);
        self.0.lock().unwrap().push(reader.0);
    }
}

/// The events that have a message id and that `log` logs on this thread.
pub(crate) fn events_of(log: impl FnOnce()) -> Vec<Fields> {
    let seen = Seen::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(seen.clone()), log);
    let mut seen = std::mem::take(&mut *seen.0.lock().unwrap());
    seen.retain(|event| event.contains_key("message_id"));
    seen
}

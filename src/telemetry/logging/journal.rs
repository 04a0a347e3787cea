//! Lines in the systemd journal, by `tracing-journald`; on stderr while the journal is not there.
//!
//! The crate gives all fields of its layer one prefix, `ALFRED_` here, the message id included,
//! which the journal knows as `MESSAGE_ID` only. So there is one layer for each message id, which
//! adds it as a custom field, and the event is shown to it without its own.

use super::line::Line;
use super::queue::Outlet;
use super::stderr::Stderr;
use crate::telemetry::events;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::unix::net::UnixDatagram;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};

/// Where the journal listens; `tracing-journald` has the same path built in.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Before the names of fields.
const PREFIX: &str = "ALFRED";
/// `SYSLOG_IDENTIFIER`, for `journalctl -t`.
const IDENTIFIER: &str = "alfred";

type Layers = BTreeMap<Option<&'static str>, Layered<tracing_journald::Layer, Registry>>;

/// The journal, and where lines go without it.
pub(super) struct Journal {
    /// By message id; each is a socket, made when it is first needed.
    layers: Layers,
    stderr: Stderr,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            layers: Layers::new(),
            stderr: Stderr::json(),
        }
    }

    fn send(&mut self, line: &Line) -> std::io::Result<()> {
        let id = line.message_id().and_then(known);
        let layer = match self.layers.entry(id) {
            Entry::Occupied(layer) => layer.into_mut(),
            Entry::Vacant(place) => place.insert(layer(id)?),
        };
        line.show(layer, id.is_none());
        Ok(())
    }
}

impl Outlet for Journal {
    /// The crate does not say whether a line arrived, so the journal's presence is looked at before
    /// and after: a line that was sent while it went away is rather on stderr too than nowhere.
    fn take(&mut self, line: &Line) {
        let sent = is_there()
            .and_then(|()| self.send(line))
            .and_then(|()| is_there());
        if sent.is_err() {
            self.stderr.take(line);
        }
    }
}

/// Whether somebody listens at the journal's socket; sends nothing and does not wait.
fn is_there() -> std::io::Result<()> {
    UnixDatagram::unbound()?.connect(SOCKET)
}

fn known(id: &str) -> Option<&'static str> {
    events::ALL
        .iter()
        .map(|(known, _)| *known)
        .find(|known| *known == id)
}

fn layer(id: Option<&'static str>) -> std::io::Result<Layered<tracing_journald::Layer, Registry>> {
    let layer = tracing_journald::Layer::new()?
        .with_field_prefix(Some(PREFIX.to_owned()))
        .with_syslog_identifier(IDENTIFIER.to_owned())
        .with_priority_mappings(PRIORITIES)
        .with_custom_fields(id.map(|id| ("MESSAGE_ID", id)));
    Ok(Registry::default().with(layer))
}

/// As operators filter: `journalctl -p warning` shows warnings and errors, and `info` is the
/// daemon's ordinary talk. (The crate's own mapping calls that `notice`.)
const PRIORITIES: PriorityMappings = PriorityMappings {
    error: Priority::Error,
    warn: Priority::Warning,
    info: Priority::Informational,
    debug: Priority::Debug,
    trace: Priority::Debug,
};

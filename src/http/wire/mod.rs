//! Bytes on a connection, before and after HTTP: what may reach hyper, and what it is told.
//!
//! hyper parses well but is lenient where a proxy in front may disagree with it (it drops one of
//! `Content-Length` and `Transfer-Encoding` silently), answers malformed heads with an empty body
//! and slow ones not at all. So every head passes a [`gate`] first, which knows where messages
//! begin and end ([`framing`], RFC 9112 section 6) and lets one request through at a time. Where TLS is
//! spoken, a [`handshake`] comes before.

pub(crate) mod framing;
pub(super) mod gate;
pub(super) mod handshake;
pub(super) mod socket;

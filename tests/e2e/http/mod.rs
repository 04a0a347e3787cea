//! The HTTP side over real sockets, with fakes behind it.

mod client;
mod fakes;
mod limits;
mod openapi;
mod protocol;
mod routes;
mod server;
mod stopping;

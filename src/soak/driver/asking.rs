//! What requests look like on the wire.

use crate::client::Form;
use crate::soak::queries::Requests;
use crate::soak::scenario::Scenario;
use http::{HeaderMap, HeaderValue, header};
use std::io;

/// Writes down requests, by number.
pub(super) struct Asking {
    form: Form,
    requests: Requests,
}

impl Asking {
    pub(super) fn new(scenario: &Scenario, requests: Requests) -> io::Result<Self> {
        let host = HeaderValue::try_from(scenario.target.endpoint.authority())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host);
        let agent = concat!("alfred-soak/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        if !scenario.body.text().is_empty() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        headers.extend(scenario.headers.clone());
        Ok(Self {
            form: Form::new(scenario.method.clone(), &headers),
            requests,
        })
    }

    pub(super) fn method(&self) -> &http::Method {
        self.form.method()
    }

    /// The requests themselves.
    pub(super) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Puts request `number` in the place of what is in `into`.
    pub(super) fn write(&self, number: u64, into: &mut Vec<u8>) {
        let said = self.requests.of(number);
        let path = said.uri.path_and_query().map_or("/", |path| path.as_str());
        into.clear();
        self.form.write(into, path, &said.body);
    }
}

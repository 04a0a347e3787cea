//! Where spans go: `telemetry.otlp_endpoint` and `telemetry.otlp_headers`.

use crate::secret::Secret;
use http::{HeaderName, HeaderValue, Uri};

/// The path of traces below an endpoint (OTLP/HTTP).
const TRACES: &str = "v1/traces";

/// A collector.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) url: String,
    /// Host, and port where one was said.
    pub(super) place: String,
    /// Sent along; their values are secrets, as one of them most often is.
    pub(super) headers: Vec<(HeaderName, Secret)>,
}

/// What cannot be used as a collector; nothing secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// The endpoint.
    #[error("it is no URL of a collector: {0}")]
    Endpoint(String),
    /// A header.
    #[error("header {0} is not NAME=VALUE with characters that headers may have")]
    Header(usize),
}

impl Target {
    /// The collector at `endpoint`, as `http://localhost:4318`, with or without `/v1/traces` at the
    /// end. `headers` is a list as `OTEL_EXPORTER_OTLP_HEADERS` has it: `NAME=VALUE,NAME=VALUE`, values
    /// percent-encoded.
    ///
    /// # Errors
    /// When either cannot be that.
    pub fn parse(endpoint: &str, headers: &Secret) -> Result<Self, BadTarget> {
        let bad = |problem: &str| BadTarget::Endpoint(problem.to_owned());
        let endpoint = endpoint.trim();
        let uri: Uri = endpoint.parse().map_err(|_| bad("it cannot be read"))?;
        let Some(scheme @ ("http" | "https")) = uri.scheme_str() else {
            return Err(bad("it must begin with http:// or https://"));
        };
        let place = uri.authority().filter(|place| !place.host().is_empty());
        let Some(place) = place else {
            return Err(bad("it has no host"));
        };
        if place.as_str().contains('@') {
            return Err(bad(
                "there must be no user or password in it; telemetry.otlp_headers has room for them",
            ));
        }
        if uri.query().is_some() {
            return Err(bad("there must be no `?` in it"));
        }
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix(TRACES).unwrap_or(path);
        let path = path.trim_end_matches('/');
        Ok(Self {
            url: format!("{scheme}://{place}{path}/{TRACES}"),
            place: place.to_string(),
            headers: read_headers(headers.reveal())?,
        })
    }
}

fn read_headers(text: &str) -> Result<Vec<(HeaderName, Secret)>, BadTarget> {
    let pairs = text.split(',').map(str::trim).enumerate();
    pairs
        .filter(|(_, pair)| !pair.is_empty())
        .map(|(place, pair)| read_header(pair).ok_or(BadTarget::Header(place + 1)))
        .collect()
}

fn read_header(pair: &str) -> Option<(HeaderName, Secret)> {
    let (name, value) = pair.split_once('=')?;
    let name = name.trim().parse().ok()?;
    let value = decoded(value.trim())?;
    HeaderValue::from_str(&value).ok()?;
    Some((name, Secret::new(value)))
}

/// Without percent-encoding; `None` where that is not sound.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let pair = [rest.next()?, rest.next()?];
        let pair = std::str::from_utf8(&pair).ok()?;
        let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(pair, 16).ok().filter(|_| is_hex)?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: &str) -> Result<String, BadTarget> {
        Target::parse(endpoint, &Secret::default()).map(|target| target.url)
    }

    #[test]
    fn an_endpoint_is_where_collectors_say_it_is() {
        for (endpoint, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            (
                " http://localhost:4318/ ",
                "http://localhost:4318/v1/traces",
            ),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
            (
                "https://otlp.example/otlp/",
                "https://otlp.example/otlp/v1/traces",
            ),
        ] {
            assert_eq!(url(endpoint).as_deref(), Ok(expected), "{endpoint}");
        }
        for bad in [
            "localhost:4318",
            "grpc://localhost:4317",
            "http://",
            "http://u:hush@localhost:4318",
            "http://localhost:4318/?key=hush",
            "",
        ] {
            let error = url(bad).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them() {
        let read = |text: &str| Target::parse("http://c:4318", &Secret::new(text));
        let target = read("authorization=Basic%20aHVzaA==, x-scope = a ,").unwrap();
        let headers: Vec<_> = target
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.reveal()))
            .collect();
        assert_eq!(
            headers,
            [("authorization", "Basic aHVzaA=="), ("x-scope", "a")]
        );
        assert!(!format!("{target:?}").contains("aHVzaA"), "{target:?}");
        for bad in ["hush", "a b=hush", "a=hush%0a", "a=%zz", "a=%+1", "a=%4"] {
            let error = read(bad).unwrap_err();
            assert_eq!(error, BadTarget::Header(1), "{bad}");
        }
    }
}

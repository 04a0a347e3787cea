//! One question to Prometheus' HTTP API: an instant query, and its answer.

use super::increase::Series;
use crate::client::{ClientError, Limits, Outgoing, Target, Trust, request_blocking};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer. An hour of one instance, scraped each second, is some 3 MiB.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// Longest part of an answer that goes into a message, in characters.
const SHOWN: usize = 200;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// In words.
    pub(super) why: String,
    /// Whether it may go better the next time.
    pub(super) may_pass: bool,
}

/// A Prometheus.
#[derive(Clone, Debug)]
pub(super) struct Api {
    url: Target,
    trust: Trust,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: Data<T>,
}

#[derive(Deserialize)]
struct Data<T> {
    result: T,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

#[derive(Deserialize)]
struct Found {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

impl Api {
    pub(super) fn new(url: Target, trust: Trust) -> Self {
        Self { url, trust }
    }

    /// Its clock, in seconds since 1970.
    pub(super) fn time_s(&self) -> Result<f64, Unanswered> {
        let (_, now): (f64, String) = self.query("time()", None)?;
        now.parse().map_err(|_| Unanswered {
            why: format!("{}: its time is no number: {now:?}", self.url),
            may_pass: false,
        })
    }

    /// Raw samples of `series` in the `span_ms` before `at_s`; before now, when none is said.
    pub(super) fn samples(
        &self,
        series: &str,
        span_ms: u64,
        at_s: Option<f64>,
    ) -> Result<Vec<Series>, Unanswered> {
        let found: Vec<Found> = self.query(&format!("{series}[{span_ms}ms]"), at_s)?;
        Ok(found.into_iter().map(Series::from).collect())
    }

    fn query<T: DeserializeOwned>(
        &self,
        expression: &str,
        at_s: Option<f64>,
    ) -> Result<T, Unanswered> {
        let mut path = format!(
            "{}/api/v1/query?query={}",
            self.url.path.trim_end_matches('/'),
            encoded(expression)
        );
        if let Some(at_s) = at_s {
            let _ = write!(path, "&time={at_s:.3}");
        }
        let outgoing = Outgoing {
            trust: self.trust.clone(),
            ..Outgoing::default()
        };
        let limits = Limits {
            timeout: TIMEOUT,
            max_response_bytes: MAX_ANSWER_BYTES,
        };
        let response = request_blocking(&self.url.endpoint.at(path), outgoing, limits)
            .map_err(|error| self.silent(&error))?;
        let status = response.status.as_u16();
        if !response.status.is_success() {
            return Err(Unanswered {
                why: format!("{}: status {status}: {}", self.url, said(&response.body)),
                may_pass: status == 429 || status >= 500,
            });
        }
        let answer: Answer<T> =
            serde_json::from_slice(&response.body).map_err(|error| Unanswered {
                why: format!("{}: the answer is none of a Prometheus: {error}", self.url),
                may_pass: false,
            })?;
        Ok(answer.data.result)
    }

    fn silent(&self, error: &ClientError) -> Unanswered {
        let mut why = format!("{}: {error}", self.url);
        if let Some(source) = error.source() {
            let _ = write!(why, ": {source}");
        }
        let may_pass = matches!(
            error,
            ClientError::Connect { .. } | ClientError::Timeout { .. } | ClientError::Reset { .. }
        );
        Unanswered { why, may_pass }
    }
}

impl From<Found> for Series {
    /// What is no finite number is left out.
    fn from(found: Found) -> Self {
        let sample = |(at_s, value): (f64, String)| {
            let value: f64 = value.parse().ok()?;
            value.is_finite().then_some((at_s, value))
        };
        Self {
            samples: found.values.into_iter().filter_map(sample).collect(),
            labels: found.metric,
        }
    }
}

/// What a Prometheus said of an error, or the beginning of what somebody else did.
fn said(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let text = crate::plain::one_line(text.trim());
    text.chars().take(SHOWN).collect()
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_answers_and_what_went_wrong() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"le":"5"},"values":[[1.5,"3"],[2,"NaN"],[2.5,"+Inf"],[3,"4e0"]]}]}}"#;
        let answer: Answer<Vec<Found>> = serde_json::from_str(text).unwrap();
        let series: Vec<Series> = answer.data.result.into_iter().map(Series::from).collect();
        assert_eq!(series[0].samples, [(1.5, 3.0), (3.0, 4.0)]);
        assert_eq!(series[0].labels["le"], "5");
        let refusal = br#"{"status":"error","errorType":"bad_data","error":"parse error: x"}"#;
        assert_eq!(said(refusal), "parse error: x");
        assert_eq!(said(b"<html>\n"), "<html>");
    }

    #[test]
    fn expressions_are_encoded_whole() {
        assert_eq!(
            encoded("{a=\"b c\"}[5ms]"),
            "%7Ba%3D%22b%20c%22%7D%5B5ms%5D"
        );
    }
}

//! What is said of a Prometheus: where it is, which of its series are the target's, and by how much the
//! client may lie beyond them.

pub use super::selector::Selector;
use crate::client::Target;
use crate::soak::settings::ScenarioError;
use crate::soak::units::{parse_duration, show_duration};
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// Largest allowance: beyond it no disagreement would ever be found.
const MAX_ALLOWANCE: Duration = Duration::from_mins(1);

/// The key or table `prometheus` of a scenario; `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrometheusSettings {
    /// Its address, without `/api/v1`.
    pub url: Option<Target>,
    /// Label matchers of the target's series, as `job="alfred"`; default: none.
    pub selector: Option<Selector>,
    /// How far the client's service time may lie outside of the server's bucket; default: measured.
    pub allowance: Option<Duration>,
}

impl PrometheusSettings {
    /// These, and what they leave open from `base`.
    #[must_use]
    pub fn or(self, base: Self) -> Self {
        Self {
            url: self.url.or(base.url),
            selector: self.selector.or(base.selector),
            allowance: self.allowance.or(base.allowance),
        }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl<'de> Deserialize<'de> for PrometheusSettings {
    /// An address, or a table with `url`, `selector` and `allowance`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            url: Option<String>,
            selector: Option<String>,
            allowance: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "an address, or a table with the keys url, selector and allowance"
        )]
        enum Said {
            Address(String),
            Table(Table),
        }
        let table = match Said::deserialize(deserializer)? {
            Said::Table(table) => table,
            Said::Address(url) => Table {
                url: Some(url),
                selector: None,
                allowance: None,
            },
        };
        let custom = serde::de::Error::custom::<String>;
        let url = table.url.map(|text| text.parse::<Target>());
        let selector = table.selector.map(|text| text.parse());
        let allowance = table.allowance.map(|text| parse_duration(&text));
        Ok(Self {
            url: url
                .transpose()
                .map_err(|error| serde::de::Error::custom(error.to_string()))?,
            selector: selector.transpose().map_err(custom)?,
            allowance: allowance.transpose().map_err(serde::de::Error::custom)?,
        })
    }
}

/// The Prometheus to ask, complete and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// Its address; the path is what `/api/v1` is below.
    pub url: Target,
    /// Which series are the target's.
    pub selector: Selector,
    /// How far the client's service time may lie outside of the server's bucket, where that was said.
    pub allowance: Option<Duration>,
}

impl Prometheus {
    /// Fills in defaults; `None` when none is to be asked.
    ///
    /// # Errors
    /// When something is said of it and not where it is, or a value is out of range.
    pub fn resolve(settings: Option<PrometheusSettings>) -> Result<Option<Self>, ScenarioError> {
        let Some(said) = settings.filter(|said| !said.is_empty()) else {
            return Ok(None);
        };
        let wrong = |problem: String| ScenarioError::Value(problem);
        let url = said.url.ok_or_else(|| {
            wrong("a selector or allowance is of no use without --prometheus URL".to_owned())
        })?;
        if url.path.contains('?') {
            return Err(wrong(format!(
                "the address of a Prometheus has no query: {url}; it is one such as http://127.0.0.1:9090"
            )));
        }
        if let Some(long) = said.allowance.filter(|given| *given > MAX_ALLOWANCE) {
            return Err(wrong(format!(
                "the allowance must be 0s to {}, got {}",
                show_duration(MAX_ALLOWANCE),
                show_duration(long)
            )));
        }
        Ok(Some(Self {
            url,
            selector: said.selector.unwrap_or_default(),
            allowance: said.allowance,
        }))
    }

    /// As it goes into `run.json`.
    #[must_use]
    pub fn record(&self) -> PrometheusRecord {
        PrometheusRecord {
            url: self.url.to_string(),
            selector: self.selector.to_string(),
            allowance_ms: self.allowance.map(|allowed| allowed.as_secs_f64() * 1e3),
        }
    }
}

/// The Prometheus that was to be asked, as `run.json` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PrometheusRecord {
    /// Its address.
    pub url: String,
    /// Label matchers of the target's series; may be empty.
    #[serde(default)]
    pub selector: String,
    /// How far the client's service time may lie outside of the server's bucket, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance_ms: Option<f64>,
}

impl PrometheusRecord {
    /// The settings that it was made with.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn settings(&self) -> Result<PrometheusSettings, String> {
        let url = self
            .url
            .parse::<Target>()
            .map_err(|error| error.to_string())?;
        let allowance = self.allowance_ms.map(|ms| ms / 1e3);
        let allowance = allowance.map(Duration::try_from_secs_f64).transpose();
        Ok(PrometheusSettings {
            url: Some(url),
            selector: Some(self.selector.parse()?),
            allowance: allowance.map_err(|error| error.to_string())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        prometheus: PrometheusSettings,
    }

    fn resolved(text: &str) -> Result<Prometheus, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let resolved = Prometheus::resolve(Some(file.prometheus));
        resolved
            .map_err(|error| error.to_string())?
            .ok_or_else(|| "nothing".to_owned())
    }

    #[test]
    fn is_an_address_or_a_table() {
        let short = resolved("prometheus = \"http://127.0.0.1:9090\"").unwrap();
        assert_eq!(short.url.to_string(), "http://127.0.0.1:9090/");
        assert_eq!(
            (short.selector, short.allowance),
            (Selector::default(), None)
        );
        let long = resolved(
            "[prometheus]\nurl = \"https://p/prom\"\nselector = 'job=\"alfred\"'\nallowance = \"20ms\"",
        )
        .unwrap();
        let record = long.record();
        assert_eq!(record.selector, "job=\"alfred\"");
        assert_eq!(record.allowance_ms, Some(20.0));
        let again = Prometheus::resolve(Some(record.settings().unwrap())).unwrap();
        assert_eq!(again, Some(long));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, problem) in [
            ("[prometheus]\nselector = 'a=\"b\"'", "without --prometheus"),
            ("prometheus = \"127.0.0.1:9090\"", "http://"),
            ("prometheus = \"http://a/?x=1\"", "no query"),
            (
                "[prometheus]\nurl = \"http://a\"\nallowance = \"2m\"",
                "0s to 1m",
            ),
            ("[prometheus]\nurl = \"http://a\"\nselector = 'a'", "label"),
            ("[prometheus]\nuri = \"http://a\"", "a table with the keys"),
        ] {
            let error = resolved(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert_eq!(
            Prometheus::resolve(Some(PrometheusSettings::default())).unwrap(),
            None
        );
    }
}

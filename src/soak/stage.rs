//! PURE: a stretch of a run in which the rate goes from where it is to another.

use super::units::{parse_duration, show_duration};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Most requests a second.
pub const MAX_PER_S: f64 = 1e6;

/// A stage: within `duration` the rate changes evenly to `per_s`; with a duration of 0 at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// How long it takes.
    pub duration: Duration,
    /// Requests a second at its end, 0 to [`MAX_PER_S`].
    pub per_s: f64,
}

impl Stage {
    /// # Errors
    /// When the rate is out of range.
    pub fn new(duration: Duration, per_s: f64) -> Result<Self, String> {
        if !(0.0..=MAX_PER_S).contains(&per_s) {
            return Err(format!(
                "the rate of a stage must be 0 to {MAX_PER_S} requests a second, got {per_s}"
            ));
        }
        Ok(Self { duration, per_s })
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not a stage such as 1m:50, a duration and a rate");
        let (duration, rate) = text.split_once(':').ok_or_else(wrong)?;
        let per_s = rate.trim().trim_end_matches("/s").parse();
        let duration = match duration.trim() {
            "0" => Duration::ZERO,
            duration => parse_duration(duration)?,
        };
        Self::new(duration, per_s.map_err(|_| wrong())?)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", show_duration(self.duration), self.per_s)
    }
}

impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// As a table has it.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            duration: String,
            qps: f64,
        }
        /// A table, or text as on the command line.
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "{ duration = \"1m\", qps = 50 } or \"1m:50\"")]
        enum Either {
            Table(Table),
            Text(String),
        }
        let text = match Either::deserialize(deserializer)? {
            Either::Table(table) => format!("{}:{}", table.duration, table.qps),
            Either::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Stage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn is_read_as_written() {
        for text in ["1m:50", "0:0.5", "90s:0", "1h:1000000"] {
            let stage: Stage = text.parse().unwrap();
            assert_eq!(stage.to_string().parse::<Stage>().unwrap(), stage, "{text}");
        }
        let text = "stages = [{ duration = \"1m\", qps = 50 }, \"10s:0\"]";
        let file: BTreeMap<String, Vec<Stage>> = toml::from_str(text).unwrap();
        assert_eq!(file["stages"][0], "1m:50".parse().unwrap());
        assert_eq!(file["stages"][1].to_string(), "10s:0");
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, problem) in [
            ("50", "is not a stage"),
            ("1m:fast", "is not a stage"),
            ("1m:-1", "must be 0 to"),
            ("1m:2000000", "must be 0 to"),
            ("1m:NaN", "must be 0 to"),
            ("soon:5", "soon"),
        ] {
            let error = text.parse::<Stage>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}

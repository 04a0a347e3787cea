//! Flags of `alfred soak` that say what the server's own figures are, and where.

use crate::client::Target;
use crate::soak::server::settings::{PrometheusSettings, Selector};
use crate::soak::units::parse_duration;
use std::time::Duration;

/// The Prometheus that scrapes the target.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// Ask this Prometheus, once the load is over, for the target's own histogram: a run whose service
    /// time does not fit it is INVALID, and so is one that it has no figures of
    #[arg(long, value_name = "URL", conflicts_with = "find_capacity")]
    pub prometheus: Option<Target>,
    /// Label matchers of the target's series there, as 'job="alfred"' [default: none]
    #[arg(long, value_name = "MATCHERS", conflicts_with = "find_capacity")]
    pub prometheus_selector: Option<Selector>,
    /// What the service time may lie outside of the server's bucket [default: 5ms, twice the time of a
    /// connection, and the lag]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "find_capacity")]
    pub prometheus_allowance: Option<Duration>,
}

impl ServerArgs {
    /// What is said, when anything is.
    pub(super) fn settings(&self) -> Option<PrometheusSettings> {
        let said = PrometheusSettings {
            url: self.prometheus.clone(),
            selector: self.prometheus_selector.clone(),
            allowance: self.prometheus_allowance,
        };
        (!said.is_empty()).then_some(said)
    }
}

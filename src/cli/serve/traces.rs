//! Configuration to who gets the spans of requests.

use crate::config::{Changes, Config};
use crate::failure::Failure;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::{Exporter, Sampling, Target};
use std::sync::Arc;

/// The collector that is configured, if any. Whether it is there is no question of configuration.
///
/// # Errors
/// When what is configured can be none.
pub(super) fn target(config: &Config) -> Result<Option<Target>, Failure> {
    let telemetry = &config.raw.telemetry;
    if telemetry.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    let target = Target::parse(&telemetry.otlp_endpoint, &telemetry.otlp_headers);
    target.map(Some).map_err(|error| {
        Failure::configuration("`telemetry.otlp_endpoint` or `telemetry.otlp_headers` is wrong")
            .because(error)
            .hint(
                "as http://localhost:4318, where a collector takes OTLP over HTTP; headers as \
                 NAME=VALUE,NAME=VALUE",
            )
    })
}

/// Begins to export traces, where that is configured.
pub(super) fn open(config: &Config, metrics: &Metrics) -> Result<Option<Arc<Exporter>>, Failure> {
    let Some(target) = target(config)? else {
        return Ok(None);
    };
    let sampling = Sampling::of_ratio(config.raw.telemetry.otlp_sample_ratio);
    let exporter = Exporter::start(target, sampling, metrics.traces.clone());
    exporter.map(Some).map_err(|error| {
        Failure::failed("cannot start a thread to export traces on").because(error)
    })
}

/// As configured now; what `changes` do not touch is the same as before.
pub(super) fn renewed(
    config: &Config,
    former: Option<&Arc<Exporter>>,
    changes: &Changes,
    metrics: &Metrics,
) -> Result<Option<Arc<Exporter>>, Failure> {
    if changes.touch(&["telemetry."]) {
        open(config, metrics)
    } else {
        Ok(former.cloned())
    }
}

//! What state the daemon is in, beside what it counts.

use super::{Collectors, made};
use prometheus::{Gauge, GaugeVec, IntGauge, Opts};
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether queries would be answered, and how long the certificate holds.
#[derive(Clone, Debug)]
pub struct StateMetrics {
    ready: IntGauge,
    /// Without a series where TLS is not spoken: 0 would have expired long ago.
    certificate_expiry: GaugeVec,
}

impl Default for StateMetrics {
    fn default() -> Self {
        let expiry = Opts::new(
            "alfred_tls_certificate_expiry_timestamp_seconds",
            "When the certificate that is served expires, in s since 1970.",
        );
        Self {
            ready: made(IntGauge::new(
                "alfred_ready",
                "1 when a query would be answered, as /readyz says, else 0.",
            )),
            certificate_expiry: made(GaugeVec::new(expiry, &[])),
        }
    }
}

impl StateMetrics {
    pub(super) fn collectors(&self) -> Collectors {
        vec![
            Box::new(self.ready.clone()),
            Box::new(self.certificate_expiry.clone()),
        ]
    }

    /// Whether a query would be answered now.
    pub fn ready(&self, is_ready: bool) {
        self.ready.set(i64::from(is_ready));
    }

    /// A certificate is served that expires at `not_after`.
    pub fn certificate_expires(&self, not_after: SystemTime) {
        let since = not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        let no_labels: [&str; 0] = [];
        let gauge: Gauge = self.certificate_expiry.with_label_values(&no_labels);
        gauge.set(since.as_secs_f64());
    }
}

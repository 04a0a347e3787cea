//! Windows, made up.

use crate::soak::latency::Percentiles;
use crate::soak::record::{ResourceRecord, WindowRecord};
use crate::soak::relevance::RelevanceCounts;
use crate::soak::tally::{CacheCounts, Counts};
use std::collections::BTreeMap;

/// A window of a second from `start_s`, with this median in milliseconds.
pub(super) fn window(start_s: f64, median_ms: Option<f64>) -> WindowRecord {
    let ok_us = Percentiles {
        p50: median_ms.map(|ms| crate::soak::stats::numbers::whole(ms * 1e3) as u64),
        ..Percentiles::default()
    };
    WindowRecord {
        window: 0,
        start_s,
        length_s: 1.0,
        counts: Counts::default(),
        errors_by_kind: BTreeMap::new(),
        errors_by_cause: BTreeMap::new(),
        response_us: ok_us,
        ok_us,
        service_us: ok_us,
        lag_us: Percentiles::default(),
        cache: CacheCounts::default(),
        relevance: RelevanceCounts::default(),
        resources: ResourceRecord::default(),
        unit: None,
        host: None,
        metrics: BTreeMap::new(),
    }
}

//! Metrics whose values are counted elsewhere and read at a scrape.

use super::made;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use std::collections::HashMap;

/// The name of one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    name: &'static str,
    help: &'static str,
    is_counter: bool,
}

impl Reading {
    /// A value that only grows.
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            is_counter: true,
        }
    }

    /// A value that goes up and down.
    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            is_counter: false,
        }
    }

    fn family(self, value: f64) -> Vec<MetricFamily> {
        if self.is_counter {
            let counter = made(Counter::new(self.name, self.help));
            counter.inc_by(value.max(0.0));
            counter.collect()
        } else {
            let gauge = made(Gauge::new(self.name, self.help));
            gauge.set(value);
            gauge.collect()
        }
    }
}

/// Values that are read together.
pub(super) struct Readings {
    names: Vec<Reading>,
    descs: Vec<Desc>,
    read: fn() -> Vec<Option<f64>>,
}

impl Readings {
    /// `read` returns the values of `readings` in their order; `None` where one cannot be told.
    pub(super) fn new(readings: &[Reading], read: fn() -> Vec<Option<f64>>) -> Self {
        let desc = |reading: &Reading| {
            made(Desc::new(
                reading.name.to_owned(),
                reading.help.to_owned(),
                Vec::new(),
                HashMap::new(),
            ))
        };
        Self {
            descs: readings.iter().map(desc).collect(),
            names: readings.to_vec(),
            read,
        }
    }
}

impl Collector for Readings {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let values = (self.read)();
        self.names
            .iter()
            .zip(values)
            .filter_map(|(reading, value)| value.map(|value| reading.family(value)))
            .flatten()
            .collect()
    }
}

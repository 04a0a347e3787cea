//! Whether a query would be answered now, and if not, what is missing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Named conditions, all of which must hold. Created with none waited for: ready.
#[derive(Debug, Default)]
pub struct Readiness {
    waiting: Mutex<BTreeMap<&'static str, String>>,
}

impl Readiness {
    /// `name` (as `model`, `store`) does not hold, because of `reason`.
    pub fn wait_for(&self, name: &'static str, reason: impl Into<String>) {
        self.lock().insert(name, reason.into());
    }

    /// `name` holds.
    pub fn met(&self, name: &'static str) {
        self.lock().remove(name);
    }

    /// What is missing, with the reason, in order of name; empty when ready.
    #[must_use]
    pub fn missing(&self) -> Vec<(&'static str, String)> {
        let waiting = self.lock();
        waiting
            .iter()
            .map(|(name, why)| (*name, why.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

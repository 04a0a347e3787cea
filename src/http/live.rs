//! The application that requests get, which a reload replaces while the server runs.

use super::App;
use super::routes::{self, Routes};
use std::sync::{Arc, PoisonError, RwLock};

/// An application with its routes.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) app: Arc<App>,
    pub(super) routes: Routes,
}

impl Generation {
    fn new(app: Arc<App>) -> Self {
        Self {
            routes: routes::build(&app),
            app,
        }
    }
}

/// What is served now. Requests that run keep the application they began with, connections the
/// limits on heads and idle time that they were accepted with.
pub struct Live {
    current: RwLock<Generation>,
}

impl Live {
    /// Serves `app` until it is replaced.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self {
            current: RwLock::new(Generation::new(app)),
        }
    }

    /// What a request that comes now gets.
    #[must_use]
    pub fn app(&self) -> Arc<App> {
        self.now().app
    }

    /// From now on requests get `app`; the former one is returned, and may still be in use.
    pub fn replace(&self, app: Arc<App>) -> Arc<App> {
        let next = Generation::new(app);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, next).app
    }

    pub(super) fn now(&self) -> Generation {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

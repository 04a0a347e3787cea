//! What starts and stops services: containers, or units of this machine.

use super::probe::Asked;
use super::service::Service;
use crate::failure::Failure;
use std::process::Child;

/// How a service is, as its engine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no container or unit of it.
    Absent,
    /// It does not run, and nothing failed.
    Stopped,
    /// It is about to run.
    Starting,
    /// Its process runs; whether it answers is another question.
    Running,
    /// Its process ended by itself.
    Failed,
}

impl State {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Failed => "failed",
        }
    }
}

/// A service, as its engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub service: Service,
    /// How it is.
    pub state: State,
    /// The container or unit.
    pub name: String,
}

/// Starts, stops and lists the services.
pub trait Engine {
    /// What it is called, for people.
    fn name(&self) -> &str;

    /// How each service is, in the order of [`Service::ALL`].
    ///
    /// # Errors
    /// When the engine does not answer.
    fn look(&self) -> Result<Vec<Seen>, Failure>;

    /// How the service is asked whether it is ready.
    fn asked(&self, service: Service) -> Asked;

    /// Services that have to run for `service` to be of use, and which starting it starts as well.
    fn needs(&self, service: Service) -> &'static [Service];

    /// Starts these; returns when they are started, whether or not they are ready. What runs stays.
    ///
    /// # Errors
    /// When one cannot be started; the others may run then.
    fn start(&self, services: &[Service]) -> Result<(), Failure>;

    /// Stops these and keeps their data. Answers a line for each that was left alone, with the reason.
    ///
    /// # Errors
    /// When one cannot be stopped.
    fn stop(&self, services: &[Service]) -> Result<Vec<String>, Failure>;

    /// Stops these, takes away what starting them made, and with `volumes` their data too. Answers
    /// a line for each that was left alone, with the reason.
    ///
    /// # Errors
    /// When one cannot be taken down.
    fn down(&self, services: &[Service], volumes: bool) -> Result<Vec<String>, Failure>;

    /// Starts a program that writes the log of these to stdout as it comes.
    ///
    /// # Errors
    /// When it cannot be started.
    fn follow(&self, services: &[Service]) -> Result<Child, Failure>;

    /// The end of a service's log, for a person who asks why it failed; empty where there is none.
    fn last_words(&self, service: Service) -> String;
}

/// These and all that they need, in the order of [`Service::ALL`].
#[must_use]
pub fn with_needs(engine: &dyn Engine, services: &[Service]) -> Vec<Service> {
    let mut all = services.to_vec();
    let mut next = 0;
    // Each service is added once, so this ends after seven at most.
    while let Some(&service) = all.get(next) {
        for &needed in engine.needs(service) {
            if !all.contains(&needed) {
                all.push(needed);
            }
        }
        next += 1;
    }
    all.sort_unstable();
    all
}

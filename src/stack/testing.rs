//! An engine, services and a clock that are made up.

use super::address::Addresses;
use super::engine::{Engine, Seen, State};
use super::probe::{Asked, Prober};
use super::service::Service;
use super::up::{Lift, Watcher};
use crate::clock::{Clock as _, ManualClock};
use crate::failure::Failure;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime};

/// Everything in one; services are ready at once unless told otherwise.
pub(super) struct Fake {
    clock: ManualClock,
    began: Instant,
    addresses: Addresses,
    states: RefCell<BTreeMap<Service, State>>,
    starts_as: RefCell<BTreeMap<Service, State>>,
    ready_after: RefCell<BTreeMap<Service, Duration>>,
    taken: RefCell<BTreeSet<u16>>,
    done: RefCell<Vec<String>>,
    interrupted: Cell<bool>,
}

impl Default for Fake {
    fn default() -> Self {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        Self {
            began: clock.monotonic(),
            clock,
            addresses: Addresses::of(|_| None).unwrap(),
            states: RefCell::default(),
            starts_as: RefCell::default(),
            ready_after: RefCell::default(),
            taken: RefCell::default(),
            done: RefCell::default(),
            interrupted: Cell::default(),
        }
    }
}

impl Fake {
    pub(super) fn ready_after(&self, service: Service, duration: Duration) {
        self.ready_after.borrow_mut().insert(service, duration);
    }

    pub(super) fn set(&self, service: Service, state: State) {
        self.states.borrow_mut().insert(service, state);
    }

    pub(super) fn starts_as(&self, service: Service, state: State) {
        self.starts_as.borrow_mut().insert(service, state);
    }

    pub(super) fn take_port(&self, port: u16) {
        self.taken.borrow_mut().insert(port);
    }

    pub(super) fn interrupt(&self) {
        self.interrupted.set(true);
    }

    pub(super) fn done(&self) -> Vec<String> {
        self.done.borrow().clone()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.monotonic() - self.began
    }

    pub(super) fn lift<T>(&self, use_it: impl FnOnce(&Lift<'_>) -> T) -> T {
        use_it(&Lift {
            engine: self,
            prober: self,
            clock: &self.clock,
            addresses: &self.addresses,
            patience: Duration::from_mins(1),
            is_interrupted: &|| self.interrupted.get(),
        })
    }

    fn note(&self, verb: &str, services: &[Service]) {
        let names: Vec<&str> = services.iter().map(|service| service.name()).collect();
        self.done
            .borrow_mut()
            .push(format!("{verb} {}", names.join(" ")));
    }
}

impl Engine for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn look(&self) -> Result<Vec<Seen>, Failure> {
        let states = self.states.borrow();
        let seen = |service: Service| Seen {
            service,
            state: states.get(&service).copied().unwrap_or(State::Absent),
            name: format!("fake-{service}"),
        };
        Ok(Service::ALL.map(seen).to_vec())
    }

    /// The port is the place in the list, so that it is known who is asked.
    fn asked(&self, service: Service) -> Asked {
        let place = Service::ALL.iter().position(|one| *one == service);
        Asked::Redis(u16::try_from(place.unwrap()).unwrap())
    }

    fn needs(&self, service: Service) -> &'static [Service] {
        match service {
            Service::Server => &[Service::Pg, Service::Redis],
            _ => &[],
        }
    }

    fn start(&self, services: &[Service]) -> Result<(), Failure> {
        self.note("start", services);
        for service in services {
            let state = self.starts_as.borrow().get(service).copied();
            self.set(*service, state.unwrap_or(State::Running));
        }
        Ok(())
    }

    fn stop(&self, services: &[Service]) -> Result<Vec<String>, Failure> {
        self.note("stop", services);
        Ok(Vec::new())
    }

    fn down(&self, services: &[Service], _: bool) -> Result<Vec<String>, Failure> {
        self.note("down", services);
        Ok(Vec::new())
    }

    fn follow(&self, _: &[Service]) -> Result<Child, Failure> {
        Err(Failure::failed("a fake has no log"))
    }

    fn last_words(&self, service: Service) -> String {
        format!("last words of {service}\n")
    }
}

impl Prober for Fake {
    fn ask(&self, asked: &Asked) -> Result<(), String> {
        let Asked::Redis(place) = asked else {
            return Err("nobody asks so".to_owned());
        };
        let service = Service::ALL[usize::from(*place)];
        let after = self.ready_after.borrow().get(&service).copied();
        if self.elapsed() >= after.unwrap_or_default() {
            Ok(())
        } else {
            Err("refused".to_owned())
        }
    }

    fn is_free(&self, port: u16) -> bool {
        !self.taken.borrow().contains(&port)
    }
}

/// What was told.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) ready: Vec<Service>,
    pub(super) causes: String,
}

impl Watcher for Heard {
    fn begins(&mut self, _: Service) {}

    fn waits(&mut self, service: Service, cause: &str) {
        let _ = writeln!(self.causes, "{service}: {cause}");
    }

    fn is_ready(&mut self, service: Service, _: Duration) {
        self.ready.push(service);
    }
}

//! Starts services and waits until they answer.
//!
//! In this order: what is taken is seen before anything is started; then everything is started; then
//! each is asked until it is ready, its process has ended, or the patience is over.

use super::address::Addresses;
use super::engine::{Engine, Seen, State, with_needs};
use super::probe::Prober;
use super::service::Service;
use crate::clock::Clock;
use crate::failure::Failure;
use std::time::{Duration, Instant};

/// How often services are asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often the engine is asked whether processes have ended; asking it costs it more.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A process that was seen to have ended so often in a row stays away: a restart would have shown.
const LOOKS_FAILED: u32 = 2;

/// What starting takes.
pub struct Lift<'a> {
    /// What starts them.
    pub engine: &'a dyn Engine,
    /// What asks them.
    pub prober: &'a dyn Prober,
    /// Times the waiting.
    pub clock: &'a dyn Clock,
    /// Where they listen.
    pub addresses: &'a Addresses,
    /// Longest wait for all to be ready, beginning when they are started.
    pub patience: Duration,
    /// Whether a person wants it to end.
    pub is_interrupted: &'a dyn Fn() -> bool,
}

/// What is told meanwhile.
pub trait Watcher {
    /// It is waited for from now on.
    fn begins(&mut self, service: Service);
    /// It is not ready yet, because of this.
    fn waits(&mut self, service: Service, cause: &str);
    /// It answered, this long after the engine was told to start it.
    fn is_ready(&mut self, service: Service, after: Duration);
}

/// A service that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which.
    pub service: Service,
    /// How long it took from when the engine was told to start it, pulling its image included.
    pub after: Duration,
    /// Whether it ran before.
    pub ran_before: bool,
}

impl Lift<'_> {
    /// Starts these with all that they need, and waits for them.
    ///
    /// # Errors
    /// A port that is taken, a service that cannot be started, ends, or is not ready in time.
    pub fn up(
        &self,
        services: &[Service],
        watcher: &mut dyn Watcher,
    ) -> Result<Vec<Ready>, Failure> {
        let services = with_needs(self.engine, services);
        let before = self.engine.look()?;
        let was = |service| {
            let seen = before.iter().find(|seen| seen.service == service);
            seen.map_or(State::Absent, |seen| seen.state)
        };
        let ran_before = |service| was(service) == State::Running;
        let holds_ports = |service| matches!(was(service), State::Running | State::Starting);
        self.check_ports(&services, &holds_ports)?;
        let asked = self.clock.monotonic();
        self.engine.start(&services)?;
        let ready = self.wait(&services, asked, watcher)?;
        Ok(ready
            .into_iter()
            .map(|(service, after)| Ready {
                service,
                after,
                ran_before: ran_before(service),
            })
            .collect())
    }

    /// The ports of services that do not run have to be free.
    fn check_ports(
        &self,
        services: &[Service],
        holds_ports: &dyn Fn(Service) -> bool,
    ) -> Result<(), Failure> {
        for &service in services.iter().filter(|one| !holds_ports(**one)) {
            for port in self.addresses.ports(service) {
                if self.prober.is_free(port.number) {
                    continue;
                }
                let (number, variable) = (port.number, port.variable);
                return Err(Failure::failed(format!(
                    "port {number} of {service} is taken by another program"
                ))
                .hint(format!(
                    "`ss -ltnp 'sport = :{number}'` names it; stop it, or choose another port: \
                     {variable}={}",
                    number.saturating_add(10_000).max(1024)
                )));
            }
        }
        Ok(())
    }

    fn wait(
        &self,
        services: &[Service],
        asked: Instant,
        watcher: &mut dyn Watcher,
    ) -> Result<Vec<(Service, Duration)>, Failure> {
        let began = self.clock.monotonic();
        let mut waiting: Vec<Waiting> = services.iter().map(|s| Waiting::new(*s)).collect();
        let mut ready = Vec::with_capacity(waiting.len());
        let mut next_look = began + LOOK_EVERY;
        for service in services {
            watcher.begins(*service);
        }
        loop {
            self.ask_all(asked, &mut waiting, &mut ready, watcher);
            if waiting.is_empty() {
                ready.sort_unstable();
                return Ok(ready);
            }
            self.give_up(began, &waiting)?;
            if self.clock.monotonic() >= next_look {
                self.see_ended(&mut waiting)?;
                next_look = self.clock.monotonic() + LOOK_EVERY;
            }
            self.clock.sleep(ASK_EVERY);
        }
    }

    fn ask_all(
        &self,
        asked: Instant,
        waiting: &mut Vec<Waiting>,
        ready: &mut Vec<(Service, Duration)>,
        watcher: &mut dyn Watcher,
    ) {
        waiting.retain_mut(|one| {
            let service = one.service;
            match self.prober.ask(&self.engine.asked(service)) {
                Ok(()) => {
                    let after = self.clock.monotonic() - asked;
                    watcher.is_ready(service, after);
                    ready.push((service, after));
                    false
                }
                Err(cause) => {
                    watcher.waits(service, &cause);
                    one.cause = cause;
                    true
                }
            }
        });
    }

    /// Ends the waiting when a person or the patience says so.
    fn give_up(&self, began: Instant, waiting: &[Waiting]) -> Result<(), Failure> {
        if (self.is_interrupted)() {
            return Err(Failure::failed("interrupted while services were starting")
                .hint("`alfred ps` shows how they are, `alfred down` stops them"));
        }
        let Some(first) = waiting.first() else {
            return Ok(());
        };
        if self.clock.monotonic() - began < self.patience {
            return Ok(());
        }
        let names: Vec<&str> = waiting.iter().map(|one| one.service.name()).collect();
        Err(Failure::failed(format!(
            "not ready after {} s: {}",
            self.patience.as_secs(),
            names.join(" ")
        ))
        .because(format!("{}: {}", first.service, first.cause))
        .hint(self.what_next(first.service)))
    }

    /// Fails for a service whose process has ended and stays away.
    fn see_ended(&self, waiting: &mut [Waiting]) -> Result<(), Failure> {
        let seen = self.engine.look()?;
        for one in waiting {
            let is_gone = |seen: &&Seen| {
                seen.service == one.service && matches!(seen.state, State::Failed | State::Stopped)
            };
            if !seen.iter().any(|seen| is_gone(&seen)) {
                one.looks_failed = 0;
                continue;
            }
            one.looks_failed += 1;
            if one.looks_failed >= LOOKS_FAILED {
                return Err(Failure::failed(format!("{} ended by itself", one.service))
                    .hint(self.what_next(one.service)));
            }
        }
        Ok(())
    }

    fn what_next(&self, service: Service) -> String {
        let words = self.engine.last_words(service);
        if words.trim().is_empty() {
            return "`alfred ps` shows how the others are; --wait-timeout waits longer".to_owned();
        }
        format!("the end of its log:\n{}", words.trim_end())
    }
}

/// A service that is not ready yet.
struct Waiting {
    service: Service,
    cause: String,
    looks_failed: u32,
}

impl Waiting {
    fn new(service: Service) -> Self {
        Self {
            service,
            cause: String::new(),
            looks_failed: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fake, Heard};
    use super::*;
    use Service::{Pg, Redis, Server};

    #[test]
    fn what_is_needed_is_started_too_and_everything_is_waited_for() {
        let fake = Fake::default();
        fake.ready_after(Pg, Duration::from_secs(3));
        fake.ready_after(Server, Duration::from_secs(5));
        let mut heard = Heard::default();
        let ready = fake.lift(|lift| lift.up(&[Server], &mut heard)).unwrap();
        let services: Vec<Service> = ready.iter().map(|one| one.service).collect();
        assert_eq!(services, [Pg, Redis, Server]);
        assert_eq!(ready[0].after, Duration::from_secs(3));
        assert_eq!(ready[1].after, Duration::ZERO);
        assert_eq!(ready[2].after, Duration::from_secs(5));
        assert_eq!(fake.done(), ["start pg redis server"]);
        assert_eq!(heard.ready, [Redis, Pg, Server]);
        assert!(heard.causes.contains("pg: refused"), "{}", heard.causes);
    }

    #[test]
    fn a_port_that_is_taken_is_named_before_anything_starts() {
        let fake = Fake::default();
        fake.take_port(5432);
        let failure = fake.lift(|lift| lift.up(&[Server], &mut Heard::default()));
        assert_eq!(
            failure.unwrap_err().render(),
            "error: port 5432 of pg is taken by another program\nhint: `ss -ltnp 'sport = :5432'` \
             names it; stop it, or choose another port: ALFRED_PG_PORT=15432"
        );
        assert!(fake.done().is_empty());
    }

    #[test]
    fn a_port_that_is_our_own_is_no_obstacle() {
        let fake = Fake::default();
        fake.set(Pg, State::Running);
        fake.take_port(5432);
        let ready = fake.lift(|lift| lift.up(&[Pg, Redis], &mut Heard::default()));
        let before: Vec<bool> = ready.unwrap().iter().map(|one| one.ran_before).collect();
        assert_eq!(before, [true, false]);
    }

    #[test]
    fn a_service_that_is_never_ready_ends_the_waiting_with_its_cause_and_its_log() {
        let fake = Fake::default();
        fake.ready_after(Pg, Duration::from_secs(100_000));
        fake.ready_after(Redis, Duration::from_secs(100_000));
        let failure = fake.lift(|lift| lift.up(&[Pg, Redis], &mut Heard::default()));
        let text = failure.unwrap_err().render();
        assert!(
            text.starts_with("error: not ready after 60 s: pg redis: pg: refused"),
            "{text}"
        );
        assert!(
            text.contains("the end of its log:\nlast words of pg"),
            "{text}"
        );
    }

    #[test]
    fn a_process_that_ended_is_not_waited_for() {
        let fake = Fake::default();
        fake.ready_after(Pg, Duration::from_secs(100_000));
        fake.starts_as(Pg, State::Failed);
        let failure = fake.lift(|lift| lift.up(&[Pg], &mut Heard::default()));
        let text = failure.unwrap_err().render();
        assert!(text.starts_with("error: pg ended by itself"), "{text}");
        assert!(fake.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_person_can_end_the_waiting() {
        let fake = Fake::default();
        fake.ready_after(Pg, Duration::from_secs(100_000));
        fake.interrupt();
        let failure = fake.lift(|lift| lift.up(&[Pg], &mut Heard::default()));
        assert!(failure.unwrap_err().render().contains("interrupted"));
    }
}

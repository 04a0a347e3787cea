//! Waits until a connection has something, or for a moment to come: epoll with a timer beside the
//! connections, since its own timeout is rounded to milliseconds where `epoll_pwait2` is missing.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// So many events are taken at a time; the others come with the next call.
const EVENTS: usize = 256;
/// The key of the descriptor that [`Waker`] writes to.
const WAKER: u64 = u64::MAX;
/// The key of the timer.
const TIMER: u64 = u64::MAX - 1;
/// No time at all.
const NONE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Ends a wait from another thread.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(super) fn wake(&self) {
        // It fails only when it is to wake already.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// Something is to be done for the connection with this key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) key: u64,
    pub(super) writable: bool,
    /// Or closed, or broken: reading tells.
    pub(super) readable: bool,
}

/// Room for what a wait finds; of one thread.
pub(super) struct Found {
    events: Vec<epoll::Event>,
    pub(super) ready: Vec<Ready>,
}

impl Found {
    pub(super) fn new() -> Self {
        Self {
            events: Vec::with_capacity(EVENTS),
            ready: Vec::with_capacity(EVENTS),
        }
    }
}

pub(super) struct Poll {
    epoll: OwnedFd,
    waker: Waker,
    timer: OwnedFd,
    /// What the timer is set to.
    set_to_ns: u64,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let watched = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &waker, EventData::new_u64(WAKER), watched)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), watched)?;
        Ok(Self {
            epoll,
            waker: Waker(Arc::new(waker)),
            timer,
            set_to_ns: 0,
        })
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Watches for what can be read.
    pub(super) fn add(&self, socket: impl AsFd, key: u64) -> io::Result<()> {
        let watched = EventFlags::IN | EventFlags::RDHUP;
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(key),
            watched,
        )?)
    }

    /// Watches for room to write as well, or no more.
    pub(super) fn watch_writing(&self, socket: impl AsFd, key: u64, yes: bool) -> io::Result<()> {
        let mut watched = EventFlags::IN | EventFlags::RDHUP;
        watched.set(EventFlags::OUT, yes);
        Ok(epoll::modify(
            &self.epoll,
            socket,
            EventData::new_u64(key),
            watched,
        )?)
    }

    /// Waits until `CLOCK_MONOTONIC` reaches `until_ns`, not at all when that is 0; `found` is what is
    /// ready then.
    pub(super) fn wait(&mut self, until_ns: u64, found: &mut Found) {
        found.events.clear();
        found.ready.clear();
        if until_ns != 0 && until_ns != self.set_to_ns {
            self.set_to_ns = until_ns;
            let until = Itimerspec {
                it_interval: NONE,
                it_value: Timespec {
                    tv_sec: i64::try_from(until_ns / 1_000_000_000).unwrap_or(i64::MAX),
                    tv_nsec: i64::try_from(until_ns % 1_000_000_000).unwrap_or(0),
                },
            };
            // A valid time and a timer of our own: it does not fail.
            let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &until);
        }
        let timeout = (until_ns == 0).then_some(&NONE);
        let room = rustix::buffer::spare_capacity(&mut found.events);
        if epoll::wait(&self.epoll, room, timeout).is_err() {
            // A signal: the caller looks at the clock again in any case.
            return;
        }
        if found.events.iter().any(|event| event.data.u64() == TIMER) {
            self.set_to_ns = 0;
        }
        found.ready.extend(found.events.iter().filter_map(|event| {
            let (key, flags) = (event.data.u64(), event.flags);
            (key < TIMER).then(|| Ready {
                key,
                writable: flags.contains(EventFlags::OUT),
                readable: !(flags - EventFlags::OUT).is_empty(),
            })
        }));
    }
}

//! Waits until a connection has something, or for a moment to come: epoll, to the nanosecond.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// So many events are taken at a time; the others come with the next call.
const EVENTS: usize = 256;
/// The key of the descriptor that [`Waker`] writes to.
const WAKER: u64 = u64::MAX;

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
    /// This kernel (before 5.11) waits for whole milliseconds only.
    is_coarse: bool,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let watched = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &waker, EventData::new_u64(WAKER), watched)?;
        Ok(Self {
            epoll,
            waker: Waker(Arc::new(waker)),
            is_coarse: false,
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

    /// Waits for at most `wait_ns`; `found` is what is ready then.
    pub(super) fn wait(&mut self, wait_ns: u64, found: &mut Found) {
        let wait_ns = if self.is_coarse {
            wait_ns / 1_000_000 * 1_000_000
        } else {
            wait_ns
        };
        let timeout = Timespec {
            tv_sec: i64::try_from(wait_ns / 1_000_000_000).unwrap_or(0),
            tv_nsec: i64::try_from(wait_ns % 1_000_000_000).unwrap_or(0),
        };
        found.events.clear();
        found.ready.clear();
        let room = rustix::buffer::spare_capacity(&mut found.events);
        match epoll::wait(&self.epoll, room, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => self.is_coarse = true,
            // A signal: the caller looks at the clock again in any case.
            Err(_) => return,
        }
        found.ready.extend(found.events.iter().filter_map(|event| {
            let (key, flags) = (event.data.u64(), event.flags);
            (key != WAKER).then(|| Ready {
                key,
                writable: flags.contains(EventFlags::OUT),
                readable: !(flags - EventFlags::OUT).is_empty(),
            })
        }));
    }
}

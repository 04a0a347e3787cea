//! Grades answers on a thread of its own: the one that keeps time copies a body and goes on.

use super::Shared;
use crate::soak::ledger::{Grade, Ticket};
use crate::soak::relevance::Relevant;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Largest answer that is graded: one with 100 citations has some 200 KB.
pub(super) const MAX_BYTES: u64 = 256 * 1024;
/// Answers that wait, and the bytes of them all; what comes beyond stays unread. At 10,000 answers a second
/// it is half a second of them.
const MAX_WAITING: usize = 4_096;
const MAX_WAITING_BYTES: u64 = 64 * 1024 * 1024;
/// So many grades are entered at a time.
const BATCH: usize = 64;

/// The thread, as the engine sees it. It ends, with everything graded, after this is dropped.
pub(super) struct Grader {
    relevant: Arc<Relevant>,
    waiting: SyncSender<Reply>,
    waiting_bytes: Arc<AtomicU64>,
}

struct Reply {
    ticket: Ticket,
    /// Of the query in the query set.
    place: usize,
    body: Vec<u8>,
}

impl Grader {
    /// Starts the thread. It has the priority of the others, since it shares a lock with them.
    pub(super) fn start(
        relevant: Arc<Relevant>,
        shared: Arc<Shared>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (waiting, replies) = sync_channel(MAX_WAITING);
        let waiting_bytes = Arc::new(AtomicU64::new(0));
        let (theirs, bytes) = (Arc::clone(&relevant), Arc::clone(&waiting_bytes));
        let thread = std::thread::Builder::new()
            .name("soak-grader".to_owned())
            .spawn(move || grade_all(&replies, &theirs, &bytes, &shared))?;
        let grader = Self {
            relevant,
            waiting,
            waiting_bytes,
        };
        Ok((grader, thread))
    }

    /// Whether the query at this place of the query set has a judgment.
    pub(super) fn wants(&self, place: usize) -> bool {
        self.relevant.wants(place)
    }

    /// Takes an answer to be graded; `false` when it is too large to have been kept, or too many wait.
    /// It never waits.
    pub(super) fn take(&self, ticket: Ticket, place: usize, body: Option<&[u8]>) -> bool {
        let Some(body) = body else {
            return false;
        };
        let bytes = body.len() as u64;
        if self.waiting_bytes.load(Ordering::Relaxed) + bytes > MAX_WAITING_BYTES {
            return false;
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let reply = Reply {
            ticket,
            place,
            body: body.to_vec(),
        };
        let is_taken = self.waiting.try_send(reply).is_ok();
        if !is_taken {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_taken
    }
}

fn grade_all(replies: &Receiver<Reply>, relevant: &Relevant, bytes: &AtomicU64, shared: &Shared) {
    let mut grades = Vec::with_capacity(BATCH);
    while let Ok(first) = replies.recv() {
        let mut next = Some(first);
        while let Some(reply) = next {
            let is_hit = relevant.is_hit(reply.place, &reply.body);
            grades.push((reply.ticket, Grade::Read { is_hit }));
            bytes.fetch_sub(reply.body.len() as u64, Ordering::Relaxed);
            next = (grades.len() < BATCH)
                .then(|| replies.try_recv().ok())
                .flatten();
        }
        let mut ledger = shared.ledger();
        for (ticket, grade) in grades.drain(..) {
            ledger.graded(ticket, grade);
        }
    }
}

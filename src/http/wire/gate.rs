//! What hyper reads from and writes to: lets whole, sound heads through, one request at a time, and
//! keeps the time limits of a connection.
//!
//! Invariants: while a request is being answered no further head passes, and the end of the
//! stream is reported only when the client itself closed. A refused or slow head never reaches
//! hyper, which sees an orderly end of the stream instead; [`Gate::finish`] then tells what to
//! answer.

use super::framing::{Framing, Refusal, Refused, Step};
use super::socket::Socket;
use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// Bytes asked from the socket at once.
const READ_BYTES: usize = 16 * 1024;
/// Capacity above which an empty buffer is given back, so that idle connections stay small.
const KEEP_BYTES: usize = 32 * 1024;

/// How long a connection that has not said anything yet may still do so when the server stops:
/// its request may be on the way.
const LAST_CALL: Duration = Duration::from_millis(100);

/// What a connection's gate, its requests and its task tell each other.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// A request has passed the gate and its reply is not made yet.
    pub(crate) busy: AtomicBool,
    /// A reply was made to a request whose body was not read: it closes, and lingers.
    pub(crate) unread: AtomicBool,
    /// Wakes a gate that holds something back until the reply is made: hyper polls a blocked read
    /// again only when it is woken.
    held: AtomicWaker,
    /// The server stops: close as soon as nothing is left to answer.
    pub(crate) closing: AtomicBool,
    /// Whether others need the place, and what says so.
    leaving: AtomicBool,
    leave: Notify,
    /// When the last reply was made, in ms since some moment; 0: none was.
    last_answered_ms: AtomicU64,
}

impl Signals {
    /// The reply to the request that passed last is made, so many ms after some moment: the next one
    /// may pass.
    pub(crate) fn answered(&self, now_ms: u64) {
        self.last_answered_ms
            .store(now_ms.max(1), Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
        self.held.wake();
    }

    /// When the last reply was made; 0: none was.
    pub(crate) fn last_answered(&self) -> u64 {
        self.last_answered_ms.load(Ordering::Relaxed)
    }

    /// Nothing is being answered.
    pub(crate) fn is_silent(&self) -> bool {
        !self.busy.load(Ordering::Acquire)
    }

    /// Nothing is being answered, and it was not told to leave.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_silent() && !self.is_leaving()
    }

    /// It was told to leave.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Tells the connection to leave.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.leave.notify_one();
    }

    /// Ends when the connection is told to leave; once.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

/// The time limits of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_head_bytes: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) write_timeout: Duration,
}

#[derive(Debug)]
enum End {
    /// The client closed, idled for too long, or the server stops.
    Closed,
    Refused(Refused),
}

/// A socket seen through HTTP.
#[derive(Debug)]
pub(crate) struct Gate {
    socket: Socket,
    framing: Framing,
    limits: Limits,
    signals: Arc<Signals>,
    /// Bytes from the socket, of which the first `released` may pass.
    pending: BytesMut,
    released: usize,
    end: Option<End>,
    passed_any: bool,
    waiting: Option<(Waiting, Instant)>,
    /// Fires at or before the end of every wait; moved only when it fires or is too late, since
    /// most waits end long before.
    timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

/// What a connection that says nothing is waited on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The first byte of its next request.
    Idle,
    /// The rest of a head.
    Head,
    /// The first byte of its first request, while the server stops.
    LastCall,
}

impl Gate {
    pub(crate) fn new(socket: Socket, limits: Limits, signals: Arc<Signals>) -> Self {
        Self {
            socket,
            framing: Framing::new(limits.max_head_bytes),
            limits,
            signals,
            pending: BytesMut::new(),
            released: 0,
            end: None,
            passed_any: false,
            waiting: None,
            timer: None,
            write_timer: None,
        }
    }

    /// The socket back, with the refusal that is still to be answered.
    pub(crate) fn finish(self) -> (Socket, Option<Refused>) {
        let refused = match self.end {
            Some(End::Refused(refused)) if refused.why != Refusal::BadChunk => Some(refused),
            _ => None,
        };
        (self.socket, refused)
    }

    fn busy(&self) -> bool {
        self.signals.busy.load(Ordering::Acquire)
    }

    /// Moves released bytes on, or works until some are released or the stream ends.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.released > 0 {
                let count = self.released.min(buf.remaining());
                buf.put_slice(&self.pending[..count]);
                self.pending.advance(count);
                self.released -= count;
                if self.pending.is_empty() && self.pending.capacity() > KEEP_BYTES {
                    self.pending = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            match &self.end {
                Some(End::Refused(refused)) if self.busy() && refused.why != Refusal::BadChunk => {
                    self.signals.held.register(cx.waker());
                    return Poll::Pending;
                }
                Some(_) => return Poll::Ready(Ok(())),
                None => {}
            }
            if !self.release(cx) {
                ready!(self.poll_fill(cx))?;
            }
        }
    }

    /// Looks at the pending bytes; whether something came of it.
    fn release(&mut self, cx: &mut Context<'_>) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        if self.framing.at_head() && self.busy() {
            self.signals.held.register(cx.waker());
            return false;
        }
        match self.framing.advance(&self.pending) {
            Step::Head(count) => {
                self.released = count;
                self.waiting = None;
                self.passed_any = true;
                self.signals.busy.store(true, Ordering::Release);
            }
            Step::Body(count) => self.released = count,
            Step::More => return false,
            Step::Refuse(refused) => self.end = Some(End::Refused(refused)),
        }
        true
    }

    /// Reads more from the socket, or notes that the wait for it is over.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pending.len() >= self.limits.max_head_bytes && self.framing.at_head() {
            return Poll::Pending; // Enough was sent ahead of the reply that is being made.
        }
        self.pending.reserve(READ_BYTES);
        let read = pin!(self.socket.read_buf(&mut self.pending)).poll(cx);
        match read {
            Poll::Ready(Ok(0)) => self.end = Some(End::Closed),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => ready!(self.poll_deadline(cx)),
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the connection has been silent for too long where it should speak; then `end`
    /// is set. While a request is answered the wait begins anew each time it is over.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let started = !self.pending.is_empty();
        if !self.framing.at_head() || (started && self.busy()) {
            return Poll::Pending; // Bodies are watched by who reads them.
        }
        loop {
            let Some((waiting, timeout)) = self.wait(started) else {
                self.end = Some(End::Closed);
                return Poll::Ready(());
            };
            let deadline = match self.waiting {
                Some((known, deadline)) if known == waiting => deadline,
                _ => Instant::now() + timeout,
            };
            self.waiting = Some((waiting, deadline));
            ready!(self.poll_timer(cx, deadline));
            if !self.busy() {
                break;
            }
            self.waiting = None;
        }
        self.end = Some(if started {
            End::Refused(Refusal::SlowHead.into())
        } else {
            End::Closed
        });
        Poll::Ready(())
    }

    /// What is waited for, and for how long at most; `None` to close at once.
    fn wait(&self, started: bool) -> Option<(Waiting, Duration)> {
        let closing = self.signals.closing.load(Ordering::Acquire) && !self.busy();
        match (started, self.passed_any, closing) {
            (true, ..) | (false, false, false) => Some((Waiting::Head, self.limits.header_timeout)),
            (false, false, true) => Some((Waiting::LastCall, LAST_CALL)),
            (false, true, false) => Some((Waiting::Idle, self.limits.idle_timeout)),
            (false, true, true) => None,
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Turns a write that has been stalled for too long into an error.
    fn watch_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let timeout = self.limits.write_timeout;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Read for Gate {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_pass(cx, buf)
    }
}

impl Write for Gate {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = Pin::new(&mut gate.socket).poll_write(cx, buf);
        gate.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = Pin::new(&mut gate.socket).poll_write_vectored(cx, bufs);
        gate.watch_write(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        // TLS takes more than the system does: what is left, 64 KiB at most, goes out here.
        let flushed = Pin::new(&mut gate.socket).poll_flush(cx);
        gate.watch_write(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

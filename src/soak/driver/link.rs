//! One connection: writes a request, reads its answer, never waits.

use crate::client::{Answer, BodyLimits, ClientError, Fault, Socket};
use std::io::{self, ErrorKind};

/// A larger rest of a request is not kept in memory for the next one.
const MAX_IDLE_BYTES: usize = 64 * 1024;

/// One connection, one request at a time.
pub(super) struct Link {
    socket: Socket,
    answer: Answer,
    /// What could not be written yet.
    unsent: Vec<u8>,
    /// The part of an answer's header section that came so far.
    head: Vec<u8>,
    /// Number of the request it is busy with.
    pub(super) busy_with: Option<u64>,
    /// It is watched for room to write.
    pub(super) watches_writing: bool,
    /// Nothing can be written any more; the answer may still come.
    is_deaf: bool,
}

/// How an exchange goes.
#[derive(Debug)]
pub(super) enum Step {
    /// More is to come.
    Going,
    /// The whole answer is there.
    Answered,
    /// The connection was closed; not one byte was written, so the request may go out on another
    /// connection without being a second try.
    NotSent,
    /// There is no whole answer.
    Failed(ClientError),
}

impl Link {
    pub(super) fn new(socket: Socket, answer: Answer) -> Self {
        Self {
            socket,
            answer,
            unsent: Vec::new(),
            head: Vec::new(),
            busy_with: None,
            watches_writing: false,
            is_deaf: false,
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Whether it is to be watched for room to write.
    pub(super) fn is_writing(&self) -> bool {
        !self.is_deaf && (!self.unsent.is_empty() || self.socket.is_writing())
    }

    /// Whether it may be used again after its answer.
    pub(super) fn may_stay(&self) -> bool {
        self.answer.keep_alive() && !self.is_deaf && !self.is_writing() && self.head.is_empty()
    }

    /// Writes `request`, number `number`.
    pub(super) fn begin(&mut self, number: u64, request: &[u8], limits: BodyLimits) -> Step {
        self.busy_with = Some(number);
        self.answer.restart(limits);
        self.socket.begin();
        match self.socket.send(request) {
            Ok(sent) if sent == request.len() => Step::Going,
            Ok(sent) => {
                self.unsent.extend_from_slice(&request[sent..]);
                Step::Going
            }
            Err(_) => self.cannot_write(),
        }
    }

    /// There is room to write.
    pub(super) fn writable(&mut self) -> Step {
        let went = match self.socket.flush() {
            Ok(true) => self.socket.send(&self.unsent),
            Ok(false) => Ok(0),
            Err(error) => Err(error),
        };
        match went {
            Ok(sent) => {
                self.unsent.drain(..sent);
                if self.unsent.is_empty() {
                    self.unsent.shrink_to(MAX_IDLE_BYTES);
                }
                Step::Going
            }
            Err(_) => self.cannot_write(),
        }
    }

    /// There is something to read; `scratch` is room for it.
    pub(super) fn readable(&mut self, scratch: &mut [u8]) -> Step {
        if let Err(error) = self.socket.receive() {
            return cannot_read(error);
        }
        loop {
            match self.socket.take(scratch) {
                Ok(0) => return self.ended(),
                Ok(count) => match self.feed(&scratch[..count]) {
                    Ok(true) => return Step::Answered,
                    Ok(false) if self.socket.is_tls() => {}
                    Ok(false) => return Step::Going,
                    Err(fault) => return self.faulty(fault),
                },
                Err(error) => return cannot_read(error),
            }
        }
    }

    /// Whether an idle connection is of no use any more, now that there is something to read.
    pub(super) fn is_spent(&mut self, scratch: &mut [u8]) -> bool {
        let came = self
            .socket
            .receive()
            .and_then(|()| self.socket.take(scratch));
        !came.is_err_and(|error| would_block(&error))
    }

    fn feed(&mut self, came: &[u8]) -> Result<bool, Fault> {
        if self.head.is_empty() {
            let fed = self.answer.feed(came)?;
            self.head.extend_from_slice(&came[fed.used..]);
            return Ok(fed.is_done);
        }
        self.head.extend_from_slice(came);
        let fed = self.answer.feed(&self.head)?;
        self.head.drain(..fed.used);
        Ok(fed.is_done)
    }

    fn ended(&mut self) -> Step {
        match self.answer.end(&self.head) {
            Ok(true) => Step::Answered,
            Ok(false) => Step::Failed(ClientError::Reset { source: None }),
            Err(fault) => self.faulty(fault),
        }
    }

    fn faulty(&self, fault: Fault) -> Step {
        Step::Failed(ClientError::faulty(fault, self.answer.limits().max_bytes))
    }

    /// A server may answer, and close, before it has read everything: what was read decides.
    fn cannot_write(&mut self) -> Step {
        if !self.socket.wrote() {
            return Step::NotSent;
        }
        self.unsent.clear();
        self.is_deaf = true;
        Step::Going
    }
}

fn cannot_read(error: io::Error) -> Step {
    if would_block(&error) {
        return Step::Going;
    }
    Step::Failed(ClientError::ended(error))
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

//! An open connection that never blocks, for a thread with a loop of its own.

use rustls::ClientConnection;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What bytes travel on.
#[derive(Debug)]
pub(super) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An open connection that never blocks: where it would, it says [`ErrorKind::WouldBlock`].
#[derive(Debug)]
pub struct Socket {
    plain: Plain,
    tls: Option<Box<ClientConnection>>,
    wrote: bool,
}

impl Socket {
    pub(super) fn new(plain: Plain, tls: Option<Box<ClientConnection>>) -> Self {
        Self {
            plain,
            tls,
            wrote: false,
        }
    }

    /// Forgets what was written so far, for [`Socket::wrote`].
    pub fn begin(&mut self) {
        self.wrote = false;
    }

    /// Whether a byte left since [`Socket::begin`].
    #[must_use]
    pub fn wrote(&self) -> bool {
        self.wrote
    }

    /// Takes bytes from the front of `data`: how many. Fewer than all when more would block.
    ///
    /// # Errors
    /// What the system says, except that it would block.
    pub fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            let rest = &data[taken..];
            taken += match &mut self.tls {
                None if rest.is_empty() => 0,
                None => self.write(rest)?,
                Some(session) => session.writer().write(rest)?,
            };
            let went = self.flush()?;
            if taken == data.len() || !went || self.tls.is_none() {
                return Ok(taken);
            }
        }
    }

    /// Writes out what TLS has ready: whether nothing is left to be written.
    ///
    /// # Errors
    /// What the system says, except that it would block.
    pub fn flush(&mut self) -> io::Result<bool> {
        let Some(session) = &mut self.tls else {
            return Ok(true);
        };
        while session.wants_write() {
            match session.write_tls(&mut self.plain) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => self.wrote = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether bytes that were taken wait to be written out.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Asks the system once for what came, where there is TLS to take off. Then [`Socket::take`] has
    /// all of it.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when nothing came; [`ErrorKind::InvalidData`] with a
    /// [`rustls::Error`] when it is no TLS.
    pub fn receive(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.tls else {
            return Ok(());
        };
        session.read_tls(&mut self.plain)?;
        let processed = session.process_new_packets();
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        // What TLS itself has to say may not go out any more: reading tells.
        let _ = self.flush();
        Ok(())
    }

    /// Reads into `buffer`; 0 when the other side said that it is done.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when nothing is there, and what the system says.
    pub fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(session) => session.reader().read(buffer),
            None => self.plain.read(buffer),
        }
    }

    /// Whether TLS is taken off here, so that [`Socket::take`] is to be called until it would block.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.plain.write(data) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                self.wrote = true;
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.plain {
            Plain::Tcp(stream) => stream.as_fd(),
            Plain::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Plain {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(data),
            Self::Unix(stream) => stream.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

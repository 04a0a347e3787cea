//! The stream below the protocol: asking for TLS, and not waiting for ever.
//!
//! The `postgres` crate knows no limit on how long a server may be silent, and a frozen server
//! acknowledges what is sent to it. So over TCP the crate is given a stream of ours, by way of its
//! TLS hook: it is told that TLS is required and starts at once, and what it gets is whatever was
//! negotiated here, plain text included, with a limit on silence. A connection to a unix socket
//! does not pass the hook, hence [`ping`].
//!
//! Silence is counted in ticks while a call waits, not as time since the last byte: between calls
//! nobody polls the stream, and that time is not the server's. A limit is kept within an eighth.

use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_postgres_rustls::MakeRustlsConnect;

/// PostgreSQL's SSLRequest: its length and its code, 80877103.
pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// In how many parts a limit on silence is counted.
const TICKS: u32 = 8;

/// How TLS comes about.
#[derive(Clone)]
pub(super) enum Security {
    /// Not at all.
    Plain,
    /// The server is asked first. With `required`, one that has no TLS is refused.
    Asked {
        tls: MakeRustlsConnect,
        required: bool,
    },
    /// From the first byte.
    Direct(MakeRustlsConnect),
}

/// How long the server may be silent during a call, in milliseconds; zero is for ever. Shared with
/// the stream, and may change.
#[derive(Clone, Debug, Default)]
pub(super) struct Patience(Arc<AtomicU64>);

impl Patience {
    pub(super) fn set(&self, limit: Option<Duration>) {
        let limit_ms = limit.map_or(0, |limit| limit.as_millis().max(1));
        self.0.store(
            u64::try_from(limit_ms).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    fn limit(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            limit_ms => Some(Duration::from_millis(limit_ms)),
        }
    }
}

/// Gives the `postgres` crate a [`Stream`] for its socket.
#[derive(Clone)]
pub(super) struct Transport {
    pub(super) security: Security,
    pub(super) patience: Patience,
}

/// A [`Transport`] that knows the server's name.
pub(super) struct Dialer {
    transport: Transport,
    name: String,
}

impl MakeTlsConnect<Socket> for Transport {
    type Stream = Stream;
    type TlsConnect = Dialer;
    type Error = std::convert::Infallible;

    fn make_tls_connect(&mut self, name: &str) -> Result<Dialer, Self::Error> {
        Ok(Dialer {
            transport: self.clone(),
            name: name.to_owned(),
        })
    }
}

impl TlsConnect<Socket> for Dialer {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(self.negotiate(socket))
    }
}

impl Dialer {
    async fn negotiate(self, socket: Socket) -> io::Result<Stream> {
        let mut socket = Patient {
            inner: socket,
            patience: self.transport.patience,
            ticks: 0,
            timer: None,
        };
        let mut tls = match self.transport.security {
            Security::Plain => return Ok(Stream::Plain(socket)),
            Security::Direct(tls) => tls,
            Security::Asked { tls, required } => match ask(&mut socket).await? {
                true => tls,
                false if required => {
                    return Err(io::Error::other(
                        "the server has no TLS, and sslmode wants it",
                    ));
                }
                false => return Ok(Stream::Plain(socket)),
            },
        };
        let connect = MakeTlsConnect::<Patient>::make_tls_connect(&mut tls, &self.name);
        let stream = match connect {
            Ok(connect) => connect.connect(socket).await?,
            Err(never) => match never {},
        };
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// Whether the server takes TLS. One byte is read and no more: what a man in the middle puts after
/// it is not taken for the server's (CVE-2021-23222).
async fn ask(socket: &mut Patient) -> io::Result<bool> {
    socket.write_all(&SSL_REQUEST).await?;
    socket.flush().await?;
    match socket.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(io::Error::other(
            "the server does not answer as PostgreSQL does",
        )),
    }
}

type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Patient>>::Stream;

/// What the protocol runs on.
pub(super) enum Stream {
    Plain(Patient),
    Tls(Box<Encrypted>),
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Plain(_) => ChannelBinding::none(),
            Self::Tls(stream) => stream.channel_binding(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// A socket that ends with `TimedOut` when nothing moves on it for too long.
pub(super) struct Patient {
    inner: Socket,
    patience: Patience,
    /// Ticks that passed since something moved.
    ticks: u32,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// `result`, unless nothing moves for too long.
    fn watch<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.ticks = 0;
            return result;
        }
        let Some(limit) = self.patience.limit() else {
            return Poll::Pending;
        };
        let tick = limit / TICKS;
        // Said before: the connection is over, and closing it is not to wait again.
        let mut over = self.ticks >= TICKS;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(tick)));
        while !over && timer.as_mut().poll(context).is_ready() {
            timer.as_mut().reset(Instant::now() + tick);
            self.ticks += 1;
            over = self.ticks >= TICKS;
        }
        if over {
            return Poll::Ready(Err(silence(limit)));
        }
        Poll::Pending
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.watch(result, context)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch(result, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

fn silence(limit: Duration) -> io::Error {
    let problem = format!("the server said nothing for {} ms", limit.as_millis());
    io::Error::new(io::ErrorKind::TimedOut, problem)
}

/// Whether a server answers on the unix socket in `folder`, within `limit`. A frozen one accepts a
/// connection and says nothing, for which the `postgres` crate would wait as long as it lasts.
pub(super) fn ping(folder: &Path, port: u16, limit: Duration) -> io::Result<()> {
    let address = SocketAddrUnix::new(folder.join(format!(".s.PGSQL.{port}")))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Where its queue is full this fails at once, which a blocking socket would not.
    connect(&socket, &address)?;
    let mut stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(&SSL_REQUEST)?;
    match stream.read(&mut [0]) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(silence(limit)),
        Err(error) => Err(error),
    }
}

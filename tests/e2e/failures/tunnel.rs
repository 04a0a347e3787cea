//! TLS in front of a server that speaks none, with a certificate that may be changed.

use crate::tls::Pair;
use alfred::tls::Identity;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// Passes bytes on to a server; gone when dropped.
pub(super) struct Tunnel {
    listener: std::net::TcpListener,
    behind: String,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Tunnel {
    /// To the server of a base URL as `http://127.0.0.1:1/v1`.
    pub(super) fn to(url: &str, pair: Pair) -> Self {
        let behind = url.trim_start_matches("http://").trim_end_matches("/v1");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut tunnel = Self {
            listener,
            behind: behind.to_owned(),
            running: None,
        };
        tunnel.show(pair);
        tunnel
    }

    /// The base URL at this end.
    pub(super) fn url(&self) -> String {
        let port = self.listener.local_addr().unwrap().port();
        format!("https://localhost:{port}/v1")
    }

    /// Cuts all connections, and shows this certificate to those who come from now on.
    #[expect(clippy::needless_pass_by_value, reason = "it is shown by nobody else")]
    pub(super) fn show(&mut self, pair: Pair) {
        self.cut();
        let identity = Identity::load(&pair.certificate, &pair.key).unwrap();
        let acceptor = TlsAcceptor::from(identity.config());
        let (listener, behind) = (self.listener.try_clone().unwrap(), self.behind.clone());
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    _ = stopped => {}
                    () = pass(listener, acceptor, Arc::from(behind)) => {}
                }
            });
        });
        self.running = Some((stop, thread));
    }

    fn cut(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn pass(listener: TcpListener, acceptor: TlsAcceptor, behind: Arc<str>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, behind) = (acceptor.clone(), Arc::clone(&behind));
        tokio::spawn(async move {
            // Who does not like the certificate goes away.
            let Ok(mut near) = acceptor.accept(stream).await else {
                return;
            };
            if let Ok(mut far) = TcpStream::connect(&*behind).await {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

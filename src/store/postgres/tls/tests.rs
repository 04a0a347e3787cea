//! Every `sslmode` against a real server behind a TLS front, since not every build of PostgreSQL
//! has TLS.

use crate::clock::SystemClock;
use crate::secret::Secret;
use crate::store::postgres::connect::Connector;
use crate::store::postgres::dsn::{Dsn, SessionTarget};
use crate::store::postgres::testing::Server;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

/// A certificate authority with certificates, made by openssl.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        authority.self_signed("ca", "/CN=authority");
        authority.self_signed("other-ca", "/CN=other authority");
        authority.self_signed("alone", "/CN=alone");
        authority.issue(
            "server",
            "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth",
        );
        authority.issue(
            "named",
            "subjectAltName=DNS:db.example.com\nextendedKeyUsage=serverAuth",
        );
        authority.issue("client", "extendedKeyUsage=clientAuth");
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn self_signed(&self, name: &str, subject: &str) {
        let (key, out) = (format!("{name}.key"), format!("{name}.crt"));
        self.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            subject,
            "-keyout",
            &key,
            "-out",
            &out,
            "-addext",
            "subjectAltName=DNS:localhost",
        ]);
    }

    fn issue(&self, name: &str, extensions: &str) {
        let (key, request, out) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("{name}.crt"),
        );
        let file = format!("{name}.ext");
        std::fs::write(self.path(&file), extensions).unwrap();
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &file,
            "-out",
            &out,
        ]);
    }
}

/// A listener that speaks TLS as PostgreSQL does and hands the plain text on to a real server.
struct Front {
    port: u16,
}

impl Front {
    /// With the certificate `name`; `None` answers that there is no TLS. With `client_ca` clients
    /// need a certificate of it.
    fn new(server: &Server, certificate: Option<(&Authority, &str)>, client_ca: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let backend = server.port();
        let config = certificate.map(|(authority, name)| config(authority, name, client_ca));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let config = config.clone();
                thread::spawn(move || serve(stream, config, backend));
            }
        });
        Self { port }
    }
}

fn config(authority: &Authority, name: &str, client_ca: bool) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if client_ca {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(authority.path("ca.crt")).unwrap())
            .unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let certificate = CertificateDer::from_pem_file(authority.path(&format!("{name}.crt")));
    let key = PrivateKeyDer::from_pem_file(authority.path(&format!("{name}.key")));
    let mut config = builder
        .with_single_cert(vec![certificate.unwrap()], key.unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Arc::new(config)
}

fn serve(mut stream: TcpStream, config: Option<Arc<ServerConfig>>, backend: u16) {
    let mut first = [0; 8];
    if stream.peek(&mut first[..1]).is_err() {
        return;
    }
    // 22 is a TLS handshake: negotiated directly.
    if first[0] != 22 {
        if stream.read_exact(&mut first).is_err() {
            return;
        }
        if first == super::super::transport::SSL_REQUEST {
            let answer: &[u8] = if config.is_some() { b"S" } else { b"N" };
            stream.write_all(answer).unwrap();
        } else {
            return relay_plain(stream, &first, backend);
        }
    }
    let server = TcpStream::connect(("127.0.0.1", backend)).unwrap();
    match config {
        None => relay_plain(stream, &[], backend),
        Some(config) => {
            let session = ServerConnection::new(config).unwrap();
            relay(StreamOwned::new(session, stream), server);
        }
    }
}

fn relay_plain(mut client: TcpStream, first: &[u8], backend: u16) {
    let mut server = TcpStream::connect(("127.0.0.1", backend)).unwrap();
    server.write_all(first).unwrap();
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let _ = std::io::copy(&mut client, &mut server);
}

/// Questions and answers in turn, which is all that one connection of a test does.
fn relay(mut client: impl Read + Write, mut server: TcpStream) {
    server
        .set_read_timeout(Some(std::time::Duration::from_millis(20)))
        .unwrap();
    let mut buffer = vec![0; 65536];
    loop {
        match client.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => server.write_all(&buffer[..length]).unwrap(),
        }
        while let Ok(length) = server.read(&mut buffer) {
            if length == 0 || client.write_all(&buffer[..length]).is_err() {
                return;
            }
            client.flush().unwrap();
        }
    }
}

/// One connection as `dsn` says; what it is refused with.
fn connect(host: &str, port: u16, rest: &str) -> Result<(), String> {
    let text = format!("host={host} port={port} user=alfred dbname=alfred {rest}");
    let dsn = Dsn::parse(&Secret::new(text)).map_err(|error| error.to_string())?;
    let connector = Connector::new(
        Arc::new(dsn),
        SessionTarget::Any,
        None,
        Arc::new(SystemClock),
    );
    let mut client = connector.connect().map_err(|error| error.to_string())?;
    client
        .query_one("SELECT 1", &[])
        .map_err(|error| error.to_string())?;
    Ok(())
}

#[test]
fn every_sslmode_accepts_and_refuses_as_libpq_does() {
    let (server, authority) = (Server::new(), Authority::new());
    let good = Front::new(&server, Some((&authority, "server")), false).port;
    let named = Front::new(&server, Some((&authority, "named")), false).port;
    let alone = Front::new(&server, Some((&authority, "alone")), false).port;
    let plain = Front::new(&server, None, false).port;
    let ca = format!("sslrootcert={}", authority.path("ca.crt").display());
    let other = format!("sslrootcert={}", authority.path("other-ca.crt").display());
    let itself = format!("sslrootcert={}", authority.path("alone.crt").display());
    let absent = "sslrootcert=/nowhere/ca.crt";
    let ok = "";
    // port, mode and root certificates, what the refusal says.
    let cases = [
        (plain, "disable", "", ok),
        (plain, "allow", "", ok),
        (plain, "prefer", "", ok),
        (plain, "require", "", "the server has no TLS"),
        (plain, "verify-ca", &ca, "the server has no TLS"),
        (plain, "verify-full", &ca, "the server has no TLS"),
        (good, "disable", "", ok),
        (good, "allow", "", ok),
        (good, "prefer", "", ok),
        (good, "require", "", ok),
        (good, "require", &ca, ok),
        (good, "require", &other, "UnknownIssuer"),
        (good, "verify-ca", &ca, ok),
        (good, "verify-ca", &other, "UnknownIssuer"),
        (good, "verify-ca", "", "needs sslrootcert"),
        (
            good,
            "verify-ca",
            absent,
            "cannot read sslrootcert /nowhere/ca.crt",
        ),
        (good, "verify-full", &ca, ok),
        (good, "verify-full", &other, "UnknownIssuer"),
        (
            good,
            "verify-full",
            "sslrootcert=system",
            "invalid peer certificate",
        ),
        (good, "verify-full sslnegotiation=direct", &ca, ok),
        (named, "require", &ca, ok),
        (named, "verify-ca", &ca, ok),
        (named, "verify-full", &ca, "not valid for name"),
        (alone, "verify-ca", &itself, ok),
        (alone, "verify-full", &itself, ok),
        (alone, "verify-full", &ca, "invalid peer certificate"),
    ];
    for (port, mode, roots, refusal) in cases {
        let what = format!("port {port} sslmode={mode} {roots}");
        match connect("localhost", port, &format!("sslmode={mode} {roots}")) {
            Ok(()) => assert_eq!(refusal, ok, "{what} is accepted"),
            Err(error) => {
                assert!(refusal != ok && error.contains(refusal), "{what}: {error}");
            }
        }
    }
}

#[test]
fn a_client_shows_its_certificate() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, authority) = (Server::new(), Authority::new());
    let port = Front::new(&server, Some((&authority, "server")), true).port;
    let pair = |name: &str| {
        let path = |end| authority.path(&format!("{name}.{end}"));
        format!(
            "sslmode=require sslcert={} sslkey={}",
            path("crt").display(),
            path("key").display()
        )
    };
    connect("localhost", port, &pair("client")).unwrap();
    let error = connect("localhost", port, &pair("other-ca")).unwrap_err();
    assert!(
        error.contains("alert") || error.contains("connection"),
        "{error}"
    );
    connect("localhost", port, "sslmode=require").expect_err("no certificate");
    let hidden = format!("{} sslcertmode=disable", pair("client"));
    connect("localhost", port, &hidden).expect_err("the certificate is not shown");
    let key: &Path = &authority.path("client.key");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = connect("localhost", port, &pair("client")).unwrap_err();
    assert!(error.contains("may be read by others"), "{error}");
}

/// Where this build of PostgreSQL has TLS, which not every one has.
#[test]
fn a_server_with_tls_of_its_own_binds_the_password_to_the_channel() {
    let mut server = Server::new();
    if server.execute("SHOW ssl_library") == [""] {
        eprintln!("skipped: this build of PostgreSQL has no TLS");
        return;
    }
    let authority = Authority::new();
    for name in ["server.crt", "server.key"] {
        server.put(name, &std::fs::read(authority.path(name)).unwrap());
    }
    server.execute("CREATE ROLE reader LOGIN PASSWORD 'right'");
    server.put(
        "pg_hba.conf",
        b"hostssl all reader all scram-sha-256\nhost all alfred all trust\nlocal all all trust\n",
    );
    server.configure(&["ssl = on"]);
    let ca = format!("sslrootcert={}", authority.path("ca.crt").display());
    let reader = |rest: &str| {
        connect(
            "localhost",
            server.port(),
            &format!("user=reader password=right {rest}"),
        )
    };
    reader(&format!("sslmode=verify-full {ca} channel_binding=require")).unwrap();
    reader("sslmode=require channel_binding=disable").unwrap();
    reader("sslmode=prefer").unwrap();
    // Plain text is refused, so TLS is tried.
    reader("sslmode=allow").unwrap();
    let error = reader("sslmode=disable").unwrap_err();
    assert!(
        error.contains("28000") && !error.contains("right"),
        "{error}"
    );
    // Only plain text is taken here, so that is tried.
    server.put(
        "pg_hba.conf",
        b"hostnossl all all all trust\nlocal all all trust\n",
    );
    server.restart();
    connect("localhost", server.port(), "sslmode=prefer").unwrap();
    connect("localhost", server.port(), "sslmode=require").unwrap_err();
}

//! An S3 for tests, and servers that answer as they are told.

use crate::support::{Done, Home, PATIENCE, eventually, finish, installed_by};
use alfred::client::{Endpoint, Limits, Outgoing, request_blocking};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const KEY: &str = "test-key-id";
pub(super) const SECRET: &str = "a-secret-that-nobody-may-see";

/// A running moto; its log has a line for each request.
pub(super) struct Moto {
    child: Child,
    pub(super) url: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Moto {
    pub(super) fn start(options: &[&str]) -> Self {
        let mut child = Command::new(installed_by("moto"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writer.lock().unwrap().push(line);
            }
        });
        let url = eventually(PATIENCE, || {
            let lines = log.lock().unwrap();
            let line = lines.iter().find(|line| line.contains("Running on http"))?;
            Some(line.split_once("Running on ")?.1.trim().to_owned())
        });
        Self { child, url, log }
    }

    pub(super) fn with_bucket(name: &str) -> Self {
        let moto = Self::start(&[]);
        moto.send("PUT", &format!("/{name}"), b"");
        moto
    }

    pub(super) fn send(&self, method: &str, path: &str, body: &[u8]) {
        let endpoint: Endpoint = self.url.parse().unwrap();
        let mut outgoing = Outgoing {
            method: method.parse().unwrap(),
            body: body.to_vec().into(),
            ..Outgoing::default()
        };
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        for (name, value) in [
            ("authorization", &*signature),
            ("content-type", "application/octet-stream"),
        ] {
            outgoing.headers.insert(name, value.parse().unwrap());
        }
        let limits = Limits {
            timeout: PATIENCE,
            max_response_bytes: 1 << 20,
        };
        let response = request_blocking(&endpoint.at(path), outgoing, limits).unwrap();
        assert!(
            response.status.is_success(),
            "{method} {path}: {response:?}"
        );
    }

    pub(super) fn put(&self, path: &str, body: impl AsRef<[u8]>) {
        self.send("PUT", &format!("/corpus/{path}"), body.as_ref());
    }

    /// Requests since the last call: lists, and bodies that were fetched.
    pub(super) fn requests(&self) -> (usize, Vec<String>) {
        let lines = std::mem::take(&mut *self.log.lock().unwrap());
        let lists = lines.iter().filter(|line| line.contains("list-type=2"));
        let bodies = lines.iter().filter_map(|line| {
            let (_, rest) = line.split_once("GET /corpus/")?;
            Some(rest.split(' ').next()?.to_owned())
        });
        (lists.count(), bodies.collect())
    }

    pub(super) fn fetched(&self) -> Vec<String> {
        let mut bodies = self.requests().1;
        bodies.sort();
        bodies
    }

    pub(super) fn command(&self, home: &Home, arguments: &[&str]) -> Command {
        signed(home, &self.url, arguments)
    }

    pub(super) fn alfred(&self, home: &Home, arguments: &[&str]) -> Done {
        finish(self.command(home, arguments).spawn().unwrap())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `alfred` with an endpoint and credentials.
pub(super) fn signed(home: &Home, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = home.command(arguments);
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_SESSION_TOKEN", SECRET);
    command
}

/// A server that answers each connection with what `reply` makes of the request's first line;
/// nothing is said where it gives `None`.
pub(super) fn server(reply: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let reply = Arc::new(reply);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let reply = Arc::clone(&reply);
            std::thread::spawn(move || answer(stream, &*reply));
        }
    });
    url
}

fn answer(mut stream: TcpStream, reply: &dyn Fn(&str) -> Option<String>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|n| n > 0) {}
    match reply(head.lines().next().unwrap_or_default()) {
        Some(text) => stream.write_all(text.as_bytes()).unwrap_or_default(),
        // Until the client gives up.
        None => drop(reader.read_to_end(&mut Vec::new())),
    }
}

pub(super) fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

pub(super) fn listing(keys: &[&str]) -> String {
    let entry = |key: &&str| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-23T00:00:00.000Z</LastModified>\
             <ETag>&quot;e-{key}&quot;</ETag><Size>20</Size></Contents>"
        )
    };
    let entries: String = keys.iter().map(entry).collect();
    response(
        "200 OK",
        &format!("<ListBucketResult>{entries}</ListBucketResult>"),
    )
}

//! A client that sends exactly what a test says.

use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest that any test waits for bytes.
const PATIENCE: Duration = Duration::from_secs(10);

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
pub(super) struct Connection {
    writer: Stream,
    reader: BufReader<Box<dyn Read + Send>>,
}

/// A whole reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            let start = &self.body[..self.body.len().min(400)];
            let start = String::from_utf8_lossy(start);
            panic!("{error}: {} {:?} {start}", self.status, self.headers)
        })
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Checks that this is a problem with `status`; returns its body.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> Value {
        let body = self.json();
        assert_eq!(self.status, status, "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"], self.header("x-request-id"));
        for field in ["title", "detail", "kind"] {
            assert!(
                body[field].as_str().is_some_and(|text| !text.is_empty()),
                "{field}: {body}"
            );
        }
        if status == 503 {
            assert!(
                self.header("retry-after").parse::<u64>().is_ok(),
                "{self:?}"
            );
        }
        body
    }
}

impl Connection {
    pub(super) fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = stream.try_clone().unwrap();
        Self {
            writer: Stream::Tcp(stream),
            reader: BufReader::new(Box::new(reader)),
        }
    }

    pub(super) fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = stream.try_clone().unwrap();
        Self {
            writer: Stream::Unix(stream),
            reader: BufReader::new(Box::new(reader)),
        }
    }

    /// Sends bytes as they are.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends bytes to a server that may have closed already.
    pub(super) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        match &mut self.writer {
            Stream::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Stream::Unix(stream) => stream.write_all(bytes.as_ref()),
        }
    }

    /// Sends a request without a body and reads the reply.
    pub(super) fn get(&mut self, path: &str) -> Reply {
        self.request("GET", path)
    }

    pub(super) fn request(&mut self, method: &str, path: &str) -> Reply {
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"
        ));
        self.reply_to(method)
    }

    /// Posts JSON and reads the reply.
    pub(super) fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post_as(path, "content-type: application/json\r\n", body)
    }

    /// Posts a body with these header lines and reads the reply.
    pub(super) fn post_as(&mut self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
        self.send(post(path, headers, body.as_ref()));
        self.reply()
    }

    /// Reads a reply to anything but HEAD.
    pub(super) fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    /// Whether a reply has begun to come; does not wait.
    pub(super) fn has_reply(&mut self) -> bool {
        let set = |stream: &Stream, nonblocking| match stream {
            Stream::Tcp(stream) => stream.set_nonblocking(nonblocking),
            Stream::Unix(stream) => stream.set_nonblocking(nonblocking),
        };
        set(&self.writer, true).unwrap();
        let has = self.reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        set(&self.writer, false).unwrap();
        has
    }

    fn reply_to(&mut self, method: &str) -> Reply {
        let mut reply = self.head().expect("a reply, not the end of the stream");
        let length = reply.header("content-length").parse().unwrap_or(0);
        reply.body = vec![0; if method == "HEAD" { 0 } else { length }];
        self.reader.read_exact(&mut reply.body).unwrap();
        reply
    }

    fn head(&mut self) -> Option<Reply> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {line:?}"));
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_owned(), value.to_owned());
        }
        Some(Reply {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// Whether the server closed, in order or not, and sent nothing more.
    #[track_caller]
    pub(super) fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

/// The bytes of a POST.
pub(super) fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

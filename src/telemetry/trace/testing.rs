//! A collector for tests: keeps what comes, and answers as it is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Request line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The status that it got.
    pub(crate) status: u16,
}

/// How it answers.
#[derive(Clone, Debug)]
struct Manner {
    /// 0: not at all.
    status: u16,
    /// Header lines that each end in CRLF.
    headers: String,
    body: Vec<u8>,
}

/// The collector; it lives as long as the process.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    received: Arc<Mutex<Vec<Received>>>,
    manner: Arc<Mutex<Manner>>,
}

impl Collector {
    /// Takes everything.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let manner = Arc::new(Mutex::new(Manner {
            status: 200,
            headers: String::new(),
            body: Vec::new(),
        }));
        let (theirs, how) = (Arc::clone(&received), Arc::clone(&manner));
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                silent.extend(serve(stream, &theirs, &how));
            }
        });
        Self {
            endpoint,
            received,
            manner,
        }
    }

    /// Answers so from now on; with status 0 not at all.
    pub(crate) fn answer(&self, status: u16, headers: &str, body: &[u8]) {
        *self.manner.lock().unwrap() = Manner {
            status,
            headers: headers.to_owned(),
            body: body.to_vec(),
        };
    }

    /// What came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The bodies of what was taken.
    pub(crate) fn taken(&self) -> Vec<Vec<u8>> {
        let received = self.received().into_iter();
        let taken = received.filter(|request| request.status == 200);
        taken.map(|request| request.body).collect()
    }
}

/// Answers one request and closes; returns the connection when there is no answer.
fn serve(
    mut stream: TcpStream,
    received: &Mutex<Vec<Received>>,
    manner: &Mutex<Manner>,
) -> Option<TcpStream> {
    let (head, body) = read(&stream)?;
    let Manner {
        status,
        headers,
        body: reply,
    } = manner.lock().unwrap().clone();
    received
        .lock()
        .unwrap()
        .push(Received { head, body, status });
    if status == 0 {
        return Some(stream);
    }
    let length = reply.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    let _ = stream.write_all(&[head.as_bytes(), &reply].concat());
    None
}

fn read(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        head.push_str(&line);
        head.push('\n');
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

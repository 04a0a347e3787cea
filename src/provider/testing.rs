//! A server for tests: answers each request as a closure says.

use super::{BaseUrl, Provider, ProviderSettings, Stats};
use crate::clock::Clock;
use crate::secret::Secret;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
    pub(crate) body: Value,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// Status, header lines that each end in CRLF, body.
    Reply(u16, String, String),
    /// The head of a longer body, then the end.
    Cut,
    /// Nothing, for this long.
    Hang(Duration),
}

impl Say {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Reply(status, String::new(), body.to_string())
    }

    pub(crate) fn status(status: u16, headers: &str) -> Self {
        let body = r#"{"error": {"message": "asked to fail"}}"#;
        Self::Reply(status, headers.to_owned(), body.to_owned())
    }
}

type Answer = dyn Fn(usize, &Seen) -> Say + Send + Sync;

/// The server; it lives as long as the process.
pub(crate) struct TestProvider {
    pub(crate) base_url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl TestProvider {
    /// Answers the n-th request, from 0, as `answer` says.
    pub(crate) fn start(answer: impl Fn(usize, &Seen) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let answer: Arc<Answer> = Arc::new(answer);
        let requests = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                std::thread::spawn(move || serve(stream, &*answer, &requests));
            }
        });
        Self { base_url, seen }
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// A client of it with the key `sk-secret`.
    pub(crate) fn client(&self, retries: u32, clock: Arc<dyn Clock>) -> Arc<Provider> {
        let settings = ProviderSettings {
            base_url: BaseUrl::parse(&self.base_url).unwrap(),
            api_key: Secret::new("sk-secret"),
            timeout: Duration::from_millis(500),
            retries,
        };
        Arc::new(Provider::new(settings, Arc::new(Stats::default()), clock))
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, requests: &Mutex<Vec<Seen>>) {
    let Some(request) = read(&stream) else { return };
    let number = {
        let mut requests = requests.lock().unwrap();
        requests.push(request.clone());
        requests.len() - 1
    };
    let text = match answer(number, &request) {
        Say::Reply(status, headers, body) => format!(
            "HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        ),
        Say::Cut => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"data\"".to_owned(),
        Say::Hang(wait) => {
            crate::clock::SystemClock.sleep(wait);
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes());
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, None);
    let (mut traceparent, mut tracestate) = (None, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = Some(value.to_owned()),
            "traceparent" => traceparent = Some(value.to_owned()),
            "tracestate" => tracestate = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        path,
        authorization,
        traceparent,
        tracestate,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

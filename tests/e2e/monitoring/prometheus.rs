//! A Prometheus of this test's own, with the shipped configuration.

use super::{shipped, text};
use crate::support::{PATIENCE, eventually};
use alfred::client::{Endpoint, Limits, Outgoing, request_blocking};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Killed when it goes out of scope.
pub(crate) struct Prometheus {
    child: Child,
    endpoint: Endpoint,
    _folder: tempfile::TempDir,
}

/// What the shipped configuration is changed in: each text is there once.
pub(crate) type Changes<'a> = &'a [(&'a str, &'a str)];

/// Serves metrics as an exporter would, made anew for each scrape, until the test ends; the address.
pub(crate) fn exporter(metrics: impl Fn() -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4_096];
            let _ = stream.read(&mut head);
            let text = metrics();
            let length = text.len();
            let reply = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n\
                 content-length: {length}\r\n\r\n{text}"
            );
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    address
}

impl Prometheus {
    pub(crate) fn start(changes: Changes<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = text("prometheus/prometheus.yml");
        for (shipped, ours) in changes {
            assert_eq!(config.matches(shipped).count(), 1, "{shipped}");
            config = config.replace(shipped, ours);
        }
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        for rules in ["recording.yml", "alerts.yml"] {
            let from = shipped(&format!("prometheus/{rules}"));
            std::fs::copy(from, folder.path().join(rules)).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let prometheus = Self {
            child: launch(&file, folder.path(), port),
            endpoint: format!("http://127.0.0.1:{port}").parse().unwrap(),
            _folder: folder,
        };
        eventually(PATIENCE, || prometheus.get("/-/ready").ok());
        prometheus
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        self.endpoint.to_string()
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let limits = Limits {
            timeout: PATIENCE,
            max_response_bytes: 16 << 20,
        };
        let asked = request_blocking(&self.endpoint.at(path), Outgoing::default(), limits);
        let response = asked.map_err(|error| error.to_string())?;
        let body = response.body.to_vec();
        if response.status.is_success() {
            return Ok(body);
        }
        Err(String::from_utf8_lossy(&body).into_owned())
    }

    /// The data of an answer of its API.
    #[track_caller]
    pub(crate) fn api(&self, path: &str) -> Value {
        let body = self
            .get(path)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].take()
    }

    /// The values of an expression now, those that are numbers; panics when it cannot be read.
    #[track_caller]
    pub(crate) fn values(&self, expression: &str) -> Vec<f64> {
        let mut encoded = String::new();
        for byte in expression.bytes() {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        let data = self.api(&format!("/api/v1/query?query={encoded}"));
        let value = |sample: &Value| sample["value"][1].as_str().unwrap().parse::<f64>().ok();
        let samples = data["result"].as_array().unwrap().iter().filter_map(value);
        samples.filter(|value| !value.is_nan()).collect()
    }
}

fn launch(config: &Path, folder: &Path, port: u16) -> Child {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("prometheus is installed (Debian: prometheus)")
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

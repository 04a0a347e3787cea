//! Files made to hurt: bombs, endless lines, names and texts that would be commands elsewhere. What is
//! promised is that they cost a reason each, that memory stays bounded, and that all else goes on.

use crate::support::{Done, Home, PATIENCE, eventually, finish, installed_by, models_dir};
use alfred::clock::{Clock as _, SystemClock};
use alfred::extract::{ExtractError, Extractor, Format};
use flate2::{Compression, write::ZlibEncoder};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Most memory of the program beside workers in these tests: the model takes some 200 MB of it.
const OWN_MB: u64 = 600;
/// What a worker may take: the limit that it sets itself, of which address space is counted.
const WORKER_MB: u64 = 3_072;

/// What a command did, and the most memory that it or a process of its had, in MB.
struct Measured {
    done: Done,
    peak_mb: u64,
    took: Duration,
}

/// Runs `alfred` with its peak memory measured.
fn measured(home: &Home, arguments: &[&str]) -> Measured {
    const WATCH: &str = "import resource,subprocess,sys\n\
        code=subprocess.run(sys.argv[2:]).returncode\n\
        peak=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n\
        open(sys.argv[1],'w').write(str(peak//1024))\n\
        sys.exit(code)";
    let alfred = home.command(arguments);
    let peak = home.path().join("peak");
    let mut command = Command::new("python3");
    command
        .args(["-c", WATCH])
        .arg(&peak)
        .arg(alfred.get_program())
        .args(alfred.get_args())
        .current_dir(home.path())
        .env_remove("POSTGRES_DSN")
        .env_remove("OPENAI_API_KEY")
        .envs(
            alfred
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = SystemClock.monotonic();
    let done = finish(command.spawn().unwrap());
    let peak_mb = std::fs::read_to_string(&peak).unwrap().parse().unwrap();
    let took = started.elapsed();
    Measured {
        done,
        peak_mb,
        took,
    }
}

/// A PDF of these objects, the first of them its catalogue.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"%PDF-1.5\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file.extend(format!("{} 0 obj\n", index + 1).bytes());
        file.extend(object);
        file.extend(b"\nendobj\n");
    }
    let (start, size) = (file.len(), objects.len() + 1);
    file.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").bytes());
    for offset in offsets {
        file.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    let end = format!("trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n");
    file.extend(end.bytes());
    file
}

fn stream(entries: &str, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len();
    let mut object = format!("<< /Length {length} {entries} >>\nstream\n").into_bytes();
    object.extend(bytes);
    object.extend(b"\nendstream");
    object
}

/// One page with this content stream, these resources, and further objects from 5 on.
fn one_page(content: Vec<u8>, resources: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
             /Resources << {resources} >> >>"
        )
        .into_bytes(),
        content,
    ];
    objects.extend_from_slice(more);
    pdf(&objects)
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `megabytes` of `byte`, deflated piece by piece.
fn deflated_run(byte: u8, megabytes: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    for _ in 0..megabytes {
        encoder.write_all(&vec![byte; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

const FONT: &str = "/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>";

/// PDFs that are small and ask for much, by name.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    [packed(), looped(), endless()].concat()
}

/// Few bytes that are many once they are inflated.
fn packed() -> Vec<(&'static str, Vec<u8>)> {
    let flate = "/Filter /FlateDecode";
    let twice = "/Filter [/FlateDecode /FlateDecode]";
    let columns =
        "/Filter /FlateDecode /DecodeParms << /Predictor 12 /Columns 2147483647 /Colors 4 >>";
    let page = |entries: &str, bytes: &[u8]| one_page(stream(entries, bytes), FONT, &[]);
    vec![
        ("flate.pdf", page(flate, &deflated_run(b' ', 256))),
        (
            "flate-twice.pdf",
            page(twice, &deflated(&deflated_run(b' ', 512))),
        ),
        ("predictor.pdf", page(columns, &deflated(b"\x02text"))),
    ]
}

/// Things that hold themselves, or each other.
fn looped() -> Vec<(&'static str, Vec<u8>)> {
    let form = |number: usize| {
        let entries = format!(
            "/Type /XObject /Subtype /Form /BBox [0 0 9 9] \
             /Resources << {FONT} /XObject << /X {} 0 R >> >>",
            number + 1
        );
        stream(&entries, "/X Do ".repeat(10).as_bytes())
    };
    // Each form is drawn ten times by the one before: 10^20 times in all.
    let forms: Vec<Vec<u8>> = (5..25).map(form).collect();
    let own_length = b"<< /Length 4 0 R >>\nstream\nBT ET\nendstream".to_vec();
    vec![
        (
            "forms.pdf",
            one_page(stream("", b"/X Do"), "/XObject << /X 5 0 R >>", &forms),
        ),
        ("length-of-itself.pdf", one_page(own_length, FONT, &[])),
        (
            "pages-of-themselves.pdf",
            pdf(&[
                b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
                b"<< /Type /Pages /Kids [2 0 R 3 0 R 2 0 R] /Count 3 >>".to_vec(),
                b"<< /Type /Pages /Parent 2 0 R /Kids [2 0 R 3 0 R] /Count 9 >>".to_vec(),
            ]),
        ),
    ]
}

/// Counts and numbers without measure.
fn endless() -> Vec<(&'static str, Vec<u8>)> {
    let map = b"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange \
        <00000000> <ffffffff> endcodespacerange 1 beginbfrange <00000000> <ffffffff> <0000> \
        endbfrange endcmap end";
    let cid = "/Font << /F1 << /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H \
        /ToUnicode 5 0 R /DescendantFonts [<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X \
        /W [0 4294967295 500] >>] >> >>";
    let text = || stream("", b"BT /F1 10 Tf 72 700 Td <00410042> Tj ET");
    let kids = "3 0 R ".repeat(100_000);
    let pages = pdf(&[
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [{kids}] /Count 2147483647 >>").into_bytes(),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>".to_vec(),
        text(),
    ]);
    let numbers = b"99999999999999999999999999 Tz 1e308 1e308 1e308 1e308 1e308 1e308 cm \
        BT /F1 1e300 Tf -1e300 1e300 Td [(a) -1e308 (b)] TJ ET "
        .repeat(2_000);
    vec![
        ("map.pdf", one_page(text(), cid, &[stream("", map)])),
        ("pages.pdf", pages),
        ("numbers.pdf", one_page(stream("", &numbers), FONT, &[])),
    ]
}

#[test]
fn bombs_of_pdf_cost_a_reason_each_and_the_rest_is_stored() {
    let home = Home::new();
    let bombs = bombs();
    for (name, bytes) in &bombs {
        assert!(
            bytes.len() < 4 << 20,
            "{name} is no bomb: {} bytes",
            bytes.len()
        );
        home.write(&format!("docs/{name}"), bytes);
    }
    home.write("docs/good.md", "# Tea\n\nTea is served at four.\n");
    let ran = measured(&home, &["ingest", "docs", "--json"]);
    assert!(matches!(ran.done.code, 0 | 1), "{}", ran.done.stderr);
    assert!(ran.peak_mb < WORKER_MB, "{} MB", ran.peak_mb);
    // Each has so much processor time at most as a small document is given.
    assert!(ran.took < Duration::from_secs(30 * bombs.len() as u64));
    let summary = ran.done.json();
    assert_eq!(summary["files"], bombs.len() + 1, "{summary}");
    let asked = home
        .alfred(&["query", "When is tea served?", "--json"])
        .expect(0);
    assert_eq!(asked.json()["citations"][0]["source"], "docs/good.md");
}

/// The inputs that fuzzing keeps, through the process that reads PDFs of unknown make.
#[test]
fn kept_pdfs_are_answered_by_the_worker() {
    let extractor = Extractor::new(env!("CARGO_BIN_EXE_alfred"));
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/pdf");
    let mut read = 0;
    for entry in std::fs::read_dir(kept).unwrap() {
        let path = entry.unwrap().path();
        let answer = extractor.extract(Format::Pdf, &std::fs::read(&path).unwrap());
        if let Err(error @ ExtractError::Worker(_)) = answer {
            panic!("{}: {error}", path.display());
        }
        read += 1;
    }
    assert!(read >= 20, "{read} files were read");
    assert!(extractor.extract(Format::Markdown, b"still here").is_ok());
}

#[test]
fn a_zip_bomb_is_refused_before_it_fills_the_disk() {
    let home = Home::new();
    let about = json!({
        "name": "all-MiniLM-L6-v2", "dimensions": 4, "max_tokens": 16, "pooling": "mean",
        "license": "MIT", "source": "x",
        "files": {
            "model.onnx": {"bytes": 1_000, "sha256": "00", "blake3": "00"},
            "tokenizer.json": {"bytes": 10, "sha256": "00", "blake3": "00"},
        }
    });
    let mut archive =
        zip::ZipWriter::new(std::fs::File::create(home.path().join("bomb.zip")).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file("m/model.json", options).unwrap();
    archive.write_all(about.to_string().as_bytes()).unwrap();
    archive.start_file("m/model.onnx", options).unwrap();
    for _ in 0..512 {
        archive.write_all(&vec![0; 1 << 20]).unwrap();
    }
    archive.start_file("m/tokenizer.json", options).unwrap();
    archive.finish().unwrap();
    let bytes = std::fs::metadata(home.path().join("bomb.zip"))
        .unwrap()
        .len();
    assert!(bytes < 2 << 20, "it is no bomb: {bytes} bytes");
    let models = home.path().join("models");
    let pull = [
        "model",
        "pull",
        "--from",
        "bomb.zip",
        "--dir",
        models.to_str().unwrap(),
    ];
    let ran = measured(&home, &pull);
    let said = ran.done.expect(1).stderr;
    assert!(
        said.contains("model.onnx is over the limit of 1000 bytes"),
        "{said}"
    );
    assert!(ran.peak_mb < 200, "{} MB", ran.peak_mb);
    let left: Vec<_> = walkdir::WalkDir::new(&models)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// 18 bytes that say they hold 2^48: what reads graphs would ask for as much memory, and the process would end.
#[test]
fn a_graph_that_states_more_than_it_holds_is_refused() {
    let home = Home::new();
    let mut graph = vec![0x08, 8, 0x42, 2, 0x10, 17];
    graph.extend([0x3a, 10, 0x2a, 8, 0x4a]);
    graph.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]);
    home.write("hub/onnx/model.onnx", &graph);
    let tokenizer = models_dir().join("all-MiniLM-L6-v2/tokenizer.json");
    home.write("hub/tokenizer.json", std::fs::read(tokenizer).unwrap());
    let models = home.path().join("models");
    let pull = [
        "model",
        "pull",
        "--from",
        "hub",
        "--dir",
        models.to_str().unwrap(),
    ];
    let ran = measured(&home, &pull);
    let said = ran.done.expect(1).stderr;
    let expected = "model.onnx: it is damaged or no ONNX file: a field states 281474976710655 bytes, 0 are left";
    assert!(said.contains(expected), "{said}");
    assert!(ran.peak_mb < 200, "{} MB", ran.peak_mb);
    assert!(!models.join("all-MiniLM-L6-v2").exists());
}

/// A file of `bytes` bytes in one line, which takes no room on disk.
fn sparse(home: &Home, name: &str, bytes: u64) {
    let path = home.write(name, "");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

#[test]
fn lines_of_a_gigabyte_are_refused_without_being_read() {
    let home = Home::new();
    for name in ["a.md", "b.txt", "c.html", "d.pdf"] {
        sparse(&home, &format!("docs/{name}"), 1 << 30);
    }
    home.write("docs/good.md", "# Tea\n\nTea is served at four.\n");
    // Under the limit, and one word.
    home.write("docs/long.txt", "x".repeat(2 << 20));
    let ran = measured(&home, &["ingest", "docs", "--dry-run", "--json"]);
    let summary = ran.done.expect(1);
    for name in ["a.md", "b.txt", "c.html", "d.pdf"] {
        let line = summary.stderr.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {}", summary.stderr));
        assert!(line.contains("bytes"), "{line}");
    }
    assert!(ran.peak_mb < OWN_MB, "{} MB", ran.peak_mb);

    sparse(&home, "queries.txt", 1 << 30);
    let soak = [
        "soak",
        "--target",
        "http://127.0.0.1:9",
        "--queries",
        "queries.txt",
        "--qps",
        "1",
        "--duration",
        "1s",
    ];
    let ran = measured(&home, &soak);
    assert!(matches!(ran.done.code, 2 | 78 | 1), "{}", ran.done.code);
    assert!(ran.peak_mb < OWN_MB, "{} MB", ran.peak_mb);
}

#[test]
fn a_run_with_lines_of_a_gigabyte_or_a_bomb_in_it_is_damaged_and_no_more() {
    let run = |name: &str| {
        let home = Home::new();
        let folder = home.path().join("run");
        crate::synthetic_run::Synthetic::quiet(3).write(&folder);
        home.alfred(&["report", "run"]).expect(0);
        let file = std::fs::File::options()
            .append(true)
            .open(folder.join(name))
            .unwrap();
        (home, file)
    };
    for name in ["windows.jsonl", "events.jsonl", "run.json", "verdict.json"] {
        let (home, file) = run(name);
        file.set_len(1 << 30).unwrap();
        let ran = measured(&home, &["report", "run"]);
        let said = ran.done.expect(1).stderr;
        assert!(said.contains(name) && said.contains("damaged"), "{said}");
        assert!(ran.peak_mb < 200, "{name}: {} MB", ran.peak_mb);
    }
    // A histogram of 60 bytes that says it has 4 GB.
    let mut header = Vec::new();
    header.extend(0x1c84_9313_u32.to_be_bytes());
    header.extend(u32::MAX.to_be_bytes());
    header.extend([0, 0, 0, 0, 0, 0, 0, 3]);
    header.extend(1_u64.to_be_bytes());
    header.extend(3_600_000_000_u64.to_be_bytes());
    header.extend(1.0_f64.to_be_bytes());
    let body = deflated(&header);
    let mut bomb = 0x1c84_9314_u32.to_be_bytes().to_vec();
    bomb.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    bomb.extend(body);
    let line = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bomb)
    };
    let (home, _) = run("latency.hlog");
    let path = home.path().join("run/latency.hlog");
    let log = std::fs::read_to_string(&path).unwrap();
    let first = log.lines().find(|line| line.starts_with("Tag=")).unwrap();
    let (head, _) = first.rsplit_once(',').unwrap();
    std::fs::write(&path, log.replace(first, &format!("{head},{line}"))).unwrap();
    let ran = measured(&home, &["report", "run"]);
    let said = ran.done.expect(1).stderr;
    assert!(said.contains("a histogram is cut short"), "{said}");
    assert!(ran.peak_mb < 200, "{} MB", ran.peak_mb);
}

#[test]
fn names_with_line_breaks_and_escapes_stay_on_their_line() {
    let home = Home::new();
    home.write("docs/good.md", "Tea is served at four.\n");
    for name in [
        &b"a\nwarning: all is well.md"[..],
        b"b\x1b[2J\x1b]0;title\x07.md",
        b"c\rerror: gone.md",
        "d\u{9b}31m\u{202e}dm.md".as_bytes(),
        b"e\xff.md",
    ] {
        let path = home
            .path()
            .join("docs")
            .join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(path, "text").unwrap();
    }
    let ran = home.alfred(&["ingest", "docs"]).expect(1);
    for text in [&ran.stdout, &ran.stderr] {
        let odd = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "{text:?}");
        assert!(!text.contains('\u{202e}'), "{text:?}");
    }
    let forged =
        |line: &str| line.starts_with("warning: all is well") || line.starts_with("error: gone");
    assert!(!ran.stderr.lines().any(forged), "{}", ran.stderr);
    assert_eq!(
        ran.stderr.matches("control characters").count(),
        4,
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stderr.matches("not UTF-8").count(), 1, "{}", ran.stderr);
}

/// A line break, a colour, and a line of a log, inside of a JSON string.
const FORGED: &str =
    "\\n\\u001b[31mERROR forged\\u0007\\r\\n{\\\"level\\\":\\\"error\\\",\\\"forged\\\":1}";

/// A provider that refuses everything with [`FORGED`]; its base URL.
fn forging_provider() -> String {
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", provider.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in provider.incoming().take(50) {
            let mut stream = stream.unwrap();
            let body = format!("{{\"error\": {{\"message\": \"{FORGED}\"}}}}");
            let _ = stream.read(&mut vec![0; 65_536]);
            let _ = write!(
                stream,
                "HTTP/1.1 400 Bad\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    url
}

/// The whole reply to a question that holds [`FORGED`], with this header line beside it.
fn forging_question(port: u16, header: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = format!("{{\"query\": \"forged {FORGED}\"}}");
    write!(
        stream,
        "POST /v1/query HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    reply
}

/// The log of a daemon that was asked such questions.
fn forged_log(url: &str, format: &str) -> String {
    let home = Home::new();
    let log = home.path().join("log");
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command
        .env("ALFRED__EMBEDDING__KIND", "openai")
        .env("OPENAI_BASE_URL", url)
        .env("OPENAI_API_KEY", "sk-test")
        .env("ALFRED__EMBEDDING__DIMENSIONS", "8")
        .env("ALFRED__LOG__FORMAT", format)
        .env("ALFRED__LOG__SLOW_MS", "1")
        .stderr(std::fs::File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    let text = || std::fs::read_to_string(&log).unwrap();
    let port = eventually(PATIENCE, || {
        let text = text();
        let (_, rest) = text.split_once("http://127.0.0.1:")?;
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..end].parse::<u16>().ok()
    });
    for header in [
        "",
        "user-agent: a\u{1b}[31m\r\n",
        "x-request-id: forged\u{1b}[31m\r\n",
        "x-request-id: {\"forged\":1}\r\n",
    ] {
        let reply = forging_question(port, header);
        // A control character in a header is refused at once, the others by the provider.
        let status = if header.contains('\u{1b}') {
            "400"
        } else {
            "503"
        };
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
        assert!(!reply.contains('\u{1b}'), "{reply:?}");
    }
    let forged = eventually(PATIENCE, || text().contains("forged").then(text));
    child.kill().unwrap();
    child.wait().unwrap();
    forged
}

/// What a client or a provider says cannot begin a line of the log, nor colour one.
#[test]
fn nothing_forges_a_line_of_the_log() {
    let url = forging_provider();
    for format in ["text", "json"] {
        let forged = forged_log(&url, format);
        let odd = forged.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "{format}: {forged:?}");
        for line in forged.lines() {
            assert!(!line.starts_with("ERROR forged"), "{line}");
            if format == "json" {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(line.get("forged").is_none(), "{line}");
            } else {
                assert!(line.starts_with(|c: char| c.is_ascii_digit()), "{line:?}");
            }
        }
    }
}

/// The daemon against its own OpenAPI document: no 5xx, every reply as documented, nothing without its key.
fn conforms(examples: u32) {
    let home = Home::new();
    home.write("docs/tea.md", "# Tea\n\nTea is served at four.\n");
    home.alfred(&["ingest", "docs"]).expect(0);
    let made = home
        .alfred(&["key", "new", "tester", "--role", "admin"])
        .expect(0);
    let key = made.stdout.trim();
    let daemon = home.serve(&[]);
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/schemathesis.toml");
    let mut command = Command::new(installed_by("schemathesis"));
    command
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(daemon.endpoint.at("/openapi.json").to_string())
        // As the document spells it: else it is one more header to leave out.
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .args(["--seed", "7", "--generation-deterministic", "--no-color"])
        .args(["--max-examples", &examples.to_string()])
        // From this machine these need no key, and take as long as they are told to: see profile.rs.
        .args(["--exclude-path-regex", "^/debug/"])
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let done = finish(command.spawn().unwrap());
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("generated"), "{}", done.stdout);
    assert_eq!(daemon.request("GET", "/healthz", None).0, 200);
}

#[test]
fn the_daemon_keeps_to_its_openapi_document() {
    conforms(5);
}

#[test]
fn long_the_daemon_keeps_to_its_openapi_document() {
    conforms(300);
}

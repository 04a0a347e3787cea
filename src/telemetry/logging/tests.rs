//! What is promised of logging, without a journal; `tests/e2e/journal.rs` has a real socket.

use super::line::{CUT, FIELD_BYTES, LINE_BYTES, Line};
use super::queue::{Outlet, QUEUE_BYTES, QUEUE_LINES, Queue};
use super::stderr::Stderr;
use super::{Format, assemble, is_journal, set_level};
use crate::clock::{Clock as _, SystemClock};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tracing::{debug, info, warn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

const SOON: Duration = Duration::from_secs(20);

/// Keeps what it takes, as JSON lines.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn writer(&self) -> BoxMakeWriter {
        let kept = self.clone();
        BoxMakeWriter::new(move || kept.clone())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn json(&self) -> Vec<serde_json::Value> {
        let text = self.text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// What `log` logs, written by `outlet` behind a queue.
fn logged(outlet: impl Outlet, log: impl FnOnce()) -> u64 {
    let queue = Queue::start(outlet, |_| ()).unwrap();
    let subscriber = tracing_subscriber::registry().with(queue.clone());
    tracing::subscriber::with_default(subscriber, log);
    assert!(queue.flush(SOON));
    queue.dropped()
}

fn as_json(log: impl FnOnce()) -> Vec<serde_json::Value> {
    let kept = Kept::default();
    assert_eq!(logged(Stderr::new(true, kept.writer()), log), 0);
    kept.json()
}

#[test]
fn a_line_keeps_the_types_of_its_fields() {
    let before = SystemClock.wall();
    let lines = as_json(|| {
        info!(
            message_id = "abc",
            count = 3_u64,
            less = -1_i64,
            share = 0.5,
            yes = true,
            shown = %"plain",
            debug = ?Some("x"),
            absent = tracing::field::Empty,
            "hello {}",
            1
        );
        warn!("bare");
    });
    let line = &lines[0];
    assert_eq!(line["message"], "hello 1");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["message_id"], "abc");
    assert_eq!((&line["count"], &line["less"]), (&3.into(), &(-1).into()));
    assert_eq!((&line["share"], &line["yes"]), (&0.5.into(), &true.into()));
    assert_eq!(
        (&line["shown"], &line["debug"]),
        (&"plain".into(), &"Some(\"x\")".into())
    );
    assert_eq!(line.get("absent"), None);
    let format = &time::format_description::well_known::Rfc3339;
    let at = line["timestamp"].as_str().unwrap();
    let at = time::OffsetDateTime::parse(at, format).unwrap();
    let early = time::OffsetDateTime::from(before) - Duration::from_millis(1);
    assert!(at >= early && at <= time::OffsetDateTime::from(SystemClock.wall()));
    assert_eq!(lines[1]["message"], "bare");
}

#[test]
fn text_for_people_has_no_message_ids() {
    let kept = Kept::default();
    logged(Stderr::new(false, kept.writer()), || {
        info!(message_id = "abc", reason = "r", "words");
    });
    let text = kept.text();
    assert!(text.contains("words") && text.contains("reason"), "{text}");
    assert!(
        !text.contains("message_id") && !text.contains("abc"),
        "{text}"
    );
}

#[test]
fn long_fields_are_cut_between_characters() {
    // "ä" has two bytes; the odd one in front puts the limit into the middle of one.
    let long = format!("x{}", "ä".repeat(FIELD_BYTES));
    let lines = as_json(|| {
        info!(a = long, b = %long, c = ?long, d = "short", "{long}");
    });
    let texts: Vec<&str> = ["message", "a", "b", "c", "d"]
        .iter()
        .map(|name| lines[0][name].as_str().unwrap())
        .collect();
    let whole: usize = texts.iter().map(|text| text.len()).sum();
    assert!(whole <= LINE_BYTES + texts.len() * CUT.len(), "{whole}");
    let cut: Vec<&&str> = texts.iter().filter(|text| text.len() > 100).collect();
    assert!(!cut.is_empty());
    for text in cut {
        let kept = text.strip_suffix(CUT).unwrap();
        assert!(kept.len() <= FIELD_BYTES && kept.len() >= FIELD_BYTES / 2);
        assert!(
            kept.trim_start_matches(['"', 'x'])
                .chars()
                .all(|c| c == 'ä')
        );
    }
}

/// Takes a line only when it is let.
struct Gate {
    begun: mpsc::Sender<()>,
    open: mpsc::Receiver<()>,
}

impl Outlet for Gate {
    fn take(&mut self, _: &Line) {
        let _ = self.begun.send(());
        // An error: open for good.
        let _ = self.open.recv();
    }
}

#[test]
fn a_reader_that_stands_still_costs_lines_and_no_time() {
    let ((begun, has_begun), (release, open)) = (mpsc::channel(), mpsc::channel::<()>());
    let (said, heard) = mpsc::channel();
    let report = move |lines| said.send(lines).unwrap();
    let queue = Queue::start(Gate { begun, open }, report).unwrap();
    let subscriber = tracing_subscriber::registry().with(queue.clone());
    let extra = 1_000;
    let mut slow = 0;
    tracing::subscriber::with_default(subscriber, || {
        info!("the one that blocks");
        has_begun.recv_timeout(SOON).unwrap();
        for number in 0..QUEUE_LINES + extra {
            let before = SystemClock.monotonic();
            info!(number, "a line");
            slow += usize::from(SystemClock.monotonic() - before > Duration::from_millis(10));
        }
    });
    assert_eq!(queue.dropped(), extra as u64);
    // None waits for the gate, or this line is never reached. A machine that runs every test at
    // once takes a thread away now and then.
    assert!(slow * 200 < QUEUE_LINES + extra, "{slow} took over 10 ms");
    assert!(!queue.flush(Duration::from_millis(20)), "nothing moves");
    drop(release);
    assert_eq!(heard.recv_timeout(SOON).unwrap(), extra as u64);
    assert!(queue.flush(SOON));
    assert!(heard.try_recv().is_err(), "said once");
}

#[test]
fn the_queue_is_bounded_in_bytes() {
    let ((begun, has_begun), (release, open)) = (mpsc::channel(), mpsc::channel::<()>());
    let queue = Queue::start(Gate { begun, open }, |_| ()).unwrap();
    let subscriber = tracing_subscriber::registry().with(queue.clone());
    let long = "x".repeat(FIELD_BYTES);
    let lines = 2 * QUEUE_BYTES / FIELD_BYTES;
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..lines {
            info!(long);
        }
    });
    has_begun.recv_timeout(SOON).unwrap();
    let dropped = usize::try_from(queue.dropped()).unwrap();
    assert!(
        dropped >= lines / 2 && dropped < lines,
        "{dropped} of {lines}"
    );
    drop(release);
    assert!(queue.flush(SOON));
}

/// Lines may come from several threads, and a panic of one must not stop the others.
#[test]
fn every_line_is_taken_once() {
    struct Count(Arc<AtomicU64>);
    impl Outlet for Count {
        fn take(&mut self, _: &Line) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = Arc::new(AtomicU64::new(0));
    let queue = Queue::start(Count(Arc::clone(&count)), |_| ()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let subscriber = tracing_subscriber::registry().with(queue.clone());
            scope.spawn(|| {
                tracing::subscriber::with_default(subscriber, || {
                    (0..500).for_each(|number| info!(number, "a line"));
                });
            });
        }
    });
    assert!(queue.flush(SOON));
    assert_eq!(count.load(Ordering::Relaxed) + queue.dropped(), 2_000);
}

#[test]
fn the_journal_is_where_stderr_goes_and_not_what_was_inherited() {
    assert!(is_journal(Some("8:1234"), Some((8, 1234))));
    assert!(!is_journal(Some("8:1234"), Some((8, 1235))));
    assert!(!is_journal(Some("8:1234"), None));
    assert!(!is_journal(None, Some((8, 1234))));
    assert!(!is_journal(None, None));
    for wrong in ["", "8", "8:", ":1", "8:x", "8:1234:"] {
        assert!(!is_journal(Some(wrong), Some((8, 1234))), "{wrong}");
        assert!(!is_journal(Some(wrong), None), "{wrong}");
    }
    assert_eq!(Format::of_setting("journal"), Format::Journal);
}

#[test]
fn the_level_changes_while_it_runs() {
    let kept = Kept::default();
    let queue = Queue::start(Stderr::new(true, kept.writer()), |_| ()).unwrap();
    let (subscriber, started) = assemble("info", queue.clone());
    tracing::subscriber::with_default(subscriber, || {
        for (level, word) in [("debug", "one"), ("warn", "two"), ("info", "three")] {
            debug!("{word} debug before {level}");
            started.set_level(level).unwrap();
            debug!("{word} debug");
            info!("{word} info");
            warn!("{word} warn");
            debug!(target: "a_library", "{word} of a library");
        }
    });
    assert!(queue.flush(SOON));
    let lines = kept.json();
    let said: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["message"].as_str())
        .collect();
    let expected = [
        "one debug",
        "one info",
        "one warn",
        "two debug before warn",
        "two warn",
        "three info",
        "three warn",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_level_that_is_none_is_refused() {
    for wrong in ["", "loud", "INFO", "off", "info,hyper=trace"] {
        assert!(set_level(wrong).is_err(), "{wrong}");
    }
}

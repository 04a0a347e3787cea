//! Whole screens, and that each fits.

use super::super::glyphs::{ASCII, BLOCKS};
use super::*;

fn percentiles(base_us: u64) -> Percentiles<u64> {
    Percentiles {
        p50: Some(base_us),
        p90: Some(base_us * 2),
        p95: Some(base_us * 3),
        p99: Some(base_us * 4),
        p99_9: Some(base_us * 5),
        max: Some(base_us * 6),
    }
}

fn row(name: &str, ok: u64, error: u64, base_us: u64) -> Row {
    Row {
        name: name.to_owned(),
        counts: Counts {
            due: ok + error,
            ok,
            error,
            ..Counts::default()
        },
        latency: percentiles(base_us),
    }
}

fn course(windows: u64) -> Course {
    let mut course = Course {
        name: "smoke".to_owned(),
        target: "http://127.0.0.1:8080/v1/query".to_owned(),
        load: "10/s".to_owned(),
        folder: "/var/lib/alfred/soak/20261123T134501Z-smoke-1f0c2d3e".to_owned(),
        unit: Some("alfred.service: 120.3 MiB, 0.35 cores, 45 descriptors".to_owned()),
        ..Course::default()
    };
    for window in 0..windows {
        let name = clock(float_s(window * 10));
        course.window(row(&name, 100, window % 2, 1_000 + window * 100));
    }
    course
}

fn float_s(seconds: u64) -> f64 {
    Duration::from_secs(seconds).as_secs_f64()
}

fn standing(text: &str, value: &str, holds: Option<bool>) -> Standing {
    Standing {
        text: text.to_owned(),
        value: value.to_owned(),
        holds,
    }
}

fn now() -> Now {
    Now {
        phase: Phase::Measuring,
        warmup: (Duration::ZERO, Duration::ZERO),
        measured: Duration::from_secs(45),
        planned: Duration::from_mins(1),
        left: Duration::from_secs(15),
        ends: "14:05:10".to_owned(),
        window: (5, 6),
        in_flight: 2,
        oldest: Some(Duration::from_millis(2_300)),
        open: row("now", 49, 1, 1_100),
        total: row("so far", 449, 3, 1_200),
        errors: BTreeMap::from([("timeout".to_owned(), 2), ("connect".to_owned(), 1)]),
        standings: vec![
            standing("p95<300ms", "3.60 ms, 99 % below", Some(true)),
            standing("error_rate<0.5%", "0.66 %, 33 % above", Some(false)),
            standing("p95<500ms in every 5m", "judged at the end", None),
        ],
        late: None,
    }
}

fn plain(glyphs: Glyphs) -> Look {
    Look {
        palette: Palette::new(false),
        glyphs,
    }
}

const TERMINAL: Size = Size {
    rows: 24,
    columns: 80,
};

#[test]
fn everything_is_there_on_an_ordinary_terminal() {
    let drawn = lines(&course(4), &now(), &plain(BLOCKS), TERMINAL).join("\n");
    let expected = "\
smoke  http://127.0.0.1:8080/v1/query  10/s
/var/lib/alfred/soak/20261123T134501Z-smoke-1f0c2d3e
████████████████████████░░░░░░░░   75 %  0:45 of 1:00  0:15 left, ends 14:05:10
window 5 of 6  in flight 2, the oldest for 2.3 s

               due       ok  errors    shed      p50      p95      p99      max
     0:00      100      100       0       0  1.00 ms  3.00 ms  4.00 ms  6.00 ms
     0:10      101      100       1       0  1.10 ms  3.30 ms  4.40 ms  6.60 ms
     0:20      100      100       0       0  1.20 ms  3.60 ms  4.80 ms  7.20 ms
     0:30      101      100       1       0  1.30 ms  3.90 ms  5.20 ms  7.80 ms
      now       50       49       1       0  1.10 ms  3.30 ms  4.40 ms  6.60 ms
   so far      452      449       3       0  1.20 ms  3.60 ms  4.80 ms  7.20 ms

p95     ▆▇▇█  3.00 ms to 3.90 ms
errors  connect 1, timeout 2
unit    alfred.service: 120.3 MiB, 0.35 cores, 45 descriptors

✓ p95<300ms              3.60 ms, 99 % below
✗ error_rate<0.5%        0.66 %, 33 % above
· p95<500ms in every 5m  judged at the end";
    assert_eq!(drawn, expected);
}

#[test]
fn every_size_is_kept_to() {
    for windows in [0, 3, 500] {
        for columns in [1, 12, 30, 40, 60, 80, 200] {
            for rows in [1, 2, 5, 10, 24, 60] {
                let size = Size { rows, columns };
                let drawn = lines(&course(windows), &now(), &plain(BLOCKS), size);
                assert!(drawn.len() < rows.max(2), "{size:?}: {drawn:#?}");
                for line in &drawn {
                    let width = console::measure_text_width(line);
                    assert!(width < columns.max(2), "{size:?}: {line:?}");
                }
            }
        }
    }
}

#[test]
fn a_low_terminal_shows_what_matters_most() {
    let size = Size {
        rows: 7,
        columns: 40,
    };
    let drawn = lines(&course(50), &now(), &plain(ASCII), size).join("\n");
    // The bar, what is so far and what fails are there; the rest gives way.
    assert!(drawn.contains("75 %"), "{drawn}");
    assert!(drawn.contains("so far"), "{drawn}");
    assert!(drawn.contains("X error_rate<0.5%"), "{drawn}");
    assert!(!drawn.contains("/var/lib"), "{drawn}");
    assert!(drawn.is_ascii(), "{drawn}");
}

#[test]
fn phases_say_what_goes_on() {
    let mut now = now();
    let drawn =
        |now: &Now, course: &Course| lines(course, now, &plain(BLOCKS), TERMINAL).join("\n");
    now.phase = Phase::WarmingUp;
    now.warmup = (Duration::from_secs(3), Duration::from_secs(5));
    now.measured = Duration::ZERO;
    let warming = drawn(&now, &course(0));
    assert!(warming.contains("warming up, not counted: 0:03 of 0:05"));
    assert!(warming.contains("  0 %  0:00 of 1:00"), "{warming}");
    now.phase = Phase::Draining;
    let draining = drawn(&now, &course(6));
    assert!(
        draining.contains("all requests are sent  in flight 2, the oldest for 2.3 s"),
        "{draining}"
    );
    assert!(!draining.contains("ends "), "{draining}");
    let mut stopped = course(2);
    stopped.interrupted = Some("interrupted: ending with this window".to_owned());
    now.phase = Phase::Measuring;
    assert!(drawn(&now, &stopped).contains("\ninterrupted: ending"));
}

#[test]
fn what_is_kept_is_bounded() {
    let course = course(30_000);
    assert_eq!(course.rows.len(), ROWS);
    assert_eq!(course.p95s.len(), SPARK_WINDOWS);
}

#[test]
fn colour_adds_nothing_that_words_do_not_say() {
    let colourful = Look {
        palette: Palette::new(true),
        glyphs: BLOCKS,
    };
    let coloured = lines(&course(4), &now(), &colourful, TERMINAL).join("\n");
    let plain = lines(&course(4), &now(), &plain(BLOCKS), TERMINAL).join("\n");
    assert!(coloured.contains("\u{1b}[31m"));
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}

use super::*;

/// A scrape of `instance`: queries up to 5 ms, all queries, those with status 500, and the start.
type Shot<'a> = (&'a str, f64, [f64; 4]);

fn series(shots: &[Shot<'_>]) -> Vec<Series> {
    let names = [
        (BUCKETS, "le", "5.0"),
        (BUCKETS, "le", "+Inf"),
        (REQUESTS, "status", "500"),
        (STARTED, "", ""),
    ];
    let mut all = Vec::new();
    for (instance, at_s, values) in shots {
        for ((name, label, value), count) in names.iter().zip(values) {
            let mut labels = BTreeMap::from([
                ("__name__".to_owned(), (*name).to_owned()),
                ("instance".to_owned(), (*instance).to_owned()),
            ]);
            if !label.is_empty() {
                labels.insert((*label).to_owned(), (*value).to_owned());
            }
            all.push(Series {
                labels,
                samples: vec![(*at_s, *count)],
            });
        }
    }
    all
}

/// A run from 100 s to 160 s.
fn counted(pieces: &[&[Shot<'_>]]) -> Option<Counted> {
    let mut increase = Increase::new(Span {
        from_s: 100.0,
        done_s: 160.0,
    });
    for shots in pieces {
        increase.add(series(shots));
    }
    increase.counted()
}

#[test]
fn what_counts_is_between_the_last_scrape_before_and_the_first_after() {
    let shots = [
        ("a", 80.0, [1.0, 2.0, 0.0, 7.0]),
        ("a", 95.0, [10.0, 12.0, 1.0, 7.0]),
        ("a", 110.0, [50.0, 60.0, 1.0, 7.0]),
        ("a", 155.0, [90.0, 110.0, 3.0, 7.0]),
        ("a", 165.0, [100.0, 122.0, 4.0, 7.0]),
        ("a", 180.0, [900.0, 999.0, 9.0, 7.0]),
    ];
    // However the samples are cut, and whatever comes twice.
    for pieces in [
        vec![&shots[..]],
        vec![&shots[..3], &shots[1..5], &shots[4..]],
    ] {
        let counted = counted(&pieces).unwrap();
        assert_eq!(counted.buckets, [(5.0, 90.0), (f64::INFINITY, 20.0)]);
        assert_eq!((counted.requests, counted.server_errors), (110.0, 3.0));
        assert_eq!((counted.from_s, counted.until_s), (95.0, 165.0));
        assert_eq!((counted.restarts, counted.processes), (0, 1));
        assert!(counted.lost_s.abs() < 1e-9);
        assert_eq!(counted.interval_s, Some(15.0));
    }
}

#[test]
fn a_restart_is_followed_whether_or_not_every_counter_falls() {
    let told = counted(&[&[
        ("a", 95.0, [10.0, 10.0, 0.0, 7.0]),
        ("a", 110.0, [30.0, 40.0, 0.0, 7.0]),
        // The first bucket is higher than before, the sum lower.
        ("a", 125.0, [35.0, 35.0, 1.0, 120.0]),
        ("a", 165.0, [45.0, 50.0, 1.0, 120.0]),
    ]])
    .unwrap();
    assert_eq!(told.buckets, [(5.0, 65.0), (f64::INFINITY, 15.0)]);
    assert_eq!((told.requests, told.server_errors), (80.0, 1.0));
    assert_eq!(told.restarts, 1);
    assert!((told.lost_s - 15.0).abs() < 1e-9, "{}", told.lost_s);
    // No counter falls at all: the process says that it is another.
    let silent = counted(&[&[
        ("a", 95.0, [10.0, 10.0, 0.0, 7.0]),
        ("a", 165.0, [20.0, 20.0, 0.0, 120.0]),
    ]])
    .unwrap();
    assert_eq!((silent.requests, silent.restarts), (20.0, 1));
}

#[test]
fn processes_come_and_go() {
    let told = counted(&[&[
        ("old", 95.0, [10.0, 10.0, 0.0, 7.0]),
        ("old", 110.0, [30.0, 30.0, 0.0, 7.0]),
        ("new", 130.0, [4.0, 5.0, 0.0, 120.0]),
        ("new", 160.0, [14.0, 15.0, 0.0, 120.0]),
    ]])
    .unwrap();
    assert_eq!((told.requests, told.processes), (35.0, 2));
    assert!(told.lost_s > 0.0, "the old one was not scraped at its end");
    // One that was there before and was first scraped in the run: what it had is not of the run.
    let late = counted(&[&[
        ("a", 110.0, [500.0, 500.0, 0.0, 7.0]),
        ("a", 165.0, [540.0, 550.0, 0.0, 7.0]),
    ]])
    .unwrap();
    assert!((late.requests - 50.0).abs() < 1e-9);
    assert!((late.lost_s - 10.0).abs() < 1e-9);
}

#[test]
fn without_a_scrape_after_the_end_nothing_is_said() {
    assert_eq!(counted(&[]), None);
    assert_eq!(
        counted(&[&[("a", 95.0, [1.0; 4]), ("a", 159.9, [2.0; 4])]]),
        None
    );
    let mut increase = Increase::new(Span {
        from_s: 100.0,
        done_s: 160.0,
    });
    assert!(!increase.is_whole());
    increase.add(series(&[("a", 95.0, [1.0; 4])]));
    assert!(!increase.is_whole());
    increase.add(series(&[("a", 160.0, [1.0; 4])]));
    assert!(increase.is_whole());
}

#[test]
fn what_answers_no_queries_is_no_process() {
    let mut started = series(&[("other", 95.0, [0.0; 4])]);
    started.retain(|series| series.labels["__name__"] == STARTED);
    let mut increase = Increase::new(Span {
        from_s: 100.0,
        done_s: 160.0,
    });
    increase.add(started);
    increase.add(series(&[("a", 95.0, [1.0; 4]), ("a", 161.0, [1.0; 4])]));
    assert!(increase.is_whole());
    assert_eq!(increase.counted().unwrap().processes, 1);
}

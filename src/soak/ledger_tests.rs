use super::*;
use crate::soak::latency::{Series, value_at};
use crate::soak::tally::ErrorKind;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn plan() -> Plan {
    Plan {
        measured_from_ns: 100 * MS,
        measured_ns: 950 * MS,
        counted_from_ns: 0,
        window_ns: 100 * MS,
        timeout_ns: 300 * MS,
        max_in_flight: 8,
    }
}

const OK: Outcome = Outcome::Ok { cached: None };

#[test]
fn the_warm_up_is_not_counted_but_fills_the_cap() {
    let mut ledger = Ledger::new(plan(), 0);
    let tickets: Vec<_> = (0..9).map(|i| ledger.admit(i * MS)).collect();
    assert!(tickets[7].is_some() && tickets[8].is_none());
    assert_eq!(ledger.admit(101 * MS), None, "shed in the first window");
    for ticket in tickets.into_iter().flatten() {
        ledger.ended(ticket, 0, 150 * MS, OK);
    }
    ledger.handed_over(200 * MS);
    let closed = ledger.take_closed(200 * MS);
    assert_eq!(closed.len(), 1);
    let counts = closed[0].tally.counts;
    assert_eq!((counts.due, counts.shed, counts.ok), (1, 1, 0));
}

#[test]
fn a_window_waits_for_its_own_requests_and_for_the_schedule() {
    let mut ledger = Ledger::new(plan(), 0);
    let late = ledger.admit(110 * MS).unwrap();
    let next = ledger.admit(210 * MS).unwrap();
    ledger.ended(next, 210 * MS, 215 * MS, OK);
    ledger.handed_over(300 * MS);
    assert!(ledger.take_closed(300 * MS).is_empty());
    assert_eq!(ledger.oldest_due_ns(), Some(110 * MS));
    ledger.ended(late, 110 * MS, 320 * MS, OK);
    let closed = ledger.take_closed(320 * MS);
    assert_eq!(closed.iter().map(|w| w.index).collect::<Vec<_>>(), [0, 1]);
    let response = closed[0].tally.latencies.of(Series::Response);
    assert!(value_at(response, 1.0).unwrap().abs_diff(210_000) < 200);
    // Time passed, but the schedule has not come so far: the next window stays open.
    assert!(ledger.take_closed(900 * MS).is_empty());
    assert_eq!(ledger.next_closes_by_ns(), Some((400 + 300) * MS));
    ledger.handed_over(u64::MAX);
    ledger.take_closed(u64::MAX);
    assert_eq!(ledger.next_closes_by_ns(), None);
}

#[test]
fn the_last_window_may_be_shorter() {
    let mut ledger = Ledger::new(plan(), 0);
    ledger.handed_over(u64::MAX);
    let closed = ledger.take_closed(u64::MAX);
    assert_eq!(closed.len(), 10);
    assert_eq!(closed[9].length_ns, 50 * MS);
    assert_eq!(closed[9].start_ns, 900 * MS);
}

#[test]
fn a_resumed_run_begins_with_the_rest_of_a_window() {
    let resumed = Plan {
        counted_from_ns: 350 * MS,
        ..plan()
    };
    let mut ledger = Ledger::new(resumed, 17);
    let ticket = ledger.admit(460 * MS).unwrap();
    assert_eq!(ticket.number(), 17);
    ledger.ended(ticket, 460 * MS, 465 * MS, OK);
    ledger.handed_over(600 * MS);
    let closed = ledger.take_closed(600 * MS);
    let shapes: Vec<_> = closed
        .iter()
        .map(|w| {
            (
                w.index,
                w.start_ns / MS,
                w.length_ns / MS,
                w.tally.counts.ok,
            )
        })
        .collect();
    assert_eq!(shapes, [(3, 350, 50, 1), (4, 400, 100, 0)]);
}

#[test]
fn stops_with_the_window_it_is_in() {
    let mut ledger = Ledger::new(plan(), 0);
    assert!(!ledger.stop_after_this_window(99 * MS));
    assert!(ledger.stop_after_this_window(350 * MS));
    assert_eq!(ledger.plan().windows(), 3);
    assert_eq!(ledger.plan().measured_ns, 300 * MS);
}

proptest! {
    #[test]
    fn every_due_request_is_accounted_for(
        requests in prop::collection::vec((0_u64..1_050, 0_u64..500, 0_u8..4), 0..300),
    ) {
        let mut requests = requests;
        requests.sort_unstable();
        let mut ledger = Ledger::new(plan(), 0);
        let mut total = Tally::default();
        let mut flying: Vec<(u64, Ticket, u8)> = Vec::new();
        let mut expected = 0;
        for (due_ms, takes_ms, how) in requests {
            let due_ns = due_ms * MS;
            flying.retain(|(end_ns, ticket, how)| {
                let over = *end_ns <= due_ns && *how != 3;
                if over {
                    let outcome = if *how == 0 { Outcome::Error(ErrorKind::Reset, "reset".into()) } else { OK };
                    ledger.ended(*ticket, *end_ns, *end_ns, outcome);
                }
                !over
            });
            expected += u64::from(due_ms >= 100);
            if let Some(ticket) = ledger.admit(due_ns) {
                ledger.sent(ticket, due_ns);
                flying.push((due_ns + takes_ms * MS, ticket, how));
            }
            for window in ledger.take_closed(due_ns) {
                prop_assert!(window.tally.counts.adds_up());
                total.add(&window.tally);
            }
        }
        ledger.abandon(2_000 * MS);
        ledger.handed_over(u64::MAX);
        for window in ledger.take_closed(u64::MAX) {
            prop_assert!(window.tally.counts.adds_up());
            total.add(&window.tally);
        }
        prop_assert_eq!(total.counts.due, expected);
        prop_assert!(total.counts.adds_up());
        prop_assert_eq!(total.latencies.of(Series::Response).len(), expected);
        prop_assert_eq!(total.latencies.of(Series::Ok).len(), total.counts.ok);
        prop_assert_eq!(ledger.in_flight(), 0);
    }
}

#[test]
fn a_window_waits_for_its_grades_in_whatever_order_they_come() {
    let mut ledger = Ledger::new(plan(), 0);
    let [first, second, unread] = [110, 120, 130].map(|ms| ledger.admit(ms * MS).unwrap());
    // Quicker than the round of the loop that announces it.
    ledger.graded(first, Grade::Read { is_hit: true });
    for ticket in [first, second, unread] {
        ledger.expect_grade(ticket);
        ledger.ended(ticket, 140 * MS, 150 * MS, OK);
    }
    ledger.handed_over(200 * MS);
    assert!(ledger.take_closed(200 * MS).is_empty());
    ledger.graded(second, Grade::Read { is_hit: false });
    assert!(ledger.take_closed(200 * MS).is_empty());
    ledger.graded(unread, Grade::Unread);
    let closed = ledger.take_closed(200 * MS);
    let relevance = closed[0].tally.relevance;
    assert_eq!(
        (relevance.answers, relevance.hits, relevance.unread),
        (2, 1, 1)
    );
    assert_eq!(relevance.hit_rate(), Some(0.5));
}

#[test]
fn at_the_end_nothing_waits_for_grades_and_the_warm_up_has_none() {
    let mut ledger = Ledger::new(plan(), 0);
    let [warm, late] = [10, 110].map(|ms| ledger.admit(ms * MS).unwrap());
    for ticket in [warm, late] {
        ledger.expect_grade(ticket);
        ledger.ended(ticket, 140 * MS, 150 * MS, OK);
    }
    ledger.graded(warm, Grade::Read { is_hit: true });
    ledger.abandon(160 * MS);
    ledger.handed_over(u64::MAX);
    let closed = ledger.take_closed(u64::MAX);
    assert_eq!(closed.len(), 10);
    let relevance = closed[0].tally.relevance;
    assert_eq!((relevance.answers, relevance.unread), (0, 1));
}

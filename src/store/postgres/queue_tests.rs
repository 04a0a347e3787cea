use super::*;
use crate::clock::{Clock as _, SystemClock};

const LONG: Duration = Duration::from_secs(20);

fn place(queue: &Queue) -> Place<'_> {
    queue.enter(LONG, Standing::Last, || false).unwrap()
}

fn until(done: impl Fn() -> bool) {
    let start = SystemClock.monotonic();
    while !done() {
        assert!(start.elapsed() < LONG);
        SystemClock.sleep(Duration::from_millis(1));
    }
}

#[test]
fn places_go_to_who_waited_longest() {
    let queue = Queue::new(1);
    let order = Mutex::new(Vec::new());
    let held = place(&queue);
    std::thread::scope(|scope| {
        for caller in 0..5 {
            let (queue, order) = (&queue, &order);
            scope.spawn(move || {
                let _place = place(queue);
                lock(order).push(caller);
            });
            until(|| queue.waiting() == caller + 1);
        }
        drop(held);
    });
    assert_eq!(*lock(&order), [0, 1, 2, 3, 4]);
    assert_eq!(lock(&queue.state).free, 1);
}

#[test]
fn who_was_sent_back_goes_before_the_others() {
    let queue = Queue::new(1);
    let order = Mutex::new(Vec::new());
    let held = place(&queue);
    std::thread::scope(|scope| {
        let standings = [Standing::Last, Standing::Last, Standing::First];
        for (caller, standing) in standings.into_iter().enumerate() {
            let (queue, order) = (&queue, &order);
            scope.spawn(move || {
                let _place = queue.enter(LONG, standing, || false);
                lock(order).push(caller);
            });
            until(|| queue.waiting() == caller + 1);
        }
        drop(held);
    });
    assert_eq!(*lock(&order), [2, 0, 1]);
}

#[test]
fn who_gave_up_costs_nobody_a_place() {
    let queue = Queue::new(2);
    let places = [(); 2].map(|()| place(&queue));
    let brief = Duration::from_millis(20);
    assert!(queue.enter(brief, Standing::Last, || false).is_none());
    let futile = queue.enter(LONG, Standing::Last, || true);
    assert!(futile.is_none(), "waiting is of no use");
    assert_eq!(queue.waiting(), 2);
    drop(places);
    let state = lock(&queue.state);
    assert_eq!((state.free, state.waiting.len()), (2, 0));
}

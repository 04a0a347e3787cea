use super::*;
use crate::clock::{Clock as _, SystemClock};

const LONG: Duration = Duration::from_secs(20);

type Numbers = Queue<u32, u32>;

fn place(queue: &Numbers) -> Place<'_, u32, u32> {
    queue.enter(LONG, Standing::Last, || false).unwrap()
}

/// Waits with or without a question; what came of it, in a word.
fn ask(queue: &Numbers, question: Option<u32>, timeout: Duration) -> String {
    let entry = match question {
        Some(question) => queue.enter_with(timeout, question, || false),
        None => queue
            .enter(timeout, Standing::Last, || false)
            .map(Entry::Place),
    };
    match entry {
        Some(Entry::Place(_)) => "place".to_owned(),
        Some(Entry::Answered(answer)) => format!("answer {answer}"),
        Some(Entry::Returned) => "returned".to_owned(),
        None => "nothing".to_owned(),
    }
}

fn until(done: impl Fn() -> bool) {
    let start = SystemClock.monotonic();
    while !done() {
        assert!(start.elapsed() < LONG);
        SystemClock.sleep(Duration::from_millis(1));
    }
}

/// Holds the only place while callers with these questions come in turn, does `work` with it, and
/// says what came of each.
fn outcomes(
    questions: &[Option<u32>],
    work: impl FnOnce(&Place<'_, u32, u32>) + Send,
) -> Vec<String> {
    let queue = Numbers::new(1);
    let held = place(&queue);
    std::thread::scope(|scope| {
        let mut callers = Vec::new();
        for question in questions {
            let queue = &queue;
            callers.push(scope.spawn(move || ask(queue, *question, LONG)));
            until(|| queue.waiting() == callers.len());
        }
        work(&held);
        drop(held);
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    })
}

fn questions(companions: &[Companion<u32, u32>]) -> Vec<u32> {
    let questions = companions.iter().filter_map(Companion::question);
    questions.copied().collect()
}

#[test]
fn places_go_to_who_waited_longest() {
    let queue = Numbers::new(1);
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
    let queue = Numbers::new(1);
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
    let queue = Numbers::new(2);
    let places = [(); 2].map(|()| place(&queue));
    assert_eq!(ask(&queue, Some(1), Duration::from_millis(20)), "nothing");
    let futile = queue.enter_with(LONG, 2, || true);
    assert!(futile.is_none(), "waiting is of no use");
    assert_eq!(queue.waiting(), 2);
    assert!(places[0].companions(8).is_empty(), "nobody is there");
    drop(places);
    let state = lock(&queue.state);
    assert_eq!((state.free, state.waiting.len()), (2, 0));
}

#[test]
fn those_who_wait_are_answered_with_the_holder() {
    let got = outcomes(&[Some(1), Some(2), Some(3)], |held| {
        let companions = held.companions(2);
        assert_eq!(questions(&companions), [1, 2]);
        for companion in companions {
            let question = *companion.question().unwrap();
            companion.answer(question * 10);
        }
    });
    assert_eq!(got, ["answer 10", "answer 20", "place"]);
}

#[test]
fn who_is_not_answered_goes_its_own_way() {
    let got = outcomes(&[Some(1), Some(2)], |held| {
        let mut companions = held.companions(8);
        companions.pop().unwrap().answer(5);
    });
    assert_eq!(got, ["returned", "answer 5"]);
}

#[test]
fn nobody_is_overtaken() {
    let got = outcomes(&[Some(1), None, Some(3)], |held| {
        let companions = held.companions(8);
        assert_eq!(questions(&companions), [1]);
        for companion in companions {
            companion.answer(7);
        }
        assert!(held.companions(8).is_empty());
    });
    assert_eq!(got, ["answer 7", "place", "place"]);
}

#[test]
fn each_place_takes_its_share() {
    let queue = Numbers::new(2);
    let places = [(); 2].map(|()| place(&queue));
    std::thread::scope(|scope| {
        for caller in 0..5 {
            let queue = &queue;
            scope.spawn(move || ask(queue, Some(caller), LONG));
            until(|| queue.waiting() == usize::try_from(caller).unwrap() + 1);
        }
        let first = places[0].companions(8);
        let second = places[1].companions(8);
        assert_eq!(questions(&first), [0, 1, 2]);
        assert_eq!(questions(&second), [3]);
        drop((first, second, places));
    });
    assert_eq!(lock(&queue.state).free, 2);
}

#[test]
fn who_was_taken_along_waits_beyond_its_time_and_has_one_answer() {
    let queue = Numbers::new(1);
    let held = place(&queue);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| ask(&queue, Some(4), Duration::from_millis(300)));
        until(|| queue.waiting() == 1);
        let mut companions = held.companions(1);
        SystemClock.sleep(Duration::from_millis(400));
        companions.pop().unwrap().answer(6);
        assert_eq!(caller.join().unwrap(), "answer 6");
    });
}

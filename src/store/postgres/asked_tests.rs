use super::*;
use crate::domain::{CollectionName, Embedding, Filter, Mode, QueryText};
use crate::store::SearchRequest;
use std::sync::{Arc, mpsc};

const LONG: Duration = Duration::from_secs(20);

/// One who is told apart by `limit`, and tells whether it was called or dropped.
fn asked(limit: usize) -> (Asked, mpsc::Receiver<()>) {
    let vector = Embedding::normalised(vec![1.0, 0.0]).unwrap();
    let request = SearchRequest {
        collection: &CollectionName::default(),
        mode: Mode::Vector,
        text: &QueryText::new("word").unwrap(),
        embedding: Some(&vector),
        filter: &Filter::default(),
        limit,
    };
    let (tell, told) = mpsc::channel();
    let then = move |_| tell.send(()).unwrap();
    (
        Asked::new(Question::of(&request, &vector), Box::new(then)),
        told,
    )
}

fn filled(count: usize) -> (Inbox, Vec<mpsc::Receiver<()>>) {
    let inbox = Inbox::default();
    let receivers = (1..=count).map(|limit| {
        let (one, told) = asked(limit);
        inbox.put(one);
        told
    });
    let receivers = receivers.collect();
    (inbox, receivers)
}

fn limits(taken: &[Asked]) -> Vec<i32> {
    taken.iter().map(|one| one.question.limit()).collect()
}

#[test]
fn who_waited_longest_is_taken_with_those_behind() {
    let (inbox, _told) = filled(5);
    assert_eq!(limits(&inbox.take(3, 1)), [1, 2, 3]);
    assert_eq!(limits(&inbox.take(8, 1)), [4, 5]);
    assert!(inbox.take(8, 1).is_empty());
}

#[test]
fn each_thread_takes_its_share_of_those_behind() {
    let (inbox, _told) = filled(6);
    assert_eq!(limits(&inbox.take(8, 2)), [1, 2, 3, 4]);
    assert_eq!(limits(&inbox.take(8, 2)), [5, 6]);
    let (inbox, _told) = filled(2);
    assert_eq!(limits(&inbox.take(1, 2)), [1], "none may share");
}

#[test]
fn who_is_put_back_is_first_and_alone() {
    let (inbox, _told) = filled(4);
    let taken = inbox.take(2, 1);
    inbox.put_back(taken);
    assert_eq!(limits(&inbox.take(8, 1)), [1]);
    assert_eq!(limits(&inbox.take(8, 1)), [2]);
    assert_eq!(limits(&inbox.take(8, 1)), [3, 4]);
}

#[test]
fn who_is_put_back_waits_anew() {
    let (inbox, _told) = filled(2);
    let taken = inbox.take(2, 1);
    let before = taken[0].since;
    SystemClock.sleep(Duration::from_millis(20));
    inbox.put_back(taken);
    let late = |one: &Asked| (one.since - before < Duration::from_millis(20)).then_some(());
    assert!(inbox.leave(late).is_empty());
}

#[test]
fn who_is_put_back_ends_the_share_of_others() {
    let (inbox, _told) = filled(3);
    let mut taken = inbox.take(8, 1);
    let last = taken.pop().unwrap();
    inbox.put_back(vec![last]);
    for one in taken.into_iter().rev() {
        inbox.lock().waiting.push_front(one);
    }
    assert_eq!(limits(&inbox.take(8, 1)), [1, 2]);
    assert_eq!(limits(&inbox.take(8, 1)), [3]);
}

#[test]
fn who_leaves_is_out_and_the_others_keep_their_order() {
    let (inbox, told) = filled(4);
    let even = |one: &Asked| (one.question.limit() % 2 == 0).then_some("even");
    let left = inbox.leave(even);
    assert_eq!(left.len(), 2);
    for (one, why) in left {
        assert_eq!(why, "even");
        (one.then)(Ok(Vec::new()));
    }
    assert_eq!(told[1].recv(), Ok(()), "it is called");
    assert_eq!(limits(&inbox.take(8, 1)), [1, 3]);
}

/// A thread that takes whenever `awaits` says that there is something, and how many it took each time.
fn served(
    awaits: fn(&Inbox) -> bool,
) -> (
    Arc<Inbox>,
    mpsc::Receiver<usize>,
    std::thread::JoinHandle<()>,
) {
    let inbox = Arc::new(Inbox::default());
    let (took, taken) = mpsc::channel();
    let serving = Arc::clone(&inbox);
    let thread = std::thread::spawn(move || {
        while awaits(&serving) {
            took.send(serving.take(8, 1).len()).unwrap();
        }
    });
    (inbox, taken, thread)
}

#[test]
fn a_thread_sleeps_until_one_comes_or_it_is_closed() {
    let (inbox, wakes, thread) = served(Inbox::wait);
    for _ in 0..100 {
        inbox.put(asked(1).0);
    }
    let mut seen = 0;
    while seen < 100 {
        seen += wakes.recv_timeout(LONG).unwrap();
    }
    inbox.close();
    thread.join().unwrap();
}

#[test]
fn those_put_back_wake_who_sleeps_and_so_does_who_comes_after() {
    let (inbox, taken, thread) = served(Inbox::wait);
    for round in 0..20 {
        let begin = SystemClock.monotonic();
        while inbox.lock().idle == 0 {
            assert!(begin.elapsed() < LONG, "it sleeps in round {round}");
            SystemClock.sleep(Duration::from_millis(1));
        }
        inbox.put_back(vec![asked(1).0, asked(2).0]);
        assert_eq!(taken.recv_timeout(LONG), Ok(1));
        assert_eq!(taken.recv_timeout(LONG), Ok(1));
        inbox.put(asked(3).0);
        assert_eq!(taken.recv_timeout(LONG), Ok(1));
    }
    inbox.close();
    thread.join().unwrap();
}

#[test]
fn a_watch_sleeps_while_nobody_waits() {
    let (inbox, wakes, thread) = served(|inbox| inbox.watch(Duration::from_millis(5)));
    let brief = Duration::from_millis(100);
    wakes.recv_timeout(brief).unwrap_err();
    inbox.put(asked(1).0);
    assert_eq!(wakes.recv_timeout(LONG), Ok(1));
    wakes.recv_timeout(brief).unwrap_err();
    inbox.put_back(vec![asked(2).0]);
    assert_eq!(wakes.recv_timeout(LONG), Ok(1), "also of one put back");
    inbox.close();
    thread.join().unwrap();
}

#[test]
fn what_is_closed_sends_everybody_away() {
    let (inbox, told) = filled(2);
    let taken = inbox.take(1, 1);
    inbox.close();
    let (late, refused) = asked(3);
    inbox.put(late);
    inbox.put_back(taken);
    for one in told.iter().chain([&refused]) {
        assert_eq!(one.recv(), Err(mpsc::RecvError), "it is dropped uncalled");
    }
    assert!(!inbox.wait() && !inbox.watch(LONG));
}

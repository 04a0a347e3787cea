use super::*;
use std::sync::mpsc;

fn lane(places: usize, max_waiting: usize, queue_ms: u64, total_ms: u64) -> Arc<Lane> {
    let limits = LaneLimits {
        places,
        max_waiting,
        queue_timeout: Duration::from_millis(queue_ms),
        total_timeout: Duration::from_millis(total_ms),
    };
    Arc::new(Lane::new("queries", limits))
}

/// Takes the only place until the returned sender is dropped.
async fn occupy(lane: &Arc<Lane>) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let busy = Arc::clone(lane);
    tokio::spawn(async move { busy.run(move |_| held.recv()).await });
    while lane.running() == 0 {
        tokio::task::yield_now().await;
    }
    release
}

#[tokio::test]
async fn work_runs_and_reports_no_wait() {
    let queued = lane(1, 0, 10, 1_000).run(|queued| queued).await.unwrap();
    assert!(queued < Duration::from_millis(10), "{queued:?}");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let lane = lane(1, 0, 60_000, 60_000);
    let release = occupy(&lane).await;
    let refused = timeout(Duration::from_secs(5), lane.run(|_| ()))
        .await
        .unwrap();
    assert_eq!(
        refused.unwrap_err(),
        LaneError::Overloaded {
            places: 1,
            waiting: 0
        }
    );
    assert_eq!(lane.waiting(), 0);
    drop(release);
}

#[tokio::test]
async fn who_waited_for_a_start_is_not_refused() {
    let mut lane = Arc::into_inner(lane(1, 0, 0, 60_000)).unwrap();
    lane.catch_up(2);
    let lane = Arc::new(lane);
    let release = occupy(&lane).await;
    let waiting = [(); 2].map(|()| {
        let lane = Arc::clone(&lane);
        tokio::spawn(async move { lane.run(|_| ()).await })
    });
    while lane.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    let one_more = lane.run(|_| ()).await;
    assert!(matches!(one_more, Err(LaneError::Overloaded { .. })));
    drop(release);
    for one in waiting {
        one.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_start_is_over_after_a_while() {
    let mut lane = Arc::into_inner(lane(1, 7, 20, 1_000)).unwrap();
    let usual = lane.limits_of_wait();
    assert_eq!(usual, (7, Duration::from_millis(20)));
    lane.catch_up(100);
    assert_eq!(lane.limits_of_wait(), (100, Duration::from_secs(1)));
    let mut progress = Progress::new();
    progress.created -= CATCH_UP;
    lane.progress = Arc::new(progress);
    assert_eq!(lane.limits_of_wait(), usual);
}

#[tokio::test]
async fn waiting_ends_with_a_place_or_the_limit() {
    let lane = lane(1, 4, 50, 60_000);
    let release = occupy(&lane).await;
    let refused = lane.run(|_| ()).await.unwrap_err();
    assert!(
        matches!(refused, LaneError::Overloaded { .. }),
        "{refused:?}"
    );
    let waiting = {
        let lane = Arc::clone(&lane);
        tokio::spawn(async move { lane.run(|_| 1).await })
    };
    while lane.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    drop(release);
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!(lane.waiting(), 0);
}

#[tokio::test]
async fn a_timeout_keeps_the_place_until_the_work_ends() {
    let lane = lane(1, 0, 20, 20);
    let (release, held) = mpsc::channel::<()>();
    let error = lane.run(move |_| held.recv()).await.unwrap_err();
    assert!(matches!(error, LaneError::TimedOut(_)), "{error:?}");
    assert_eq!(lane.running(), 1, "the place is still taken");
    assert!(matches!(
        lane.run(|_| ()).await,
        Err(LaneError::Overloaded { .. })
    ));
    drop(release);
    while lane.running() > 0 {
        tokio::task::yield_now().await;
    }
    lane.run(|_| ()).await.unwrap();
}

#[tokio::test]
async fn a_lane_in_which_nothing_ends_is_jammed() {
    let lane = lane(1, 0, 20, 20);
    assert_eq!(lane.jammed_for(), None);
    let (release, held) = mpsc::channel::<()>();
    lane.run(move |_| held.recv()).await.unwrap_err();
    assert!(lane.jammed_for().unwrap() >= Duration::from_millis(15));
    drop(release);
    while lane.running() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lane.jammed_for(), None);
}

#[tokio::test]
async fn a_later_result_keeps_the_place_until_it_is_sent() {
    let lane = lane(1, 0, 20, 60_000);
    let (hand, handed) = mpsc::channel();
    let later = move |_, reply: Reply<i32>| hand.send(reply).unwrap();
    let running = {
        let lane = Arc::clone(&lane);
        let unused = |_| -> i32 { unreachable!("it is answered later") };
        tokio::spawn(async move { lane.run_soon(Some(later), unused).await })
    };
    while lane.running() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(lane.run(|_| ()).await.is_err(), "the place is taken");
    handed.recv().unwrap().send(7);
    assert_eq!(running.await.unwrap(), Ok(7));
    assert_eq!(lane.running(), 0);
}

#[tokio::test]
async fn who_gets_no_later_result_goes_on_in_its_place() {
    let lane = lane(1, 0, 20, 1_000);
    let dropped = |_, reply: Reply<i32>| drop(reply);
    let busy = Arc::clone(&lane);
    let work = move |_| i32::try_from(busy.running()).unwrap();
    assert_eq!(lane.run_soon(Some(dropped), work).await, Ok(1));
    assert_eq!(lane.running(), 0);
}

#[tokio::test]
async fn a_later_result_that_never_comes_is_late_and_keeps_the_place() {
    let lane = lane(1, 0, 20, 30);
    let (hand, handed) = mpsc::channel();
    let later = move |_, reply: Reply<i32>| hand.send(reply).unwrap();
    let outcome = lane.run_soon(Some(later), |_| 1).await;
    assert_eq!(outcome, Err(LaneError::TimedOut(Duration::from_millis(30))));
    assert_eq!(lane.running(), 1);
    drop(handed.recv().unwrap());
    assert_eq!(lane.running(), 0, "nobody waits, so it is not tried again");
}

#[tokio::test]
async fn a_panic_gives_the_place_back() {
    let lane = lane(1, 0, 20, 1_000);
    let error = lane.run(|_| panic!("boom {}", 1)).await.unwrap_err();
    assert_eq!(error, LaneError::Panicked("boom 1".to_owned()));
    assert_eq!(lane.running(), 0);
    lane.run(|_| ()).await.unwrap();
}

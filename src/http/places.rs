//! How many connections are open, against a limit that may change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Counts what is open, and tells when nothing is any more.
#[derive(Debug, Default)]
pub(super) struct Places {
    open: AtomicUsize,
    emptied: Notify,
}

/// One that is open, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    /// A place, unless `limit` or more are taken.
    pub(super) fn enter(self: &Arc<Self>, limit: usize) -> Option<Place> {
        let free = |open| (open < limit).then_some(open + 1);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let entered = self.open.fetch_update(order.0, order.1, free);
        entered.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// Ends when none is taken.
    pub(super) async fn all_left(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // From here on no notification is missed.
            emptied.as_mut().enable();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_limit_may_be_lowered_below_what_is_open() {
        let places = Arc::new(Places::default());
        let two = (places.enter(2).unwrap(), places.enter(2).unwrap());
        assert!(places.enter(2).is_none());
        let third = places.enter(3).unwrap();
        drop(two);
        assert!(places.enter(1).is_none(), "the third is still there");
        drop(third);
        drop(places.enter(1).unwrap());
        places.all_left().await;
    }

    #[tokio::test]
    async fn waiting_ends_when_the_last_one_leaves() {
        let places = Arc::new(Places::default());
        let place = places.enter(1).unwrap();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.all_left().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(place);
        let ended = tokio::time::timeout(Duration::from_secs(5), waiting);
        ended.await.unwrap().unwrap();
    }
}

//! Work on many documents, on all cores.

use std::num::NonZeroUsize;

/// Chunks for which another thread is worth starting.
const CHUNKS_PER_THREAD: usize = 64;

/// `work` on each item, in order; `chunks` says how much work one is.
pub(super) fn spread<'a, T: Sync, U: Send>(
    items: &'a [T],
    chunks: impl Fn(&T) -> usize,
    work: impl Fn(&'a T) -> U + Sync,
) -> Vec<U> {
    let load: usize = items.iter().map(chunks).sum();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = cores.min(load / CHUNKS_PER_THREAD).max(1);
    let share = items.len().div_ceil(threads).max(1);
    let do_all = |share: &'a [T]| share.iter().map(&work).collect::<Vec<U>>();
    let mut shares = items.chunks(share);
    let mine = shares.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| (share, scope.spawn(|| do_all(share))))
            .collect();
        let mut made = do_all(mine);
        for (share, thread) in others {
            // A thread that failed is no reason to lose items: their turn comes again here.
            made.extend(thread.join().unwrap_or_else(|_| do_all(share)));
        }
        made
    })
}

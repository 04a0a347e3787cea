//! The allocator, and what it knows of the heap.
//!
//! jemalloc notes the stack of one allocation in some 4 MiB, and so who holds the memory that
//! is in use.

use super::{ProfileError, Turn};
use jemalloc_pprof::PROF_CTL;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by jemalloc before anything is allocated; `MALLOC_CONF` in the environment wins.
///
/// One allocation in 4 MiB is sampled: at 512 KiB, jemalloc's default, samples cost queries 8 % of their CPU time
/// (`perf/bench/observe.sh sampling`). A thread returns memory that nobody uses to the system within
/// seconds, also when nothing is allocated any more.
#[expect(
    unsafe_code,
    reason = "the symbol by which jemalloc looks for its configuration; nothing else has its name"
)]
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8] =
    b"prof:true,prof_active:true,lg_prof_sample:22,background_thread:true,dirty_decay_ms:5000\0";

/// The memory that is in use, by the stacks that allocated it, as a gzipped `profile.proto`. Blocks
/// while the allocator writes it down, some milliseconds.
///
/// # Errors
/// When samples are off, or there is no room for a temporary file.
pub fn heap(turn: &Turn) -> Result<Vec<u8>, ProfileError> {
    let _ = turn;
    let control = PROF_CTL.as_ref().ok_or(ProfileError::HeapIsOff)?;
    // Held by nobody else: there is one turn.
    let mut control = control.try_lock().map_err(ProfileError::failed)?;
    if !control.activated() {
        return Err(ProfileError::HeapIsOff);
    }
    control.dump_pprof().map_err(ProfileError::failed)
}

//! Libraries that may panic, because whoever calls them outside tests is ready for it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

/// As that of the process in which documents are read, for parsers that recurse.
const STACK_BYTES: usize = 64 << 20;

/// Where the sources of libraries are: as cargo unpacks them, and as the release build says it
/// (`scripts/lib.sh`).
const LIBRARIES: [&str; 2] = ["/registry/src/", "/usr/src/crates/"];

thread_local! {
    /// Whether the last panic of this thread began in the code of a library.
    static IN_LIBRARY: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives; `None` when a library panicked in it. A panic of our own goes on.
pub(super) fn contained<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    tell_libraries_apart();
    let work = || {
        IN_LIBRARY.set(false);
        match catch_unwind(AssertUnwindSafe(work)) {
            Err(_) if IN_LIBRARY.get() => None,
            Err(panic) => resume_unwind(panic),
            Ok(made) => Some(made),
        }
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(made)) => made,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => panic!("no thread: {error}"),
        }
    })
}

/// Panics in other crates are noted and say nothing; all others go where they went before.
fn tell_libraries_apart() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("", |location| location.file());
            let is_library = LIBRARIES.iter().any(|folder| file.contains(folder));
            IN_LIBRARY.set(is_library);
            if !is_library {
                before(panic);
            }
        }));
    });
}

//! Shows logs until a person has seen enough.

use crate::clock::Clock;
use std::io;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often it is seen whether the program or the person has ended it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for a program that was asked to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether SIGINT or SIGTERM has come. While it lives, neither ends the process.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on, on a thread that ends with the process.
    ///
    /// # Errors
    /// When the machine has no place for a handler or a thread.
    pub fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (mut int, mut term) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        let flag = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&flag);
        std::thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = int.recv() => {}
                        _ = term.recv() => {}
                    }
                    seen.store(true, Ordering::Relaxed);
                });
            })?;
        Ok(Self(flag))
    }

    /// Whether one has come.
    #[must_use]
    pub fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Waits until the program ends by itself, which answers its status, or is ended because of an interrupt: `None`.
///
/// # Errors
/// When it cannot be waited for.
pub fn until_interrupted(
    child: &mut Child,
    is_interrupted: &dyn Fn() -> bool,
    clock: &dyn Clock,
) -> io::Result<Option<ExitStatus>> {
    loop {
        if is_interrupted() {
            end(child, clock)?;
            return Ok(None);
        }
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        clock.sleep(LOOK_EVERY);
    }
}

/// Asks it to end, so that it can end its own programs, and then ends it.
fn end(child: &mut Child, clock: &dyn Clock) -> io::Result<()> {
    let _ = rustix::process::kill_process(
        rustix::process::Pid::from_child(child),
        rustix::process::Signal::TERM,
    );
    let since = clock.monotonic();
    while child.try_wait()?.is_none() {
        if clock.monotonic() - since > PATIENCE {
            child.kill()?;
            child.wait()?;
            break;
        }
        clock.sleep(LOOK_EVERY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::process::Command;

    #[test]
    fn a_program_is_followed_to_its_end_or_ended() {
        let mut child = Command::new("true").spawn().unwrap();
        let status = until_interrupted(&mut child, &|| false, &SystemClock).unwrap();
        assert!(status.unwrap().success());
        let mut endless = Command::new("sleep").arg("600").spawn().unwrap();
        let status = until_interrupted(&mut endless, &|| true, &SystemClock).unwrap();
        assert!(status.is_none());
        assert!(endless.try_wait().unwrap().is_some());
    }
}

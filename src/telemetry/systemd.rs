//! What systemd is told, over `$NOTIFY_SOCKET`; where there is none, nothing is.
//!
//! Source: sd_notify(3). What cannot be sent is not tried again: the next message says more.

use sd_notify::NotifyState;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest status line, in bytes: `systemctl status` shows one line.
const STATUS_BYTES: usize = 300;

/// The line to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    last_status: Mutex<String>,
}

impl Notifier {
    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard() -> bool {
        #[expect(
            clippy::disallowed_methods,
            reason = "no setting: the service manager says with it where it listens"
        )]
        std::env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// How often systemd wants to hear [`Notifier::alive`] at the least; `None` when it has no
    /// watchdog over this process.
    #[must_use]
    pub fn watchdog_period() -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
    }

    fn send(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "systemd was not told: {error}");
        }
    }

    /// The start is done, or a reload.
    pub fn ready(&self, status: &str) {
        self.remember(status);
        Self::send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// A reload has begun; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        let status = NotifyState::Status("reloading the configuration");
        // `Type=notify-reload` needs the time; others do not mind it.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => Self::send(&[NotifyState::Reloading, now, status]),
            Err(_) => Self::send(&[NotifyState::Reloading, status]),
        }
        self.remember("reloading the configuration");
    }

    /// The end has begun.
    pub fn stopping(&self, status: &str) {
        self.remember(status);
        Self::send(&[
            NotifyState::Stopping,
            NotifyState::Status(&one_line(status)),
        ]);
    }

    /// All is well: what feeds the watchdog.
    pub fn alive(&self) {
        Self::send(&[NotifyState::Watchdog]);
    }

    /// A start or stop that makes progress may go on for `more` from now.
    pub fn extend(&self, more: Duration) {
        let us = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        Self::send(&[NotifyState::ExtendTimeoutUsec(us)]);
    }

    /// What the daemon does now, in one line; sent only when it is another one than before.
    pub fn status(&self, status: &str) {
        if self.remember(status) {
            Self::send(&[NotifyState::Status(&one_line(status))]);
        }
    }

    /// Whether it is new.
    fn remember(&self, status: &str) -> bool {
        let mut last = self
            .last_status
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *last == status {
            return false;
        }
        status.clone_into(&mut last);
        true
    }
}

/// Without line ends, which would begin another variable, and not too long.
fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.len() > STATUS_BYTES {
        line.truncate(line.floor_char_boundary(STATUS_BYTES));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nREADY=1"), "a READY=1");
        let long = one_line(&"ä".repeat(400));
        assert!(long.len() <= STATUS_BYTES + '…'.len_utf8() && long.ends_with('…'));
    }

    #[test]
    fn the_same_status_is_sent_once() {
        let notifier = Notifier::default();
        assert!(notifier.remember("a"));
        assert!(!notifier.remember("a"));
        assert!(notifier.remember("b"));
    }
}

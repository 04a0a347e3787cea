//! What follows a verdict, once it is written and printed: people are told, and old runs go. Neither
//! changes the exit code.

use super::soak::SoakArgs;
use super::soak_notice::Voice;
use super::{Context, runs};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::failure::Failure;
use crate::notify::{News, Patience, Undelivered, Webhook};
use crate::soak::capacity::halt::Halt;
use crate::soak::record::Verdict;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// How soon a signal ends the wait for a webhook.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a soak is given besides its plan.
pub(super) struct Around<'a> {
    pub(super) context: &'a Context,
    pub(super) voice: Voice,
    pub(super) runs_dir: &'a Path,
    webhook: Option<Webhook>,
    /// Only verdicts that are not PASS are told.
    only_bad: bool,
    /// Finished runs of a scenario that stay, where that was said.
    retention: Option<usize>,
}

impl<'a> Around<'a> {
    /// Reads what follows from the configuration, before there is anything to follow.
    ///
    /// # Errors
    /// When the webhook's address is none.
    pub(super) fn of(config: &'a Config, context: &'a Context) -> Result<Self, Failure> {
        let notify = &config.raw.notify;
        let webhook = (!notify.webhook_url.is_empty())
            .then(|| Webhook::parse(&notify.webhook_url))
            .transpose()
            .map_err(|error| Failure::configuration("the configuration is wrong").because(error))?;
        // A default is no wish to have runs removed.
        let retention = config
            .is_said("soak.retention_runs")
            .then_some(config.raw.soak.retention_runs)
            .and_then(|runs| usize::try_from(runs).ok())
            .filter(|runs| *runs > 0);
        Ok(Self {
            context,
            voice: Voice::start(context, &config.raw.log.level, &config.raw.log.format),
            runs_dir: &config.runs_dir,
            webhook,
            only_bad: notify.on == "fail",
            retention,
        })
    }

    /// The environment wins over a scenario file, and its names are such as other tools set, too.
    pub(super) fn say_what_the_environment_says(&self, args: &SoakArgs) {
        let Some(file) = &args.scenario else {
            return;
        };
        for name in ["TARGET_URL", "QUERY_FILE", "QPS", "DURATION"] {
            if self.context.environment.get(name).is_none() {
                continue;
            }
            let file = file.display();
            self.voice.warn(&format!(
                "{name} is set in the environment, and wins over {file}"
            ));
        }
    }

    /// Tells of the verdict on what is recorded in `folder`, and removes runs that it pushed out.
    pub(super) fn after(&self, folder: &Path, news: &News) {
        self.tell(news);
        self.prune(folder);
    }

    fn tell(&self, news: &News) {
        let Some(webhook) = &self.webhook else {
            return;
        };
        if self.only_bad && news.verdict() == Verdict::Pass {
            return;
        }
        match post(webhook.clone(), news.message()) {
            Some(Ok(_)) => {}
            Some(Err(error)) => self.voice.warn(&error.to_string()),
            None => {
                let host = webhook.host();
                let line = format!("interrupted before the verdict was delivered to {host}");
                self.voice.warn(&line);
            }
        }
    }

    /// A run that was recorded elsewhere pushes nothing out.
    fn prune(&self, folder: &Path) {
        let Some(keep) = self.retention else {
            return;
        };
        let is_here = |folder: &Path| {
            let parent = folder.canonicalize().ok()?.parent()?.to_owned();
            Some(parent == self.runs_dir.canonicalize().ok()?)
        };
        if is_here(folder) != Some(true) {
            return;
        }
        let name = folder.file_name().unwrap_or_default();
        let folder: PathBuf = self.runs_dir.join(name);
        match runs::prune::after(&folder, self.runs_dir, keep) {
            Ok(None) => {}
            Ok(Some(done)) => self.voice.say(&done),
            Err(error) => self
                .voice
                .warn(&format!("old runs were not removed: {error}")),
        }
    }
}

/// Posts on a thread of its own; `None` when a signal came before the end of it.
fn post(webhook: Webhook, message: serde_json::Value) -> Option<Result<u32, Undelivered>> {
    let halt = Halt::listen().ok();
    let (sender, posted) = mpsc::channel();
    let thread = std::thread::Builder::new().name("soak-notify".to_owned());
    thread
        .spawn(move || {
            let result = webhook.post(&message, Patience::default(), &SystemClock);
            let _ = sender.send(result);
        })
        .ok()?;
    loop {
        match posted.recv_timeout(LOOK_EVERY) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if halt.as_ref().is_some_and(Halt::is_asked) => {
                return None;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

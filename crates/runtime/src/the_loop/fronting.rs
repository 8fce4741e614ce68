//! What a run shows of itself: that all is up, and going to the background then.

use std::io;
use std::sync::Arc;

use supervision::Phase;

use super::{BACKGROUND_LOG, Loop};
use crate::logs::{Format, LogFile, Stream, Writer};
use crate::{logs, talk};

impl Loop {
    /// Says once that every worker that starts with the run is ready or has ended.
    pub(super) fn tell_when_up(&mut self) {
        if self.when_up.is_none() || !self.begun {
            return;
        }
        while let Some(instance) = self.not_up_yet.last() {
            match self.core.standing(*instance) {
                // Until its time comes it is as far up as it can be.
                Some((Phase::Waiting, _)) if self.core.is_between_runs(*instance) => {}
                Some((Phase::Waiting | Phase::Starting | Phase::Backoff, _)) => return,
                Some((Phase::Failed, _)) => self.some_failed = true,
                Some((Phase::Running | Phase::Stopping | Phase::Done | Phase::Stopped, _)) | None => {}
            }
            self.not_up_yet.pop();
        }
        let failed = self.some_failed;
        if let Some(when_up) = self.when_up.take() {
            when_up.tell(!failed);
            if self.background
                && let Err(error) = self.go_to_background()
            {
                talk::say(format_args!("cannot go to the background: {error}"));
            }
        }
    }

    /// Lets go of standard output and error: what would go there is kept in the run's folder from now on.
    pub(super) fn go_to_background(&self) -> io::Result<()> {
        let (read, write) = logs::pipe(true)?;
        let file = LogFile {
            path: self.folder.path().join(BACKGROUND_LOG),
            max_size: 1 << 20,
            keep: 1,
            format: Format::Text,
        };
        let (worker, show) = ("supervisor".into(), "supervisor".into());
        let label = Arc::new(Writer { worker, instance: 0, launch: 1, show }).label(Stream::Stderr);
        self.pump.attach(read, label, Some(self.pump.file(file)));
        nix::unistd::dup2_stdout(&write)?;
        nix::unistd::dup2_stderr(&write)?;
        Ok(())
    }
}

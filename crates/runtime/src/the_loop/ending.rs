//! The end of a run: being told to stop, and what is done when all is over.

use std::os::fd::AsFd;
use std::time::Duration;

use control::Server;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{EpollEvent, EpollTimeout};
use supervision::Event;

use super::{BACKGROUND_LOG, Loop, STRAYS_TAKE_AT_MOST, Told, Watched};
use crate::askers::Asker;
use crate::{annex, appointments, numbering, recalling, sweeping, talk};

impl Loop {
    pub(super) fn told_to_stop(&mut self, signal: i32, sender: Option<i32>) {
        if self.told == Told::Nothing {
            let by = sender.filter(|pid| *pid > 0).map(|pid| format!(" from pid {pid}")).unwrap_or_default();
            talk::say(format_args!(
                "got {}{by}: stopping; once more kills at once",
                process::signal::name(signal)
            ));
            self.askers.told_to_stop(
                Asker::signal(process::signal::name(signal).as_ref(), sender),
                self.clock.now(),
            );
            self.shut_down();
        } else {
            self.stop_now();
        }
    }

    /// The terminal that the run is shown on was closed: that stops it, once, however often it is told.
    pub(super) fn terminal_is_gone(&mut self) {
        if self.told == Told::Nothing {
            talk::say("the terminal is gone: stopping");
            self.askers.told_to_stop(Asker::signal("HUP", None), self.clock.now());
            self.shut_down();
        }
    }

    /// Stops the run gracefully.
    pub(crate) fn shut_down(&mut self) {
        if self.told == Told::Nothing {
            self.told = Told::Stop;
            self.find_the_dead();
            self.news.push_back(Event::Shutdown);
        }
    }

    /// Stops the run at once.
    pub(crate) fn stop_now(&mut self) {
        if self.told != Told::StopNow {
            self.told = Told::StopNow;
            talk::say("killing everything at once");
            self.find_the_dead();
            self.news.push_back(Event::ShutdownNow);
        }
    }

    /// Whether nobody is asked any more.
    pub(super) fn is_told_to_stop_now(&self) -> bool {
        self.told == Told::StopNow
    }

    /// Takes in who has ended by now: what came of them is not the work of the stop that is told next. The kernel may
    /// have told of the stop first, and what is found together has no order.
    fn find_the_dead(&mut self) {
        self.bury();
        // Room for all that is watched, so that nothing that is ready hides the dead behind it.
        let mut ready = vec![EpollEvent::empty(); self.watched.len().max(1)];
        // Nothing is lost by an error: the dead are found by the next look of the loop.
        let count = self.epoll.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
        let mut tokens: Vec<u64> = ready[..count].iter().map(EpollEvent::data).collect();
        // In the order of their launch, so that the same news are always told in the same order.
        tokens.sort_unstable();
        for token in tokens {
            if let Some(&Watched::Leader(process)) = self.watched.get(&token) {
                self.leader_may_have_ended(process, token);
            }
        }
    }

    /// Ends what is left when the run is over: orphans that belong to nobody are killed, all output is written, and
    /// those who wait are told.
    pub fn finish(mut self, server: Server) {
        self.dismiss_attendants();
        self.await_probes_being_born();
        self.kill_strays();
        self.cgroups.remove();
        appointments::clear(self.folder.path());
        numbering::clear(self.folder.path());
        recalling::clear(self.folder.path());
        self.temporary.remove();
        if self.meetings.were_any() {
            annex::clear_meetings(&std::env::temp_dir());
        }
        self.sockets.close_all();
        self.await_guard();
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
        self.tell_waiters_it_is_over();
        if let Some(journal) = self.journal.take() {
            journal.end();
        }
        for trouble in self.pump.stop() {
            talk::say(trouble);
        }
        self.additions.clear();
        // Those who follow what happens are told that nothing will any more.
        drop(self.history);
        server.stop();
        self.doors.close();
        if self.background {
            for log in [BACKGROUND_LOG.to_owned(), format!("{BACKGROUND_LOG}.1")] {
                // Mostly there is none.
                let _ = std::fs::remove_file(self.folder.path().join(log));
            }
        }
    }

    /// A program that probes may be just being born, and nobody could say yet who it is: it would begin its work when all
    /// strays are killed, and be left behind.
    fn await_probes_being_born(&mut self) {
        let give_up = self.clock.now() + STRAYS_TAKE_AT_MOST;
        while self.probes.are_being_born() && self.clock.now() < give_up {
            let mut answer = [PollFd::new(self.spawner.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut answer, PollTimeout::from(100u8));
            while let Some((ticket, _)) = self.spawner.poll() {
                self.probes.born(ticket);
            }
        }
    }

    fn kill_strays(&mut self) {
        // SIGKILL is refused by nothing but a process in the middle of the kernel; do not wait for that for ever.
        let patience = if self.abandoned.is_empty() { STRAYS_TAKE_AT_MOST } else { Duration::ZERO };
        let give_up = self.clock.now() + patience;
        let guard = self.guard.as_ref().and_then(|guard| guard.pid);
        while sweeping::kill_strays(&mut self.processes, guard) && self.clock.now() < give_up {
            // A child's end wakes it; the limit is for those whose end comes between the look and the wait.
            let mut events = [EpollEvent::empty(); 16];
            let _ = self.epoll.wait(&mut events, EpollTimeout::from(100u8));
            let _ = self.signals.pending().count();
        }
    }
}

//! News is handed to the core, and what it answers is carried out.

use supervision::{Action, Event};

use super::Loop;
use super::announcing::Change;
use crate::history::When;

impl Loop {
    /// Feeds the core all news and carries out all it answers, until there is neither; then answers those who wait.
    ///
    /// What can wait is done last, so that a successor need not.
    pub(super) fn settle(&mut self) {
        self.pump.hold();
        loop {
            while let Some(event) = self.news.pop_front() {
                let now = self.clock.now();
                if let Some(journal) = &mut self.journal {
                    journal.event(now, &event);
                }
                self.core.handle(now, event);
                while let Some(action) = self.core.poll_action() {
                    if let Some(journal) = &mut self.journal {
                        journal.action(now, &action);
                    }
                    if !matches!(action, Action::Ask(_)) && !self.to_be_asked.is_empty() {
                        self.ask_leaders();
                    }
                    self.carry_out(action);
                }
                self.ask_leaders();
            }
            self.launch_queued();
            if self.news.is_empty() {
                break;
            }
        }
        self.bury();
        self.pump.release();
        self.tell_changes();
        // All that was said before is taken in.
        self.ears.barriers.clear();
        if std::mem::take(&mut self.changed) || !self.waiters.is_empty() {
            self.look_at_waiters();
            self.tell_when_up();
        }
    }

    /// News that is taken in when the present one is settled.
    pub(crate) fn news_of(&mut self, event: Event) {
        self.news.push_back(event);
    }

    /// Has those looked at who wait for something.
    pub(crate) fn changed_now(&mut self) {
        self.changed = true;
    }

    /// Feeds the core what somebody asked for.
    pub(crate) fn tell_core(&mut self, news: impl IntoIterator<Item = Event>) {
        self.news.extend(news);
        self.settle();
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Launch(process) => self.queued.push_back(process),
            Action::Ask(process) => {
                self.forget_probes(process);
                self.ask(process);
            }
            Action::Abort(process) => {
                self.forget_probes(process);
                self.abort(process);
            }
            Action::Probe(process, purpose, within) => self.probe(process, purpose, within),
            Action::Kill(process) => {
                self.forget_probes(process);
                self.tell_that_it_was_deaf(process);
                self.kill_tree(process);
            }
            Action::Await(process) => self.await_tree(process),
            Action::Adopt(process) => self.adopt(process),
            Action::AskLeftovers(process) => self.ask_leftovers(process),
            Action::KillLeftovers(process) => self.kill_leftovers(process),
            Action::Reclaim(process) => self.reclaim(process),
            Action::Changed(instance) => {
                self.changed = true;
                let now = self.core.instance(instance, self.clock.now());
                if now.is_none() {
                    self.askers.forget(instance);
                }
                self.announce(Change::Of(instance, When::now(), now));
            }
            Action::Retired(worker) => {
                self.keep_added(worker, false);
                self.retire(worker);
            }
            Action::Unretired(worker) => {
                self.keep_added(worker, true);
                self.retiring.remove(&worker);
                if let Some(setup) = self.setup.workers.get(worker.0 as usize) {
                    self.queues.unretire(worker, &setup.kept.puts);
                }
            }
            Action::Removed(worker) => self.removed(worker),
            Action::Rolled(worker, outcome) => self.rolled(worker, outcome),
            Action::GaveUp(group, culprit) => self.announce(Change::GaveUp(group, culprit)),
            Action::Conclude(conclusion) => self.conclusion = Some(conclusion),
        }
    }
}

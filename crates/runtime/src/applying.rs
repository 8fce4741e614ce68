//! Making the run what another config says, while it runs.
//!
//! A config is read on a thread of its own, for its disk may be slow; what differs comes back as mail. Everything that
//! can be refused is refused before anything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use control::Reply;
use control::api::{self, ApiError, ErrorCode};
use supervision::{Event, Family, Instance, InstanceId, Launch, Manner, Phase, Policy, Request, WorkerId};

use crate::askers::Asker;
use crate::asking::{Outcome, value};
use crate::mailbox::Mail;
use crate::proposal::{Origin, Proposal, Standing, propose};
use crate::recalling::Recalled;
use crate::rolling::Rolls;
use crate::source::{How, Kind, Offer, Source, Unfit};
use crate::talk;
use crate::the_loop::Loop;
use crate::waiting::{Until, Waiter, Wanted};

/// Somebody wants to know, or to have done, what another config says.
#[derive(Debug)]
pub struct Reading {
    /// Which, if not the one that runs.
    pub config: Option<PathBuf>,
    /// Whether this run is meant whatever the config calls itself.
    pub named: bool,
    /// Whether it is to be applied, and then whether the answer waits until all of it is so.
    pub apply: Option<bool>,
    /// Who asks.
    pub by: Asker,
}

/// A config that was read, and for whom.
#[derive(Debug)]
pub struct Read {
    reading: Reading,
    /// Where the answer goes; `None`: to people.
    reply: Option<Reply>,
    /// Which config it was compared with, counted.
    generation: u64,
    result: Result<Offer, Unfit>,
}

/// What a run knows of its configs.
#[derive(Debug)]
pub struct Configs {
    pub(crate) source: Option<Arc<dyn Source>>,
    /// How many were applied.
    pub(crate) generation: u64,
    /// The workers of the one that runs, in the order of its file.
    workers: Vec<WorkerId>,
    /// What was last changed of each worker, in words, and its launch by then of each instance.
    pub(crate) changed: BTreeMap<WorkerId, Changed>,
    /// Launches that were up when a config came by which they are to be launched anew, and the number of the one before that.
    /// Those that are over by now stay until the next one comes.
    pub(crate) outdated: BTreeMap<InstanceId, (Launch, u64)>,
    /// What a run of before was told to be, of which something was taken back.
    pub(crate) recalled: Recalled,
}

/// What was changed of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    /// In words.
    pub(crate) what: String,
    /// The launches that were the last by the former config.
    pub(crate) former: BTreeMap<u32, u64>,
}

impl Configs {
    /// Those of a run whose first config has so many workers.
    pub fn new(source: Option<Arc<dyn Source>>, workers: usize) -> Configs {
        let workers = (0..).map(WorkerId).take(workers).collect();
        Configs {
            source,
            generation: 0,
            workers,
            changed: BTreeMap::new(),
            outdated: BTreeMap::new(),
            recalled: Recalled::default(),
        }
    }

    /// What of its config was changed for the last launch of an instance: when that is the first by it, or it waits for
    /// that one.
    pub fn changed_for(&self, instance: &Instance) -> Option<String> {
        let changed = self.changed.get(&instance.id.worker)?;
        let former = changed.former.get(&instance.id.index)?;
        (instance.launch.map_or(0, |launch| launch.0) <= former + 1).then(|| changed.what.clone())
    }

    /// Whether the file has changed since it was read; `None`: there is none.
    pub fn is_newer(&self) -> Option<bool> {
        Some(self.source.as_ref()?.is_newer())
    }
}

impl Loop {
    /// Has a config read.
    pub(crate) fn read_config(&mut self, reading: Reading, reply: Option<Reply>) {
        let config = reading.config.clone().or_else(|| self.setup.config.clone());
        let (Some(source), Some(path)) = (self.configs.source.clone(), config) else {
            let error = ApiError::new(ErrorCode::Refused, "this run was not started from a config");
            return answer(reply, Err(error));
        };
        let (mail, generation) = (self.mail.clone(), self.configs.generation);
        let former: BTreeSet<u64> = self.outdated().map(|(_, number)| number).collect();
        let read = move || {
            let result = source.offer(&path, &former);
            mail.send(Mail::Read(Box::new(Read { reading, reply, generation, result })));
        };
        if let Err(error) = std::thread::Builder::new().name("config".to_owned()).spawn(read) {
            // The reply went with the thread: whoever asked is told that nobody answers.
            talk::say(format_args!("cannot read the config: {error}"));
        }
    }

    /// A config was read.
    pub(crate) fn config_read(&mut self, read: Read) {
        let Read { reading, reply, generation, result } = read;
        if generation != self.configs.generation {
            // It was compared with one that does not run any more.
            return self.read_config(reading, reply);
        }
        let offer = match result {
            Ok(offer) => offer,
            Err(Unfit { message, problems }) => {
                let mut error = ApiError::new(ErrorCode::Problems, message);
                error.problems = problems;
                return answer(reply, Err(error));
            }
        };
        let proposal = match self.proposal(&offer, reading.named) {
            Ok(proposal) => proposal,
            Err(error) => return answer(reply, Err(error)),
        };
        match reading.apply {
            None => answer(reply, Ok(self.shown(&offer, &proposal))),
            Some(wait) => match self.apply(offer, proposal, &reading.by) {
                Err(error) => answer(reply, Err(error)),
                Ok(until) => match (reply, wait) {
                    (Some(reply), true) => {
                        self.waiters.push(Waiter { until, reply, deadline: None });
                        self.look_at_waiters();
                    }
                    (reply, _) => answer(reply, Ok(self.applied(&until))),
                },
            },
        }
    }

    /// What a config would do, or why it cannot.
    fn proposal(&self, offer: &Offer, named: bool) -> Result<Proposal, ApiError> {
        let refused = |message: String, hint: String| ApiError::new(ErrorCode::Refused, message).hint(hint);
        self.refuse_while_stopping()?;
        if let Some(name) = offer.renamed.as_ref().filter(|name| !named && **name != self.setup.name) {
            let message =
                format!("the config is of a run called {name:?}, and this one is {:?}", self.setup.name);
            return Err(refused(message, format!("--name {} applies it all the same", self.setup.name)));
        }
        let names: Vec<&str> = self.configs.workers.iter().map(|id| self.roster.name(*id)).collect();
        let count = self.setup.workers.len();
        let mut proposal = propose(offer, names.into_iter(), |name| self.standing_of(name), count)
            .map_err(|(message, hint)| refused(message, hint))?;
        for (id, worker, manner) in &mut proposal.change.changed {
            if *manner != Manner::Roll {
                continue;
            }
            let row = proposal.workers.iter_mut().find(|row| row.worker == worker.name);
            if !self.core.would_roll(*id, worker) {
                *manner = Manner::Restart;
            } else if let Some(row) = row.filter(|row| row.action == api::Action::Restart) {
                row.detail = Some("rolling".to_owned());
            }
        }
        for thing in &offer.things {
            self.queues_can(thing.kind, &thing.name, &thing.how)
                .map_err(|(message, hint)| refused(message, hint))?;
        }
        Ok(proposal)
    }

    fn queues_can(&self, kind: Kind, name: &str, how: &How) -> Result<(), (String, String)> {
        let left = match (kind, how) {
            (Kind::Queue, How::Removed) => self.queues.left_in(name),
            _ => 0,
        };
        match (kind, how) {
            (Kind::Queue, How::Removed) if left > 0 => Err((
                format!("the queue {name} still has {left} messages in it; nothing was changed"),
                format!("`supervisor queue drain {name}` takes them out"),
            )),
            // What a value is at first matters only where it begins.
            (_, How::Added | How::Removed) | (Kind::Value, How::Changed(_)) => Ok(()),
            (_, How::Changed(what)) => {
                let (kind, what) = (kind.word(), what.join("; "));
                Err((
                    format!(
                        "the {kind} {name} is in use and cannot change while the run goes on ({what}); nothing was changed"
                    ),
                    format!("stop the run and start it anew, or give the new {kind} another name"),
                ))
            }
        }
    }

    /// How the worker of a name stands, also one that was removed.
    fn standing_of(&self, name: &str) -> Option<Standing> {
        if let Some(id) = self.roster.former(name) {
            let (outdated, up_to_date) = (Vec::new(), Vec::new());
            let origin = Origin::Former;
            return Some(Standing { id, origin, instances: 0, is_stopped: true, outdated, up_to_date });
        }
        let id = self.roster.worker(name)?;
        let origin = if self.configs.workers.contains(&id) { Origin::Config } else { Origin::Spawned };
        let stopped =
            |instance| self.core.standing(instance).is_none_or(|(phase, _)| phase == Phase::Stopped);
        let instances = self.core.wanted_instances(id);
        let mut all = self.instances_of_worker(id);
        let outdated = self.outdated().filter(|(instance, _)| instance.worker == id);
        let outdated: Vec<(u32, u64)> = outdated.map(|(instance, number)| (instance.index, number)).collect();
        let mut up_to_date = Vec::new();
        if !outdated.is_empty() {
            let stays = |instance: InstanceId| {
                let phase = self.core.standing(instance).map(|(phase, _)| phase);
                matches!(phase, Some(Phase::Starting | Phase::Running | Phase::Done))
            };
            let others = self.instances_of_worker(id).filter(|instance| stays(*instance));
            up_to_date.extend(others.map(|instance| instance.index));
            up_to_date.retain(|index| outdated.iter().all(|(old, _)| old != index));
        }
        let is_stopped = instances > 0 && all.all(stopped);
        Some(Standing { id, origin, instances, is_stopped, outdated, up_to_date })
    }

    fn shown(&self, offer: &Offer, proposal: &Proposal) -> api::Proposal {
        api::Proposal {
            name: self.setup.name.clone(),
            config: offer.config.to_string_lossy().into_owned(),
            changes: proposal.changes(offer),
            workers: proposal.workers.clone(),
            shared: proposal.shared.clone(),
            family: offer.family.clone(),
            instances: Vec::new(),
        }
    }

    /// Does what was proposed; says what to wait for until all of it is so.
    fn apply(&mut self, offer: Offer, proposal: Proposal, by: &Asker) -> Result<Until, ApiError> {
        let shown = self.shown(&offer, &proposal);
        let Proposal { change, ids, signals, .. } = proposal;
        for (id, ..) in &change.changed {
            self.rolled.remove(id);
        }
        let Offer { config, setup, things, adopt, .. } = offer;
        let failed = |why: String| ApiError::new(ErrorCode::Failed, why).hint("nothing was changed");
        let added: Vec<&str> = things
            .iter()
            .filter(|thing| (thing.kind, &thing.how) == (Kind::Queue, &How::Added))
            .map(|thing| thing.name.as_str())
            .collect();
        let is_added = |kind: &str, name: &str| {
            things
                .iter()
                .any(|thing| thing.how == How::Added && thing.kind.word() == kind && thing.name == name)
        };
        self.doors.open_for(&setup.workers).map_err(failed)?;
        let new = self.queues.prepare(&self.setup.name, &setup.queues, &added).map_err(failed)?;

        // Those that are taken out stay as long as the run: somebody may hold them.
        for new in setup.sync.all().filter(|new| is_added(new.kind.word(), &new.name)) {
            self.primitives.have(&new)?;
        }

        // From here on nothing can be refused.
        let first = self.setup.workers.len() as u32;
        let mut until = self.until_applied(&change, first, shown);
        for (id, worker, manner) in &change.changed {
            self.note_change(*id, &until);
            self.roster.take_back(*id, &worker.name);
            self.roster.resize(*id, worker.instances);
            if *manner != Manner::Keep {
                self.remember_how_to_stop(*id);
            }
        }
        for worker in &change.added {
            self.roster.add(worker.name.clone(), worker.instances);
        }
        let mut workers: BTreeMap<WorkerId, _> = ids.iter().copied().zip(setup.workers).collect();
        for (id, ..) in &change.changed {
            if let (Some(new), Some(place)) = (workers.remove(id), self.setup.workers.get_mut(id.0 as usize))
            {
                *place = new;
            }
        }
        for id in (first..first + change.added.len() as u32).map(WorkerId) {
            self.setup.workers.extend(workers.remove(&id));
        }
        self.setup.queues = setup.queues;
        self.setup.config = Some(config);
        self.configs.workers = ids;
        self.note_outdated(&change);
        let kept: BTreeSet<u64> = self.configs.outdated.values().map(|(_, number)| *number).collect();
        adopt(self.configs.generation, &kept);
        self.configs.generation += 1;
        self.keep_configs();
        let daemons = change.changed.iter().map(|(_, worker, _)| worker).chain(&change.added);
        if daemons.into_iter().any(|worker| worker.policy == Policy::Daemon) {
            self.need_guard();
        }
        let gone = things.iter().filter(|thing| (thing.kind, &thing.how) == (Kind::Queue, &How::Removed));
        let gone: Vec<String> = gone.map(|thing| thing.name.clone()).collect();
        self.queues.exchange(new, &gone, &self.setup.queues);
        if let Until::Applied { all, .. } = &until {
            let concerned = self.not_stopped(all.iter().copied());
            self.note_asked(concerned, by);
        }
        self.follow_calendar(&change.removed);
        self.tell_core([Event::Asked(Request::Change(Box::new(change)))]);
        if let Some(rolls) = until.rolls() {
            self.look_at_rolls(rolls);
        }
        self.list_producers();
        for (worker, signal) in signals {
            self.signal_worker(worker, signal);
        }
        Ok(until)
    }

    /// What an answer to `apply` waits for.
    fn until_applied(&self, change: &supervision::Change, first: u32, shown: api::Proposal) -> Until {
        let (mut new, mut gone, mut all) = (Vec::new(), Vec::new(), Vec::new());
        let launch = |id: InstanceId| self.core.standing(id).and_then(|(_, launch)| launch);
        for id in &change.removed {
            gone.extend(self.instances_of_worker(*id).map(|instance| (instance, launch(instance))));
        }
        for (id, worker, manner) in &change.changed {
            let present = self.core.wanted_instances(*id);
            let instance = |index| InstanceId { worker: *id, index };
            gone.extend((worker.instances..present).map(instance).map(|id| (id, launch(id))));
            for instance in (0..worker.instances).map(instance) {
                let up = |phase| matches!(phase, Phase::Starting | Phase::Running | Phase::Stopping);
                let is_up = self.core.standing(instance).is_some_and(|(phase, _)| up(phase));
                if change.spared.contains(&instance) {
                    // Nothing is done for it.
                } else if *manner == Manner::Roll && is_up {
                    // Whoever replaces it, and whether, is told when the rolling restart is over.
                } else if *manner == Manner::Restart && is_up {
                    new.push(Wanted { instance, not: launch(instance) });
                } else if *manner != Manner::Keep || instance.index >= present {
                    new.push(Wanted { instance, not: None });
                }
            }
            all.extend((0..worker.instances).map(instance));
        }
        for (worker, id) in change.added.iter().zip((first..).map(WorkerId)) {
            let instances = (0..worker.instances).map(|index| InstanceId { worker: id, index });
            all.extend(instances.clone());
            new.extend(instances.map(|instance| Wanted { instance, not: None }));
        }
        let rolls = change.changed.iter().filter(|(.., manner)| *manner == Manner::Roll);
        let rolls = Rolls { under_way: rolls.map(|(id, ..)| *id).collect(), failures: Vec::new() };
        Until::Applied { new, gone, rolls, all, shown: Box::new(shown) }
    }

    /// Keeps what was changed of a worker, for those who ask why it stands where it stands.
    fn note_change(&mut self, id: WorkerId, until: &Until) {
        let Until::Applied { shown, .. } = until else { return };
        let name = self.roster.name(id);
        let Some(what) =
            shown.workers.iter().find(|row| row.worker == name).and_then(|row| row.reason.clone())
        else {
            return;
        };
        let launches = self.instances_of_worker(id).filter_map(|instance| {
            let (_, launch) = self.core.standing(instance)?;
            Some((instance.index, launch.map_or(0, |launch| launch.0)))
        });
        let former = launches.collect();
        self.configs.changed.insert(id, Changed { what, former });
    }

    /// What became of what was applied.
    pub(crate) fn applied(&self, until: &Until) -> api::Proposal {
        let Until::Applied { all, shown, .. } = until else {
            unreachable!("an apply waits for nothing else")
        };
        let mut shown = (**shown).clone();
        let instances = all.iter().filter_map(|id| self.core.instance(*id, self.clock.now()));
        shown.instances = instances.map(|instance| self.row(&instance)).collect();
        shown
    }

    /// The file of the run is applied as it is now; what comes of it is told to people.
    pub(crate) fn reload(&mut self) {
        talk::say("got SIGHUP: applying the config");
        let by = Asker::signal("HUP", None);
        self.read_config(Reading { config: None, named: true, apply: Some(false), by }, None);
    }

    /// A worker that was removed is gone.
    pub(crate) fn removed(&mut self, worker: WorkerId) {
        self.roster.retire(worker);
        self.queues.forget(worker);
        self.sockets.close(worker);
        self.configs.changed.remove(&worker);
        if let Some(setup) = self.setup.workers.get_mut(worker.0 as usize) {
            // Its id stays, and what it took does not have to.
            let kept = Arc::make_mut(&mut setup.kept);
            kept.puts = Vec::new();
            kept.env = Vec::new();
        }
    }

    /// Tells the queues who puts into them by now.
    fn list_producers(&mut self) {
        let mut listed: Vec<(WorkerId, bool, &[String])> = Vec::new();
        for (id, worker) in (0..).map(WorkerId).zip(&self.setup.workers) {
            let removed = self.core.worker(id).is_none_or(|worker| self.core.find(&worker.name) != Some(id));
            if !removed {
                let over =
                    |instance| matches!(self.core.standing(instance), Some((Phase::Done | Phase::Failed, _)));
                let mut all = self.instances_of_worker(id).peekable();
                let retired = all.peek().is_some() && all.all(over);
                listed.push((id, retired, &worker.kept.puts));
            }
        }
        self.queues.list_producers(&listed);
    }

    /// Tells a worker's processes to take up what has changed.
    fn signal_worker(&mut self, worker: WorkerId, signal: i32) {
        use std::os::fd::AsFd;
        for instance in self.instances_of_worker(worker).collect::<Vec<_>>() {
            if let Some((_, tree)) = self.processes.of_instance(instance)
                && tree.ended.is_none()
            {
                // An error means that it is gone, which its descriptor says as well.
                let _ = process::signal::send(tree.pidfd.as_fd(), signal);
            }
        }
    }
}

fn answer(reply: Option<Reply>, result: Result<api::Proposal, ApiError>) {
    match (reply, result) {
        (Some(reply), Ok(proposal)) => reply.ok(&value(proposal)),
        (Some(reply), Err(error)) => reply.refuse(error),
        (None, Ok(proposal)) => {
            let doing = proposal.workers.iter().filter(|row| row.action != api::Action::None);
            let mut any = false;
            for row in doing {
                any = true;
                let reason = row.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                let detail = row.detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
                talk::say(format_args!("{}: {}{detail}{reason}", row.worker, word(row.action)));
            }
            if !any {
                talk::say("no worker differs from the config");
            }
        }
        (None, Err(error)) => {
            talk::say(format_args!("nothing was changed: {}", error.message));
            for problem in &error.problems {
                let api::Problem { path, line, column, message, hint } = problem;
                talk::say(format_args!("  {path} ({line}:{column}): {message}"));
                if let Some(hint) = hint {
                    talk::say(format_args!("    hint: {hint}"));
                }
            }
            if let Some(hint) = error.hint.filter(|_| error.problems.is_empty()) {
                talk::say(format_args!("  hint: {hint}"));
            }
        }
    }
}

fn word(action: api::Action) -> &'static str {
    match action {
        api::Action::None => "none",
        api::Action::Update => "update",
        api::Action::Signal => "signal",
        api::Action::Scale => "scale",
        api::Action::Restart => "restart",
        api::Action::Add => "add",
        api::Action::Remove => "remove",
    }
}

impl Outcome {
    /// A config is to be read.
    pub(crate) fn read(config: Option<String>, named: bool, apply: Option<bool>, by: Asker) -> Outcome {
        Outcome::Read(Reading { config: config.map(PathBuf::from), named, apply, by })
    }
}

/// What the setup of a run keeps of its family once the core has it.
pub(crate) fn no_family() -> Family {
    Family::of(Vec::new())
}

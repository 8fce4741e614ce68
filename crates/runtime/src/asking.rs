//! Answering what people and programs ask over the control API.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use control::api::{Acted, ApiError, ErrorCode, InstanceStatus, Request, Size, Status, Waited, Who};
use control::{Call, Feed, Reply};
use process::{Identity, Pid};
use serde::Serialize;
use serde_json::Value;
use supervision::{
    Ending, Event, Instance, InstanceId, MAX_INSTANCES, Moment, Phase, Process, Request as Wish, Target,
    WorkerId,
};

use crate::applying::Reading;
use crate::askers::Asker;
use crate::meeting::Introduction;
use crate::processes::Tree;
use crate::rolling::Rolls;
use crate::roster::{UnknownName, nearest};
use crate::the_loop::Loop;
use crate::waiting::{Held, Standing, Until, Waiter, Wanted};
use crate::words;

/// What becomes of a call.
pub(crate) enum Outcome {
    /// It is answered at once.
    Now(Value),
    /// It is answered when something has come about, or refused when that takes too long.
    When(Until, Option<Moment>),
    /// It is answered with what comes.
    Stream(Box<dyn Feed>),
    /// It is answered at once, and descriptors come beside the answer.
    Enclosed(Value, Vec<OwnedFd>),
    /// A config is read, and answered with what it would change, or has changed.
    Read(Reading),
    /// The worker that asks is met, and answered then.
    Meet(Introduction),
}

impl Loop {
    /// Answers a call, now or when what it asks for has come about.
    pub(crate) fn answer(&mut self, call: Call) {
        self.waiters.retain(|waiter| !waiter.reply.is_abandoned());
        // Nobody is shown processes that are known to be dead.
        self.bury();
        let Call { peer, request, reply } = call;
        let by = Asker::of(&request, peer);
        self.note_asker(&request, by.as_ref());
        let outcome = match request {
            Request::Status { workers } => self.status(&workers).map(now),
            Request::Ps => self.process_rows().map(now),
            Request::Start { workers, wait } => self.start(&workers, wait),
            Request::Stop { workers, wait } => self.stop(&workers, wait),
            Request::Restart { workers, wait, rolling } => self.restart(&workers, wait, rolling),
            Request::Spawn { worker, wait } => self.spawn(worker, wait),
            Request::Plan { config, named } => Ok(Outcome::read(config, named, None, by.unwrap_or_default())),
            Request::Apply { config, named, wait } => {
                Ok(Outcome::read(config, named, Some(wait), by.unwrap_or_default()))
            }
            Request::Logs { worker, lines, follow } => self.logs(worker.as_deref(), lines, follow),
            Request::Events { after, follow } => {
                Ok(Outcome::Stream(Box::new(self.history.read(after, follow))))
            }
            Request::Why { worker } => self.why(&worker),
            Request::Scale { workers, wait } => self.scale(&workers, wait),
            Request::Kill(kill) => self.kill(&kill, peer.pid),
            Request::Wait { whom, timeout_ms } => self.wait_for(&whom, timeout_ms.map(Duration::from_millis)),
            Request::Shutdown { now } => {
                if now {
                    self.stop_now();
                } else {
                    self.shut_down();
                }
                Ok(Outcome::When(Until::Over, None))
            }
            Request::Queues => Ok(now(self.queues.status())),
            Request::QueueHandle { queue } => self.queue_handle(&queue, peer.pid),
            Request::QueueClose { queue } => match self.queues.close(&queue) {
                Some(()) => Ok(now(serde_json::json!({ "closed": queue }))),
                None => Err(self.no_queue(&queue)),
            },
            Request::QueueCreate(queue) => self.create_queue(queue),
            Request::QueueRemove { queue } => self.remove_queue(&queue),
            Request::Sync(request) => self.synchronise(&request, peer.pid),
            Request::Join(join) => self.join(join, peer.pid),
            Request::Hello(enter) => {
                self.joiner(peer.pid).and_then(|process| self.greet(enter, process, peer.pid))
            }
            Request::Tell(tell) => self.hear(tell, peer.pid),
        };
        self.give(outcome, reply);
    }

    /// Gives what came of a call to whoever asked, now or later.
    pub(crate) fn give(&mut self, outcome: Result<Outcome, ApiError>, reply: Reply) {
        match outcome {
            Ok(Outcome::Now(value)) => reply.ok(&value),
            Ok(Outcome::Enclosed(value, descriptors)) => reply.ok_with(&value, descriptors),
            Ok(Outcome::When(until, deadline)) => {
                self.waiters.push(Waiter { until, reply, deadline });
                self.look_at_waiters();
            }
            Ok(Outcome::Read(reading)) => self.read_config(reading, Some(reply)),
            Ok(Outcome::Stream(feed)) => reply.stream(feed),
            Ok(Outcome::Meet(introduction)) => self.meetings.arrange(introduction, reply, self.mail.clone()),
            Err(error) => reply.refuse(error),
        }
    }

    pub(crate) fn status(&self, workers: &[String]) -> Result<Status, ApiError> {
        let instances: Vec<Instance> = if workers.is_empty() {
            self.core.instances().collect()
        } else {
            let ids = self.instances_of(workers)?;
            ids.into_iter().filter_map(|id| self.core.instance(id, self.clock.now())).collect()
        };
        Ok(Status {
            name: self.setup.name.clone(),
            pid: Pid::this().as_raw(),
            config: self.setup.config.as_ref().map(|path| path.to_string_lossy().into_owned()),
            config_newer: self.configs.is_newer() == Some(true),
            workers: instances.iter().map(|instance| self.row(instance)).collect(),
        })
    }

    pub(crate) fn row(&self, instance: &Instance) -> InstanceStatus {
        let tree = self.processes.of_instance(instance.id).map(|(_, tree)| tree);
        let leader = tree.filter(|tree| tree.ended.is_none());
        let worker = self.core.worker(instance.id.worker);
        let says = leader.and_then(|tree| tree.status());
        InstanceStatus {
            worker: self.roster.name(instance.id.worker).to_owned(),
            instance: instance.id.index,
            launch: instance.launch.map(|launch| launch.0),
            state: instance.phase.to_string(),
            pid: leader.map(|tree| tree.pid.as_raw()),
            ppid: leader.and_then(|tree| self.parent_of(tree)),
            uptime_s: leader.and_then(|tree| self.uptime(instance, tree)).map(|up| up.as_secs_f64()),
            restarts: instance.restarts,
            exit: instance.last.and_then(words::exit),
            policy: worker.map_or("", |worker| words::policy(worker.policy)).to_owned(),
            why: match (self.full_reason(instance), says) {
                (why, None) => Some(why).filter(|why| !why.is_empty()),
                (why, Some(says)) if why.is_empty() => Some(says),
                (why, Some(says)) => Some(format!("{why}; it says: {says}")),
            },
        }
    }

    /// How long the present launch of an instance has been up, be it that a former run launched it.
    pub(crate) fn uptime(&self, instance: &Instance, tree: &Tree) -> Option<Duration> {
        let launched = instance.launched_at?;
        Some(tree.age_where_taken_back().unwrap_or_else(|| self.clock.now().since(launched)))
    }

    /// The instances that `NAME` and `NAME:INSTANCE` mean, in the order given, each once.
    pub(crate) fn instances_of(&self, names: &[String]) -> Result<Vec<InstanceId>, ApiError> {
        let mut all = Vec::new();
        for name in names {
            match self.target(name)? {
                Target::Instance(instance) => all.push(instance),
                Target::Worker(worker) => all.extend(self.instances_of_worker(worker)),
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|instance| seen.insert(*instance));
        Ok(all)
    }

    pub(crate) fn instances_of_worker(&self, worker: WorkerId) -> impl Iterator<Item = InstanceId> {
        let count = self.core.worker(worker).map_or(0, |worker| worker.instances);
        (0..count).map(move |index| InstanceId { worker, index })
    }

    pub(crate) fn target(&self, name: &str) -> Result<Target, ApiError> {
        self.roster.target(name, &self.core).map_err(|unknown| match unknown {
            UnknownName::Worker(like) => {
                let error = ApiError::new(ErrorCode::NotFound, format!("no worker is called {name:?}"));
                match like {
                    Some(like) => error.hint(format!("did you mean {like:?}?")),
                    None => error.hint("`supervisor status` lists the workers"),
                }
            }
            UnknownName::Instance(count) => {
                let error = ApiError::new(ErrorCode::NotFound, format!("there is no instance {name:?}"));
                match count {
                    0 | 1 => error.hint("the only instance has the number 0"),
                    _ => error.hint(format!("the instances are numbered 0 to {}", count - 1)),
                }
            }
        })
    }

    fn wish(&mut self, names: &[String], wish: impl Fn(Target) -> Wish) -> Result<(), ApiError> {
        if names.is_empty() {
            return Err(ApiError::new(ErrorCode::Usage, "no worker is named"));
        }
        let targets: Vec<Target> = names.iter().map(|name| self.target(name)).collect::<Result<_, _>>()?;
        self.tell_core(targets.into_iter().map(|target| Event::Asked(wish(target))));
        Ok(())
    }

    fn start(&mut self, names: &[String], wait: bool) -> Result<Outcome, ApiError> {
        self.refuse_while_stopping()?;
        self.wish(names, Wish::Start)?;
        let wanted = self.instances_of(names)?.into_iter().map(|instance| Wanted { instance, not: None });
        self.when(wait, Until::Running(wanted.collect()))
    }

    fn stop(&mut self, names: &[String], wait: bool) -> Result<Outcome, ApiError> {
        self.wish(names, Wish::Stop)?;
        let instances = self.instances_of(names)?.into_iter();
        let launch = |id| self.core.standing(id).and_then(|(_, launch)| launch);
        let instances = instances.map(|id| (id, launch(id))).collect();
        self.when(wait, Until::Ended(instances))
    }

    fn restart(&mut self, names: &[String], wait: bool, rolling: bool) -> Result<Outcome, ApiError> {
        self.refuse_while_stopping()?;
        let all = self.instances_of(names)?;
        let mut rolls = Rolls::default();
        let mut plain: Vec<String> = Vec::new();
        for name in names {
            match self.target(name)? {
                Target::Worker(worker) => {
                    let setup = self.setup.workers.get(worker.0 as usize);
                    let rolls_by_itself = setup.is_some_and(|setup| setup.kept.rolling);
                    if (rolling || rolls_by_itself) && self.begin_rolling(worker)? {
                        rolls.under_way.push(worker);
                    } else {
                        plain.push(name.clone());
                    }
                }
                Target::Instance(_) if rolling => {
                    let error = ApiError::new(ErrorCode::Usage, format!("{name} is one instance"));
                    return Err(error.hint("--rolling is for all instances of a worker"));
                }
                Target::Instance(_) => plain.push(name.clone()),
            }
        }
        let before = self.instances_of(&plain)?.into_iter().map(|instance| Wanted {
            instance,
            not: self.core.instance(instance, self.clock.now()).and_then(|now| now.launch),
        });
        let before: Vec<Wanted> = before.collect();
        if !plain.is_empty() {
            self.wish(&plain, Wish::Restart)?;
        }
        if rolls.under_way.is_empty() {
            return self.when(wait, Until::Running(before));
        }
        self.tell_core([]);
        self.look_at_rolls(&mut rolls);
        self.when(wait, Until::Rolled { rolls, plain: before, all })
    }

    fn scale(&mut self, sizes: &[Size], wait: bool) -> Result<Outcome, ApiError> {
        self.refuse_while_stopping()?;
        let (mut new, mut surplus, mut all) = (Vec::new(), Vec::new(), Vec::new());
        let mut wishes = Vec::new();
        for size in sizes {
            let Target::Worker(worker) = self.target(&size.worker)? else {
                return Err(ApiError::new(ErrorCode::Usage, "a worker is scaled, not an instance"));
            };
            if wishes.iter().any(|(known, _)| *known == worker) {
                let message = format!("{} is given two sizes", size.worker);
                return Err(ApiError::new(ErrorCode::Usage, message));
            }
            if size.instances > MAX_INSTANCES {
                let message = format!("a worker has at most {MAX_INSTANCES} instances");
                return Err(ApiError::new(ErrorCode::Usage, message));
            }
            let had = self.core.worker(worker).map_or(0, |worker| worker.instances);
            let id = |index| InstanceId { worker, index };
            surplus.extend((size.instances..had).map(id));
            all.extend((0..size.instances).map(id));
            // One that was scaled away and is not gone yet is new again.
            let is_new = |id: &InstanceId| !matches!(self.core.standing(*id), Some((phase, _)) if phase != Phase::Stopping);
            let wanted = (0..size.instances).map(id).filter(is_new);
            new.extend(wanted.map(|instance| Wanted { instance, not: None }));
            wishes.push((worker, size.instances));
        }
        for (worker, instances) in &wishes {
            self.roster.resize(*worker, *instances);
            self.resize_added(*worker, *instances);
        }
        let wishes =
            wishes.into_iter().map(|(worker, instances)| Event::Asked(Wish::Scale(worker, instances)));
        self.tell_core(wishes);
        self.when(wait, Until::Scaled { new, surplus, all })
    }

    pub(crate) fn refuse_while_stopping(&self) -> Result<(), ApiError> {
        if self.core.is_stopping() {
            return Err(ApiError::new(
                ErrorCode::Refused,
                "the run is stopping; nothing is started any more",
            ));
        }
        Ok(())
    }

    pub(crate) fn when(&self, wait: bool, until: Until) -> Result<Outcome, ApiError> {
        if wait {
            return Ok(Outcome::When(until, None));
        }
        Ok(now(self.acted(&until)))
    }

    /// What became of the instances that somebody asked to act on.
    fn acted(&self, until: &Until) -> Acted {
        let ids: Vec<InstanceId> = match until {
            Until::Running(wanted) => wanted.iter().map(|wanted| wanted.instance).collect(),
            Until::Ended(instances) => instances.iter().map(|(instance, _)| *instance).collect(),
            Until::Scaled { all, .. } | Until::Rolled { all, .. } => all.clone(),
            _ => Vec::new(),
        };
        let rows = ids.into_iter().filter_map(|id| self.core.instance(id, self.clock.now()));
        Acted { instances: rows.map(|instance| self.row(&instance)).collect() }
    }

    fn wait_for(&mut self, whom: &Who, timeout: Option<Duration>) -> Result<Outcome, ApiError> {
        let deadline = timeout.map(|timeout| self.clock.now() + timeout);
        match whom {
            Who::Worker(name) => {
                let ids = self.instances_of(std::slice::from_ref(name))?;
                Ok(Outcome::When(Until::WaitedFor(ids), deadline))
            }
            Who::Pid(pid) => {
                if let Some(process) = self.processes.led_by(*pid) {
                    return Ok(Outcome::When(Until::LeaderEnded { process, ending: None }, deadline));
                }
                let unknown =
                    || ApiError::new(ErrorCode::NotFound, format!("there is no process {pid} in this run"));
                self.owner_of(*pid).ok_or_else(unknown)?;
                let pidfd = hold(*pid).ok_or_else(unknown)?;
                self.watch_other(*pid).ok_or_else(unknown)?;
                Ok(Outcome::When(Until::Gone(Held { pid: *pid, pidfd }), deadline))
            }
        }
    }

    fn queue_handle(&mut self, queue: &str, pid: i32) -> Result<Outcome, ApiError> {
        let handle = self.queues.handle(queue).ok_or_else(|| self.no_queue(queue))?;
        self.watch_participant(pid)?;
        Ok(now(handle))
    }

    /// Watches a process that is about to use a queue or a lock, so that what it holds is given back when it dies.
    pub(crate) fn watch_participant(&mut self, pid: i32) -> Result<(), ApiError> {
        if self.processes.led_by(pid).is_some() || self.watch_other(pid).is_some() {
            return Ok(());
        }
        Err(ApiError::new(ErrorCode::Refused, format!("process {pid} cannot be watched"))
            .hint("queues and locks are shared only with processes that the supervisor can see"))
    }

    pub(crate) fn no_queue(&self, name: &str) -> ApiError {
        let error = ApiError::new(ErrorCode::NotFound, format!("no queue is called {name:?}"));
        match nearest(name, self.queues.names()) {
            Some(like) => error.hint(format!("did you mean {like:?}?")),
            None => error.hint("`supervisor queue ls` lists the queues"),
        }
    }

    /// Answers those for whom something has come about, and those whose time is up.
    pub(crate) fn look_at_waiters(&mut self) {
        let now = self.clock.now();
        let mut waiters = std::mem::take(&mut self.waiters);
        let mut left = Vec::with_capacity(waiters.len());
        for mut waiter in waiters.drain(..) {
            waiter.until.kill_if_due(now);
            let standing = |id: InstanceId| {
                let between_runs = self.core.is_between_runs(id);
                let parting = self.processes.has_adopted() && self.core.left_behind(id).leaving;
                let Some((phase, launch)) = self.core.standing(id) else {
                    // Of one that was scaled away something may still be there.
                    return parting.then_some(Standing {
                        phase: Phase::Stopping,
                        launch: None,
                        between_runs,
                        parting,
                    });
                };
                Some(Standing { phase, launch, between_runs, parting })
            };
            let has_come = waiter.until.has_come(standing) && self.is_all_gone(&mut waiter.until);
            let hint = match waiter.until {
                Until::Applied { .. } => {
                    "what was not replaced runs on as before; whatever is started from now on is by the new config"
                }
                _ => "what was not replaced runs on as before",
            };
            if let (true, Some(rolls)) = (has_come, waiter.until.rolls())
                && !rolls.failures.is_empty()
            {
                let error = ApiError::new(ErrorCode::Failed, rolls.failures.join("; "));
                waiter.reply.refuse(error.hint(hint));
            } else if has_come {
                waiter.reply.ok(&self.came_about(&waiter.until));
            } else if waiter.deadline.is_some_and(|deadline| deadline <= now) {
                waiter.reply.refuse(ApiError::new(ErrorCode::TimedOut, "it did not come about in time"));
            } else {
                left.push(waiter);
            }
        }
        self.waiters = left;
    }

    /// Where a whole tree was to be killed: whether nobody was born to it meanwhile. True of all else.
    fn is_all_gone(&mut self, until: &mut Until) -> bool {
        match until {
            Until::Killed { tree: Some(tree), living, kills, .. } => self.tree_is_gone(tree, *kills, living),
            _ => true,
        }
    }

    fn came_about(&self, until: &Until) -> Value {
        match until {
            Until::Running(_) | Until::Ended(_) | Until::Scaled { .. } | Until::Rolled { .. } => {
                value(self.acted(until))
            }
            Until::Applied { .. } => value(self.applied(until)),
            Until::WaitedFor(ids) => value(self.waited(ids)),
            Until::LeaderEnded { ending, .. } => {
                value(Waited { exit: ending.and_then(words::exit), state: None })
            }
            Until::Gone(held) => {
                let exit = process::exit_of(held.pidfd.as_fd()).map(words::ending).and_then(words::exit);
                value(Waited { exit, state: None })
            }
            Until::Killed { answer, .. } => value(answer),
            Until::Over => Value::Null,
        }
    }

    /// How the instances of a worker ended: the first that did not succeed speaks for all.
    fn waited(&self, ids: &[InstanceId]) -> Waited {
        let all: Vec<Instance> =
            ids.iter().filter_map(|id| self.core.instance(*id, self.clock.now())).collect();
        let worst = all.iter().find(|now| now.phase == Phase::Failed).or_else(|| all.first());
        Waited {
            exit: worst.and_then(|now| now.last).and_then(words::exit),
            state: worst.map(|now| now.phase.to_string()),
        }
    }

    /// Tells those who wait for the end of one launch how it ended.
    pub(crate) fn tell_leader_ended(&mut self, ended: Process, how: Ending) {
        for waiter in &mut self.waiters {
            if let Until::LeaderEnded { process, ending } = &mut waiter.until
                && *process == ended
            {
                *ending = Some(how);
            }
        }
    }

    /// The run is over: whoever asked for that is answered; the replies of all others tell that nobody is there any
    /// more.
    pub(crate) fn tell_waiters_it_is_over(&mut self) {
        self.look_at_waiters();
        for waiter in self.waiters.drain(..) {
            if matches!(waiter.until, Until::Over) {
                waiter.reply.ok(&serde_json::json!({ "over": true }));
            }
        }
    }
}

/// Holds a process, whoever it is.
pub(crate) fn hold(pid: i32) -> Option<OwnedFd> {
    Identity::of(Pid::from_raw(pid)).ok()??.hold().ok()?
}

pub(crate) fn value(answer: impl Serialize) -> Value {
    // The reports are plain data with string keys; they cannot fail to be JSON.
    serde_json::to_value(answer).unwrap_or(Value::Null)
}

pub(crate) fn now(answer: impl Serialize) -> Outcome {
    Outcome::Now(value(answer))
}

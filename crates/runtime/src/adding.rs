//! Adding workers and queues while the run goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use control::api::{self, ApiError, Argument, ErrorCode, NewQueue, NewWorker};
use ipc::Fsync;
use supervision::{
    After, Event, MAX_INSTANCES, Milestone, Policy, Request, Restart, Target, Worker, WorkerId,
};

use crate::additions::Addition;
use crate::asking::{Outcome, now};
use crate::setup::{Command, Input, Keeping, Output, QueueSetup, Setup, StopTo, WorkerSetup};
use crate::the_loop::Loop;
use crate::waiting::{Until, Wanted};
use crate::words;

/// A run has at most so many workers. Those that have ended count too: their names and their endings are kept.
const WORKERS_AT_MOST: usize = 100_000;

/// A run has at most so many queues: each has a descriptor.
const QUEUES_AT_MOST: usize = 10_000;

/// The longest message of a queue that does not say.
const MAX_MESSAGE: u64 = 16 << 20;

/// How long a message may be only in memory, where nobody says it, and at most.
const FSYNC_INTERVAL: Duration = Duration::from_secs(1);
const FSYNC_INTERVAL_AT_MOST_MS: u64 = 3_600_000;

impl Loop {
    pub(crate) fn spawn(&mut self, mut new: NewWorker, wait: bool) -> Result<Outcome, ApiError> {
        self.refuse_while_stopping()?;
        if self.setup.workers.len() >= WORKERS_AT_MOST {
            return Err(refused(format!("the run has {WORKERS_AT_MOST} workers, those that ended included")));
        }
        if new.instances > MAX_INSTANCES {
            let message = format!("a worker has at most {MAX_INSTANCES} instances");
            return Err(ApiError::new(ErrorCode::Usage, message));
        }
        let name = match new.name.clone() {
            Some(name) if self.roster.worker(&name).is_some() => {
                return Err(refused(format!("a worker is called {name:?} already")).hint(format!(
                    "`supervisor start {name}` starts it again; `spawn` without --name finds a name"
                )));
            }
            Some(name) => name,
            None => {
                let program = new.command.first().map_or(&b""[..], Argument::as_bytes);
                free_name(&String::from_utf8_lossy(program), |name| self.roster.worker(name).is_some())
            }
        };
        for queue in new.queue_in.iter().chain(&new.queue_out) {
            self.queues.get(queue).ok_or_else(|| self.no_queue(queue))?;
        }
        if let Some(queue) = new.queue_out.as_deref().filter(|queue| self.queues.is_closed(queue)) {
            return Err(ApiError::new(ErrorCode::Closed, format!("queue {queue} is closed")));
        }
        let worker = decided(&new, &name, self.after(&new)?);
        new.name = Some(name.clone());
        let unkept = |error| ApiError::new(ErrorCode::Failed, format!("it cannot be kept: {error}"));
        self.additions.keep(&Addition::Worker(new.clone())).map_err(unkept)?;
        let instances = new.instances;
        let id = self.roster.add(name, instances);
        self.setup.workers.push(carried_out(&new));
        self.added.insert(id, new);
        if let Some(setup) = self.setup.workers.last() {
            self.queues.unretire(id, &setup.kept.puts);
        }
        if worker.policy == Policy::Daemon {
            self.need_guard();
        }
        self.tell_core([Event::Asked(Request::Add(Box::new(worker)))]);
        let wanted = self.instances_of_worker(id).map(|instance| Wanted { instance, not: None });
        let until = Until::Running(wanted.collect());
        self.when(wait, until)
    }

    fn after(&self, new: &NewWorker) -> Result<Vec<After>, ApiError> {
        let after = |(name, milestone): (&String, &api::Milestone)| match self.target(name)? {
            Target::Worker(worker) => Ok(After { worker, milestone: reached(*milestone) }),
            Target::Instance(_) => {
                Err(ApiError::new(ErrorCode::Usage, "it can come after a worker, not an instance"))
            }
        };
        new.after.iter().map(after).collect()
    }

    /// A worker that was added has ended for good, or runs again.
    pub(crate) fn keep_added(&mut self, worker: WorkerId, runs: bool) {
        let Some(new) = self.added.get(&worker) else { return };
        if !runs {
            self.additions.forget_worker(self.roster.name(worker));
        } else if let Err(error) = self.additions.keep(&Addition::Worker(new.clone())) {
            let name = self.roster.name(worker);
            crate::talk::say(format_args!("{name}: cannot be kept: {}", words::reason(&error)));
        }
    }

    /// A worker that was added has another size from now on.
    pub(crate) fn resize_added(&mut self, worker: WorkerId, instances: u32) {
        if let Some(new) = self.added.get_mut(&worker) {
            new.instances = instances;
            self.keep_added(worker, true);
        }
    }

    pub(crate) fn create_queue(&mut self, new: NewQueue) -> Result<Outcome, ApiError> {
        self.refuse_while_stopping()?;
        if self.queues.get(&new.name).is_some() {
            return Err(refused(format!("a queue is called {:?} already", new.name)));
        }
        if self.queues.names().count() >= QUEUES_AT_MOST {
            return Err(refused(format!("the run has {QUEUES_AT_MOST} queues")));
        }
        if let Some(to) = &new.dead_letter {
            self.queues.get(to).ok_or_else(|| self.no_queue(to))?;
        }
        let usage = |why| ApiError::new(ErrorCode::Usage, format!("queue {}: {why}", new.name));
        let durable = durability(&new).map_err(usage)?;
        let name = self.setup.name.clone();
        // What is wrong with a durable queue is mostly the disk's; of another only its options can be impossible.
        let code = if durable.is_some() { ErrorCode::Failed } else { ErrorCode::Usage };
        self.queues.add(&name, &queue_setup(&new, durable)).map_err(|why| ApiError::new(code, why))?;
        if let Err(error) = self.additions.keep(&Addition::Queue(new.clone())) {
            // A file stays: what was left in it is nobody's to throw away.
            self.queues.remove(&new.name);
            return Err(ApiError::new(ErrorCode::Failed, format!("it cannot be kept: {error}")));
        }
        Ok(now(serde_json::json!({ "created": new.name })))
    }

    pub(crate) fn remove_queue(&mut self, name: &str) -> Result<Outcome, ApiError> {
        self.queues.get(name).ok_or_else(|| self.no_queue(name))?;
        if !self.additions.has_queue(name) {
            return Err(refused(format!("queue {name} is of the config")).hint("`queue close` closes it"));
        }
        let lists = |worker: &WorkerSetup| worker.kept.lists(name);
        if let Some(place) = self.setup.workers.iter().position(lists) {
            let worker = WorkerId(u32::try_from(place).unwrap_or(u32::MAX));
            return Err(refused(format!("{} uses queue {name}", self.roster.name(worker))));
        }
        if let Some(other) = self.queues.buries_in(name) {
            return Err(refused(format!("the dead letters of queue {other} go to queue {name}")));
        }
        self.queues.close(name);
        if let Some(file) = self.queues.remove(name) {
            let shown = file.display();
            std::fs::remove_file(&file).map_err(|error| {
                ApiError::new(ErrorCode::Failed, format!("{shown} cannot be removed: {error}"))
            })?;
        }
        self.additions.forget_queue(name);
        Ok(now(serde_json::json!({ "removed": name })))
    }
}

fn refused(why: String) -> ApiError {
    ApiError::new(ErrorCode::Refused, why)
}

/// Adds what a former run that was killed had added, as far as it is still there: queues, workers of which a process
/// lives, and workers that are always to be there. Says which workers were added at which place.
pub fn add_former(
    setup: &mut Setup,
    former: Vec<Addition>,
    lives: impl Fn(&str) -> bool,
) -> Vec<(WorkerId, Addition)> {
    let mut kept = Vec::new();
    for addition in former {
        match addition {
            Addition::Queue(new) if setup.queues.iter().all(|queue| queue.name != new.name) => {
                // It was looked at when it was added.
                setup.queues.push(queue_setup(&new, durability(&new).unwrap_or_default()));
                kept.push((WorkerId(0), Addition::Queue(new)));
            }
            Addition::Queue(_) => {}
            Addition::Worker(new) => {
                let Some(name) = new.name.clone() else { continue };
                if setup.family.workers.iter().any(|worker| worker.name == name) {
                    continue;
                }
                if new.restart == api::Restart::Never && !lives(&name) {
                    crate::talk::say(format_args!(
                        "{name} was added to a former run and ended without a supervisor; nobody knows how"
                    ));
                    continue;
                }
                // Whoever it came after and is not there any more has ended, and is not waited for.
                let places: Vec<&str> =
                    setup.family.workers.iter().map(|worker| worker.name.as_str()).collect();
                let after = new.after.iter().filter_map(|(name, milestone)| {
                    let place = places.iter().position(|other| other == name)?;
                    let worker = WorkerId(u32::try_from(place).ok()?);
                    Some(After { worker, milestone: reached(*milestone) })
                });
                let worker = decided(&new, &name, after.collect());
                let id = WorkerId(u32::try_from(places.len()).unwrap_or(u32::MAX));
                setup.family.workers.push(worker);
                setup.workers.push(carried_out(&new));
                kept.push((id, Addition::Worker(new)));
            }
        }
    }
    kept
}

/// What the core decides by.
fn decided(new: &NewWorker, name: &str, after: Vec<After>) -> Worker {
    Worker {
        instances: new.instances,
        policy: policy(new.policy),
        restart: restart(new.restart),
        after,
        ..Worker::named(name)
    }
}

/// What is done when the core says so.
fn carried_out(new: &NewWorker) -> WorkerSetup {
    WorkerSetup {
        command: Command::Argv(new.command.iter().map(|word| word.as_bytes().into()).collect()),
        args: "[]".into(),
        kwargs: "{}".into(),
        kept: Arc::new(keeping(new)),
    }
}

/// How what a script adds is kept.
fn keeping(new: &NewWorker) -> Keeping {
    Keeping {
        stop_signal: libc::SIGTERM,
        stop_to: StopTo::Main,
        env: new.env.clone().into_iter().collect(),
        clear_env: false,
        cwd: PathBuf::from(&new.cwd).into(),
        umask: 0o022,
        nice: 0,
        terms: None,
        rolling: false,
        stdin: new.queue_in.clone().map_or(Input::Null, Input::Queue),
        stdout: new.queue_out.clone().map_or(Output::Log, Output::Queue),
        stderr: Output::Log,
        log: None,
        notify: false,
        cron: None,
        watched: None,
        puts: new.queue_out.iter().cloned().collect(),
    }
}

/// Whether the queue is to outlive the run, and how soon its messages are on the disk.
///
/// # Errors
/// Names what was said and means nothing.
fn durability(new: &NewQueue) -> Result<Option<Fsync>, String> {
    match (new.durable, new.fsync, new.fsync_interval_ms) {
        (false, None, None) => Ok(None),
        (false, ..) => Err("fsync is for durable queues".to_owned()),
        (true, None | Some(api::Fsync::Always), None) => Ok(Some(Fsync::Always)),
        (true, Some(api::Fsync::Never), None) => Ok(Some(Fsync::Never)),
        (true, Some(api::Fsync::Always | api::Fsync::Never), Some(_)) => {
            Err("fsync_interval_ms is for fsync \"interval\"".to_owned())
        }
        (true, _, Some(ms)) if !(1..=FSYNC_INTERVAL_AT_MOST_MS).contains(&ms) => {
            Err(format!("fsync_interval_ms is from 1 to {FSYNC_INTERVAL_AT_MOST_MS}, not {ms}"))
        }
        (true, _, ms) => Ok(Some(Fsync::Interval(ms.map_or(FSYNC_INTERVAL, Duration::from_millis)))),
    }
}

fn queue_setup(new: &NewQueue, durable: Option<Fsync>) -> QueueSetup {
    QueueSetup {
        name: new.name.clone(),
        capacity: new.capacity,
        max_bytes: new.max_bytes,
        max_message: new.max_message.unwrap_or(MAX_MESSAGE),
        max_deliveries: new.max_deliveries,
        dead_letter: new.dead_letter.clone(),
        durable,
    }
}

/// The name of a program without its folder, as far as that can be a name.
///
/// ```
/// assert_eq!(runtime::name_of("/usr/bin/g++"), "g__");
/// assert_eq!(runtime::name_of("7"), "worker");
/// ```
pub fn name_of(program: &str) -> String {
    let file = program.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let fits = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = file.chars().take(100).map(fits).collect();
    if control::is_name(&name) { name } else { "worker".to_owned() }
}

/// The same, with a number where that is taken.
fn free_name(program: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let name = name_of(program);
    if !is_taken(&name) {
        return name;
    }
    // Workers are not without number, so one of these is free.
    let mut number = 2u32;
    loop {
        let numbered = format!("{name}-{number}");
        if !is_taken(&numbered) {
            return numbered;
        }
        number += 1;
    }
}

fn policy(policy: api::Policy) -> Policy {
    match policy {
        api::Policy::Wait => Policy::Wait,
        api::Policy::Terminate => Policy::Terminate,
        api::Policy::Daemon => Policy::Daemon,
    }
}

fn restart(restart: api::Restart) -> Restart {
    match restart {
        api::Restart::Never => Restart::Never,
        api::Restart::OnFailure => Restart::OnFailure,
        api::Restart::Always => Restart::Always,
    }
}

fn reached(milestone: api::Milestone) -> Milestone {
    match milestone {
        api::Milestone::Started => Milestone::Started,
        api::Milestone::Ready => Milestone::Ready,
        api::Milestone::Succeeded => Milestone::Succeeded,
        api::Milestone::Ended => Milestone::Ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_called_as_its_program_and_by_a_number_where_that_is_taken() {
        let free = |program: &str| free_name(program, |_| false);
        assert_eq!(free("sleep"), "sleep");
        assert_eq!(free("/usr/bin/g++"), "g__");
        assert_eq!(free("./a b/"), "a_b");
        for odd in ["", "/", "12", ".."] {
            assert_eq!(free(odd), "worker", "{odd}");
        }
        assert!(control::is_name(&free(&"ü".repeat(300))));
        assert_eq!(free_name("sleep", |name| name == "sleep"), "sleep-2");
        assert_eq!(free_name("7", |name| ["worker", "worker-2"].contains(&name)), "worker-3");
    }
}

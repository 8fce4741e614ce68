//! Workers that run as another user: who comes in by their door, and what that one is granted. What there is to be asked at
//! all is said by [`control::Errand`].

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use control::api::{
    ApiError, Enter, ErrorCode, Hello, HelloLine, Offered, QueueStatus, Status, SyncRequest, Why,
};
use control::{Errand, Peer, Visit};
use process::Pid;
use supervision::{Process, WorkerId};
use worker::wire;

use crate::asking::{Outcome, now};
use crate::doors::other_user;
use crate::orders::Orders;
use crate::the_loop::Loop;

/// A process that was found to be of a worker that runs as its user.
#[derive(Debug)]
struct Visitor {
    process: Process,
    pid: i32,
    uid: u32,
}

impl Loop {
    /// Answers an errand, now or when what it asks for has come about.
    pub(crate) fn receive(&mut self, visit: Visit) {
        let Visit { peer, errand, reply } = visit;
        let outcome = self.visitor(peer).and_then(|visitor| self.run_errand(&visitor, errand));
        self.give(outcome, reply);
    }

    /// Who comes in: a process in the tree of a worker that the config runs as its user.
    fn visitor(&self, Peer { pid, uid, .. }: Peer) -> Result<Visitor, ApiError> {
        let refused = |message: String| {
            let hint =
                "only what the supervisor launched as this user, and what that started, is answered here";
            ApiError::new(ErrorCode::Refused, message).hint(hint)
        };
        let stranger = || refused(format!("process {pid} is not of a worker of this run"));
        let process = self.launch_of(pid).ok_or_else(stranger)?;
        let worker = self.setup.workers.get(process.instance.worker.0 as usize).ok_or_else(stranger)?;
        // A pid may have been used again since, and what a process says of where it comes from be a lie: but the user who
        // connected is known.
        if other_user(worker).is_none_or(|user| user.uid != uid) {
            let name = self.roster.name(process.instance.worker);
            return Err(refused(format!("worker {name} does not run as user {uid}")));
        }
        Ok(Visitor { process, pid, uid })
    }

    fn run_errand(&mut self, visitor: &Visitor, errand: Errand) -> Result<Outcome, ApiError> {
        match errand {
            Errand::Status { workers } => self.status_for(visitor, &workers).map(now),
            Errand::Why { worker } => self.why_for(visitor, &worker).map(now),
            Errand::Logs { worker, lines, follow } => self.logs_for(visitor, worker, lines, follow),
            Errand::Queues => Ok(now(self.queues_for(visitor))),
            Errand::QueueHandle { queue } => self.hand_queue(visitor, &queue),
            Errand::QueueClose { queue } => self.close_for(visitor, &queue),
            Errand::Sync(SyncRequest::Handle(wanted)) => {
                let handle = self.sync_handle(wanted.as_ref(), visitor.pid, Some(visitor.uid))?;
                let memory = self.primitives.descriptor().map_err(|error| no_descriptor(&error))?;
                let handle = control::api::SyncHandle { path: None, ..handle };
                Ok(Outcome::Enclosed(crate::asking::value(handle), vec![memory]))
            }
            Errand::Sync(request) => self.synchronise(&request, visitor.pid),
            Errand::Hello(enter) => self.greet(enter, visitor.process, visitor.pid),
            Errand::Tell(tell) => self.hear(tell, visitor.pid),
        }
    }

    /// A worker joins on its connection: says who it is, and goes on with what it is to do.
    pub(crate) fn greet(&mut self, enter: Enter, process: Process, pid: i32) -> Result<Outcome, ApiError> {
        if let Some(abi) = enter.abi.filter(|abi| *abi != wire::ABI) {
            return Err(crate::joining::speaks_another(abi));
        }
        self.watch_participant(pid)?;
        let id = process.instance.worker;
        let offered = |(queue, dead_letter): (&str, Option<&str>)| Offered {
            queue: queue.to_owned(),
            dead_letter: dead_letter.map(str::to_owned),
        };
        let may_use = self.reach_of(id);
        let queues = self.queues.all().filter(|(queue, _)| may_use.has(queue)).map(offered).collect();
        let (run, worker) = (self.setup.name.clone(), self.roster.name(id).to_owned());
        let setup = self.setup.workers.get(id.0 as usize);
        let (args, kwargs) =
            setup.map(|setup| (setup.args.to_string(), setup.kwargs.to_string())).unwrap_or_default();
        let Some(tree) = self.processes.get_mut(process) else {
            return Err(ApiError::new(ErrorCode::NotFound, "the worker has ended"));
        };
        let hello = Hello {
            run,
            worker,
            instance: process.instance.index,
            launch: process.launch.0,
            pid: tree.pid.as_raw(),
            supervisor: Pid::this().as_raw(),
            args,
            kwargs,
            queues,
        };
        let (orders, page) = Orders::in_lines(HelloLine::Hello(Box::new(hello)));
        tree.talk().orders = Some(orders);
        Ok(Outcome::Stream(Box::new(page)))
    }

    fn status_for(&self, visitor: &Visitor, workers: &[String]) -> Result<Status, ApiError> {
        let mut status = self.status(workers)?;
        status.config = None;
        for row in status.workers.iter_mut().filter(|row| !self.is_fellow(visitor, &row.worker)) {
            row.why = None;
        }
        Ok(status)
    }

    /// Whether a worker runs as this user: of such ones there is nothing that the visitor could not find out by itself.
    fn is_fellow(&self, visitor: &Visitor, worker: &str) -> bool {
        let worker = self.roster.worker(worker);
        let setup = worker.and_then(|worker| self.setup.workers.get(worker.0 as usize));
        setup.and_then(other_user).is_some_and(|user| user.uid == visitor.uid)
    }

    fn check_fellow(&self, visitor: &Visitor, target: &str, what: &str) -> Result<(), ApiError> {
        let worker = target.split(':').next().unwrap_or(target);
        if self.is_fellow(visitor, worker) {
            return Ok(());
        }
        let message = format!("a worker that runs as user {} may not {what} worker {worker:?}", visitor.uid);
        Err(ApiError::new(ErrorCode::Refused, message)
            .hint("only those of workers that run as the same user"))
    }

    fn why_for(&self, visitor: &Visitor, target: &str) -> Result<Vec<Why>, ApiError> {
        self.check_fellow(visitor, target, "ask for the reasons of")?;
        let mut reasons = self.reasons(target)?;
        for reason in &mut reasons {
            for link in reason.chain.iter_mut().filter(|link| !self.is_fellow(visitor, &link.worker)) {
                link.why = None;
            }
            if let Some(asked) = &mut reason.asked {
                asked.command = None;
            }
        }
        Ok(reasons)
    }

    fn logs_for(
        &self,
        visitor: &Visitor,
        target: Option<String>,
        lines: u32,
        follow: bool,
    ) -> Result<Outcome, ApiError> {
        let own = || self.roster.name(visitor.process.instance.worker).to_owned();
        let target = target.unwrap_or_else(own);
        self.check_fellow(visitor, &target, "read what is printed by")?;
        self.logs(Some(&target), lines, follow)
    }

    fn queues_for(&self, visitor: &Visitor) -> Vec<QueueStatus> {
        let may_use = self.reach_of(visitor.process.instance.worker);
        let mut rows = self.queues.status();
        rows.retain(|row| may_use.has(&row.queue));
        rows
    }

    fn hand_queue(&mut self, visitor: &Visitor, queue: &str) -> Result<Outcome, ApiError> {
        let mut handle = self.queues.handle(queue).ok_or_else(|| self.no_queue(queue))?;
        let worker = visitor.process.instance.worker;
        let reach = self.reach_of(worker);
        if !reach.has(queue) {
            return Err(self.not_listed(worker, queue, "use", "\"get\" or \"put\""));
        }
        handle.dead_letter = handle.dead_letter.filter(|to| reach.has(&to.queue));
        self.watch_participant(visitor.pid)?;
        let named = [Some(&*handle.queue), handle.dead_letter.as_deref().map(|to| &*to.queue)];
        let memory = named.into_iter().flatten().filter_map(|name| self.queues.descriptor(name));
        let memory: Vec<OwnedFd> = memory.collect::<Result<_, _>>().map_err(|error| no_descriptor(&error))?;
        handle.path = None;
        if let Some(dead_letter) = &mut handle.dead_letter {
            dead_letter.path = None;
        }
        Ok(Outcome::Enclosed(crate::asking::value(handle), memory))
    }

    fn close_for(&mut self, visitor: &Visitor, queue: &str) -> Result<Outcome, ApiError> {
        let worker = visitor.process.instance.worker;
        let is_there = self.queues.all().any(|(name, _)| name == queue);
        if is_there && !self.reach_of(worker).closes(queue) {
            return Err(self.not_listed(worker, queue, "close", "\"put\""));
        }
        self.queues.close(queue).ok_or_else(|| self.no_queue(queue))?;
        Ok(now(serde_json::json!({ "closed": queue })))
    }

    fn not_listed(&self, worker: WorkerId, queue: &str, what: &str, keys: &str) -> ApiError {
        let name = self.roster.name(worker);
        let message = format!("worker {name} runs as another user and may not {what} queue {queue:?}");
        ApiError::new(ErrorCode::Refused, message)
            .hint(format!("list it in the config, in workers.{name}.queues under {keys}"))
    }

    /// Which queues a worker may use.
    fn reach_of(&self, worker: WorkerId) -> Reach<'_> {
        let setup = self.setup.workers.get(worker.0 as usize);
        let lists = setup.filter(|setup| other_user(setup).is_some());
        let lists = lists.and_then(|setup| setup.kept.terms.as_deref()?.listed.as_ref());
        let Some(listed) = lists else { return Reach { queues: None, puts: &[] } };
        let mut queues: BTreeSet<&str> = listed.gets.iter().chain(&listed.puts).map(String::as_str).collect();
        let buried = self.queues.all().filter(|(queue, _)| listed.gets.iter().any(|get| get == queue));
        queues.extend(buried.filter_map(|(_, dead_letter)| dead_letter));
        Reach { queues: Some(queues), puts: &listed.puts }
    }
}

/// The queues that a worker may use.
struct Reach<'a> {
    /// `None`: all of them.
    queues: Option<BTreeSet<&'a str>>,
    puts: &'a [String],
}

impl Reach<'_> {
    fn has(&self, queue: &str) -> bool {
        self.queues.as_ref().is_none_or(|queues| queues.contains(queue))
    }

    fn closes(&self, queue: &str) -> bool {
        self.queues.is_none() || self.puts.iter().any(|put| put == queue)
    }
}

fn no_descriptor(error: &std::io::Error) -> ApiError {
    ApiError::new(ErrorCode::Failed, format!("its memory cannot be handed over: {error}"))
}

//! The run's locks, semaphores, events, values, arrays, barriers and conditions: one family, made before the first launch,
//! and cleared of what the dead held.
//!
//! Whoever uses them opens the family's memory itself and is watched from then on, so that what it holds is handed on
//! the moment it dies. This file answers what can be answered at once; nobody ever waits in the loop.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use control::api::{
    ApiError, ArrayNumbers, ArrayStatus, BarrierStatus, Created, ErrorCode, EventStatus, Kind, LockStatus,
    NewPrimitive, Participant, Primitive, SemaphoreStatus, SyncHandle, SyncRequest, SyncStatus, ValueChange,
    ValueStatus,
};
use ipc::Fault;
use ipc::sync::{DefineError, Family, NoSuch, SyncOptions};
use process::{Identity, Pid, Snapshot, Stat};
use worker::wire::SyncGrant;

use crate::asking::{Outcome, now};
use crate::queues::open_anew;
use crate::roster::nearest;
use crate::setup::SyncSetup;
use crate::talk;
use crate::the_loop::Loop;

/// How many may be defined while the run goes on.
const DEFINED_LATER_AT_MOST: u32 = 256;

/// How many processes may use them at once: as many as a family can have.
const PARTICIPANTS: u32 = 4095;

/// All locks and their like of the run.
#[derive(Debug)]
pub struct Primitives {
    family: Family,
    /// Processes that came for one of them from the command line: they hold it for a command that they run. With the user
    /// whose door they came by, if it was not the owner's.
    keepers: BTreeMap<i32, Option<u32>>,
}

impl Primitives {
    /// Makes them; or goes on with `found`, which a former run of this folder left in the hands of the living, and
    /// defines what it lacks.
    ///
    /// # Errors
    ///
    /// Says what cannot be had.
    pub fn make(segment: &str, setup: &SyncSetup, found: Option<Family>) -> Result<Primitives, String> {
        if let Some(family) = found {
            let primitives = Primitives { family, keepers: BTreeMap::new() };
            for new in setup.all() {
                primitives.have(&new).map_err(|error| error.message)?;
            }
            return Ok(primitives);
        }
        let options = SyncOptions {
            locks: setup.locks.clone(),
            rlocks: setup.rlocks.clone(),
            bounded_semaphores: setup.semaphores.clone(),
            events: setup.events.clone(),
            conditions: setup.conditions.clone(),
            barriers: setup.barriers.clone(),
            values: setup.values.clone(),
            arrays: setup.arrays.clone(),
            spare: DEFINED_LATER_AT_MOST,
            participants: PARTICIPANTS,
            supervised: true,
            ..SyncOptions::default()
        };
        let family = Family::create_anonymous(segment, &options).map_err(|error| error.to_string())?;
        Ok(Primitives { family, keepers: BTreeMap::new() })
    }

    /// Where they are, for a worker's `Hello`.
    pub fn grant(&self) -> SyncGrant {
        SyncGrant { path: self.path(), uuid: self.uuid() }
    }

    fn handle(&self) -> SyncHandle {
        SyncHandle { path: Some(self.path()), uuid: self.uuid() }
    }

    /// Their memory, opened anew: for somebody who may not open it by its path.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        open_anew(&self.family.descriptor_path())
    }

    fn path(&self) -> String {
        self.family.descriptor_path().to_string_lossy().into_owned()
    }

    fn uuid(&self) -> String {
        self.family.uuid().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Hands on what a dead process held.
    ///
    /// Where it held something for a command, that command's processes are killed before: nobody is to go on under a lock
    /// that somebody else has by then.
    pub fn reclaim(&mut self, pid: i32) {
        let keeper = self.keepers.remove(&pid);
        let Ok(pid) = u32::try_from(pid) else { return };
        if let Some(user) = keeper
            && self.holds(pid)
        {
            self.fence(pid, user);
        }
        if let Err(fault) = self.family.reclaim(pid) {
            talk::say(format_args!("locks and their like: {fault}"));
        }
    }

    fn holds(&self, pid: u32) -> bool {
        let is_it = |(holder, _): &(u32, String)| *holder == pid;
        let locks = self.family.locks().unwrap_or_default();
        locks.iter().filter_map(|lock| lock.holder.as_ref()).any(is_it)
            || self.family.semaphores().iter().any(|it| it.holders().unwrap_or_default().iter().any(is_it))
    }

    /// Kills everything that bears a warrant of this process, and all below it, standing still. Where it came by the door of
    /// another user, only what is that user's: who gave a warrant is written in memory that he can write to, and he must not
    /// have others killed.
    fn fence(&self, pid: u32, user: Option<u32>) {
        let Ok(snapshot) = Snapshot::take() else { return };
        let bears_it = |stat: &&Stat| {
            let origin = process::origin(stat.pid).ok().flatten();
            let warrant = origin.as_ref().and_then(|origin| origin.mark("LOCK_WARRANT"));
            warrant.and_then(|warrant| self.family.giver_of(warrant)) == Some(pid)
        };
        let is_others = |pid: Pid| user.is_some_and(|user| process::user_of(pid) != Some(user));
        let roots = snapshot.iter().filter(|stat| !is_others(stat.pid)).filter(bears_it);
        let roots: Vec<Identity> = roots.map(Identity::from).collect();
        if !roots.is_empty()
            && let Ok(killed) = process::freeze_and_kill(&roots, is_others)
            && !killed.pids.is_empty()
        {
            let count = killed.pids.len();
            talk::say(format_args!(
                "pid {pid} died with what it held; {count} processes that ran under it are killed"
            ));
        }
    }

    /// Hands on what anybody dead held: after a former supervisor died with a part of the run.
    pub fn reclaim_dead(&self) {
        // Damage is told to whoever uses them.
        let _ = self.family.reclaim_dead();
    }

    /// Defines one that is not there; says whether it was not.
    pub(crate) fn have(&self, new: &NewPrimitive) -> Result<bool, ApiError> {
        let number = new.number.unwrap_or(0);
        let small = || u32::try_from(number).unwrap_or(u32::MAX);
        let family = &self.family;
        let defined = match new.kind {
            Kind::Lock => family.define_lock(&new.name).map(drop),
            Kind::Rlock => family.define_rlock(&new.name).map(drop),
            Kind::Semaphore => family.define_bounded_semaphore(&new.name, small()).map(drop),
            Kind::Event => family.define_event(&new.name).map(drop),
            Kind::Condition => family.define_condition(&new.name).map(drop),
            Kind::Barrier => family.define_barrier(&new.name, small()).map(drop),
            Kind::Value => family.define_value(&new.name, number).map(drop),
            Kind::Array => family.define_array(&new.name, small()).map(drop),
        };
        match defined {
            Ok(()) => Ok(true),
            Err(DefineError::Exists) => self.is_as_wanted(new).map(|()| false),
            Err(DefineError::Full(most)) => {
                let message = format!("{most} were created in this run, and there is room for no more");
                Err(ApiError::new(ErrorCode::Refused, message).hint("those of the config do not count"))
            }
            Err(DefineError::Options(why)) => Err(ApiError::new(ErrorCode::Usage, why)),
            Err(DefineError::Fault(fault)) => Err(faulty(fault)),
        }
    }

    fn is_as_wanted(&self, new: &NewPrimitive) -> Result<(), ApiError> {
        let (is, what) = match new.kind {
            Kind::Semaphore => {
                (self.family.semaphore(&new.name).ok().map(|it| i64::from(it.permits())), "permits")
            }
            Kind::Barrier => {
                (self.family.barrier(&new.name).ok().map(|it| i64::from(it.parties())), "parties")
            }
            Kind::Array => (self.family.array(&new.name).ok().map(|it| length(&it).into()), "numbers"),
            // A recursive lock is a lock; a plain one is not recursive.
            Kind::Rlock if self.family.rlock(&new.name).is_err() => {
                let message = format!("there is a lock {:?} already, and it is not recursive", new.name);
                return Err(ApiError::new(ErrorCode::Refused, message));
            }
            _ => return Ok(()),
        };
        match is.filter(|is| Some(*is) != new.number) {
            None => Ok(()),
            Some(is) => {
                let message =
                    format!("there is a {} {:?} already, with {is} {what}", new.kind.word(), new.name);
                Err(ApiError::new(ErrorCode::Refused, message))
            }
        }
    }

    fn is_there(&self, kind: Kind, name: &str) -> Result<(), ApiError> {
        let family = &self.family;
        let found = match kind {
            Kind::Lock => {
                family.lock(name).map(drop).or_else(|none| family.rlock(name).map(drop).map_err(|_| none))
            }
            Kind::Rlock => family.rlock(name).map(drop),
            Kind::Semaphore => family.semaphore(name).map(drop),
            Kind::Event => family.event(name).map(drop),
            Kind::Value => family.value(name).map(drop),
            Kind::Array => family.array(name).map(drop),
            Kind::Barrier => family.barrier(name).map(drop),
            Kind::Condition => family.condition(name).map(drop),
        };
        found.map_err(|unknown| no_such(&unknown))
    }

    fn set_event(&self, wanted: &EventStatus) -> Result<EventStatus, ApiError> {
        let event = self.family.event(&wanted.event).map_err(|unknown| no_such(&unknown))?;
        if wanted.set { event.set() } else { event.clear() }.map_err(faulty)?;
        Ok(wanted.clone())
    }

    fn change_value(&self, change: &ValueChange) -> Result<ValueStatus, ApiError> {
        let value = self.number(&change.value)?;
        let number = match (change.set, change.add) {
            (Some(number), _) => {
                value.set(number);
                number
            }
            (None, Some(more)) => {
                let mut before = value.get();
                loop {
                    let Some(sum) = before.checked_add(more) else {
                        let message = format!("{before} {more:+} is out of what a value can be");
                        return Err(ApiError::new(ErrorCode::Failed, message));
                    };
                    match value.compare_and_set(before, sum) {
                        Ok(()) => break sum,
                        Err(meanwhile) => before = meanwhile,
                    }
                }
            }
            (None, None) => value.get(),
        };
        Ok(ValueStatus { value: change.value.clone(), number })
    }

    /// A value, or a number of an array.
    fn number(&self, name: &str) -> Result<ipc::sync::Value, ApiError> {
        let not_found = |message: String| ApiError::new(ErrorCode::NotFound, message);
        let Some((name, index)) = name.split_once(':') else {
            return self.family.value(name).map_err(|unknown| match self.family.array(name) {
                Ok(array) => not_found(format!("{name} is an array, and no value"))
                    .hint(format!("its numbers are {name}:0 to {name}:{}", length(&array) - 1)),
                Err(_) => no_such(&unknown),
            });
        };
        let array = self.family.array(name).map_err(|unknown| match self.family.value(name) {
            Ok(_) => not_found(format!("{name} is a value, and no array")),
            Err(_) => no_such(&unknown),
        })?;
        index.parse().ok().and_then(|index| array.at(index)).ok_or_else(|| {
            let last = length(&array) - 1;
            not_found(format!("array {name} has no number {index}"))
                .hint(format!("its numbers are {name}:0 to {name}:{last}"))
        })
    }

    fn numbers(&self, name: &str) -> Result<ArrayNumbers, ApiError> {
        let array = self.family.array(name).map_err(|unknown| no_such(&unknown))?;
        Ok(ArrayNumbers { array: name.to_owned(), numbers: array.to_vec() })
    }

    fn reset_barrier(&self, name: &str) -> Result<BarrierStatus, ApiError> {
        let barrier = self.family.barrier(name).map_err(|unknown| no_such(&unknown))?;
        barrier.reset().map_err(faulty)?;
        barrier_status(&barrier).map_err(faulty)
    }

    fn status(&self, participant: impl Fn((u32, String)) -> Participant) -> Result<SyncStatus, Fault> {
        let family = &self.family;
        let mut status = SyncStatus::default();
        for lock in family.locks()? {
            status.locks.push(LockStatus {
                lock: lock.name,
                recursive: lock.is_recursive,
                holder: lock.holder.map(&participant),
                waiters: lock.waiters.into_iter().map(&participant).collect(),
            });
        }
        for semaphore in family.semaphores() {
            status.semaphores.push(SemaphoreStatus {
                semaphore: semaphore.name().to_owned(),
                permits: semaphore.permits(),
                free: semaphore.value()?,
                holders: semaphore.holders()?.into_iter().map(&participant).collect(),
            });
        }
        for event in family.events() {
            status.events.push(EventStatus { event: event.name().to_owned(), set: event.is_set()? });
        }
        for value in family.values() {
            status.values.push(ValueStatus { value: value.name().to_owned(), number: value.get() });
        }
        for array in family.arrays() {
            status.arrays.push(ArrayStatus { array: array.name().to_owned(), length: length(&array) });
        }
        for barrier in family.barriers() {
            status.barriers.push(barrier_status(&barrier)?);
        }
        status.conditions = family.conditions().iter().map(|it| it.name().to_owned()).collect();
        Ok(status)
    }
}

/// How many numbers it has, at least one: the config and the API see to that.
fn length(array: &ipc::sync::Array) -> u32 {
    u32::try_from(array.len()).unwrap_or(u32::MAX).max(1)
}

fn barrier_status(barrier: &ipc::sync::Barrier) -> Result<BarrierStatus, Fault> {
    Ok(BarrierStatus {
        barrier: barrier.name().to_owned(),
        parties: barrier.parties(),
        waiting: barrier.waiting()?,
        broken: barrier.is_broken()?,
    })
}

/// The name of the memory of a run's locks and their like, by which a later run of the same folder recognises it. No
/// queue's memory has such a name.
pub fn segment_name(run: &str, folder: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    // Other users of this machine may have runs of the same name.
    let place = std::fs::metadata(folder).map_or((0, 0), |found| (found.dev(), found.ino()));
    format!("supervisor:{run}@{:x}.{:x}", place.0, place.1)
}

fn faulty(fault: Fault) -> ApiError {
    ApiError::new(ErrorCode::Failed, format!("locks and their like cannot be used: {fault}"))
}

fn no_such(unknown: &NoSuch) -> ApiError {
    let NoSuch { kind, name, known } = unknown;
    let error = ApiError::new(ErrorCode::NotFound, format!("no {kind} is called {name:?}"));
    match nearest(name, known.iter().map(String::as_str)) {
        Some(like) => error.hint(format!("did you mean {like:?}?")),
        None if known.is_empty() => {
            error.hint(format!("`{}` makes one; the config can name them too", creation(kind, name)))
        }
        None => error.hint(format!(
            "`supervisor {} ls` lists them; `{}` makes one",
            verb(kind),
            creation(kind, name)
        )),
    }
}

/// Arrays go by the verb of values.
fn verb(kind: &str) -> &str {
    if kind == "array" { "value" } else { kind }
}

/// What somebody types to make one.
fn creation(kind: &str, name: &str) -> String {
    let more = match kind {
        "array" => " --length 8",
        "semaphore" | "barrier" => " 2",
        _ => "",
    };
    format!("supervisor {} create {name}{more}", verb(kind))
}

impl Loop {
    /// Answers what is asked of locks and their like.
    pub(crate) fn synchronise(&mut self, request: &SyncRequest, pid: i32) -> Result<Outcome, ApiError> {
        Ok(match request {
            SyncRequest::List => {
                now(self.primitives.status(|holder| self.participant(holder)).map_err(faulty)?)
            }
            SyncRequest::Handle(wanted) => now(self.sync_handle(wanted.as_ref(), pid, None)?),
            SyncRequest::Create(new) => {
                let created = self.primitives.have(new)?;
                now(Created { kind: new.kind, name: new.name.clone(), created })
            }
            SyncRequest::Event(event) => now(self.primitives.set_event(event)?),
            SyncRequest::Value(change) => now(self.primitives.change_value(change)?),
            SyncRequest::Array { array } => now(self.primitives.numbers(array)?),
            SyncRequest::BarrierReset { barrier } => now(self.primitives.reset_barrier(barrier)?),
        })
    }

    /// Where the memory is, for a process that is watched from now on; `user` is the one whose door it came by, if that was
    /// not the owner's.
    pub(crate) fn sync_handle(
        &mut self,
        wanted: Option<&Primitive>,
        pid: i32,
        user: Option<u32>,
    ) -> Result<SyncHandle, ApiError> {
        if let Some(wanted) = wanted {
            self.primitives.is_there(wanted.kind, &wanted.name)?;
        }
        self.watch_participant(pid)?;
        if wanted.is_some_and(|it| matches!(it.kind, Kind::Lock | Kind::Rlock | Kind::Semaphore)) {
            self.primitives.keepers.insert(pid, user);
        }
        Ok(self.primitives.handle())
    }

    fn participant(&self, (pid, name): (u32, String)) -> Participant {
        let pid = i32::try_from(pid).unwrap_or(0);
        let launch = self.launch_of(pid);
        Participant {
            pid,
            name,
            worker: launch.map(|launch| self.roster.name(launch.instance.worker).to_owned()),
            instance: launch.map(|launch| launch.instance.index),
        }
    }

    /// Gives back what a dead process held: messages, and locks and their like.
    pub(crate) fn reclaim_from(&mut self, pid: i32) {
        self.primitives.reclaim(pid);
        self.queues.reclaim(pid);
    }
}

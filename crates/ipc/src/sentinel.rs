//! Noticing deaths where nobody supervises: without a clock, by two threads that sleep until something happens.
//!
//! One sleeps until the membership of the segment changes and then nudges the other; the other sleeps in one
//! `poll` over a pidfd of every process that takes part. When one has died it recovers it, in the name of the
//! handle it was started for, at the same time as the sentinels of other processes: the first one does it.
//!
//! They are started by the first call that really sleeps, end with their handle, and are not there in the
//! child of a fork, where the first sleep starts others.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::thread;

use crate::atomic::Ordering;
use crate::errors::Fault;
use crate::futex;
use crate::liveness::Identity;
use crate::memory::{LEAST, Memory, this_process};
use crate::segment::{MEMBERSHIP, Segment};

/// What sentinels watch over.
pub(crate) trait Watched: Send + Sync + 'static {
    fn segment(&self) -> &Segment;

    /// Recovers every participant that is dead.
    ///
    /// # Errors
    /// [`Fault`] where nothing can be done any more.
    fn reclaim_dead(&self) -> Result<(), Fault>;
}

/// The two threads of one handle, which end when it is dropped.
#[derive(Debug)]
pub(crate) struct Sentinel {
    /// The process they run in.
    pub(crate) process: u32,
    has_ended: Arc<AtomicBool>,
    memory: Arc<Memory>,
}

impl Sentinel {
    /// Starts them.
    ///
    /// # Errors
    /// Where there are no threads, descriptors or addresses left.
    pub(crate) fn start(segment: &Segment, watched: Weak<impl Watched>) -> io::Result<Self> {
        let memory = Arc::new(Memory::map(segment.memory().file().try_clone()?, LEAST)?);
        let has_ended = Arc::new(AtomicBool::new(false));
        let (hears, tells) = io::pipe()?;
        let started = Self { process: this_process(), has_ended, memory };
        let (has_ended, memory) = (Arc::clone(&started.has_ended), Arc::clone(&started.memory));
        thread::Builder::new().name("ipc-members".to_owned()).spawn(move || {
            follow_membership(&memory, &has_ended, tells);
        })?;
        let has_ended = Arc::clone(&started.has_ended);
        thread::Builder::new().name("ipc-deaths".to_owned()).spawn(move || {
            // Without descriptors there is nothing to poll; the sleepers' own slices are left.
            let _ = follow_deaths(&watched, &has_ended, hears);
        })?;
        Ok(started)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        if self.process == this_process() {
            nudge(&self.memory);
        }
    }
}

/// Tells every sentinel of the segment that the membership has changed, or that it is time to look anyway.
pub(crate) fn nudge(memory: &Memory) {
    let membership = memory.u32(MEMBERSHIP);
    membership.fetch_add(1, Ordering::AcqRel);
    futex::wake(membership, u32::MAX);
}

fn follow_membership(memory: &Memory, has_ended: &AtomicBool, mut tells: PipeWriter) {
    let membership = memory.u32(MEMBERSHIP);
    loop {
        let seen = membership.load(Ordering::Acquire);
        // Dropping the writer on return ends the other thread too.
        if has_ended.load(Ordering::Acquire) || memory.is_cut() || tells.write_all(b"!").is_err() {
            return;
        }
        futex::wait(membership, seen, u64::MAX);
    }
}

fn follow_deaths(object: &Weak<impl Watched>, has_ended: &AtomicBool, hears: PipeReader) -> io::Result<()> {
    let mut hears = hears;
    let heard = OwnedFd::from(hears.try_clone()?);
    let mut watched: BTreeMap<Identity, OwnedFd> = BTreeMap::new();
    loop {
        let descriptors: Vec<&OwnedFd> = std::iter::once(&heard).chain(watched.values()).collect();
        let readable = match futex::poll_readable(&descriptors, -1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if readable[0] && hears.read(&mut [0; 64])? == 0 || has_ended.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some(object) = object.upgrade() else { return Ok(()) };
        let members = object.segment().members();
        // Who has gone is not watched any more, be it that it left or that it died.
        let gone: Vec<Identity> =
            watched.keys().zip(&readable[1..]).filter(|one| *one.1).map(|one| *one.0).collect();
        watched.retain(|who, _| members.contains(who) && !gone.contains(who));
        let mut has_died = !gone.is_empty();
        for who in members {
            if who.pid != this_process() && !watched.contains_key(&who) {
                // Asked after the descriptor is there: it may be that of another with the same pid.
                match futex::pidfd(who.pid) {
                    Ok(fd) if !who.is_dead() => drop(watched.insert(who, fd)),
                    _ => has_died = true,
                }
            }
        }
        if has_died && object.reclaim_dead().is_err() {
            return Ok(());
        }
    }
}

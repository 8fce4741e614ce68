//! One life of a supervisor that is not ours. Some of them put themselves into the background, or leave parts of them
//! behind: everything of one life bears its mark in the environment, and is ended with it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench::{Birth, Stamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use process::{Identity, Snapshot};

use super::setups::{Peer, Place, Stop};
use crate::births::Births;
use crate::stage::{Running, Stage, timed};
use crate::{Trouble, facts};

/// The mark of one life: the path of its pipe.
const MARK: &str = "BENCH_LIFE";

/// How long the rest may take to go.
const REST_TAKES: Duration = Duration::from_secs(10);

/// A peer that leads.
#[derive(Debug)]
pub struct Guest<'a> {
    peer: &'a Peer,
    place: Place,
    count: u32,
    births: Births,
    /// The program that was started; of some it has ended, and left another in the background.
    program: Option<Running>,
    begun: Stamp,
}

impl<'a> Guest<'a> {
    /// Sets it up for so many workers, and starts it.
    pub fn open(stage: &mut Stage, peer: &'a Peer, count: u32) -> Result<Guest<'a>, Trouble> {
        let (name, births) = stage.next_births()?;
        let folder = stage.path(&format!("{}-{}", peer.name, name.display()));
        fs::create_dir_all(&folder)?;
        let child = crate::programs()?.join("bench-child");
        let place = Place { folder, child, births: births.path().to_owned() };
        let mut command = (peer.prepare)(&place, count)?;
        thread::sleep(peer.after_writing);
        let mut guest = Guest { peer, place, count, births, program: None, begun: Stamp::now() };
        guest.mark(&mut command)?;
        guest.begun = Stamp::now();
        guest.program = Some(Running::start(&mut command)?);
        Ok(guest)
    }

    /// Marks a command as of this life, and puts aside what it says.
    fn mark(&self, command: &mut Command) -> Result<(), Trouble> {
        let said = File::options().append(true).create(true).open(self.place.folder.join("said"))?;
        command.env(MARK, &self.place.births).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        Ok(())
    }

    /// Waits for so many births; milliseconds from its start to the last of them.
    pub fn born(&mut self, count: u32) -> Result<f64, Trouble> {
        let births = self.births.crowd(count as usize)?;
        let last = births.iter().map(|birth| birth.at).max().unwrap_or(self.begun);
        Ok(last.ms_since(self.begun))
    }

    /// Waits for one birth.
    pub fn next_birth(&mut self) -> Result<Birth, Trouble> {
        self.births.next()
    }

    /// The memory of all its processes that are no workers.
    pub fn pss_kib(&self) -> Result<f64, Trouble> {
        let is_worker = |pid: Pid| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program == self.place.child)
        };
        let machinery = self.alive()?.into_iter().map(|it| it.pid).filter(|pid| !is_worker(*pid));
        let sizes = machinery.filter_map(|pid| facts::pss_kib(pid.as_raw().unsigned_abs()).ok());
        Ok(sizes.sum())
    }

    /// Milliseconds that its command takes to tell of all workers, if it has one.
    pub fn status_ms(&self) -> Result<Option<f64>, Trouble> {
        let Some(status) = self.peer.status else { return Ok(None) };
        let mut command = status(&self.place, self.count);
        self.mark(&mut command)?;
        timed(command).map(Some)
    }

    /// Tells it to end; milliseconds until the last worker was gone. Whatever it leaves is ended too.
    pub fn stop(mut self) -> Result<f64, Trouble> {
        let begun = Stamp::now();
        let mut told = None;
        match self.peer.stop {
            Stop::By(signal) => self.tell(signal),
            Stop::With(command) => {
                let mut command = command(&self.place, self.count);
                self.mark(&mut command)?;
                told = Some(Running::start(&mut command)?);
            }
        }
        let gone = self.births.end()?;
        drop(told);
        Ok(gone.ms_since(begun))
    }

    fn tell(&self, signal: Signal) {
        if let Some(program) = &self.program {
            // An error means that it is gone.
            let _ = kill(program.pid(), signal);
        }
    }

    /// Everything of this life that has not ended.
    fn alive(&self) -> Result<BTreeSet<Identity>, Trouble> {
        let snapshot = Snapshot::take()?;
        let mark = self.place.births.as_os_str().as_encoded_bytes();
        let ours = |pid: Pid| process::environ_var(pid, MARK).is_some_and(|found| found == mark);
        Ok(snapshot.iter().filter(|stat| !stat.is_zombie() && ours(stat.pid)).map(Identity::from).collect())
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let give_up = Instant::now() + REST_TAKES;
        while let Ok(rest) = self.alive() {
            if rest.is_empty() || Instant::now() > give_up {
                break;
            }
            let rest: Vec<Identity> = rest.into_iter().collect();
            let _ = process::freeze_and_kill(&rest, |_| false);
            thread::sleep(Duration::from_millis(5));
        }
        let _ = fs::remove_dir_all(&self.place.folder);
    }
}

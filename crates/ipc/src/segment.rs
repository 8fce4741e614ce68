//! A segment: shared memory with a header, a table of participants and room for one object.
//!
//! ```text
//!   0x0000  header            written once (see `header`)
//!   0x0200  poisoned u32      why everybody must stop using it; zero while all is well
//!   0x0240  reach u32         participants' entries ever used
//!   0x0280  membership u32    goes up when somebody joins; a futex
//!   0x1000  the object's page (4096 bytes, the object's own)
//!   0x2000  participants, 128 bytes each
//!   ...     the object's data, from the next multiple of 4096 on
//! ```
//!
//! The kind of object brings two things: how its words begin (all zero unless it says otherwise), and what to
//! do when a participant has died ([`Recover`]). Everything else, from opening a file of doubtful origin to
//! electing who recovers whom, is here, once.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::atomic::{AtomicU64, Ordering};
use crate::errors::{Damage, Fault, OpenError};
use crate::header::{Header, Kind};
use crate::liveness::Identity;
use crate::memory::{self, Hold, Memory, OS_PAGE};
use crate::opening::{self, Draft};
use crate::options::Fsync;
use crate::participants::{self, Entry, Index, Table};

const POISONED: usize = 0x200;
const REACH: usize = 0x240;
/// Goes up when somebody joins; sentinels sleep on it.
pub(crate) const MEMBERSHIP: usize = 0x280;
/// Where the object's page is.
pub(crate) const OBJECT: usize = 0x1000;
const PARTICIPANTS: usize = 0x2000;

/// Where the object's data begins when there are so many participants.
pub(crate) fn data_offset(participants: u32) -> usize {
    (PARTICIPANTS + participants as usize * participants::ENTRY).next_multiple_of(OS_PAGE)
}

/// What was done for the dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Participants found dead and recovered.
    pub dead: u32,
    /// Messages they had taken and not acknowledged, delivered again.
    pub redelivered: u32,
    /// Blocks of messages they had not finished putting.
    pub freed: u32,
    /// Locks and permits they held, handed on.
    pub handed_on: u32,
}

impl std::ops::AddAssign for Reclaimed {
    fn add_assign(&mut self, other: Self) {
        self.dead += other.dead;
        self.redelivered += other.redelivered;
        self.freed += other.freed;
        self.handed_on += other.handed_on;
    }
}

/// What an object does for a participant that has died.
pub(crate) trait Recover {
    /// Makes good whatever `dead` left half done or held, in the name of `by`.
    ///
    /// Nobody else does this for the same participant at the same time. It may be cut short by the death of
    /// `by` after any step and is then done again from the start by another.
    fn recover(&self, dead: Index, by: Index) -> Result<Reclaimed, Damage>;
}

/// A mapped segment, and this handle's place in it.
#[derive(Debug)]
pub(crate) struct Segment {
    memory: Memory,
    header: Header,
    /// `pid:32 | index + 1:32` of the process that joined by this handle; zero before.
    seat: AtomicU64,
    /// The process that opened it; in the child of a fork it is another.
    process: u32,
    /// Whether the handle has come as far as that others may trust what it leaves behind.
    is_entered: AtomicBool,
}

impl Segment {
    /// Makes a segment without a name in the file system. It cannot be shrunk by anybody.
    pub(crate) fn create_anonymous(
        header: Header,
        format: impl FnOnce(&Memory) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let length = length_of(&header)?;
        let file = memory::sealed_file(&header.name, length)?;
        Self::format(file, header, format)
    }

    /// Makes a segment in a new file at `path`. The file appears there complete, or not at all.
    pub(crate) fn create(
        path: &Path,
        header: Header,
        format: impl FnOnce(&Memory) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(OpenError::Exists);
        }
        let draft = Draft::beside(path, &header.uuid);
        let is_durable = header.fsync.is_some();
        let segment = Self::draft(&draft, header, format)?;
        fs::hard_link(&draft.0, path)?;
        if is_durable {
            opening::sync_folder(path)?;
        }
        Ok(segment)
    }

    /// Makes a segment in a file that is not in its place yet.
    pub(crate) fn draft(
        draft: &Draft,
        header: Header,
        format: impl FnOnce(&Memory) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let length = length_of(&header)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&draft.0)?;
        file.set_len(length as u64)?;
        let is_durable = header.fsync.is_some();
        if is_durable {
            memory::hold(&file, Hold::Shared)?;
        }
        let segment = Self::format(file, header, format)?;
        if is_durable {
            segment.memory.file().sync_all()?;
        }
        Ok(segment)
    }

    fn format(
        file: File,
        header: Header,
        format: impl FnOnce(&Memory) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let memory = Memory::map(file, length_of(&header)?)?;
        format(&memory)?;
        memory.write(0, &header.to_bytes());
        Ok(Self::over(memory, header))
    }

    /// Opens the segment in the file at `path`, which may be `/proc/PID/fd/N`.
    pub(crate) fn open(path: &Path, kind: Kind) -> Result<Self, OpenError> {
        Self::from_file(opening::open(path)?, kind)
    }

    /// Opens the segment in an open file.
    pub(crate) fn from_file(file: File, kind: Kind) -> Result<Self, OpenError> {
        opening::check(&file)?;
        let header = opening::read_header(&file, kind)?;
        Self::attach(file, header)
    }

    /// The segment in a file that says this of itself, for those to whom pids mean the same.
    pub(crate) fn attach(file: File, header: Header) -> Result<Self, OpenError> {
        if header.total < memory::LEAST as u64 {
            return Err(OpenError::CorruptHeader);
        }
        header.check_namespace()?;
        let memory = Memory::map(file, length_of(&header)?)?;
        Ok(Self::over(memory, header))
    }

    fn over(memory: Memory, header: Header) -> Self {
        let is_entered = AtomicBool::new(false);
        Self { memory, header, seat: AtomicU64::new(0), process: memory::this_process(), is_entered }
    }

    /// The handle is complete: its end may say that all is on the disk.
    pub(crate) fn enter(&self) {
        self.is_entered.store(true, Ordering::Relaxed);
    }

    /// Writes a durable segment's header anew, for those who open it from now on. Only for who holds the file alone,
    /// or beside others who write the same.
    pub(crate) fn write_header(&self, header: &Header) -> io::Result<()> {
        // One write within one sector: whoever reads it, now or after a loss of power, reads one or the other.
        self.memory.file().write_all_at(&header.to_bytes(), 0)?;
        match header.fsync {
            Some(Fsync::Always | Fsync::Interval(_)) => self.memory.sync_all(),
            Some(Fsync::Never) | None => Ok(()),
        }
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// How others of this user can open it while this handle lives: `/proc/PID/fd/N`.
    pub(crate) fn descriptor_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.memory.file().as_raw_fd()))
    }

    /// Nothing while all is well; the damage once anybody has found some.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Damage> {
        if self.memory.is_cut() {
            return Err(Damage::Cut);
        }
        match self.memory.fixed_u32::<POISONED>().load(Ordering::Relaxed) {
            0 => Ok(()),
            code => Err(Damage::from_code(code)),
        }
    }

    /// The damage if the file was cut short: what was copied out of it, or into it, is not what it seems.
    #[inline]
    pub(crate) fn check_whole(&self) -> Result<(), Damage> {
        if self.memory.is_cut() { Err(Damage::Cut) } else { Ok(()) }
    }

    /// Tells everybody that the segment is damaged. The first reason stays.
    pub(crate) fn poison(&self, damage: Damage) -> Damage {
        let word = self.memory.u32(POISONED);
        let _ = word.compare_exchange(0, damage.code(), Ordering::AcqRel, Ordering::Relaxed);
        damage
    }

    pub(crate) fn participants(&self) -> Table<'_> {
        Table::new(&self.memory, PARTICIPANTS, self.header.participants, REACH)
    }

    /// This process's index, if it has joined by this handle.
    #[inline]
    pub(crate) fn seat(&self) -> Option<Index> {
        let seat = self.seat.load(Ordering::Acquire);
        ((seat >> 32) as u32 == memory::this_process() && seat != 0).then(|| seat as u32 - 1)
    }

    /// This process's index; joins if it has not yet, or if it is the child of a fork.
    #[inline]
    pub(crate) fn join(&self, object: &dyn Recover) -> Result<Index, Fault> {
        match self.seat() {
            Some(index) => Ok(index),
            None => self.join_anew(object),
        }
    }

    #[cold]
    fn join_anew(&self, object: &dyn Recover) -> Result<Index, Fault> {
        self.check()?;
        let me = Identity::mine();
        let index = match self.participants().join(me) {
            Err(Fault::Crowded) => self.inherit(object, me)?,
            joined => joined?,
        };
        let before = self.seat.load(Ordering::Acquire);
        let after = u64::from(me.pid) << 32 | u64::from(index + 1);
        let is_ours = (before >> 32) as u32 == me.pid;
        if is_ours || self.seat.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire).is_err()
        {
            // Another thread of this process joined by this handle at the same time: what it holds already bears its index.
            self.participants().leave(index, me);
            return self.seat().ok_or(Fault::Crowded);
        }
        crate::sentinel::nudge(&self.memory);
        self.unsettle();
        if !self.header.supervised {
            // Whoever died while nobody was here, or before the machine was started again, left things behind.
            self.reclaim(object, index, |_| true)?;
        }
        Ok(index)
    }

    /// Gives this handle's place back. Only when nothing is held in its name.
    pub(crate) fn leave(&self) {
        if let Some(index) = self.seat() {
            self.participants().leave(index, Identity::mine());
            self.seat.store(0, Ordering::Release);
        }
    }

    /// Takes back that all is on the disk, which somebody said who went away when nobody else seemed to be here.
    fn unsettle(&self) {
        if self.header.fsync.is_some()
            && let Ok(header) = opening::read_header(self.memory.file(), self.header.kind)
            && header.is_settled
        {
            // Where it cannot be written, nothing else can.
            let _ = self.write_header(&Header { is_settled: false, ..header });
        }
    }

    /// Says that all is on the disk, if it is and nobody else is here to change it. For the end of a handle.
    pub(crate) fn settle(&self) {
        let may = matches!(self.header.fsync, Some(Fsync::Always | Fsync::Interval(_)))
            && self.is_entered.load(Ordering::Relaxed)
            && self.process == memory::this_process()
            && self.check().is_ok();
        if !may || !matches!(opening::try_hold(self.memory.file(), Hold::Alone), Ok(true)) {
            return;
        }
        if self.members().is_empty()
            && self.memory.sync_all().is_ok()
            && let Ok(header) = opening::read_header(self.memory.file(), self.header.kind)
        {
            // Where it cannot be said, the next one is in doubt, and right to be.
            let _ = self.write_header(&Header { is_settled: true, ..header });
        }
        // The child of a fork may still have the file as we do.
        let _ = memory::hold(self.memory.file(), Hold::Shared);
    }

    /// Recovers every participant but `by`: for who holds the file alone, and so knows that all of them are dead.
    pub(crate) fn bury_all(&self, object: &dyn Recover, by: Index) -> Result<Reclaimed, Damage> {
        let table = self.participants();
        let mut done = Reclaimed::default();
        for index in (0..table.reach()).filter(|&index| index != by) {
            let entry = table.entry(index).map_err(|damage| self.poison(damage))?;
            if entry != Entry::Free && table.begin_recovery(index, entry, by) {
                done += self.recover(object, index, by)?;
            }
        }
        Ok(done)
    }

    /// Forgets all participants, and any damage: for who holds the file alone and has made all else right.
    pub(crate) fn begin_anew(&self) {
        self.participants().clear();
        self.memory.u32(POISONED).store(0, Ordering::Release);
    }

    /// All who take part, each once.
    pub(crate) fn members(&self) -> Vec<Identity> {
        let table = self.participants();
        let mut members: Vec<Identity> = (0..table.reach())
            .filter_map(|index| match table.entry(index) {
                Ok(Entry::Active(who)) => Some(who),
                _ => None,
            })
            .collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Finds a place in a full table: takes over that of a dead participant, with all it left behind.
    fn inherit(&self, object: &dyn Recover, me: Identity) -> Result<Index, Fault> {
        let table = self.participants();
        for index in 0..table.reach() {
            if let Entry::Active(who) = table.entry(index).map_err(|damage| self.poison(damage))?
                && who.is_dead()
                && table.inherit(index, who, me)
            {
                self.recover(object, index, index)?;
                return Ok(index);
            }
        }
        Err(Fault::Crowded)
    }

    /// Recovers every dead participant whose identity `concerns` the caller.
    pub(crate) fn reclaim(
        &self,
        object: &dyn Recover,
        by: Index,
        concerns: impl Fn(Identity) -> bool,
    ) -> Result<Reclaimed, Damage> {
        let table = self.participants();
        let mut done = Reclaimed::default();
        for index in 0..table.reach() {
            match table.entry(index).map_err(|damage| self.poison(damage))? {
                entry @ Entry::Active(who)
                    if index != by
                        && concerns(who)
                        && who.is_dead()
                        && table.begin_recovery(index, entry, by) =>
                {
                    done += self.recover(object, index, by)?;
                }
                // A recoverer that died itself: its own recovery takes over what it had begun.
                Entry::Recovering(other) if other != by => {
                    if let Ok(entry @ Entry::Active(who)) = table.entry(other)
                        && who.is_dead()
                        && table.begin_recovery(other, entry, by)
                    {
                        done += self.recover(object, other, by)?;
                    }
                }
                _ => {}
            }
        }
        Ok(done)
    }

    /// Recovers `first`, which is `by`'s to recover, and all that the dead were recovering themselves.
    fn recover(&self, object: &dyn Recover, first: Index, by: Index) -> Result<Reclaimed, Damage> {
        let table = self.participants();
        let mut done = Reclaimed::default();
        let mut list = vec![first];
        let mut next = 0;
        while let Some(&dead) = list.get(next) {
            next += 1;
            for index in 0..table.reach() {
                let entry = Entry::Recovering(dead);
                if index != dead && table.entry(index) == Ok(entry) && table.begin_recovery(index, entry, by)
                {
                    list.push(index);
                }
            }
            done += object.recover(dead, by).map_err(|damage| self.poison(damage))?;
            done.dead += 1;
        }
        // The first entry goes last: until then a death here leaves a trace that leads to all the others.
        for dead in list.into_iter().rev() {
            table.end_recovery(dead, by);
        }
        Ok(done)
    }
}

fn length_of(header: &Header) -> Result<usize, OpenError> {
    usize::try_from(header.total).map_err(|_| OpenError::Options("larger than this machine can address"))
}

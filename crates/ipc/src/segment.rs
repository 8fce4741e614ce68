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
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use crate::atomic::{AtomicU64, Ordering};
use crate::errors::{Damage, Fault, OpenError};
use crate::header::{self, Header, Kind};
use crate::liveness::Identity;
use crate::memory::{self, Memory, OS_PAGE};
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
}

impl Segment {
    /// Makes a segment without a name in the file system. It cannot be shrunk by anybody.
    pub(crate) fn create_anonymous(header: Header, format: impl FnOnce(&Memory)) -> Result<Self, OpenError> {
        let length = length_of(&header)?;
        let file = memory::sealed_file(&header.name, length)?;
        Self::format(file, header, format)
    }

    /// Makes a segment in a new file at `path`. The file appears there complete, or not at all.
    pub(crate) fn create(
        path: &Path,
        header: Header,
        format: impl FnOnce(&Memory),
    ) -> Result<Self, OpenError> {
        let length = length_of(&header)?;
        if fs::symlink_metadata(path).is_ok() {
            return Err(OpenError::Exists);
        }
        let draft = Draft::beside(path, &header.uuid);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&draft.0)?;
        file.set_len(length as u64)?;
        let segment = Self::format(file, header, format)?;
        fs::hard_link(&draft.0, path)?;
        Ok(segment)
    }

    fn format(file: File, header: Header, format: impl FnOnce(&Memory)) -> Result<Self, OpenError> {
        let memory = Memory::map(file, length_of(&header)?)?;
        format(&memory);
        memory.write(0, &header.to_bytes());
        Ok(Self { memory, header, seat: AtomicU64::new(0) })
    }

    /// Opens the segment in the file at `path`, which may be `/proc/PID/fd/N`.
    pub(crate) fn open(path: &Path, kind: Kind) -> Result<Self, OpenError> {
        let mut flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        if !is_descriptor_path(path) {
            flags |= libc::O_NOFOLLOW;
        }
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        Self::from_file(file, kind)
    }

    /// Opens the segment in an open file.
    pub(crate) fn from_file(file: File, kind: Kind) -> Result<Self, OpenError> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(OpenError::NotAFile);
        }
        let me = fs::metadata("/proc/self").map_or(0, |own| own.uid());
        if metadata.uid() != me && metadata.uid() != 0 {
            return Err(OpenError::Foreign(metadata.uid()));
        }
        let found = metadata.len();
        if found < header::LENGTH as u64 {
            return Err(OpenError::Truncated { expected: 0, found });
        }
        let mut bytes = [0; header::LENGTH];
        // An inherited descriptor may stand anywhere in the file, and shares its position with others.
        file.read_exact_at(&mut bytes, 0)?;
        let header = Header::read(&bytes, found, kind)?;
        let memory = Memory::map(file, length_of(&header)?)?;
        Ok(Self { memory, header, seat: AtomicU64::new(0) })
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
        match self.memory.u32(POISONED).load(Ordering::Relaxed) {
            0 => Ok(()),
            code => Err(Damage::from_code(code)),
        }
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
        let taken = self.seat.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire);
        if taken.is_err() || (before >> 32) as u32 == me.pid {
            // Another thread of this process joined by this handle at the same time.
            self.participants().leave(index, me);
            return self.seat().ok_or(Fault::Crowded);
        }
        crate::sentinel::nudge(&self.memory);
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

/// Whether the path is a descriptor of a process, whose link names the open file itself.
fn is_descriptor_path(path: &Path) -> bool {
    let number = |part: &Component<'_>| {
        part.as_os_str()
            .to_str()
            .is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
    };
    let parts: Vec<_> = path.components().collect();
    match parts.as_slice() {
        [Component::RootDir, proc, process, fd, n] => {
            proc.as_os_str() == "proc"
                && (number(process) || process.as_os_str() == "self")
                && fd.as_os_str() == "fd"
                && number(n)
        }
        _ => false,
    }
}

/// Random bytes for a name that nobody else has.
pub(crate) fn new_uuid() -> io::Result<[u8; 16]> {
    let mut uuid = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut uuid)?;
    Ok(uuid)
}

/// A file on the way to its place, gone when dropped.
struct Draft(PathBuf);

impl Draft {
    fn beside(path: &Path, uuid: &[u8; 16]) -> Self {
        let tail: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{tail}"));
        Self(path.with_file_name(name))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

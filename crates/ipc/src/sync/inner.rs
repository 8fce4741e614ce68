//! What all handles of one family share in one process: the segment, what it holds, and how to wait in it.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64 as Plain};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use crate::atomic::{AtomicU32, AtomicU64, Ordering, barrier_after_rmw};
use crate::errors::{Damage, Fault, OpenError};
use crate::futex;
use crate::header::{Header, Kind};
use crate::liveness::{self, Identity};
use crate::memory::{self, Memory};
use crate::opening;
use crate::participants::Index;
use crate::segment::{self, Reclaimed, Segment};
use crate::sentinel::{Sentinel, Watched};
use crate::sync::deadlock::Deadlock;
use crate::sync::directory::{self, Entry, LABEL, Layout, What};
use crate::sync::errors::NoSuch;
use crate::sync::objects::{self, Objects};
use crate::sync::options::{self, SyncOptions};
use crate::waiting::{self, Ended, Pace, Patience, Side, Spins, Try};

/// Where in an object the side is on which its waiters sleep.
pub(crate) const SIDE: usize = 32;

/// How long a sleeper trusts that somebody looks after the dead, be it the supervisor or its own sentinel.
const TRUSTING_SLICE_NS: u64 = 10_000_000_000;
/// The same where a sentinel could not be started.
const WATCHFUL_SLICE_NS: u64 = 250_000_000;

/// What all clones of a handle share.
pub(crate) struct Core {
    /// Tells this handle from every other that this process ever had.
    pub(crate) id: u64,
    pub(crate) segment: Segment,
    pub(crate) objects: Objects,
    /// Held while one more object is defined.
    pub(crate) defining: Mutex<()>,
    pub(crate) layout: Layout,
    spins: Vec<Spins>,
    interrupt: RwLock<Option<Arc<AtomicBool>>>,
    /// Looks after the dead while this process sleeps, where nobody else does.
    sentinel: Mutex<Option<Sentinel>>,
    this: Weak<Self>,
}

/// Which memory it is: all that is in it would fill pages, and every guard of a lock holds one of these.
impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("id", &self.id)
            .field("name", &self.segment.header().name)
            .finish_non_exhaustive()
    }
}

/// Why an operation stopped, before it is said in the operation's own words.
#[derive(Debug)]
pub(crate) enum Stop {
    Ended(Ended),
    Broken,
    Deadlock(Deadlock),
    Fault(Fault),
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Core {
    pub(crate) fn create_anonymous(name: &str, options: &SyncOptions) -> Result<Arc<Self>, OpenError> {
        let plan = Plan::of(name, options)?;
        let segment = Segment::create_anonymous(plan.header.clone(), |memory| {
            plan.format(memory);
            Ok(())
        })?;
        Self::over(segment)
    }

    pub(crate) fn create(path: &Path, options: &SyncOptions) -> Result<Arc<Self>, OpenError> {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let plan = Plan::of(&name, options)?;
        let segment = Segment::create(path, plan.header.clone(), |memory| {
            plan.format(memory);
            Ok(())
        })?;
        Self::over(segment)
    }

    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, OpenError> {
        Self::over(Segment::open(path, Kind::Sync)?)
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Arc<Self>, OpenError> {
        Self::over(Segment::from_file(fd.into(), Kind::Sync)?)
    }

    fn over(segment: Segment) -> Result<Arc<Self>, OpenError> {
        static NEXT: Plain = Plain::new(1);
        let (objects, layout) = understand(&segment).ok_or(OpenError::CorruptHeader)?;
        Ok(Arc::new_cyclic(|this| Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            spins: (0..objects.most()).map(|_| Spins::new()).collect(),
            segment,
            objects,
            defining: Mutex::new(()),
            layout,
            interrupt: RwLock::new(None),
            sentinel: Mutex::new(None),
            this: this.clone(),
        }))
    }

    pub(crate) fn set_interrupt(&self, flag: Arc<AtomicBool>) {
        *self.interrupt.write().unwrap_or_else(PoisonError::into_inner) = Some(flag);
    }

    /// Finds an object by its name.
    pub(crate) fn find(&self, kinds: &[What], name: &str) -> Result<u32, NoSuch> {
        let of_the_kind = || self.objects().filter(|(_, entry)| kinds.contains(&entry.what));
        match of_the_kind().find(|(_, entry)| entry.name == name) {
            Some((number, _)) => Ok(number),
            None => Err(NoSuch {
                kind: kinds[0].family(),
                name: name.to_owned(),
                known: of_the_kind().map(|(_, entry)| entry.name.clone()).collect(),
            }),
        }
    }

    /// The only object of one of these kinds.
    pub(crate) fn only(&self, kinds: &[What]) -> Result<u32, OpenError> {
        let mut found = self.objects().filter(|(_, entry)| kinds.contains(&entry.what));
        match (found.next(), found.next()) {
            (Some((number, _)), None) => Ok(number),
            _ => Err(OpenError::WrongKind),
        }
    }

    pub(crate) fn place(&self, object: u32) -> usize {
        self.layout.objects[object as usize]
    }

    pub(crate) fn name_of(&self, object: u32) -> &str {
        self.entry(object).map_or("?", |entry| &entry.name)
    }

    #[inline(always)]
    pub(crate) fn u64(&self, offset: usize) -> &AtomicU64 {
        self.segment.memory().u64(offset)
    }

    #[inline(always)]
    pub(crate) fn u32(&self, offset: usize) -> &AtomicU32 {
        self.segment.memory().u32(offset)
    }

    #[inline(always)]
    pub(crate) fn side(&self, offset: usize) -> Side<'_> {
        Side::at(self.segment.memory(), offset)
    }

    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), Fault> {
        self.segment.check().map_err(Fault::Corrupt)
    }

    /// Damage found is told to everybody, the sleeping too.
    #[cold]
    pub(crate) fn fault(&self, damage: Damage) -> Fault {
        let damage = self.segment.poison(damage);
        self.wake_everybody();
        Fault::Corrupt(damage)
    }

    /// The fault of a word that no operation can have written.
    #[cold]
    pub(crate) fn impossible(&self) -> Fault {
        self.fault(Damage::Sync)
    }

    #[inline(always)]
    pub(crate) fn join(&self) -> Result<Index, Fault> {
        self.segment.join(self)
    }

    pub(crate) fn reclaim(&self, concerns: impl Fn(Identity) -> bool) -> Result<Reclaimed, Fault> {
        self.check()?;
        let me = self.join()?;
        Ok(self.segment.reclaim(self, me, concerns)?)
    }

    /// Looks after the dead, unless somebody lives who has promised to.
    pub(crate) fn look_after_the_dead(&self) -> Result<(), Stop> {
        let header = self.segment.header();
        if header.supervised && !header.creator.is_dead() {
            return Ok(());
        }
        self.reclaim(|_| true)?;
        if let Ok(mut sentinel) = self.sentinel.try_lock() {
            self.start_sentinel(&mut sentinel);
        }
        Ok(())
    }

    /// Sees to it that somebody looks after the dead while we sleep; answers how long to sleep in one go.
    fn before_sleep(&self) -> u64 {
        if self.segment.header().supervised {
            return TRUSTING_SLICE_NS;
        }
        match self.sentinel.try_lock() {
            Ok(mut sentinel) => self.start_sentinel(&mut sentinel),
            // Another thread is starting it.
            Err(_) => WATCHFUL_SLICE_NS,
        }
    }

    fn start_sentinel(&self, sentinel: &mut Option<Sentinel>) -> u64 {
        // One that was started before a fork watches for the parent only.
        if sentinel.as_ref().is_none_or(|started| started.process != memory::this_process()) {
            *sentinel = Sentinel::start(&self.segment, self.this.clone()).ok();
        }
        if sentinel.is_some() { TRUSTING_SLICE_NS } else { WATCHFUL_SLICE_NS }
    }

    /// Every place where somebody may sleep.
    pub(crate) fn sides(&self) -> impl Iterator<Item = Side<'_>> {
        let with_side = self
            .objects()
            .filter(|(_, entry)| !matches!(entry.what, What::Value | What::Array | What::Condition));
        let actors = (0..self.actor_reach()).map(|actor| self.actor_side(actor));
        with_side.map(|(number, _)| self.place(number) + SIDE).chain(actors).map(|offset| self.side(offset))
    }

    pub(crate) fn wake_everybody(&self) {
        self.sides().for_each(|side| side.wake_all());
    }

    /// Tells the one who is next after a change at the object at `at`. Call right after the compare-and-swap.
    #[inline(always)]
    pub(crate) fn changed_for_one(&self, at: usize) {
        barrier_after_rmw();
        self.side(at + SIDE).wake_one_if_waited_for();
    }

    pub(crate) fn changed_for_all(&self, at: usize) {
        barrier_after_rmw();
        self.side(at + SIDE).wake_all_if_waited_for();
    }

    /// Tries until it is done, asleep in between on the side at the offset `side` answers. That one is asked for
    /// only before a sleep, and again before each.
    pub(crate) fn wait<T>(
        &self,
        object: u32,
        until_ns: u64,
        side: impl Fn() -> usize,
        attempt: impl FnMut() -> Result<Try<T>, Stop>,
    ) -> Result<T, Stop> {
        let interrupt = self.interrupt.read().unwrap_or_else(PoisonError::into_inner).clone();
        let patience = Patience {
            until_ns,
            interrupt: interrupt.as_deref(),
            spins: &self.spins[object as usize],
            pace: Pace::Eager,
            is_worth_a_try: &|| true,
        };
        let memory = self.segment.memory();
        waiting::wait(memory, side, &patience, attempt, || self.before_sleep(), || self.look_after_the_dead())
    }

    /// Notes what the process of this participant calls itself.
    pub(crate) fn set_label(&self, participant: Index, label: &str) {
        let mut end = label.len().min(LABEL - 8);
        while !label.is_char_boundary(end) {
            end -= 1;
        }
        let at = self.label_at(participant);
        self.u32(at).store(0, Ordering::Release);
        self.segment.memory().write(at + 8, &label.as_bytes()[..end]);
        self.u32(at).store(end as u32, Ordering::Release);
    }

    pub(crate) fn label(&self, participant: Index) -> Option<String> {
        // It may have come out of shared memory.
        let is_one = participant < self.segment.header().participants;
        is_one.then(|| self.text(self.label_at(participant)))?
    }

    pub(crate) fn label_at(&self, participant: Index) -> usize {
        self.layout.labels + participant as usize * LABEL
    }

    /// The text of at most [`LABEL`] bytes at `at`, whatever it is worth.
    pub(crate) fn text(&self, at: usize) -> Option<String> {
        let length = (self.u32(at).load(Ordering::Acquire) as usize).min(LABEL - 8);
        let mut bytes = Vec::new();
        self.segment.memory().append_to(&mut bytes, at + 8, length);
        (length > 0).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Watched for Core {
    fn segment(&self) -> &Segment {
        &self.segment
    }

    fn reclaim_dead(&self) -> Result<(), Fault> {
        self.reclaim(|_| true).map(drop)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // What was leaked in the name of this handle is let go of as if it had died.
        if let Some(me) = self.segment.seat()
            && self.segment.check().is_ok()
            && self.let_go(me).is_ok()
        {
            self.segment.leave();
        }
    }
}

/// The moment after so long.
pub(crate) fn deadline(timeout: Duration) -> u64 {
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    futex::now_ns().saturating_add(timeout).max(1)
}

/// A family about to be made.
struct Plan {
    header: Header,
    entries: Vec<Entry>,
    directory: Vec<u8>,
    layout: Layout,
}

impl Plan {
    fn of(name: &str, options: &SyncOptions) -> Result<Self, OpenError> {
        let entries = options.entries()?;
        let directory = directory::to_bytes(&entries);
        let layout = Layout::of(options.participants, directory.len(), &entries, options.spare);
        let mut own = [0; 16];
        own[0] = directory.len() as u64;
        own[1] = u64::from(crc32c::crc32c(&directory));
        own[2] = u64::from(options.spare);
        let header = Header {
            kind: Kind::Sync,
            total: layout.total as u64,
            participants: options.participants,
            supervised: options.supervised,
            creator: Identity::mine(),
            namespace: liveness::pid_namespace(),
            boot: liveness::boot(),
            fsync: None,
            is_settled: false,
            uuid: opening::new_uuid()?,
            name: name.to_owned(),
            own,
        };
        Ok(Self { header, entries, directory, layout })
    }

    fn format(&self, memory: &Memory) {
        memory.write(self.layout.directory, &self.directory);
        for (entry, &at) in self.entries.iter().zip(&self.layout.objects) {
            objects::prepare(memory, entry, at);
        }
    }
}

/// What [`Plan`] wrote, checked again.
fn understand(segment: &Segment) -> Option<(Objects, Layout)> {
    let header = segment.header();
    let [length, sum, spare, ..] = header.own;
    let spare = u32::try_from(spare).ok().filter(|spare| *spare <= options::MOST_SPARE)?;
    let start = segment::data_offset(header.participants);
    let length = usize::try_from(length).ok()?;
    let fits = usize::try_from(header.total).ok()?.checked_sub(start).is_some_and(|room| length <= room);
    fits.then_some(())?;
    let mut bytes = Vec::new();
    segment.memory().append_to(&mut bytes, start, length);
    (u64::from(crc32c::crc32c(&bytes)) == sum).then_some(())?;
    let entries = directory::from_bytes(&bytes)?;
    let layout = Layout::of(header.participants, length, &entries, spare);
    (layout.total as u64 == header.total).then(|| (Objects::new(entries, spare), layout))
}

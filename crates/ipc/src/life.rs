//! The lives of a durable queue: one begins whenever somebody opens its file that nobody else has.
//!
//! ```text
//!   made ─► in use ─ the last handle ends ─► settled ─┐
//!             │                                       ├─ opened by one who is alone ─► set right ─► in use
//!             └─ all killed, or the power lost ───────┘
//! ```
//!
//! Who uses the queue holds its file shared; who gets hold of it alone knows that all who used it are dead, in whatever
//! boot or pid namespace they ran. In the boot in which it was last used the memory of the system has kept everything,
//! and the dead are recovered as they always are. In another one, and after damage, the queue is made anew from its
//! blocks (see [`rebuilding`](crate::rebuilding)). Options that change the layout take effect in a new file, which then
//! takes the old one's place.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::atomic::Ordering;
use crate::backing;
use crate::core::Core;
use crate::errors::OpenError;
use crate::formation::{format, plan, understand};
use crate::header::{Header, Kind};
use crate::layout;
use crate::liveness::{self, Identity};
use crate::memory::{self, Hold};
use crate::opening::{self, Draft};
use crate::options::QueueOptions;
use crate::rebuilding::{Census, no_room};
use crate::segment::Segment;
use crate::tag::Which;

/// What came of opening a durable queue.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) core: Arc<Core>,
    pub(crate) damaged: u64,
    /// Whether the options could not take effect because others use the queue.
    pub(crate) is_as_it_was: bool,
}

/// Makes a new one.
pub(crate) fn create(path: &Path, header: Header, layout: &layout::Layout) -> Result<Arc<Core>, OpenError> {
    let segment = Segment::create(path, header, |memory| {
        backing::begin(memory, layout)?;
        format(memory, layout);
        Ok(())
    })?;
    over(segment)
}

fn over(segment: Segment) -> Result<Arc<Core>, OpenError> {
    let (settings, layout) = understand(segment.header()).ok_or(OpenError::CorruptHeader)?;
    let core = Core::over(segment, settings, layout);
    core.segment.enter();
    Ok(core)
}

/// Opens the one in an open file, which is at `path` if that is given; none where another is there by now.
pub(crate) fn enter(
    file: File,
    path: Option<&Path>,
    wish: Option<&QueueOptions>,
) -> Result<Option<Entered>, OpenError> {
    let (hold, header) = opening::take_hold(&file, Kind::Queue)?;
    if let Some(path) = path
        && !is_at(&file, path)
    {
        return Ok(None);
    }
    if header.fsync.is_none() {
        // It looked damaged for a moment.
        return if wish.is_some() { Err(OpenError::NotDurable) } else { Ok(None) };
    }
    let wanted = wish.map(|options| plan(&header.name, options)).transpose()?;
    let is_laid_out_as_wanted = wanted.as_ref().is_none_or(|(wanted, _)| is_laid_out_as(&header, wanted));
    if hold == Hold::Shared {
        let core = over(Segment::attach(file, header)?)?;
        return Ok(Some(Entered { core, damaged: 0, is_as_it_was: !is_laid_out_as_wanted }));
    }
    let (core, damaged) = set_right(file, header, wish)?;
    match (path, wanted) {
        (Some(path), Some((wanted, layout))) if !is_laid_out_as_wanted => {
            let core = move_to(path, &core, wanted, &layout)?;
            Ok(Some(Entered { core, damaged, is_as_it_was: false }))
        }
        _ => {
            memory::hold(core.segment.memory().file(), Hold::Shared)?;
            core.segment.enter();
            Ok(Some(Entered { core, damaged, is_as_it_was: false }))
        }
    }
}

/// Whether the file is the one at the path.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(here), Ok(there)) => (here.dev(), here.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Which of the numbers of [`plan`] the layout follows from, or what may wait.
const OF_LAYOUT: std::ops::Range<usize> = 0..5;
const MAX_DELIVERIES: usize = 5;

fn is_laid_out_as(header: &Header, wanted: &Header) -> bool {
    header.participants == wanted.participants && header.own[OF_LAYOUT] == wanted.own[OF_LAYOUT]
}

/// Begins a new life of the queue in a file that only we have; answers how many messages were damaged.
fn set_right(file: File, header: Header, wish: Option<&QueueOptions>) -> Result<(Arc<Core>, u64), OpenError> {
    let is_same_boot = header.boot != 0 && header.boot == liveness::boot();
    let was_settled = header.is_settled;
    let mut header = Header {
        creator: Identity::mine(),
        namespace: liveness::pid_namespace(),
        boot: liveness::boot(),
        is_settled: false,
        supervised: wish.is_some_and(|options| options.supervised),
        fsync: wish.map_or(header.fsync, |options| options.durable),
        ..header
    };
    if let Some(options) = wish {
        header.own[MAX_DELIVERIES] = u64::from(options.max_deliveries.unwrap_or(0));
    }
    let segment = Segment::attach(file, header.clone())?;
    let (settings, layout) = understand(&header).ok_or(OpenError::CorruptHeader)?;
    let core = Core::over(segment, settings, layout);
    let is_well = is_same_boot && core.segment.check().is_ok() && bury_all(&core).is_ok();
    let damaged = if is_well { 0 } else { core.rebuild(!is_same_boot && !was_settled)?.damaged };
    if core.segment.check().is_err() {
        return Err(OpenError::System(std::io::Error::from_raw_os_error(libc::EIO)));
    }
    core.segment.write_header(&header)?;
    Ok((core, damaged))
}

/// Recovers all who used the queue.
fn bury_all(core: &Arc<Core>) -> Result<(), OpenError> {
    let me = core.join().map_err(|_| OpenError::CorruptHeader)?;
    core.segment.bury_all(&**core, me)?;
    core.segment.leave();
    Ok(())
}

/// Moves all messages of a queue that only we have to a new file of another layout, and that to the old one's place.
fn move_to(
    path: &Path,
    from: &Arc<Core>,
    header: Header,
    layout: &layout::Layout,
) -> Result<Arc<Core>, OpenError> {
    let census = from.take_census(false)?;
    // It is the same queue.
    let header = Header { uuid: from.segment.header().uuid, ..header };
    let draft = Draft::beside(path, &opening::new_uuid()?);
    let segment = Segment::draft(&draft, header, |memory| {
        backing::begin(memory, layout)?;
        format(memory, layout);
        Ok(())
    })?;
    let core = over(segment)?;
    let moved = core.locals.with(|local| copy_all(from, &core, local, &census));
    moved?;
    if from.is_ended()? {
        core.end_first()?;
    }
    core.segment.memory().sync_all()?;
    fs::rename(&draft.0, path)?;
    opening::sync_folder(path)?;
    Ok(core)
}

fn copy_all(from: &Core, to: &Core, local: &crate::locals::Local, census: &Census) -> Result<(), OpenError> {
    to.segment.memory().u64(layout::ID_BASE).store(census.next_id, Ordering::Relaxed);
    let waiting = census.found.iter().filter(|found| found.which == Which::First).count() as u64;
    if waiting > to.layout.counts.bound {
        return Err(OpenError::DoesNotFit { messages: waiting, what: "capacity" });
    }
    let mut copies = Vec::with_capacity(census.found.len());
    for found in &census.found {
        let bytes = from.read_message(found.block)?;
        if bytes.len() as u64 > to.largest() {
            return Err(OpenError::DoesNotFit { messages: census.found.len() as u64, what: "max_message" });
        }
        let block = to.write_message(0, local, &bytes).map_err(|short| match short {
            crate::blocks::Short::OfDisk => no_room(),
            crate::blocks::Short::OfMemory => {
                OpenError::DoesNotFit { messages: census.found.len() as u64, what: "max_bytes" }
            }
        })?;
        to.set_id(block, found.id);
        copies.push(crate::rebuilding::Found { block, ..*found });
    }
    for which in [Which::First, Which::Again, Which::Dead] {
        let ring = to.ring(which);
        let tail = to.place_all(&ring, copies.iter().filter(|copy| copy.which == which))?;
        ring.tail().store(tail, Ordering::Relaxed);
    }
    Ok(())
}

//! A whole run, from its setup to its conclusion.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use control::{RunFolder, Server, Uids};
use process::{SignalQueue, Spawner};
use supervision::{Conclusion, Ending, InstanceId, Leftover, Policy, WorkerId};

use crate::adding;
use crate::additions::{Addition, Additions};
use crate::annex;
use crate::cgroups::Cgroups;
use crate::doors::{self, Doors, other_user};
use crate::journal::Journal;
use crate::launching::Launch;
use crate::listening::Sockets;
use crate::logs::{self, Console, Pump, Stream, Streams};
use crate::mailbox::{Mail, mailbox};
use crate::notify;
use crate::primitives::{self, Primitives};
use crate::processes::{Founder, Kinship, Tree};
use crate::queues::Queues;
use crate::roster::Roster;
use crate::setup::{Output, Purpose, Setup};
use crate::source::Source;
use crate::sweeping::Marks;
use crate::takeover::{self, Survivor, Survivors};
use crate::talk;
use crate::temporary::Temporary;
use crate::the_loop::{Loop, PASSED_ON, Parts};

/// How many threads spawn: as many as can help, and no more than pays.
const SPAWNERS: usize = 2;

/// Much more than the loop is deep.
const LOOP_STACK_BYTES: usize = 1024 * 1024;

/// How a run ended, for the exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every worker that ended for good succeeded.
    Succeeded,
    /// The ending of the first that failed; `None` where there is none to name.
    Failed(Option<Ending>),
    /// An essential worker ended for good, and this was its ending; `None` where there is none to name.
    Essential(Option<Ending>),
    /// Something could not be killed when the run was stopped, and lives on.
    Unkillable,
}

/// Why a run could not begin, or not go on.
#[derive(Debug)]
pub struct RunError {
    /// What could not be done.
    pub what: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for RunError {}

fn cannot<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> RunError + '_ {
    move |why| RunError { what: what.to_owned(), why: why.to_string() }
}

/// Called once, when every worker that starts with the run is ready or has ended. It is told whether none has failed.
pub struct WhenUp(Box<dyn FnOnce(bool) + Send>);

impl WhenUp {
    /// Calls this.
    pub fn call(what: impl FnOnce(bool) + Send + 'static) -> WhenUp {
        WhenUp(Box::new(what))
    }

    pub(crate) fn tell(self, none_failed: bool) {
        (self.0)(none_failed);
    }
}

impl fmt::Debug for WhenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WhenUp")
    }
}

/// How a run shows itself.
#[derive(Debug, Default)]
pub struct Front {
    /// Where the workers' output is shown.
    pub console: Option<Console>,
    /// Whether standard output and error are let go of once all is up; what the supervisor says then goes to the file
    /// `log` in the run's folder.
    pub background: bool,
    /// Whom to tell when all is up.
    pub when_up: Option<WhenUp>,
    /// Where other configs come from; `None`: the run stays what it is.
    pub source: Option<Arc<dyn Source>>,
    /// The file in which all that is decided is written down; `None`: it is not.
    pub journal: Option<PathBuf>,
}

/// Runs `setup` in `folder` until its work is done or it is told to stop.
///
/// To be called on the main thread, which must be the only one, of a process that does nothing else: it becomes a child
/// subreaper, listens to its signals, and waits for its children.
///
/// # Errors
///
/// Says what could not be set up. Nothing has been launched then.
pub fn run(mut setup: Setup, mut folder: RunFolder, front: Front) -> Result<Outcome, RunError> {
    let Front { console, background, when_up, source, journal } = front;
    process::share_one_heap();
    process::become_subreaper().map_err(cannot("cannot adopt orphans"))?;
    process::ignore_broken_pipes().map_err(cannot("cannot ignore SIGPIPE"))?;
    process::ignore_full_files().map_err(cannot("cannot ignore SIGXFSZ"))?;
    // Children get the limit back that this process was started with.
    let _ = process::raise_nofile_limit();
    let heard: &[i32] = match setup.purpose {
        Purpose::Command => &PASSED_ON,
        Purpose::Config | Purpose::Scripts => {
            &[libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGHUP, libc::SIGUSR1]
        }
    };
    let signals = SignalQueue::listen(&[heard, &[libc::SIGCHLD]].concat())
        .map_err(cannot("cannot listen to signals"))?;
    let orphans_are_shared = process::share_orphans();
    let (mail, mailbox) = mailbox().map_err(cannot("cannot make a mailbox"))?;
    let pump = Pump::start(console).map_err(cannot("cannot start the log pump"))?;

    let socket = folder.socket();
    let looks_back = || cannot("cannot look for survivors of a former run");
    let was_killed = takeover::was_killed(&socket).map_err(looks_back())?;
    let of_config = setup.workers.len();
    process::hold_in_births(folder.hold().map_err(cannot("cannot hold the run's folder"))?);
    if was_killed {
        takeover::await_executions().map_err(looks_back())?;
    }
    let former = if was_killed { Additions::of_former(folder.path()) } else { Vec::new() };
    let added = if former.is_empty() {
        Vec::new()
    } else {
        let living = takeover::living_workers(&socket).map_err(looks_back())?;
        adding::add_former(&mut setup, former, |name| living.contains(name))
    };
    let journal = match journal {
        Some(path) => {
            let what = format!("cannot write the journal {}", path.display());
            Some(Journal::begin(&path, &setup.name, &setup.family).map_err(cannot(&what))?)
        }
        None => None,
    };
    let mut additions = Additions::none(folder.path());
    for (_, addition) in &added {
        additions.keep(addition).map_err(cannot("cannot keep what was added to a former run"))?;
    }
    let roster = Roster::of(&setup);
    let mut cgroups = Cgroups::of(folder.path());
    let survivors = if was_killed {
        let marks = Marks { roster: &roster, socket: &socket, cgroups: cgroups.name() };
        let workers = &setup.family.workers;
        let adopted = |instance: InstanceId| workers.get(instance.worker.0 as usize).is_some_and(adopts);
        let user = |instance: InstanceId| {
            setup.workers.get(instance.worker.0 as usize).and_then(other_user).map(|user| user.uid)
        };
        takeover::survivors(marks, adopted, user).map_err(looks_back())?
    } else {
        Survivors::default()
    };
    let left = survivors.leftovers.values().flatten().map(|one| one.pid);
    let stay: Vec<_> = survivors.leaders.iter().map(|survivor| survivor.pid).chain(left).collect();
    cgroups.clear_former(&stay);
    let leaders = survivors.leaders.iter().map(|survivor| survivor.process);
    let living: Vec<_> = leaders.chain(survivors.leftovers.keys().copied()).collect();
    let temporary = Temporary::of(folder.path(), |process| roster.leaf(process), &living);
    let sockets = open_sockets(&setup, &roster, &survivors.leaders)?;
    let queues = Queues::make(&setup, |segment| takeover::queue_of(&survivors, segment))
        .map_err(cannot("cannot make the queues"))?;
    queues.reclaim_dead();
    let segment = primitives::segment_name(&setup.name, folder.path());
    // Also in the hands of those who are no workers: a command that holds a lock goes on holding it.
    let found = if was_killed { takeover::family_of(&segment) } else { None };
    let primitives =
        Primitives::make(&segment, &setup.sync, found).map_err(cannot("cannot make the locks"))?;
    primitives.reclaim_dead();

    notify::clear(folder.path());
    let mut doors = Doors::of(folder.path(), &setup.name, mail.clone());
    if let Err(error) = doors.open_for(&setup.workers) {
        doors.close();
        return Err(cannot("cannot let workers of other users in")(error));
    }
    annex::clear(&doors::places());
    let spawner = Spawner::start(SPAWNERS).map_err(cannot("cannot start the spawner"))?;
    let listener = folder.listen().map_err(cannot("cannot listen on the control socket"))?;
    let calls = mail.clone();
    let server = Server::start(listener, Uids::own(), move |call| calls.send(Mail::Call(Box::new(call))))
        .map_err(cannot("cannot start the control server"))?;

    let parts = Parts {
        setup,
        roster,
        folder,
        pump,
        queues,
        primitives,
        spawner,
        signals,
        cgroups,
        temporary,
        doors,
        sockets,
        mail,
        mailbox,
        when_up,
        background,
        additions,
        of_config,
        source,
        journal,
        spawns_itself: orphans_are_shared,
    };
    let mut running = Loop::new(parts).map_err(cannot("cannot start the loop"))?;
    running.added = added
        .into_iter()
        .filter_map(|(id, addition)| match addition {
            Addition::Worker(worker) => Some((id, worker)),
            Addition::Queue(_) => None,
        })
        .collect();
    if !survivors.leaders.is_empty() {
        running.recall_configs();
    }
    for attendant in survivors.attendants {
        running.take_attendant_back(attendant);
    }
    for (process, left) in survivors.leftovers {
        running.take_leftovers_back(process, left);
    }
    for survivor in survivors.leaders {
        take_back(&mut running, survivor);
    }
    let purpose = running.setup.purpose;
    let lead = move || {
        let conclusion = running.run().map_err(cannot("the loop cannot wait"))?;
        let command_ended = running.command_ended();
        let leaves_somebody = running.tell_whom_it_leaves();
        running.finish(server);
        if leaves_somebody {
            return Ok(Outcome::Unkillable);
        }
        if purpose == Purpose::Command {
            return Ok(match command_ended {
                Some(Ending::Code(0)) => Outcome::Succeeded,
                ending => Outcome::Failed(ending),
            });
        }
        Ok(match conclusion {
            Conclusion::Succeeded => Outcome::Succeeded,
            Conclusion::Failed { ending, .. } => Outcome::Failed(ending),
            Conclusion::Essential { ending, .. } => Outcome::Essential(ending),
        })
    };
    if !orphans_are_shared {
        return lead();
    }
    // The main thread has nothing to do but to be there: what it adopts are orphans, and nothing else is its child. The
    // loop may have children of its own then, and need not hand every launch over to another thread.
    let lead = move || {
        // If it cannot be made ready now, the first launch tries again.
        let _ = process::prepare_to_spawn();
        lead()
    };
    let thread = thread::Builder::new().name("loop".to_owned()).stack_size(LOOP_STACK_BYTES);
    match thread.spawn(lead).map_err(cannot("cannot start the loop"))?.join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Whether what a worker left behind lives on when its supervisor was killed.
fn adopts(worker: &supervision::Worker) -> bool {
    worker.leftover == Leftover::Adopt && worker.policy != Policy::Daemon
}

/// Opens the sockets of all workers, before any of them is launched.
fn open_sockets(setup: &Setup, roster: &Roster, survivors: &[Survivor]) -> Result<Sockets, RunError> {
    let mut sockets = Sockets::default();
    for (id, worker) in (0..).map(WorkerId).zip(&setup.workers) {
        let Some(terms) = worker.kept.terms.as_deref().filter(|terms| !terms.listen.is_empty()) else {
            continue;
        };
        let own: Vec<&Survivor> =
            survivors.iter().filter(|survivor| survivor.process.instance.worker == id).collect();
        if let Err(error) = sockets.of(id, &terms.listen, other_user(worker), &own) {
            sockets.close_all();
            return Err(RunError { what: format!("worker {}", roster.name(id)), why: error.to_string() });
        }
    }
    Ok(sockets)
}

fn take_back(running: &mut Loop, survivor: Survivor) {
    let process = survivor.process;
    let place = process.instance.worker.0 as usize;
    if place >= running.setup.workers.len() || process.instance.index >= supervision::MAX_INSTANCES {
        return takeover::say_left_alone(survivor.pid);
    }
    let (name, show) =
        (&running.roster.shared_name(process.instance.worker), &running.roster.shared_show(process.instance));
    // The former run was scaled, or in the middle of a rolling restart; the core asks it to stop.
    let one_too_many = running.core.instance(process.instance, supervision::Moment::START).is_none();
    if one_too_many {
        let index = process.instance.index;
        talk::say(format_args!(
            "{name}:{index}, pid {}: one more than the config has: asked to stop",
            survivor.pid
        ));
    } else {
        talk::say(format_args!("{show}: taken back, pid {}", survivor.pid));
    }
    let mut streams = Streams::default();
    if let (Some(worker), Some(decided)) =
        (running.setup.workers.get(place), running.core.worker(process.instance.worker))
    {
        let (policy, mail) = (decided.policy, &running.mail);
        let launch = Launch { process, name, show, policy, worker, notify: None, door: None, mail };
        let writer = launch.writer();
        for (output, stream) in [(&worker.kept.stdout, Stream::Stdout), (&worker.kept.stderr, Stream::Stderr)]
        {
            if *output == Output::Log
                && let Ok(read) = logs::adopt(survivor.pid.as_raw(), stream)
            {
                let file = worker.kept.log.as_deref().cloned().map(|settings| running.pump.file(settings));
                streams.push(running.pump.attach(read, writer.label(stream), file));
            }
        }
    }
    let cgroup = running.cgroups.of_survivor(survivor.pid);
    let mut tree = Tree::new(survivor.pid, survivor.pidfd, Kinship::TakenBack, streams).within(cgroup);
    tree.launched = Some(survivor.launched);
    tree.founder = survivor
        .founder
        .map(|(pid, pidfd)| Box::new(Founder { pid, pidfd, kinship: Kinship::TakenBack, ended: false }));
    running.take_back(process, tree);
}

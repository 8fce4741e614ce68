//! The one loop: it sleeps until a descriptor, a signal, a call or a deadline wakes it, turns what happened into events
//! for the core, and carries out the actions that the core answers with.
//!
//! It runs beside the main thread, whose children are adopted orphans (see [`crate::sweeping`]), so that it may spawn.
//! Where the kernel tells no other thread of those, it runs on the main thread, and spawns nothing itself.

mod abandoning;
mod adopting;
mod announcing;
mod attending;
mod burying;
mod carrying_out;
mod ending;
mod fronting;
mod guarding;
mod hearing;
mod leading;
mod lingering;
mod parts;
mod passing_on;
mod probes;
mod scheduling;
mod spawning;
mod terminal;
mod trees;

pub use parts::Parts;
pub(crate) use passing_on::PASSED_ON;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use control::api::NewWorker;
use control::{Call, RunFolder, Visit};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};
use process::{Pid, Received, SignalQueue, Spawn, Spawner};
use supervision::{Conclusion, Ending, Event, InstanceId, Moment, Process, Supervisor, WorkerId};

use crate::additions::Additions;
use crate::applying::Configs;
use crate::askers::Askers;
use crate::attendant::{self, Role};
use crate::cgroups::Cgroups;
use crate::clock::{Alarm, Clock};
use crate::doors::Doors;
use crate::environment::Environment;
use crate::guard::Guard;
use crate::history::History;
use crate::journal::Journal;
use crate::listening::Sockets;
use crate::logs::{Pump, Streams};
use crate::mailbox::{self, Mail, Mailbox};
use crate::meeting::Meetings;
use crate::notify::Notification;
use crate::orders::Orders;
use crate::primitives::Primitives;
use crate::processes::{Processes, Tree};
use crate::queues::Queues;
use crate::recalling::Recalled;
use crate::roster::Roster;
use crate::run::WhenUp;
use crate::setup::{Purpose, Setup, StopTo};
use crate::sweeping::Marks;
use crate::talk;
use crate::temporary::Temporary;
use crate::waiting::{Held, Waiter};
use announcing::Change;
use burying::Dead;
use hearing::Ears;
use lingering::Telling;
use probes::Probes;
use scheduling::Schedules;
use trees::Unsure;

/// How many launches the spawner is given at a time: enough to keep its threads busy while the loop is at something
/// else. What a launch needs (its environment, its pipes) is made when its turn comes, so that a crowd takes no more.
const LAUNCHES_AT_ONCE: usize = 32;

/// What a descriptor in the epoll set stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Signals,
    Spawner,
    Mailbox,
    Alarm,
    /// The notification socket of a launch.
    Notify(Process),
    /// The pipe on which a newline shows that a launch is ready.
    Newline(Process),
    /// The time of a schedule has come, or the clock was set.
    Calendar,
    /// The log pump has something to tell.
    Troubles,
    /// The process that kills daemons should this one be killed.
    Guard,
    /// The leader of a launch.
    Leader(Process),
    /// Who was executed first for a launch that another leads.
    Founder(Process),
    /// A program that probes, by its ticket.
    Probe(u64),
    /// The cgroup of a launch, for its becoming empty.
    Cgroup(Process),
    /// A process that joins a stream of a launch to a queue.
    Attendant(i32),
    /// A process that is watched for another reason: it uses a queue, or somebody waits for its end.
    Other(i32),
}

/// A launch that a spawner's thread is at.
#[derive(Debug)]
struct Pending {
    process: Process,
    streams: Streams,
    /// Those of its attendants that are still to be spawned.
    attendants: VecDeque<attendant::Order>,
    /// The attendant that is being spawned; `None`: it is the leader.
    being_spawned: Option<(Role, UnixStream)>,
    leader: Spawn,
}

/// A feeder that settles what it holds.
#[derive(Debug)]
struct Settling {
    /// How its worker ended.
    ending: Ending,
    /// When it is killed.
    until: Moment,
}

/// The ticket of the guard's launch; those of workers are higher.
const GUARDS_TICKET: u64 = 0;

/// How many guards are started in all, should somebody kill them.
const GUARDS_AT_MOST: u32 = 10;

/// How much may be kept of what came early.
const EARLY_AT_MOST: usize = 1024;

/// Where a run in the background keeps what it says; it goes with the run.
const BACKGROUND_LOG: &str = "log";

/// How long somebody else may take to reap its child before the exit counts as unknown.
const PARENT_REAPS_WITHIN: Duration = Duration::from_secs(1);

/// How long the end of a run waits for orphans that were killed.
const STRAYS_TAKE_AT_MOST: Duration = Duration::from_secs(10);

/// Something that a worker said before its spawner could say that it runs.
#[derive(Debug)]
enum Early {
    Call(Call),
    Visit(Visit),
    Notification(Process, Notification),
}

/// How often the run was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Stop,
    StopNow,
}

/// How far what was ordered at the beginning has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starting {
    /// Some of it is still to be launched.
    UnderWay,
    /// All is launched.
    Done,
    /// All is launched, and what that took is given back.
    Forgotten,
}

/// Everything of a run while it runs.
#[derive(Debug)]
pub struct Loop {
    pub(crate) setup: Setup,
    when_up: Option<WhenUp>,
    /// Instances that have not been seen up since the run began, for `when_up`; and whether one has failed.
    not_up_yet: Vec<InstanceId>,
    some_failed: bool,
    background: bool,
    pub(crate) roster: Roster,
    pub(crate) core: Supervisor,
    pub(crate) clock: Clock,
    pub(crate) processes: Processes,
    pub(crate) queues: Queues,
    pub(crate) configs: Configs,
    pub(crate) askers: Askers,
    journal: Option<Journal>,
    /// How launches are asked to stop whose worker's setup says something else by now.
    former_stops: HashMap<Process, (i32, StopTo)>,
    pub(crate) primitives: Primitives,
    pub(crate) waiters: Vec<Waiter>,
    /// Why the last rolling restart of a worker has ended early, if it has.
    pub(crate) rolled: BTreeMap<WorkerId, Option<String>>,
    pub(crate) meetings: Meetings,
    terminal: terminal::Terminal,
    pub(crate) mail: mailbox::Sender,
    pub(crate) folder: RunFolder,
    /// Processes that use a queue, or whose end somebody waits for: held, so that their pid cannot be mistaken.
    others: HashMap<i32, Held>,
    environment: Environment,
    pub(crate) cgroups: Cgroups,
    temporary: Temporary,
    /// The doors of workers of other users.
    pub(crate) doors: Doors,
    pub(crate) sockets: Sockets,
    pub(crate) history: History,
    /// Instances whose last launch left a core dump behind.
    pub(crate) dumped_core: BTreeSet<InstanceId>,
    pub(crate) pump: Pump,
    spawner: Spawner,
    /// Whether a lone launch may be spawned by the loop's own thread.
    spawns_itself: bool,
    /// Whether it did so since it last had nothing to do.
    spawned_itself: bool,
    /// Workers whose programs take long to be executed; the loop does not wait for those.
    slow_to_execute: BTreeSet<WorkerId>,
    pending: HashMap<u64, Pending>,
    /// Launches that were ordered and whose turn has not come.
    queued: VecDeque<Process>,
    tickets: u64,
    pub(crate) guard: Option<Guard>,
    guards_left: u32,
    /// What came from processes whose launch the loop has not heard of yet; looked at again when it has.
    early: Vec<Early>,
    signals: SignalQueue,
    mailbox: Mailbox,
    ears: Ears,
    probes: Probes,
    schedules: Schedules,
    /// When people are told whom the run's stop waits for, once it has begun.
    telling: Option<Telling>,
    /// What was added since the beginning, as it is kept.
    pub(crate) additions: Additions,
    /// The workers among it.
    pub(crate) added: HashMap<WorkerId, NewWorker>,
    /// Signals that came before the command they are for was launched.
    unsent: Vec<i32>,
    /// The signal that asks to stop, where it is not the worker's own.
    passed_on: Option<i32>,
    /// Launches whose leader has ended, and whose feeder has not.
    settling: BTreeMap<Process, Settling>,
    /// Launches that lost an attendant before the news came that their leader runs.
    lost_early: BTreeMap<Process, Role>,
    /// Workers that have ended for good, but not those who still collect what they printed.
    retiring: BTreeSet<WorkerId>,
    alarm: Alarm,
    epoll: Epoll,
    watched: HashMap<u64, Watched>,
    tokens: u64,
    news: VecDeque<Event>,
    told: Told,
    /// Whether a daemon may be launched, so that a guard is needed.
    has_daemons: bool,
    begun: bool,
    /// How far what was ordered at the beginning has come.
    starting: Starting,
    /// Whether a child of ours, a leader or an orphan, changed its state since the last sweep.
    child_changed: bool,
    /// Whether a sweep waits for an orphan to tell whose it is.
    unsure: Option<Unsure>,
    /// Changes that nobody was told of yet.
    changes: Vec<Change>,
    /// The leaders that are to be asked to stop, and by which signal.
    to_be_asked: Vec<(Process, i32)>,
    /// Who is dead and not buried.
    dead: Dead,
    /// Looks at those who cannot be killed, once the run is being stopped; and who was given up, in words.
    look_at_killed: Option<abandoning::Look>,
    abandoned: Vec<String>,
    /// Whether an instance changed since those who wait were last looked at.
    changed: bool,
    conclusion: Option<Conclusion>,
}

impl Loop {
    /// Runs until the run is over.
    ///
    /// # Errors
    ///
    /// Only when the kernel refuses to let it wait.
    pub fn run(&mut self) -> io::Result<Conclusion> {
        self.begin();
        let mut events = [EpollEvent::empty(); 128];
        loop {
            self.settle();
            if self.child_changed {
                // A leader's own death has mostly led to a sweep already, which has taken this back.
                self.sweep();
                continue;
            }
            if let Some(conclusion) = self.conclusion.take() {
                return Ok(conclusion);
            }
            let now = self.clock.now();
            let waiters = self.waiters.iter().filter_map(Waiter::next_deadline).min();
            let unreaped = self.processes.next_exit_unknown();
            let feeders = self.settling.values().map(|settling| settling.until).min();
            let probes = self.probes.next_deadline();
            let telling = self.next_telling();
            let unsure = self.unsure.map(|unsure| unsure.at);
            let killed = self.next_look_at_killed();
            let deadlines = self.core.next_deadline().into_iter().chain(waiters).chain(unreaped);
            let deadline =
                deadlines.chain(feeders).chain(probes).chain(telling).chain(unsure).chain(killed).min();
            self.alarm.set(deadline, now)?;
            self.give_back_what_starting_took();
            if std::mem::take(&mut self.spawned_itself) {
                self.pump.stock_up();
            }
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                // Absent: unwatched by an earlier event of the same batch.
                let Some(what) = self.watched.get(&event.data()).copied() else { continue };
                match what {
                    Watched::Signals => self.hear_signals(),
                    Watched::Spawner => self.hear_spawner(),
                    Watched::Mailbox => self.read_mail(),
                    Watched::Alarm => {
                        self.alarm.rang();
                        self.stop_awaiting_reaping();
                        self.stop_slow_programs();
                        self.sweep_again();
                        self.abandon_unkillable();
                        self.tell_whom_it_waits_for();
                        self.kill_late_feeders();
                        self.news.push_back(Event::Tick);
                    }
                    Watched::Notify(process) => self.hear_notifications(process),
                    Watched::Newline(process) => self.hear_newline(process),
                    Watched::Calendar => self.look_at_calendar(),
                    Watched::Troubles => self.tell_troubles(),
                    Watched::Guard => self.guard_ended(event.data()),
                    Watched::Cgroup(process) => self.cgroup_may_be_empty(process, event.data()),
                    Watched::Leader(process) => self.leader_may_have_ended(process, event.data()),
                    Watched::Founder(process) => self.founder_may_have_ended(process, event.data()),
                    Watched::Probe(ticket) => self.program_may_have_ended(ticket, event.data()),
                    Watched::Attendant(pid) => self.attendant_may_have_ended(pid),
                    Watched::Other(pid) => self.other_may_have_ended(pid, event.data()),
                }
            }
        }
    }

    fn begin(&mut self) {
        if self.has_daemons {
            self.start_guard();
        }
        self.begun = true;
        self.keep_configs();
        // All is taken back that will be.
        self.configs.recalled = Recalled::default();
        // Who has no workers is up at once.
        self.changed = true;
        if self.when_up.is_some() {
            self.not_up_yet = self.core.instances().map(|instance| instance.id).collect();
        }
        self.follow_calendar(&[]);
        self.news.push_back(Event::Begin);
    }

    /// What marks this run's processes.
    pub(crate) fn marks<'a>(&'a self, socket: &'a Path) -> Marks<'a> {
        Marks { roster: &self.roster, socket, cgroups: self.cgroups.name() }
    }

    fn tell_troubles(&self) {
        for trouble in self.pump.troubles() {
            talk::say(trouble);
        }
    }

    /// Watches a descriptor, and says by which token.
    fn watch(&mut self, descriptor: impl AsFd, what: Watched) -> io::Result<u64> {
        self.tokens += 1;
        let flags = match what {
            Watched::Cgroup(_) => EpollFlags::EPOLLPRI,
            _ => EpollFlags::EPOLLIN,
        };
        self.epoll.add(descriptor.as_fd(), EpollEvent::new(flags, self.tokens))?;
        self.watched.insert(self.tokens, what);
        Ok(self.tokens)
    }

    fn read_mail(&mut self) {
        while let Some(mail) = self.mailbox.next() {
            match mail {
                Mail::Call(call) => self.take_call(*call),
                Mail::Visit(visit) => self.take_visit(*visit),
                Mail::Read(read) => self.config_read(*read),
                Mail::Met(process, commands) => {
                    if let Some(tree) = self.processes.get_mut(process) {
                        tree.talk().orders = Some(Orders::over(commands));
                    }
                }
                Mail::Probed(process, purpose, answer) => self.answer_probe(process, purpose, answer),
                Mail::LineSeen(process) => self.news.push_back(Event::Ready(process)),
                Mail::LinesSeen(process) => self.lines_seen(process),
            }
            // A call may depend on what the one before it changed.
            if !self.news.is_empty() {
                self.settle();
            }
        }
    }

    fn hear_signals(&mut self) {
        let heard: Vec<Received> = self.signals.pending().collect();
        for Received { signal, sender } in heard {
            match signal {
                libc::SIGCHLD => self.child_changed = true,
                signal if self.setup.purpose == Purpose::Command => self.pass_on(signal),
                libc::SIGINT | libc::SIGTERM => self.told_to_stop(signal, sender.map(Pid::as_raw)),
                libc::SIGQUIT => self.stop_now(),
                libc::SIGUSR1 => self.pump.reopen(),
                libc::SIGHUP if self.terminal.is_gone() => self.terminal_is_gone(),
                libc::SIGHUP => self.reload(),
                _ => {}
            }
        }
    }

    /// Takes a process of a former run back, before the run begins.
    pub(crate) fn take_back(&mut self, process: Process, tree: Tree) {
        if let Err(why) = self.open_ear(process) {
            talk::say(format_args!("{}: {why}", self.roster.show(process.instance)));
        }
        if let Some(founder) = &tree.founder
            && let Err(error) = self.watch(&founder.pidfd, Watched::Founder(process))
        {
            talk::say(format_args!("cannot watch pid {}: {error}", founder.pid));
        }
        self.enter(process, tree);
        self.news.push_back(Event::TakenBack(process));
        self.settle();
        self.note_if_outdated(process);
    }
}

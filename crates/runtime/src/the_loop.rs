//! The one loop: it sleeps until a descriptor, a signal, a call or a deadline wakes it, turns what happened into events
//! for the core, and carries out the actions that the core answers with.
//!
//! It runs on the main thread: adopted orphans are that thread's children (see [`crate::sweeping`]).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::{Call, RunFolder, Server, api};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use process::{Exit, Pid, Received, Signals, SpawnError, Spawned, Spawner};
use supervision::{
    Action, Conclusion, Ending, Event, Family, InstanceId, LaunchFailure, Phase, Policy, Process, Supervisor,
};

use crate::asking::hold;
use crate::clock::{Alarm, Clock};
use crate::environment::Environment;
use crate::guard::{self, Guard};
use crate::history::History;
use crate::launching::Launch;
use crate::logs::{self, Format, Label, LogFile, Pump, Stream, StreamId};
use crate::mailbox::{self, Mail, Mailbox};
use crate::meeting::Meetings;
use crate::notify::{self, NotifySocket};
use crate::processes::{Kinship, Processes, Tree};
use crate::queues::Queues;
use crate::roster::Roster;
use crate::run::WhenUp;
use crate::setup::{Setup, StopTo};
use crate::sweeping::{self, Marks, Swept};
use crate::talk;
use crate::waiting::{Held, Waiter};
use crate::words;

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
    Notify,
    /// The log pump has something to tell.
    Troubles,
    /// The process that kills daemons should this one be killed.
    Guard,
    /// The leader of a launch.
    Leader(Process),
    /// A process that is watched for another reason: it uses a queue, or somebody waits for its end.
    Other(i32),
}

/// A launch that a spawner's thread is at.
#[derive(Debug)]
struct Pending {
    process: Process,
    streams: Vec<StreamId>,
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
    Notification(i32, notify::Message),
}

/// How often the run was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Stop,
    StopNow,
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
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) meetings: Meetings,
    pub(crate) mail: mailbox::Sender,
    pub(crate) folder: RunFolder,
    /// Processes that use a queue, or whose end somebody waits for: held, so that their pid cannot be mistaken.
    others: HashMap<i32, Held>,
    environment: Environment,
    pub(crate) history: History,
    /// Instances whose last launch left a core dump behind.
    pub(crate) dumped_core: BTreeSet<InstanceId>,
    pub(crate) pump: Pump,
    spawner: Spawner,
    pending: HashMap<u64, Pending>,
    /// Launches that were ordered and whose turn has not come.
    queued: VecDeque<Process>,
    tickets: u64,
    pub(crate) guard: Option<Guard>,
    guards_left: u32,
    /// What came from processes whose launch the loop has not heard of yet; looked at again when it has.
    early: Vec<Early>,
    signals: Signals,
    mailbox: Mailbox,
    notify: Option<NotifySocket>,
    alarm: Alarm,
    epoll: Epoll,
    watched: HashMap<u64, Watched>,
    tokens: u64,
    news: VecDeque<Event>,
    told: Told,
    /// Whether a daemon may be launched, so that a guard is needed.
    has_daemons: bool,
    begun: bool,
    /// Until everything that was ordered at the beginning is launched.
    starting_up: bool,
    /// Whether an instance changed since those who wait were last looked at.
    changed: bool,
    conclusion: Option<Conclusion>,
}

/// What the loop is put together from.
#[derive(Debug)]
pub struct Parts {
    /// The run.
    pub setup: Setup,
    /// Its names.
    pub roster: Roster,
    /// The run's folder.
    pub folder: RunFolder,
    /// The log pump.
    pub pump: Pump,
    /// The run's queues.
    pub queues: Queues,
    /// The threads that spawn.
    pub spawner: Spawner,
    /// The signals that the run listens to.
    pub signals: Signals,
    /// Where readiness is reported, if any worker is to report it.
    pub notify: Option<NotifySocket>,
    /// How other threads reach the loop.
    pub mail: mailbox::Sender,
    /// The loop's end of that.
    pub mailbox: Mailbox,
    /// Whom to tell when all is up.
    pub when_up: Option<WhenUp>,
    /// Whether it goes to the background then.
    pub background: bool,
}

impl Loop {
    /// Puts the loop together.
    pub fn new(parts: Parts) -> io::Result<Loop> {
        let Parts {
            mut setup,
            roster,
            folder,
            pump,
            queues,
            spawner,
            signals,
            notify,
            mail,
            mailbox,
            when_up,
            background,
        } = parts;
        // The core keeps it; the setup's own would be a second copy of everything.
        let family = std::mem::replace(&mut setup.family, Family::of(Vec::new()));
        let has_daemons = family.workers.iter().any(|worker| worker.policy == Policy::Daemon);
        let notify_path = notify.as_ref().map_or_else(PathBuf::new, |socket| socket.path().to_owned());
        let mut all = Loop {
            when_up,
            not_up_yet: Vec::new(),
            some_failed: false,
            background,
            roster,
            core: Supervisor::new(family),
            clock: Clock::start(),
            processes: Processes::default(),
            queues,
            waiters: Vec::new(),
            meetings: Meetings::default(),
            mail,
            environment: Environment::new(
                &setup.name,
                setup.programs.as_deref(),
                &folder.socket(),
                &notify_path,
            ),
            folder,
            history: History::default(),
            dumped_core: BTreeSet::new(),
            others: HashMap::new(),
            pump,
            spawner,
            pending: HashMap::new(),
            queued: VecDeque::new(),
            tickets: GUARDS_TICKET,
            guard: None,
            guards_left: GUARDS_AT_MOST,
            early: Vec::new(),
            signals,
            mailbox,
            notify,
            alarm: Alarm::new()?,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            watched: HashMap::new(),
            tokens: 0,
            news: VecDeque::new(),
            told: Told::Nothing,
            has_daemons,
            begun: false,
            starting_up: true,
            changed: false,
            conclusion: None,
            setup,
        };
        let fixed = [
            (Watched::Signals, Some(all.signals.as_fd())),
            (Watched::Spawner, Some(all.spawner.as_fd())),
            (Watched::Mailbox, Some(all.mailbox.as_fd())),
            (Watched::Alarm, Some(all.alarm.as_fd())),
            (Watched::Notify, all.notify.as_ref().map(NotifySocket::as_fd)),
            (Watched::Troubles, Some(all.pump.troubles_bell())),
        ];
        let mut watched = HashMap::new();
        for (token, (what, descriptor)) in (1u64..).zip(fixed) {
            if let Some(descriptor) = descriptor {
                all.epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
                watched.insert(token, what);
            }
        }
        all.tokens = watched.len() as u64 + 1;
        all.watched = watched;
        Ok(all)
    }

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
            if let Some(conclusion) = self.conclusion.take() {
                return Ok(conclusion);
            }
            let now = self.clock.now();
            let waiters = self.waiters.iter().filter_map(Waiter::next_deadline).min();
            let unreaped = self.processes.next_exit_unknown();
            let deadline = self.core.next_deadline().into_iter().chain(waiters).chain(unreaped).min();
            self.alarm.set(deadline, now)?;
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            let mut orphans = false;
            for event in &events[..count] {
                // Absent: unwatched by an earlier event of the same batch.
                let Some(what) = self.watched.get(&event.data()).copied() else { continue };
                match what {
                    Watched::Signals => orphans |= self.hear_signals(),
                    Watched::Spawner => self.hear_spawner(),
                    Watched::Mailbox => self.read_mail(),
                    Watched::Alarm => {
                        self.alarm.rang();
                        self.stop_awaiting_reaping();
                        self.news.push_back(Event::Tick);
                    }
                    Watched::Notify => self.hear_notifications(),
                    Watched::Troubles => self.tell_troubles(),
                    Watched::Guard => self.guard_ended(event.data()),
                    Watched::Leader(process) => self.leader_may_have_ended(process, event.data()),
                    Watched::Other(pid) => self.other_may_have_ended(pid, event.data()),
                }
            }
            if orphans {
                self.sweep();
            }
        }
    }

    /// Feeds the core all news and carries out all it answers, until there is neither; then answers those who wait.
    fn settle(&mut self) {
        while let Some(event) = self.news.pop_front() {
            self.core.handle(self.clock.now(), event);
            while let Some(action) = self.core.poll_action() {
                self.carry_out(action);
            }
        }
        if std::mem::take(&mut self.changed) || !self.waiters.is_empty() {
            self.look_at_waiters();
            self.tell_when_up();
        }
    }

    /// Feeds the core what somebody asked for.
    pub(crate) fn tell_core(&mut self, news: impl IntoIterator<Item = Event>) {
        self.news.extend(news);
        self.settle();
    }

    /// Says once that every worker that starts with the run is ready or has ended.
    fn tell_when_up(&mut self) {
        if self.when_up.is_none() || !self.begun {
            return;
        }
        while let Some(instance) = self.not_up_yet.last() {
            match self.core.standing(*instance) {
                Some((Phase::Waiting | Phase::Starting | Phase::Backoff, _)) => return,
                Some((Phase::Failed, _)) => self.some_failed = true,
                Some((Phase::Running | Phase::Stopping | Phase::Done | Phase::Stopped, _)) | None => {}
            }
            self.not_up_yet.pop();
        }
        let failed = self.some_failed;
        if let Some(when_up) = self.when_up.take() {
            when_up.tell(!failed);
            if self.background
                && let Err(error) = self.go_to_background()
            {
                talk::say(format_args!("cannot go to the background: {error}"));
            }
        }
    }

    /// Lets go of standard output and error: what would go there is kept in the run's folder from now on.
    fn go_to_background(&self) -> io::Result<()> {
        let (read, write) = logs::pipe(true)?;
        let file = LogFile {
            path: self.folder.path().join(BACKGROUND_LOG),
            max_size: 1 << 20,
            keep: 1,
            format: Format::Text,
        };
        let label = Label {
            worker: "supervisor".to_owned(),
            instance: 0,
            launch: 1,
            show: "supervisor".to_owned(),
            stream: Stream::Stderr,
        };
        self.pump.attach(read, label, Some(self.pump.file(file)))?;
        nix::unistd::dup2_stdout(&write)?;
        nix::unistd::dup2_stderr(&write)?;
        Ok(())
    }

    fn start_guard(&mut self) {
        if self.guards_left == 0 {
            talk::say(
                "the guard was killed too often; what daemons start may survive a kill -9 of this supervisor",
            );
            return;
        }
        self.guards_left -= 1;
        let prepared =
            guard::own_program().and_then(|program| Guard::prepare(&program, &self.folder.socket()));
        match prepared {
            Ok((guard, spawn)) => {
                self.guard = Some(guard);
                self.spawner.submit(GUARDS_TICKET, spawn);
            }
            Err(error) => talk::say(format_args!("cannot start the guard: {error}")),
        }
    }

    /// Sees to it that there is a guard: a worker that dies with this supervisor is to be launched.
    pub(crate) fn need_guard(&mut self) {
        if self.guard.is_none() {
            self.start_guard();
        }
    }

    fn guard_spawned(&mut self, result: Result<Spawned, SpawnError>) {
        match result {
            Ok(Spawned { pid, pidfd }) => {
                if let Err(error) = self.watch(&pidfd, Watched::Guard) {
                    talk::say(format_args!("cannot watch the guard: {error}"));
                }
                if let Some(guard) = &mut self.guard {
                    guard.spawned(pid, pidfd);
                }
            }
            Err(error) => {
                self.guard = None;
                talk::say(format_args!("cannot start the guard: {error}"));
            }
        }
    }

    fn guard_ended(&mut self, token: u64) {
        self.watched.remove(&token);
        if let Some(pidfd) = self.guard.take().as_ref().and_then(Guard::pidfd) {
            let _ = self.epoll.delete(pidfd);
            let _ = process::wait_leader(pidfd.as_fd());
        }
        self.start_guard();
    }

    fn begin(&mut self) {
        if self.has_daemons {
            self.start_guard();
        }
        self.begun = true;
        if self.when_up.is_some() {
            self.not_up_yet = self.core.instances().map(|instance| instance.id).collect();
        }
        self.news.push_back(Event::Begin);
    }

    /// What marks this run's processes.
    pub(crate) fn marks<'a>(&'a self, socket: &'a Path) -> Marks<'a> {
        Marks { roster: &self.roster, socket }
    }

    fn tell_troubles(&self) {
        for trouble in self.pump.troubles() {
            talk::say(trouble);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Launch(process) => self.queue_launch(process),
            Action::Ask(process) => self.ask(process),
            Action::Kill(process) => self.kill_tree(process),
            Action::Reclaim(process) => self.reclaim(process),
            Action::Changed(instance) => {
                self.changed = true;
                let now = self.core.instance(instance, self.clock.now());
                self.history.tell(self.roster.name(instance.worker), instance, now);
                self.tell_people(instance);
            }
            Action::Retired(worker) => self.queues.retire(worker),
            Action::Unretired(worker) => {
                if let Some(setup) = self.setup.workers.get(worker.0 as usize) {
                    self.queues.unretire(worker, &setup.puts);
                }
            }
            Action::Conclude(conclusion) => self.conclusion = Some(conclusion),
        }
    }

    fn queue_launch(&mut self, process: Process) {
        self.queued.push_back(process);
        self.launch_queued();
    }

    fn launch_queued(&mut self) {
        while self.pending.len() < LAUNCHES_AT_ONCE {
            let Some(process) = self.queued.pop_front() else { break };
            self.launch(process);
        }
        if self.pending.is_empty() && self.starting_up {
            // What reading the config and starting took is not needed any more, and this process stays for long.
            self.starting_up = false;
            self.queued.shrink_to_fit();
            process::give_memory_back();
        }
    }

    fn launch(&mut self, process: Process) {
        let instance = process.instance;
        let prepared =
            match (self.core.worker(instance.worker), self.setup.workers.get(instance.worker.0 as usize)) {
                (Some(decided), Some(worker)) => {
                    let show = self.roster.show(instance);
                    Launch { process, name: &decided.name, show: &show, policy: decided.policy, worker }
                        .prepare(&self.environment, &self.pump)
                }
                _ => Err(LaunchFailure("no such worker".to_owned())),
            };
        match prepared {
            Ok((spawn, streams)) => {
                self.tickets += 1;
                self.pending.insert(self.tickets, Pending { process, streams });
                self.spawner.submit(self.tickets, spawn);
            }
            Err(failure) => self.news.push_back(Event::LaunchFailed(process, failure)),
        }
    }

    fn hear_spawner(&mut self) {
        while let Some((ticket, result)) = self.spawner.poll() {
            if ticket == GUARDS_TICKET {
                self.guard_spawned(result);
                continue;
            }
            let Some(Pending { process, streams }) = self.pending.remove(&ticket) else { continue };
            match result {
                Ok(spawned) => {
                    let tree = Tree::new(spawned.pid, spawned.pidfd, Kinship::Child, streams);
                    self.enter(process, tree);
                    self.news.push_back(Event::Launched(process));
                }
                Err(error) => {
                    for stream in streams {
                        self.pump.finish(stream);
                    }
                    self.news.push_back(Event::LaunchFailed(process, LaunchFailure(error.to_string())));
                }
            }
        }
        self.launch_queued();
        if !self.early.is_empty() {
            self.settle();
            for early in std::mem::take(&mut self.early) {
                match early {
                    Early::Call(call) => self.take_call(call),
                    Early::Notification(pid, message) => self.take_notification(pid, message),
                }
            }
        }
    }

    /// Whether a process belongs to a launch that a spawner's thread has still to tell of: it runs already, and is
    /// quicker than the news of it.
    fn is_early(&self, pid: i32) -> bool {
        if self.pending.is_empty() || self.early.len() >= EARLY_AT_MOST {
            return false;
        }
        let launch = self.launch_of(pid);
        launch.is_some_and(|launch| self.pending.values().any(|pending| pending.process == launch))
    }

    fn take_call(&mut self, call: Call) {
        let concerns_its_launch = matches!(call.request, api::Request::Join(_) | api::Request::Tell(_));
        if concerns_its_launch && self.is_early(call.peer.pid) {
            self.early.push(Early::Call(call));
        } else {
            self.answer(call);
        }
    }

    fn take_notification(&mut self, pid: i32, message: notify::Message) {
        if self.is_early(pid) {
            self.early.push(Early::Notification(pid, message));
            return;
        }
        let Some(process) = self.launch_of(pid) else { return };
        if let Some(status) = message.status
            && let Some(tree) = self.processes.get_mut(process)
        {
            tree.talk().status = Some(status);
        }
        if message.ready {
            self.news.push_back(Event::Ready(process));
        }
    }

    /// Enters a tree and watches its leader.
    pub(crate) fn enter(&mut self, process: Process, tree: Tree) {
        let watched = self.watch(&tree.pidfd, Watched::Leader(process));
        let pid = tree.pid;
        self.processes.insert(process, tree);
        if let Err(error) = watched {
            // Without a watch its end would go unheard: end it now, and hear that through SIGCHLD.
            talk::say(format_args!("cannot watch pid {pid}: {error}; it is killed"));
            self.kill_tree(process);
        }
    }

    fn watch(&mut self, descriptor: impl AsFd, what: Watched) -> io::Result<()> {
        self.tokens += 1;
        self.epoll.add(descriptor.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, self.tokens))?;
        self.watched.insert(self.tokens, what);
        Ok(())
    }

    /// Asks a launch to stop: first over its channel, then by its stop signal, and lets it run if it was stopped.
    fn ask(&mut self, process: Process) {
        let Some(setup) = self.setup.workers.get(process.instance.worker.0 as usize) else { return };
        let (signal, to) = (setup.stop_signal, setup.stop_to);
        let Some(tree) = self.processes.get_mut(process) else { return };
        tree.command(worker::wire::Command::Stop);
        let leader = tree.pid;
        if tree.ended.is_none() {
            // Errors mean that it is gone, which its descriptor says as well.
            let _ = process::signal::send(tree.pidfd.as_fd(), signal);
            let _ = process::signal::send(tree.pidfd.as_fd(), libc::SIGCONT);
        }
        if to == StopTo::Main {
            return;
        }
        let Ok(snapshot) = process::Snapshot::take() else { return };
        for pid in self.tree_of(process, &snapshot).into_iter().filter(|pid| *pid != leader) {
            if let Some(held) = hold(pid.as_raw()) {
                let _ = process::signal::send(held.as_fd(), signal);
                let _ = process::signal::send(held.as_fd(), libc::SIGCONT);
            }
        }
    }

    /// The processes of a launch, its leader first: all below the leader, and the orphans that belong to it with all
    /// below them.
    pub(crate) fn tree_of(&mut self, process: Process, snapshot: &process::Snapshot) -> Vec<Pid> {
        let mut all = Vec::new();
        let socket = self.folder.socket();
        // What escaped while nobody had a reason to look is not known yet.
        let marks = Marks { roster: &self.roster, socket: &socket };
        sweeping::recognise(&mut self.processes, snapshot, marks, false);
        let Some(tree) = self.processes.get(process) else { return all };
        if tree.ended.is_none() {
            all.push(tree.pid);
            all.extend(snapshot.descendants(tree.pid));
        }
        for (identity, owner) in self.processes.orphans().values() {
            if *owner == Some(process) && snapshot.get(identity.pid).is_some() {
                all.push(identity.pid);
                all.extend(snapshot.descendants(identity.pid));
            }
        }
        all
    }

    /// Kills everything of a launch. What is its leader's group dies at once; what escaped from it becomes our child
    /// when the leader is dead, and is swept then.
    fn kill_tree(&mut self, process: Process) {
        self.processes.condemn(process);
        let Some(tree) = self.processes.get(process) else { return };
        if tree.ended.is_some() {
            self.sweep();
            return;
        }
        match tree.kinship {
            Kinship::Child => {
                // The leader is our child and not reaped, so the group is still its own.
                let _ = process::signal::send_group(tree.pidfd.as_fd(), tree.pid, libc::SIGKILL);
                let _ = process::signal::send(tree.pidfd.as_fd(), libc::SIGKILL);
            }
            Kinship::TakenBack => {
                // Its orphans would not come to us: take them all while they hang together.
                if let Ok(Some(identity)) = process::Identity::of(tree.pid) {
                    let _ = process::freeze_and_kill(&[identity], |_| false);
                }
                let _ = process::signal::send(tree.pidfd.as_fd(), libc::SIGKILL);
            }
        }
    }

    fn leader_may_have_ended(&mut self, process: Process, token: u64) {
        let Some(tree) = self.processes.get(process).filter(|tree| tree.ended.is_none()) else {
            self.watched.remove(&token);
            return;
        };
        let mut dumped_core = false;
        let mut ending_of = |exit: Exit| {
            dumped_core = matches!(exit, Exit::Signal { core_dumped: true, .. });
            words::ending(exit)
        };
        let ending = match tree.kinship {
            Kinship::Child => match process::wait_leader(tree.pidfd.as_fd()) {
                Ok(exit) => exit.map(&mut ending_of),
                // Nobody else waits for our children; should somebody have, its end is all that is known.
                Err(_) => Some(Ending::Unknown),
            },
            Kinship::TakenBack if !process::is_dead(tree.pidfd.as_fd()) => None,
            Kinship::TakenBack => match process::exit_of(tree.pidfd.as_fd()) {
                Some(exit) => Some(ending_of(exit)),
                None => (!self.await_reaping(process, token)).then_some(Ending::Unknown),
            },
        };
        let Some(ending) = ending else { return };
        if let Some(tree) = self.processes.get(process) {
            let _ = self.epoll.delete(&tree.pidfd);
        }
        self.watched.remove(&token);
        self.processes.leader_ended(process, ending);
        self.note_core(process.instance, dumped_core);
        self.tell_leader_ended(process, ending);
        self.changed = true;
        self.news.push_back(Event::Ended(process, ending));
    }

    /// The kernel tells how somebody else's child ended only once its parent has reaped it. Gives that parent a moment;
    /// says whether it has any of it left.
    fn await_reaping(&mut self, process: Process, token: u64) -> bool {
        let now = self.clock.now();
        let Some(tree) = self.processes.get_mut(process) else { return false };
        if let Some(at) = tree.exit_unknown_at {
            return now < at;
        }
        tree.exit_unknown_at = Some(now + PARENT_REAPS_WITHIN);
        // That it is dead is known; wake up when it is reaped, which is told whatever is asked for.
        self.epoll.modify(&tree.pidfd, &mut EpollEvent::new(EpollFlags::empty(), token)).is_ok()
    }

    /// Looks again at the taken-back leaders whose parent has had its moment.
    fn stop_awaiting_reaping(&mut self) {
        let now = self.clock.now();
        let due = |tree: &Tree| tree.ended.is_none() && tree.exit_unknown_at.is_some_and(|at| at <= now);
        let due: Vec<Process> =
            self.processes.iter().filter(|(_, tree)| due(tree)).map(|(process, _)| process).collect();
        for process in due {
            let token = self.watched.iter().find(|(_, what)| **what == Watched::Leader(process));
            if let Some(token) = token.map(|(token, _)| *token) {
                self.leader_may_have_ended(process, token);
            }
        }
    }

    fn other_may_have_ended(&mut self, pid: i32, token: u64) {
        let Some(held) = self.others.get(&pid) else {
            self.watched.remove(&token);
            return;
        };
        if process::is_dead(held.pidfd.as_fd()) {
            let _ = self.epoll.delete(&held.pidfd);
            self.others.remove(&pid);
            self.watched.remove(&token);
            self.queues.reclaim(pid);
            self.changed = true;
            if !self.processes.sweeping().is_empty() {
                self.sweep();
            }
        }
    }

    /// Watches a process that is no leader until it ends. `None`: it is gone already, or cannot be held.
    pub(crate) fn watch_other(&mut self, pid: i32) -> Option<()> {
        if self.others.contains_key(&pid) {
            return Some(());
        }
        let pidfd = hold(pid)?;
        self.watch(&pidfd, Watched::Other(pid)).ok()?;
        self.others.insert(pid, Held { pid, pidfd });
        Some(())
    }

    fn sweep(&mut self) {
        let socket = self.folder.socket();
        let marks = Marks { roster: &self.roster, socket: &socket };
        let Swept { empty, reaped, watch } = sweeping::sweep(&mut self.processes, marks);
        for pid in reaped {
            self.queues.reclaim(pid);
        }
        for pid in watch {
            self.watch_other(pid);
        }
        for process in empty {
            self.processes.swept(process);
            self.news.push_back(Event::Emptied(process));
        }
    }

    /// Gives back what a dead launch held, and lets its output run dry.
    fn reclaim(&mut self, process: Process) {
        if let Some(tree) = self.processes.remove(process) {
            self.queues.reclaim(tree.pid.as_raw());
            for place in tree.meeting_places() {
                crate::joining::clear_meeting_place(place);
            }
            for stream in tree.streams {
                self.pump.finish(stream);
            }
        }
        let dead: Vec<i32> = self
            .others
            .values()
            .filter(|held| process::is_dead(held.pidfd.as_fd()))
            .map(|held| held.pid)
            .collect();
        for pid in dead {
            self.queues.reclaim(pid);
        }
        self.news.push_back(Event::Reclaimed(process));
    }

    fn read_mail(&mut self) {
        while let Some(mail) = self.mailbox.next() {
            match mail {
                Mail::Call(call) => self.take_call(*call),
                Mail::Met(process, commands) => {
                    if let Some(tree) = self.processes.get_mut(process) {
                        tree.talk().commands = Some((commands, 0));
                    }
                }
            }
            // A call may depend on what the one before it changed.
            if !self.news.is_empty() {
                self.settle();
            }
        }
    }

    fn hear_notifications(&mut self) {
        while let Some((pid, message)) = self.notify.as_ref().and_then(NotifySocket::receive) {
            self.take_notification(pid, message);
        }
    }

    /// Says whether a child changed its state.
    fn hear_signals(&mut self) -> bool {
        let mut child = false;
        let heard: Vec<Received> = self.signals.pending().collect();
        for Received { signal, sender } in heard {
            match signal {
                libc::SIGCHLD => child = true,
                libc::SIGINT | libc::SIGTERM => self.told_to_stop(signal, sender.map(Pid::as_raw)),
                libc::SIGQUIT => self.stop_now(),
                libc::SIGUSR1 => self.pump.reopen(),
                libc::SIGHUP => talk::say("got SIGHUP: reloading is not offered yet; nothing changes"),
                _ => {}
            }
        }
        child
    }

    fn told_to_stop(&mut self, signal: i32, sender: Option<i32>) {
        if self.told == Told::Nothing {
            let by = sender.filter(|pid| *pid > 0).map(|pid| format!(" from pid {pid}")).unwrap_or_default();
            talk::say(format_args!(
                "got {}{by}: stopping; once more kills at once",
                process::signal::name(signal)
            ));
            self.shut_down();
        } else {
            self.stop_now();
        }
    }

    /// Stops the run gracefully.
    pub(crate) fn shut_down(&mut self) {
        if self.told == Told::Nothing {
            self.told = Told::Stop;
            self.news.push_back(Event::Shutdown);
        }
    }

    /// Stops the run at once.
    pub(crate) fn stop_now(&mut self) {
        if self.told != Told::StopNow {
            self.told = Told::StopNow;
            talk::say("killing everything at once");
            self.news.push_back(Event::ShutdownNow);
        }
    }

    /// Takes a process of a former run back, before the run begins.
    pub(crate) fn take_back(&mut self, process: Process, tree: Tree) {
        self.enter(process, tree);
        self.news.push_back(Event::TakenBack(process));
        self.settle();
    }

    fn tell_people(&self, instance: InstanceId) {
        // Most changes are good news, which nobody has to be told.
        let bad_news = matches!(self.core.standing(instance), Some((Phase::Backoff | Phase::Failed, _)));
        if bad_news
            && let Some(now) = self.core.instance(instance, self.clock.now())
            && let Some(line) = words::worth_saying(&now, &self.roster.show(instance))
        {
            talk::say(line);
        }
    }

    /// Ends what is left when the run is over: orphans that belong to nobody are killed, all output is written, and
    /// those who wait are told.
    pub fn finish(mut self, server: Server) {
        self.kill_strays();
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
        self.tell_waiters_it_is_over();
        for trouble in self.pump.stop() {
            talk::say(trouble);
        }
        // Those who follow what happens are told that nothing will any more.
        drop(self.history);
        server.stop();
        if self.background {
            for log in [BACKGROUND_LOG.to_owned(), format!("{BACKGROUND_LOG}.1")] {
                // Mostly there is none.
                let _ = std::fs::remove_file(self.folder.path().join(log));
            }
        }
    }

    fn kill_strays(&mut self) {
        // SIGKILL is refused by nothing but a process in the middle of the kernel; do not wait for that for ever.
        let give_up = self.clock.now() + STRAYS_TAKE_AT_MOST;
        let guard = self.guard.as_ref().and_then(|guard| guard.pid);
        while sweeping::kill_strays(&mut self.processes, guard) && self.clock.now() < give_up {
            // A child's end wakes it; the limit is for those whose end comes between the look and the wait.
            let mut events = [EpollEvent::empty(); 16];
            let _ = self.epoll.wait(&mut events, EpollTimeout::from(100u8));
            let _ = self.signals.pending().count();
        }
    }
}

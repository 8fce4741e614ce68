//! What the loop is put together from.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use control::RunFolder;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use process::{SignalQueue, Spawner};
use supervision::{Policy, Supervisor};

use super::burying::Dead;
use super::hearing::Ears;
use super::probes::Probes;
use super::scheduling::Schedules;
use super::{GUARDS_AT_MOST, GUARDS_TICKET, Loop, Starting, Told, Watched};
use crate::additions::Additions;
use crate::applying::{Configs, no_family};
use crate::askers::Askers;
use crate::cgroups::Cgroups;
use crate::clock::{Alarm, Clock};
use crate::doors::Doors;
use crate::environment::Environment;
use crate::history::History;
use crate::journal::Journal;
use crate::listening::Sockets;
use crate::logs::Pump;
use crate::mailbox::{self, Mailbox};
use crate::meeting::Meetings;
use crate::primitives::Primitives;
use crate::processes::Processes;
use crate::queues::Queues;
use crate::roster::Roster;
use crate::run::WhenUp;
use crate::setup::{Purpose, Setup};
use crate::source::Source;
use crate::temporary::Temporary;

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
    /// The run's locks and their like.
    pub primitives: Primitives,
    /// The threads that spawn.
    pub spawner: Spawner,
    /// The signals that the run listens to.
    pub signals: SignalQueue,
    /// The run's cgroups.
    pub cgroups: Cgroups,
    /// The temporary folders of its launches.
    pub temporary: Temporary,
    /// The doors of its workers that run as other users.
    pub doors: Doors,
    /// The sockets that its workers listen on.
    pub sockets: Sockets,
    /// How other threads reach the loop.
    pub mail: mailbox::Sender,
    /// The loop's end of that.
    pub mailbox: Mailbox,
    /// Whom to tell when all is up.
    pub when_up: Option<WhenUp>,
    /// Whether it goes to the background then.
    pub background: bool,
    /// Whether the loop runs on another thread than the main one, so that its children are no orphans.
    pub spawns_itself: bool,
    /// What is added while it runs, as it is kept.
    pub additions: Additions,
    /// How many of its workers are of its config: the first ones.
    pub of_config: usize,
    /// Where other configs come from.
    pub source: Option<Arc<dyn Source>>,
    /// Where all that is decided is written down.
    pub journal: Option<Journal>,
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
            spawns_itself,
            additions,
            of_config,
            source,
            journal,
        } = parts;
        // The core keeps it; the setup's own would be a second copy of everything.
        let family = std::mem::replace(&mut setup.family, no_family());
        let has_daemons = setup.purpose == Purpose::Command
            || family.workers.iter().any(|worker| worker.policy == Policy::Daemon);
        let history = History::of_run(folder.path());
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
            askers: Askers::default(),
            journal,
            configs: Configs::new(source, of_config),
            former_stops: HashMap::new(),
            primitives,
            waiters: Vec::new(),
            rolled: BTreeMap::new(),
            meetings: Meetings::default(),
            terminal: super::terminal::Terminal::of_this_process(),
            mail,
            environment: Environment::new(&setup.name, setup.programs.as_deref(), &folder.socket()),
            folder,
            cgroups,
            temporary,
            doors,
            sockets,
            history,
            dumped_core: BTreeSet::new(),
            others: HashMap::new(),
            pump,
            spawner,
            spawns_itself,
            spawned_itself: false,
            slow_to_execute: BTreeSet::new(),
            pending: HashMap::new(),
            queued: VecDeque::new(),
            tickets: GUARDS_TICKET,
            guard: None,
            guards_left: GUARDS_AT_MOST,
            early: Vec::new(),
            signals,
            mailbox,
            ears: Ears::default(),
            probes: Probes::default(),
            schedules: Schedules::default(),
            telling: None,
            additions,
            added: HashMap::new(),
            unsent: Vec::new(),
            passed_on: None,
            settling: BTreeMap::new(),
            lost_early: BTreeMap::new(),
            retiring: BTreeSet::new(),
            alarm: Alarm::new()?,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            watched: HashMap::new(),
            tokens: 0,
            news: VecDeque::new(),
            told: Told::Nothing,
            has_daemons,
            begun: false,
            starting: Starting::UnderWay,
            child_changed: false,
            unsure: None,
            changes: Vec::new(),
            to_be_asked: Vec::new(),
            dead: Dead::default(),
            look_at_killed: None,
            abandoned: Vec::new(),
            changed: false,
            conclusion: None,
            setup,
        };
        let fixed = [
            (Watched::Signals, Some(all.signals.as_fd())),
            (Watched::Spawner, Some(all.spawner.as_fd())),
            (Watched::Mailbox, Some(all.mailbox.as_fd())),
            (Watched::Alarm, Some(all.alarm.as_fd())),
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
}

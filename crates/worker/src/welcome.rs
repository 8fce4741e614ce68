//! What a worker knows once it has joined, by whichever way.

use control::api;

use crate::stopping::Orders;
use crate::wire::{Hello, SyncGrant};

/// Who it is, and what it shares with others.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub run: String,
    pub worker: String,
    pub instance: u32,
    pub launch: u64,
    pub supervisor: i32,
    pub args: String,
    pub kwargs: String,
    pub queues: Vec<Shared>,
    /// Where the locks and their like are; `None`: the supervisor is asked for their memory.
    pub sync: Option<SyncGrant>,
}

/// A queue of the run.
#[derive(Debug)]
pub(crate) struct Shared {
    pub queue: String,
    pub dead_letter: Option<String>,
    pub place: Place,
}

/// Where a queue's memory is.
#[derive(Debug)]
pub(crate) enum Place {
    /// At this path.
    At(String),
    /// With the supervisor, who hands it over when asked: this process may not open what is the supervisor's.
    WithTheSupervisor,
}

impl Place {
    /// The path, where there is one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Place::At(path) => Some(path),
            Place::WithTheSupervisor => None,
        }
    }
}

impl Welcome {
    /// What was said in a meeting.
    pub fn from_meeting(hello: Hello) -> (Welcome, Orders) {
        let shared = |grant: crate::wire::Grant| Shared {
            queue: grant.queue,
            dead_letter: grant.dead_letter,
            place: Place::At(grant.path),
        };
        let welcome = Welcome {
            run: hello.run,
            worker: hello.worker,
            instance: hello.instance,
            launch: hello.launch,
            supervisor: hello.supervisor,
            args: hello.args,
            kwargs: hello.kwargs,
            queues: hello.queues.into_iter().map(shared).collect(),
            sync: Some(hello.sync),
        };
        (welcome, Orders::Channel(hello.commands))
    }
}

impl From<api::Hello> for Welcome {
    fn from(hello: api::Hello) -> Welcome {
        let shared = |offered: api::Offered| Shared {
            queue: offered.queue,
            dead_letter: offered.dead_letter,
            place: Place::WithTheSupervisor,
        };
        Welcome {
            run: hello.run,
            worker: hello.worker,
            instance: hello.instance,
            launch: hello.launch,
            supervisor: hello.supervisor,
            args: hello.args,
            kwargs: hello.kwargs,
            queues: hello.queues.into_iter().map(shared).collect(),
            sync: None,
        }
    }
}

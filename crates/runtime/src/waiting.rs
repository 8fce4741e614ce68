//! Those who asked for something that takes time, and what they wait for.

use std::os::fd::{AsFd, OwnedFd};

use crate::killing;
use crate::rolling::Rolls;
use control::Reply;
use control::api::{Killed, Proposal};
use process::Identity;
use supervision::{Ending, InstanceId, Launch, Moment, Phase, Process};

/// Somebody who waits for an answer.
#[derive(Debug)]
pub struct Waiter {
    /// What for.
    pub until: Until,
    /// Where the answer goes.
    pub reply: Reply,
    /// When to give up.
    pub deadline: Option<Moment>,
}

/// What somebody waits for.
#[derive(Debug)]
pub enum Until {
    /// Each instance runs, or can not come to run.
    Running(Vec<Wanted>),
    /// Each of the new instances runs, or can not come to run; nothing is left of the surplus.
    Scaled {
        /// Those that were not there before.
        new: Vec<Wanted>,
        /// Those that are no longer wanted.
        surplus: Vec<InstanceId>,
        /// All that the workers have now.
        all: Vec<InstanceId>,
    },
    /// These rolling restarts are over, and each of the plainly restarted runs, or can not come to run.
    Rolled {
        /// The rolling ones.
        rolls: Rolls,
        /// Those that were restarted plainly.
        plain: Vec<Wanted>,
        /// All that were named.
        all: Vec<InstanceId>,
    },
    /// Another config is carried out: what is new runs, or can not come to run, and nothing is left of what went.
    Applied {
        /// Those that are to run.
        new: Vec<Wanted>,
        /// Launches of which nothing is to be left.
        gone: Vec<(InstanceId, Option<Launch>)>,
        /// Those that are replaced one instance after the other.
        rolls: Rolls,
        /// All of the workers that were touched.
        all: Vec<InstanceId>,
        /// What was said of it.
        shown: Box<Proposal>,
    },
    /// Nothing of the instances lives, and nothing will without being asked for; or somebody has asked, and they run in another
    /// launch than this one.
    Ended(Vec<(InstanceId, Option<Launch>)>),
    /// The same, to learn how they ended.
    WaitedFor(Vec<InstanceId>),
    /// A launch's leader has ended.
    LeaderEnded {
        /// Which launch.
        process: Process,
        /// How it ended, once it has.
        ending: Option<Ending>,
    },
    /// A process that leads nothing has ended.
    Gone(Held),
    /// All of these processes are gone. What lives at `kill_at` is killed.
    Killed {
        /// Who still lives.
        living: Vec<Held>,
        /// The answer.
        answer: Killed,
        /// When those that still live are killed; `None`: they were, or are not to be.
        kill_at: Option<Moment>,
        /// With a whole tree: what it is, to look whether anybody was born to it.
        tree: Option<Tree>,
        /// Whether the time to kill has come.
        kills: bool,
    },
    /// The run is over.
    Over,
}

/// A tree of processes that somebody wants gone.
#[derive(Debug)]
pub struct Tree {
    /// Those it begins with; the one that was named comes first.
    pub roots: Vec<Identity>,
    /// Who asked for it, and is let alone.
    pub caller: i32,
}

/// A process held by a descriptor, so that it cannot be mistaken for another.
#[derive(Debug)]
pub struct Held {
    /// Its pid.
    pub pid: i32,
    /// The descriptor.
    pub pidfd: OwnedFd,
}

/// An instance that somebody wants to see running.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which.
    pub instance: InstanceId,
    /// A launch that does not count: the one that a restart replaces.
    pub not: Option<Launch>,
}

impl Wanted {
    /// Whether it runs, or can not come to run by itself.
    fn is_up(&self, standing: Option<Standing>) -> bool {
        standing.is_none_or(|now| {
            let replaced = self.not.is_none_or(|not| now.launch != Some(not));
            match now.phase {
                Phase::Running | Phase::Done | Phase::Failed => replaced,
                Phase::Stopped => true,
                Phase::Waiting => now.between_runs && replaced,
                Phase::Starting | Phase::Stopping | Phase::Backoff => false,
            }
        })
    }
}

/// What is known of an instance, for those who wait.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Where it stands.
    pub phase: Phase,
    /// Its present or last launch.
    pub launch: Option<Launch>,
    /// Whether it waits for nothing but the time of its next run.
    pub between_runs: bool,
    /// Whether something that it left behind is being stopped.
    pub parting: bool,
}

impl Standing {
    fn is_over(self) -> bool {
        matches!(self.phase, Phase::Done | Phase::Failed | Phase::Stopped)
    }
}

impl Waiter {
    /// When it must be looked at, whatever else happens.
    pub fn next_deadline(&self) -> Option<Moment> {
        let kill_at = match &self.until {
            Until::Killed { kill_at, .. } => *kill_at,
            _ => None,
        };
        self.deadline.into_iter().chain(kill_at).min()
    }
}

impl Until {
    /// Whether it has come about. `standing` says where an instance stands; `None`: it is no more.
    pub fn has_come(&mut self, standing: impl Fn(InstanceId) -> Option<Standing>) -> bool {
        match self {
            Until::Running(wanted) => wanted.iter().all(|wanted| wanted.is_up(standing(wanted.instance))),
            Until::Rolled { rolls, plain, .. } => {
                rolls.under_way.is_empty()
                    && plain.iter().all(|wanted| wanted.is_up(standing(wanted.instance)))
            }
            Until::Scaled { new, surplus, .. } => {
                // One that somebody has called back meanwhile is no surplus any more.
                let gone = |id: &InstanceId| {
                    standing(*id).is_none_or(|now| now.phase != Phase::Stopping && !now.parting)
                };
                new.iter().all(|wanted| wanted.is_up(standing(wanted.instance))) && surplus.iter().all(gone)
            }
            Until::Applied { new, gone, rolls, .. } => {
                let is_gone = |(id, launch): &(InstanceId, Option<Launch>)| {
                    standing(*id).is_none_or(|now| (now.launch != *launch || now.is_over()) && !now.parting)
                };
                rolls.under_way.is_empty()
                    && new.iter().all(|wanted| wanted.is_up(standing(wanted.instance)))
                    && gone.iter().all(is_gone)
            }
            Until::Ended(instances) => instances.iter().all(|(instance, launch)| {
                standing(*instance).is_none_or(|now| (now.is_over() || now.launch != *launch) && !now.parting)
            }),
            Until::WaitedFor(instances) => {
                instances.iter().all(|instance| standing(*instance).is_none_or(Standing::is_over))
            }
            Until::LeaderEnded { ending, .. } => ending.is_some(),
            Until::Gone(held) => process::is_dead(held.pidfd.as_fd()),
            Until::Killed { living, .. } => {
                living.retain(|held| !process::is_dead(held.pidfd.as_fd()));
                living.is_empty()
            }
            Until::Over => false,
        }
    }

    /// Kills what has not gone within its grace.
    pub fn kill_if_due(&mut self, now: Moment) {
        if let Until::Killed { living, kill_at, tree, kills, .. } = self
            && kill_at.is_some_and(|at| at <= now)
        {
            *kill_at = None;
            *kills = true;
            if let Some(tree) = tree {
                // What a failure leaves is killed one by one.
                let _ = killing::kill_tree(tree);
            }
            for held in living {
                // An error means that it is gone, which is what was wanted.
                let _ = process::signal::send(held.pidfd.as_fd(), libc::SIGKILL);
            }
        }
    }
}

//! The run's queues: made before the first launch, or found on disk; closed when the last worker that puts has ended
//! for good; and cleared of what the dead held.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use control::api::{self, QueueStatus};
use ipc::{OpenError, Queue, QueueOptions};
use supervision::WorkerId;
use worker::wire::Grant;

use crate::setup::{Fsync, QueueSetup, Setup};
use crate::state::{self, StateFolder};
use crate::talk;

/// All queues of the run.
#[derive(Debug)]
pub struct Queues {
    all: BTreeMap<String, Held>,
    order: Vec<String>,
    /// Where the durable ones are, if there are any.
    state: Option<StateFolder>,
}

/// Queues that are made and not yet taken in.
#[derive(Debug)]
pub struct New(Vec<(String, Held)>, Option<StateFolder>);

#[derive(Debug)]
struct Held {
    queue: Queue,
    dead_letter: Option<String>,
    /// Those who put into it and have not ended for good.
    producers: BTreeSet<WorkerId>,
    /// Whether anybody of the config puts into it: else it closes only when told.
    listed: bool,
}

impl Queues {
    /// Makes every queue of `setup`, but for those that `survivor` finds in the hands of a process of a former run.
    pub fn make(setup: &Setup, mut survivor: impl FnMut(&str) -> Option<Queue>) -> Result<Queues, String> {
        let state = match setup.queues.iter().any(|queue| queue.durable.is_some()) {
            true => Some(StateFolder::of(&setup.name)?),
            false => None,
        };
        let mut queues = Queues { all: BTreeMap::new(), order: Vec::new(), state: None };
        for queue in &setup.queues {
            let segment = match (&state, queue.durable) {
                (Some(state), Some(_)) => Some(restore(queue, &state.queue(&queue.name))?),
                _ => {
                    if let Some(path) = state::left_behind(&setup.name, &queue.name) {
                        talk::say(format_args!(
                            "queue {}: not durable any more; what was left in it stays in {}",
                            queue.name,
                            path.display()
                        ));
                    }
                    survivor(&segment_name(&setup.name, &queue.name))
                }
            };
            let producers = setup
                .workers
                .iter()
                .enumerate()
                .filter(|(_, worker)| worker.kept.puts.contains(&queue.name))
                .map(|(place, _)| WorkerId(u32::try_from(place).unwrap_or(u32::MAX)))
                .collect();
            let held = queues.enter(&setup.name, queue, segment)?;
            held.listed = setup.workers.iter().any(|worker| worker.kept.puts.contains(&queue.name));
            held.producers = producers;
        }
        queues.state = state;
        Ok(queues)
    }

    fn enter(&mut self, run: &str, setup: &QueueSetup, segment: Option<Queue>) -> Result<&mut Held, String> {
        let name = segment_name(run, &setup.name);
        let queue = match segment {
            Some(segment) => segment,
            None => Queue::create_anonymous(&name, &options(setup))
                .map_err(|error| format!("queue {}: {error}", setup.name))?,
        };
        self.order.push(setup.name.clone());
        let held =
            Held { queue, dead_letter: setup.dead_letter.clone(), producers: BTreeSet::new(), listed: false };
        Ok(self.all.entry(setup.name.clone()).or_insert(held))
    }

    /// Makes one more queue.
    ///
    /// # Errors
    /// Impossible options; out of memory or descriptors; trouble with the disk for a durable one.
    pub fn add(&mut self, run: &str, setup: &QueueSetup) -> Result<(), String> {
        let segment = match (setup.durable, &mut self.state) {
            (None, _) => None,
            (Some(_), Some(state)) => Some(restore(setup, &state.queue(&setup.name))?),
            (Some(_), first) => {
                let state = first.insert(StateFolder::of(run)?);
                Some(restore(setup, &state.queue(&setup.name))?)
            }
        };
        self.enter(run, setup, segment).map(|_| ())
    }

    /// Forgets a queue. Who has it open keeps it; the file of a durable one is told, and stays.
    pub fn remove(&mut self, name: &str) -> Option<PathBuf> {
        self.order.retain(|other| other != name);
        let held = self.all.remove(name)?;
        held.queue.fsync().and(self.state.as_ref()).map(|state| state.queue(name))
    }

    /// The queue whose dead letters go to this one.
    pub fn buries_in(&self, name: &str) -> Option<&str> {
        let mut all = self.all.iter();
        all.find(|(_, held)| held.dead_letter.as_deref() == Some(name)).map(|(other, _)| other.as_str())
    }

    /// Whether a queue is closed.
    pub fn is_closed(&self, name: &str) -> bool {
        self.all.get(name).is_some_and(|held| held.queue.is_closed())
    }

    /// How many messages are in a queue, those that were taken and not acknowledged included.
    pub fn left_in(&self, name: &str) -> u64 {
        self.all.get(name).map_or(0, |held| {
            let stats = held.queue.stats();
            stats.len + stats.in_flight
        })
    }

    /// Makes those of `queues` that are `added`; nobody sees them before [`Queues::exchange`].
    ///
    /// # Errors
    /// Why one of them cannot be made.
    pub fn prepare(&self, run: &str, queues: &[QueueSetup], added: &[&str]) -> Result<New, String> {
        let (mut new, mut first) = (Vec::new(), None);
        for queue in queues.iter().filter(|queue| added.contains(&queue.name.as_str())) {
            if queue.durable.is_some() && self.state.is_none() && first.is_none() {
                first = Some(StateFolder::of(run)?);
            }
            let segment = match (self.state.as_ref().or(first.as_ref()), queue.durable) {
                (Some(state), Some(_)) => restore(queue, &state.queue(&queue.name))?,
                _ => Queue::create_anonymous(&segment_name(run, &queue.name), &options(queue))
                    .map_err(|error| format!("queue {}: {error}", queue.name))?,
            };
            let held = Held {
                queue: segment,
                dead_letter: queue.dead_letter.clone(),
                producers: BTreeSet::new(),
                listed: false,
            };
            new.push((queue.name.clone(), held));
        }
        Ok(New(new, first))
    }

    /// Takes new queues in and lets others go, whose memory lives as long as somebody uses it; `queues` are all in the
    /// order of the file.
    pub fn exchange(&mut self, New(new, state): New, gone: &[String], queues: &[QueueSetup]) {
        for name in gone {
            if let Some(held) = self.all.remove(name) {
                // Whoever still waits there is told that nothing will come.
                held.queue.close();
            }
        }
        self.all.extend(new);
        self.state = self.state.take().or(state);
        // What scripts have made stays, behind those of the file.
        let listed = |name: &String| queues.iter().any(|queue| queue.name == *name);
        let made = std::mem::take(&mut self.order).into_iter().filter(|name| !listed(name));
        let made: Vec<String> = made.filter(|name| self.all.contains_key(name)).collect();
        self.order = queues.iter().map(|queue| queue.name.clone()).chain(made).collect();
    }

    /// Who puts into what by now: each worker of the run, whether it has ended for good, and its queues. A queue whose
    /// putters have all ended for good closes.
    pub fn list_producers(&mut self, workers: &[(WorkerId, bool, &[String])]) {
        for (name, held) in &mut self.all {
            let of_it = || workers.iter().filter(|(.., puts)| puts.contains(name));
            let known: BTreeSet<WorkerId> = workers.iter().map(|(id, ..)| *id).collect();
            // Who was removed and is not gone yet still may put.
            held.producers.retain(|id| !known.contains(id));
            held.producers.extend(of_it().filter(|(_, retired, _)| !retired).map(|(id, ..)| *id));
            held.listed = of_it().next().is_some();
            if held.listed && held.producers.is_empty() {
                held.queue.close();
            }
        }
    }

    /// A worker that was removed is gone: it neither holds its queues open nor closes those that nobody else lists.
    pub fn forget(&mut self, worker: WorkerId) {
        for held in self.all.values_mut() {
            if held.producers.remove(&worker) && held.producers.is_empty() && held.listed {
                held.queue.close();
            }
        }
    }

    /// Where each queue is, for a worker's `Hello`.
    pub fn grants(&self) -> Vec<Grant> {
        self.order
            .iter()
            .filter_map(|name| self.all.get_key_value(name))
            .map(|(name, held)| Grant {
                queue: name.clone(),
                path: held.path(),
                dead_letter: held.dead_letter.clone(),
            })
            .collect()
    }

    /// Where a queue is, for a command that uses it.
    pub fn handle(&self, name: &str) -> Option<api::QueueHandle> {
        let held = self.all.get(name)?;
        let dead_letter = held.dead_letter.as_deref().and_then(|to| {
            let queue = to.to_owned();
            let path = Some(self.all.get(to)?.path());
            Some(Box::new(api::QueueHandle { queue, path, dead_letter: None }))
        });
        Some(api::QueueHandle { queue: name.to_owned(), path: Some(held.path()), dead_letter })
    }

    /// A queue's memory, opened anew: for somebody who may not open it by its path. `None`: there is no such queue.
    pub fn descriptor(&self, name: &str) -> Option<io::Result<OwnedFd>> {
        Some(open_anew(&self.all.get(name)?.queue.descriptor_path()))
    }

    /// Each queue, and where its dead letters go, in the order of the file.
    pub fn all(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let named = self.order.iter().filter_map(|name| self.all.get_key_value(name));
        named.map(|(name, held)| (name.as_str(), held.dead_letter.as_deref()))
    }

    /// The queue of this name, and where a message goes that cannot be delivered.
    pub fn get(&self, name: &str) -> Option<(&Queue, Option<PathBuf>)> {
        let held = self.all.get(name)?;
        let dead_letters = held.dead_letter.as_deref().and_then(|to| self.all.get(to));
        Some((&held.queue, dead_letters.map(|to| to.queue.descriptor_path())))
    }

    /// The names, for suggestions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// One row a queue, in the order of the file.
    pub fn status(&self) -> Vec<QueueStatus> {
        let row = |name: &String| {
            let held = self.all.get(name)?;
            let stats = held.queue.stats();
            Some(QueueStatus {
                queue: name.clone(),
                capacity: held.queue.capacity(),
                len: stats.len,
                in_flight: stats.in_flight,
                closed: stats.closed,
                puts: stats.puts,
                gets: stats.gets,
                redelivered: stats.redelivered,
                dead: stats.dead,
            })
        };
        self.order.iter().filter_map(row).collect()
    }

    /// Closes a queue. `None`: there is none of that name.
    pub fn close(&self, name: &str) -> Option<()> {
        self.all.get(name)?.queue.close();
        Some(())
    }

    /// Gives back what a dead process held, and moves messages that were given up on to where they go.
    pub fn reclaim(&self, pid: i32) {
        let Ok(pid) = u32::try_from(pid) else { return };
        for (name, held) in &self.all {
            let reclaimed = match held.queue.reclaim(pid) {
                Ok(reclaimed) => reclaimed,
                Err(fault) => {
                    talk::say(format_args!("queue {name}: {fault}"));
                    continue;
                }
            };
            if reclaimed.dead > 0 {
                self.forward_dead(name, held);
            }
        }
    }

    /// Moves what was given up on to where it goes.
    fn forward_dead(&self, name: &str, held: &Held) {
        let Some(to) = held.dead_letter.as_ref().and_then(|to| self.all.get(to)) else { return };
        match held.queue.forward_dead(&to.queue) {
            Ok(0) => {}
            Ok(moved) => {
                talk::say(format_args!("queue {name}: {moved} given up on after too many deliveries"));
            }
            Err(fault) => talk::say(format_args!("queue {name}: {fault}")),
        }
    }

    /// Gives back what anybody dead held: after a former supervisor died with a part of the run.
    pub fn reclaim_dead(&self) {
        for (name, held) in &self.all {
            // A damaged queue says so to whoever uses it.
            let _ = held.queue.reclaim_dead();
            self.forward_dead(name, held);
        }
    }

    /// A worker has ended for good: queues that only it still put into are complete.
    pub fn retire(&mut self, worker: WorkerId) {
        for held in self.all.values_mut() {
            if held.producers.remove(&worker) && held.producers.is_empty() {
                held.queue.close();
            }
        }
    }

    /// A worker runs again, by request. A queue that has closed stays closed.
    pub fn unretire(&mut self, worker: WorkerId, puts: &[String]) {
        for name in puts {
            if let Some(held) = self.all.get_mut(name) {
                held.producers.insert(worker);
            }
        }
    }
}

/// Opens what a descriptor of this process is of, so that whoever gets it shares nothing with us but the memory: no
/// position, and no hold on a durable queue's file.
pub(crate) fn open_anew(descriptor: &Path) -> io::Result<OwnedFd> {
    Ok(File::options().read(true).write(true).open(descriptor)?.into())
}

impl Held {
    fn path(&self) -> String {
        self.queue.descriptor_path().to_string_lossy().into_owned()
    }
}

/// The name of a queue's memory, by which a later run recognises it in the hands of a survivor.
fn segment_name(run: &str, queue: &str) -> String {
    format!("supervisor:{run}:{queue}")
}

fn options(queue: &QueueSetup) -> QueueOptions {
    QueueOptions {
        capacity: queue.capacity,
        max_bytes: queue.max_bytes,
        max_message: queue.max_message,
        max_deliveries: queue.max_deliveries,
        supervised: true,
        durable: queue.durable.map(|fsync| match fsync {
            Fsync::Always => ipc::Fsync::Always,
            Fsync::Interval(every) => ipc::Fsync::Interval(every),
            Fsync::Never => ipc::Fsync::Never,
        }),
        ..QueueOptions::default()
    }
}

/// Finds a durable queue with all that was left in it, or makes it. A file that is damaged is put aside, with a word:
/// the run goes on, and what is in the file can still be looked at.
fn restore(setup: &QueueSetup, path: &Path) -> Result<Queue, String> {
    let name = &setup.name;
    let refused = |error: OpenError| {
        let hint = match &error {
            OpenError::DoesNotFit { .. } => "; drain it first, or give it more room",
            OpenError::Version(_) | OpenError::ByteOrder => {
                "; drain it where it was written, or move it away"
            }
            OpenError::CannotReserve => "; name a place on another one with SUPERVISOR_STATE_DIR",
            _ => "",
        };
        format!("queue {name}: {}: {error}{hint}", path.display())
    };
    let restored = match Queue::restore(path, &options(setup)) {
        Err(
            error @ (OpenError::CorruptHeader
            | OpenError::Truncated { .. }
            | OpenError::TooLong { .. }
            | OpenError::NotOurs
            | OpenError::NotDurable
            | OpenError::WrongKind),
        ) => {
            let aside = state::put_aside(path).map_err(|failure| {
                format!("queue {name}: {}: {error}, and it cannot be put aside: {failure}", path.display())
            })?;
            talk::say(format_args!(
                "queue {name}: {} is damaged: {error}; put aside as {}, and begun anew",
                path.display(),
                aside.display()
            ));
            Queue::restore(path, &options(setup)).map_err(refused)?
        }
        restored => restored.map_err(refused)?,
    };
    let queue = restored.queue;
    if restored.damaged > 0 {
        talk::say(format_args!(
            "queue {name}: {} messages had not reached the disk whole when the machine stopped; they are gone",
            restored.damaged
        ));
    }
    if restored.is_as_it_was {
        talk::say(format_args!(
            "queue {name}: processes of a former run use it, so it goes on as it was; its new options take effect at \
             the next start without them"
        ));
    }
    // A new run has new producers, and so has one that takes a part of the former back.
    queue.reopen().map_err(|fault| format!("queue {name}: {}: {fault}", path.display()))?;
    if !restored.is_new && !queue.is_empty() {
        talk::say(format_args!("queue {name}: {} messages were kept", queue.len()));
    }
    Ok(queue)
}

//! The run's queues: made before the first launch, closed when the last worker that puts has ended for good, and
//! cleared of what the dead held.

use std::collections::{BTreeMap, BTreeSet};

use control::api::{self, QueueStatus};
use ipc::{Queue, QueueOptions};
use supervision::WorkerId;
use worker::wire::Grant;

use crate::setup::{QueueSetup, Setup};
use crate::talk;

/// All queues of the run.
#[derive(Debug)]
pub struct Queues {
    all: BTreeMap<String, Held>,
    order: Vec<String>,
}

/// Queues that are made and not yet taken in.
#[derive(Debug)]
pub struct New(Vec<(String, Held)>);

#[derive(Debug)]
struct Held {
    queue: Queue,
    capacity: Option<u64>,
    dead_letter: Option<String>,
    /// Those who put into it and have not ended for good.
    producers: BTreeSet<WorkerId>,
    /// Whether anybody of the config puts into it: else it closes only when told.
    listed: bool,
}

impl Queues {
    /// Makes every queue of `setup`, but for those that `survivor` finds in the hands of a process of a former run.
    pub fn make(setup: &Setup, mut survivor: impl FnMut(&str) -> Option<Queue>) -> Result<Queues, String> {
        let mut queues = Queues { all: BTreeMap::new(), order: Vec::new() };
        for queue in &setup.queues {
            let producers = setup
                .workers
                .iter()
                .enumerate()
                .filter(|(_, worker)| worker.puts.contains(&queue.name))
                .map(|(place, _)| WorkerId(u32::try_from(place).unwrap_or(u32::MAX)))
                .collect();
            let listed = setup.workers.iter().any(|worker| worker.puts.contains(&queue.name));
            let segment = match survivor(&segment_name(&setup.name, &queue.name)) {
                Some(segment) => segment,
                None => Queue::create_anonymous(&segment_name(&setup.name, &queue.name), &options(queue))
                    .map_err(|error| format!("queue {}: {error}", queue.name))?,
            };
            queues.order.push(queue.name.clone());
            queues.all.insert(
                queue.name.clone(),
                Held {
                    queue: segment,
                    capacity: queue.capacity,
                    dead_letter: queue.dead_letter.clone(),
                    producers,
                    listed,
                },
            );
        }
        Ok(queues)
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
        let mut new = Vec::new();
        for queue in queues.iter().filter(|queue| added.contains(&queue.name.as_str())) {
            let segment = Queue::create_anonymous(&segment_name(run, &queue.name), &options(queue))
                .map_err(|error| format!("queue {}: {error}", queue.name))?;
            let held = Held {
                queue: segment,
                capacity: queue.capacity,
                dead_letter: queue.dead_letter.clone(),
                producers: BTreeSet::new(),
                listed: false,
            };
            new.push((queue.name.clone(), held));
        }
        Ok(New(new))
    }

    /// Takes new queues in and lets others go, whose memory lives as long as somebody uses it; `queues` are all in the
    /// order of the file.
    pub fn exchange(&mut self, New(new): New, gone: &[String], queues: &[QueueSetup]) {
        for name in gone {
            if let Some(held) = self.all.remove(name) {
                // Whoever still waits there is told that nothing will come.
                held.queue.close();
            }
        }
        self.all.extend(new);
        self.order = queues.iter().map(|queue| queue.name.clone()).collect();
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
            let path = self.all.get(to)?.path();
            Some(Box::new(api::QueueHandle { queue, path, dead_letter: None }))
        });
        Some(api::QueueHandle { queue: name.to_owned(), path: held.path(), dead_letter })
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
                capacity: held.capacity,
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
            if reclaimed.dead > 0
                && let Some(to) = held.dead_letter.as_ref().and_then(|to| self.all.get(to))
            {
                if let Err(fault) = held.queue.forward_dead(&to.queue) {
                    talk::say(format_args!("queue {name}: {fault}"));
                }
                talk::say(format_args!(
                    "queue {name}: {} given up on after too many deliveries",
                    reclaimed.dead
                ));
            }
        }
    }

    /// Gives back what anybody dead held: after a former supervisor died with a part of the run.
    pub fn reclaim_dead(&self) {
        for held in self.all.values() {
            // A damaged queue says so to whoever uses it.
            let _ = held.queue.reclaim_dead();
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
        ..QueueOptions::default()
    }
}

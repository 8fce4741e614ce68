//! The run's queues: made before the first launch, closed when the last worker that puts has ended for good, and
//! cleared of what the dead held.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

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

#[derive(Debug)]
struct Held {
    queue: Queue,
    capacity: Option<u64>,
    dead_letter: Option<String>,
    /// Those who put into it and have not ended for good.
    producers: BTreeSet<WorkerId>,
}

impl Queues {
    /// Makes every queue of `setup`, but for those that `survivor` finds in the hands of a process of a former run.
    pub fn make(setup: &Setup, mut survivor: impl FnMut(&str) -> Option<Queue>) -> Result<Queues, String> {
        let mut queues = Queues { all: BTreeMap::new(), order: Vec::new() };
        for queue in &setup.queues {
            let segment = survivor(&segment_name(&setup.name, &queue.name));
            queues.enter(&setup.name, queue, segment)?;
            let producers = setup
                .workers
                .iter()
                .enumerate()
                .filter(|(_, worker)| worker.puts.contains(&queue.name))
                .map(|(place, _)| WorkerId(u32::try_from(place).unwrap_or(u32::MAX)))
                .collect();
            if let Some(held) = queues.all.get_mut(&queue.name) {
                held.producers = producers;
            }
        }
        Ok(queues)
    }

    fn enter(&mut self, run: &str, setup: &QueueSetup, segment: Option<Queue>) -> Result<(), String> {
        let name = segment_name(run, &setup.name);
        let queue = match segment {
            Some(segment) => segment,
            None => Queue::create_anonymous(&name, &options(setup))
                .map_err(|error| format!("queue {}: {error}", setup.name))?,
        };
        let (capacity, dead_letter) = (setup.capacity, setup.dead_letter.clone());
        self.order.push(setup.name.clone());
        self.all
            .insert(setup.name.clone(), Held { queue, capacity, dead_letter, producers: BTreeSet::new() });
        Ok(())
    }

    /// Makes one more queue.
    ///
    /// # Errors
    /// Impossible options; out of memory or descriptors.
    pub fn add(&mut self, run: &str, setup: &QueueSetup) -> Result<(), String> {
        self.enter(run, setup, None)
    }

    /// Forgets a queue. Who has it open keeps it.
    pub fn remove(&mut self, name: &str) {
        self.all.remove(name);
        self.order.retain(|other| other != name);
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

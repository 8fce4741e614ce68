//! How things stand, as it is shown: in words already, so that two pictures are alike exactly when they look alike.

use std::collections::HashMap;
use std::time::Instant;

use control::api::{ProcessRow, QueueStatus, Status};

use crate::output::printable;
use crate::processes::size;
use crate::status::{instance_name, why};

/// All that is shown of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The run's name.
    pub run: String,
    /// The supervisor's pid.
    pub pid: i32,
    /// A row an instance.
    pub instances: Vec<InstanceRow>,
    /// A row a queue.
    pub queues: Vec<QueueRow>,
}

/// One instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceRow {
    /// `NAME:INSTANCE`.
    pub name: String,
    /// Where it stands.
    pub state: String,
    /// Who leads it.
    pub pid: String,
    /// How long it has been up.
    pub uptime: String,
    /// How often it was started again.
    pub restarts: String,
    /// What its tree has of one processor now.
    pub cpu: String,
    /// What its tree has in memory.
    pub memory: String,
    /// Why it stands there.
    pub why: String,
}

/// One queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueRow {
    /// Its name.
    pub name: String,
    /// What waits in it, of how many at most.
    pub len: String,
    /// What was taken and not acknowledged.
    pub in_flight: String,
    /// What was put a second.
    pub puts: String,
    /// What was taken a second.
    pub gets: String,
    /// Given up on.
    pub dead: String,
    /// `closed`, or nothing.
    pub closed: String,
}

/// Makes pictures; remembers what rates are made of.
#[derive(Debug, Default)]
pub struct Painter {
    /// The time of the processors that each instance had had when it was looked at.
    cpu: HashMap<(String, u32), f64>,
    queues: HashMap<String, (u64, u64)>,
    looked_at: Option<Instant>,
}

impl Painter {
    /// The picture of what was answered at this moment.
    pub fn picture(
        &mut self,
        status: &Status,
        processes: &[ProcessRow],
        queues: &[QueueStatus],
        now: Instant,
    ) -> Picture {
        let seconds = self.looked_at.map(|before| now.duration_since(before).as_secs_f64());
        let mut trees: HashMap<(String, u32), (f64, u64)> = HashMap::new();
        for row in processes {
            if let (Some(worker), Some(instance)) = (&row.worker, row.instance) {
                let (cpu, memory) = trees.entry((worker.clone(), instance)).or_default();
                *cpu += row.cpu_s;
                *memory += row.memory_bytes;
            }
        }
        let instances = status.workers.iter().map(|row| {
            let key = (row.worker.clone(), row.instance);
            let tree = trees.get(&key).copied();
            let before = self.cpu.get(&key).copied();
            let share = tree.and_then(|(cpu, _)| share(cpu, before?, seconds?));
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            InstanceRow {
                name: instance_name(row),
                state: row.state.clone(),
                pid: or_dash(row.pid.map(|pid| pid.to_string())),
                uptime: or_dash(row.uptime_s.map(coarse_age)),
                restarts: row.restarts.to_string(),
                cpu: or_dash(share.map(|share| format!("{share:.0}%"))),
                memory: or_dash(tree.map(|(_, memory)| size(memory))),
                why: printable(&why(row)),
            }
        });
        let picture = Picture {
            run: status.name.clone(),
            pid: status.pid,
            instances: instances.collect(),
            queues: queues.iter().map(|row| self.queue(row, seconds)).collect(),
        };
        self.cpu = trees.into_iter().map(|(key, (cpu, _))| (key, cpu)).collect();
        self.queues = queues.iter().map(|row| (row.queue.clone(), (row.puts, row.gets))).collect();
        self.looked_at = Some(now);
        picture
    }

    fn queue(&self, row: &QueueStatus, seconds: Option<f64>) -> QueueRow {
        let before = self.queues.get(&row.queue);
        let rate = |now: u64, before: Option<u64>| match (before, seconds) {
            (Some(before), Some(seconds)) if seconds > 0.0 => {
                format!("{:.0}/s", now.saturating_sub(before) as f64 / seconds)
            }
            _ => "-".to_owned(),
        };
        QueueRow {
            name: row.queue.clone(),
            len: match row.capacity {
                Some(capacity) => format!("{}/{capacity}", row.len),
                None => row.len.to_string(),
            },
            in_flight: row.in_flight.to_string(),
            puts: rate(row.puts, before.map(|(puts, _)| *puts)),
            gets: rate(row.gets, before.map(|(_, gets)| *gets)),
            dead: row.dead.to_string(),
            closed: if row.closed { "closed" } else { "" }.to_owned(),
        }
    }
}

/// What it has had of one processor since, in percent. Those of a tree that ended took their time with them.
fn share(now: f64, before: f64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| (100.0 * (now - before) / seconds).max(0.0))
}

/// How long, as coarse as a glance wants it: it changes seldom, and so does the screen.
pub fn coarse_age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn queue(puts: u64, gets: u64) -> QueueStatus {
        QueueStatus {
            queue: "jobs".to_owned(),
            capacity: Some(5),
            len: puts - gets,
            in_flight: 0,
            closed: false,
            puts,
            gets,
            redelivered: 0,
            dead: 0,
        }
    }

    #[test]
    fn rates_are_those_between_two_looks() {
        let mut painter = Painter::default();
        let status =
            Status { name: "r".to_owned(), pid: 1, config: None, config_newer: false, workers: vec![] };
        let start = Instant::now();
        let first = painter.picture(&status, &[], &[queue(10, 8)], start);
        assert_eq!((first.queues[0].puts.as_str(), first.queues[0].len.as_str()), ("-", "2/5"));
        let second = painter.picture(&status, &[], &[queue(30, 28)], start + Duration::from_secs(2));
        assert_eq!((second.queues[0].puts.as_str(), second.queues[0].gets.as_str()), ("10/s", "10/s"));
    }

    #[test]
    fn a_tree_that_lost_a_member_has_no_negative_share() {
        assert_eq!(share(1.0, 5.0, 1.0), Some(0.0));
        assert_eq!(share(1.5, 1.0, 2.0), Some(25.0));
        assert_eq!(share(1.5, 1.0, 0.0), None);
    }

    #[test]
    fn ages_change_seldom() {
        let ages = [0.0, 59.0, 61.0, 119.0, 3600.0 + 61.0, 86400.0 * 2.0].map(coarse_age);
        assert_eq!(ages, ["0s", "59s", "1m", "1m", "1h01m", "2d00h"]);
    }
}

//! Names: which worker and instance a person, a mark in an environment or a request means.

use std::collections::BTreeMap;
use std::sync::Arc;

use supervision::{InstanceId, Moment, Process, Supervisor, Target, WorkerId};

use crate::setup::Setup;

/// The names of the run's workers.
#[derive(Debug)]
pub struct Roster {
    /// In the order of the file: the name, and whether there is, or once was, another number of instances than one.
    names: Vec<(Arc<str>, bool)>,
    /// In the order of their names.
    by_name: Vec<WorkerId>,
    /// Those that were removed and may come back under their names.
    former: BTreeMap<Box<str>, WorkerId>,
}

/// What is wrong with a name that somebody gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownName {
    /// There is no such worker. The nearest name that there is.
    Worker(Option<String>),
    /// The worker has no instance of this number; it has so many.
    Instance(u32),
}

impl Roster {
    /// The names of `setup`.
    pub fn of(setup: &Setup) -> Roster {
        let workers = &setup.family.workers;
        let names: Vec<(Arc<str>, bool)> =
            workers.iter().map(|worker| (worker.name.as_str().into(), worker.instances != 1)).collect();
        let mut by_name: Vec<WorkerId> = (0..).map(WorkerId).take(names.len()).collect();
        by_name.sort_by_key(|id| &workers[id.0 as usize].name);
        Roster { names, by_name, former: BTreeMap::new() }
    }

    /// The worker of this name.
    pub fn worker(&self, name: &str) -> Option<WorkerId> {
        let place = self.by_name.binary_search_by(|id| self.name(*id).cmp(name)).ok()?;
        Some(self.by_name[place])
    }

    /// The name of a worker.
    pub fn name(&self, worker: WorkerId) -> &str {
        self.names.get(worker.0 as usize).map_or("?", |(name, _)| name)
    }

    /// The same, to keep.
    pub fn shared_name(&self, worker: WorkerId) -> Arc<str> {
        self.names.get(worker.0 as usize).map_or_else(|| "?".into(), |(name, _)| Arc::clone(name))
    }

    /// What [`show`](Roster::show) says, to keep.
    pub fn shared_show(&self, instance: InstanceId) -> Arc<str> {
        match self.names.get(instance.worker.0 as usize) {
            Some((name, false)) => Arc::clone(name),
            _ => self.show(instance).into(),
        }
    }

    /// One more worker, of a name that nobody has.
    pub fn add(&mut self, name: String, instances: u32) -> WorkerId {
        let id = WorkerId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.former.remove(&*name);
        self.names.push((name.into(), instances != 1));
        self.enlist(id);
        id
    }

    fn enlist(&mut self, id: WorkerId) {
        let place = self.by_name.partition_point(|known| self.name(*known) < self.name(id));
        self.by_name.insert(place, id);
    }

    /// A worker that was removed is gone; its name is nobody's.
    pub fn retire(&mut self, worker: WorkerId) {
        self.by_name.retain(|known| *known != worker);
        self.former.insert(self.name(worker).into(), worker);
    }

    /// The worker that had this name, if it was removed and nobody has the name since.
    pub fn former(&self, name: &str) -> Option<WorkerId> {
        self.former.get(name).copied()
    }

    /// A worker that was removed comes back under its name. No effect on one that is there.
    pub fn take_back(&mut self, worker: WorkerId, name: &str) {
        if self.former.remove(name).is_some() {
            self.enlist(worker);
        }
    }

    /// A worker has so many instances from now on. Who once had several keeps the numbers: its log and its messages
    /// would be ambiguous otherwise.
    pub fn resize(&mut self, worker: WorkerId, instances: u32) {
        if let Some((_, several)) = self.names.get_mut(worker.0 as usize) {
            *several |= instances != 1;
        }
    }

    /// What people call an instance: the worker's name, with the number where there are several.
    pub fn show(&self, instance: InstanceId) -> String {
        match self.names.get(instance.worker.0 as usize) {
            Some((name, true)) => format!("{name}:{}", instance.index),
            Some((name, false)) => name.to_string(),
            None => "?".to_owned(),
        }
    }

    /// Whom `NAME` or `NAME:INSTANCE` means.
    pub fn target(&self, text: &str, core: &Supervisor) -> Result<Target, UnknownName> {
        if let Some(worker) = self.worker(text) {
            return Ok(Target::Worker(worker));
        }
        let (name, index) = match text.rsplit_once(':') {
            Some((name, index)) => (name, index.parse::<u32>().ok()),
            None => (text, None),
        };
        let Some(worker) = self.worker(name) else {
            return Err(UnknownName::Worker(self.nearest(name)));
        };
        let instance = index.map(|index| InstanceId { worker, index });
        match instance.filter(|instance| core.instance(*instance, Moment::START).is_some()) {
            Some(instance) => Ok(Target::Instance(instance)),
            None => Err(UnknownName::Instance(core.worker(worker).map_or(0, |worker| worker.instances))),
        }
    }

    /// `WORKER:INDEX.LAUNCH`: what a launch is called among the files and folders that are made for it.
    pub fn leaf(&self, process: Process) -> String {
        let InstanceId { worker, index } = process.instance;
        format!("{}:{index}.{}", self.name(worker), process.launch.0)
    }

    fn nearest(&self, name: &str) -> Option<String> {
        nearest(name, self.names.iter().map(|(name, _)| &**name))
    }
}

/// The name that is most like `wanted`, if one is like it at all.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = names.map(|name| (strsim::damerau_levenshtein(wanted, name), name));
    let (distance, name) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + wanted.len() / 4).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_added_are_found_among_all() {
        let mut roster = Roster { names: Vec::new(), by_name: Vec::new(), former: BTreeMap::new() };
        for name in ["m", "a", "z", "b"] {
            roster.add(name.to_owned(), 1);
        }
        let found = ["m", "a", "z", "b", "c"].map(|name| roster.worker(name).map(|id| id.0));
        assert_eq!(found, [Some(0), Some(1), Some(2), Some(3), None]);
        let third = InstanceId { worker: WorkerId(3), index: 0 };
        assert_eq!(roster.show(third), "b");
        roster.resize(third.worker, 2);
        roster.resize(third.worker, 1);
        assert_eq!(roster.show(third), "b:0");
    }
}

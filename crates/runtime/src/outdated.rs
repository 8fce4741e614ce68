//! What still runs by a former config: a rolling restart that ended early leaves some behind, and who is to be started anew runs on
//! until its turn comes. Each is known by its launch, with the number of the config that it was launched by; so a plan compares
//! what runs with the file, instance by instance.

use std::collections::BTreeMap;

use supervision::{InstanceId, Launch, Manner, Phase};

use crate::the_loop::Loop;

impl Loop {
    /// What is up by a former config, and the number of that.
    pub(crate) fn outdated(&self) -> impl Iterator<Item = (InstanceId, u64)> {
        let runs = |(instance, (launch, _)): &(&InstanceId, &(Launch, u64))| {
            let up = |phase| matches!(phase, Phase::Starting | Phase::Running);
            self.core.standing(**instance).is_some_and(|(phase, now)| up(phase) && now == Some(*launch))
        };
        self.configs.outdated.iter().filter(runs).map(|(instance, (_, number))| (*instance, *number))
    }

    /// Whether an instance is up by a former config.
    pub(crate) fn is_outdated(&self, instance: InstanceId) -> bool {
        let known = self.configs.outdated.contains_key(&instance);
        known && self.outdated().any(|(outdated, _)| outdated == instance)
    }

    /// A change is about to be made: notes what is up and to be launched anew for it.
    pub(crate) fn note_outdated(&mut self, change: &supervision::Change) {
        let number = self.configs.generation;
        let still: BTreeMap<InstanceId, (Launch, u64)> = {
            let of_now = self.outdated().filter_map(|(instance, number)| {
                let (_, launch) = self.core.standing(instance)?;
                Some((instance, (launch?, number)))
            });
            of_now.filter(|(instance, _)| !change.spared.contains(instance)).collect()
        };
        self.configs.outdated = still;
        for (id, _, manner) in &change.changed {
            if *manner == Manner::Keep {
                continue;
            }
            for instance in self.instances_of_worker(*id).collect::<Vec<_>>() {
                let standing = self.core.standing(instance);
                if let Some((Phase::Starting | Phase::Running, Some(launch))) = standing
                    && !change.spared.contains(&instance)
                {
                    self.configs.outdated.entry(instance).or_insert((launch, number));
                }
            }
        }
    }
}

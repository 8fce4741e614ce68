//! Who belongs together: a plain reading of the groups, and what each has spent as far as it could be seen.

use std::collections::BTreeMap;

use supervision::{
    Family, Group, GroupId, Instance, InstanceId, Intensity, Moment, Phase, Strategy, WorkerId,
};

use super::Checks;

/// The groups by name; the family is called `""`.
#[derive(Default)]
pub struct Tree {
    nodes: Vec<Node>,
    /// The node of each worker, and its rank.
    workers: Vec<(usize, u32)>,
    spent: BTreeMap<(String, Option<Intensity2>), Spent>,
    /// Whether anybody ever gave up: then who goes with whom cannot be told from a strategy alone.
    any_gave_up: bool,
    /// Whether the family changed: the same.
    any_changed: bool,
    /// Who was still to go, or rested, for a restart that a change has ended.
    disbanded: Vec<InstanceId>,
}

type Intensity2 = (u32, u128);

#[derive(Default)]
struct Spent {
    moments: Vec<Moment>,
    /// Whether some may have been spent unseen.
    inexact: bool,
}

struct Node {
    name: String,
    parent: Option<usize>,
    strategy: Strategy,
    allowed: Option<Intensity>,
    members: Vec<u32>,
}

impl Tree {
    pub fn of(family: &Family) -> Tree {
        let order: Vec<WorkerId> = (0..family.workers.len() as u32).map(WorkerId).collect();
        let mut tree = Tree::default();
        tree.rebuild(family.strategy, family.intensity, &family.groups, family.workers.len(), &order);
        tree
    }

    pub fn add(&mut self) {
        let rank = self.workers.iter().map(|(_, rank)| rank + 1).max().unwrap_or(0);
        self.workers.push((0, rank));
        self.nodes[0].members.push(rank);
    }

    /// Reads the groups anew; says whether they are other ones.
    pub fn rebuild(
        &mut self,
        strategy: Strategy,
        intensity: Option<Intensity>,
        groups: &[Group],
        workers: usize,
        order: &[WorkerId],
    ) {
        let allowed =
            if strategy == Strategy::OneForOne { intensity } else { Some(intensity.unwrap_or_default()) };
        let root = Node { name: String::new(), parent: None, strategy, allowed, members: Vec::new() };
        self.nodes = vec![root];
        for group in groups {
            let (name, allowed) = (group.name.clone(), Some(group.intensity));
            self.nodes.push(Node {
                name,
                parent: None,
                strategy: group.strategy,
                allowed,
                members: Vec::new(),
            });
        }
        for (outer, group) in (1..).zip(groups) {
            for inner in group.groups.iter().map(|inner| inner.0 as usize + 1) {
                if inner < self.nodes.len()
                    && self.nodes[inner].parent.is_none()
                    && !self.above(outer).contains(&inner)
                {
                    self.nodes[inner].parent = Some(outer);
                }
            }
        }
        for node in 1..self.nodes.len() {
            self.nodes[node].parent.get_or_insert(0);
        }
        let rank = |id: u32| order.iter().position(|known| known.0 == id);
        let mut behind = order.len() as u32;
        self.workers.clear();
        for id in 0..workers as u32 {
            let owner = groups.iter().position(|group| group.workers.contains(&WorkerId(id)));
            let rank = rank(id).map_or_else(
                || {
                    behind += 1;
                    behind - 1
                },
                |rank| rank as u32,
            );
            self.workers.push((owner.map_or(0, |owner| owner + 1), rank));
        }
        for (owner, rank) in self.workers.clone() {
            for node in self.above(owner) {
                self.nodes[node].members.push(rank);
            }
        }
    }

    /// A node and all above it.
    fn above(&self, node: usize) -> Vec<usize> {
        let mut all = vec![node];
        while let Some(parent) = self.nodes[all[all.len() - 1]].parent {
            all.push(parent);
        }
        all
    }

    /// Where an instance stands in a node.
    fn standpoint(&self, node: usize, id: InstanceId) -> Option<(u32, u32)> {
        let (owner, rank) = self.workers[id.worker.0 as usize];
        if owner == node {
            return Some((rank, id.index));
        }
        let above = self.above(owner);
        let child = above.iter().position(|&above| above == node)?.checked_sub(1)?;
        Some((*self.nodes[above[child]].members.iter().min()?, 0))
    }

    /// The innermost node that both belong to.
    fn common(&self, one: InstanceId, other: InstanceId) -> usize {
        let of_other = self.above(self.workers[other.worker.0 as usize].0);
        let of_one = self.above(self.workers[one.worker.0 as usize].0);
        of_one.into_iter().find(|node| of_other.contains(node)).unwrap_or(0)
    }

    /// Whether nobody's restart is ever its own.
    pub fn is_alone(&self, worker: WorkerId) -> bool {
        self.workers[worker.0 as usize].0 == 0 && self.nodes[0].strategy == Strategy::OneForOne
    }

    fn spent(&mut self, node: usize) -> &mut Spent {
        let node = &self.nodes[node];
        let allowed = node.allowed.map(|allowed| (allowed.restarts, allowed.within.as_nanos()));
        self.spent.entry((node.name.clone(), allowed)).or_default()
    }

    /// Something may have been spent that could not be seen.
    pub fn lost_count(&mut self, worker: WorkerId) {
        for node in self.above(self.workers[worker.0 as usize].0) {
            self.spent(node).inexact = true;
        }
    }
}

impl Checks {
    /// A restart of `id` was decided, for which these groups gave up.
    pub fn charge(&mut self, now: Moment, id: InstanceId, gave_up: &[GroupId]) {
        let tree = &mut self.tree;
        let mut node = tree.workers[id.worker.0 as usize].0;
        for group in gave_up {
            assert_eq!(group.0 as usize + 1, node, "{group:?} gives up out of turn");
            let allowed = tree.nodes[node].allowed.expect("a group's intensity always counts");
            let spent = tree.spent(node);
            let left = |&at: &Moment| at + allowed.within > now;
            let used = spent.moments.iter().filter(|at| left(at)).count();
            assert!(spent.inexact || used >= allowed.restarts as usize, "{group:?} gave up after {used}");
            node = tree.nodes[node].parent.expect("a group has a parent");
        }
        let allowed = match tree.nodes[node].allowed {
            None if gave_up.is_empty() => return,
            allowed => allowed.unwrap_or_default(),
        };
        let spent = tree.spent(node);
        spent.moments.retain(|&at| at + allowed.within > now);
        spent.moments.push(now);
        assert!(spent.moments.len() <= allowed.restarts as usize, "too many of node {node}");
        if let Some(outermost) = gave_up.last() {
            let outermost = outermost.0 as usize + 1;
            tree.any_gave_up = true;
            let inside: Vec<usize> =
                (0..tree.nodes.len()).filter(|&inner| tree.above(inner).contains(&outermost)).collect();
            for &inner in &inside {
                *tree.spent(inner) = Spent::default();
            }
            let owners = &tree.workers;
            self.restarts.retain(|id, _| !inside.contains(&owners[id.worker.0 as usize].0));
        }
    }

    /// The groups change: what was spent under a name and an intensity that are no more is forgotten.
    pub fn regrouped(&mut self) {
        let tree = &mut self.tree;
        tree.any_changed = true;
        let known: Vec<_> = tree
            .nodes
            .iter()
            .map(|node| (node.name.clone(), node.allowed.map(|a| (a.restarts, a.within.as_nanos()))))
            .collect();
        tree.spent.retain(|key, _| known.contains(key));
        let going = self
            .seen
            .values()
            .filter(|instance| instance.phase == Phase::Backoff || instance.phase == Phase::Stopping);
        tree.disbanded.extend(going.map(|instance| instance.id));
    }

    /// Who takes part in a restart of several is launched when all are gone and those to blame have rested.
    pub fn family_has_gathered(&mut self, id: InstanceId) {
        let seen = &self.seen;
        let leaves = |id: &InstanceId| {
            seen.get(id).is_some_and(|now| matches!(now.phase, Phase::Backoff | Phase::Stopping))
        };
        self.tree.disbanded.retain(leaves);
        for other in self.seen.values().filter(|other| !self.tree.disbanded.contains(&other.id)) {
            let leaving = other.phase == Phase::Stopping && culprit(other).is_some();
            if leaving && self.goes_together(other, id) {
                panic!("{id:?} is launched without {other:?}");
            }
            let owner = self.tree.workers[other.id.worker.0 as usize].0;
            let strategy = self.tree.nodes[owner].strategy;
            if other.phase == Phase::Backoff
                && strategy != Strategy::OneForOne
                && let Some(standpoint) = self.tree.standpoint(owner, id)
            {
                let before = strategy == Strategy::RestForOne
                    && Some(standpoint) < self.tree.standpoint(owner, other.id);
                assert!(before, "{id:?} is launched while {other:?} rests");
            }
        }
    }

    /// Whether `other` takes part for sure in the restart of several that `instance` is asked to stop for.
    pub fn goes_together(&self, instance: &Instance, other: InstanceId) -> bool {
        let Some(culprit) = culprit(instance) else { return false };
        let node = self.tree.common(instance.id, culprit);
        let Some(standpoint) = self.tree.standpoint(node, other) else { return false };
        self.tree.nodes[node].strategy == Strategy::OneForAll
            || self.tree.nodes[node].strategy == Strategy::RestForOne
                && Some(standpoint) >= self.tree.standpoint(node, culprit)
    }

    /// Under `rest_for_one` nobody before the one to blame is asked.
    pub fn rests_for_one(&self, instance: &Instance) {
        let Some(culprit) = culprit(instance) else { return };
        let node = self.tree.common(instance.id, culprit);
        if self.tree.nodes[node].strategy == Strategy::RestForOne
            && !self.tree.any_gave_up
            && !self.tree.any_changed
        {
            let before = self.tree.standpoint(node, instance.id) < self.tree.standpoint(node, culprit);
            assert!(!before, "{instance:?} comes before the one to blame");
        }
    }
}

/// For whose sake an instance is started again.
fn culprit(instance: &Instance) -> Option<InstanceId> {
    let name = instance.why.strip_prefix("is started again together with w")?;
    let (worker, index) = name.split_once(':').unwrap_or((name, "0"));
    let worker = WorkerId(worker.parse().expect("workers are called w and their number"));
    Some(InstanceId { worker, index: index.parse().expect("instances are numbered") })
}

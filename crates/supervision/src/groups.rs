//! The tree of groups: who belongs to whom, who stands where, and what each has spent of late.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::restart::Window;
use crate::strategy::Regroup;
use crate::{Family, Group, GroupId, InstanceId, Intensity, Moment, Strategy, WorkerId};

/// A place in the order of the file: that of a worker, and within it the number of an instance. A group stands where
/// its first worker does.
pub(crate) type Standpoint = (u32, u32);

/// The first of all standpoints.
pub(crate) const FIRST: Standpoint = (0, 0);

/// The place of the whole family among the nodes.
pub(crate) const ROOT: usize = 0;

/// The family and its groups as a tree.
#[derive(Debug)]
pub(crate) struct Groups {
    nodes: Vec<Node>,
    /// By worker: the node it belongs to directly, and its rank in the order of the file.
    places: Vec<(usize, u32)>,
    /// Nodes with a restart under way.
    pub(crate) regrouping: BTreeSet<usize>,
}

/// The family, or one of its groups.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    parent: Option<usize>,
    pub(crate) strategy: Strategy,
    /// How many restarts it may spend. `None`: only those of whole groups count, against the default.
    allowed: Option<Intensity>,
    window: Window,
    standpoint: Standpoint,
    pub(crate) regroup: Option<Regroup>,
}

/// What a node would have to give up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restarted {
    /// One of its own instances.
    Instance,
    /// A group within it, as a whole.
    Group,
}

impl Groups {
    /// The tree of `family`, its workers in the order of `order`; those that are not named there come behind.
    pub(crate) fn of(
        strategy: Strategy,
        intensity: Option<Intensity>,
        groups: &[Group],
        workers: usize,
        order: &[WorkerId],
    ) -> Groups {
        let allowed = match strategy {
            Strategy::OneForOne => intensity,
            Strategy::OneForAll | Strategy::RestForOne => Some(intensity.unwrap_or_default()),
        };
        let root = Node::new("", strategy, allowed);
        let mut nodes = vec![root];
        nodes
            .extend(groups.iter().map(|group| Node::new(&group.name, group.strategy, Some(group.intensity))));
        for (place, group) in groups.iter().enumerate() {
            for GroupId(inner) in &group.groups {
                let inner = *inner as usize + 1;
                if inner < nodes.len() && nodes[inner].parent.is_none() && !lies_in(&nodes, place + 1, inner)
                {
                    nodes[inner].parent = Some(place + 1);
                }
            }
        }
        for node in &mut nodes[1..] {
            node.parent = node.parent.or(Some(ROOT));
        }
        let mut places = vec![(ROOT, u32::MAX); workers];
        for (rank, id) in (0..).zip(order) {
            if let Some((_, place)) = places.get_mut(id.0 as usize) {
                *place = rank;
            }
        }
        for (behind, (_, rank)) in
            (order.len() as u32..).zip(places.iter_mut().filter(|(_, rank)| *rank == u32::MAX))
        {
            *rank = behind;
        }
        for (node, group) in (1..).zip(groups) {
            for id in &group.workers {
                if let Some((owner, _)) = places.get_mut(id.0 as usize)
                    && *owner == ROOT
                {
                    *owner = node;
                }
            }
        }
        let mut all = Groups { nodes, places, regrouping: BTreeSet::new() };
        for (owner, rank) in all.places.clone() {
            let mut above = Some(owner);
            while let Some(node) = above {
                let node = &mut all.nodes[node];
                node.standpoint = node.standpoint.min((rank, 0));
                above = node.parent;
            }
        }
        all
    }

    /// That of a whole family.
    pub(crate) fn of_family(family: &Family) -> Groups {
        let order: Vec<WorkerId> = (0..family.workers.len() as u32).map(WorkerId).collect();
        Groups::of(family.strategy, family.intensity, &family.groups, family.workers.len(), &order)
    }

    /// Takes in one more worker, behind all others and in no group.
    pub(crate) fn add(&mut self) {
        let behind = self.places.iter().map(|(_, rank)| rank + 1).max().unwrap_or(0);
        self.places.push((ROOT, behind));
    }

    /// Keeps what those of the same name and the same intensity have spent under `former`.
    pub(crate) fn inherit(&mut self, former: &mut Groups) {
        for node in &mut self.nodes {
            let same = |old: &&mut Node| old.name == node.name && old.allowed == node.allowed;
            if let Some(old) = former.nodes.iter_mut().find(same) {
                node.window = std::mem::take(&mut old.window);
            }
        }
    }

    /// Whether both are the same tree, whatever was spent.
    pub(crate) fn is_like(&self, other: &Groups) -> bool {
        let like = |a: &Node, b: &Node| {
            (&a.name, a.parent, a.strategy, a.allowed, a.standpoint)
                == (&b.name, b.parent, b.strategy, b.allowed, b.standpoint)
        };
        self.places == other.places
            && self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(|(a, b)| like(a, b))
    }

    pub(crate) fn name(&self, node: usize) -> Option<&str> {
        self.nodes.get(node).map(|node| &*node.name)
    }

    pub(crate) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    pub(crate) fn node_mut(&mut self, node: usize) -> &mut Node {
        &mut self.nodes[node]
    }

    /// The node a worker belongs to directly.
    pub(crate) fn owner(&self, worker: WorkerId) -> usize {
        self.places[worker.0 as usize].0
    }

    pub(crate) fn parent(&self, node: usize) -> Option<usize> {
        self.nodes[node].parent
    }

    /// The nodes above an instance, the nearest first, each with where what holds the instance stands in it.
    pub(crate) fn above(&self, id: InstanceId) -> impl Iterator<Item = (usize, Standpoint)> {
        let (owner, rank) = self.places[id.worker.0 as usize];
        let mut next = Some((owner, (rank, id.index)));
        std::iter::from_fn(move || {
            let (node, standpoint) = next?;
            next = self.nodes[node].parent.map(|parent| (parent, self.nodes[node].standpoint));
            Some((node, standpoint))
        })
    }

    /// Where an instance, or the group that holds it, stands in `node`; `None`: it does not belong there.
    pub(crate) fn standpoint_in(&self, node: usize, id: InstanceId) -> Option<Standpoint> {
        self.above(id).find(|(above, _)| *above == node).map(|(_, standpoint)| standpoint)
    }

    /// The nodes within `node` whose standpoint in it is `from` or behind, the node itself left out.
    pub(crate) fn within(&self, node: usize, from: Standpoint) -> Vec<usize> {
        let inside = |&inner: &usize| {
            let mut child = inner;
            while let Some(parent) = self.nodes[child].parent {
                if parent == node {
                    return self.nodes[child].standpoint >= from;
                }
                child = parent;
            }
            false
        };
        (0..self.nodes.len()).filter(inside).collect()
    }

    /// Whether `node` may spend one more restart; else what it was allowed.
    pub(crate) fn has_room(
        &mut self,
        node: usize,
        restarted: Restarted,
        now: Moment,
    ) -> Result<(), Intensity> {
        let node = &mut self.nodes[node];
        let allowed = match (node.allowed, restarted) {
            (None, Restarted::Instance) => return Ok(()),
            (None, Restarted::Group) => Intensity::default(),
            (Some(allowed), _) => allowed,
        };
        if node.window.has_room(now, allowed) { Ok(()) } else { Err(allowed) }
    }

    /// Spends one restart of `node`.
    pub(crate) fn spend(&mut self, node: usize, restarted: Restarted, now: Moment) {
        let node = &mut self.nodes[node];
        if node.allowed.is_some() || restarted == Restarted::Group {
            node.window.spend(now);
        }
    }

    /// Forgets what a group and all within it have spent.
    pub(crate) fn forgive(&mut self, node: usize) {
        for inner in self.within(node, FIRST).into_iter().chain([node]) {
            self.nodes[inner].window.clear();
        }
    }
}

/// Whether `node` is `within`, or lies in it.
fn lies_in(nodes: &[Node], node: usize, within: usize) -> bool {
    let mut above = Some(node);
    while let Some(node) = above {
        if node == within {
            return true;
        }
        above = nodes[node].parent;
    }
    false
}

impl Node {
    fn new(name: &str, strategy: Strategy, allowed: Option<Intensity>) -> Node {
        Node {
            name: name.into(),
            parent: None,
            strategy,
            allowed,
            window: Window::default(),
            standpoint: (u32::MAX, u32::MAX),
            regroup: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, workers: &[u32], groups: &[u32]) -> Group {
        Group {
            name: name.into(),
            strategy: Strategy::OneForAll,
            intensity: Intensity::default(),
            workers: workers.iter().copied().map(WorkerId).collect(),
            groups: groups.iter().copied().map(GroupId).collect(),
        }
    }

    fn tree(groups: &[Group], order: &[u32]) -> Groups {
        let order: Vec<WorkerId> = order.iter().copied().map(WorkerId).collect();
        Groups::of(Strategy::OneForOne, None, groups, order.len(), &order)
    }

    fn above(tree: &Groups, worker: u32) -> Vec<(usize, Standpoint)> {
        tree.above(InstanceId { worker: WorkerId(worker), index: 3 }).collect()
    }

    #[test]
    fn a_group_stands_where_its_first_worker_stands_however_deep() {
        let tree = tree(&[group("outer", &[3], &[1]), group("inner", &[2, 1], &[])], &[0, 1, 2, 3]);
        assert_eq!(above(&tree, 2), [(2, (2, 3)), (1, (1, 0)), (ROOT, (1, 0))]);
        assert_eq!(above(&tree, 3), [(1, (3, 3)), (ROOT, (1, 0))]);
        assert_eq!(above(&tree, 0), [(ROOT, (0, 3))]);
        assert_eq!(tree.within(ROOT, (1, 0)), [1, 2]);
        assert_eq!(tree.within(ROOT, (2, 0)), [0; 0]);
    }

    #[test]
    fn the_order_is_that_of_the_file_not_of_the_ids() {
        let mut tree = tree(&[group("g", &[0], &[])], &[2, 0, 1]);
        assert_eq!(above(&tree, 0), [(1, (1, 3)), (ROOT, (1, 0))]);
        assert_eq!(above(&tree, 2), [(ROOT, (0, 3))]);
        tree.add();
        assert_eq!(above(&tree, 3), [(ROOT, (3, 3))]);
    }

    #[test]
    fn circles_strangers_and_doubles_never_hang() {
        let tree = tree(
            &[group("a", &[0, 9], &[1, 7]), group("b", &[0, 1], &[0]), group("c", &[], &[2, 1])],
            &[0, 1],
        );
        assert_eq!(above(&tree, 0).iter().map(|(node, _)| *node).collect::<Vec<_>>(), [1, ROOT]);
        assert_eq!(above(&tree, 1).iter().map(|(node, _)| *node).collect::<Vec<_>>(), [2, 1, ROOT]);
    }
}

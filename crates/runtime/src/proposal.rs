//! From what differs between two configs, and how the run stands, to what becomes of every worker. Pure: what `plan`
//! shows is made by the same function as what `apply` does.

use std::collections::{HashMap, HashSet};

use control::api::{Action, ProposedThing, ProposedWorker};
use supervision::{Change, InstanceId, Manner, Worker, WorkerId};

use crate::source::{How, Kind, Offer, ThingChange, Weight, WorkerChange};

/// How a worker of the run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub id: WorkerId,
    /// How it came into the run.
    pub origin: Origin,
    /// How many instances it has, or had if it was removed.
    pub instances: u32,
    /// Whether none of its instances is to run: stopped by request, or never started.
    pub is_stopped: bool,
    /// Instances that are up by a former config, and its number.
    pub outdated: Vec<(u32, u64)>,
    /// Where there are such: the instances that are up by the config that runs, or have ended well.
    pub up_to_date: Vec<u32>,
}

/// How a worker came into the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By the config.
    Config,
    /// By request: configs say nothing of it.
    Spawned,
    /// By a former config; it was removed since.
    Former,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub struct Proposal {
    /// A row a worker: those of the run first, then those to be added.
    pub workers: Vec<ProposedWorker>,
    /// What differs in what workers share.
    pub shared: Vec<ProposedThing>,
    /// For the core.
    pub change: Change,
    /// By the place in the file: the worker that it is, or will be.
    pub ids: Vec<WorkerId>,
    /// Workers to be told by a signal.
    pub signals: Vec<(WorkerId, i32)>,
}

impl Proposal {
    /// Whether anything is to be done.
    pub fn changes(&self, offer: &Offer) -> bool {
        let rows = self.workers.iter().any(|row| row.action != Action::None);
        rows || !self.shared.is_empty() || !offer.family.is_empty()
    }
}

/// What becomes of every worker. `standing` says how the worker of a name stands; `names` are those of the config that
/// runs, in its order; `count` is how many workers there ever were.
///
/// # Errors
/// Why it cannot be: in words, and what to do.
pub fn propose<'n>(
    offer: &Offer,
    names: impl Iterator<Item = &'n str>,
    standing: impl Fn(&str) -> Option<Standing>,
    count: usize,
) -> Result<Proposal, (String, String)> {
    let differing: HashMap<&str, &WorkerChange> =
        offer.workers.iter().map(|(name, change)| (name.as_str(), change)).collect();
    let wanted: HashMap<&str, &Worker> =
        offer.setup.family.workers.iter().map(|worker| (worker.name.as_str(), worker)).collect();
    let setups = offer.setup.workers.iter().zip(&offer.setup.family.workers);
    let rolling: HashSet<&str> =
        setups.filter(|(setup, _)| setup.kept.rolling).map(|(_, worker)| worker.name.as_str()).collect();
    let mut proposal = Proposal {
        workers: Vec::new(),
        shared: offer.things.iter().map(thing).collect(),
        change: Change {
            stop_within: offer.setup.family.stop_within,
            strategy: offer.setup.family.strategy,
            intensity: offer.setup.family.intensity,
            ..Change::default()
        },
        ids: Vec::new(),
        signals: Vec::new(),
    };
    let ids = ids(offer, &standing, count)?;
    let by_former = |number: u64, name: &str| -> &[(Weight, String)] {
        let of_it = offer.former.get(&number).into_iter().flatten().find(|(known, _)| known == name);
        match of_it {
            Some((_, WorkerChange::Changed(changes))) => changes,
            _ => &[],
        }
    };
    for name in names {
        let Some(now) = standing(name).filter(|now| now.origin == Origin::Config) else { continue };
        match (wanted.get(name), differing.get(name)) {
            (None, _) | (_, Some(WorkerChange::Removed)) => {
                proposal.change.removed.push(now.id);
                proposal.row(
                    name,
                    Action::Remove,
                    Some("it is not in the config any more".to_owned()),
                    (now.instances, 0),
                );
            }
            (Some(wanted), difference) => {
                let changes = match difference {
                    Some(WorkerChange::Changed(changes)) => changes.as_slice(),
                    _ => &[],
                };
                let outdated = now.outdated.iter().map(|(index, number)| (*index, by_former(*number, name)));
                let outdated: Vec<_> = outdated.collect();
                proposal.keep(name, &now, wanted, changes, &outdated, rolling.contains(name));
            }
        }
    }
    let mut added: Vec<(WorkerId, Worker)> = Vec::new();
    for (worker, id) in offer.setup.family.workers.iter().zip(&ids) {
        let now = standing(&worker.name);
        if now.as_ref().is_some_and(|now| now.origin == Origin::Config) {
            continue;
        }
        match now {
            Some(_) => proposal.change.changed.push((*id, worker.clone(), Manner::Restart)),
            None => added.push((*id, worker.clone())),
        }
        proposal.row(&worker.name, Action::Add, None, (0, worker.instances));
    }
    added.sort_by_key(|(id, _)| *id);
    proposal.change.added = added.into_iter().map(|(_, worker)| worker).collect();
    proposal.change.order.clone_from(&ids);
    proposal.change.groups = offer.setup.family.groups.clone();
    for group in &mut proposal.change.groups {
        translate(group.workers.iter_mut(), &ids);
    }
    let changed = proposal.change.changed.iter_mut().map(|(_, worker, _)| worker);
    for worker in changed.chain(&mut proposal.change.added) {
        translate(worker.after.iter_mut().map(|after| &mut after.worker), &ids);
    }
    proposal.ids = ids;
    Ok(proposal)
}

/// The id that each worker of the new file has or will have.
fn ids(
    offer: &Offer,
    standing: &impl Fn(&str) -> Option<Standing>,
    count: usize,
) -> Result<Vec<WorkerId>, (String, String)> {
    let mut next = u32::try_from(count).unwrap_or(u32::MAX);
    let mut ids = Vec::new();
    for worker in &offer.setup.family.workers {
        match standing(&worker.name) {
            Some(now) if now.origin == Origin::Spawned => {
                let message = format!(
                    "the worker {} was added by `spawn`; a config cannot say anything of it",
                    worker.name
                );
                let hint = "give one of them another name".to_owned();
                return Err((message, hint));
            }
            Some(now) => ids.push(now.id),
            None => {
                ids.push(WorkerId(next));
                next = next.saturating_add(1);
            }
        }
    }
    Ok(ids)
}

/// From the places of one file to ids.
fn translate<'w>(workers: impl Iterator<Item = &'w mut WorkerId>, ids: &[WorkerId]) {
    for worker in workers {
        // A checked config names only workers that it has.
        if let Some(id) = ids.get(worker.0 as usize) {
            *worker = *id;
        }
    }
}

fn thing(change: &ThingChange) -> ProposedThing {
    let (action, reason) = match &change.how {
        How::Added => ("add", None),
        // Somebody may hold it, or be about to.
        How::Removed if change.kind != Kind::Queue => {
            ("remove", Some("it stays for whoever uses it until the run ends".to_owned()))
        }
        How::Removed => ("remove", None),
        How::Changed(what) => ("change", Some(what.join("; "))),
    };
    ProposedThing {
        kind: change.kind.word().to_owned(),
        name: change.name.clone(),
        action: action.to_owned(),
        reason,
    }
}

impl Proposal {
    fn row(&mut self, name: &str, action: Action, reason: Option<String>, (from, to): (u32, u32)) {
        self.workers.push(ProposedWorker { worker: name.to_owned(), action, detail: None, reason, from, to });
    }

    /// What becomes of a worker that is in both configs.
    fn keep(
        &mut self,
        name: &str,
        now: &Standing,
        wanted: &Worker,
        changes: &[(Weight, String)],
        outdated: &[(u32, &[(Weight, String)])],
        rolls: bool,
    ) {
        let mut reasons: Vec<String> = changes.iter().map(|(_, words)| words.clone()).collect();
        let mut action = match changes.iter().map(|(weight, _)| *weight).max() {
            None => Action::None,
            Some(Weight::Update) => Action::Update,
            Some(Weight::Signal(signal)) if !now.is_stopped => {
                self.signals.push((now.id, signal));
                Action::Signal
            }
            Some(Weight::Restart) if !now.is_stopped => Action::Restart,
            Some(Weight::Signal(_) | Weight::Restart) => {
                reasons.push("it is stopped, and stays so".to_owned());
                Action::Update
            }
        };
        let starts = |(_, words): &(Weight, String)| wanted.autostart && words == "autostart changed";
        if changes.iter().any(starts) {
            reasons.push("what was never started is".to_owned());
        }
        if now.instances != wanted.instances {
            action = action.max(Action::Scale);
            let noun = if wanted.instances == 1 { "instance" } else { "instances" };
            reasons.push(format!("{} {noun} instead of {}", wanted.instances, now.instances));
        }
        let is_restart = |(weight, _): &&(Weight, String)| *weight == Weight::Restart;
        let mut restarts = changes.iter().any(|change| is_restart(&change));
        let mut spared = Vec::new();
        if !outdated.is_empty() && !restarts {
            spared.extend(&now.up_to_date);
        }
        for (index, changes) in outdated {
            let words: Vec<&str> =
                changes.iter().filter(is_restart).map(|(_, words)| words.as_str()).collect();
            if words.is_empty() {
                // What runs is what is wanted again.
                spared.push(*index);
                continue;
            }
            restarts = true;
            action = action.max(Action::Restart);
            reasons.push(format!("{name}:{index} runs by an older config: {}", words.join(", ")));
        }
        if action == Action::Restart
            && !outdated.is_empty()
            && spared.len() == outdated.len() + now.up_to_date.len()
        {
            reasons.push("what runs is like that already".to_owned());
            action = Action::Update;
        }
        let spared = spared.into_iter().map(|index| InstanceId { worker: now.id, index });
        self.change.spared.extend(spared);
        if action != Action::None {
            let manner = match (restarts, rolls) {
                (false, _) => Manner::Keep,
                (true, false) => Manner::Restart,
                (true, true) => Manner::Roll,
            };
            self.change.changed.push((now.id, wanted.clone(), manner));
        }
        let reason = Some(reasons.join("; ")).filter(|reason| !reason.is_empty());
        self.row(name, action, reason, (now.instances, wanted.instances));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::{Setup, SyncSetup};
    use std::collections::BTreeMap;
    use supervision::{After, Family, Group, Milestone};

    fn worker(name: &str, instances: u32) -> Worker {
        Worker { instances, ..Worker::named(name) }
    }

    fn offer(workers: Vec<Worker>, differing: Vec<(&str, WorkerChange)>) -> Offer {
        Offer {
            config: "/srv/next.json".into(),
            setup: Setup {
                purpose: crate::setup::Purpose::Config,
                name: "r".into(),
                config: None,
                family: Family::of(workers),
                workers: Vec::new(),
                queues: Vec::new(),
                sync: SyncSetup::default(),
                programs: None,
            },
            workers: differing.into_iter().map(|(name, change)| (name.to_owned(), change)).collect(),
            things: Vec::new(),
            family: Vec::new(),
            renamed: None,
            former: BTreeMap::new(),
            adopt: Box::new(|_, _| {}),
        }
    }

    fn changed(weight: Weight, words: &str) -> WorkerChange {
        WorkerChange::Changed(vec![(weight, words.to_owned())])
    }

    /// `a` (2 instances), `b` (stopped), `old`, which the config that runs has; `mine`, which was spawned; `former`,
    /// which was removed.
    fn standing(name: &str) -> Option<Standing> {
        let of = |id, origin, instances, is_stopped| {
            let (outdated, up_to_date) = (Vec::new(), Vec::new());
            Some(Standing { id: WorkerId(id), origin, instances, is_stopped, outdated, up_to_date })
        };
        match name {
            "a" => of(0, Origin::Config, 2, false),
            "b" => of(1, Origin::Config, 1, true),
            "old" => of(2, Origin::Config, 1, false),
            "mine" => of(3, Origin::Spawned, 1, false),
            "former" => of(4, Origin::Former, 0, true),
            _ => None,
        }
    }

    fn proposed(offer: &Offer) -> Result<Proposal, (String, String)> {
        propose(offer, ["a", "b", "old"].into_iter(), standing, 5)
    }

    #[test]
    fn each_worker_gets_the_heaviest_of_what_has_changed_and_all_the_reasons() {
        let restart = changed(Weight::Restart, "env changed: FOO");
        let offer = offer(vec![worker("a", 3), worker("b", 1)], vec![("a", restart.clone()), ("b", restart)]);
        let proposal = proposed(&offer).expect("it can be");
        let rows: Vec<_> =
            proposal.workers.iter().map(|row| (row.action, row.reason.as_deref().unwrap_or(""))).collect();
        assert_eq!(
            rows,
            [
                (Action::Restart, "env changed: FOO; 3 instances instead of 2"),
                (Action::Update, "env changed: FOO; it is stopped, and stays so"),
                (Action::Remove, "it is not in the config any more"),
            ]
        );
        assert_eq!(proposal.change.removed, [WorkerId(2)]);
        let manners: Vec<Manner> = proposal.change.changed.iter().map(|(.., manner)| *manner).collect();
        assert_eq!(manners, [Manner::Restart; 2]);
    }

    #[test]
    fn a_signal_goes_to_those_that_run_and_touches_nothing_else() {
        let signal = changed(Weight::Signal(10), "x.conf changed");
        let offer = offer(vec![worker("a", 2), worker("b", 1)], vec![("a", signal.clone()), ("b", signal)]);
        let proposal = proposed(&offer).expect("it can be");
        assert_eq!(proposal.signals, [(WorkerId(0), 10)]);
        assert_eq!(
            (proposal.workers[0].action, proposal.workers[1].action),
            (Action::Signal, Action::Update)
        );
        assert!(proposal.change.changed.iter().all(|(.., manner)| *manner == Manner::Keep));
    }

    #[test]
    fn places_in_the_file_become_ids_and_who_comes_back_has_its_own() {
        let after = |on: u32| vec![After { worker: WorkerId(on), milestone: Milestone::Ready }];
        let new = Worker { after: after(1), ..worker("new", 1) };
        let former = Worker { after: after(3), ..worker("former", 1) };
        let mut offer = offer(vec![new, worker("a", 2), former, worker("newer", 1)], vec![]);
        let group = Group {
            name: "g".into(),
            strategy: Default::default(),
            intensity: Default::default(),
            workers: vec![WorkerId(0), WorkerId(2)],
            groups: vec![],
        };
        offer.setup.family.groups = vec![group];
        let proposal = proposed(&offer).expect("it can be");
        assert_eq!(proposal.ids, [5, 0, 4, 6].map(WorkerId));
        assert_eq!(proposal.change.order, proposal.ids);
        assert_eq!(proposal.change.groups[0].workers, [5, 4].map(WorkerId));
        let names: Vec<&str> = proposal.change.added.iter().map(|worker| worker.name.as_str()).collect();
        assert_eq!(names, ["new", "newer"]);
        assert_eq!(proposal.change.added[0].after[0].worker, WorkerId(0));
        let (id, back, manner) = &proposal.change.changed[0];
        assert_eq!((*id, back.after[0].worker, *manner), (WorkerId(4), WorkerId(6), Manner::Restart));
    }

    #[test]
    fn the_name_of_a_spawned_worker_is_refused() {
        let error =
            proposed(&offer(vec![worker("a", 2), worker("mine", 1)], vec![])).expect_err("it is taken");
        assert!(error.0.contains("mine was added by `spawn`"), "{error:?}");
    }

    #[test]
    fn the_same_config_does_nothing() {
        let offer = offer(vec![worker("a", 2), worker("b", 1), worker("old", 1)], vec![]);
        let proposal = proposed(&offer).expect("it can be");
        assert!(!proposal.changes(&offer));
        let nothing = Change { order: proposal.ids.clone(), ..Change::default() };
        assert_eq!(proposal.change, nothing);
    }
}

//! What differs between the config that runs and another one, and what each difference means to what runs.
//!
//! Every key of a plan is taken apart by name here, so that a new one cannot be forgotten: without a place in these
//! lists it does not compile.

use std::collections::{BTreeMap, HashMap};

use supervision::{After, Family, Group, GroupId, Worker, WorkerId};

use crate::plan::{Plan, QueuePlan, ReloadPlan, WorkerPlan};

/// What differs between two plans, by the names of things. What is the same is not mentioned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The name of the run, before and after.
    pub name: Option<(String, String)>,
    /// Workers, those that were there first, in the order of their plan.
    pub workers: Vec<(String, WorkerDifference)>,
    /// Queues, locks, semaphores, events and values, in the same way; each with what it is.
    pub things: Vec<(Thing, String, ThingDifference)>,
    /// Words for what has changed of the family as a whole: strategy, intensity, groups, order.
    pub family: Vec<String>,
}

/// What differs in a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerDifference {
    /// It is new.
    Added,
    /// It is no more.
    Removed,
    /// It is not the same.
    Changed {
        /// What has changed, and what each means.
        changes: Vec<(Effect, String)>,
        /// How many instances it had and has, if that differs.
        instances: Option<(u32, u32)>,
    },
}

/// What a change of a worker means to what runs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: what was changed holds from the next decision on.
    Update,
    /// It takes it up when it gets the signal of its `reload`.
    Signal,
    /// It can only take it up by being started again.
    Restart,
}

/// What workers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Thing {
    /// A queue.
    Queue,
    /// A lock.
    Lock,
    /// A recursive lock.
    Rlock,
    /// A semaphore.
    Semaphore,
    /// An event.
    Event,
    /// A condition.
    Condition,
    /// A barrier.
    Barrier,
    /// A shared number.
    Value,
    /// An array of shared numbers.
    Array,
}

/// What differs in something that workers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThingDifference {
    /// It is new.
    Added,
    /// It is no more.
    Removed,
    /// It is not the same: what has changed.
    Changed(Vec<String>),
}

impl Difference {
    /// Whether both are the same.
    pub fn is_none(&self) -> bool {
        *self == Difference::default()
    }
}

/// What differs between `old` and `new`.
///
/// # Example
/// ```
/// # use std::{io, path::Path};
/// # struct Nothing;
/// # impl config::Surroundings for Nothing {
/// #     fn var(&self, _: &str) -> Option<String> { None }
/// #     fn read(&self, _: &Path) -> io::Result<Vec<u8>> { Err(io::ErrorKind::NotFound.into()) }
/// # }
/// # fn read(text: &str) -> config::Plan {
/// #     config::read(text.as_bytes(), Path::new("/srv/c.json"), &Nothing).expect("it is well")
/// # }
/// use config::{Effect, WorkerDifference, diff};
///
/// let old = read(r#"{"workers": {"web": {"command": "serve"}}}"#);
/// let new = read(r#"{"workers": {"web": {"command": "serve", "env": {"PORT": "80"}}}}"#);
/// let changes = vec![(Effect::Restart, "env changed: PORT".to_owned())];
/// let web = ("web".to_owned(), WorkerDifference::Changed { changes, instances: None });
/// assert_eq!(diff(&old, &new).workers, [web]);
/// assert!(diff(&new, &new).is_none());
/// ```
pub fn diff(old: &Plan, new: &Plan) -> Difference {
    let Plan {
        name,
        family,
        queues,
        locks,
        rlocks,
        semaphores,
        events,
        conditions,
        barriers,
        values,
        arrays,
        workers,
        omissions: _,
    } = old;
    let mut difference = Difference {
        name: (*name != new.name).then(|| (name.clone(), new.name.clone())),
        workers: workers_diff(family, workers, &new.family, &new.workers),
        family: family_diff(family, &new.family),
        ..Difference::default()
    };
    let mut things = |thing, differences: Vec<(String, ThingDifference)>| {
        difference.things.extend(differences.into_iter().map(|(name, how)| (thing, name, how)));
    };
    let names = |names: &[String]| names.iter().map(|name| (name.clone(), ())).collect::<Vec<_>>();
    things(Thing::Queue, pairs_diff(queues, &new.queues, queue_diff));
    things(Thing::Lock, pairs_diff(&names(locks), &names(&new.locks), |(), ()| Vec::new()));
    things(Thing::Rlock, pairs_diff(&names(rlocks), &names(&new.rlocks), |(), ()| Vec::new()));
    things(Thing::Semaphore, pairs_diff(semaphores, &new.semaphores, |a, b| changed(&[("count", a != b)])));
    things(Thing::Event, pairs_diff(&names(events), &names(&new.events), |(), ()| Vec::new()));
    things(Thing::Condition, pairs_diff(&names(conditions), &names(&new.conditions), |(), ()| Vec::new()));
    things(Thing::Barrier, pairs_diff(barriers, &new.barriers, |a, b| changed(&[("parties", a != b)])));
    things(Thing::Value, pairs_diff(values, &new.values, |a, b| changed(&[("initial value", a != b)])));
    things(Thing::Array, pairs_diff(arrays, &new.arrays, |a, b| changed(&[("length", a != b)])));
    difference
}

/// `…  changed` for each that is.
fn changed(keys: &[(&str, bool)]) -> Vec<String> {
    keys.iter().filter(|(_, changed)| *changed).map(|(key, _)| format!("{key} changed")).collect()
}

fn pairs_diff<T: PartialEq>(
    old: &[(String, T)],
    new: &[(String, T)],
    words: impl Fn(&T, &T) -> Vec<String>,
) -> Vec<(String, ThingDifference)> {
    let by_name: HashMap<&str, &T> = new.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let mut found = Vec::new();
    for (name, value) in old {
        match by_name.get(name.as_str()) {
            None => found.push((name.clone(), ThingDifference::Removed)),
            Some(other) if *other != value => {
                found.push((name.clone(), ThingDifference::Changed(words(value, other))));
            }
            Some(_) => {}
        }
    }
    let known: HashMap<&str, ()> = old.iter().map(|(name, _)| (name.as_str(), ())).collect();
    let added = new.iter().filter(|(name, _)| !known.contains_key(name.as_str()));
    found.extend(added.map(|(name, _)| (name.clone(), ThingDifference::Added)));
    found
}

fn queue_diff(old: &QueuePlan, new: &QueuePlan) -> Vec<String> {
    let QueuePlan { capacity, max_bytes, max_message, max_deliveries, dead_letter, durable } = old;
    changed(&[
        ("capacity", *capacity != new.capacity),
        ("max_bytes", *max_bytes != new.max_bytes),
        ("max_message", *max_message != new.max_message),
        ("max_deliveries", *max_deliveries != new.max_deliveries),
        ("dead_letter", *dead_letter != new.dead_letter),
        ("durable", *durable != new.durable),
    ])
}

fn family_diff(old: &Family, new: &Family) -> Vec<String> {
    // The workers are compared one by one; the seed is not of the config.
    let Family { workers: _, strategy, intensity, groups, stop_within, lasts: _, seed: _ } = old;
    let mut words =
        changed(&[("strategy", *strategy != new.strategy), ("intensity", *intensity != new.intensity)]);
    if *stop_within != new.stop_within {
        words.push("stop_timeout changed".to_owned());
    }
    let of = |family: &Family, groups: &[Group]| -> Vec<(String, GroupByNames)> {
        groups.iter().map(|group| (group.name.clone(), group_by_names(family, group))).collect()
    };
    let differences = pairs_diff(&of(old, groups), &of(new, &new.groups), |_, _| Vec::new());
    words.extend(differences.into_iter().map(|(name, how)| match how {
        ThingDifference::Added => format!("group {name} added"),
        ThingDifference::Removed => format!("group {name} removed"),
        ThingDifference::Changed(_) => format!("group {name} changed"),
    }));
    let in_both = |family: &Family, other: &Family| -> Vec<String> {
        let known: HashMap<&str, ()> =
            other.workers.iter().map(|worker| (worker.name.as_str(), ())).collect();
        let names = family.workers.iter().map(|worker| worker.name.clone());
        names.filter(|name| known.contains_key(name.as_str())).collect()
    };
    if in_both(old, new) != in_both(new, old) {
        words.push("the order of the workers changed".to_owned());
    }
    words
}

/// A group without the places that its workers happen to have in one file.
#[derive(PartialEq)]
struct GroupByNames {
    strategy: supervision::Strategy,
    intensity: supervision::Intensity,
    workers: Vec<String>,
    groups: Vec<String>,
}

fn group_by_names(family: &Family, group: &Group) -> GroupByNames {
    let Group { name: _, strategy, intensity, workers, groups } = group;
    let mut workers: Vec<String> = workers.iter().map(|id| worker_name(family, *id)).collect();
    let group_name =
        |GroupId(place): &GroupId| family.groups.get(*place as usize).map(|group| group.name.clone());
    let mut groups: Vec<String> = groups.iter().filter_map(group_name).collect();
    workers.sort();
    groups.sort();
    GroupByNames { strategy: *strategy, intensity: *intensity, workers, groups }
}

fn worker_name(family: &Family, WorkerId(place): WorkerId) -> String {
    family.workers.get(place as usize).map_or_else(String::new, |worker| worker.name.clone())
}

fn workers_diff(
    old_family: &Family,
    old: &[WorkerPlan],
    new_family: &Family,
    new: &[WorkerPlan],
) -> Vec<(String, WorkerDifference)> {
    let places: HashMap<&str, usize> =
        new.iter().zip(0..).map(|(worker, place)| (worker.name.as_str(), place)).collect();
    let mut found = Vec::new();
    for (plan, decided) in old.iter().zip(&old_family.workers) {
        let Some(&place) = places.get(plan.name.as_str()) else {
            found.push((plan.name.clone(), WorkerDifference::Removed));
            continue;
        };
        let mut changes = decided_diff((old_family, decided), (new_family, &new_family.workers[place]));
        changes.extend(carried_out_diff(plan, &new[place], decided.policy));
        // What weighs most comes first; what has changed in both of its halves is told once.
        changes.sort_by_key(|(effect, _)| std::cmp::Reverse(*effect));
        let mut told = std::collections::HashSet::new();
        changes.retain(|(_, words)| told.insert(words.clone()));
        let instances = (decided.instances, new_family.workers[place].instances);
        let instances = Some(instances).filter(|(had, has)| had != has);
        if !changes.is_empty() || instances.is_some() {
            found.push((plan.name.clone(), WorkerDifference::Changed { changes, instances }));
        }
    }
    let known: HashMap<&str, ()> = old.iter().map(|worker| (worker.name.as_str(), ())).collect();
    let added = new.iter().filter(|worker| !known.contains_key(worker.name.as_str()));
    found.extend(added.map(|worker| (worker.name.clone(), WorkerDifference::Added)));
    found
}

/// Each that is changed, with its effect.
fn effects(effect: Effect, keys: &[(&str, bool)]) -> Vec<(Effect, String)> {
    changed(keys).into_iter().map(|words| (effect, words)).collect()
}

/// What differs of what the core decides by: it decides anew the next time it has to.
fn decided_diff(old: (&Family, &Worker), new: (&Family, &Worker)) -> Vec<(Effect, String)> {
    let Worker {
        name: _,
        // Counted apart: only the difference is touched.
        instances: _,
        policy,
        restart,
        success_codes,
        backoff,
        intensity,
        on_failed,
        essential,
        grace,
        // Told as `stop.to`.
        asks_tree: _,
        after: _,
        readiness,
        leftover,
        watchdog,
        health,
        schedule,
        min_ready,
        start_delay,
        autostart,
    } = old.1;
    let (new_family, new) = new;
    let after = |family: &Family, after: &[After]| -> BTreeMap<String, String> {
        after
            .iter()
            .map(|after| (worker_name(family, after.worker), format!("{:?}", after.milestone)))
            .collect()
    };
    let mut changes = effects(
        Effect::Update,
        &[
            ("restart", *restart != new.restart),
            ("success_codes", *success_codes != new.success_codes),
            ("backoff", *backoff != new.backoff),
            ("intensity", *intensity != new.intensity),
            ("on_failed", *on_failed != new.on_failed),
            ("essential", *essential != new.essential),
            ("stop.grace", *grace != new.grace),
            ("after", after(old.0, &old.1.after) != after(new_family, &new.after)),
            ("leftover", *leftover != new.leftover),
            ("autostart", *autostart != new.autostart),
            ("ready_timeout", timeout_differs(*readiness, new.readiness)),
            ("health", *health != new.health),
            ("schedule", *schedule != new.schedule),
            ("min_ready", *min_ready != new.min_ready && same_kind(*readiness, new.readiness)),
            ("start_delay", *start_delay != new.start_delay),
        ],
    );
    // The kernel was told at the start what becomes of it when its supervisor dies; and it was told how often to give
    // a sign of life.
    changes.extend(effects(
        Effect::Restart,
        &[("policy", *policy != new.policy), ("watchdog", *watchdog != new.watchdog)],
    ));
    changes
}

/// Whether only the time differs that a worker has to get ready; whether it has to is told by `ready`.
fn timeout_differs(old: supervision::Readiness, new: supervision::Readiness) -> bool {
    old != new && same_kind(old, new)
}

/// Whether it is found out in the same way that a worker is ready; what follows from another way is told by `ready`.
fn same_kind(old: supervision::Readiness, new: supervision::Readiness) -> bool {
    std::mem::discriminant(&old) == std::mem::discriminant(&new)
}

/// What differs of how its processes are made and treated.
fn carried_out_diff(
    old: &WorkerPlan,
    new: &WorkerPlan,
    policy: supervision::Policy,
) -> Vec<(Effect, String)> {
    let WorkerPlan {
        name: _,
        command,
        args,
        kwargs,
        stop_signal,
        stop_to,
        reload,
        env,
        clear_env,
        cwd,
        user,
        group,
        umask,
        nice,
        io_priority,
        oom_score_adj,
        cpus,
        no_new_privs,
        private_tmp,
        listen,
        rolling,
        tree,
        limits,
        stdin,
        stdout,
        stderr,
        log,
        gets,
        puts,
        ready,
        health,
        cron,
    } = old;
    // The kernel sends a `terminate` worker its stop signal, as it was told at the start.
    let told_the_kernel = policy == supervision::Policy::Terminate;
    let stop_signal = *stop_signal != new.stop_signal;
    let mut changes = effects(
        Effect::Restart,
        &[
            ("command", *command != new.command),
            ("args", *args != new.args),
            ("kwargs", *kwargs != new.kwargs),
            ("stop.signal", stop_signal && told_the_kernel),
            ("clear_env", *clear_env != new.clear_env),
            ("cwd", *cwd != new.cwd),
            ("user", *user != new.user),
            ("group", *group != new.group),
            ("umask", *umask != new.umask),
            ("nice", *nice != new.nice),
            ("ionice", *io_priority != new.io_priority),
            ("oom_score_adj", *oom_score_adj != new.oom_score_adj),
            ("cpus", *cpus != new.cpus),
            ("no_new_privs", *no_new_privs != new.no_new_privs),
            ("private_tmp", *private_tmp != new.private_tmp),
            ("listen", *listen != new.listen),
            ("tree", *tree != new.tree),
            ("limits", *limits != new.limits),
            ("stdin", *stdin != new.stdin),
            ("stdout", *stdout != new.stdout),
            ("stderr", *stderr != new.stderr),
            ("log", *log != new.log),
            ("queues.get", !same_names(gets, &new.gets)),
            ("queues.put", !same_names(puts, &new.puts)),
            ("ready", *ready != new.ready),
        ],
    );
    let variables = differing(env, &new.env);
    if !variables.is_empty() {
        changes.push((Effect::Restart, format!("env changed: {}", variables.join(", "))));
    }
    changes.extend(effects(
        Effect::Update,
        &[
            ("stop.signal", stop_signal && !told_the_kernel),
            ("stop.to", *stop_to != new.stop_to),
            ("rolling", *rolling != new.rolling),
            ("health", *health != new.health),
            ("schedule", *cron != new.cron),
        ],
    ));
    changes.extend(reload_diff(reload.as_ref(), new.reload.as_ref()));
    changes
}

fn same_names(old: &[String], new: &[String]) -> bool {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    sorted(old) == sorted(new)
}

/// The names of the variables that are not the same in both, in the order of the alphabet.
fn differing(old: &[(String, String)], new: &[(String, String)]) -> Vec<String> {
    let by_name = |env: &[(String, String)]| env.iter().cloned().collect::<BTreeMap<String, String>>();
    let (old, new) = (by_name(old), by_name(new));
    let mut names: Vec<String> = old
        .iter()
        .filter(|(name, value)| new.get(*name) != Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    names.extend(new.keys().filter(|name| !old.contains_key(*name)).cloned());
    names.sort();
    names
}

/// How it is told is taken up at once; files that it reads when it is told are a reason to tell it.
fn reload_diff(old: Option<&ReloadPlan>, new: Option<&ReloadPlan>) -> Vec<(Effect, String)> {
    let (Some(old), Some(new)) = (old, new) else {
        return effects(Effect::Update, &[("reload", old.is_some() != new.is_some())]);
    };
    let ReloadPlan { signal, files } = old;
    let paths = |plan: &ReloadPlan| plan.files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let mut changes =
        effects(Effect::Update, &[("reload", *signal != new.signal || paths(old) != paths(new))]);
    let marks: HashMap<_, _> = files.iter().map(|(path, mark)| (path, mark)).collect();
    for (path, mark) in &new.files {
        if marks.get(path).is_some_and(|known| *known != mark) {
            changes.push((Effect::Signal, format!("{} changed", path.display())));
        }
    }
    changes
}

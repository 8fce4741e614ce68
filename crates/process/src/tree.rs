//! Families of processes: who is below whom, and ending all of them.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::identity::Identity;
use crate::proc::{Stat, environ};
use crate::signal::{self, Delivery};

/// How often [`freeze_and_kill`] looks before it gives up finding everybody. Each look stops all it finds, so that only
/// processes that can not be stopped, or are born faster than a pass over `/proc` sees them, need many.
const LOOKS: usize = 200;

/// Every process as one pass over `/proc` saw it. Processes come and go during the pass.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    stats: BTreeMap<Pid, Stat>,
    children: BTreeMap<Pid, Vec<Pid>>,
}

impl Snapshot {
    /// Looks at every process of this pid namespace.
    ///
    /// # Errors
    ///
    /// Those of reading the folder `/proc`; a process that can not be read is left out.
    pub fn take() -> io::Result<Self> {
        let mut buffer = Vec::new();
        let mut stats = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Ok(Some(stat)) = Stat::read_into(Pid::from_raw(pid), &mut buffer) {
                stats.push(stat);
            }
        }
        Ok(stats.into_iter().collect())
    }

    /// The facts of one process.
    pub fn get(&self, pid: Pid) -> Option<&Stat> {
        self.stats.get(&pid)
    }

    /// All processes, by pid.
    pub fn iter(&self) -> impl Iterator<Item = &Stat> {
        self.stats.values()
    }

    /// The parent of a process.
    pub fn parent(&self, pid: Pid) -> Option<Pid> {
        Some(self.get(pid)?.ppid)
    }

    /// The children of a process, by pid.
    pub fn children(&self, pid: Pid) -> &[Pid] {
        self.children.get(&pid).map_or(&[], Vec::as_slice)
    }

    /// A process and everything below it with the depth, 0 for itself; each before its own children, as a tree is
    /// printed. Nothing when the process was not seen.
    pub fn subtree(&self, root: Pid) -> Vec<(usize, &Stat)> {
        let mut found = Vec::new();
        // What was seen at different moments may look like a ring; nobody is visited twice.
        let mut seen = BTreeSet::new();
        let mut todo = vec![(0, root)];
        while let Some((depth, pid)) = todo.pop() {
            if let Some(stat) = self.get(pid)
                && seen.insert(pid)
            {
                found.push((depth, stat));
                todo.extend(self.children(pid).iter().rev().map(|child| (depth + 1, *child)));
            }
        }
        found
    }

    /// Everything below a process, itself left out; each before its own children.
    pub fn descendants(&self, root: Pid) -> Vec<Pid> {
        self.subtree(root).into_iter().skip(1).map(|(_, stat)| stat.pid).collect()
    }

    /// These processes, each after its parent or before it.
    pub fn in_order(&self, pids: BTreeSet<Pid>, order: Order) -> Vec<Pid> {
        in_order(self, pids, order)
    }

    /// Everybody who belongs to these processes: they themselves, all below them, all in a session that one of them
    /// leads or led, and all below those. A process that is no longer who it was brings nobody in.
    pub fn family(&self, roots: &[Identity]) -> BTreeSet<Pid> {
        let mut found = BTreeSet::new();
        let mut sessions = BTreeSet::new();
        for root in roots {
            match self.get(root.pid) {
                Some(stat) if Identity::from(stat) != *root => {}
                // Its session keeps the number from being used again while anybody is in it.
                None => drop(sessions.insert(root.pid)),
                Some(_) => {
                    sessions.insert(root.pid);
                    found.extend(self.subtree(root.pid).into_iter().map(|(_, stat)| stat.pid));
                }
            }
        }
        for stat in self.iter().filter(|stat| sessions.contains(&stat.session)) {
            if !found.contains(&stat.pid) {
                found.extend(self.subtree(stat.pid).into_iter().map(|(_, stat)| stat.pid));
            }
        }
        found
    }
}

impl FromIterator<Stat> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Stat>>(stats: I) -> Self {
        let mut snapshot = Self::default();
        snapshot.stats.extend(stats.into_iter().map(|stat| (stat.pid, stat)));
        for stat in snapshot.stats.values() {
            snapshot.children.entry(stat.ppid).or_default().push(stat.pid);
        }
        snapshot
    }
}

/// What [`freeze_and_kill`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Killed {
    /// Who got the `KILL`, by pid. They end soon, unless the kernel holds them in a sleep it can not interrupt.
    pub pids: Vec<Pid>,
    /// Whether everybody was seen to stand still before the `KILL`, so that nobody can have been missed.
    pub complete: bool,
}

/// Ends whole families at once: stops everybody it finds until nobody new appears, then sends `KILL` to all.
///
/// Stopped processes make no children, so that a fork bomb stands still, and what has been found can not slip away to
/// another parent between the looking and the killing. Everybody is held by pidfd and recognised by start time: a
/// reused pid is never hit. The family is that of [`Snapshot::family`]; whom `spare` names is let alone, and so are this
/// process, pid 1 and the kernel's threads. Zombies are passed over.
///
/// A descendant that left its session and lost its parent before this began is an orphan, found by
/// [`reap_orphan`](crate::reap_orphan) and [`origin`], and to be given here as a root of its own.
///
/// # Errors
///
/// Those of reading the folder `/proc`. What was found till then has been killed.
pub fn freeze_and_kill(roots: &[Identity], spare: impl Fn(Pid) -> bool) -> io::Result<Killed> {
    let mut held: BTreeMap<Identity, Grip> = BTreeMap::new();
    let frozen = freeze(roots, spare, &mut held);
    let got = |grip: &Grip| grip.send(libc::SIGKILL) == Ok(Delivery::Sent);
    let pids = held.iter().filter(|(_, grip)| got(grip)).map(|(identity, _)| identity.pid).collect();
    Ok(Killed { pids, complete: frozen? })
}

/// Who is reached first where a whole tree gets a signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Everybody before its parent, so that nobody sees a child end that it would start again.
    #[default]
    LeavesFirst,
    /// Everybody after its parent, so that who leads can end the others in its own way.
    RootFirst,
}

/// What [`freeze_and_signal`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Struck {
    /// Who got the signal, in the order in which they did.
    pub reached: Vec<Identity>,
    /// Who may not be signalled by this user.
    pub refused: Vec<Pid>,
    /// Whether everybody was seen to stand still before the signal, so that nobody can have been missed.
    pub complete: bool,
}

/// Sends a signal to whole families while they stand still: nobody is born or slips away between the looking and the
/// sending, and nobody acts on it before all have it. Then those who did not stand still before go on, in the same
/// order; after `STOP` nobody does, and after `KILL` there is nobody.
///
/// The family, and who is let alone, are those of [`freeze_and_kill`].
///
/// # Errors
///
/// Those of reading the folder `/proc`. Whoever was found till then goes on, and has got no signal.
pub fn freeze_and_signal(
    roots: &[Identity],
    spare: impl Fn(Pid) -> bool,
    signal: i32,
    order: Order,
) -> io::Result<Struck> {
    let mut held: BTreeMap<Identity, Grip> = BTreeMap::new();
    let frozen = freeze(roots, spare, &mut held);
    let look = Snapshot::take();
    let go_on = |grip: &Grip| {
        if !grip.stood_before {
            // An error means that it is gone.
            let _ = grip.send(libc::SIGCONT);
        }
    };
    let (complete, snapshot) = match frozen.and_then(|complete| Ok((complete, look?))) {
        Ok(seen) => seen,
        Err(error) => {
            held.values().for_each(go_on);
            return Err(error);
        }
    };
    let mut struck = Struck { complete, ..Struck::default() };
    let all = in_order(&snapshot, held.keys().map(|identity| identity.pid).collect(), order);
    let grips: Vec<&Grip> = all.iter().filter_map(|pid| grip_of(&held, *pid)).collect();
    for grip in &grips {
        match grip.send(signal) {
            Ok(Delivery::Sent) => struck.reached.push(grip.identity),
            Ok(Delivery::Gone) => {}
            Err(_) => struck.refused.push(grip.identity.pid),
        }
    }
    if signal != libc::SIGSTOP {
        grips.iter().for_each(|grip| go_on(grip));
    }
    Ok(struck)
}

fn grip_of(held: &BTreeMap<Identity, Grip>, pid: Pid) -> Option<&Grip> {
    // The latest, should the pid have been another's before.
    let range = Identity { pid, start_time: 0 }..=Identity { pid, start_time: u64::MAX };
    held.range(range).next_back().map(|(_, grip)| grip)
}

/// These pids, each after its parent or before it.
fn in_order(snapshot: &Snapshot, pids: BTreeSet<Pid>, order: Order) -> Vec<Pid> {
    let is_top = |pid: &Pid| snapshot.parent(*pid).is_none_or(|parent| !pids.contains(&parent));
    let tops: Vec<Pid> = pids.iter().copied().filter(is_top).collect();
    let mut all = Vec::with_capacity(pids.len());
    for top in tops {
        let below = snapshot.subtree(top).into_iter().map(|(_, stat)| stat.pid);
        all.extend(below.filter(|pid| pids.contains(pid)));
    }
    // Who was not seen, or is in a ring of what was seen at different moments, comes last.
    all.extend(&pids);
    // A top may lie below another one, with a stranger between.
    let mut seen = BTreeSet::new();
    all.retain(|pid| seen.insert(*pid));
    if order == Order::LeavesFirst {
        all.reverse();
    }
    all
}

fn freeze(
    roots: &[Identity],
    spare: impl Fn(Pid) -> bool,
    held: &mut BTreeMap<Identity, Grip>,
) -> io::Result<bool> {
    let mut roots = roots.to_vec();
    let mut all_stood_still = false;
    for _ in 0..LOOKS {
        let snapshot = Snapshot::take()?;
        let mut news = false;
        let mut moving = false;
        for pid in snapshot.family(&roots) {
            let Some(stat) = snapshot.get(pid) else { continue };
            let untouchable = pid == Pid::this() || pid.as_raw() == 1 || stat.is_kernel_thread();
            if untouchable || stat.is_zombie() || spare(pid) {
                continue;
            }
            let stands = matches!(stat.state, 'T' | 't');
            let identity = Identity::from(stat);
            match held.entry(identity) {
                // Who may not be stopped is not waited for.
                Entry::Occupied(known) => moving |= !stands && !known.get().refused,
                Entry::Vacant(place) => {
                    news = true;
                    let grip = place.insert(Grip::of(identity, stands));
                    grip.refused = grip.send(libc::SIGSTOP).is_err();
                    moving |= !stands && !grip.refused;
                    // Its family stays its family if it dies before the next look.
                    roots.push(identity);
                }
            }
        }
        // A look at a moving family may miss a child of one that was read after the child's place was passed. So the
        // last look must have begun when all stood still already.
        if all_stood_still && !news {
            return Ok(true);
        }
        all_stood_still = !moving && !news;
        if moving && !news {
            // A signal takes a moment to arrive; leave the processor to those who are to notice it.
            std::thread::yield_now();
        }
    }
    Ok(false)
}

/// A hold on one process: by pidfd, or by recognising it each time where descriptors have run out.
struct Grip {
    identity: Identity,
    pidfd: Option<OwnedFd>,
    /// Whether it was stopped already when it was found.
    stood_before: bool,
    /// Whether this user may not signal it.
    refused: bool,
}

impl Grip {
    fn of(identity: Identity, stood_before: bool) -> Self {
        Self { identity, pidfd: identity.hold().ok().flatten(), stood_before, refused: false }
    }

    /// Sends a signal, if the process is still there.
    fn send(&self, signal: i32) -> Result<Delivery, Errno> {
        let again;
        let pidfd = match &self.pidfd {
            Some(pidfd) => pidfd,
            None => {
                again = self.identity.hold().ok().flatten();
                let Some(pidfd) = &again else { return Ok(Delivery::Gone) };
                pidfd
            }
        };
        signal::send(pidfd.as_fd(), signal)
    }
}

/// What a process tells of where it comes from, also after its parents are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who it is.
    pub identity: Identity,
    /// Its session: the pid of the leader it was started by, unless it made a session of its own.
    pub session: Pid,
    /// Its process group.
    pub pgrp: Pid,
    /// The variables of its environment that begin with `SUPERVISOR_`, as it was started with them: a hint, since a
    /// program can start others with what it likes. Empty for a zombie.
    pub marks: BTreeMap<String, String>,
}

impl Origin {
    /// The value of `SUPERVISOR_` and this name: `mark("WORKER")`.
    pub fn mark(&self, name: &str) -> Option<&str> {
        self.marks.get(&format!("{MARK}{name}")).map(String::as_str)
    }
}

const MARK: &str = "SUPERVISOR_";

/// Where a process comes from; `None` when it is gone.
///
/// # Errors
///
/// Those of reading `/proc`.
pub fn origin(pid: Pid) -> io::Result<Option<Origin>> {
    let Some(stat) = Stat::of(pid)? else { return Ok(None) };
    let marks = environ(pid)
        .into_iter()
        .filter_map(|entry| {
            let entry = String::from_utf8(entry).ok()?;
            let (name, value) = entry.split_once('=')?;
            name.starts_with(MARK).then(|| (name.to_owned(), value.to_owned()))
        })
        .collect();
    // Both readings are of one process only if it still has its pid.
    let identity = Identity::from(&stat);
    Ok((Identity::of(pid)? == Some(identity)).then_some(Origin {
        identity,
        session: stat.session,
        pgrp: stat.pgrp,
        marks,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(processes: &[(i32, i32, i32)]) -> Snapshot {
        let stat = |&(pid, ppid, session): &(i32, i32, i32)| {
            Stat::parse(
                format!("{pid} (x) S {ppid} {pid} {session} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 {} 0 0", pid * 10)
                    .as_bytes(),
            )
            .unwrap()
        };
        processes.iter().map(stat).collect()
    }

    fn pids(found: impl IntoIterator<Item = Pid>) -> Vec<i32> {
        found.into_iter().map(Pid::as_raw).collect()
    }

    fn identity(pid: i32) -> Identity {
        Identity { pid: Pid::from_raw(pid), start_time: pid as u64 * 10 }
    }

    #[test]
    fn a_tree_is_told_parents_before_children_with_depths() {
        let all = snapshot(&[(1, 0, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (5, 3, 2), (9, 1, 9)]);
        let tree: Vec<_> = all.subtree(Pid::from_raw(2)).iter().map(|(d, s)| (*d, s.pid.as_raw())).collect();
        assert_eq!(tree, [(0, 2), (1, 3), (2, 5), (1, 4)]);
        assert_eq!(pids(all.descendants(Pid::from_raw(2))), [3, 5, 4]);
        assert_eq!(pids(all.children(Pid::from_raw(1)).to_vec()), [2, 9]);
        assert!(all.descendants(Pid::from_raw(77)).is_empty());
    }

    #[test]
    fn in_order_everybody_comes_after_its_parent_or_before_it_and_nobody_is_left_out() {
        let all = snapshot(&[(2, 1, 2), (3, 2, 2), (4, 3, 2), (5, 3, 2), (8, 9, 8), (9, 8, 8)]);
        let some = |pids: &[i32]| pids.iter().copied().map(Pid::from_raw).collect::<BTreeSet<_>>();
        let order = |members: &[i32], order| pids(all.in_order(some(members), order));
        assert_eq!(order(&[2, 3, 4, 5], Order::RootFirst), [2, 3, 4, 5]);
        assert_eq!(order(&[2, 3, 4, 5], Order::LeavesFirst), [5, 4, 3, 2]);
        assert_eq!(order(&[2, 4], Order::LeavesFirst), [4, 2], "with a stranger between");
        assert_eq!(order(&[8, 9], Order::RootFirst), [8, 9], "a ring");
        assert_eq!(order(&[7], Order::RootFirst), [7], "gone");
    }

    #[test]
    fn a_ring_of_parents_seen_at_different_moments_ends() {
        let all = snapshot(&[(2, 3, 2), (3, 2, 2)]);
        assert_eq!(pids(all.descendants(Pid::from_raw(2))), [3]);
    }

    #[test]
    fn a_family_has_those_who_lost_their_parent_but_kept_the_session_and_all_below_them() {
        let all = snapshot(&[(2, 1, 2), (3, 2, 2), (4, 1, 2), (5, 4, 5), (6, 1, 6), (7, 2, 7)]);
        assert_eq!(pids(all.family(&[identity(2)])), [2, 3, 4, 5, 7]);
    }

    #[test]
    fn a_leader_that_is_gone_still_names_its_session_but_a_stranger_with_its_pid_names_nobody() {
        let gone = snapshot(&[(3, 1, 2), (4, 3, 2), (6, 1, 6)]);
        assert_eq!(pids(gone.family(&[identity(2)])), [3, 4]);
        let stranger = snapshot(&[(2, 1, 2), (3, 2, 2)]);
        let earlier = Identity { start_time: 7, ..identity(2) };
        assert_eq!(pids(stranger.family(&[earlier])), [0; 0]);
    }
}

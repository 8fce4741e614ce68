//! Kills a process after every single instruction of taking and giving back, and looks at what is left.
//!
//! For each scenario a child is stepped through an operation one instruction at a time. Whenever an instruction
//! has changed the segment, a copy is taken in which the child counts as dead, and a fresh participant recovers
//! the copy and checks the promises: what the child held is handed on, says whose it was, and nothing else is lost
//! or doubled. Beside that, children are really killed while a peer sleeps on what they are about to release: the
//! peer must get it. At instructions spread over the operation, or at every one with `--full`.
//!
//! Arguments: `--full`, and words that must be part of a scenario's name.

mod child;
mod copy;
#[path = "../every_instruction/step.rs"]
mod step;

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use copy::Bytes;
use ipc::sync::{Family, SyncOptions};
use step::Stepped;

/// How long anything may take to come about.
const WATCHDOG: Duration = Duration::from_secs(90);

/// How far an operation had come, as the copy shows: it may never be less than before.
type Progress = u64;

struct Scenario {
    /// What the child does; also the scenario's name.
    operation: &'static str,
    /// What else is so before.
    before: Before,
    /// What must be so of a copy, in which the child (of this pid) has been recovered; how far it had come.
    check: fn(&Family, Seen) -> Result<Progress, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A process has died holding lock `a` and a permit, and nobody has looked after it yet.
    DeadHolder,
    /// The same, and somebody has.
    Orphaned,
    /// A thread of this process waits for the condition.
    Waiter,
}

/// What the copy showed before it was recovered.
#[derive(Clone, Copy)]
struct Seen {
    child: u32,
    /// Who died before the child, where somebody has.
    ancestor: u32,
    /// Who held lock `a`, and lock `r`.
    held: Option<u32>,
    deep: Option<u32>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { operation: "lock-unlock", before: Before::Nothing, check: lock_is_free },
    Scenario { operation: "lock-unlock-orphaned", before: Before::Orphaned, check: lock_tells_of_the_last },
    Scenario { operation: "rlock-twice", before: Before::Nothing, check: lock_is_free },
    Scenario { operation: "permit", before: Before::Nothing, check: permits_are_three },
    Scenario { operation: "keep-release", before: Before::Nothing, check: permits_are_three },
    Scenario { operation: "consume-release", before: Before::Nothing, check: a_permit_may_be_used_up },
    Scenario { operation: "event-set", before: Before::Nothing, check: event_is_set_or_not },
    Scenario { operation: "notify", before: Before::Waiter, check: waiter_is_told_or_not },
    Scenario { operation: "condition-timeout", before: Before::Nothing, check: lock_is_free },
    Scenario { operation: "barrier-pass", before: Before::Nothing, check: barrier_waits_for_nobody },
    Scenario { operation: "barrier-timeout", before: Before::Nothing, check: barrier_waits_for_nobody },
    Scenario { operation: "barrier-reset", before: Before::Nothing, check: barrier_waits_for_nobody },
    Scenario { operation: "reclaim", before: Before::DeadHolder, check: heritage_is_whole },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "child") {
        return child::main(&args[1..]);
    }
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let is_full = args.iter().any(|arg| arg == "--full");
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| words.iter().all(|word| name.contains(word.as_str()));
    step::stay_on_one_processor();
    let start = Instant::now();
    let (mut instructions, mut killed, mut passed, mut failed) = (0, 0, 0, 0);
    let mut note = |name: &str, outcome: Result<(usize, usize), String>| match outcome {
        Ok((points, other)) => {
            passed += 1;
            println!("{name:<40} {points:>6} instructions, {other:>4} states or kills");
            points
        }
        Err(problem) => {
            failed += 1;
            println!("{name:<40} FAILED: {problem}");
            0
        }
    };
    for scenario in SCENARIOS.iter().filter(|scenario| is_wanted(scenario.operation)) {
        instructions += note(scenario.operation, step_through(scenario));
    }
    for (operation, peer) in [("unlock-before-peer", "peer-lock"), ("release-before-peer", "peer-permit")] {
        if is_wanted(operation) {
            killed += note(operation, kill_before_a_sleeping_peer(operation, peer, is_full));
        }
    }
    println!(
        "every instruction: {instructions} kill points tried in copies, {killed} passed on the way to a sleeping \
         peer, in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options() -> SyncOptions {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    SyncOptions {
        locks: names(&["a"]),
        rlocks: names(&["r"]),
        bounded_semaphores: vec![("s".into(), 3)],
        conditions: names(&["c"]),
        events: names(&["e"]),
        barriers: vec![("one".into(), 1), ("two".into(), 2)],
        participants: 8,
        // Whoever sleeps waits to be woken: nobody may be saved by looking after the dead itself.
        supervised: true,
        ..Default::default()
    }
}

/// A family in a file that this process can read beside its mapping.
struct Stage {
    family: Family,
    file: File,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn set() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("family.shm");
        let family = Family::create(&path, &options()).expect("a family can be made");
        let file = OpenOptions::new().read(true).open(&path).expect("it was just made");
        Self { family, file, path, _folder: folder }
    }

    fn arguments(&self, operation: &str) -> Vec<String> {
        vec![self.path.to_str().expect("a temporary path is text").to_owned(), operation.to_owned()]
    }

    /// Runs a child that dies holding things.
    fn dead_holder(&self) -> Result<u32, String> {
        let child = Stepped::start(&self.arguments("hold-and-stop"))?;
        let pid = child.pid();
        child.kill();
        Ok(pid)
    }
}

fn step_through(scenario: &Scenario) -> Result<(usize, usize), String> {
    let stage = Stage::set();
    let ancestor = match scenario.before {
        Before::Nothing | Before::Waiter => 0,
        Before::DeadHolder | Before::Orphaned => stage.dead_holder()?,
    };
    if scenario.before == Before::Orphaned {
        stage.family.reclaim(ancestor).map_err(|e| e.to_string())?;
    }
    if scenario.before != Before::Waiter {
        return step_on(scenario, &stage, ancestor);
    }
    let held = AtomicBool::new(false);
    thread::scope(|scope| {
        let lock = stage.family.lock("a").map_err(|e| e.to_string())?;
        let waiter = scope.spawn(|| {
            let guard = stage.family.lock("a").expect("made so").acquire().expect("nobody dies with it");
            held.store(true, Ordering::Release);
            drop(stage.family.condition("c").expect("made so").wait(guard));
        });
        while !held.load(Ordering::Acquire) {
            thread::yield_now();
        }
        // It lets go of the lock only by waiting.
        drop(lock.acquire().map_err(|e| e.to_string())?);
        let outcome = step_on(scenario, &stage, ancestor);
        while !waiter.is_finished() {
            let _ = stage.family.condition("c").expect("made so").notify_all();
            thread::yield_now();
        }
        outcome
    })
}

fn step_on(scenario: &Scenario, stage: &Stage, ancestor: u32) -> Result<(usize, usize), String> {
    let mut child = Stepped::start(&stage.arguments(scenario.operation))?;
    let mut bytes = Bytes::of(&stage.file);
    let mut scratch = Vec::new();
    let (mut instructions, mut states, mut furthest) = (0, 0, 0);
    let mut is_new = true;
    let start = Instant::now();
    loop {
        if is_new {
            states += 1;
            let progress = examine(scenario, &bytes, child.pid(), ancestor)
                .map_err(|problem| format!("after instruction {instructions}: {problem}"))?;
            if progress < furthest {
                return Err(format!("after instruction {instructions}: it went back"));
            }
            furthest = progress;
        }
        if !child.step()? {
            break;
        }
        if start.elapsed() > WATCHDOG {
            return Err(format!("not over after {instructions} instructions"));
        }
        instructions += 1;
        is_new = bytes.update(&stage.file, &mut scratch);
    }
    if states < 2 {
        return Err("the operation changed nothing".to_owned());
    }
    Ok((instructions, states))
}

/// Recovers a copy in which the child is dead, and checks it.
fn examine(scenario: &Scenario, bytes: &Bytes, child: u32, ancestor: u32) -> Result<Progress, String> {
    let mut copy = bytes.clone();
    copy.bury(child, 8);
    let family = copy.family();
    let words = |e: &dyn std::fmt::Display| e.to_string();
    let locks = family.locks().map_err(|e| words(&e))?;
    let holder = |name: &str| {
        let state = locks.iter().find(|state| state.name == name).expect("made so");
        state.holder.as_ref().map(|(pid, _)| *pid)
    };
    let seen = Seen { child, ancestor, held: holder("a"), deep: holder("r") };
    family.reclaim_dead().map_err(|e| words(&e))?;
    let progress = (scenario.check)(&family, seen)?;
    if family.reclaim_dead().map_err(|e| words(&e))?.dead != 0 {
        return Err("somebody dead was left".to_owned());
    }
    for state in family.locks().map_err(|e| words(&e))? {
        if !state.waiters.is_empty() {
            return Err(format!("somebody dead waits for {}", state.name));
        }
    }
    Ok(progress)
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}

/// Who died with lock `a`, and with `r`, as their next holders are told.
fn told(family: &Family) -> Result<(Option<u32>, Option<u32>), String> {
    let a = family.lock("a").expect("made so").try_acquire().map_err(|e| format!("lock a: {e}"))?;
    let r = family.rlock("r").expect("made so").try_acquire().map_err(|e| format!("lock r: {e}"))?;
    Ok((a.recovered().map(|dead| dead.pid), r.recovered().map(|dead| dead.pid)))
}

fn lock_is_free(family: &Family, seen: Seen) -> Result<Progress, String> {
    let (a, r) = told(family)?;
    expect("told of a dead holder of a", a, seen.held)?;
    expect("told of a dead holder of r", r, seen.deep)?;
    expect("held by another", [a, r].into_iter().flatten().all(|pid| pid == seen.child), true)?;
    expect("told once", told(family)?, (None, None))?;
    permits_are_three(family, seen)
}

fn lock_tells_of_the_last(family: &Family, seen: Seen) -> Result<Progress, String> {
    match told(family)? {
        (Some(pid), None) if pid == seen.ancestor && seen.held.is_none() => Ok(0),
        (Some(pid), None) if pid == seen.child && seen.held == Some(pid) => Ok(1),
        (None, None) if seen.held.is_none() => Ok(2),
        other => Err(format!("told of {other:?}")),
    }
}

fn permits_are_three(family: &Family, _: Seen) -> Result<Progress, String> {
    let value = family.semaphore("s").expect("made so").value().map_err(|e| e.to_string())?;
    expect("free permits", value, 3)?;
    Ok(0)
}

fn a_permit_may_be_used_up(family: &Family, _: Seen) -> Result<Progress, String> {
    let semaphore = family.semaphore("s").expect("made so");
    if semaphore.value().map_err(|e| e.to_string())? == 2 {
        semaphore.release().map_err(|e| e.to_string())?;
    }
    expect("free permits", semaphore.value().map_err(|e| e.to_string())?, 3)?;
    Ok(0)
}

fn event_is_set_or_not(family: &Family, _: Seen) -> Result<Progress, String> {
    family.event("e").expect("made so").is_set().map(u64::from).map_err(|e| e.to_string())
}

fn waiter_is_told_or_not(family: &Family, _: Seen) -> Result<Progress, String> {
    let told = family.condition("c").expect("made so").notify_all().map_err(|e| e.to_string())?;
    expect("waiters", told <= 1, true)?;
    Ok(u64::from(told == 0))
}

fn barrier_waits_for_nobody(family: &Family, _: Seen) -> Result<Progress, String> {
    for name in ["one", "two"] {
        let barrier = family.barrier(name).expect("made so");
        expect("parties that wait", barrier.waiting().map_err(|e| e.to_string())?, 0)?;
        barrier.reset().map_err(|e| e.to_string())?;
        expect("broken after a reset", barrier.is_broken().map_err(|e| e.to_string())?, false)?;
    }
    family.barrier("one").expect("made so").wait().map_err(|e| e.to_string())?;
    Ok(0)
}

fn heritage_is_whole(family: &Family, seen: Seen) -> Result<Progress, String> {
    expect("told of the dead", told(family)?, (Some(seen.ancestor), None))?;
    permits_are_three(family, seen)
}

/// Lets a peer fall asleep on what a child holds, kills the child at some instruction of its release, looks after
/// it, and waits for the peer to have got it.
fn kill_before_a_sleeping_peer(operation: &str, peer: &str, is_full: bool) -> Result<(usize, usize), String> {
    // With nobody there, to learn how many instructions there are; a waiter adds some more.
    let stage = Stage::set();
    let mut child = Stepped::start(&stage.arguments(operation))?;
    let mut length = 200;
    while child.step()? {
        length += 1;
    }
    let stride = if is_full { 1 } else { (length / 16).max(1) };
    let mut killed = 0;
    let mut points = HashSet::new();
    for point in (0..length).step_by(stride) {
        let stage = Stage::set();
        let mut child = Stepped::start(&stage.arguments(operation))?;
        let mut sleeper = Command::new(std::env::current_exe().map_err(|e| e.to_string())?)
            .arg("child")
            .args(stage.arguments(peer))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let outcome = (|| {
            child::until_asleep(sleeper.id(), WATCHDOG)?;
            let mut steps = 0;
            while steps < point && child.step()? {
                steps += 1;
            }
            points.insert(steps);
            let pid = child.pid();
            child.kill();
            stage.family.reclaim(pid).map_err(|e| e.to_string())?;
            killed += 1;
            let start = Instant::now();
            loop {
                match sleeper.try_wait().map_err(|e| e.to_string())? {
                    Some(status) if status.success() => return Ok(()),
                    Some(status) => return Err(format!("the peer ended with {status}")),
                    None if start.elapsed() > WATCHDOG => return Err("the peer sleeps for ever".to_owned()),
                    None => thread::sleep(Duration::from_millis(1)),
                }
            }
        })();
        let _ = sleeper.kill();
        let _ = sleeper.wait();
        outcome.map_err(|problem| format!("killed after instruction {point}: {problem}"))?;
    }
    Ok((points.len(), killed))
}

//! Promises of this room, each kept by a process of its own.
//!
//! The runner starts this same program once for each promise, so that a promise has a main thread, signals, limits and
//! descriptors to spoil. It is a subreaper: after each promise it looks for processes that were left behind.

#![allow(unsafe_code)]

mod cgroups;
mod failures;
mod grants;
mod identity;
mod kit;
mod orphans;
mod parent_death;
mod roles;
mod signals;
mod spawner;
mod start;
mod tree;
mod waiting;

use std::env;
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use process::{Orphans, Snapshot, become_subreaper, reap_orphan};

/// A promise's name is its sentence.
pub type Promise = (&'static str, fn());

/// Functions under their own names.
#[macro_export]
macro_rules! promises {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn())),*] };
}

const ALL: &[&[Promise]] = &[
    start::PROMISES,
    grants::PROMISES,
    cgroups::PROMISES,
    failures::PROMISES,
    waiting::PROMISES,
    orphans::PROMISES,
    parent_death::PROMISES,
    tree::PROMISES,
    identity::PROMISES,
    spawner::PROMISES,
    signals::PROMISES,
];

/// How long one promise may take on a busy machine before it counts as hanging.
const WATCHDOG: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--role") => roles::play(&arguments[1..]),
        Some("--promise") => {
            let name = arguments.get(1).expect("the runner names a promise");
            let (_, keep) =
                ALL.iter().copied().flatten().find(|(known, _)| known == name).expect("a known one");
            keep();
            ExitCode::SUCCESS
        }
        _ => run(&arguments),
    }
}

fn run(arguments: &[String]) -> ExitCode {
    let filters: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let chosen: Vec<&Promise> = ALL.iter().copied().flatten().filter(|(name, _)| wanted(name)).collect();
    if arguments.iter().any(|word| word == "--list") {
        for (name, _) in &chosen {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    become_subreaper().expect("Linux 3.4");
    println!("\nrunning {} tests", chosen.len());
    let failed: Vec<&str> = chosen.iter().filter(|(name, _)| !try_one(name)).map(|(name, _)| *name).collect();
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {} failed\n", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_one(name: &str) -> bool {
    let started = Instant::now();
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["--promise", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let read = |source: &mut dyn Read| {
        let mut text = Vec::new();
        let _ = source.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    let out = thread::spawn(move || read(&mut out));
    let err = thread::spawn(move || read(&mut err));
    let status = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break Some(status),
            None if started.elapsed() > WATCHDOG => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    let left = sweep();
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    let verdict = match status {
        None => "FAILED (hangs)",
        Some(status) if !status.success() => "FAILED",
        Some(_) if !left.is_empty() => "FAILED (left processes behind)",
        Some(_) => "ok",
    };
    println!("test {name} ... {verdict}");
    for line in out.lines().filter(|line| line.starts_with("skipped:")) {
        println!("    {line}");
    }
    if verdict != "ok" {
        println!("---- {name}\n{out}{err}{left}----");
    }
    verdict == "ok"
}

/// Ends and names what a promise left behind.
fn sweep() -> String {
    let mut names = String::new();
    let started = Instant::now();
    loop {
        match reap_orphan() {
            Orphans::None => return names,
            Orphans::Reaped(..) => {}
            Orphans::Living => {
                for pid in Snapshot::take().expect("/proc").descendants(process::Pid::this()) {
                    let Ok(Some(stat)) = process::Stat::of(pid) else { continue };
                    if stat.is_zombie() {
                        continue;
                    }
                    names.push_str(&format!("left behind: {pid} {}\n", process::cmdline(pid)));
                    if let Ok(Some(pidfd)) = process::Identity::from(&stat).hold() {
                        let _ = process::signal::send(std::os::fd::AsFd::as_fd(&pidfd), 9);
                    }
                }
                assert!(started.elapsed() < WATCHDOG, "what was left behind does not die:\n{names}");
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

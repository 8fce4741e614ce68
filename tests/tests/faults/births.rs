//! The supervisor is killed while a worker is between its birth and its first instruction: not executed yet, in the
//! memory of its parent, with nothing of its own that would tell whose it is.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use process::Pid;
use serde_json::{Value, json};
use tests::{Run, Sandbox, lives, until, until_gone};

/// A worker of which only one copy can live without leaving a trace, not started by itself where a newborn is awaited.
fn one(policy: &str, autostart: bool) -> Value {
    let worker = json!({ "command": ["probe", "alone"], "policy": policy, "autostart": autostart, "restart": "always" });
    json!({ "name": "r", "workers": { "w": worker, "steady": { "command": ["sleep", "100000"], "policy": "daemon" } } })
}

/// A child that stands still at its birth.
struct Newborn(Pid);

impl Newborn {
    /// Has the worker started, and holds the child at its birth. All that is traced is let go but for it.
    fn of(sandbox: &Sandbox, run: &Run) -> Newborn {
        run.until_state("steady", "running");
        let threads: Vec<Pid> = std::fs::read_dir(format!("/proc/{}/task", run.pid()))
            .unwrap()
            .map(|task| Pid::from_raw(task.unwrap().file_name().to_str().unwrap().parse().unwrap()))
            .collect();
        let options =
            Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACESYSGOOD;
        for thread in &threads {
            ptrace::seize(*thread, options).unwrap();
        }
        let order = sandbox.begin(&["start", "w", "--no-wait"]);
        let (parent, child) = until("a child is born", || {
            threads.iter().find_map(|thread| match stopped(*thread, true)? {
                WaitStatus::PtraceEvent(pid, _, event) if event == Event::PTRACE_EVENT_VFORK as i32 => {
                    Some((pid, Pid::from_raw(ptrace::getevent(pid).unwrap() as i32)))
                }
                WaitStatus::Stopped(pid, signal) => {
                    ptrace::cont(pid, signal).unwrap();
                    None
                }
                other => panic!("{other:?}"),
            })
        });
        ptrace::detach(parent, None).unwrap();
        for thread in threads.into_iter().filter(|thread| *thread != parent) {
            ptrace::interrupt(thread).unwrap();
            match stopped(thread, false) {
                Some(WaitStatus::Stopped(_, signal)) => ptrace::detach(thread, signal).unwrap(),
                _ => ptrace::detach(thread, None).unwrap(),
            }
        }
        stopped(child, false);
        tests::Said::at_the_end_of(order);
        Newborn(child)
    }

    /// Goes on to where the kernel is next entered or left; `false`: it has been executed.
    fn step(&self) -> bool {
        ptrace::syscall(self.0, None).unwrap();
        match stopped(self.0, false).unwrap() {
            WaitStatus::PtraceSyscall(_) => true,
            WaitStatus::PtraceEvent(_, _, event) if event == Event::PTRACE_EVENT_EXEC as i32 => false,
            other => panic!("{other:?}"),
        }
    }

    fn let_go(self) -> Pid {
        // Who was to die with its supervisor may have been killed in its cgroup already.
        match ptrace::detach(self.0, None) {
            Ok(()) => {}
            Err(Errno::ESRCH) => drop(waitpid(self.0, Some(WaitPidFlag::__WALL))),
            Err(error) => panic!("{error}"),
        }
        self.0
    }
}

fn stopped(pid: Pid, only_look: bool) -> Option<WaitStatus> {
    let look = if only_look { WaitPidFlag::WNOHANG } else { WaitPidFlag::empty() };
    match waitpid(pid, Some(WaitPidFlag::__WALL | look)).unwrap() {
        WaitStatus::StillAlive => None,
        status => Some(status),
    }
}

/// How many stops there are between a birth and an execution.
fn steps_of_a_birth() -> usize {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&one("wait", false));
    let newborn = Newborn::of(&sandbox, &run);
    let steps = std::iter::from_fn(|| newborn.step().then_some(())).count();
    newborn.let_go();
    run.until_so_many("w", 3);
    run.stop();
    steps
}

#[test]
fn who_was_just_being_born_when_the_supervisor_was_killed_is_taken_back_or_gone_and_never_doubled() {
    let steps = steps_of_a_birth();
    assert!(steps > 10, "{steps}");
    // The last one is the entry of the call that executes.
    for (point, policy) in [0, steps / 3, steps * 2 / 3, steps - 3, steps - 1, steps].into_iter().zip([
        "wait",
        "daemon",
        "wait",
        "terminate",
        "wait",
        "daemon",
    ]) {
        let sandbox = Sandbox::new();
        let run = sandbox.run(&one(policy, false));
        let newborn = Newborn::of(&sandbox, &run);
        for _ in 0..point {
            assert!(newborn.step());
        }
        run.kill_9();
        let mut next = Run::begin(&sandbox, &one(policy, true), &[]);
        // All the time in the world to start another copy.
        std::thread::sleep(Duration::from_millis(300));
        let pid = newborn.let_go();
        let what = || format!("{policy}, after {point} of {steps}: {}", next.err());
        until("the next run answers", || next.ask::<Value>(&control::api::Request::Ps).ok());
        next.until_all("running");
        next.until_so_many("w", 3);
        assert!(!sandbox.has("doubled"), "{}", what());
        if policy == "wait" {
            assert_eq!(next.instance("w", 0).pid, Some(pid.as_raw()), "{}", what());
            assert!(lives(pid.as_raw()), "{}", what());
        } else {
            until_gone(pid.as_raw());
        }
        assert_eq!(next.stop(), 0, "{}", next.err());
    }
}

//! A daemon goes with its parent, however that goes.

use crate::demo::Lesson;
use crate::demo::no_parts;
use crate::demo::stage::{Stage, Taught, until};
use crate::demo::supervised::lives;
use crate::demo::text::{Step, Text};
use nix::sys::signal::{Signal, kill};
use process::{Pid, Stat};

pub const LESSON: Lesson = Lesson {
    name: "daemon",
    teaches: Text {
        en: "a daemon dies with its parent, killed with -9 or not; others do not",
        zh: "守护进程与父进程同死，无论父进程是否被 -9 杀死；别的进程则不然",
    },
    steps: STEPS,
    teach,
    part: no_parts,
};

const CONFIG: &str = r#"{
  "workers": {
    "shadow": { "command": ["sleep", "600"], "policy": "daemon" },
    "worker": { "command": ["sleep", "600"], "policy": "wait" }
  }
}
"#;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Run two workers that do the same; only their policies differ.",
            zh: "运行两个做同样事情的工作进程；只有策略不同。",
        },
        call: "$ supervisor run lesson.json --detach\n$ supervisor ps",
        seen: Text {
            en: "the supervisor is pid {supervisor_pid}; shadow (daemon) is {shadow_pid}, worker (wait) is {worker_pid}; both have it as their parent.",
            zh: "supervisor 的编号是 {supervisor_pid}；shadow（daemon）是 {shadow_pid}，worker（wait）是 {worker_pid}；两者的父进程都是它。",
        },
        means: Text {
            en: "as long as the parent lives, there is no difference between a daemon and any other child.",
            zh: "只要父进程活着，守护进程与其他子进程没有区别。",
        },
    },
    Step {
        does: Text {
            en: "Kill the supervisor with -9: it can do nothing for its children any more.",
            zh: "用 -9 杀死 supervisor：它再也无法为子进程做任何事。",
        },
        call: "$ kill -KILL {supervisor_pid}",
        seen: Text {
            en: "shadow {shadow_pid} is gone; worker {worker_pid} lives on, and its parent is now {new_parent}.",
            zh: "shadow {shadow_pid} 已消失；worker {worker_pid} 仍活着，它的父进程现在是 {new_parent}。",
        },
        means: Text {
            en: "the kernel itself ends a daemon when its parent dies (PR_SET_PDEATHSIG). Any other child becomes an orphan and is adopted.",
            zh: "父进程死亡时，由内核亲自结束守护进程 (PR_SET_PDEATHSIG)。其他子进程则成为孤儿，被别的进程收养。",
        },
    },
    Step {
        does: Text { en: "Run the same config again.", zh: "再次运行同一份配置。" },
        call: "$ supervisor run lesson.json --detach\n$ supervisor ps",
        seen: Text {
            en: "worker is still pid {taken_back_pid}; shadow is new, pid {new_shadow_pid}.",
            zh: "worker 仍是编号 {taken_back_pid}；shadow 是新的，编号 {new_shadow_pid}。",
        },
        means: Text {
            en: "the orphan was not started twice: the next run of the same name takes it back. The daemon was gone and is started anew.",
            zh: "孤儿没有被重复启动：同名的下一次运行把它接了回来。守护进程已经不在，所以重新启动。",
        },
    },
    Step {
        does: Text { en: "End the supervisor in an orderly way.", zh: "让 supervisor 有序地结束。" },
        call: "$ supervisor shutdown",
        seen: Text {
            en: "shadow {new_shadow_pid} and worker {taken_back_pid} are gone, and so is the supervisor, {second_supervisor_pid}.",
            zh: "shadow {new_shadow_pid} 和 worker {taken_back_pid} 都已消失，supervisor {second_supervisor_pid} 也是。",
        },
        means: Text {
            en: "who is asked to stop takes all its children along. For the daemon it makes no difference how its parent ends.",
            zh: "被请求停止的 supervisor 会带走所有子进程。而对守护进程来说，父进程怎样结束都一样。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    stage.config(CONFIG)?;
    let supervisor = stage.detach()?;
    let (shadow, worker) = (stage.pid_of("shadow")?, stage.pid_of("worker")?);
    stage.printed(&stage.supervisor(&["ps"])?.out);
    stage.saw("supervisor_pid", supervisor);
    stage.saw("shadow_pid", shadow);
    stage.saw("worker_pid", worker);
    stage.step(parent(shadow) == Some(supervisor) && parent(worker) == Some(supervisor))?;

    kill(Pid::from_raw(supervisor), Signal::SIGKILL).map_err(std::io::Error::from)?;
    until("the supervisor is gone", || Ok((!lives(supervisor)).then_some(())))?;
    until("the daemon is gone", || Ok((!lives(shadow)).then_some(())))?;
    let adopted = until("the orphan is adopted", || Ok(parent(worker).filter(|by| *by != supervisor)));
    stage.saw("shadow_lives", lives(shadow));
    stage.saw("worker_lives", lives(worker));
    stage.saw("new_parent", adopted?);
    stage.step(!lives(shadow) && lives(worker))?;

    let second = stage.detach()?;
    let (new_shadow, same) = (stage.pid_of("shadow")?, stage.pid_of("worker")?);
    stage.printed(&stage.supervisor(&["ps"])?.out);
    stage.saw("second_supervisor_pid", second);
    stage.saw("taken_back_pid", same);
    stage.saw("new_shadow_pid", new_shadow);
    stage.step(same == worker && lives(new_shadow) && parent(new_shadow) == Some(second))?;

    let code = stage.supervisor(&["shutdown"])?.code;
    let left: Vec<i32> = [second, new_shadow, same].into_iter().filter(|pid| lives(*pid)).collect();
    stage.saw("shutdown_code", code);
    stage.saw("left", left.clone());
    stage.step(code == 0 && left.is_empty())
}

fn parent(pid: i32) -> Option<i32> {
    Stat::of(Pid::from_raw(pid)).ok().flatten().map(|stat| stat.ppid.as_raw())
}

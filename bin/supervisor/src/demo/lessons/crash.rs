//! Threads die together, processes do not.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::channel;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::gettid;

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say, told};
use crate::demo::stage::{Stage, Taught};
use crate::demo::supervised::{lives, state};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "crash",
    teaches: Text {
        en: "threads die together, processes do not", zh: "线程同生共死，进程则不然"
    },
    steps: STEPS,
    teach,
    part,
};

const CONFIG: &str = r#"{
  "workers": {
    "fragile": {
      "command": "echo started >> starts; [ $(wc -l < starts) -ge 3 ] || { ulimit -c 0; kill -ABRT $$; }",
      "restart": "on-failure", "backoff": { "initial": "20ms" }
    }
  }
}
"#;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Start one process with two threads; both answer.",
            zh: "启动一个有两个线程的进程；两个线程都有应答。",
        },
        call: "$ ls /proc/{process_pid}/task",
        seen: Text {
            en: "process {process_pid}: thread {first_thread} and thread {second_thread} have both said so.",
            zh: "进程 {process_pid}：线程 {first_thread} 和线程 {second_thread} 都应答了。",
        },
        means: Text {
            en: "two threads, one process: one pid, one memory, one fate.",
            zh: "两个线程，一个进程：同一个编号，同一份内存，同一个命运。",
        },
    },
    Step {
        does: Text { en: "Let the second thread crash.", zh: "让第二个线程崩溃。" },
        call: "> std::process::abort()            # in thread {second_thread}",
        seen: Text {
            en: "the whole process ended by signal {crash_signal}; the first thread, {first_thread}, is gone with it.",
            zh: "整个进程被信号 {crash_signal} 结束；第一个线程 {first_thread} 也一同消失。",
        },
        means: Text {
            en: "what kills one thread (an abort, a bad pointer) kills its process, and so every other thread, whatever it was doing.",
            zh: "能杀死一个线程的（中止、错误指针），会杀死整个进程，于是其他线程无论在做什么都一起死去。",
        },
    },
    Step {
        does: Text {
            en: "The same with two processes: let one crash, then ask the other.",
            zh: "换成两个进程：让一个崩溃，再问另一个。",
        },
        call: "> std::process::abort()            # in process {crashed_pid}",
        seen: Text {
            en: "process {crashed_pid} ended by signal {crashed_signal}; process {other_pid} answers afterwards: {other_says}.",
            zh: "进程 {crashed_pid} 被信号 {crashed_signal} 结束；之后进程 {other_pid} 应答：{other_says}。",
        },
        means: Text {
            en: "the kernel keeps processes apart. A crash stays where it happened, and the parent learns of it.",
            zh: "内核把进程彼此隔开。崩溃只留在发生的地方，而父进程会得知。",
        },
    },
    Step {
        does: Text {
            en: "Let a supervisor run a worker that crashes twice and then works.",
            zh: "让 supervisor 运行一个崩溃两次、之后正常的工作进程。",
        },
        call: "$ supervisor run lesson.json; wc -l starts",
        seen: Text {
            en: "it was started {starts} times, and the run ended with {run_code}.",
            zh: "它被启动了 {starts} 次，整个运行以 {run_code} 结束。",
        },
        means: Text {
            en: "since a crash is contained in a process, another one can start it again: that is what a supervisor is for.",
            zh: "既然崩溃被关在一个进程里，另一个进程就能重新启动它：这正是 supervisor 的用处。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let mut process = Actor::of(LESSON.name, "threads", &[])?;
    let (first, second) = (process.hear_number()?, process.hear_number()?);
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.pid()))?.count();
    stage.saw("process_pid", process.pid());
    stage.saw("first_thread", first);
    stage.saw("second_thread", second);
    stage.saw("threads", threads);
    stage.step(first == i64::from(process.pid()) && first != second && threads == 2)?;

    process.tell("crash")?;
    let end = process.join()?;
    stage.saw("crash_signal", end.signal());
    stage.saw("first_thread_lives", state(process.pid()).is_some());
    stage.step(end.signal() == Some(6) && state(process.pid()).is_none())?;

    let mut crashing = Actor::of(LESSON.name, "process", &[])?;
    let mut other = Actor::of(LESSON.name, "process", &[])?;
    crashing.hear()?;
    other.hear()?;
    crashing.tell("crash")?;
    let end = crashing.join()?;
    other.tell("say")?;
    let said = other.hear()?;
    let alive = lives(other.pid());
    other.join()?;
    stage.saw("crashed_pid", crashing.pid());
    stage.saw("crashed_signal", end.signal());
    stage.saw("other_pid", other.pid());
    stage.saw("other_says", said.clone());
    stage.step(end.signal() == Some(6) && said == "still here" && alive)?;

    stage.config(CONFIG)?;
    let run = stage.supervisor(&["run", crate::demo::supervised::CONFIG])?;
    let starts = std::fs::read_to_string(stage.folder().join("starts")).unwrap_or_default().lines().count();
    stage.saw("starts", starts);
    stage.saw("run_code", run.code);
    stage.step(starts == 3 && run.code == 0)
}

fn part(part: &str, _: &[String]) -> io::Result<()> {
    // A crash on purpose is no news for whoever collects core dumps.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    if part == "threads" {
        say(gettid())?;
        let (ready, is_ready) = channel();
        let second = std::thread::spawn(move || {
            let _ = ready.send(gettid());
            // The first thread goes on waiting while this one listens, and crashes.
            if matches!(told(), Ok(Some(_))) {
                std::process::abort();
            }
        });
        say(is_ready.recv().map_err(io::Error::other)?)?;
        return second.join().map_err(|_| io::Error::other("the second thread panicked"));
    }
    say("here")?;
    while let Some(word) = told()? {
        if word == "crash" {
            std::process::abort();
        }
        say("still here")?;
    }
    Ok(())
}

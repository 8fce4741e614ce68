//! A process is ended by its pid, and its parent can tell.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use process::Pid;

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say, told};
use crate::demo::stage::{Stage, Taught};
use crate::demo::supervised::lives;
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "kill",
    teaches: Text {
        en: "a process is ended by its pid, and its parent sees which signal did it",
        zh: "按编号结束进程，父进程能看到是哪个信号所为",
    },
    steps: STEPS,
    teach,
    part,
};

const CONFIG: &str = r#"{
  "workers": {
    "sleeper": { "command": ["sleep", "600"], "restart": "never" },
    "other":   { "command": ["sleep", "600"] }
  }
}
"#;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Start a child that waits, and ask it to end.",
            zh: "启动一个等待中的子进程，请它结束。",
        },
        call: "$ kill -TERM {asked_pid}",
        seen: Text {
            en: "pid {asked_pid} ended by signal {asked_signal}, without an exit code.",
            zh: "编号 {asked_pid} 被信号 {asked_signal} 结束，没有退出码。",
        },
        means: Text {
            en: "kill sends a signal to a pid. TERM (15) asks: a process may catch it, and this one did not.",
            zh: "kill 向某个编号发送信号。TERM (15) 是请求：进程可以捕获它，而这个进程没有。",
        },
    },
    Step {
        does: Text {
            en: "Start another one, and kill it with -9.", zh: "再启动一个，用 -9 杀死它。"
        },
        call: "$ kill -KILL {killed_pid}",
        seen: Text {
            en: "pid {killed_pid} ended by signal {killed_signal}.",
            zh: "编号 {killed_pid} 被信号 {killed_signal} 结束。",
        },
        means: Text {
            en: "KILL (9) does not ask. It cannot be caught, so the process cannot tidy up either.",
            zh: "KILL (9) 不是请求。它无法被捕获，所以进程也来不及收拾。",
        },
    },
    Step {
        does: Text {
            en: "Let a third one end by itself with exit code 143, which is 128 + 15.",
            zh: "让第三个子进程自己以退出码 143 结束，即 128 + 15。",
        },
        call: "> std::process::exit(143)",
        seen: Text {
            en: "exit code {exit_code}, signal {exit_signal}.",
            zh: "退出码 {exit_code}，信号 {exit_signal}。",
        },
        means: Text {
            en: "a shell would show 143 both here and in the first step. The parent is told apart: an exit code, or a signal, never both.",
            zh: "在 shell 里，这一步和第一步都会显示 143。而父进程得到的是分开的：要么退出码，要么信号，绝不会两者都有。",
        },
    },
    Step {
        does: Text {
            en: "Ask whether the second one can be killed once more, now that it was waited for.",
            zh: "第二个子进程已被等待取走，此时再问能不能杀它一次。",
        },
        call: "$ kill -0 {killed_pid}",
        seen: Text { en: "the kernel answers {again}.", zh: "内核回答 {again}。" },
        means: Text {
            en: "there is no such process (ESRCH). Later the number may belong to somebody else: keep no pid beyond the wait.",
            zh: "没有这个进程 (ESRCH)。以后这个编号可能属于别人：等待之后就不要再保留编号。",
        },
    },
    Step {
        does: Text {
            en: "Let a supervisor run a worker; kill the worker by its pid, then try a pid that is not of the run.",
            zh: "让 supervisor 运行一个工作进程；按编号杀死它，再试一个不属于它的编号。",
        },
        call: "$ supervisor run lesson.json --detach\n$ supervisor kill {worker_pid} --signal KILL\n$ supervisor wait sleeper\n$ supervisor kill {foreign_pid}\n$ supervisor shutdown",
        seen: Text {
            en: "wait ends with {wait_code}, which is 128 + 9; for the foreign pid {foreign_pid} kill ends with {refused_code}, and that process lives on.",
            zh: "wait 以 {wait_code} 结束，即 128 + 9；对外来编号 {foreign_pid}，kill 以 {refused_code} 结束，那个进程仍然活着。",
        },
        means: Text {
            en: "the supervisor holds its processes by descriptors, not by numbers, so a reused pid is never hit; what is not of the run is refused unless --foreign says so.",
            zh: "supervisor 用描述符而不是编号来握住进程，所以不会误伤被重新使用的编号；不属于它的进程会被拒绝，除非写明 --foreign。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let (pid, end) = end_by(Signal::SIGTERM)?;
    stage.saw("asked_pid", pid);
    stage.saw("asked_signal", end.signal());
    stage.step(end.signal() == Some(15) && end.code().is_none())?;

    let (killed, end) = end_by(Signal::SIGKILL)?;
    stage.saw("killed_pid", killed);
    stage.saw("killed_signal", end.signal());
    stage.step(end.signal() == Some(9))?;

    let mut child = Actor::of(LESSON.name, "child", &[])?;
    child.hear()?;
    child.tell("143")?;
    let end = child.join()?;
    stage.saw("exit_code", end.code());
    stage.saw("exit_signal", end.signal());
    stage.step(end.code() == Some(143) && end.signal().is_none())?;

    // Signal 0 only asks: should the number belong to somebody else by now, nobody is hurt.
    let again = kill(Pid::from_raw(killed), None);
    stage.saw("again", again.err().map(|errno| format!("{errno:?}")));
    stage.step(again == Err(Errno::ESRCH))?;

    stage.config(CONFIG)?;
    stage.detach()?;
    let worker = stage.pid_of("sleeper")?;
    stage.saw("worker_pid", worker);
    let struck = stage.supervisor(&["kill", &worker.to_string(), "--signal", "KILL"])?;
    let waited = stage.supervisor(&["wait", "sleeper", "--timeout", "30s"])?;
    let mut foreign = Actor::of(LESSON.name, "child", &[])?;
    foreign.hear()?;
    stage.saw("foreign_pid", foreign.pid());
    let refused = stage.supervisor(&["kill", &foreign.pid().to_string()])?;
    let alive = lives(foreign.pid());
    foreign.tell("0")?;
    foreign.join()?;
    stage.saw("kill_code", struck.code);
    stage.saw("wait_code", waited.code);
    stage.saw("refused_code", refused.code);
    stage.saw("foreign_lives", alive);
    stage.supervisor(&["shutdown"])?;
    stage.step(struck.code == 0 && waited.code == 137 && refused.code == 9 && alive)
}

/// Ends a child that waits by this signal: who it was, and how it ended.
fn end_by(signal: Signal) -> io::Result<(i32, ExitStatus)> {
    let mut child = Actor::of(LESSON.name, "child", &[])?;
    child.hear()?;
    kill(Pid::from_raw(child.pid()), signal)?;
    Ok((child.pid(), child.join()?))
}

fn part(_: &str, _: &[String]) -> io::Result<()> {
    say("here")?;
    let code = told()?.and_then(|code| code.parse().ok()).unwrap_or(0);
    std::process::exit(code);
}

//! What a process has, from its birth to its last trace.

use std::fs;
use std::io;

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say, told};
use crate::demo::stage::{Stage, Taught, until};
use crate::demo::supervised::state;
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "process",
    teaches: Text {
        en: "what a process has: a pid, a parent, a state, memory, files, an end",
        zh: "进程拥有什么：编号、父进程、状态、内存、文件、结局",
    },
    steps: STEPS,
    teach,
    part,
};

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Start a child, and let it say who it is and who its parent is.",
            zh: "启动一个子进程，让它说出自己是谁、父进程是谁。",
        },
        call: "> Command::new(program).spawn()    # in the parent: pid {my_pid}\n> std::process::id(), getppid()    # in the child",
        seen: Text {
            en: "the child says pid {child_says_pid}, parent {child_says_ppid}; the parent was told pid {child_pid}.",
            zh: "子进程说：编号 {child_says_pid}，父进程 {child_says_ppid}；父进程得到的编号是 {child_pid}。",
        },
        means: Text {
            en: "every process has a number, the pid, and was started by another, its parent (ppid). Both sides see the same numbers.",
            zh: "每个进程都有一个编号 (pid)，并且由另一个进程，即父进程 (ppid) 启动。双方看到的编号一致。",
        },
    },
    Step {
        does: Text {
            en: "Look at the child from outside, while it waits for a word.",
            zh: "趁子进程在等待一句话时，从外面观察它。",
        },
        call: "$ cat /proc/{child_pid}/status; ls /proc/{child_pid}/fd; readlink /proc/{child_pid}/cwd",
        seen: Text {
            en: "state {child_state} (asleep), user {child_uid}, {child_threads} thread, {child_memory_kib} KiB of memory, {child_files} open files, folder {child_folder}.",
            zh: "状态 {child_state}（睡眠），用户 {child_uid}，{child_threads} 个线程，内存 {child_memory_kib} KiB，打开的文件 {child_files} 个，所在目录 {child_folder}。",
        },
        means: Text {
            en: "a process has its own memory, its own open files, a user, a folder, and threads that run in it. The kernel shows all of that under /proc.",
            zh: "进程有自己的内存、自己打开的文件、所属用户、当前目录，以及在其中运行的线程。内核把这一切展示在 /proc 之下。",
        },
    },
    Step {
        does: Text {
            en: "Let the child end with exit code 7, and do not ask for it yet.",
            zh: "让子进程以退出码 7 结束，但先不去取它。",
        },
        call: "> std::process::exit(7)            # in the child",
        seen: Text {
            en: "pid {child_pid} is still listed, in state {ended_state}.",
            zh: "编号 {child_pid} 仍在进程表中，状态为 {ended_state}。",
        },
        means: Text {
            en: "it is a zombie: all it had is freed, and only its number and its exit code wait for the parent.",
            zh: "它成了僵尸进程：所有资源都已释放，只剩编号和退出码在等父进程来取。",
        },
    },
    Step {
        does: Text {
            en: "Wait for the child, as every parent must.",
            zh: "等待子进程，这是每个父进程的职责。",
        },
        call: "> child.wait()",
        seen: Text {
            en: "exit code {exit_code}; pid {child_pid} is listed no more.",
            zh: "退出码 {exit_code}；编号 {child_pid} 不再出现在进程表中。",
        },
        means: Text {
            en: "waiting hands over the exit code and ends the zombie. From now on the kernel may give the same number to another process.",
            zh: "等待会取回退出码，并让僵尸消失。从此内核可以把同一个编号分配给别的进程。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let me = std::process::id().cast_signed();
    let mut child = Actor::of(LESSON.name, "child", &[])?;
    let pid = child.pid();
    let (says_pid, says_ppid) = (child.hear_number()?, child.hear_number()?);
    stage.saw("my_pid", me);
    stage.saw("child_pid", pid);
    stage.saw("child_says_pid", says_pid);
    stage.saw("child_says_ppid", says_ppid);
    stage.step(says_pid == i64::from(pid) && says_ppid == i64::from(me))?;

    let asleep = until("the child sleeps", || Ok(state(pid).filter(|state| *state == 'S')))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Option<i64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let (threads, memory) = (field("Threads"), field("VmRSS"));
    let files = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let folder = fs::read_link(format!("/proc/{pid}/cwd"))?;
    stage.saw("child_state", asleep.to_string());
    stage.saw("child_uid", field("Uid"));
    stage.saw("child_threads", threads);
    stage.saw("child_memory_kib", memory);
    stage.saw("child_files", files);
    stage.saw("child_folder", folder.to_string_lossy());
    stage.step(threads == Some(1) && memory > Some(0) && files >= 3)?;

    child.tell("end")?;
    let ended = until("the child has ended", || Ok(state(pid).filter(|state| *state == 'Z')))?;
    stage.saw("ended_state", ended.to_string());
    stage.step(true)?;

    let code = child.join()?.code();
    stage.saw("exit_code", code);
    stage.saw("listed", state(pid).is_some());
    stage.step(code == Some(7) && state(pid).is_none())
}

fn part(_: &str, _: &[String]) -> io::Result<()> {
    say(std::process::id())?;
    say(nix::unistd::getppid())?;
    told()?;
    std::process::exit(7);
}

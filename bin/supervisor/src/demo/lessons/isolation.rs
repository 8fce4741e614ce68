//! What a child changes is changed in the child.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say, told};
use crate::demo::stage::{Stage, Taught};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "isolation",
    teaches: Text {
        en: "a \"global\" that is changed in a child is not changed in the parent",
        zh: "子进程里改动的“全局变量”，在父进程里并没有改变",
    },
    steps: STEPS,
    teach,
    part,
};

static GLOBAL: AtomicI64 = AtomicI64::new(1);

const FORK: &str = "global=1; ( global=$((global + 41)); echo \"child: $global\" ); echo \"parent: $global\"";

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Change a global variable in a thread.", zh: "在一个线程里改动全局变量。"
        },
        call: "> static GLOBAL: AtomicI64 = AtomicI64::new(1);\n> thread::spawn(|| GLOBAL.fetch_add(1))",
        seen: Text {
            en: "before {before_thread}, afterwards {after_thread}.",
            zh: "之前是 {before_thread}，之后是 {after_thread}。",
        },
        means: Text {
            en: "threads share the memory of their process: what one changes, all see.",
            zh: "线程共享所在进程的内存：一个改动，大家都能看到。",
        },
    },
    Step {
        does: Text {
            en: "Change the same variable of the same program in a child process, by 41.",
            zh: "在子进程里给同一个程序的同一个变量加上 41。",
        },
        call: "> GLOBAL.fetch_add(41)             # in the child, pid {child_pid}",
        seen: Text {
            en: "the child changed it from {child_before} to {child_after}; in the parent it still is {parent_after}.",
            zh: "子进程把它从 {child_before} 改成了 {child_after}；在父进程里它仍然是 {parent_after}。",
        },
        means: Text {
            en: "the child has a memory of its own, and began with its own fresh variable: it did not even see that the thread had changed the parent's.",
            zh: "子进程有自己的内存，从一个全新的变量开始：它甚至不知道线程改过父进程的变量。",
        },
    },
    Step {
        does: Text {
            en: "The same with a child that begins as a copy of its parent (a fork, as a shell does it).",
            zh: "换成一个以父进程副本开始的子进程（fork，shell 就是这样做的）。",
        },
        call: "$ sh -c '{fork}'",
        seen: Text {
            en: "in the child {fork_child}, in the parent afterwards {fork_parent}.",
            zh: "子进程里是 {fork_child}，之后父进程里是 {fork_parent}。",
        },
        means: Text {
            en: "a forked child finds the parent's value, 1, but in a copy. What it changes in the copy stays there.",
            zh: "fork 出来的子进程能看到父进程的值 1，但那是副本。它在副本上的改动只留在副本里。",
        },
    },
    Step {
        does: Text {
            en: "Let the child send what it has, and change the parent's variable in the parent.",
            zh: "让子进程把结果发送过来，由父进程改动自己的变量。",
        },
        call: "> GLOBAL.store(child.hear())       # in the parent",
        seen: Text {
            en: "the message said {message}; in the parent it is now {parent_told}.",
            zh: "消息说的是 {message}；父进程里现在是 {parent_told}。",
        },
        means: Text {
            en: "what processes are to share must be sent (a pipe, a file, a queue) or lie in memory that was shared on purpose.",
            zh: "进程之间要共享的东西，必须发送（管道、文件、队列），或者放在特意共享的内存里。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let before = GLOBAL.load(Ordering::SeqCst);
    let thread = std::thread::spawn(|| GLOBAL.fetch_add(1, Ordering::SeqCst));
    thread.join().expect("an addition does not panic");
    let after = GLOBAL.load(Ordering::SeqCst);
    stage.saw("before_thread", before);
    stage.saw("after_thread", after);
    stage.step(before == 1 && after == 2)?;

    let mut child = Actor::of(LESSON.name, "child", &[])?;
    let (child_before, child_after) = (child.hear_number()?, child.hear_number()?);
    let parent_after = GLOBAL.load(Ordering::SeqCst);
    stage.saw("child_pid", child.pid());
    stage.saw("child_before", child_before);
    stage.saw("child_after", child_after);
    stage.saw("parent_after", parent_after);
    stage.step(child_before == 1 && child_after == 42 && parent_after == after)?;

    let output = stage.command("sh").args(["-c", FORK]).output()?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    stage.printed(&output);
    let of = |who: &str| output.lines().find_map(|line| line.strip_prefix(who)?.parse::<i64>().ok());
    let (fork_child, fork_parent) = (of("child: "), of("parent: "));
    stage.saw("fork", FORK);
    stage.saw("fork_child", fork_child);
    stage.saw("fork_parent", fork_parent);
    stage.step(fork_child == Some(42) && fork_parent == Some(1))?;

    child.tell("send it")?;
    let message = child.hear_number()?;
    child.join()?;
    GLOBAL.store(message, Ordering::SeqCst);
    stage.saw("message", message);
    stage.saw("parent_told", GLOBAL.load(Ordering::SeqCst));
    stage.step(message == 42)
}

fn part(_: &str, _: &[String]) -> io::Result<()> {
    say(GLOBAL.fetch_add(41, Ordering::SeqCst))?;
    say(GLOBAL.load(Ordering::SeqCst))?;
    told()?;
    say(GLOBAL.load(Ordering::SeqCst))
}

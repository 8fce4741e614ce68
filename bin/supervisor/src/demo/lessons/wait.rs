//! A parent waits for all its children.

use std::io;

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say, told};
use crate::demo::stage::{Stage, Taught, until};
use crate::demo::supervised::{CONFIG as FILE, state};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "wait",
    teaches: Text {
        en: "a parent waits for all its children, in whatever order they end",
        zh: "父进程等待所有子进程，不论它们以什么顺序结束",
    },
    steps: STEPS,
    teach,
    part,
};

const WELL: &str = r#"{
  "workers": {
    "quick": { "command": "sleep 0.1; echo quick >> ended" },
    "slow":  { "command": "sleep 0.5; echo slow >> ended" },
    "last":  { "command": "until [ $(wc -l < ended) = 2 ]; do sleep 0.05; done 2> /dev/null; echo last >> ended" }
  }
}
"#;

const BADLY: &str = r#"{
  "workers": {
    "good": { "command": "exit 0" },
    "bad":  { "command": "exit 3", "restart": "never" }
  }
}
"#;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Start three children and let the third end first, then the second, then the first.",
            zh: "启动三个子进程，让第三个最先结束，然后第二个，最后第一个。",
        },
        call: "> Command::new(program).spawn()  # three times: pids {pids}",
        seen: Text {
            en: "they ended in the order {ended}, and all three are zombies: states {states}.",
            zh: "它们按 {ended} 的顺序结束，三个都成了僵尸：状态 {states}。",
        },
        means: Text {
            en: "children end when they like. Their exit codes stay until the parent asks for them.",
            zh: "子进程想什么时候结束就什么时候结束。退出码会保留，直到父进程来取。",
        },
    },
    Step {
        does: Text {
            en: "Wait for each, in the order of their starts.", zh: "按启动的顺序逐个等待。"
        },
        call: "> for child in children { child.wait() }",
        seen: Text {
            en: "exit codes {codes}; of the three pids {remaining} are left.",
            zh: "退出码 {codes}；三个编号中还剩 {remaining} 个。",
        },
        means: Text {
            en: "to wait for all it is enough to wait for each: the order does not matter, and nothing is lost when one has ended before.",
            zh: "要等待全部，逐个等待就够了：顺序无关紧要，先结束的也不会丢失任何东西。",
        },
    },
    Step {
        does: Text {
            en: "Let a supervisor run three workers (policy wait, the default) that take different times.",
            zh: "让 supervisor 运行三个用时不同的工作进程（策略 wait，即默认值）。",
        },
        call: "$ supervisor run lesson.json; cat ended",
        seen: Text {
            en: "when run came back with {run_code}, these had ended: {ended_workers}.",
            zh: "run 以 {run_code} 返回时，已经结束的有：{ended_workers}。",
        },
        means: Text {
            en: "the run is done when the last worker is. Nobody was cut short.",
            zh: "最后一个工作进程结束，整个运行才算完成。没有谁被中途打断。",
        },
    },
    Step {
        does: Text {
            en: "Run two workers of which one fails with 3.",
            zh: "运行两个工作进程，其中一个以 3 失败。",
        },
        call: "$ supervisor run lesson.json; echo $?",
        seen: Text { en: "run ended with {failed_code}.", zh: "run 以 {failed_code} 结束。" },
        means: Text {
            en: "who waits also learns how it went: the run passes on the exit code of the first that failed.",
            zh: "等待者也会知道结果如何：run 会传出第一个失败者的退出码。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let mut children = Vec::new();
    for code in 1..=3 {
        children.push(Actor::of(LESSON.name, "child", &[&code.to_string()])?);
    }
    let pids: Vec<i32> = children.iter().map(Actor::pid).collect();
    let mut ended = Vec::new();
    for (index, child) in children.iter_mut().enumerate().rev() {
        child.tell("end")?;
        until("the child has ended", || Ok(state(pids[index]).filter(|state| *state == 'Z')))?;
        ended.push(pids[index]);
    }
    let states: Vec<String> = pids.iter().filter_map(|pid| state(*pid)).map(String::from).collect();
    let order_is_reversed = ended.iter().rev().eq(&pids);
    stage.saw("pids", pids.clone());
    stage.saw("ended", ended);
    stage.saw("states", states.clone());
    stage.step(order_is_reversed && states == ["Z", "Z", "Z"])?;

    let mut codes = Vec::new();
    for child in &mut children {
        codes.push(child.join()?.code());
    }
    let remaining = pids.iter().filter(|pid| state(**pid).is_some()).count();
    stage.saw("codes", codes.iter().copied().flatten().collect::<Vec<i32>>());
    stage.saw("remaining", remaining);
    stage.step(codes == [Some(1), Some(2), Some(3)] && remaining == 0)?;

    stage.config(WELL)?;
    let run = stage.supervisor(&["run", FILE])?;
    let ended = std::fs::read_to_string(stage.folder().join("ended")).unwrap_or_default();
    let mut ended: Vec<&str> = ended.lines().collect();
    stage.saw("run_code", run.code);
    stage.saw("ended_workers", ended.clone());
    ended.sort_unstable();
    stage.step(run.code == 0 && ended == ["last", "quick", "slow"])?;

    stage.config(BADLY)?;
    let run = stage.supervisor(&["run", FILE])?;
    stage.saw("failed_code", run.code);
    stage.step(run.code == 3)
}

/// Ends with the code it was given, when it is told to.
fn part(_: &str, arguments: &[String]) -> io::Result<()> {
    say("here")?;
    told()?;
    std::process::exit(arguments.first().and_then(|code| code.parse().ok()).unwrap_or(0));
}

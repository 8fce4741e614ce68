//! Asking a queue how it is, and not waiting for it.

use std::io;

use ipc::{Queue, QueueOptions, TryPutError};

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say, told};
use crate::demo::stage::{Stage, Taught};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "full-and-empty",
    teaches: Text {
        en: "not waiting for a queue: nowait refuses; full, empty and len answer",
        zh: "不等待队列：nowait 会拒绝；full、empty、len 会回答",
    },
    steps: STEPS,
    teach,
    part,
};

const CONFIG: &str = r#"{
  "queues": { "jobs": { "capacity": 2 } },
  "workers": { "idle": { "command": ["sleep", "600"], "policy": "daemon" } }
}
"#;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Run a supervisor with a queue of two places, and ask the queue.",
            zh: "运行一个带有两个位置队列的 supervisor，然后询问队列。",
        },
        call: "$ supervisor run lesson.json --detach\n$ supervisor queue len jobs\n$ supervisor queue empty jobs; echo $?\n$ supervisor queue full jobs; echo $?",
        seen: Text {
            en: "length {new_len}; empty ends with {new_empty}, full with {new_full}.",
            zh: "长度 {new_len}；empty 以 {new_empty} 结束，full 以 {new_full} 结束。",
        },
        means: Text {
            en: "0 is yes and 1 is no, as scripts like it: supervisor queue empty jobs && echo idle.",
            zh: "0 表示是，1 表示否，正合脚本的习惯：supervisor queue empty jobs && echo idle。",
        },
    },
    Step {
        does: Text { en: "Put two messages and ask again.", zh: "放入两条消息，再次询问。" },
        call: "$ supervisor queue put jobs one; supervisor queue put jobs two\n$ supervisor queue full jobs; echo $?",
        seen: Text {
            en: "length {full_len}; empty ends with {full_empty}, full with {full_full}.",
            zh: "长度 {full_len}；empty 以 {full_empty} 结束，full 以 {full_full} 结束。",
        },
        means: Text {
            en: "two of two places are taken: the next put would wait.",
            zh: "两个位置都占用了：下一次放入就得等待。",
        },
    },
    Step {
        does: Text {
            en: "Put a third message without waiting, and then with little patience.",
            zh: "不等待地放入第三条消息，然后只等一小会儿。",
        },
        call: "$ supervisor queue put jobs three --nowait; echo $?\n$ supervisor queue put jobs three --timeout 100ms; echo $?",
        seen: Text {
            en: "the first ends with {nowait_code}, the second with {timeout_code}; length still {len_after_refusal}.",
            zh: "前者以 {nowait_code} 结束，后者以 {timeout_code} 结束；长度仍是 {len_after_refusal}。",
        },
        means: Text {
            en: "6 says: it would block; 7: it timed out. What was refused is not in the queue.",
            zh: "6 表示会阻塞；7 表示超时。被拒绝的消息不在队列里。",
        },
    },
    Step {
        does: Text {
            en: "Take both messages, and then one more without waiting.",
            zh: "取出两条消息，然后不等待地再取一条。",
        },
        call: "$ supervisor queue get jobs --lines -n 2\n$ supervisor queue get jobs --nowait; echo $?",
        seen: Text {
            en: "got {got}; then it ends with {empty_code}.",
            zh: "取到 {got}；之后以 {empty_code} 结束。",
        },
        means: Text {
            en: "an empty queue refuses a get that does not wait, with the same 6.",
            zh: "空队列拒绝不等待的取出，同样是 6。",
        },
    },
    Step {
        does: Text {
            en: "Ask whether a queue is full; then let another process put, and act on the old answer.",
            zh: "先问队列是否已满；然后让另一个进程放入，再按旧的回答行事。",
        },
        call: "> queue.is_full()\n> queue.put(\"other\")              # in the child, pid {child_pid}\n> queue.try_put(\"mine\")",
        seen: Text {
            en: "full: {asked_full}; after the child's put, try_put is refused: {refusal}.",
            zh: "已满：{asked_full}；子进程放入之后，try_put 被拒绝：{refusal}。",
        },
        means: Text {
            en: "full(), empty() and len() tell how it was. Between the answer and the act others act too: try, and look at what the try says.",
            zh: "full()、empty()、len() 说的是刚才的情形。在回答与行动之间，别人也会行动：直接去试，再看结果。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    stage.config(CONFIG)?;
    stage.detach()?;
    let ask = |stage: &Stage, verb: &str| stage.supervisor(&["queue", verb, "jobs"]);
    let asked = ["len", "empty", "full"];
    for (state, expected) in [("new", ["0", "0", "1"]), ("full", ["2", "1", "0"])] {
        if state == "full" {
            stage.supervisor(&["queue", "put", "jobs", "one"])?;
            stage.supervisor(&["queue", "put", "jobs", "two"])?;
        }
        let mut answers = Vec::new();
        for verb in asked {
            let answer = ask(stage, verb)?;
            let said = if verb == "len" { answer.out.trim().to_owned() } else { answer.code.to_string() };
            stage.saw(&format!("{state}_{verb}"), said.clone());
            answers.push(said);
        }
        stage.step(answers == expected)?;
    }

    let nowait = stage.supervisor(&["queue", "put", "jobs", "three", "--nowait"])?;
    let timeout = stage.supervisor(&["queue", "put", "jobs", "three", "--timeout", "100ms"])?;
    let length = ask(stage, "len")?.out.trim().to_owned();
    stage.saw("nowait_code", nowait.code);
    stage.saw("timeout_code", timeout.code);
    stage.saw("len_after_refusal", length.clone());
    stage.step(nowait.code == 6 && timeout.code == 7 && length == "2")?;

    let got = stage.supervisor(&["queue", "get", "jobs", "--lines", "-n", "2"])?.out;
    let got: Vec<&str> = got.lines().collect();
    let empty = stage.supervisor(&["queue", "get", "jobs", "--nowait"])?;
    stage.supervisor(&["shutdown"])?;
    stage.saw("got", got.clone());
    stage.saw("empty_code", empty.code);
    stage.step(got == ["one", "two"] && empty.code == 6)?;

    let options = QueueOptions { capacity: Some(1), max_message: 1024, ..Default::default() };
    let queue = Queue::create_anonymous("jobs", &options).map_err(io::Error::other)?;
    let mut child = Actor::of(LESSON.name, "child", &[&queue.descriptor_path().to_string_lossy()])?;
    let full = queue.is_full();
    child.tell("put")?;
    child.hear()?;
    let refused = queue.try_put(b"mine");
    child.join()?;
    stage.saw("child_pid", child.pid());
    stage.saw("asked_full", full);
    stage.saw("refusal", refused.map_or_else(|error| error.to_string(), |()| "-".to_owned()));
    stage.step(!full && refused == Err(TryPutError::Full))
}

fn part(_: &str, arguments: &[String]) -> io::Result<()> {
    let queue = Queue::open(arguments.first().map_or("", String::as_str)).map_err(io::Error::other)?;
    told()?;
    queue.put(b"other").map_err(io::Error::other)?;
    say("put")
}

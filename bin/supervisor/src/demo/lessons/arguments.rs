//! What a parent can give a child on its way.

use std::io;

use serde_json::json;

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say};
use crate::demo::stage::{Stage, Taught};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "arguments",
    teaches: Text {
        en: "what a child is given: positional and named arguments, args and kwargs",
        zh: "子进程得到什么：位置参数与命名参数，args 与 kwargs",
    },
    steps: STEPS,
    teach,
    part,
};

/// What is hard to hand down through a shell, and easy without one.
const WORDS: [&str; 3] = ["two words", "$HOME", "it's"];

const CONFIG: &str = r#"{
  "workers": {
    "greeter": {
      "command": "echo \"$SUPERVISOR_ARGS $SUPERVISOR_KWARGS\" > given.txt",
      "args": [1, "x", [true, null]],
      "kwargs": { "name": "zax", "age": 10 }
    }
  }
}
"#;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Start a child with three arguments by position: {given}.",
            zh: "启动一个子进程，按位置给出三个参数：{given}。",
        },
        call: "> Command::new(program).args([\"two words\", \"$HOME\", \"it's\"]).spawn()",
        seen: Text {
            en: "the child counts {count}: {received}.", zh: "子进程数到 {count} 个：{received}。"
        },
        means: Text {
            en: "arguments are a list of strings. No shell stands between: blanks, dollars and quotes arrive as they are.",
            zh: "参数是一列字符串。中间没有 shell：空格、美元符号和引号都原样到达。",
        },
    },
    Step {
        does: Text {
            en: "Start a child with an argument by name, in its environment.",
            zh: "启动一个子进程，通过环境变量按名字给出一个参数。",
        },
        call: "> Command::new(program).env(\"LESSON_NAME\", \"zax\").spawn()",
        seen: Text {
            en: "the child finds {env_in_child}; in the parent it is {env_in_parent}.",
            zh: "子进程读到 {env_in_child}；在父进程中则是 {env_in_parent}。",
        },
        means: Text {
            en: "the environment is a list of names and strings that a child inherits. What is set for one child is set for nobody else.",
            zh: "环境变量是子进程继承的一列名字和字符串。为某个子进程设置的，别人看不到。",
        },
    },
    Step {
        does: Text {
            en: "Give a worker args and kwargs in a config, with numbers and lists in them.",
            zh: "在配置里给工作进程 args 和 kwargs，其中含有数字和列表。",
        },
        call: "$ supervisor run lesson.json; cat given.txt",
        seen: Text {
            en: "args {args}, kwargs {kwargs}; the name is {name} and the age, plus one, {age_plus_one}.",
            zh: "args 为 {args}，kwargs 为 {kwargs}；名字是 {name}，年龄加一是 {age_plus_one}。",
        },
        means: Text {
            en: "a supervisor hands both down as JSON, so that they keep their types: positional ones in $SUPERVISOR_ARGS, named ones in $SUPERVISOR_KWARGS. In Rust: worker::join()?.args::<T>() and .kwargs::<T>().",
            zh: "supervisor 以 JSON 传递两者，因此类型得以保留：位置参数在 $SUPERVISOR_ARGS 中，命名参数在 $SUPERVISOR_KWARGS 中。在 Rust 里用 worker::join()?.args::<T>() 和 .kwargs::<T>()。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let mut child = Actor::of(LESSON.name, "positional", &WORDS)?;
    let mut received = Vec::new();
    while let Some(word) = child.listen()? {
        received.push(word);
    }
    child.join()?;
    stage.saw("given", WORDS.to_vec());
    stage.saw("count", received.len());
    stage.saw("received", received.clone());
    stage.step(received == WORDS)?;

    let mut command = stage.command(std::env::current_exe()?);
    command.args([crate::demo::PART, LESSON.name, "named"]).env("LESSON_NAME", "zax");
    let mut child = Actor::start(command)?;
    let found = child.hear()?;
    child.join()?;
    let own = std::env::var("LESSON_NAME").unwrap_or_else(|_| "-".to_owned());
    stage.saw("env_in_child", found.clone());
    stage.saw("env_in_parent", own.clone());
    stage.step(found == "zax" && own != found)?;

    stage.config(CONFIG)?;
    let answer = stage.supervisor(&["run", crate::demo::supervised::CONFIG])?;
    let given = std::fs::read_to_string(stage.folder().join("given.txt")).unwrap_or_default();
    stage.printed(&given);
    let mut values = serde_json::Deserializer::from_str(&given).into_iter::<serde_json::Value>();
    let mut next = || values.next().and_then(Result::ok).unwrap_or_default();
    let (args, kwargs) = (next(), next());
    let age = kwargs["age"].as_i64().map(|age| age + 1);
    stage.saw("run_exit_code", answer.code);
    stage.saw("name", kwargs["name"].clone());
    stage.saw("age_plus_one", age);
    stage.saw("args", args.to_string());
    stage.saw("kwargs", kwargs.to_string());
    let as_given = args == json!([1, "x", [true, null]]) && kwargs == json!({"name": "zax", "age": 10});
    stage.step(answer.code == 0 && as_given && age == Some(11))
}

fn part(part: &str, words: &[String]) -> io::Result<()> {
    if part == "named" {
        return say(std::env::var("LESSON_NAME").unwrap_or_default());
    }
    words.iter().try_for_each(say)
}

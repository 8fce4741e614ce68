//! Asked first, killed if deaf.

use std::time::Instant;

use serde_json::Value;

use crate::demo::Lesson;
use crate::demo::no_parts;
use crate::demo::stage::{Stage, Taught};
use crate::demo::supervised::{CONFIG as FILE, lives};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "terminate",
    teaches: Text {
        en: "a process is asked to end, and killed if it is deaf",
        zh: "先请进程结束，装聋作哑的再杀死",
    },
    steps: STEPS,
    teach,
    part: no_parts,
};

/// How long the deaf one has, as the config says.
const GRACE_MS: u128 = 300;

const ASKED: &str = r#"{
  "workers": {
    "polite": {
      "command": "trap 'echo bye > farewell; exit 0' TERM; touch polite.up; while :; do sleep 1 & wait; done",
      "stop": { "grace": "30s" }
    },
    "deaf": {
      "command": "trap '' TERM; touch deaf.up; while :; do sleep 1; done",
      "stop": { "grace": "300ms" }
    }
  }
}
"#;

const POLICY: &str = r#"{
  "workers": {
    "helper": {
      "command": "trap 'echo stopped > helped; exit 0' TERM; touch helper.up; while :; do sleep 1 & wait; done",
      "policy": "terminate"
    },
    "work": { "command": "until [ -e helper.up ]; do sleep 0.05; done", "after": { "helper": "started" } }
  }
}
"#;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Run two workers: one does as TERM asks, the other ignores it.",
            zh: "运行两个工作进程：一个听从 TERM 的请求，另一个不理会。",
        },
        call: "$ supervisor run lesson.json --detach",
        seen: Text {
            en: "both are up: polite is pid {polite_pid}, deaf is pid {deaf_pid}.",
            zh: "两者都已启动：polite 编号 {polite_pid}，deaf 编号 {deaf_pid}。",
        },
        means: Text {
            en: "a process may catch TERM to tidy up, and may also ignore it; trap does either in a shell.",
            zh: "进程可以捕获 TERM 来做收尾，也可以忽略它；在 shell 里两者都用 trap。",
        },
    },
    Step {
        does: Text { en: "Stop the polite one.", zh: "停止听话的那个。" },
        call: "$ supervisor stop polite; cat farewell",
        seen: Text {
            en: "it wrote {farewell} and ended with exit code {polite_exit}, long before its grace of 30s was over.",
            zh: "它写下 {farewell}，以退出码 {polite_exit} 结束，远在 30 秒宽限期之前。",
        },
        means: Text {
            en: "it was asked, tidied up, and went. Nobody had to use force.",
            zh: "它被请求、做了收尾、然后离开。没有人需要动用武力。",
        },
    },
    Step {
        does: Text {
            en: "Stop the deaf one, which has a grace of 300 ms.",
            zh: "停止装聋的那个，它的宽限期是 300 毫秒。",
        },
        call: "$ supervisor stop deaf; supervisor status deaf",
        seen: Text {
            en: "after {deaf_ms} ms it had ended by signal {deaf_signal}, and pid {deaf_pid} is gone.",
            zh: "{deaf_ms} 毫秒后它被信号 {deaf_signal} 结束，编号 {deaf_pid} 已消失。",
        },
        means: Text {
            en: "it was asked as well; when the grace was over KILL (9) came, which nobody can ignore. So a stop always comes to an end.",
            zh: "它同样先被请求；宽限期一过，KILL (9) 就到了，谁也无法忽略。因此停止总有尽头。",
        },
    },
    Step {
        does: Text {
            en: "Run a helper of policy terminate beside a worker that ends by itself.",
            zh: "让一个策略为 terminate 的助手，与一个会自己结束的工作进程一起运行。",
        },
        call: "$ supervisor run lesson.json; cat helped",
        seen: Text {
            en: "the work ended, the helper wrote {helped}, and the run ended with {run_code}.",
            zh: "工作结束后，助手写下 {helped}，整个运行以 {run_code} 结束。",
        },
        means: Text {
            en: "a worker of policy terminate is not waited for: when the work is done it is asked to end, and killed if deaf.",
            zh: "策略为 terminate 的工作进程不会被等待：工作一完成就请它结束，装聋的则杀死。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    stage.config(ASKED)?;
    stage.detach()?;
    stage.until_file("polite.up")?;
    stage.until_file("deaf.up")?;
    let (polite, deaf) = (stage.pid_of("polite")?, stage.pid_of("deaf")?);
    stage.saw("polite_pid", polite);
    stage.saw("deaf_pid", deaf);
    stage.step(lives(polite) && lives(deaf))?;

    let code = stage.supervisor(&["stop", "polite"])?.code;
    let farewell = written(stage, "farewell");
    let exit = stage.status("polite")?["exit"].take();
    stage.saw("stop_code", code);
    stage.saw("farewell", farewell.clone());
    stage.saw("polite_exit", exit["code"].clone());
    stage.step(code == 0 && farewell == "bye" && exit["code"] == 0 && !lives(polite))?;

    let asked = Instant::now();
    let code = stage.supervisor(&["stop", "deaf"])?.code;
    let waited = asked.elapsed().as_millis();
    let status = stage.supervisor(&["status", "deaf"])?;
    stage.printed(&status.out);
    let exit: Value = stage.status("deaf")?["exit"].take();
    stage.supervisor(&["shutdown"])?;
    stage.saw("stop_deaf_code", code);
    stage.saw("deaf_ms", u64::try_from(waited).ok());
    stage.saw("deaf_signal", exit["signal"].clone());
    stage.step(code == 0 && exit["signal"] == 9 && waited >= GRACE_MS && !lives(deaf))?;

    stage.config(POLICY)?;
    let run = stage.supervisor(&["run", FILE])?;
    let helped = written(stage, "helped");
    stage.saw("helped", helped.clone());
    stage.saw("run_code", run.code);
    stage.step(run.code == 0 && helped == "stopped")
}

fn written(stage: &Stage, file: &str) -> String {
    std::fs::read_to_string(stage.folder().join(file)).unwrap_or_default().trim().to_owned()
}

//! Messages through a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say, told};
use crate::demo::stage::{Stage, Taught};
use crate::demo::supervised::lives;
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "files",
    teaches: Text {
        en: "messages through a file: simple and lasting, but nobody waits and nobody is told",
        zh: "通过文件传消息：简单而持久，但没人等待，也没人通知",
    },
    steps: STEPS,
    teach,
    part,
};

const MESSAGE: &str = "a message in two halves";
const LINES: usize = 400;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "A child writes a message to a file and ends; then the parent reads it.",
            zh: "子进程把消息写进文件然后结束；之后父进程读取。",
        },
        call: "> fs::write(\"mail\", message)       # in the child, pid {writer_pid}\n> fs::read(\"mail\")                 # in the parent",
        seen: Text {
            en: "the writer is gone (code {writer_code}); the parent reads: {read}.",
            zh: "写的进程已经离开（退出码 {writer_code}）；父进程读到：{read}。",
        },
        means: Text {
            en: "a file belongs to no process. The message outlives its writer, and any program can read it.",
            zh: "文件不属于任何进程。消息比写它的进程活得更久，任何程序都能读取。",
        },
    },
    Step {
        does: Text {
            en: "Look into the file while the writer is in the middle of a message of {whole_length} bytes.",
            zh: "在写的进程写到一半时查看文件，整条消息有 {whole_length} 字节。",
        },
        call: "> file.write(first_half)           # in the child\n> fs::read(\"mail\")                 # in the parent\n> file.write(second_half)          # in the child",
        seen: Text {
            en: "the parent reads {half_length} bytes: {half}.",
            zh: "父进程读到 {half_length} 字节：{half}。",
        },
        means: Text {
            en: "a reader sees whatever is there at the moment. A file does not know where a message ends.",
            zh: "读者看到的只是那一刻已有的内容。文件并不知道一条消息在哪里结束。",
        },
    },
    Step {
        does: Text {
            en: "Write under another name, and rename when it is whole.",
            zh: "先用别的名字写，完整之后再改名。",
        },
        call: "> fs::write(\"mail.new\", message); fs::rename(\"mail.new\", \"mail\")",
        seen: Text {
            en: "before the rename the parent finds {before_rename}, after it: {after_rename}.",
            zh: "改名之前父进程找到：{before_rename}；之后：{after_rename}。",
        },
        means: Text {
            en: "a rename is one step for everybody: the message is there as a whole or not at all.",
            zh: "改名对所有人来说只是一步：消息要么完整存在，要么根本不存在。",
        },
    },
    Step {
        does: Text {
            en: "Two children append 400 lines each to one file, at the same time.",
            zh: "两个子进程同时向一个文件各追加 400 行。",
        },
        call: "> OpenOptions::new().append(true)  # each line in one write",
        seen: Text {
            en: "{lines} lines, {whole_lines} of them whole; from the first child {from_first}, from the second {from_second}.",
            zh: "{lines} 行，其中完整的 {whole_lines} 行；第一个子进程 {from_first} 行，第二个 {from_second} 行。",
        },
        means: Text {
            en: "appending is safe line by line. But who reads must look again and again: a file wakes nobody, never says full, and hands the same line to every reader. That is what queues are for.",
            zh: "逐行追加是安全的。但读者必须一再查看：文件不会唤醒谁，从不说已满，还会把同一行交给每个读者。队列正是为此而生。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let mail = stage.folder().join("mail");
    let folder = stage.folder().to_string_lossy().into_owned();
    let read = || fs::read_to_string(&mail).unwrap_or_else(|_| "-".to_owned());

    let mut writer = Actor::of(LESSON.name, "write", &[&folder])?;
    let code = writer.join()?.code();
    stage.saw("writer_pid", writer.pid());
    stage.saw("writer_code", code);
    stage.saw("read", read());
    stage.step(code == Some(0) && !lives(writer.pid()) && read() == MESSAGE)?;

    let mut writer = Actor::of(LESSON.name, "halves", &[&folder])?;
    writer.hear()?;
    let half = read();
    writer.tell("go on")?;
    writer.join()?;
    stage.saw("whole_length", MESSAGE.len());
    stage.saw("half_length", half.len());
    stage.saw("half", half.clone());
    stage.step(half.len() < MESSAGE.len() && MESSAGE.starts_with(&half) && read() == MESSAGE)?;

    fs::remove_file(&mail)?;
    let mut writer = Actor::of(LESSON.name, "rename", &[&folder])?;
    writer.hear()?;
    let (new, before) = (stage.folder().join("mail.new").exists(), read());
    writer.tell("go on")?;
    writer.join()?;
    stage.saw("unfinished_is_there", new);
    stage.saw("before_rename", before.clone());
    stage.saw("after_rename", read());
    stage.step(new && before == "-" && read() == MESSAGE)?;

    let mut writers = Vec::new();
    for name in ["first", "second"] {
        writers.push(Actor::of(LESSON.name, "append", &[&folder, name])?);
    }
    for writer in &mut writers {
        writer.hear()?;
    }
    for writer in &mut writers {
        writer.tell("go")?;
    }
    for writer in &mut writers {
        writer.join()?;
    }
    let all = fs::read_to_string(stage.folder().join("log"))?;
    let of = |name: &str| {
        let expected = (0..LINES).map(|number| format!("{name} {number}"));
        // In their order, whatever of the other one stands between them.
        all.lines()
            .filter(|line| line.starts_with(name))
            .zip(expected)
            .filter(|(line, due)| line == due)
            .count()
    };
    let (first, second, lines) = (of("first"), of("second"), all.lines().count());
    stage.saw("lines", lines);
    stage.saw("whole_lines", first + second);
    stage.saw("from_first", first);
    stage.saw("from_second", second);
    stage.step(lines == 2 * LINES && first == LINES && second == LINES)
}

fn part(part: &str, arguments: &[String]) -> io::Result<()> {
    let folder = Path::new(arguments.first().map_or(".", String::as_str));
    let (mail, new) = (folder.join("mail"), folder.join("mail.new"));
    let (first_half, second_half) = MESSAGE.split_at(MESSAGE.len() / 2);
    match part {
        "halves" => {
            let mut file = File::create(mail)?;
            file.write_all(first_half.as_bytes())?;
            say("half")?;
            told()?;
            file.write_all(second_half.as_bytes())
        }
        "rename" => {
            fs::write(&new, MESSAGE)?;
            say("written")?;
            told()?;
            fs::rename(new, mail)
        }
        "append" => {
            let mut file = OpenOptions::new().append(true).create(true).open(folder.join("log"))?;
            say("ready")?;
            told()?;
            let name = arguments.get(1).map_or("", String::as_str);
            (0..LINES).try_for_each(|number| file.write_all(format!("{name} {number}\n").as_bytes()))
        }
        _ => fs::write(mail, MESSAGE),
    }
}

//! The main job: words counted through bounded queues are the words that coreutils count, whoever dies meanwhile.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use nix::sys::stat::Mode;
use serde_json::{Value, json};
use tests::{Nursery, Run, Said, Sandbox, skipped, stays, until};

/// One reader, so many counters, one collector, through queues of capacity 5.
fn wordcount(text: &str, counters: u32, chunk: u32) -> Value {
    json!({
        "name": "wordcount",
        "queues": { "chunks": { "capacity": 5 }, "counts": { "capacity": 5 } },
        "workers": {
            "reader": {
                "command": ["worker-reader", "--to", "chunks", "--chunk", chunk.to_string(), text],
                "queues": { "put": ["chunks"] }, "restart": "never", "on_failed": "stop",
            },
            "counter": {
                "command": ["worker-counter", "--from", "chunks", "--to", "counts"],
                "instances": counters,
                "queues": { "get": ["chunks"], "put": ["counts"] },
                "backoff": { "initial": 0 }, "intensity": { "restarts": 100_000, "within": "1s" },
            },
            "collector": {
                "command": ["worker-collector", "--from", "counts", "--output", "counts.txt"],
                "queues": { "get": ["counts"] }, "restart": "never", "on_failed": "stop",
            },
        },
    })
}

/// What coreutils count in all files below `text`.
fn coreutils(sandbox: &Sandbox, text: &str) -> String {
    let script = r#"
        find "$1" -type f -not -name '.*' -exec sh -c 'for file; do cat "$file"; echo; done' sh {} + |
        tr -cs 'A-Za-z' '\n' | tr 'A-Z' 'a-z' | grep . | sort | uniq -c |
        sed 's/^ *//' | sort -k1,1nr -k2,2"#;
    let mut command = Command::new("sh");
    command.current_dir(sandbox.path()).env("LC_ALL", "C").args(["-c", script, "sh", text]);
    Said::of(&mut command).ends_with(0).out
}

/// Text of so many words, always the same, with lines of many lengths.
fn prose(words: u32) -> String {
    let mut text = String::new();
    let mut state = 12_345_u64;
    for number in 0..words {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = (state >> 33) % 500;
        let letter = |at: u64| char::from(b"abcdefghijklmnopqrstuvwxyz"[(at % 26) as usize]);
        text.push(if number % 7 == 0 { letter(pick).to_ascii_uppercase() } else { letter(pick) });
        text.push(letter(pick / 26));
        text.push(letter(pick * 7));
        text.push_str(match state >> 59 {
            0 => ",\n",
            1 => "-",
            2 => " 42 ",
            _ => " ",
        });
    }
    text
}

#[track_caller]
fn assert_same(sandbox: &Sandbox, run: &Run, expected: &str) {
    let counted = sandbox.read("counts.txt");
    assert!(!expected.is_empty(), "coreutils counted nothing");
    assert!(counted == expected, "other counts than coreutils; it said: {}", run.err());
}

#[test]
fn words_counted_through_queues_of_five_are_what_coreutils_count() {
    let sandbox = Sandbox::new();
    sandbox.write("text", prose(60_000));
    let (code, run) = sandbox.run_to_its_end(&wordcount("text", 3, 2_000));
    assert_eq!(code, 0, "{}", run.err());
    assert_same(&sandbox, &run, &coreutils(&sandbox, "text"));
}

#[test]
fn many_counters_count_the_same() {
    let sandbox = Sandbox::new();
    sandbox.write("text", prose(30_000));
    let (code, run) = sandbox.run_to_its_end(&wordcount("text", 12, 1_000));
    assert_eq!(code, 0, "{}", run.err());
    assert_same(&sandbox, &run, &coreutils(&sandbox, "text"));
}

#[test]
fn odd_files_are_counted_like_any_other() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("text/deep/er");
    fs::create_dir_all(&folder).unwrap();
    sandbox.write("text/empty", "");
    sandbox.write("text/deep/empty too", "");
    sandbox.write("text/no newline at the end", "the last word has no NEWLINE");
    sandbox.write("text/only newlines", "\n\n\n\n");
    sandbox.write("text/one long line", "word ".repeat(50_000));
    let bytes: Vec<u8> =
        (0..200_000_u32).map(|number| (u64::from(number) * u64::from(number) / 7) as u8).collect();
    sandbox.write("text/deep/er/bytes of all kinds", bytes);
    sandbox.write("text/.hidden", "this is not read");
    let (code, run) = sandbox.run_to_its_end(&wordcount("text", 2, 1_000));
    assert_eq!(code, 0, "{}", run.err());
    assert_same(&sandbox, &run, &coreutils(&sandbox, "text"));
}

#[test]
fn a_text_without_a_word_gives_an_empty_count() {
    let sandbox = Sandbox::new();
    sandbox.write("text", "");
    let (code, run) = sandbox.run_to_its_end(&wordcount("text", 2, 1_000));
    assert_eq!(code, 0, "{}", run.err());
    assert!(sandbox.has("counts.txt"));
    assert_eq!(sandbox.read("counts.txt"), "");
}

#[test]
fn a_missing_text_ends_the_run_with_the_readers_code() {
    let sandbox = Sandbox::new();
    let (code, run) = sandbox.run_to_its_end(&wordcount("nothing-there", 2, 1_000));
    assert_eq!(code, 1, "{}", run.err());
    assert!(run.out().contains("nothing-there"), "{}", run.out());
}

/// Which counter dies next, and how.
#[derive(Clone, Copy, Debug)]
enum Blow {
    ByPid,
    ByCommand,
}

#[test]
fn counters_killed_with_9_at_random_change_no_count() {
    let sandbox = Sandbox::new();
    let whole = prose(100_000);
    sandbox.write("whole", &whole);
    // Fed by hand, so that the work lasts until the last blow has fallen.
    let pipe = sandbox.path().join("text");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let mut run = Run::start(&sandbox, &wordcount("text", 4, 1_000), &[]);
    let mut feed = File::options().write(true).open(&pipe).unwrap();
    let mut killed = 0;
    for (number, piece) in whole.as_bytes().chunks(whole.len() / 24 + 1).enumerate() {
        feed.write_all(piece).unwrap();
        let blow = if number % 2 == 0 { Blow::ByPid } else { Blow::ByCommand };
        killed += u32::from(kill_one(&sandbox, &run, number as u32 % 4, blow));
    }
    drop(feed);
    assert_eq!(run.exit_code(), 0, "{}", run.err());
    assert!(killed >= 20, "only {killed} were killed");
    let expected = coreutils(&sandbox, "whole");
    assert_same(&sandbox, &run, &expected);
}

/// Kills the present launch of a counter, and says whether it lived until then.
fn kill_one(sandbox: &Sandbox, run: &Run, instance: u32, blow: Blow) -> bool {
    let before = until("the counter runs", || {
        Some(run.instance("counter", instance)).filter(|row| row.state == "running" && row.pid.is_some())
    });
    let pid = process::Pid::from_raw(before.pid.expect("it was looked for"));
    let killed = match blow {
        Blow::ByPid => match process::pidfd_open(pid).unwrap() {
            Some(held) if run.instance("counter", instance).launch == before.launch => {
                process::signal::send(std::os::fd::AsFd::as_fd(&held), 9).is_ok()
            }
            _ => false,
        },
        Blow::ByCommand => {
            sandbox.supervisor(&["kill", "--signal", "KILL", &format!("counter:{instance}")]).code == 0
        }
    };
    until("the next launch is there", || {
        (!killed || run.instance("counter", instance).launch > before.launch).then_some(())
    });
    killed
}

#[test]
fn a_full_queue_holds_its_producer_back() {
    let sandbox = Sandbox::new();
    sandbox.write("text", prose(20_000));
    let mut config = wordcount("text", 1, 500);
    config["workers"]["counter"]["autostart"] = json!(false);
    let mut run = sandbox.run(&config);
    until("the queue is full", || (run.queue("chunks").len == 5).then_some(()));
    stays("five and no more", std::time::Duration::from_millis(200), || run.queue("chunks").len == 5);
    assert_eq!(run.queue("chunks").puts, 5);
    sandbox.supervisor(&["start", "counter"]).ends_with(0);
    assert_eq!(run.exit_code(), 0, "{}", run.err());
    assert_same(&sandbox, &run, &coreutils(&sandbox, "text"));
}

#[test]
fn a_supervisor_killed_with_9_in_the_middle_of_the_work_changes_no_count() {
    let sandbox = Sandbox::new();
    let whole = prose(60_000);
    sandbox.write("whole", &whole);
    let pipe = sandbox.path().join("text");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let config = wordcount("text", 3, 1_000);
    let nursery = Nursery::start(&sandbox, &config);
    let mut feed = File::options().write(true).open(&pipe).unwrap();
    let (first, second) = whole.as_bytes().split_at(whole.len() / 2);
    feed.write_all(first).unwrap();
    until("all have joined and work", || {
        let queues = sandbox.supervisor(&["queue", "ls", "--json"]).ends_with(0).json();
        (queues[1]["gets"].as_u64() >= Some(20)).then_some(())
    });
    nursery.kill_the_supervisor(&sandbox);
    let mut run = sandbox.run(&config);
    feed.write_all(second).unwrap();
    drop(feed);
    let code = run.exit_code();
    if process::facts().iter().any(|fact| fact.name == "pidfd exit record" && fact.available) {
        assert_eq!(code, 0, "{}", run.err());
        assert_same(&sandbox, &run, &coreutils(&sandbox, "whole"));
    } else {
        // A reader of which nobody knows whether it came to its end is no reader of everything: the run says so.
        skipped("this kernel keeps no exit codes of processes that others reaped");
        // It may have been looked at before it was reaped.
        let unknown = run.err().contains("reader: failed: ended, and nobody could learn how");
        assert_eq!(code, i32::from(unknown), "{}", run.err());
    }
    nursery.until_empty();
}

#[test]
fn the_example_counts_the_sources_of_this_workspace() {
    let sandbox = Sandbox::new();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let text = format!("{root}/crates/supervision");
    let mut command = sandbox.command("supervisor");
    command.args(["run", &format!("{root}/scripts/wordcount/config.json")]);
    command.env("WORDCOUNT_TEXT", &text).env("WORDCOUNT_OUTPUT", sandbox.path().join("counts.txt"));
    let said = Said::of(&mut command).ends_with(0);
    assert!(sandbox.read("counts.txt") == coreutils(&sandbox, &text), "{}", said.err);
}

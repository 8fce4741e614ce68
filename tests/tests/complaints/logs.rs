//! Lines that were lost, torn, not stamped, or filled the disk.

use serde_json::json;
use tests::{Sandbox, until};

use crate::one;

/// Prints so many numbered lines.
fn numbered(count: u32) -> String {
    format!("i=0; while [ $i -lt {count} ]; do echo line $i; i=$((i+1)); done")
}

#[test]
fn supervisord_553_every_line_of_a_log_file_says_when_it_was_written() {
    let sandbox = Sandbox::new();
    let worker =
        json!({ "command": "echo one; echo two >&2", "restart": "never", "log": { "file": "w.log" } });
    assert_eq!(sandbox.run_to_its_end(&one(&worker)).0, 0);
    let log = sandbox.read("w.log");
    assert_eq!(log.lines().count(), 2);
    for line in log.lines() {
        let (stamp, _) = line.split_once(' ').unwrap();
        assert!(stamp.len() >= 20 && stamp.ends_with('Z') && stamp.as_bytes()[10] == b'T', "{line}");
        assert!(line.contains("w:0"), "{line}");
    }
}

#[test]
fn supervisord_1337_a_log_can_be_json_whatever_is_printed() {
    let sandbox = Sandbox::new();
    let script = r#"printf 'a "quoted" back\\slash\n'; printf '\303\244 \377 \033[1m\n'"#;
    let worker =
        json!({ "command": script, "restart": "never", "log": { "file": "w.log", "format": "json" } });
    assert_eq!(sandbox.run_to_its_end(&one(&worker)).0, 0);
    let lines: Vec<serde_json::Value> =
        sandbox.read("w.log").lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines[0]["line"], "a \"quoted\" back\\slash");
    assert_eq!(lines[1]["line"], "ä \u{fffd} \u{1b}[1m");
    assert!(
        lines
            .iter()
            .all(|line| line["worker"] == "w" && line["stream"] == "stdout" && line["time"].is_string())
    );
}

#[test]
fn supervisord_240_no_line_is_lost_when_a_log_is_rotated() {
    let sandbox = Sandbox::new();
    let log = json!({ "file": "w.log", "format": "raw", "max_size": "4KiB", "keep": 1000 });
    let worker = json!({ "command": numbered(5000), "restart": "never", "log": log });
    assert_eq!(sandbox.run_to_its_end(&one(&worker)).0, 0);
    let mut all = String::new();
    let count = (1..).take_while(|number| sandbox.has(&format!("w.log.{number}"))).count();
    assert!(count > 3, "it was rotated {count} times");
    for number in (1..=count).rev() {
        all += &sandbox.read(&format!("w.log.{number}"));
    }
    all += &sandbox.read("w.log");
    assert!(all.lines().map(str::to_owned).eq((0..5000).map(|number| format!("line {number}"))));
}

#[test]
fn pm2_1415_a_flood_takes_no_more_of_the_disk_than_the_config_allows() {
    let sandbox = Sandbox::new();
    let log = json!({ "file": "w.log", "max_size": "64KiB", "keep": 2 });
    let worker =
        json!({ "command": ["worker-misbehave", "flood", "4000000"], "restart": "never", "log": log });
    assert_eq!(sandbox.run_to_its_end(&one(&worker)).0, 0);
    let sizes: Vec<u64> = ["w.log", "w.log.1", "w.log.2"]
        .map(|name| std::fs::metadata(sandbox.path().join(name)).unwrap().len())
        .to_vec();
    assert!(sizes.iter().all(|size| *size <= 65 * 1024), "{sizes:?}");
    assert!(!sandbox.has("w.log.3"));
}

#[test]
fn supervisord_749_a_line_that_is_written_in_pieces_is_one_line() {
    let sandbox = Sandbox::new();
    let script =
        "i=0; while [ $i -lt 30 ]; do printf %01000d $i; sleep 0.005; i=$((i+1)); done; echo; echo next";
    let worker = json!({ "command": script, "restart": "never", "log": { "file": "w.log" } });
    assert_eq!(sandbox.run_to_its_end(&one(&worker)).0, 0);
    let log = sandbox.read("w.log");
    let lines: Vec<&str> = log.lines().map(|line| line.split_once("| ").expect(line).1).collect();
    assert_eq!(lines.iter().map(|line| line.len()).collect::<Vec<_>>(), [30_000, 4]);
}

#[test]
fn systemd_15654_a_character_is_not_torn_where_a_buffer_ends() {
    let sandbox = Sandbox::new();
    // Three bytes a character: no power of two is a multiple of that.
    let script = "i=0; while [ $i -lt 400 ]; do printf '\\342\\202\\254%.0s' 1 2 3 4 5 6 7 8 9 10 11; i=$((i+1)); done; echo";
    let worker =
        json!({ "command": script, "restart": "never", "log": { "file": "w.log", "format": "json" } });
    assert_eq!(sandbox.run_to_its_end(&one(&worker)).0, 0);
    let line: serde_json::Value = serde_json::from_str(sandbox.read("w.log").trim()).unwrap();
    assert_eq!(line["line"], "€".repeat(4400));
    assert_eq!(line.get("lossy"), None);
}

#[test]
fn systemd_6838_lines_of_many_workers_are_never_torn_apart() {
    let sandbox = Sandbox::new();
    let line = "0123456789".repeat(40);
    let script =
        format!("i=0; while [ $i -lt 200 ]; do echo \"$SUPERVISOR_INSTANCE-$i {line}\"; i=$((i+1)); done");
    let config = one(&json!({ "command": script, "instances": 4, "restart": "never" }));
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.err());
    let out = run.out();
    assert_eq!(out.lines().filter(|said| said.ends_with(&line)).count(), 800);
    for instance in 0..4 {
        let own = out.lines().filter(|said| said.contains(&format!("w:{instance}")));
        let rest = own.map(|said| said.split(&format!("{instance}-")).nth(1).unwrap());
        let numbers: Vec<u32> = rest.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.iter().copied().eq(0..200), "{instance}: {numbers:?}");
    }
}

#[test]
fn supervisord_402_what_a_worker_says_last_is_in_its_log() {
    let sandbox = Sandbox::new();
    let script = format!("{}; printf 'the last words'; kill -9 $$", numbered(500));
    let worker =
        json!({ "command": script, "restart": "never", "log": { "file": "w.log", "format": "raw" } });
    assert_eq!(sandbox.run_to_its_end(&one(&worker)).0, 137);
    let log = sandbox.read("w.log");
    assert!(log.ends_with("line 499\nthe last words"), "…{}", &log[log.len().saturating_sub(60)..]);
}

#[test]
fn a_log_file_that_somebody_removes_begins_anew_and_a_folder_that_is_gone_is_told_of() {
    let sandbox = Sandbox::new();
    let script = "echo before; until [ -e removed ]; do sleep 0.01; done; echo after; \
                  until [ -e gone ]; do sleep 0.01; done; echo lost; sleep 1000";
    let folder = sandbox.path().join("logs");
    std::fs::create_dir(&folder).expect("it can be made");
    let mut run = sandbox.run(&one(&json!({ "command": script, "log": { "file": "logs/w.log" } })));
    assert!(sandbox.until_written("logs/w.log").ends_with("before\n"));
    std::fs::remove_file(folder.join("w.log")).expect("it is there");
    sandbox.write("removed", "");
    let log = sandbox.until_written("logs/w.log");
    assert!(log.ends_with("after\n") && log.lines().count() == 1, "{log}");
    std::fs::remove_dir_all(&folder).expect("it is there");
    sandbox.write("gone", "");
    until("it is told", || {
        run.err().contains("logs/w.log are being lost: No such file or directory").then_some(())
    });
    assert_eq!(run.stop(), 0);
}

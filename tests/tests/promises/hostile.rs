//! Workers that do wrong: nobody waits on them, and nobody else is harmed.

use serde_json::json;
use tests::{Run, Sandbox, until};

/// A run of this worker beside one that does its work.
fn beside(sandbox: &Sandbox, command: &[&str]) -> Run {
    let run = sandbox.run(&json!({ "name": "r", "queues": { "q": { "capacity": 3 } }, "workers": {
        "bad": { "command": command, "restart": "never", "stop": { "grace": "200ms" } },
        "bystander": { "command": ["probe", "get-all", "q"], "backoff": { "initial": 0 } } } }));
    run.until_state("bystander", "running");
    run
}

/// Checks that the rest of the run works as ever, and stops it.
#[track_caller]
fn the_rest_works(sandbox: &Sandbox, mut run: Run, code: i32) {
    sandbox.supervisor(&["queue", "put", "q", "business as usual"]).ends_with(0);
    until("the bystander works", || run.out().contains("got business as usual").then_some(()));
    assert_eq!(run.instance("bystander", 0).restarts, 0);
    sandbox.supervisor(&["status"]).ends_with(0);
    assert_eq!(run.stop(), code, "{}", run.err());
}

#[track_caller]
fn until_said(run: &Run, what: &str) {
    until(&format!("it says {what:?}"), || run.out().contains(what).then_some(()));
}

#[test]
fn a_worker_that_never_joins_is_no_trouble() {
    let sandbox = Sandbox::new();
    let run = beside(&sandbox, &["worker-misbehave", "hang"]);
    run.until_state("bad", "running");
    the_rest_works(&sandbox, run, 0);
}

#[test]
fn a_worker_that_joins_twice_is_no_trouble() {
    let sandbox = Sandbox::new();
    let run = beside(&sandbox, &["worker-misbehave", "join-twice"]);
    until_said(&run, "joined as bad:0 and bad:0");
    the_rest_works(&sandbox, run, 0);
}

#[test]
fn a_worker_that_dies_while_it_joins_is_no_trouble() {
    let sandbox = Sandbox::new();
    let run = beside(&sandbox, &["probe", "die-while-joining"]);
    run.until_state("bad", "failed");
    the_rest_works(&sandbox, run, 137);
}

#[test]
fn a_worker_that_asks_to_be_met_where_nobody_is_is_refused() {
    let sandbox = Sandbox::new();
    let run = beside(&sandbox, &["probe", "join-as-nobody"]);
    until_said(&run, "asked");
    let out = run.out();
    assert!(out.contains("refused") && !out.contains("met: "), "{out}");
    the_rest_works(&sandbox, run, 0);
}

#[test]
fn a_worker_that_sends_garbage_is_no_trouble() {
    let sandbox = Sandbox::new();
    let run = beside(&sandbox, &["worker-misbehave", "garbage"]);
    until_said(&run, "said what makes no sense");
    the_rest_works(&sandbox, run, 0);
}

#[test]
fn a_worker_that_asks_and_never_reads_is_no_trouble() {
    let sandbox = Sandbox::new();
    let run = beside(&sandbox, &["probe", "never-read"]);
    until_said(&run, "asked enough");
    the_rest_works(&sandbox, run, 0);
}

#[test]
fn a_worker_that_hangs_up_while_it_waits_is_no_trouble() {
    let sandbox = Sandbox::new();
    let run = beside(&sandbox, &["probe", "hang-up"]);
    until_said(&run, "hung up");
    the_rest_works(&sandbox, run, 0);
}

#[test]
fn a_worker_that_asks_a_byte_at_a_time_is_no_trouble() {
    let sandbox = Sandbox::new();
    let run = beside(&sandbox, &["probe", "drip"]);
    until_said(&run, "drips");
    the_rest_works(&sandbox, run, 0);
}

#[test]
fn a_worker_that_floods_its_output_delays_nobody() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "flood": { "command": ["worker-misbehave", "flood", "0"],
                   "log": { "file": "flood.log", "max_size": "1MiB", "keep": 1 } },
        "dies": { "command": ["worker-misbehave", "--after", "5", "exit", "1"], "backoff": { "initial": 0 },
                  "intensity": { "restarts": 100_000, "within": "1s" } } } }));
    until("it is started again all the same", || (run.instance("dies", 0).restarts >= 10).then_some(()));
    sandbox.supervisor(&["stop", "flood"]).ends_with(0);
    let size = |name: &str| std::fs::metadata(sandbox.path().join(name)).map_or(0, |file| file.len());
    // It may have been put aside this moment.
    assert!(size("flood.log") + size("flood.log.1") > 0);
    assert!(size("flood.log") <= (1 << 20) + (1 << 16), "{}", size("flood.log"));
    run.stop();
}

#[test]
fn a_flood_that_ends_arrives_to_the_last_line() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "flood": {
        "command": ["worker-misbehave", "flood", "3000000"], "restart": "never",
        "log": { "file": "flood.log", "format": "raw", "max_size": "1GiB" } } } });
    assert_eq!(sandbox.run_to_its_end(&config).0, 0);
    let log = sandbox.read("flood.log");
    for (number, line) in log.lines().enumerate() {
        assert!(line.starts_with(&format!("line {number} of")), "{number}: {line}");
    }
    assert!(log.len() >= 3_000_000);
}

#[test]
fn bytes_that_are_no_text_come_through_the_log() {
    let sandbox = Sandbox::new();
    let script = r"printf 'a\377\376b\000c\n'; printf '\033[31mred\n'; head -c 300000 /dev/zero | tr '\0' x; echo; echo end";
    let config = json!({ "name": "r", "workers": { "w": { "command": script, "restart": "never",
        "log": { "file": "raw.log", "format": "raw" } } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.err());
    let raw = std::fs::read(sandbox.path().join("raw.log")).unwrap();
    assert!(raw.starts_with(b"a\xff\xfeb\0c\n"));
    assert!(raw.ends_with(b"end\n"));
    assert!(run.out().contains("end"));
}

#[test]
fn a_worker_that_takes_much_memory_and_dies_gives_it_back() {
    let sandbox = Sandbox::new();
    let mut run = beside(&sandbox, &["worker-misbehave", "allocate", "64"]);
    until_said(&run, "67108864 bytes taken");
    assert_eq!(run.stop(), 0);
}

#[test]
fn every_signal_that_kills_is_told_by_its_number() {
    let sandbox = Sandbox::new();
    let mut workers = serde_json::Map::new();
    for signal in [1, 2, 6, 9, 11, 14, 15, 31] {
        let worker = json!({ "command": format!("ulimit -c 0; kill -{signal} $$"), "restart": "never" });
        workers.insert(format!("s{signal}"), worker);
    }
    workers.insert("other".to_owned(), json!({ "command": ["sleep", "1000"] }));
    let mut run = sandbox.run(&json!({ "name": "r", "workers": workers }));
    for signal in [1, 2, 6, 9, 11, 14, 15, 31] {
        let row = run.until_state(&format!("s{signal}"), "failed");
        assert_eq!(row.exit, Some(control::api::Exit::Signal(signal)));
    }
    run.stop();
}

#[test]
fn where_a_worker_that_was_killed_while_it_joined_wanted_to_be_met_nothing_stays() {
    let sandbox = Sandbox::new();
    let tmp = sandbox.path().join("tmp");
    let place = |name: &str| {
        let folder = tmp.join(name);
        std::fs::create_dir_all(&folder).expect("it can be made");
        folder
    };
    let marked = |name: &str| {
        let mark = place(name).join(worker::wire::PLACE_MARK);
        std::fs::write(&mark, "/somewhere/socket").expect("it can be written");
        std::fs::File::open(mark).expect("it is there")
    };
    // One was killed in a former run, one is at it just now, and one is no affair of ours.
    drop(marked(".tmpDead01"));
    let living = marked(".tmpLive01");
    living.lock().expect("nobody has it");
    place(".tmpOther1");
    // One is killed when it has removed all but the folder, one before it is heard.
    let told = format!(
        r#"{{"server": "{}/.tmpTold01/socket", "nonce": "{}", "abi": {}}}"#,
        tmp.display(),
        "0".repeat(32),
        worker::wire::ABI
    );
    let joins =
        format!("mkdir $TMPDIR/.tmpTold01; probe ask POST /v1/join '{told}'; echo done > joined; sleep 1000");
    let killed = "mkdir $TMPDIR/.tmpMute01; echo > $TMPDIR/.tmpMute01/.run; echo done > marked; sleep 1000";
    let config = json!({ "name": "r", "workers": {
        "joins": { "command": joins }, "killed": { "command": killed } } });
    let mut run = Run::start_with(&sandbox, &config, &[("TMPDIR", tmp.as_os_str())]);
    until("the dead one's is gone", || (!tmp.join(".tmpDead01").exists()).then_some(()));
    sandbox.until_written("joined");
    sandbox.until_written("marked");
    sandbox.supervisor(&["kill", "joins", "--signal", "KILL", "--wait"]).ends_with(0);
    until("the told one's is gone", || (!tmp.join(".tmpTold01").exists()).then_some(()));
    run.stop();
    let mut left: Vec<_> =
        std::fs::read_dir(&tmp).expect("it is there").flatten().map(|one| one.file_name()).collect();
    left.sort();
    assert_eq!(left, [".tmpLive01", ".tmpOther1"]);
}

//! The bench of the queue, as those see it who run it.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use process::{Identity, Pid, Snapshot, is_dead};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["queue", "--quick"]).args(arguments).stdin(Stdio::null());
    command
}

/// The rows of one round; no more of each than it takes to see that every kind of line carries messages.
fn rows(words: &[&str]) -> Vec<Value> {
    let done = bench(&[&["--json", "--rounds", "1"], words].concat()).output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    serde_json::from_slice(&done.stdout).expect("JSON")
}

#[test]
fn every_kind_of_line_is_measured_and_a_row_says_all_there_is_to_it() {
    let rows = rows(&["1 KiB, 1P1C", "ping-pong", "batches", "lease and ack", "by bytes"]);
    let is_measured = |row: &&Value| row["peer_value"].as_f64().is_some_and(|value| value > 0.0);
    let peers: Vec<&str> = rows.iter().filter(is_measured).filter_map(|row| row["peer"].as_str()).collect();
    for peer in [
        "crossbeam-channel, threads",
        "ipc-channel bytes",
        "unix socket pair",
        "ring under robust mutex",
        "bare futex",
        "bare word, spinning",
        "two memcpys",
        "queue",
    ] {
        assert!(peers.contains(&peer), "{peer} is missing: {peers:?}");
    }
    for row in &rows {
        let keys: Vec<&String> = row.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["figure", "ours", "peer", "peer_value", "unit", "ratio", "target", "met"], "{row}");
        assert!(row["ours"].as_f64().is_some_and(|ours| ours > 0.0), "{row}");
        if let (Some(ratio), Some(target)) = (row["ratio"].as_f64(), row["target"].as_str()) {
            let (sense, bound) = target.split_once(' ').expect("a sense and a number");
            let bound: f64 = bound.trim_end_matches(" x").parse().expect("a number");
            let met = if sense == ">=" { ratio >= bound } else { ratio <= bound };
            assert_eq!(row["met"], met, "{row}");
        }
    }
}

#[test]
fn many_producers_and_consumers_are_measured() {
    let rows = rows(&["64 B, 4P4C", "64 B, 1P4C", "64 B, 4P1C", "reclaim", "uncontended"]);
    for name in ["64 B, 4P4C", "64 B, 1P4C", "64 B, 4P1C", "lock then unlock, one process"] {
        assert!(rows.iter().any(|row| row["figure"] == name), "{name} is missing");
    }
}

#[test]
fn a_bench_killed_with_9_leaves_no_process_behind() {
    let mut bench = bench(&["4P4C"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let pid = Pid::from_raw(bench.id() as i32);
    let started = Instant::now();
    let parties = loop {
        let below = Snapshot::take().expect("/proc").descendants(pid);
        let held: Vec<_> = below
            .into_iter()
            .filter_map(|pid| Identity::of(pid).ok().flatten()?.hold().ok().flatten())
            .filter(|party| !is_dead(party.as_fd()))
            .collect();
        if held.len() >= 4 {
            break held;
        }
        assert!(started.elapsed() < PATIENCE, "nobody was started");
    };
    bench.kill().expect("ours");
    bench.wait().expect("ours");
    while !parties.iter().all(|party| is_dead(party.as_fd())) {
        assert!(started.elapsed() < PATIENCE, "somebody lives on");
        std::thread::sleep(Duration::from_millis(2));
    }
}

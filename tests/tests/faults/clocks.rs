//! The clock is set, or is a strange one.

use std::fs;
use std::path::Path;

use serde_json::json;
use tests::{Said, Sandbox, is_root};

use crate::{offers, run_of};

/// Files that may read the wall clock: they stamp what people read, or ask when the calendar says that a worker runs.
const STAMP: [&str; 9] = [
    "crates/runtime/src/clock.rs",
    "crates/runtime/src/the_loop/scheduling.rs",
    "crates/runtime/src/history.rs",
    "crates/runtime/src/journal/mod.rs",
    "crates/runtime/src/logs/file.rs",
    "crates/runtime/src/logs/line.rs",
    "crates/runtime/src/logs/engine.rs",
    "crates/runtime/src/logs/stamp.rs",
    "crates/runtime/src/telling.rs",
];

/// Calls this for every source file below a folder.
fn sources(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

/// The wall clock of a machine that others live on cannot be set for a test, and a namespace has none of its own. So this
/// looks at who reads it: nobody who decides, waits, or measures.
#[test]
fn supervisord_458_nothing_is_decided_by_a_clock_that_can_be_set() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap();
    let mut readers = Vec::new();
    for room in ["supervision", "config", "process", "ipc", "control", "worker", "runtime"] {
        sources(&root.join("crates").join(room).join("src"), &mut |path, text| {
            // What stands behind a test is not looked at.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let wall = [
                "SystemTime::now",
                "CLOCK_REALTIME",
                "ClockId::CLOCK_REALTIME",
                "UNIX_EPOCH.elapsed",
                "Zoned::now",
                "Timestamp::now",
            ];
            if wall.iter().any(|clock| text.contains(clock)) {
                readers.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        });
    }
    let others: Vec<&String> = readers.iter().filter(|reader| !STAMP.contains(&reader.as_str())).collect();
    assert!(others.is_empty(), "{others:?} read the wall clock");
    assert!(!readers.is_empty(), "nobody stamps anything any more: the test looks in the wrong place");
}

#[test]
fn a_machine_that_has_just_started_is_a_machine_like_any_other() {
    if !is_root() || !offers("unshare", &["--time", "--fork", "true"], "no time namespaces here (unshare)") {
        return;
    }
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    // A second after the clocks began to run; and more than a century later.
    for offset in [format!("-{}", seconds as u64 - 1), "4000000000".to_owned()] {
        let sandbox = Sandbox::new();
        let script = "echo start >> starts; [ $(wc -l < starts) -ge 3 ]";
        let worker = json!({ "command": script, "backoff": { "initial": "20ms", "jitter": 0 } });
        let deaf = json!({ "command": "trap '' TERM; echo up > up; while :; do sleep 0.02; done", "policy": "terminate",
                           "stop": { "grace": "200ms" } });
        sandbox.write("r.json", run_of(&json!({ "w": worker, "deaf": deaf })).to_string());
        let mut command = sandbox.shell();
        command.arg(format!(
            "exec unshare --time --monotonic={offset} --boottime={offset} --fork supervisor run r.json"
        ));
        let said = Said::of(&mut command).ends_with(0);
        assert_eq!(sandbox.lines("starts"), 3, "{offset}: {}", said.err);
    }
}

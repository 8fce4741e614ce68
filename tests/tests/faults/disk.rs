//! The disk is full, or a file may not grow.

use serde_json::{Value, json};
use tests::{Said, Sandbox, until};

use crate::{in_own, offers, run_of};

/// A worker that prints so much, and says then that it has done so.
fn talkative(bytes: u32, log: &str) -> Value {
    json!({ "command": format!("worker-misbehave flood {bytes}; echo done > done"), "restart": "never",
            "log": { "file": log, "max_size": "1GiB" } })
}

/// A limit of 8 MB for any file, in the blocks of 512 bytes of `ulimit -f`: room for the memory that a run shares with
/// its workers. What goes beyond gets a signal, XFSZ, that ends those who do not care for it, as programs do by default.
const UP_TO_8_MB: &str = "ulimit -f 16000; exec env --default-signal=XFSZ";

#[test]
fn a_log_on_a_full_disk_holds_up_no_worker_and_says_what_is_lost() {
    let sandbox = Sandbox::new();
    let (code, run) = sandbox.run_to_its_end(&run_of(&json!({ "w": talkative(300_000, "/dev/full") })));
    assert_eq!(code, 0, "{}", run.err());
    assert!(sandbox.has("done"));
    let told = run.err();
    assert!(told.contains("/dev/full") && told.contains("No space left"), "{told}");
    assert!(told.lines().count() < 20, "it says so again and again: {told}");
    // The console had its share all the same.
    assert!(run.out().len() > 300_000);
}

#[test]
fn a_log_goes_on_and_counts_what_is_missing_when_there_is_room_again() {
    let Some(own) = in_own("--mount", "no mounts of one's own here (unshare)") else { return };
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path().join("disk")).unwrap();
    // The worker sees the same mount: it makes room, and copies what the log holds to where we see it.
    let script = "worker-misbehave flood 200000; rm disk/ballast; \
                  until grep -q afterwards disk/w.log; do echo afterwards; sleep 0.05; done; cp disk/w.log copy.log";
    let worker = json!({ "command": script, "restart": "never", "log": { "file": "disk/w.log" } });
    sandbox.write("r.json", run_of(&json!({ "w": worker })).to_string());
    let mut command = sandbox.shell();
    command.arg(format!(
        "exec {own} sh -c 'mount -t tmpfs -o size=512k tmpfs disk && head -c 450000 /dev/zero > disk/ballast; \
         exec supervisor run r.json'"
    ));
    let said = Said::of(&mut command).ends_with(0);
    assert!(said.err.contains("No space left"), "{}", said.err);
    let log = sandbox.read("copy.log");
    assert!(log.contains("afterwards") && log.contains("lost"), "…{}", &log[log.len().saturating_sub(500)..]);
}

#[test]
fn a_run_without_room_for_its_sockets_says_so_and_starts_nothing() {
    let Some(own) = in_own("--mount", "no mounts of one's own here (unshare)") else { return };
    let sandbox = Sandbox::new();
    sandbox.write("r.json", run_of(&json!({ "w": { "command": "touch started" } })).to_string());
    let mut command = sandbox.shell();
    // As many files as the folder itself: none.
    command.arg(format!(
        "mkdir run && exec {own} sh -c 'mount -t tmpfs -o nr_inodes=2,mode=0700 tmpfs run && touch run/x; \
         exec supervisor run r.json'"
    ));
    let said = Said::of(&mut command);
    assert!(said.code == 1 && said.err.contains("No space left"), "{said:?}");
    assert!(!sandbox.has("started"));
}

#[test]
fn a_file_that_may_not_grow_ends_neither_the_supervisor_nor_its_worker() {
    if !offers("env", &["--default-signal=XFSZ", "true"], "env of this machine sets no signals") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("r.json", run_of(&json!({ "w": talkative(9_000_000, "w.log") })).to_string());
    let mut command = sandbox.shell();
    command.arg(format!("{UP_TO_8_MB} supervisor run r.json > /dev/null"));
    let said = Said::of(&mut command).ends_with(0);
    assert!(said.err.contains("File too large"), "{}", said.err);
    assert!(sandbox.has("done"));
    let size = std::fs::metadata(sandbox.path().join("w.log")).unwrap().len();
    assert!((8_000_000..=8_192_000).contains(&size), "{size}");
}

#[test]
fn what_the_supervisor_says_may_not_fit_into_its_file_either() {
    if !offers("env", &["--default-signal=XFSZ", "true"], "env of this machine sets no signals") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("r.json", run_of(&json!({ "w": { "command": "exit 7", "restart": "never" } })).to_string());
    sandbox.write("said", vec![b'x'; 8_192_000]);
    let said = Said::of(sandbox.shell().arg(format!("{UP_TO_8_MB} supervisor run r.json 2>> said")));
    assert_eq!(said.code, 7, "{said:?}");
}

#[test]
fn a_worker_may_still_be_ended_for_a_file_that_may_not_grow() {
    let sandbox = Sandbox::new();
    let script = "ulimit -f 1; ulimit -c 0; head -c 100000 /dev/zero > big; echo \"ended with $?\" > how";
    let config = run_of(&json!({ "w": { "command": script, "restart": "never" } }));
    assert_eq!(sandbox.run_to_its_end(&config).0, 0);
    assert_eq!(
        sandbox.read("how"),
        "ended with 153\n",
        "128 and SIGXFSZ: what the supervisor ignores is its own affair"
    );
}

#[test]
fn a_standard_output_that_takes_nothing_is_no_reason_to_fail() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "r.json",
        run_of(&json!({ "w": { "command": "echo hello; exit 7", "restart": "never" } })).to_string(),
    );
    for place in ["> /dev/full", "> /dev/full 2> /dev/full", "2> /dev/full", ">&-", ">&- 2>&-"] {
        let said = Said::of(sandbox.shell().arg(format!("supervisor run r.json {place}")));
        assert_eq!(said.code, 7, "{place}: {said:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_fail() {
    let sandbox = Sandbox::new();
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo done > done; exit 0";
    sandbox.write("r.json", run_of(&json!({ "w": { "command": script, "restart": "never" } })).to_string());
    let said =
        Said::of(sandbox.shell().arg("{ supervisor run r.json; echo $? > code; } | head -1")).ends_with(0);
    assert_eq!(said.out.lines().count(), 1);
    until("it has ended", || (sandbox.read("code") == "0\n").then_some(()));
    assert!(sandbox.has("done"));
}

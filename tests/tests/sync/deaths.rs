//! Who holds or waits, and what becomes of it when somebody is killed with -9.

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::json;
use tests::{Said, Sandbox, until, until_gone};

use crate::{begin, lock, pid_of, run_with, until_wanted};

#[test]
fn the_lock_of_a_killed_holder_is_handed_on_and_its_command_does_not_go_on() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["ledger"] }));
    let mut holder =
        begin(&sandbox, &["lock", "run", "ledger", "--", "sh", "-c", "echo $$ > pid; exec sleep 1000"]);
    let command = sandbox.until_pid("pid");
    let script = "echo \"after $SUPERVISOR_LOCK_RECOVERED\"";
    let waiter = begin(&sandbox, &["lock", "run", "ledger", "--", "sh", "-c", script]);
    until_wanted(&sandbox, "ledger");
    let pid = pid_of(&holder);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let said = Said::at_the_end_of(waiter).ends_with(0);
    assert_eq!(said.out, format!("after {pid}\n"));
    assert!(said.err.contains(&format!("pid {pid}, which died with it")), "{}", said.err);
    until_gone(command);
    holder.wait().unwrap();
    // It is told once.
    let said = sandbox.supervisor(&["lock", "run", "ledger", "--", "true"]).ends_with(0);
    assert_eq!(said.err, "");
    assert_eq!(run.stop(), 0);
}

#[test]
fn nothing_that_ran_under_a_killed_holder_goes_on_when_the_next_has_the_lock() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["ledger"], "semaphores": { "gpu": 1 } }));
    for verb in [["lock", "run", "ledger"], ["semaphore", "run", "gpu"]] {
        // Two below the command, one of them in a session of its own, write as long as they live.
        let script = "rm -f near far; writes='while :; do echo x >> $0; done'
            sh -c \"$writes\" near & setsid sh -c \"$writes\" far & wait";
        let mut holder = begin(&sandbox, &[&verb[..], &["--", "sh", "-c", script]].concat());
        until("both write", || (sandbox.has("near") && sandbox.has("far")).then_some(()));
        let check = "before=$(cat near far | wc -c); sleep 0.3; [ \"$before\" = \"$(cat near far | wc -c)\" ] && echo still";
        let next = begin(&sandbox, &[&verb[..], &["--", "sh", "-c", check]].concat());
        if verb[0] == "lock" {
            until_wanted(&sandbox, "ledger");
        }
        kill(Pid::from_raw(pid_of(&holder)), Signal::SIGKILL).unwrap();
        let said = Said::at_the_end_of(next).ends_with(0);
        assert_eq!(said.out, "still\n", "{verb:?}");
        holder.wait().unwrap();
    }
    assert!(run.err().contains("that ran under it are killed"), "{}", run.err());
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_permit_of_a_killed_holder_comes_back() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "semaphores": { "gpu": 1 } }));
    let mut holder =
        begin(&sandbox, &["semaphore", "run", "gpu", "--", "sh", "-c", "echo $$ > pid; exec sleep 1000"]);
    let command = sandbox.until_pid("pid");
    sandbox.supervisor(&["semaphore", "run", "gpu", "--nowait", "--", "true"]).ends_with(6);
    let waiter = begin(&sandbox, &["semaphore", "run", "gpu", "--", "echo", "mine"]);
    kill(Pid::from_raw(pid_of(&holder)), Signal::SIGKILL).unwrap();
    assert_eq!(Said::at_the_end_of(waiter).ends_with(0).out, "mine\n");
    until_gone(command);
    holder.wait().unwrap();
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_killed_waiter_leaves_the_lock_to_the_next() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "locks": ["ledger"] }));
    let holder = begin(&sandbox, &["lock", "run", "ledger", "--", "sh", "-c", "echo > in; exec sleep 1000"]);
    sandbox.until_written("in");
    let mut first = begin(&sandbox, &["lock", "run", "ledger", "--", "touch", "never"]);
    until_wanted(&sandbox, "ledger");
    let second = begin(&sandbox, &["lock", "run", "ledger", "--", "echo", "mine"]);
    until("both wait", || (lock(&sandbox, "ledger")["waiters"].as_array()?.len() == 2).then_some(()));
    kill(Pid::from_raw(pid_of(&first)), Signal::SIGKILL).unwrap();
    first.wait().unwrap();
    kill(Pid::from_raw(pid_of(&holder)), Signal::SIGTERM).unwrap();
    Said::at_the_end_of(holder).ends_with(128 + 15);
    assert_eq!(Said::at_the_end_of(second).ends_with(0).out, "mine\n");
    assert!(!sandbox.has("never"));
    assert_eq!(run.stop(), 0);
}

#[test]
fn whoever_waits_is_told_at_once_that_the_supervisor_is_gone() {
    let sandbox = Sandbox::new();
    let run = run_with(
        &sandbox,
        &json!({ "locks": ["l"], "semaphores": { "s": 1 }, "events": ["e"], "barriers": { "b": 3 } }),
    );
    let hold = |kind, name| begin(&sandbox, &[kind, "run", name, "--", "sleep", "1000"]);
    let (lock_holder, permit_holder) = (hold("lock", "l"), hold("semaphore", "s"));
    until("both are held", || {
        let taken = sandbox.supervisor(&["semaphore", "ls", "--json"]).json()[0]["free"] == 0;
        (taken && !lock(&sandbox, "l")["holder"].is_null()).then_some(())
    });
    let waiting = [
        begin(&sandbox, &["lock", "run", "l", "--", "true"]),
        begin(&sandbox, &["lock", "run", "l", "--timeout", "1h", "--", "true"]),
        begin(&sandbox, &["semaphore", "run", "s", "--", "true"]),
        begin(&sandbox, &["event", "wait", "e"]),
        begin(&sandbox, &["event", "wait", "e", "--timeout", "1h"]),
        begin(&sandbox, &["barrier", "wait", "b"]),
        begin(&sandbox, &["barrier", "wait", "b", "--timeout", "1h"]),
    ];
    until("the locks are waited for", || {
        (lock(&sandbox, "l")["waiters"].as_array()?.len() == 2).then_some(())
    });
    until("the barrier is waited at", || {
        (sandbox.supervisor(&["barrier", "ls", "--json"]).json()[0]["waiting"] == 2).then_some(())
    });
    run.kill_9();
    for child in waiting {
        Said::at_the_end_of(child).ends_with(5);
    }
    for holder in [lock_holder, permit_holder] {
        // It goes on with what it holds, and says what that is worth.
        kill(Pid::from_raw(pid_of(&holder)), Signal::SIGTERM).unwrap();
        let said = Said::at_the_end_of(holder).ends_with(128 + 15);
        assert!(said.err.contains("the supervisor went away"), "{}", said.err);
    }
    sandbox.clean();
}

#[test]
fn a_lock_is_still_held_when_another_supervisor_takes_the_run_over() {
    let sandbox = Sandbox::new();
    let sync = json!({ "locks": ["ledger"], "values": { "total": 0 } });
    let run = run_with(&sandbox, &sync);
    sandbox.supervisor(&["value", "add", "total", "41"]).ends_with(0);
    sandbox.supervisor(&["lock", "create", "later"]).ends_with(0);
    // Held by somebody who is no worker, from a shell.
    let holder = begin(&sandbox, &["lock", "run", "ledger", "--", "sh", "-c", "echo > in; exec sleep 1000"]);
    sandbox.until_written("in");
    run.kill_9();
    let mut run = run_with(&sandbox, &json!({ "locks": ["ledger", "added"], "values": { "total": 0 } }));
    sandbox.supervisor(&["lock", "run", "ledger", "--nowait", "--", "true"]).ends_with(6);
    let waiter = begin(&sandbox, &["lock", "run", "ledger", "--", "echo", "mine"]);
    until_wanted(&sandbox, "ledger");
    assert_eq!(sandbox.supervisor(&["value", "add", "total"]).ends_with(0).out, "42\n");
    sandbox.supervisor(&["lock", "run", "later", "--", "true"]).ends_with(0);
    sandbox.supervisor(&["lock", "run", "added", "--", "true"]).ends_with(0);
    let pid = pid_of(&holder);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    // The new supervisor did not know the holder, and it has nobody else to look after what it held.
    let said = Said::at_the_end_of(waiter).ends_with(0);
    assert_eq!(said.out, "mine\n");
    assert!(said.err.contains(&format!("pid {pid}")), "{}", said.err);
    Said::at_the_end_of(holder);
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_barrier_breaks_when_a_party_is_killed_and_is_whole_again_after_a_reset() {
    let sandbox = Sandbox::new();
    let mut run = run_with(&sandbox, &json!({ "barriers": { "line": 3 } }));
    let party = || begin(&sandbox, &["barrier", "wait", "line"]);
    let waiting = |count: u64| {
        until("they wait", || {
            (sandbox.supervisor(&["barrier", "ls", "--json"]).json()[0]["waiting"] == count).then_some(())
        });
    };
    let (mut first, second) = (party(), party());
    waiting(2);
    kill(Pid::from_raw(pid_of(&first)), Signal::SIGKILL).unwrap();
    first.wait().unwrap();
    let said = Said::at_the_end_of(second).ends_with(1);
    assert!(said.err.contains("broken") && said.err.contains("barrier reset line"), "{}", said.err);
    sandbox.supervisor(&["barrier", "wait", "line"]).ends_with(1);
    sandbox.supervisor(&["barrier", "reset", "line"]).ends_with(0);
    let parties = [party(), party(), party()];
    let mut indices: Vec<String> =
        parties.into_iter().map(|party| Said::at_the_end_of(party).ends_with(0).out).collect();
    indices.sort();
    assert_eq!(indices, ["0\n", "1\n", "2\n"]);
    sandbox.supervisor(&["barrier", "wait", "line", "--timeout", "50ms"]).ends_with(7);
    assert_eq!(run.stop(), 0);
}

//! `why` and `doctor`: what is the matter.

use serde_json::{Value, json};
use tests::{Sandbox, until};

use crate::{complained, json_lines, lasting, printed};

#[test]
fn the_reason_names_the_last_exit_what_comes_next_who_is_waited_for_and_what_was_said() {
    let sandbox = Sandbox::new();
    let failing =
        json!({ "command": "seq 7; kill -9 $$", "backoff": { "initial": "1000s", "max": "1000s" } });
    let waiting = json!({ "command": ["true"], "after": { "failing": "ready", "slow": "ready" } });
    let slow = json!({ "command": ["sleep", "1000"], "ready": "notify", "ready_timeout": "1000s" });
    let workers = json!({ "failing": failing, "slow": slow, "waiting": waiting });
    let mut run = sandbox.run(&json!({ "name": "r", "workers": workers }));
    run.until_state("failing", "backoff");
    run.until_state("slow", "starting");

    let why = &until("its lines are there", || {
        let answer = json_lines(&sandbox.supervisor(&["why", "failing", "--json"]), 0).remove(0);
        (answer[0]["output"].as_array().map(Vec::len) == Some(5)).then_some(answer)
    })[0];
    assert_eq!((&why["state"], &why["exit"]), (&json!("backoff"), &json!({ "signal": 9 })));
    assert_eq!((&why["core_dumped"], &why["pid"]), (&json!(false), &Value::Null));
    let rest = why["next_launch_in_s"].as_f64().expect("it rests");
    assert!(rest > 0.0 && rest <= 1100.0, "{rest}");
    let said: Vec<&Value> =
        why["output"].as_array().expect("lines").iter().map(|line| &line["line"]).collect();
    assert_eq!(said, ["3", "4", "5", "6", "7"]);

    let waits = &json_lines(&sandbox.supervisor(&["why", "waiting:0", "--json"]), 0)[0][0];
    assert_eq!(waits["state"], "waiting");
    let for_whom = waits["waits_for"]["worker"].as_str().expect("it waits");
    assert!(["failing", "slow"].contains(&for_whom), "{waits}");
    assert_eq!(waits["waits_for"]["milestone"], "ready");

    let text = printed(&sandbox.supervisor(&["why", "failing"]), 0);
    for words in [
        "failing:0 is backoff for ",
        ": killed by signal 9 (KILL)\n",
        "  last exit:  signal 9 (KILL), no core dump\n",
        "  next try:   in ",
        "\n    7\n",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    printed(&sandbox.supervisor(&["shutdown", "--now"]), 0);
    run.wait();
}

#[test]
fn what_a_worker_says_of_itself_is_told_beside_the_reason() {
    let sandbox = Sandbox::new();
    let says = json!({ "command": "curl -s --unix-socket $SUPERVISOR_SOCKET -d '{\"status\":\"half way\"}' http://x/v1/tell; exec sleep 1000" });
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl");
        return;
    }
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": says } }));
    let why = until("it is heard", || {
        let answer = json_lines(&sandbox.supervisor(&["why", "w", "--json"]), 0).remove(0);
        (!answer[0]["says"].is_null()).then(|| answer[0].clone())
    });
    assert_eq!(
        (&why["says"], &why["why"], &why["core_dumped"]),
        (&json!("half way"), &Value::Null, &Value::Null)
    );
    assert_eq!(run.stop(), 0);
}

#[test]
fn an_unknown_worker_is_exit_4_with_a_suggestion_and_no_supervisor_is_exit_5() {
    let sandbox = Sandbox::new();
    complained(&sandbox.supervisor(&["why", "w"]), 5);
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "reader": lasting() } }));
    let said = complained(&sandbox.supervisor(&["why", "raeder"]), 4);
    assert!(said.contains("did you mean \"reader\"?"), "{said}");
    complained(&sandbox.supervisor(&["why"]), 2);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_doctor_needs_no_supervisor_and_names_the_tier() {
    let sandbox = Sandbox::new();
    let report = json_lines(&sandbox.supervisor(&["doctor", "--json"]), 0).remove(0);
    let tier = match process::Cgroups::look().unified() {
        Ok(_) => "cgroup",
        Err(why) => {
            assert!(report["why"].as_str().is_some_and(|told| told.contains(why)), "{report}");
            "subreaper and walk"
        }
    };
    assert_eq!(report["tier"], tier);
    let facts = report["facts"].as_array().expect("facts");
    // Beside what the kernel offers, where workers of other users come in.
    assert_eq!(facts.len(), process::facts().len() + 1);
    let doors = facts.iter().find(|fact| fact["name"] == "their sockets").expect("it is looked for");
    assert!(doors["detail"].as_str().is_some_and(|detail| detail.contains("control socket")), "{doors}");
    let subreaper = facts.iter().find(|fact| fact["name"] == "subreaper").expect("it is asked for");
    assert_eq!(subreaper["available"], true);
    let text = printed(&sandbox.supervisor(&["doctor"]), 0);
    assert!(text.starts_with("WHAT ") && text.contains(&format!("\ntier: {tier}: ")), "{text}");
    assert_eq!(text.lines().count(), facts.len() + 3);
}

#[test]
fn the_chain_of_those_who_wait_goes_down_to_the_root() {
    let sandbox = Sandbox::new();
    let after = |on: &str| json!({ "command": ["true"], "after": { on: "succeeded" } });
    let broken = json!({ "command": "exit 7", "backoff": { "initial": "1000s", "max": "1000s" } });
    let workers = json!({ "web": after("api"), "api": after("db"), "db": broken });
    let mut run = sandbox.run(&json!({ "name": "r", "workers": workers }));
    run.until_state("db", "backoff");
    let why = &json_lines(&sandbox.supervisor(&["why", "web", "--json"]), 0)[0][0];
    let chain: Vec<_> = why["chain"]
        .as_array()
        .expect("a chain")
        .iter()
        .map(|link| (&link["worker"], &link["state"]))
        .collect();
    let word = Value::from;
    let expected = [(&word("api"), &word("waiting")), (&word("db"), &word("backoff"))];
    assert_eq!(chain, expected);
    let text = printed(&sandbox.supervisor(&["why", "web"]), 0);
    assert!(text.contains("held up by: db:0 is backoff: exit code 7"), "{text}");
    let db = printed(&sandbox.supervisor(&["why", "db"]), 0);
    assert!(db.contains("restarts:   0 (1 of 5 within 10s; the oldest is forgotten in "), "{db}");
    printed(&sandbox.supervisor(&["shutdown", "--now"]), 0);
    run.wait();
}

#[test]
fn who_asked_and_what_runs_out_are_told() {
    let sandbox = Sandbox::new();
    let deaf = json!({
        "command": "trap '' TERM; echo deaf; while :; do sleep 1000; done", "stop": { "grace": "600s" },
    });
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "w": deaf, "other": lasting() } }));
    until("it is deaf", || run.out().contains("deaf").then_some(()));
    printed(&sandbox.supervisor(&["stop", "w", "--no-wait"]), 0);
    let why = &json_lines(&sandbox.supervisor(&["why", "w", "--json"]), 0)[0][0];
    assert_eq!((&why["running_out"]["what"], &why["asked"]["what"]), (&json!("grace"), &json!("stop")));
    assert!(why["running_out"]["left_s"].as_f64().is_some_and(|left| left > 500.0), "{why}");
    let (uid, command) = (&why["asked"]["uid"], why["asked"]["command"].as_str().expect("it was seen"));
    assert_eq!(uid, &json!(nix::unistd::geteuid().as_raw()));
    assert!(command.contains("supervisor stop w") && why["asked"]["pid"].is_i64(), "{why}");
    let text = printed(&sandbox.supervisor(&["why", "w"]), 0);
    assert!(
        text.contains("runs out:   its grace, in ") && text.contains("asked:      stop by pid "),
        "{text}"
    );
    printed(&sandbox.supervisor(&["shutdown", "--now"]), 0);
    run.wait();
}

#[test]
fn what_was_changed_for_its_last_launch_is_told_until_the_next() {
    let sandbox = Sandbox::new();
    let workers = |env: Value| {
        let worker = json!({ "command": ["sleep", "1000"], "env": env });
        json!({ "name": "r", "workers": { "w": worker } })
    };
    let mut run = sandbox.run(&workers(json!({})));
    run.until_state("w", "running");
    let why = || json_lines(&sandbox.supervisor(&["why", "w", "--json"]), 0).remove(0)[0].clone();
    assert_eq!(why()["changed"], Value::Null);
    let next = sandbox.write("next.json", workers(json!({ "FOO": "1" })).to_string());
    printed(&sandbox.supervisor(&["apply", &next.to_string_lossy()]), 0);
    assert_eq!(why()["changed"], "env changed: FOO");
    assert_eq!(why()["asked"]["what"], "apply");
    printed(&sandbox.supervisor(&["restart", "w"]), 0);
    assert_eq!(why()["changed"], Value::Null);
    assert_eq!(run.stop(), 0);
}

/// How its process ended says little where it was asked to: the last signal is TERM, whoever is to blame.
#[test]
fn one_that_runs_again_tells_why_the_launch_before_came_to_an_end() {
    let sandbox = Sandbox::new();
    let failing = json!({ "command": "while [ ! -e go ]; do sleep 0.02; done; rm go; exit 7", "backoff": { "initial": 0 } });
    let mut run = sandbox.run(&json!({ "name": "r", "strategy": "one_for_all",
        "workers": { "bad": failing, "other": lasting() } }));
    let why =
        |worker: &str| json_lines(&sandbox.supervisor(&["why", worker, "--json"]), 0).remove(0)[0].clone();
    run.until_launch("other", 1);
    assert_eq!(why("other")["ended_for"], Value::Null);
    sandbox.write("go", "");
    run.until_launch("other", 2);
    run.until_launch("bad", 2);
    assert_eq!(why("other")["ended_for"], "is started again together with bad");
    assert!(
        why("bad")["ended_for"].as_str().is_some_and(|why| why.contains("exit code 7")),
        "{}",
        why("bad")
    );
    let text = printed(&sandbox.supervisor(&["why", "other"]), 0);
    assert!(text.contains("  ended for:  is started again together with bad\n"), "{text}");
    printed(&sandbox.supervisor(&["restart", "other"]), 0);
    assert_eq!(why("other")["ended_for"], "is started again once it is gone");
    assert_eq!(run.stop(), 0);
}

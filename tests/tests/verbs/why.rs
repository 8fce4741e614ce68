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
    assert_eq!(facts.len(), process::facts().len());
    let subreaper = facts.iter().find(|fact| fact["name"] == "subreaper").expect("it is asked for");
    assert_eq!(subreaper["available"], true);
    let text = printed(&sandbox.supervisor(&["doctor"]), 0);
    assert!(text.starts_with("WHAT ") && text.contains(&format!("\ntier: {tier}: ")), "{text}");
    assert_eq!(text.lines().count(), facts.len() + 3);
}

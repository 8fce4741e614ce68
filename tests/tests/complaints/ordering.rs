//! Who starts after whom, who waits in vain, and what waits though it need not.

use serde_json::{Value, json};
use tests::{Sandbox, end_of, kill_9, until, until_gone};

/// `second` comes after `first` has reached this milestone.
fn after(first: &Value, milestone: &str) -> Value {
    json!({ "name": "r", "workers": {
        "second": { "command": "echo second >> order; exec sleep 1000", "after": { "first": milestone } },
        "first": first,
    } })
}

#[test]
fn supervisord_122_a_worker_starts_after_what_it_depends_on_has_done_its_work() {
    let sandbox = Sandbox::new();
    let first = json!({ "command": "sleep 0.2; echo first >> order", "restart": "never" });
    let mut run = sandbox.run(&after(&first, "succeeded"));
    sandbox.until_lines("order", 2);
    assert_eq!(sandbox.read("order"), "first\nsecond\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn devenv_722_a_chain_of_dependences_is_kept_whatever_the_order_of_the_file() {
    let sandbox = Sandbox::new();
    let worker = |name: &str, after: &Value| json!({ "command": format!("echo {name} >> order"), "restart": "never", "after": after });
    let config = json!({ "name": "r", "workers": {
        "d": worker("d", &json!({ "c": "succeeded", "a": "succeeded" })), "c": worker("c", &json!({ "b": "succeeded" })),
        "b": worker("b", &json!({ "a": "succeeded" })), "a": worker("a", &json!({})) } });
    assert_eq!(sandbox.run_to_its_end(&config).0, 0);
    assert_eq!(sandbox.read("order"), "a\nb\nc\nd\n");
}

#[test]
fn supervisord_723_those_who_do_not_depend_on_each_other_start_side_by_side() {
    let sandbox = Sandbox::new();
    // Each is ready only once both have begun.
    let worker = |name: &str| {
        json!({ "command": format!("touch {name}; until [ -e a ] && [ -e b ]; do sleep 0.02; done; exec probe notify READY=1"),
                "ready": "notify", "ready_timeout": "10m" })
    };
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "a": worker("a"), "b": worker("b") } }));
    run.until_all("running");
    assert_eq!(run.stop(), 0);
}

#[test]
fn supervisord_966_those_who_do_not_depend_on_each_other_stop_side_by_side() {
    let sandbox = Sandbox::new();
    // Each ends only once both were asked; one after the other would take the whole grace.
    let worker = |name: &str| {
        let script = format!(
            "trap 'touch {name}.asked; until [ -e a.asked ] && [ -e b.asked ]; do sleep 0.02; done; exit 0' TERM; \
             touch {name}; while :; do sleep 0.02; done"
        );
        json!({ "command": script, "stop": { "grace": "10m" } })
    };
    let mut run = sandbox.run(&json!({ "name": "r", "workers": { "a": worker("a"), "b": worker("b") } }));
    until("both are up", || (sandbox.has("a") && sandbox.has("b")).then_some(()));
    assert_eq!(run.stop(), 0);
}

#[test]
fn process_compose_274_a_dependency_that_fails_quickly_lets_nobody_through() {
    for milestone in ["succeeded", "ready"] {
        let sandbox = Sandbox::new();
        let first = json!({ "command": "exit 4", "restart": "never", "ready": "notify" });
        let (code, _) = sandbox.run_to_its_end(&after(&first, milestone));
        assert_eq!(code, 4);
        assert!(!sandbox.has("order"), "{milestone}: it was let through");
    }
}

#[test]
fn process_compose_400_what_comes_after_a_failure_fails_too_and_names_what_is_to_blame() {
    let sandbox = Sandbox::new();
    let first = json!({ "command": "exit 4", "restart": "never" });
    let (code, run) = sandbox.run_to_its_end(&after(&first, "succeeded"));
    assert_eq!(code, 4);
    assert_eq!(sandbox.read("order"), "");
    let blamed = run.err().lines().any(|line| line.contains("second") && line.contains("first"));
    assert!(blamed, "{}", run.err());
}

#[test]
fn process_compose_189_who_waits_for_a_success_waits_through_the_restarts_before_it() {
    let sandbox = Sandbox::new();
    let script = "echo first >> order; [ $(wc -l < order) -ge 3 ]";
    let mut run =
        sandbox.run(&after(&json!({ "command": script, "backoff": { "initial": 0 } }), "succeeded"));
    sandbox.until_lines("order", 4);
    assert_eq!(sandbox.read("order"), "first\nfirst\nfirst\nsecond\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn process_compose_544_who_comes_late_while_it_is_not_ready_is_not_forgotten() {
    let sandbox = Sandbox::new();
    sandbox.write("go", "");
    let first = json!({ "command": ["probe", "ready"], "ready": "notify", "ready_timeout": "10m", "backoff": { "initial": 0 } });
    let mut config = after(&first, "ready");
    config["workers"]["second"]["autostart"] = json!(false);
    let mut run = sandbox.run(&config);
    let pid = run.until_state("first", "running").pid.unwrap();
    std::fs::remove_file(sandbox.path().join("go")).unwrap();
    kill_9(pid);
    run.until_state("first", "starting");
    sandbox.supervisor(&["start", "second", "--no-wait"]).ends_with(0);
    run.until_state("second", "waiting");
    sandbox.write("go", "");
    run.until_state("second", "running");
    assert_eq!(run.stop(), 0);
}

#[test]
fn circus_935_a_run_can_be_stopped_while_it_starts() {
    let sandbox = Sandbox::new();
    let first =
        json!({ "command": "echo $$ > pid; exec sleep 1000", "ready": "notify", "ready_timeout": "10m" });
    let mut run = sandbox.run(&after(&first, "ready"));
    let pid = sandbox.until_pid("pid");
    run.until_state("second", "waiting");
    run.stop();
    until_gone(pid);
    assert_eq!(sandbox.read("order"), "");
}

#[test]
fn process_compose_354_a_stop_that_hangs_names_who_is_to_blame() {
    let sandbox = Sandbox::new();
    let deaf = json!({ "command": "trap '' TERM; echo up > up; while :; do sleep 0.05; done", "stop": { "grace": "10m" } });
    let mut run = sandbox.run(&json!({ "name": "r", "workers": {
        "deaf": deaf, "quick": { "command": ["sleep", "1000"] } } }));
    sandbox.until_written("up");
    let pid = run.leader("deaf", 0);
    let mut shutdown = sandbox.shell().arg("exec supervisor shutdown 2> reminders").spawn().expect("a shell");
    // To whoever asks, to whoever waits, and in what the supervisor itself says.
    let why = until("it is told whom the stop waits for", || {
        run.instance("deaf", 0).why.filter(|why| why.contains("waits for"))
    });
    assert!(why.contains(&format!("pid {pid}")), "{why}");
    until("the supervisor names it", || run.err().contains(&format!("pid {pid}")).then_some(()));
    assert_eq!(run.instance("quick", 0).pid, None, "it waits for nobody else");
    until("who waits is reminded of it", || {
        let told = sandbox.read("reminders");
        (told.contains("deaf:0 is stopping") && told.contains(&format!("pid {pid}"))).then_some(())
    });
    sandbox.supervisor(&["kill", "deaf", "--signal", "KILL"]).ends_with(0);
    assert_eq!(end_of(&mut shutdown).code(), Some(0));
    run.wait();
}

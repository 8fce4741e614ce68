//! Which verbs a worker of another user may use, and which not.

use serde_json::json;
use tests::{Sandbox, lives, until};

use crate::{NOBODY, SOMEBODY, door, from_outside, nobody, of, sandbox_of_root, written};

/// A worker that says the exit code of each command, one a line, and what they said.
fn exit_codes(commands: &[&str]) -> String {
    let each = commands.iter().map(|command| format!("{command}; echo $? >> codes.new"));
    let all = each.collect::<Vec<_>>().join("; ");
    format!("({all}) > said 2>&1; mv codes.new codes")
}

fn codes_of(sandbox: &Sandbox, count: usize) -> Vec<String> {
    let codes = written(sandbox, "codes");
    assert_eq!(codes.len(), count, "{}", sandbox.read("said"));
    codes
}

#[test]
fn everything_that_a_worker_does_works_from_a_script_of_nobody() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let commands = [
        "id -un",
        "supervisor status",
        "supervisor status w --json",
        "supervisor --name config status",
        "supervisor queue ls --json",
        "supervisor queue put jobs one",
        "echo two | supervisor queue put jobs",
        "supervisor queue full jobs",
        "supervisor queue peek jobs; echo",
        "supervisor queue get jobs; echo",
        "supervisor queue len jobs",
        "supervisor queue drain jobs",
        "printf 'a\\nb\\n' | supervisor queue put jobs --lines",
        "supervisor queue close jobs",
        "supervisor queue each jobs -- sh -c 'echo each $SUPERVISOR_MESSAGE'",
        "supervisor lock run ledger -- echo under lock",
        "supervisor lock ls",
        "supervisor semaphore run gpu -- echo under semaphore",
        "supervisor event set go",
        "supervisor event wait go",
        "supervisor event clear go",
        "supervisor value set total 40",
        "supervisor value add total 2",
        "supervisor lock create another",
        "supervisor lock run another -- true",
    ];
    let mut run = sandbox.run(&json!({
        "queues": { "jobs": { "capacity": 2 } }, "locks": ["ledger"], "semaphores": { "gpu": 1 }, "events": ["go"],
        "values": { "total": 0 }, "workers": { "w": of(NOBODY, &exit_codes(&commands)) },
    }));
    let codes = codes_of(&sandbox, commands.len());
    assert!(codes.iter().all(|code| code == "0"), "{codes:?}\n{}", sandbox.read("said"));
    let said = sandbox.read("said");
    for told in [
        "nobody\n",
        "w:0",
        "\"queue\":\"jobs\"",
        "one\none\n1\n",
        "each a\neach b\n",
        "under lock\n",
        "under semaphore\n",
        "42\n",
    ] {
        let flat = said.replace(": ", ":");
        assert!(flat.contains(told), "{told:?} is missing in {said}");
    }
    assert_eq!(sandbox.supervisor(&["value", "get", "total"]).ends_with(0).out, "42\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn nothing_that_commands_the_supervisor_is_granted_to_nobody_and_nothing_happens() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let plan = json!({ "name": "config", "workers": { "evil": { "command": "touch evil" } } });
    sandbox.write("plan.json", plan.to_string());
    let plan = sandbox.path().join("plan.json").display().to_string();
    let (planned, applied) = (format!("supervisor plan {plan}"), format!("supervisor apply {plan}"));
    let commands = [
        "supervisor spawn -- touch spawned",
        "supervisor stop victim",
        "supervisor start idle",
        "supervisor restart victim",
        "supervisor scale victim=3",
        "supervisor kill victim",
        "supervisor kill victim --signal KILL --tree",
        "supervisor kill $(cat victim.pid) --foreign",
        "supervisor wait victim",
        "supervisor logs victim",
        "supervisor events",
        "supervisor why victim",
        "supervisor ps",
        &planned,
        &applied,
        "supervisor shutdown",
        "supervisor queue create more",
        "supervisor queue create more --durable",
        "supervisor queue rm jobs",
    ];
    let mut run = sandbox.run(&json!({ "queues": { "jobs": {} }, "workers": {
        "victim": { "command": "echo secret; echo $$ > victim.pid; exec sleep 1000", "restart": "never" },
        "idle": { "command": "touch started", "autostart": false },
        "w": { "after": { "victim": "ready" }, "command": of(NOBODY, &exit_codes(&commands))["command"], "user": NOBODY,
               "restart": "never" },
    } }));
    let codes = codes_of(&sandbox, commands.len());
    let said = sandbox.read("said");
    assert!(codes.iter().all(|code| code == "9"), "{codes:?}\n{said}");
    for told in [
        "a worker that runs as another user than its supervisor may not add workers",
        "may not send signals",
        "may not end the run",
        "hint: ask as the user who runs the supervisor, or as root",
    ] {
        assert!(said.contains(told), "{told:?} is missing in {said}");
    }
    assert!(!said.contains("secret"));
    let victim = run.instance("victim", 0);
    assert_eq!((victim.state.as_str(), victim.launch, victim.restarts), ("running", Some(1), 0));
    assert_eq!(sandbox.until_pid("victim.pid"), victim.pid.expect("it lives"));
    assert!(lives(victim.pid.expect("it lives")));
    let names: Vec<_> = run.status().workers.into_iter().map(|row| row.worker).collect();
    assert_eq!(names, ["victim", "idle", "w"]);
    for made in ["spawned", "started", "evil"] {
        assert!(!sandbox.has(made), "{made}");
    }
    assert_eq!(sandbox.supervisor(&["queue", "ls", "--json"]).json().as_array().map(Vec::len), Some(1));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_of_nobody_learns_why_and_what_is_printed_of_those_of_nobody_and_of_no_others() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let commands = [
        "supervisor why w",
        "supervisor why fellow:0 --json",
        "supervisor logs",
        "supervisor logs fellow",
        "supervisor why victim",
        "supervisor logs victim",
        "supervisor logs other",
        "supervisor why nowhere",
    ];
    let waits = json!({ "victim": "ready", "fellow": "ready", "other": "ready" });
    let printed = "for w in w fellow; do until supervisor logs $w | grep -q words; do sleep 0.01; done; done";
    let mut worker = of(NOBODY, &format!("echo own words; {printed}; {}", exit_codes(&commands)));
    worker["after"] = waits;
    let mut run = sandbox.run(&json!({ "workers": {
        "victim": { "command": "echo secret of ours; exec sleep 1000" },
        "other": of(SOMEBODY, "echo secret of somebody"),
        "fellow": of(NOBODY, "echo words of a fellow"),
        "w": worker,
    } }));
    let codes = codes_of(&sandbox, commands.len());
    let said = sandbox.read("said");
    assert_eq!(codes, ["0", "0", "0", "0", "9", "9", "9", "9"], "{said}");
    for told in [
        "w      | own words",
        "words of a fellow",
        "may not ask for the reasons of worker \"victim\"",
        "may not read what is printed by worker \"other\"",
    ] {
        assert!(said.contains(told), "{told:?} is missing in {said}");
    }
    assert!(!said.contains("secret"), "{said}");
    run.stop();
}

#[test]
fn the_door_answers_bare_requests_as_it_answers_the_command() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let ask =
        |method: &str, path: &str, body: &str| format!("probe ask {method} {path} '{body}' >> said.new");
    let asked = [
        ask("GET", "/v1/openapi.json", ""),
        ask("GET", "/v1/status", ""),
        ask("POST", "/v1/shutdown", "{}"),
        ask("POST", "/v1/kill", r#"{"whom":{"pid":1}}"#),
        ask("POST", "/v1/join", r#"{"server":"/run/x","nonce":"0","abi":2}"#),
        ask("POST", "/v1/nothing", ""),
        ask("POST", "/v1/tell", r#""ready""#),
        ask("POST", "/v1/queues/jobs/handle", ""),
        ask("POST", "/v1/queues/none/handle", ""),
    ];
    let mut run = sandbox.run(&json!({ "queues": { "jobs": {} }, "workers": {
        "w": of(NOBODY, &format!("{}; mv said.new said", asked.join("; "))) } }));
    let lines = written(&sandbox, "said");
    let status = |line: &str| line.split(' ').next().map(str::to_owned).expect("a status");
    let statuses: Vec<String> = lines.iter().map(|line| status(line)).collect();
    assert_eq!(statuses, ["200", "200", "403", "403", "403", "404", "200", "200", "404"], "{lines:#?}");
    assert!(lines[0].contains("Workers that run as another user may ask this too."));
    assert!(
        lines[1].contains(r#""config":null"#),
        "where the config lies is the owner's affair: {}",
        lines[1]
    );
    assert!(lines[7].contains(r#""path":null"#), "{}", lines[7]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn the_reasons_of_others_are_not_told_and_ones_own_are() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let line = "probe status 'my secret' & sleep 0; until [ -e told ]; do sleep 0.01; done; \
                supervisor status --json > said.new; mv said.new said";
    let mut run = sandbox.run(&json!({ "workers": {
        "other": { "command": ["probe", "status", "a secret of root"], "restart": "never" },
        "w": of(NOBODY, line),
    } }));
    let says = |worker: &str, text: &str| run.instance(worker, 0).why.as_deref() == Some(text);
    until("both have said it", || {
        (says("other", "a secret of root") && says("w", "my secret")).then_some(())
    });
    sandbox.write("told", "");
    let said = sandbox.until_written("said");
    assert!(!said.contains("a secret of root") && said.contains("my secret"), "{said}");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_that_lists_queues_gets_those_and_no_others() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let commands = [
        "supervisor queue put results r",
        "supervisor queue close jobs",
        "supervisor queue get jobs",
        "supervisor queue put failed f",
        "supervisor queue put secret s",
        "supervisor queue get secret --nowait",
        "supervisor queue peek secret",
        "supervisor queue close secret",
        "supervisor queue put nothing n",
        "supervisor queue len secret",
        "supervisor queue close results",
    ];
    let mut worker = of(NOBODY, &exit_codes(&commands));
    worker["queues"] = json!({ "get": ["jobs"], "put": ["results"] });
    let mut run = sandbox.run(&json!({
        "queues": { "jobs": { "max_deliveries": 2, "dead_letter": "failed" }, "results": {}, "failed": {}, "secret": {} },
        "workers": { "w": worker },
    }));
    sandbox.supervisor(&["queue", "put", "jobs", "j"]).ends_with(0);
    let codes = codes_of(&sandbox, commands.len());
    let said = sandbox.read("said");
    assert_eq!(codes, ["0", "9", "0", "0", "9", "9", "9", "9", "4", "4", "0"], "{said}");
    for told in [
        "worker w runs as another user and may not use queue \"secret\"",
        "hint: list it in the config, in workers.w.queues under \"get\" or \"put\"",
        "worker w runs as another user and may not close queue \"jobs\"",
    ] {
        assert!(said.contains(told), "{told:?} is missing in {said}");
    }
    let rows = sandbox.supervisor(&["queue", "ls", "--json"]).json();
    let secret =
        rows.as_array().expect("rows").iter().find(|row| row["queue"] == "secret").expect("it is there");
    assert_eq!((&secret["puts"], &secret["closed"]), (&json!(0), &json!(false)));
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_of_one_user_is_nothing_at_the_door_of_another() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut run = sandbox.run(&json!({ "workers": {
        "a": of(NOBODY, "true"),
        "b": { "command": "until [ -e door ]; do sleep 0.01; done; SUPERVISOR_SOCKET=$(cat door) supervisor status \
                           2> said; echo $? > code; exec sleep 1000",
               "user": SOMEBODY.to_string(), "group": SOMEBODY.to_string(), "restart": "never" },
    } }));
    run.until_launch("a", 1);
    run.until_launch("b", 1);
    let (nobodys, somebodys) = (door(&run, "a"), door(&run, "b"));
    assert_ne!(nobodys, somebodys);
    sandbox.write("door.new", nobodys.display().to_string());
    std::fs::rename(sandbox.path().join("door.new"), sandbox.path().join("door")).expect("it is ours");
    assert_eq!(written(&sandbox, "code"), ["9"], "{}", sandbox.read("said"));
    // Whoever is of the right user and no worker is let in by the file system, and refused by the supervisor.
    let said = from_outside(&sandbox, nobody(), &nobodys, &["status"]).ends_with(9);
    said.tells("is not of a worker of this run");
    // What such a process says of itself is not believed.
    let mut command = crate::as_user(nobody());
    command.arg(tests::program("probe")).args(["ask", "POST", "/v1/tell", "\"ready\""]);
    command.envs([("SUPERVISOR_WORKER", "b"), ("SUPERVISOR_INSTANCE", "0"), ("SUPERVISOR_LAUNCH", "1")]);
    command.env("SUPERVISOR_FOLDER", run.socket().parent().expect("a folder"));
    command.env("SUPERVISOR_SOCKET", &nobodys).current_dir("/");
    let said = tests::Said::of(&mut command).ends_with(0);
    assert!(said.out.starts_with("403 "), "{}", said.out);
    assert_eq!(run.stop(), 0);
}

#[test]
fn readiness_and_signs_of_life_count_for_the_worker_that_gives_them() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let told =
        json!({ "command": ["probe", "ready"], "user": NOBODY, "ready": "notify", "restart": "never" });
    let mut by_socket = told.clone();
    by_socket["command"] = json!("probe tell READY=1; exec sleep 1000");
    (by_socket["private_tmp"], by_socket["cwd"]) = (json!("mount"), json!("/"));
    let mut beating = told.clone();
    beating["command"] = json!("probe heartbeat 50");
    (beating["watchdog"], beating["ready"]) = (json!("2s"), json!("start"));
    let mut silent = beating.clone();
    (silent["command"], silent["watchdog"]) = (json!("exec sleep 1000"), json!("100ms"));
    let mut run = sandbox.run(&json!({ "workers": {
        "sdk": told, "socket": by_socket, "beating": beating, "silent": silent,
    } }));
    until("who says it by the socket is ready", || {
        (run.instance("socket", 0).state == "running").then_some(())
    });
    until("who says nothing is ended", || (run.instance("silent", 0).state == "failed").then_some(()));
    assert_eq!(run.instance("sdk", 0).state, "starting");
    sandbox.write("go", "");
    until("who says it through the SDK is ready", || {
        (run.instance("sdk", 0).state == "running").then_some(())
    });
    assert_eq!(run.instance("beating", 0).state, "running");
    assert_eq!(run.stop(), 134, "the silent one was ended by SIGABRT");
}

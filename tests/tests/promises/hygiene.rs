//! What a worker gets, and what it does not get.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Run, Said, Sandbox, programs};

/// A run of one worker that is not started again.
fn one(command: impl Into<Value>, more: &Value) -> Value {
    let mut worker = json!({ "command": command.into(), "restart": "never" });
    for (key, value) in more.as_object().expect("keys and values") {
        worker[key] = value.clone();
    }
    json!({ "name": "r", "workers": { "w": worker } })
}

/// Runs a worker to its end, and says what it wrote on standard output.
#[track_caller]
fn output_of(sandbox: &Sandbox, command: impl Into<Value>, more: &Value) -> String {
    let mut config = one(command, more);
    config["workers"]["w"]["stdout"] = json!("output");
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.err());
    sandbox.read("output")
}

/// The lines `NAME: VALUE` or `NAME=VALUE` as a map.
fn table(text: &str, between: char) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(between));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[test]
fn a_worker_has_no_descriptors_but_three() {
    let sandbox = Sandbox::new();
    // The fourth is the folder that is being listed.
    assert_eq!(output_of(&sandbox, json!(["ls", "/proc/self/fd"]), &json!({})), "0\n1\n2\n3\n");
}

#[test]
fn a_worker_starts_with_no_signal_blocked_or_ignored() {
    let sandbox = Sandbox::new();
    let status = table(&output_of(&sandbox, json!(["cat", "/proc/self/status"]), &json!({})), ':');
    assert_eq!(u64::from_str_radix(&status["SigBlk"], 16), Ok(0));
    assert_eq!(u64::from_str_radix(&status["SigIgn"], 16), Ok(0));
}

#[test]
fn a_worker_is_clean_although_its_supervisor_was_started_dirty() {
    let sandbox = Sandbox::new();
    let mut config = one("ls /proc/self/fd > fds; exec cat /proc/self/status", &json!({}));
    config["workers"]["w"]["stdout"] = json!("status");
    sandbox.write("r.json", config.to_string());
    let mut command = sandbox.shell();
    command.args(["trap '' INT QUIT HUP USR1 USR2 PIPE CHLD ALRM; exec 7</dev/null 9</dev/zero; \
         exec probe blocked supervisor run r.json"]);
    Said::of(&mut command).ends_with(0);
    let status = table(&sandbox.read("status"), ':');
    assert_eq!(u64::from_str_radix(&status["SigBlk"], 16), Ok(0));
    assert_eq!(u64::from_str_radix(&status["SigIgn"], 16), Ok(0));
    assert_eq!(sandbox.read("fds"), "0\n1\n2\n3\n");
}

#[test]
fn a_supervisor_that_was_started_with_signals_blocked_hears_them_all_the_same() {
    let sandbox = Sandbox::new();
    let config = one(json!(["sleep", "1000"]), &json!({}));
    sandbox.write("r.json", config.to_string());
    let mut command = sandbox.shell();
    command.args(["trap '' TERM INT CHLD; exec probe blocked supervisor run r.json"]);
    let child =
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    tests::until("the worker runs", || sandbox.supervisor(&["status"]).out.contains("running").then_some(()));
    nix::sys::signal::kill(process::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    Said::at_the_end_of(child).ends_with(0);
}

#[test]
fn a_worker_leads_a_session_of_its_own() {
    let sandbox = Sandbox::new();
    let stat = output_of(&sandbox, json!(["cat", "/proc/self/stat"]), &json!({}));
    let fields: Vec<&str> = stat.split_whitespace().collect();
    let (pid, group, session, terminal) = (fields[0], fields[4], fields[5], fields[6]);
    assert_eq!((group, session, terminal), (pid, pid, "0"));
}

#[test]
fn a_worker_is_told_who_it_is() {
    let sandbox = Sandbox::new();
    let mut config = one(
        "exec env > \"env.$SUPERVISOR_INSTANCE\"",
        &json!({ "instances": 2, "args": [1, "x", null], "kwargs": { "name": "zax", "age": 10 } }),
    );
    config["name"] = json!("told");
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0);
    for instance in ["0", "1"] {
        let env = table(&sandbox.read(&format!("env.{instance}")), '=');
        let socket = sandbox.runtime().join("told/socket");
        assert_eq!(env["SUPERVISOR_NAME"], "told");
        assert_eq!(env["SUPERVISOR_SOCKET"], socket.to_str().unwrap());
        assert_eq!(env["SUPERVISOR_WORKER"], "w");
        assert_eq!(env["SUPERVISOR_INSTANCE"], instance);
        assert_eq!(env["SUPERVISOR_LAUNCH"], "1");
        assert_eq!(env["SUPERVISOR_PID"], run.pid().to_string());
        assert_eq!(serde_json::from_str::<Value>(&env["SUPERVISOR_ARGS"]).unwrap(), json!([1, "x", null]));
        let kwargs: Value = serde_json::from_str(&env["SUPERVISOR_KWARGS"]).unwrap();
        assert_eq!(kwargs, json!({ "name": "zax", "age": 10 }));
        assert!(
            !env.contains_key("NOTIFY_SOCKET") && !env.contains_key("WATCHDOG_USEC"),
            "nobody asked for them"
        );
    }
}

#[test]
fn args_and_kwargs_are_empty_where_there_are_none() {
    let sandbox = Sandbox::new();
    let env = table(&output_of(&sandbox, json!(["env"]), &json!({})), '=');
    assert_eq!((env["SUPERVISOR_ARGS"].as_str(), env["SUPERVISOR_KWARGS"].as_str()), ("[]", "{}"));
}

#[test]
fn each_launch_is_told_its_own_number() {
    let sandbox = Sandbox::new();
    let script = "echo $SUPERVISOR_LAUNCH >> launches; [ $SUPERVISOR_LAUNCH -ge 3 ]";
    let mut config = one(script, &json!({ "backoff": { "initial": 0 } }));
    config["workers"]["w"]["restart"] = json!("on-failure");
    assert_eq!(sandbox.run_to_its_end(&config).0, 0);
    assert_eq!(sandbox.read("launches"), "1\n2\n3\n");
}

#[test]
fn the_sdk_says_the_same() {
    let sandbox = Sandbox::new();
    let told =
        output_of(&sandbox, json!(["probe", "who"]), &json!({ "args": [1, "x"], "kwargs": { "age": 10 } }));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["run"], &told["worker"]), (&json!("r"), &json!("w")));
    assert_eq!((&told["instance"], &told["launch"]), (&json!(0), &json!(1)));
    assert_eq!(told["ppid"], told["supervisor"]);
    assert_eq!((&told["args"], &told["kwargs"]), (&json!([1, "x"]), &json!({ "age": 10 })));
}

#[test]
fn the_folder_of_the_supervisor_stands_at_the_end_of_the_path() {
    let sandbox = Sandbox::new();
    let config = one("echo \"$PATH\" > path; command -v worker-counter >> path", &json!({}));
    let path = sandbox.write("r.json", config.to_string());
    let mut command = Command::new(programs().join("supervisor"));
    command.current_dir(sandbox.path()).arg("run").arg(path).env("SUPERVISOR_RUNTIME_DIR", sandbox.runtime());
    command.env("PATH", "/usr/bin:/bin");
    Said::of(&mut command).ends_with(0);
    let programs = programs();
    let programs = programs.to_str().unwrap();
    assert_eq!(sandbox.read("path"), format!("/usr/bin:/bin:{programs}\n{programs}/worker-counter\n"));
}

#[test]
fn a_worker_has_the_supervisors_environment_and_over_it_what_its_config_says() {
    let sandbox = Sandbox::new();
    sandbox
        .write(".env", "# a file\nFROM_FILE=file\nBOTH=file\nexport EXPORTED=yes\nQUOTED=\"two words\"\n\n");
    let more = json!({ "env_file": ".env", "env": { "BOTH": "config", "MINE": "mine", "EMPTY": "" } });
    let mut config = one(json!(["env"]), &more);
    config["workers"]["w"]["stdout"] = json!("output");
    sandbox.write("r.json", config.to_string());
    let mut command = sandbox.command("supervisor");
    Said::of(command.args(["run", "r.json"]).env("INHERITED", "yes").env("MINE", "supervisor")).ends_with(0);
    let env = table(&sandbox.read("output"), '=');
    assert_eq!(env["INHERITED"], "yes");
    assert_eq!(
        (env["FROM_FILE"].as_str(), env["BOTH"].as_str(), env["MINE"].as_str()),
        ("file", "config", "mine")
    );
    assert_eq!(
        (env["EXPORTED"].as_str(), env["QUOTED"].as_str(), env["EMPTY"].as_str()),
        ("yes", "two words", "")
    );
}

#[test]
fn clear_env_leaves_nothing_of_the_supervisors_environment() {
    let sandbox = Sandbox::new();
    let mut config =
        one(json!(["env"]), &json!({ "clear_env": true, "env": { "MINE": "mine" }, "stdout": "output" }));
    config["workers"]["w"]["command"] = json!(["/usr/bin/env"]);
    sandbox.write("r.json", config.to_string());
    let mut command = sandbox.command("supervisor");
    Said::of(command.args(["run", "r.json"]).env("SECRET", "secret").env("HOME", "/secret")).ends_with(0);
    let env = table(&sandbox.read("output"), '=');
    let names: BTreeSet<&str> =
        env.keys().map(String::as_str).filter(|name| !name.starts_with("SUPERVISOR_")).collect();
    assert_eq!(names, BTreeSet::from(["MINE", "PATH"]));
    assert!(!env.contains_key("SUPERVISOR_RUNTIME_DIR"), "that is the supervisor's own");
}

#[test]
fn a_worker_runs_in_its_folder_which_is_the_configs_unless_told_otherwise() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path().join("sub")).unwrap();
    let here = sandbox.path().canonicalize().unwrap();
    assert_eq!(output_of(&sandbox, json!(["pwd", "-P"]), &json!({})), format!("{}\n", here.display()));
    std::fs::remove_file(sandbox.path().join("output")).unwrap();
    let sub = output_of(&sandbox, json!(["pwd", "-P"]), &json!({ "cwd": "sub" }));
    assert_eq!(sub, format!("{}/sub\n", here.display()));
}

#[test]
fn relative_paths_are_relative_to_the_config_and_not_to_whoever_starts_it() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path().join("elsewhere")).unwrap();
    let script = sandbox.write("tool", "#!/bin/sh\necho ran\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = sandbox.write("r.json", one(json!(["./tool"]), &json!({ "stdout": "output" })).to_string());
    let mut command = sandbox.command("supervisor");
    Said::of(command.arg("run").arg(config).current_dir(sandbox.path().join("elsewhere"))).ends_with(0);
    assert_eq!(sandbox.read("output"), "ran\n");
}

#[test]
fn a_worker_has_the_umask_and_the_niceness_of_its_config() {
    let sandbox = Sandbox::new();
    let script = "touch made; cut -d ' ' -f 19 /proc/self/stat > nice; umask > umask";
    let (code, run) = sandbox.run_to_its_end(&one(script, &json!({ "umask": "027", "nice": 19 })));
    assert_eq!(code, 0, "{}", run.err());
    let mode = std::fs::metadata(sandbox.path().join("made")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(sandbox.read("umask").trim().trim_start_matches('0'), "27");
    assert_eq!(sandbox.read("nice"), "19\n");
}

#[test]
fn the_umask_is_022_unless_told_otherwise() {
    let sandbox = Sandbox::new();
    let config = sandbox.write("r.json", one("umask > umask", &json!({})).to_string());
    let mut command = sandbox.shell();
    command.args(["umask 077; exec supervisor run \"$0\""]).arg(config);
    Said::of(&mut command).ends_with(0);
    assert_eq!(sandbox.read("umask").trim().trim_start_matches('0'), "22");
}

#[test]
fn standard_input_is_at_its_end_unless_told_otherwise() {
    let sandbox = Sandbox::new();
    let script = "readlink /proc/self/fd/0; cat; echo end";
    assert_eq!(output_of(&sandbox, script, &json!({})), "/dev/null\nend\n");
}

#[test]
fn standard_input_comes_from_a_file_or_from_the_supervisors_own() {
    let sandbox = Sandbox::new();
    sandbox.write("input", "from a file\n");
    assert_eq!(output_of(&sandbox, json!(["cat"]), &json!({ "stdin": "input" })), "from a file\n");
    std::fs::remove_file(sandbox.path().join("output")).unwrap();
    let config = sandbox
        .write("r.json", one(json!(["cat"]), &json!({ "stdin": "inherit", "stdout": "output" })).to_string());
    sandbox.supervisor_with_input(&["run", config.to_str().unwrap()], b"from the supervisor\n").ends_with(0);
    assert_eq!(sandbox.read("output"), "from the supervisor\n");
}

#[test]
fn a_standard_input_that_does_not_exist_fails_the_worker_with_its_name() {
    let sandbox = Sandbox::new();
    let (code, run) = sandbox.run_to_its_end(&one(json!(["cat"]), &json!({ "stdin": "not-there" })));
    assert_eq!(code, 1);
    assert!(run.err().contains("not-there"), "{}", run.err());
}

#[test]
fn standard_output_and_error_go_where_the_config_says() {
    let sandbox = Sandbox::new();
    let script = "echo out; echo err >&2";
    let run = |more: &Value| -> Run {
        let (code, run) = sandbox.run_to_its_end(&one(script, more));
        assert_eq!(code, 0, "{}", run.err());
        run
    };
    run(&json!({ "stdout": "out.txt", "stderr": "err.txt" }));
    assert_eq!((sandbox.read("out.txt"), sandbox.read("err.txt")), ("out\n".to_owned(), "err\n".to_owned()));
    run(&json!({ "stdout": "out.txt", "stderr": "null" }));
    assert_eq!(sandbox.read("out.txt"), "out\nout\n", "a file is appended to");
    let before = sandbox.read("r.out");
    run(&json!({ "stdout": "null", "stderr": "null" }));
    assert_eq!(sandbox.read("r.out"), before);
    let inherited = run(&json!({ "stdout": "inherit", "stderr": "null" }));
    assert_eq!(inherited.out(), before.clone() + "out\n");
    let logged = run(&json!({}));
    let new = logged.out();
    let lines: Vec<&str> = new.lines().filter(|line| line.contains('w')).collect();
    assert!(
        lines.iter().any(|line| line.ends_with("out")) && lines.iter().any(|line| line.ends_with("err")),
        "{new}"
    );
    assert!(!new.contains('\u{1b}'), "colour where there is no terminal");
}

#[test]
fn a_log_file_gets_every_line_also_the_last_without_a_newline() {
    let sandbox = Sandbox::new();
    let script = "i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done; printf last";
    let more = json!({ "log": { "file": "w.log", "format": "raw" } });
    assert_eq!(sandbox.run_to_its_end(&one(script, &more)).0, 0);
    let log = sandbox.read("w.log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 1001);
    assert_eq!((lines[0], lines[999], lines[1000]), ("line 0", "line 999", "last"));
}

#[test]
fn a_worker_without_arguments_of_its_own_sees_none_of_the_supervisors() {
    let sandbox = Sandbox::new();
    let cmdline = output_of(&sandbox, json!(["cat", "/proc/self/cmdline"]), &json!({}));
    assert_eq!(cmdline, "cat\0/proc/self/cmdline\0");
}

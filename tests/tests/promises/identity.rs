//! Whom workers run as, and how they are preferred to others.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use nix::unistd::{User, geteuid};
use serde_json::{Value, json};
use tests::{Said, Sandbox, is_root, skipped, until};

/// A user that every machine has and that has no rights.
const NOBODY: &str = "nobody";

/// A worker that writes what a command says to the file `said`.
fn saying(command: &str) -> Value {
    json!({ "command": format!("({command}) > said"), "restart": "never" })
}

/// A sandbox that others may look into and write to.
fn open_sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::set_permissions(sandbox.path(), std::fs::Permissions::from_mode(0o777)).expect("it is ours");
    sandbox
}

fn with(mut worker: Value, keys: &Value) -> Value {
    for (key, value) in keys.as_object().expect("keys") {
        worker[key] = value.clone();
    }
    worker
}

/// What a worker with these keys says, line by line.
#[track_caller]
fn said(sandbox: &Sandbox, command: &str, keys: &Value) -> Vec<String> {
    let (code, run) = sandbox.run_to_its_end(&json!({ "workers": { "w": with(saying(command), keys) } }));
    assert_eq!(code, 0, "{}", run.err());
    sandbox.read("said").lines().map(str::to_owned).collect()
}

/// `supervisor` with these arguments as a user without rights; `None` where nobody can become one.
fn as_nobody(sandbox: &Sandbox, arguments: &[&str]) -> Option<Said> {
    if !is_root() {
        return Some(sandbox.supervisor(arguments));
    }
    let nobody = User::from_name(NOBODY).ok()??;
    let supervisor = tests::program("supervisor");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &nobody.uid.to_string(), "--regid", &nobody.gid.to_string(), "--clear-groups"]);
    command.arg("--bounding-set=-all").arg(supervisor).args(arguments);
    command.current_dir(sandbox.path()).env("SUPERVISOR_RUNTIME_DIR", sandbox.path().join("nobodys"));
    command.output().ok()?;
    Some(Said::of(&mut command))
}

#[test]
fn a_worker_runs_as_its_user_who_is_told_home_name_and_shell() {
    let sandbox = open_sandbox();
    let name = if is_root() { NOBODY.to_owned() } else { User::from_uid(geteuid()).unwrap().unwrap().name };
    let user = User::from_name(&name).unwrap().expect("it is on this machine");
    let asked = "id -un; id -u; id -g; id -G; echo $HOME; echo $USER; echo $LOGNAME; echo $SHELL";
    let lines = said(&sandbox, asked, &json!({ "user": name }));
    assert_eq!(lines[..3], [name.clone(), user.uid.to_string(), user.gid.to_string()]);
    assert!(lines[3].split(' ').any(|group| group == user.gid.to_string()), "{lines:?}");
    if is_root() {
        // None of root's own groups stay.
        assert!(!lines[3].split(' ').any(|group| group == "0"), "{lines:?}");
    }
    let home = user.dir.to_string_lossy().into_owned();
    assert_eq!(lines[4..7], [home, name.clone(), name]);
    assert!(lines[7].starts_with('/'), "{lines:?}");
    let file = std::fs::metadata(sandbox.path().join("said")).unwrap();
    assert_eq!(file.uid(), user.uid.as_raw());
}

#[test]
fn numbers_mean_users_and_groups_as_well_and_what_env_says_wins() {
    let sandbox = open_sandbox();
    let (uid, gid) = (geteuid().to_string(), nix::unistd::getegid().to_string());
    let (uid, gid) = if is_root() { ("65534".to_owned(), "12345".to_owned()) } else { (uid, gid) };
    let keys = json!({ "user": uid, "group": gid, "env": { "HOME": "/elsewhere" }, "clear_env": true });
    let lines = said(&sandbox, "id -u; id -g; echo $HOME", &keys);
    assert_eq!(lines, [uid, gid, "/elsewhere".to_owned()]);
}

#[test]
fn a_user_or_group_that_there_is_not_is_a_problem_of_the_config_at_its_place() {
    let sandbox = Sandbox::new();
    let config =
        json!({ "workers": { "w": { "command": ["true"], "user": "noboddy", "group": "no such group" } } });
    sandbox.write("config.json", config.to_string());
    for verb in ["check", "run"] {
        let said = sandbox.supervisor(&[verb, "config.json"]).ends_with(3);
        said.tells("workers.w.user").tells("there is no user \"noboddy\" on this machine");
        said.tells("workers.w.group").tells("there is no group \"no such group\" on this machine");
    }
    let problems = sandbox.supervisor(&["check", "config.json", "--json"]).ends_with(3).json();
    assert_eq!(problems[0]["path"], "workers.w.user");
    assert_eq!(problems[0]["line"], 1);
}

#[test]
fn without_the_right_to_it_another_user_and_more_urgency_are_refused_before_anything_starts() {
    let sandbox = open_sandbox();
    let config = json!({ "workers": { "w": {
        "command": "touch started", "user": "root", "nice": -20, "oom_score_adj": -500, "ionice": "realtime:0",
        "private_tmp": "mount",
    } } });
    sandbox.write("config.json", config.to_string());
    for verb in ["check", "run"] {
        let Some(said) = as_nobody(&sandbox, &[verb, "config.json"]) else {
            return skipped("this machine has no setpriv or no user nobody");
        };
        let said = said.ends_with(3);
        for (path, why) in [
            ("workers.w.user", "only root may run it as another user, \"root\""),
            ("workers.w.nice", "only root may make it less nice than the supervisor"),
            ("workers.w.oom_score_adj", "only root may make it less likely to be killed than the supervisor"),
            ("workers.w.ionice", "only root may give realtime input and output"),
            ("workers.w.private_tmp", "only root may mount a folder at /tmp"),
        ] {
            said.tells(path).tells(why);
        }
    }
    assert!(!sandbox.has("started"));
}

#[test]
fn what_is_optional_is_left_out_where_it_cannot_be_given_and_that_is_said() {
    let sandbox = open_sandbox();
    let config = json!({ "workers": { "w": {
        "command": "nice > said; echo $TMPDIR >> said", "nice": -20, "private_tmp": "mount", "restart": "never",
        "optional": ["nice", "private_tmp"],
    } } });
    sandbox.write("config.json", config.to_string());
    let Some(said) = as_nobody(&sandbox, &["run", "config.json"]) else {
        return skipped("this machine has no setpriv or no user nobody");
    };
    let said = said.ends_with(0);
    said.tells("workers.w.nice is optional and left out: only root may make it less nice");
    said.tells("workers.w.private_tmp is optional and left out: only root may mount");
    let text = sandbox.read("said");
    let lines: Vec<&str> = text.lines().collect();
    let own = Said::of(&mut Command::new("nice"));
    assert_eq!(lines[0], own.out.trim(), "it is as nice as the supervisor");
    assert!(lines[1].contains("/supervisor-config-"), "it has a folder at least: {lines:?}");
    let checked = as_nobody(&sandbox, &["check", "config.json"]).expect("as before").ends_with(0);
    checked.tells("workers.w.nice is optional and would be left out");
}

#[test]
fn niceness_disk_priority_oom_score_and_processors_are_as_asked() {
    let sandbox = Sandbox::new();
    let asked = "nice; cat /proc/self/oom_score_adj; grep Cpus_allowed_list /proc/self/status; \
                 grep NoNewPrivs /proc/self/status; umask";
    let processors: Vec<u16> = process::Processors::own().numbers().collect();
    let last = processors.last().expect("it runs on one").to_string();
    let keys = json!({
        "nice": 7, "oom_score_adj": 333, "cpus": last, "no_new_privs": true, "umask": "027", "ionice": "idle",
    });
    let lines = said(&sandbox, asked, &keys);
    let own: i32 = Said::of(&mut Command::new("nice")).out.trim().parse().expect("a number");
    if own > 7 && !is_root() {
        return skipped("this test runs with a high niceness, and nobody but root could lower it");
    }
    let expected =
        ["7", "333", &format!("Cpus_allowed_list:\t{last}"), "NoNewPrivs:\t1", "0027"].map(str::to_owned);
    assert_eq!(lines, expected);
}

#[test]
fn processors_that_there_are_not_are_refused_by_name() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "config.json",
        json!({ "workers": { "w": { "command": ["true"], "cpus": "8000" } } }).to_string(),
    );
    sandbox.supervisor(&["check", "config.json"]).ends_with(3).tells("this machine has the processors 0");
}

#[test]
fn temporary_files_of_its_own_go_with_each_launch() {
    let sandbox = Sandbox::new();
    let config = json!({ "workers": { "w": {
        "command": "echo $TMPDIR >> said; ls $TMPDIR | wc -l >> said; mkdir -p $TMPDIR/a/b; touch $TMPDIR/a/b/c; \
                    [ $SUPERVISOR_LAUNCH = 2 ]",
        "private_tmp": "folder", "backoff": { "initial": 0 },
    } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.err());
    let text = sandbox.read("said");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[1], lines[3]), ("0", "0"), "each launch finds it empty");
    for folder in [lines[0], lines[2]] {
        assert!(!std::path::Path::new(folder).exists(), "{folder} is gone");
    }
    let base = std::path::Path::new(lines[0]).parent().expect("it lies in a folder of the run's");
    assert!(!base.exists(), "and so is the run's");
}

#[test]
fn a_mounted_tmp_that_would_hide_the_workers_own_folder_is_told_before_anything_starts() {
    let sandbox = Sandbox::new();
    let here = sandbox.path().canonicalize().unwrap();
    if !is_root() || !(here.starts_with("/tmp") || here.starts_with("/var/tmp")) {
        return skipped("only root mounts a folder at /tmp, and it hides nothing but what lies there");
    }
    sandbox.write("prog", "");
    let config = json!({ "workers": {
        "w": { "command": "touch started", "private_tmp": "mount" },
        "p": { "command": ["./prog"], "cwd": "/", "private_tmp": "mount" },
        "fine": { "command": "true", "cwd": "/tmp", "private_tmp": "mount" },
    } });
    sandbox.write("config.json", config.to_string());
    for verb in ["check", "run"] {
        let said = sandbox.supervisor(&[verb, "config.json"]).ends_with(3);
        said.tells("2 problems").tells("workers.w.private_tmp").tells("workers.p.private_tmp");
        said.tells("its working folder, ").tells("its program, ").tells("which \"mount\" hides from it");
        said.tells("hint: have it elsewhere");
    }
    assert!(!sandbox.has("started"));
}

#[test]
fn a_mounted_tmp_is_seen_by_the_worker_alone() {
    let sandbox = Sandbox::new();
    let name = format!("only-there-{}", std::process::id());
    let command = format!("cd /; touch /tmp/{name}; ls /tmp; echo $TMPDIR; read never");
    let config = json!({ "workers": { "w": {
        "command": ["/bin/sh", "-c", format!("({command}) > /dev/fd/1")], "cwd": "/",
        "private_tmp": "mount", "stdout": "log", "stdin": "null", "restart": "never",
    } } });
    if !is_root() {
        sandbox.write("config.json", config.to_string());
        let said = sandbox.supervisor(&["check", "config.json"]).ends_with(3);
        said.tells("only root may mount a folder at /tmp");
        return;
    }
    let mut run = sandbox.run(&config);
    until("it is written", || run.out().contains("w | /tmp").then_some(()));
    assert!(run.out().contains(&format!("w | {name}\n")), "{}", run.out());
    assert!(!std::path::Path::new("/tmp").join(name).exists());
    run.exit_code();
}

#[test]
fn temporary_files_that_a_killed_supervisor_left_are_removed_by_the_next_run() {
    let sandbox = Sandbox::new();
    let config = json!({ "workers": { "w": {
        "command": "ls $TMPDIR | wc -l > found; touch $TMPDIR/file; echo $TMPDIR > said; exec sleep 1000",
        "private_tmp": "folder", "policy": "daemon",
    } } });
    let run = sandbox.run(&config);
    let left = sandbox.until_written("said").trim().to_owned();
    run.kill_9();
    assert!(std::path::Path::new(&left).join("file").exists());
    std::fs::remove_file(sandbox.path().join("said")).unwrap();
    let mut next = sandbox.run(&config);
    sandbox.until_written("said");
    assert_eq!(sandbox.read("found"), "0\n", "nothing of it is left");
    assert_eq!(next.stop(), 0);
    assert!(!std::path::Path::new(&left).parent().expect("a folder").exists());
}

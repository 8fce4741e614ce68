//! The doors themselves: who can open them, where they are, and what is left of them.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use serde_json::json;
use tests::{Said, Sandbox, is_root, until};

use crate::{NOBODY, SOMEBODY, as_user, door, nobody, of, sandbox_of_root};

#[test]
fn a_door_belongs_to_its_user_and_the_runs_own_socket_stays_where_it_was() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut run = sandbox.run(&json!({ "workers": {
        "w": of(NOBODY, "true"), "own": { "command": "exec sleep 1000" } } }));
    run.until_launch("w", 1);
    run.until_launch("own", 1);
    let door = door(&run, "w");
    assert_eq!(crate::door(&run, "own"), run.socket(), "the owner's workers have the run's own");
    let socket = std::fs::symlink_metadata(&door).expect("it is there");
    assert!(socket.file_type().is_socket());
    assert_eq!((socket.mode() & 0o7777, socket.uid()), (0o600, nobody()));
    for folder in [door.parent(), door.parent().and_then(|folder| folder.parent())] {
        let folder = std::fs::symlink_metadata(folder.expect("it lies in two")).expect("it is there");
        assert_eq!((folder.mode() & 0o7777, folder.uid()), (0o711, 0));
    }
    let own = std::fs::symlink_metadata(run.socket()).expect("it is there");
    assert_eq!((own.mode() & 0o7777, own.uid()), (0o600, 0));
    let folder = std::fs::symlink_metadata(run.socket().parent().expect("a folder")).expect("it is there");
    assert_eq!((folder.mode() & 0o7777, folder.uid()), (0o700, 0));
    assert_eq!(run.stop(), 0);
    assert!(!door.exists() && !door.parent().expect("a folder").exists());
}

#[test]
fn a_local_user_who_is_no_worker_cannot_even_connect() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut run = sandbox.run(&json!({ "workers": { "w": of(NOBODY, "true") } }));
    run.until_launch("w", 1);
    let knock = |uid: u32, path: &std::path::Path| {
        let mut command = as_user(uid);
        command.arg(tests::program("probe")).arg("knock").arg(path).current_dir("/");
        Said::of(&mut command).ends_with(0).out
    };
    let door = door(&run, "w");
    assert_eq!(knock(SOMEBODY, &door), "PermissionDenied\n");
    assert_eq!(knock(SOMEBODY, run.socket()), "PermissionDenied\n");
    assert_eq!(knock(nobody(), run.socket()), "PermissionDenied\n");
    assert_eq!(knock(nobody(), &door), "let in\n");
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_run_in_which_nobody_is_another_user_has_no_doors() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "workers": { "w": { "command": "exec sleep 1000" } } }));
    run.until_launch("w", 1);
    let folder = run.socket().parent().expect("a folder");
    assert!(folder.join("socket").exists() && !folder.join("doors").exists());
    assert_eq!(run.stop(), 0);
}

#[test]
fn a_worker_whose_tmp_is_its_own_finds_its_door_and_joins() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let mut run = sandbox.run(&json!({ "workers": { "w": {
        "command": ["probe", "who"], "user": NOBODY, "private_tmp": "mount", "cwd": "/", "restart": "never", "args": [1, "x"],
    } } }));
    let out = until("it has joined", || Some(run.out()).filter(|out| out.contains('{')));
    assert!(out.contains(r#""worker":"w""#) && out.contains(r#""args":[1,"x"]"#), "{out}");
    run.exit_code();
}

#[test]
fn an_applied_config_brings_the_doors_that_it_needs() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let own = json!({ "command": "exec sleep 1000" });
    let mut run = sandbox.run(&json!({ "queues": { "jobs": {} }, "workers": { "own": own } }));
    let line = "supervisor queue put jobs hi && echo put > put.new && mv put.new put";
    sandbox.write(
        "config.json",
        json!({ "queues": { "jobs": {} }, "workers": { "own": own, "w": of(SOMEBODY, line) } }).to_string(),
    );
    sandbox.supervisor(&["apply", "config.json"]).ends_with(0);
    sandbox.until_written("put");
    assert_eq!(sandbox.supervisor(&["queue", "get", "jobs"]).ends_with(0).out, "hi");
    let door = door(&run, "w");
    assert_eq!(run.stop(), 0);
    assert!(!door.exists());
}

#[test]
fn what_a_worker_of_another_user_prints_can_be_opened_anew() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let (code, run) = sandbox.run_to_its_end(&json!({ "queues": { "lines": {} }, "workers": {
        "w": { "command": "echo to out > /dev/stdout; echo to err > /dev/stderr; cat /dev/stdin", "user": NOBODY,
               "stdin": { "queue": "lines" }, "restart": "never" },
        "own": { "command": "echo from a queue", "stdout": { "queue": "lines" }, "restart": "never" },
    } }));
    assert_eq!(code, 0, "{}", run.err());
    for line in ["w   | to out\n", "w   | to err\n", "w   | from a queue\n"] {
        assert!(format!("{}{}", run.out(), run.err()).contains(line), "{line:?}: {}{}", run.out(), run.err());
    }
}

#[test]
fn a_machine_without_a_place_for_doors_is_a_problem_of_the_config() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let closed = sandbox.path().join("closed");
    std::fs::create_dir(&closed).expect("it is ours");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("it is ours");
    sandbox.write("config.json", json!({ "workers": { "w": of(NOBODY, "touch started") } }).to_string());
    let supervisor = tests::program("supervisor");
    for verb in ["check", "run"] {
        // Mounts of its own: nothing can be written to /run and /tmp, and the folder of temporary files is closed.
        let mounts =
            "mount -t tmpfs -o ro none /run && mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp";
        let line = format!("{mounts} && exec {} {verb} config.json", supervisor.display());
        let mut command = sandbox.command("supervisor");
        let mut unshared = std::process::Command::new("unshare");
        unshared.args(["--mount", "/bin/sh", "-c", &line]).current_dir(sandbox.path());
        for (name, value) in command.env("TMPDIR", &closed).get_envs() {
            match value {
                Some(value) => unshared.env(name, value),
                None => unshared.env_remove(name),
            };
        }
        let said = Said::of(&mut unshared).ends_with(3);
        said.tells("workers.w.user").tells("cannot be given a way to its supervisor: neither /run nor ");
    }
    assert!(!sandbox.has("started"));
}

#[test]
fn a_worker_of_the_owner_whose_tmp_is_its_own_joins_too() {
    if !is_root() {
        return tests::skipped("only root may mount a folder at /tmp");
    }
    // The run's folder is below /tmp, where everything else is covered, and somewhere else.
    let elsewhere = std::path::PathBuf::from("/run").join(tests::unique("supervisor-test"));
    for runtime in [None, Some(elsewhere)] {
        let sandbox = Sandbox::new();
        assert!(sandbox.path().starts_with(std::env::temp_dir()));
        let config = json!({ "queues": { "jobs": {} }, "workers": { "w": {
            "command": "probe who && probe put jobs 1 job- && supervisor queue get jobs && echo && ls /tmp && \
                        probe tell READY=1 && echo left > /tmp/left",
            "private_tmp": "mount", "cwd": "/", "restart": "never", "ready": "notify",
        } } });
        sandbox.write("config.json", config.to_string());
        let mut command = sandbox.command("supervisor");
        command.args(["run", "config.json"]);
        if let Some(runtime) = &runtime {
            command.env("SUPERVISOR_RUNTIME_DIR", runtime);
        }
        let said = Said::of(&mut command).ends_with(0);
        assert!(said.out.contains(r#""worker":"w""#) && said.out.contains("w | job-0"), "{}", said.out);
        let runtime = runtime.unwrap_or(sandbox.runtime());
        assert!(!runtime.exists() && !std::path::Path::new("/tmp/left").exists());
    }
}

#[test]
fn a_socket_that_is_opened_for_a_worker_of_another_user_belongs_to_that_user() {
    let Some(sandbox) = sandbox_of_root() else { return };
    let path = sandbox.path().join("served");
    let mut worker = of(NOBODY, "true");
    worker["listen"] = json!([format!("unix:{}", path.display())]);
    let mut run = sandbox.run(&json!({ "workers": { "w": worker } }));
    run.until_launch("w", 1);
    assert_eq!(std::fs::symlink_metadata(&path).expect("it is there").uid(), nobody());
    let mut command = as_user(nobody());
    command.arg(tests::program("probe")).arg("knock").arg(&path).current_dir("/");
    assert_eq!(Said::of(&mut command).ends_with(0).out, "let in\n");
    assert_eq!(run.stop(), 0);
    assert!(!path.exists());
}

#[test]
fn a_root_who_may_not_give_files_away_is_told_so_at_check_and_at_start() {
    let Some(sandbox) = sandbox_of_root() else { return };
    sandbox.write("config.json", json!({ "workers": { "w": of(NOBODY, "touch started") } }).to_string());
    for verb in ["check", "run"] {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--bounding-set=-chown", "--inh-caps=-chown"]).arg(tests::program("supervisor"));
        command.args([verb, "config.json"]).current_dir(sandbox.path());
        command.env("SUPERVISOR_RUNTIME_DIR", sandbox.runtime());
        let said = Said::of(&mut command).ends_with(3);
        said.tells("workers.w.user")
            .tells("this process may not give files away (CAP_CHOWN)")
            .tells("hint: ");
    }
    assert!(!sandbox.has("started"));
}

//! The runtime folder: made, kept to its owner, cleaned after a crash, gone at the end.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};
use tests::{Sandbox, is_root, lives, skipped};

fn sleeper() -> Value {
    json!({ "name": "r", "workers": { "w": { "command": ["sleep", "1000"] } } })
}

#[test]
fn nothing_of_the_run_is_left_in_it_at_the_end() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&sleeper());
    assert!(run.socket().exists());
    assert_eq!(run.stop(), 0);
    assert!(!sandbox.runtime().exists(), "{:?}", fs::read_dir(sandbox.runtime()).map(Iterator::count));
}

#[test]
fn what_is_no_socket_in_the_sockets_place_is_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("r.json", sleeper().to_string());
    let folder = sandbox.runtime().join("r");
    fs::create_dir_all(&folder).unwrap();
    for path in [sandbox.runtime(), folder.clone()] {
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }
    fs::write(folder.join("socket"), "precious").unwrap();
    let said = sandbox.supervisor(&["run", "r.json"]);
    assert!(said.code != 0 && said.err.contains("not a socket"), "{}", said.err);
    assert_eq!(fs::read_to_string(folder.join("socket")).unwrap(), "precious");
}

#[test]
fn a_run_folder_that_is_open_to_others_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("r.json", sleeper().to_string());
    let folder = sandbox.runtime().join("r");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(sandbox.runtime(), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    let said = sandbox.supervisor(&["run", "r.json"]).ends_with(9);
    assert!(said.err.contains(folder.to_str().unwrap()), "{}", said.err);
}

#[test]
fn a_runtime_folder_that_everybody_may_write_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("r.json", sleeper().to_string());
    fs::create_dir_all(sandbox.runtime()).unwrap();
    fs::set_permissions(sandbox.runtime(), Permissions::from_mode(0o777)).unwrap();
    sandbox.supervisor(&["run", "r.json"]).ends_with(9);
}

#[test]
fn a_runtime_folder_of_somebody_else_is_refused() {
    let sandbox = Sandbox::new();
    if !is_root() {
        return skipped("only root can give a folder to somebody else");
    }
    sandbox.write("r.json", sleeper().to_string());
    let folder = sandbox.runtime().join("r");
    fs::create_dir_all(&folder).unwrap();
    for path in [sandbox.runtime(), folder.clone()] {
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }
    std::os::unix::fs::chown(&folder, Some(65534), Some(65534)).unwrap();
    let said = sandbox.supervisor(&["run", "r.json"]).ends_with(9);
    assert!(said.err.contains(folder.to_str().unwrap()), "{}", said.err);
    std::os::unix::fs::chown(sandbox.runtime(), Some(65534), Some(65534)).unwrap();
    sandbox.supervisor(&["run", "r.json"]).ends_with(9);
}

#[test]
fn a_link_in_the_place_of_a_run_folder_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("r.json", sleeper().to_string());
    let elsewhere = sandbox.path().join("elsewhere");
    for path in [&elsewhere, &sandbox.runtime()] {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }
    symlink(&elsewhere, sandbox.runtime().join("r")).unwrap();
    sandbox.supervisor(&["run", "r.json"]).ends_with(9);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_path_longer_than_a_socket_address_is_no_obstacle() {
    let sandbox = Sandbox::new();
    let deep = sandbox.path().join("a-folder-with-a-rather-long-name/".repeat(6));
    sandbox.write("r.json", sleeper().to_string());
    let mut command = sandbox.command("supervisor");
    command.args(["run", "r.json", "--detach"]).env("SUPERVISOR_RUNTIME_DIR", &deep);
    tests::Said::of(&mut command).ends_with(0);
    let mut command = sandbox.command("supervisor");
    tests::Said::of(command.args(["shutdown"]).env("SUPERVISOR_RUNTIME_DIR", &deep)).ends_with(0);
}

#[test]
fn a_name_is_never_a_path() {
    let sandbox = Sandbox::new();
    sandbox.write("r.json", sleeper().to_string());
    for name in ["../r", "a/b", "", ".", "..", "12"] {
        sandbox.supervisor(&["run", "r.json", "--name", name]).ends_with(2);
    }
    assert!(!sandbox.runtime().exists());
}

#[test]
fn without_a_word_the_runtime_folder_lies_in_the_users_own() {
    let sandbox = Sandbox::new();
    sandbox.write("r.json", sleeper().to_string());
    let supervisor = |arguments: &[&str]| {
        let mut command = sandbox.command("supervisor");
        command.args(arguments).env_remove("SUPERVISOR_RUNTIME_DIR").env("XDG_RUNTIME_DIR", sandbox.path());
        tests::Said::of(&mut command).ends_with(0)
    };
    supervisor(&["run", "r.json", "--detach"]);
    assert!(sandbox.path().join("supervisor/r/socket").exists());
    supervisor(&["shutdown"]);
}

#[test]
fn a_run_whose_folder_somebody_removes_keeps_its_name_and_says_where_it_is() {
    let sandbox = Sandbox::new();
    for all in [false, true] {
        let mut run = sandbox.run(&sleeper());
        let (worker, supervisor) = (run.leader("w", 0), format!("as pid {}", run.pid()));
        let removed = if all { sandbox.runtime() } else { sandbox.runtime().join("r") };
        fs::remove_dir_all(removed).unwrap();
        let said = sandbox.supervisor(&["run", "r.json"]).ends_with(1);
        said.tells(&supervisor).tells("its folder was removed").tells(&format!("`kill {}`", run.pid()));
        sandbox.supervisor(&["run", "r.json", "--detach"]).ends_with(1);
        for verb in [&["status"][..], &["--name", "r", "status"], &["--name", "r", "shutdown"]] {
            sandbox.supervisor(verb).ends_with(5).tells(&supervisor).tells("cannot be asked");
        }
        // What was refused leaves nothing, and another name is free.
        assert!(!sandbox.runtime().join("r").exists());
        sandbox.supervisor(&["run", "r.json", "--detach", "--name", "other"]).ends_with(0);
        sandbox.supervisor(&["shutdown"]).ends_with(0);
        assert!(lives(worker));
        assert_eq!(run.stop(), 0);
        assert!(!lives(worker));
        let mut next = sandbox.run(&sleeper());
        assert_eq!(next.stop(), 0, "the name is free again");
    }
}

#[test]
fn workers_of_a_run_without_a_folder_are_taken_back_when_its_supervisor_is_killed() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&sleeper());
    let worker = run.leader("w", 0);
    fs::remove_dir_all(sandbox.runtime()).unwrap();
    run.kill_9();
    assert!(lives(worker));
    let mut next = sandbox.run(&sleeper());
    assert_eq!(next.leader("w", 0), worker, "{}", next.err());
    assert_eq!(next.stop(), 0);
    assert!(!lives(worker));
}

#[test]
fn workers_join_and_notify_wherever_the_folders_of_the_run_and_of_temporary_files_are() {
    let sandbox = Sandbox::new();
    let deep = sandbox.path().join("a-folder-with-a-rather-long-name/".repeat(6));
    fs::create_dir_all(deep.join("tmp")).unwrap();
    let config = json!({ "name": "r", "queues": { "q": {} }, "workers": {
        "joins": { "command": ["probe", "get-all", "q"], "instances": 3 },
        "tells": { "command": "probe tell READY=1; exec sleep 1000", "ready": "notify", "ready_timeout": "1m" } } });
    sandbox.write("r.json", config.to_string());
    for tmp in [deep.join("tmp"), deep.join("nowhere"), "/dev/null".into()] {
        let supervisor = |arguments: &[&str]| {
            let mut command = sandbox.command("supervisor");
            command.args(arguments).env("SUPERVISOR_RUNTIME_DIR", deep.join("run")).env("TMPDIR", &tmp);
            tests::Said::of(&mut command)
        };
        supervisor(&["run", "r.json", "--detach"]).ends_with(0);
        for message in ["1", "2", "3"] {
            supervisor(&["queue", "put", "q", message]).ends_with(0);
        }
        tests::until("all is taken", || {
            let queues = supervisor(&["queue", "ls", "--json"]).json();
            (queues[0]["gets"] == 3).then_some(())
        });
        let status = supervisor(&["status", "--json"]).json();
        for row in status["workers"].as_array().unwrap() {
            assert_eq!((&row["state"], &row["restarts"]), (&"running".into(), &0.into()), "{row}");
        }
        supervisor(&["shutdown"]).ends_with(0);
    }
    let mut left: Vec<_> =
        fs::read_dir(sandbox.path()).unwrap().flatten().map(|one| one.file_name()).collect();
    left.sort();
    assert_eq!(left, ["a-folder-with-a-rather-long-name", "r.json"], "nothing is made at half of a path");
    assert_eq!(fs::read_dir(deep.join("tmp")).unwrap().count(), 0);
}

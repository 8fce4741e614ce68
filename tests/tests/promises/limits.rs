//! What workers may use at most, each process alone and all of a tree together.

use std::path::PathBuf;

use process::{Cgroups, Resource};
use serde_json::{Value, json};
use tests::{Sandbox, until};

/// Whether trees can have ceilings of a resource here. Where they cannot, the refusal is what is checked.
fn can_limit(resource: Resource) -> bool {
    Cgroups::look().controller(resource).is_ok()
}

/// Holds that this machine refuses a config for want of a cgroup controller, at this key.
#[track_caller]
fn is_refused(sandbox: &Sandbox, config: &Value, key: &str) {
    eprintln!("cgroups cannot be had here: the refusal is checked");
    sandbox.write("config.json", config.to_string());
    for verb in ["check", "run"] {
        let said = sandbox.supervisor(&[verb, "config.json"]).ends_with(3);
        said.tells(&format!("workers.w.limits.{key}"));
    }
}

/// The folder of the cgroup of a process that limits a resource, wherever that is mounted.
fn folder_of(pid: i32, resource: Resource) -> PathBuf {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc");
    let mount = |is_it: &dyn Fn(&str, &str) -> bool| {
        mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            is_it(words[2], words[3]).then(|| PathBuf::from(words[1]))
        })
    };
    let name = resource.name();
    let legacy = groups.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|known| known == name).then_some(group)
    });
    let (place, group) = match legacy {
        Some(group) => {
            let here = |kind: &str, options: &str| kind == "cgroup" && options.split(',').any(|o| o == name);
            (mount(&here), group)
        }
        None => {
            let group = groups.lines().find_map(|line| line.strip_prefix("0::")).expect("version 2");
            (mount(&|kind, _| kind == "cgroup2"), group)
        }
    };
    place.expect("it is mounted").join(group.trim_start_matches('/'))
}

#[test]
fn each_process_has_the_limits_of_its_worker() {
    let sandbox = Sandbox::new();
    let limits = json!({
        "nofile": { "soft": 64, "hard": 128 }, "core": 0, "as": "unlimited", "cpu_time": "90s", "fsize": "1MiB",
        "stack": "4MiB", "memlock": "64KiB", "sigpending": 99, "rtprio": 0, "msgqueue": 819200,
    });
    let config = json!({ "workers": { "w": {
        "command": "cat /proc/self/limits > said", "limits": limits, "restart": "never",
    } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.err());
    let said = sandbox.read("said");
    let line = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
        line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for (name, both) in [
        ("Max open files", "64 128"),
        ("Max core file size", "0 0"),
        ("Max address space", "unlimited unlimited"),
        ("Max cpu time", "90 90"),
        ("Max file size", "1048576 1048576"),
        ("Max stack size", "4194304 4194304"),
        ("Max locked memory", "65536 65536"),
        ("Max pending signals", "99 99"),
        ("Max realtime priority", "0 0"),
        ("Max msgqueue size", "819200 819200"),
    ] {
        assert_eq!(line(name), both, "{name}");
    }
}

#[test]
fn more_open_files_than_the_machine_has_are_refused_at_their_place() {
    let sandbox = Sandbox::new();
    let config =
        json!({ "workers": { "w": { "command": ["true"], "limits": { "nofile": 1_000_000_000 } } } });
    sandbox.write("config.json", config.to_string());
    let said = sandbox.supervisor(&["check", "config.json"]).ends_with(3);
    said.tells("workers.w.limits.nofile").tells("this machine allows at most").tells("sysctl fs.nr_open");
}

#[test]
fn a_tree_that_needs_more_memory_than_it_may_have_is_killed_and_leaves_no_cgroup() {
    let sandbox = Sandbox::new();
    let name = tests::unique("hungry");
    let config = json!({ "name": name, "workers": { "w": {
        "command": ["tail", "/dev/zero"], "restart": "never", "limits": { "memory": "32MiB" },
    } } });
    if !can_limit(Resource::Memory) {
        return is_refused(&sandbox, &config, "memory");
    }
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 128 + 9, "{}", run.err());
    assert!(run.err().contains("w: failed: killed by signal 9 (KILL), out of memory"), "{}", run.err());
    let left = tests::cgroups(&name);
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn want_of_memory_is_the_reason_that_status_why_and_events_tell() {
    let sandbox = Sandbox::new();
    // The one that is killed is not the one that leads.
    let config = json!({ "workers": {
        "w": { "command": ["/bin/sh", "-c", "tail /dev/zero; exit 3"], "restart": "never",
               "limits": { "memory": "32MiB" } },
        "keep": { "command": ["sleep", "1000"] },
    } });
    if !can_limit(Resource::Memory) {
        return is_refused(&sandbox, &config, "memory");
    }
    let mut run = sandbox.run(&config);
    let row = run.until_state("w", "failed");
    assert_eq!(row.why.as_deref(), Some("exit code 3, out of memory"));
    for verb in [&["why", "w"][..], &["events"], &["status", "w"]] {
        let said = sandbox.supervisor(verb).ends_with(0);
        assert!(said.out.contains("exit code 3, out of memory"), "{verb:?}: {}", said.out);
    }
    assert_eq!(run.stop(), 3);
}

#[test]
fn a_tree_has_no_more_processes_than_it_may_have_and_others_are_not_concerned() {
    let sandbox = Sandbox::new();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait";
    let config = json!({ "workers": {
        "w": { "command": ["/bin/sh", "-c", script], "limits": { "pids": 4 }, "restart": "never" },
        "free": { "command": ["/bin/sh", "-c", script] },
    } });
    if !can_limit(Resource::Pids) {
        return is_refused(&sandbox, &config, "pids");
    }
    let mut run = sandbox.run(&config);
    // The shell that cannot fork gives up; what it had started goes with it.
    until("the limited one has failed", || {
        run.status().workers.iter().any(|row| row.worker == "w" && row.state == "failed").then_some(())
    });
    assert!(run.err().contains("w: failed: exit code 2"), "{}", run.err());
    until("the free one has all of its children", || {
        (run.ps().iter().filter(|row| row.worker.as_deref() == Some("free")).count() == 9).then_some(())
    });
    assert!(!run.ps().iter().any(|row| row.worker.as_deref() == Some("w")));
    run.stop();
}

#[test]
fn a_tree_keeps_no_more_processors_busy_than_it_may() {
    let sandbox = Sandbox::new();
    let config = json!({ "workers": { "w": {
        "command": ["/bin/sh", "-c", "while :; do :; done"], "limits": { "cpu": 0.1 }, "policy": "daemon",
    } } });
    if !can_limit(Resource::Cpu) {
        return is_refused(&sandbox, &config, "cpu");
    }
    let mut run = sandbox.run(&config);
    let pid = run.until_launch("w", 1);
    let stat = folder_of(pid, Resource::Cpu).join("cpu.stat");
    until("it was held back", || {
        let text = std::fs::read_to_string(&stat).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("nr_throttled "))?;
        (count.trim().parse::<u64>().ok()? > 0).then_some(())
    });
    assert_eq!(run.stop(), 0);
    assert!(!stat.exists());
}

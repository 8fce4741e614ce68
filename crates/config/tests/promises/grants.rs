//! What a worker asks of the machine, and what is said where the machine cannot give it.

use crate::world::{World, worker};
use config::{IoPriority, Limit, PrivateTmp, TreeBy, WorkerPlan};

fn planned(keys: &str) -> WorkerPlan {
    World::default().read(worker(keys)).unwrap_or_else(|problems| panic!("{problems}")).workers.remove(0)
}

#[test]
fn every_limit_of_a_process_takes_an_amount_or_unlimited_or_two_sides() {
    let plan = planned(
        r#""limits": { "nofile": 64, "core": "unlimited", "as": "1GiB", "cpu_time": "1500ms", "rttime": "2ms",
            "stack": { "soft": "8MiB", "hard": "unlimited" }, "nproc": { "soft": 1, "hard": 2 } }"#,
    );
    let limit = |name, soft, hard| Limit { name, soft, hard };
    let both = |name, amount| limit(name, amount, amount);
    assert_eq!(
        plan.limits.of_processes,
        [
            both("nofile", 64),
            both("core", u64::MAX),
            both("as", 1 << 30),
            both("cpu_time", 2),
            limit("nproc", 1, 2),
            both("rttime", 2000),
            limit("stack", 8 << 20, u64::MAX),
        ]
    );
    assert_eq!((plan.limits.memory, plan.limits.pids, plan.limits.cpu), (None, None, None));
}

#[test]
fn a_soft_limit_above_the_hard_one_is_refused_at_its_place() {
    World::default().refuses(
        &worker(r#""limits": { "nofile": →{ "soft": 2, "hard": 1 } }"#),
        "workers.reader.limits.nofile",
        r#""soft" must be at most "hard""#,
        None,
    );
    World::default().refuses(
        &worker(r#""limits": { "nofile": →{ "soft": 2 } }"#),
        "workers.reader.limits.nofile",
        r#"the key "hard" is missing"#,
        None,
    );
}

#[test]
fn a_mistyped_limit_is_pointed_out() {
    World::default().refuses(
        &worker(r#""limits": { →"memry": "1GiB" }"#),
        "workers.reader.limits.memry",
        r#"unknown key "memry""#,
        Some(r#"did you mean "memory"?"#),
    );
    World::default().refuses(
        &worker(r#""optional": [→"limits.memry"]"#),
        "workers.reader.optional[0]",
        r#"unknown value "limits.memry""#,
        Some(r#"did you mean "limits.memory"?"#),
    );
}

/// Every wish a worker can have, with where its refusal is told and as what.
const WISHES: [(&str, &str, &str); 11] = [
    (r#""user": →"bob""#, "user", r#"no User { name: "bob", group: None }"#),
    (r#""group": →"staff""#, "group", r#"no Group { name: "staff", user: None }"#),
    (r#""nice": →-5"#, "nice", "no Nice(-5)"),
    (r#""ionice": →"realtime:0""#, "ionice", "no IoPriority(Realtime(0))"),
    (r#""oom_score_adj": →-900"#, "oom_score_adj", "no OomScoreAdj(-900)"),
    (r#""cpus": →"0-1""#, "cpus", "no Processors([0, 1])"),
    (r#""private_tmp": →"mount""#, "private_tmp", "no MountedTmp"),
    (r#""tree": →"cgroup""#, "tree", "no TreeByCgroup"),
    (r#""limits": { "memory": →"1KiB" }"#, "limits.memory", "no Memory(1024)"),
    (r#""limits": { "cpu": →0.5 }"#, "limits.cpu", "no Cpu(0.5)"),
    (r#""limits": { "as": →1 }"#, "limits.as", r#"no Limit(Limit { name: "as", soft: 1, hard: 1 })"#),
];

#[test]
fn what_the_machine_cannot_give_is_a_problem_at_its_place() {
    for (keys, path, message) in WISHES {
        let hint = format!(r#""optional": ["{path}"] does without it where it must"#);
        let hint = (!matches!(path, "user" | "group")).then_some(hint.as_str());
        World::poor().refuses(&worker(keys), &format!("workers.reader.{path}"), message, hint);
    }
}

#[test]
fn a_user_who_can_be_had_and_cannot_be_let_in_is_a_problem_too() {
    let world = World::without_control();
    let told = |keys: &str, message: &str| world.refuses(&worker(keys), "workers.reader.user", message, None);
    told(r#""user": →"bob""#, r#"no Control { user: "bob", group: None, mounted_tmp: false }"#);
    told(
        r#""user": →"bob", "group": "staff", "private_tmp": "mount""#,
        r#"no Control { user: "bob", group: Some("staff"), mounted_tmp: true }"#,
    );
    world.read(worker(r#""group": "staff""#)).expect("a group alone leaves the user as he is");
}

#[test]
fn a_mounted_tmp_that_hides_the_worker_from_itself_is_a_problem_optional_or_not() {
    let world = World::in_tmp();
    let folder = r#"no Sight { path: "/srv/app", what: "its working folder" }"#;
    world.refuses(&worker(r#""private_tmp": →"mount""#), "workers.reader.private_tmp", folder, None);
    let optional = worker(r#""optional": ["private_tmp"], "private_tmp": →"mount""#);
    world.refuses(&optional, "workers.reader.private_tmp", folder, None);
    let program =
        r#"{ "workers": { "w": { "command": ["./x"], "cwd": "a/../b", "private_tmp": "mount" } } }"#;
    let told: Vec<String> = world.problems(program).into_iter().map(|problem| problem.message).collect();
    let expected = [("/srv/app/a/../b", "its working folder"), ("/srv/app/x", "its program")];
    assert_eq!(told, expected.map(|(path, what)| format!("no Sight {{ path: {path:?}, what: {what:?} }}")));
    world.read(worker(r#""private_tmp": "folder""#)).expect("nothing is hidden by that");
}

#[test]
fn a_port_that_may_not_be_listened_at_is_a_problem_at_its_place() {
    World::poor().refuses(
        &worker(r#""listen": ["unix:/run/x.sock", →"udp:localhost:53"]"#),
        "workers.reader.listen[1]",
        "no Port(53)",
        None,
    );
}

#[test]
fn what_is_optional_and_cannot_be_given_is_left_out_and_said_but_never_an_identity() {
    for (keys, path, message) in WISHES {
        let keys = format!(r#"{}, "optional": ["{path}"]"#, keys.replace('→', ""));
        if matches!(path, "user" | "group") {
            // To run as somebody else than asked for is no way to do without.
            assert_eq!(World::poor().problems(&worker(&keys)).len(), 2);
            continue;
        }
        let plan = World::poor().read(worker(&keys)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(plan.omissions, [(format!("workers.reader.{path}"), message.to_owned())]);
        let mut expected = planned(r#""nice": 0"#);
        if path == "private_tmp" {
            expected.private_tmp = PrivateTmp::Folder;
        }
        assert_eq!(plan.workers, [expected], "{keys}");
    }
}

#[test]
fn what_can_be_given_is_in_the_plan_optional_or_not() {
    let keys = r#""user": "bob", "group": "staff", "nice": -5, "ionice": "idle", "oom_score_adj": 5, "cpus": "1,0",
        "no_new_privs": true, "private_tmp": "mount", "tree": "cgroup", "limits": { "pids": 9 }"#;
    let plan = planned(keys);
    let optional = planned(&format!(r#"{keys}, "optional": ["nice", "limits.pids", "cpus"]"#));
    assert_eq!(plan, optional);
    assert_eq!((plan.user.as_deref(), plan.group.as_deref(), plan.nice), (Some("bob"), Some("staff"), -5));
    assert_eq!((plan.io_priority, plan.oom_score_adj), (Some(IoPriority::Idle), Some(5)));
    assert_eq!((plan.cpus, plan.no_new_privs), (Some(vec![0, 1]), true));
    assert_eq!((plan.private_tmp, plan.tree, plan.limits.pids), (PrivateTmp::Mount, TreeBy::Cgroup, Some(9)));
}

//! Starting, watching, waiting, ending.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use process::Pid;
use serde_json::{Value, json};
use worker::{Exit, GetError, Process, StartError, WaitError, active_children};

use crate::kit::{A_WHILE, KILLED, PATIENCE, output, queue, role, sleeper, until};
use crate::{Promise, promises};

pub const PROMISES: &[Promise] = promises![
    a_child_knows_its_name_its_parent_and_its_arguments,
    arguments_are_words_of_the_command_line_and_json_in_the_environment,
    a_child_ends_with_a_code_or_a_signal_and_the_two_are_told_apart,
    waiting_has_a_deadline_and_waits_at_least_so_long,
    many_threads_wait_for_one_child_and_all_learn_its_end,
    a_child_that_ignores_term_is_killed_when_its_grace_is_over,
    what_has_ended_can_be_told_to_end_again_and_nobody_else_is_hit,
    living_children_are_listed_and_no_ended_one_stays_a_zombie,
    a_wait_is_interrupted_by_a_request_to_stop_whichever_thread_it_reaches,
    every_thread_that_waits_is_interrupted_by_one_signal,
    a_process_that_is_asked_to_stop_can_still_stop_its_children,
    names_are_counted_and_given,
    a_child_starts_in_its_folder_with_its_variables,
    what_cannot_be_started_says_why,
    an_exit_that_another_part_of_the_program_took_is_no_hang,
];

fn report(process: Process) -> Value {
    let (text, exit) = output(process);
    assert_eq!(exit, Exit::Code(0), "{text}");
    serde_json::from_str(&text).expect("JSON")
}

fn a_child_knows_its_name_its_parent_and_its_arguments() {
    let me = std::process::id();
    let told = report(
        role(&["report"])
            .args((1, "x", [2.5]))
            .kwargs(json!({ "name": "zax", "age": 10 }))
            .name("reporter")
            .daemon(true),
    );
    assert_eq!(told["args"], json!([1, "x", [2.5]]));
    assert_eq!(told["kwargs"], json!({ "name": "zax", "age": 10 }));
    assert_eq!(told["argv"], json!(["1", "x", "[2.5]"]));
    assert_eq!((&told["name"], &told["daemon"]), (&json!("reporter"), &json!(true)));
    assert_eq!(told["parent"], json!(["MainProcess", me, true]));
    assert_eq!(told["ppid"], json!(me));
    let told = report(role(&["report"]));
    assert_eq!((&told["args"], &told["kwargs"], &told["daemon"]), (&json!([]), &json!({}), &json!(false)));
}

fn arguments_are_words_of_the_command_line_and_json_in_the_environment() {
    let script = r#"echo "$1|$2|$SUPERVISOR_ARGS|$SUPERVISOR_KWARGS""#;
    let process = Process::new(["/bin/sh", "-c", script, "sh"]).args((7, "two words")).kwargs([("a", 1)]);
    assert!(process.start().is_err(), "a list is no map");
    let process =
        Process::new(["/bin/sh", "-c", script, "sh"]).args((7, "two words")).kwargs(json!({"a": 1}));
    assert_eq!(output(process), ("7|two words|[7,\"two words\"]|{\"a\":1}\n".into(), Exit::Code(0)));
}

fn a_child_ends_with_a_code_or_a_signal_and_the_two_are_told_apart() {
    let ends = |script: &str| {
        let child = Process::new(["/bin/sh", "-c", script]).start().expect("it starts");
        let exit = child.join(PATIENCE).expect("it ends");
        assert_eq!(child.exit_code(), Some(exit));
        assert!(!child.is_alive());
        exit
    };
    assert_eq!(ends("exit 0"), Exit::Code(0));
    assert_eq!(ends("exit 137"), Exit::Code(137));
    assert_eq!(ends("kill -9 $$"), KILLED);
    assert_eq!((ends("exit 137").folded(), ends("kill -9 $$").folded()), (137, 137));
    let child = sleeper().start().expect("it starts");
    assert!(child.is_alive() && child.exit_code().is_none());
    child.terminate().expect("ours");
    assert_eq!(child.join(PATIENCE).expect("it ends").signal(), Some(15));
}

fn waiting_has_a_deadline_and_waits_at_least_so_long() {
    let child = sleeper().start().expect("it starts");
    let begun = Instant::now();
    assert_eq!(child.join(Duration::from_millis(30)), Err(WaitError::Timeout));
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(child.join(Duration::ZERO), Err(WaitError::Timeout));
    assert_eq!(child.join(Some(Duration::from_nanos(1))), Err(WaitError::Timeout));
    assert!(child.is_alive());
    child.kill().expect("ours");
    assert_eq!(child.join(None), Ok(KILLED));
    assert_eq!(child.join(Duration::MAX), Ok(KILLED));
    assert_eq!(child.join(Duration::ZERO), Ok(KILLED));
}

fn many_threads_wait_for_one_child_and_all_learn_its_end() {
    let child = sleeper().start().expect("it starts");
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| child.join(PATIENCE))).collect();
        child.kill().expect("ours");
        for one in waiting {
            assert_eq!(one.join().expect("no panic"), Ok(KILLED));
        }
    });
}

fn a_child_that_ignores_term_is_killed_when_its_grace_is_over() {
    let said = queue("said");
    let child = role(&["deaf"]).queue("said", &said).start().expect("it starts");
    assert_eq!(crate::kit::get(&said), "ready");
    child.terminate().expect("ours");
    assert_eq!(child.join(A_WHILE), Err(WaitError::Timeout));
    let begun = Instant::now();
    assert_eq!(child.stop(Duration::from_millis(50)), Ok(KILLED));
    assert!(begun.elapsed() >= Duration::from_millis(50));
    // One that listens is not killed.
    let polite = sleeper().start().expect("it starts");
    assert_eq!(polite.stop(PATIENCE).expect("it ends").signal(), Some(15));
}

fn what_has_ended_can_be_told_to_end_again_and_nobody_else_is_hit() {
    let child = Process::new("true").start().expect("it starts");
    child.join(PATIENCE).expect("it ends");
    assert_eq!((child.terminate(), child.kill(), child.send_signal(9)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(child.stop(Duration::ZERO), Ok(Exit::Code(0)));
    // Whoever has its pid by now is not meant: the child is held by descriptor.
    let living = sleeper().start().expect("it starts");
    assert!(living.send_signal(12345).is_err(), "no signal");
    living.kill().expect("ours");
    assert_eq!(living.join(PATIENCE), Ok(KILLED));
}

fn living_children_are_listed_and_no_ended_one_stays_a_zombie() {
    assert!(active_children().is_empty());
    let children: Vec<_> = (0..3).map(|_| sleeper().start().expect("it starts")).collect();
    let pids = |children: &[worker::Child]| children.iter().map(worker::Child::pid).collect::<Vec<_>>();
    assert_eq!(pids(&active_children()), pids(&children));
    let gone = Pid::from_raw(children[1].pid() as i32);
    children[1].kill().expect("ours");
    until("it is no longer listed", || pids(&active_children()) == [children[0].pid(), children[2].pid()]);
    assert_eq!(process::Stat::of(gone).expect("/proc"), None, "it is no zombie");
    // Nobody holds these any more, and they are known all the same.
    drop(children);
    for child in active_children() {
        child.kill().expect("ours");
        child.join(PATIENCE).expect("it ends");
    }
    assert!(active_children().is_empty());
    // Those that nobody ever asks for go with the next start.
    let short = Process::new("true").start().expect("it starts");
    let pid = Pid::from_raw(short.pid() as i32);
    drop(short);
    until("the next start takes its exit", || {
        Process::new("true").start().expect("it starts");
        process::Stat::of(pid).expect("/proc").is_none_or(|stat| stat.ppid != Pid::this())
    });
    until("none is left", || active_children().is_empty());
}

fn a_wait_is_interrupted_by_a_request_to_stop_whichever_thread_it_reaches() {
    let child = sleeper().start().expect("it starts");
    // Waits already when the program begins to listen.
    thread::scope(|scope| {
        let waiting = scope.spawn(|| child.join(PATIENCE));
        assert!(!worker::stop_requested());
        nix::sys::signal::raise(nix::sys::signal::SIGTERM).expect("to ourselves");
        assert_eq!(waiting.join().expect("no panic"), Err(WaitError::Interrupted));
    });
    assert!(worker::stop_requested());
    assert_eq!(child.join(None), Err(WaitError::Interrupted));
    child.kill().expect("ours");
    until("an end is known all the same", || child.join(None) == Ok(KILLED));
}

fn every_thread_that_waits_is_interrupted_by_one_signal() {
    let (jobs, other) = (queue("jobs"), queue("other"));
    let child = sleeper().start().expect("it starts");
    assert!(!worker::stop_requested());
    thread::scope(|scope| {
        let start = |queue| {
            let builder = thread::Builder::new().name("getting".into());
            builder.spawn_scoped(scope, move || worker::Queue::get(queue)).expect("a thread")
        };
        let getting: Vec<_> = [&jobs, &jobs, &other].map(start).into();
        let joining = scope.spawn(|| child.join(None));
        until("those who get sleep", || {
            let tasks = fs::read_dir("/proc/self/task").expect("/proc").flatten();
            let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
            stats.filter(|stat| stat.contains("(getting) S")).count() == 3
        });
        nix::sys::signal::raise(nix::sys::signal::SIGTERM).expect("to this thread");
        for one in getting {
            assert!(matches!(one.join().expect("no panic"), Err(GetError::Interrupted)));
        }
        assert_eq!(joining.join().expect("no panic"), Err(WaitError::Interrupted));
    });
    child.kill().expect("ours");
    until("it has ended", || child.exit_code() == Some(KILLED));
}

fn a_process_that_is_asked_to_stop_can_still_stop_its_children() {
    let child = sleeper().start().expect("it starts");
    assert!(!worker::stop_requested());
    nix::sys::signal::raise(nix::sys::signal::SIGINT).expect("to ourselves");
    assert!(worker::stop_requested());
    assert_eq!(child.stop(PATIENCE).expect("it ends").signal(), Some(15));
}

fn names_are_counted_and_given() {
    let first = Process::new("true").start().expect("it starts");
    let named = Process::new("true").name("named").start().expect("it starts");
    let third = Process::new("true").start().expect("it starts");
    assert_eq!([first.name(), named.name(), third.name()], ["Process-1", "named", "Process-3"]);
    let told = report(role(&["report"]));
    assert_eq!(told["name"], json!("Process-4"));
    third.join(PATIENCE).expect("it ends");
    assert_eq!(third.to_string(), format!("Process-3 ({}), exit code 0", third.pid()));
}

fn a_child_starts_in_its_folder_with_its_variables() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().canonicalize().expect("it is there");
    let process = Process::new(["/bin/sh", "-c", r#"echo "$(pwd) $COLOUR ${HOME-none}""#])
        .cwd(&folder)
        .env("COLOUR", "blue")
        .env_remove("HOME");
    assert_eq!(output(process).0, format!("{} blue none\n", folder.display()));
}

fn what_cannot_be_started_says_why() {
    let why = |process: Process| process.start().expect_err("it cannot be").to_string();
    assert_eq!(why(Process::new("no-such-program")), "exec no-such-program: not found in PATH");
    assert_eq!(why(Process::new("/no/such/program")), "exec /no/such/program: No such file or directory");
    assert!(why(Process::new("")).contains("empty command"));
    assert!(why(Process::new(Vec::<String>::new())).contains("empty command"));
    assert!(why(Process::new("a\0b")).contains("zero byte"));
    assert!(why(Process::new("true").env("A", "\0")).contains("zero byte"));
    assert!(why(Process::new("true").env("A=B", "C")).contains("no name of a variable"));
    assert!(why(Process::new("true").env_remove("")).contains("no name of a variable"));
    assert!(
        why(Process::new("true").env("SUPERVISOR_ARGS", "[]")).contains("SUPERVISOR_ARGS is not for .env")
    );
    assert!(why(Process::new("sleep 5")).contains("pass a list"));
    assert_eq!(why(Process::new("true").args(3)), "args must be a list, not 3");
    assert_eq!(why(Process::new("true").kwargs([1])), "kwargs must be a map, not [1]");
    assert!(why(Process::new("true").cwd("/no/such/folder")).starts_with("chdir /no/such/folder"));
    let large = "x".repeat(4 << 20);
    assert!(why(Process::new("true").args([&large])).ends_with("pass what is large through a queue"));
    let queue = queue("twice");
    let twice = why(Process::new("true").queue("jobs", &queue).queue("jobs", &queue));
    assert_eq!(twice, "\"jobs\" cannot be passed to a child: there are two queues of this name");
    let unstarted = Process::new("true").args(3).start();
    assert!(matches!(unstarted, Err(StartError::Arguments(_))));
    assert!(active_children().is_empty());
}

fn an_exit_that_another_part_of_the_program_took_is_no_hang() {
    let child = sleeper().start().expect("it starts");
    child.kill().expect("ours");
    nix::sys::wait::waitpid(Pid::from_raw(child.pid() as i32), None).expect("it is a child of this process");
    // Newer kernels keep a record; older ones say at least that it has ended.
    match child.join(PATIENCE) {
        Ok(exit) => assert_eq!(exit, KILLED),
        Err(error) => assert_eq!(error, WaitError::Lost),
    }
    assert!(!child.is_alive());
    assert!(active_children().is_empty());
}

//! Queues in files: everything that `queue` does, without a supervisor.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use process::Pid;
use tests::{Said, Sandbox, end_of, lives, stays, until, until_gone};

fn queue(sandbox: &Sandbox, verb: &str, rest: &[&str]) -> Said {
    sandbox.supervisor(&[&["queue", verb, "--file", "q"], rest].concat())
}

fn begin(sandbox: &Sandbox, verb: &str, rest: &[&str]) -> Child {
    let mut command = sandbox.command("supervisor");
    command.args([&["queue", verb, "--file", "q"], rest].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the supervisor can be executed")
}

#[track_caller]
fn len(sandbox: &Sandbox) -> u64 {
    queue(sandbox, "len", &[]).ends_with(0).out.trim().parse().expect("a number")
}

#[test]
fn everything_works_in_a_file_without_a_supervisor() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "put", &["x"]).ends_with(4);
    queue(&sandbox, "create", &["--capacity", "2"]).ends_with(0);
    queue(&sandbox, "create", &[]).ends_with(9);
    queue(&sandbox, "empty", &[]).ends_with(0);
    queue(&sandbox, "put", &["-one"]).ends_with(0);
    sandbox.supervisor_with_input(&["queue", "put", "--file", "q"], b"t\0w\no").ends_with(0);
    queue(&sandbox, "full", &[]).ends_with(0);
    queue(&sandbox, "put", &["three", "--nowait"]).ends_with(6);
    queue(&sandbox, "put", &["three", "--timeout", "20ms"]).ends_with(7);
    assert_eq!(queue(&sandbox, "peek", &[]).ends_with(0).out, "-one");
    let row = &queue(&sandbox, "ls", &["--json"]).ends_with(0).json()[0];
    assert_eq!(
        (row["len"].as_u64(), row["capacity"].as_u64(), row["queue"].as_str()),
        (Some(2), Some(2), Some("q"))
    );
    assert_eq!(queue(&sandbox, "get", &[]).ends_with(0).out, "-one");
    assert_eq!(queue(&sandbox, "get", &[]).ends_with(0).bytes, b"t\0w\no");
    queue(&sandbox, "get", &["--nowait"]).ends_with(6);
    queue(&sandbox, "get", &["--timeout", "20ms"]).ends_with(7);
    queue(&sandbox, "close", &[]).ends_with(0);
    queue(&sandbox, "put", &["x"]).ends_with(8);
    queue(&sandbox, "get", &[]).ends_with(8);
    queue(&sandbox, "rm", &[]).ends_with(0);
    assert!(!sandbox.has("q"));
    queue(&sandbox, "rm", &[]).ends_with(4);
}

#[test]
fn what_is_no_queue_is_neither_used_nor_removed() {
    let sandbox = Sandbox::new();
    sandbox.write("q", "precious");
    for (verb, rest) in [("put", &["x"][..]), ("get", &[]), ("len", &[]), ("rm", &[]), ("close", &[])] {
        queue(&sandbox, verb, rest).ends_with(1);
    }
    assert_eq!(sandbox.read("q"), "precious");
    for wrong in [&["put", "a", "--file", "q", "x"][..], &["len", "a", "--file", "q"], &["get"], &["put"]] {
        sandbox.supervisor(&[&["queue"], wrong].concat()).ends_with(2);
    }
}

#[test]
fn arguments_that_are_not_utf_8_are_messages_too() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &[]).ends_with(0);
    let mut command = sandbox.command("supervisor");
    command.args(["queue", "put", "--file", "q"]).arg(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    Said::of(&mut command).ends_with(0);
    assert_eq!(queue(&sandbox, "get", &[]).ends_with(0).bytes, b"\xff\xfe");
}

#[test]
fn who_waits_is_told_of_the_close() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &[]).ends_with(0);
    let (mut getting, mut following) = (begin(&sandbox, "get", &[]), begin(&sandbox, "get", &["--follow"]));
    stays("they wait", Duration::from_millis(100), || {
        getting.try_wait().unwrap().is_none() && following.try_wait().unwrap().is_none()
    });
    queue(&sandbox, "close", &[]).ends_with(0);
    Said::at_the_end_of(getting).ends_with(8);
    Said::at_the_end_of(following).ends_with(0);
}

#[test]
fn a_reader_that_ends_early_costs_no_message() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &["--max-deliveries", "1"]).ends_with(0);
    let lines: String = (1..=1000).map(|n: u32| format!("{n}\n")).collect();
    sandbox.supervisor_with_input(&["queue", "put", "--file", "q", "--lines"], lines.as_bytes()).ends_with(0);
    for n in 1..=5 {
        let script = "supervisor queue get --file q --follow --lines | head -1";
        let said = Said::of(sandbox.shell().arg(script)).ends_with(0);
        assert_eq!((said.out, len(&sandbox)), (format!("{n}\n"), 1000 - n));
    }
    // Nobody at the other end: nothing is lost either.
    let script = "supervisor queue get --file q --follow --lines | true";
    Said::of(sandbox.shell().arg(script)).ends_with(0);
    assert_eq!(len(&sandbox), 995);
    queue(&sandbox, "close", &[]).ends_with(0);
    let rest = queue(&sandbox, "get", &["--follow", "--lines"]).ends_with(0).out;
    let mut rest: Vec<u32> = rest.lines().map(|line| line.parse().unwrap()).collect();
    rest.sort_unstable();
    assert_eq!(rest, (6..=1000).collect::<Vec<_>>());
}

#[test]
fn who_follows_has_nothing_in_hand_while_it_waits_for_the_next_one() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &[]).ends_with(0);
    let row = || queue(&sandbox, "ls", &["--json"]).ends_with(0).json()[0].clone();
    // Into a file, and into a pipe that somebody reads.
    for script in ["> got", "| while read -r line; do echo $line >> got; done"] {
        sandbox.write("got", "");
        let script = format!("exec supervisor queue get --file q --follow --lines {script}");
        let mut follower = sandbox.shell().arg(script).spawn().unwrap();
        for n in 1..=3 {
            queue(&sandbox, "put", &[&n.to_string()]).ends_with(0);
            until("it is written", || (sandbox.read("got").lines().count() == n).then_some(()));
            until("it is acknowledged", || (row()["in_flight"] == 0).then_some(()));
        }
        queue(&sandbox, "close", &[]).ends_with(0);
        assert!(end_of(&mut follower).success());
        assert_eq!((row()["len"].as_u64(), row()["redelivered"].as_u64()), (Some(0), Some(0)));
        queue(&sandbox, "rm", &[]).ends_with(0);
        queue(&sandbox, "create", &[]).ends_with(0);
    }
}

#[test]
fn a_full_disk_costs_no_message() {
    let sandbox = Sandbox::new();
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        return tests::skipped("there is no /dev/full");
    };
    queue(&sandbox, "create", &[]).ends_with(0);
    queue(&sandbox, "put", &["precious"]).ends_with(0);
    let mut command = sandbox.command("supervisor");
    let child =
        command.args(["queue", "get", "--file", "q"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let said = Said::at_the_end_of(child).ends_with(1);
    assert!(said.err.contains("No space left"), "{}", said.err);
    assert_eq!(queue(&sandbox, "get", &[]).ends_with(0).out, "precious");
}

#[test]
fn a_slow_reader_gets_everything_in_order() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &[]).ends_with(0);
    let lines: String = (1..=20_000).map(|n: u32| format!("{n}\n")).collect();
    sandbox.supervisor_with_input(&["queue", "put", "--file", "q", "--lines"], lines.as_bytes()).ends_with(0);
    queue(&sandbox, "close", &[]).ends_with(0);
    // It reads nothing until the writer can write no more, or has waited for it in vain.
    let script = "supervisor queue get --file q --follow --lines | { sleep 1.2; cat; }";
    assert!(Said::of(sandbox.shell().arg(script)).ends_with(0).out == lines);
}

#[test]
fn put_lines_says_how_far_it_came() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &["--capacity", "3"]).ends_with(0);
    let said = sandbox
        .supervisor_with_input(&["queue", "put", "--file", "q", "--lines", "--nowait"], b"1\n2\n3\n4\n5\n")
        .ends_with(6);
    assert!(said.err.contains("3 messages were put before"), "{}", said.err);
    let blocked = begin(&sandbox, "put", &["--lines"]);
    let mut input = blocked.stdin.as_ref().unwrap();
    input.write_all(b"4\n5\n").unwrap();
    queue(&sandbox, "close", &[]).ends_with(0);
    Said::at_the_end_of(blocked).ends_with(8);
}

#[test]
fn a_line_is_a_message_as_soon_as_it_has_come() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &[]).ends_with(0);
    let mut putter = begin(&sandbox, "put", &["--lines"]);
    let mut input = putter.stdin.take().unwrap();
    for (line, count) in [(&b"one\n"[..], 1), (b"two\nhal", 2), (b"f", 2), (b"\n", 3)] {
        input.write_all(line).unwrap();
        until("it is there", || (len(&sandbox) == count).then_some(()));
    }
    input.write_all(b"the last").unwrap();
    drop(input);
    Said::at_the_end_of(putter).ends_with(0);
    assert_eq!(queue(&sandbox, "drain", &[]).ends_with(0).out, "one\ntwo\nhalf\nthe last\n");
}

#[test]
fn what_lines_cannot_carry_is_said_and_carried_all_the_same() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &[]).ends_with(0);
    for message in [&b"a\nb"[..], b"c", b"d\n"] {
        sandbox.supervisor_with_input(&["queue", "put", "--file", "q"], message).ends_with(0);
    }
    let said = queue(&sandbox, "get", &["--lines", "-n", "3"]).ends_with(0);
    assert_eq!(said.bytes, b"a\nb\nc\nd\n\n");
    assert!(
        said.err.contains("3 bytes has newlines inside") && said.err.contains("2 messages had"),
        "{}",
        said.err
    );
}

#[test]
fn a_message_whose_command_takes_too_long_or_fails_comes_again_until_it_is_given_up() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &[]).ends_with(0);
    for message in ["slow", "bad", "good"] {
        queue(&sandbox, "put", &[message]).ends_with(0);
    }
    queue(&sandbox, "close", &[]).ends_with(0);
    let script = "echo $SUPERVISOR_DELIVERIES $(cat) >> tries; case $SUPERVISOR_MESSAGE in \
                  slow) (sleep 1000 & echo $! >> pids; wait);; bad) exit 1;; esac";
    let start = Instant::now();
    let arguments = ["--retries", "2", "--timeout", "300ms", "--jobs", "2", "--", "sh", "-c", script];
    queue(&sandbox, "each", &arguments).ends_with(0);
    assert!(start.elapsed() >= Duration::from_millis(900));
    let mut tries: Vec<String> = sandbox.read("tries").lines().map(str::to_owned).collect();
    tries.sort();
    assert_eq!(tries, ["1 bad", "1 good", "1 slow", "2 bad", "2 slow", "3 bad", "3 slow"]);
    for pid in sandbox.read("pids").lines() {
        until_gone(pid.parse().unwrap());
    }
    let mut dead: Vec<String> =
        queue(&sandbox, "drain", &["--dead"]).ends_with(0).out.lines().map(str::to_owned).collect();
    dead.sort();
    assert_eq!(dead, ["bad", "slow"]);
}

#[test]
fn a_command_dies_with_each_and_its_message_comes_back() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &[]).ends_with(0);
    queue(&sandbox, "put", &["precious"]).ends_with(0);
    let mut each = begin(&sandbox, "each", &["--", "sh", "-c", "echo $$ > pid; exec sleep 1000"]);
    let command = sandbox.until_pid("pid");
    assert_eq!(len(&sandbox), 0);
    kill(Pid::from_raw(i32::try_from(each.id()).unwrap()), Signal::SIGKILL).unwrap();
    each.wait().unwrap();
    until_gone(command);
    assert!(!lives(command));
    assert_eq!(queue(&sandbox, "get", &["--timeout", "1m"]).ends_with(0).out, "precious");
}

#[test]
fn a_drain_that_takes_long_says_how_far_it_has_come_where_that_is_asked_for() {
    let sandbox = Sandbox::new();
    queue(&sandbox, "create", &[]).ends_with(0);
    let lines: String = (1..=50_000).map(|n: u32| format!("{n}\n")).collect();
    sandbox.supervisor_with_input(&["queue", "put", "--file", "q", "--lines"], lines.as_bytes()).ends_with(0);
    // A reader that begins late makes it last.
    let script = "supervisor queue drain --file q --progress | { sleep 1; cat; }";
    let said = Said::of(sandbox.shell().arg(script)).ends_with(0);
    assert!(said.out == lines, "{} lines", said.out.lines().count());
    assert!(said.err.contains(" messages taken, ") && said.err.ends_with(" left\n"), "{}", said.err);
}

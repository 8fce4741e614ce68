//! A supervisor that does not run: whoever waits for it is told so, and goes on waiting.

use std::fs::File;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{Sandbox, end_of, until};

#[test]
fn who_waits_for_a_stopped_supervisor_is_told_so_and_answered_when_it_goes_on() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run(&json!({ "workers": { "w": { "command": ["sleep", "1000"] } } }));
    run.leader("w", 0);
    run.signal(Signal::SIGSTOP);
    let begin = |name: &str, arguments: &[&str]| {
        let to = |what: &str| File::create(sandbox.path().join(format!("{name}.{what}"))).expect("a file");
        let mut command = sandbox.command("supervisor");
        command.args(arguments).stdout(to("out")).stderr(to("err"));
        command.spawn().expect("the supervisor can be executed")
    };
    let mut status = begin("status", &["status"]);
    let mut stop = begin("stop", &["stop", "w"]);
    let mut machine = begin("machine", &["status", "--json"]);
    let told = format!(
        "supervisor: waiting for the supervisor, pid {pid}, which is stopped by a signal\n  \
         hint: `kill -CONT {pid}` lets it go on\n",
        pid = run.pid()
    );
    for name in ["status.err", "stop.err"] {
        until("it is told", || Some(sandbox.read(name)).filter(|text| !text.is_empty()));
        until("all is told", || (sandbox.read(name) == told).then_some(()));
    }
    // A deadline of its own ends a verb all the same.
    sandbox
        .supervisor(&["wait", "w", "--timeout", "100ms", "--progress"])
        .ends_with(7)
        .tells("stopped by a signal");
    assert!(status.try_wait().expect("it is ours").is_none() && sandbox.read("status.out").is_empty());
    run.signal(Signal::SIGCONT);
    for child in [&mut status, &mut stop, &mut machine] {
        assert_eq!(end_of(child).code(), Some(0));
    }
    assert!(sandbox.read("status.out").contains("w:0"), "{}", sandbox.read("status.out"));
    assert_eq!(sandbox.read("status.err"), told, "it is told once");
    assert_eq!(sandbox.read("machine.err"), "", "machines are told nothing but errors");
    assert_eq!(run.stop(), 0);
}

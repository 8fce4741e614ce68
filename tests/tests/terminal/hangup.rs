//! A terminal that is closed takes the run that is shown on it along; a HUP that somebody sends does not.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tests::{Sandbox, lives, until, until_gone};

#[test]
fn a_run_on_a_terminal_is_stopped_when_the_terminal_is_closed_and_reloads_as_long_as_it_is_there() {
    let sandbox = Sandbox::new();
    let worker = |line: &str| json!({ "name": "r", "workers": { "w": { "command": line } } }).to_string();
    let graceful = "trap 'echo asked > asked; exit 0' TERM; echo $$ > pid; while :; do sleep 0.02; done";
    sandbox.write("r.json", worker("echo $$ > pid; exec sleep 1000"));
    let Some(mut command) = sandbox.on_a_terminal("supervisor run r.json") else { return };
    let mut terminal = command.spawn().expect("a terminal can be made");
    let first = sandbox.until_pid("pid");
    let supervisor = until("it answers", || {
        let said = sandbox.supervisor(&["status", "--json"]);
        (said.code == 0).then(|| said.json()["pid"].as_i64().expect("a pid"))
    });
    let supervisor = i32::try_from(supervisor).expect("pids are small");
    sandbox.write("r.json", worker(graceful));
    std::fs::remove_file(sandbox.path().join("pid")).expect("it is there");
    kill(Pid::from_raw(supervisor), Signal::SIGHUP).expect("it lives");
    let second = sandbox.until_pid("pid");
    assert!(second != first && lives(supervisor));
    until("it is applied", || (!sandbox.supervisor(&["status"]).out.contains("starting")).then_some(()));
    terminal.kill().expect("it is ours");
    terminal.wait().expect("it is ours");
    until_gone(supervisor);
    assert!(!lives(second));
    assert_eq!(sandbox.read("asked"), "asked\n", "it was asked, and not killed");
    assert!(!sandbox.runtime().join("r").exists());
}

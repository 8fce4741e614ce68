//! `top`.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::{Value, json};
use tests::{Run, Sandbox, stays, until};

use crate::screen::Screen;

fn shop(sandbox: &Sandbox) -> Run {
    let counter = "echo counting; exec sleep 1000";
    let workers = json!({
        "counter": { "command": counter, "instances": 2, "restart": "always", "backoff": { "initial": 0 } },
        "printer": { "command": "echo no paper; exit 3", "restart": "never" } });
    let run =
        sandbox.run(&json!({ "name": "shop", "queues": { "jobs": { "capacity": 5 } }, "workers": workers }));
    run.until_state("printer", "failed");
    run.until_state("counter", "running");
    run
}

fn state(run: &Run, instance: u32) -> String {
    run.instance("counter", instance).state
}

#[test]
fn it_shows_workers_and_queues_and_follows_what_changes() {
    let sandbox = Sandbox::new();
    let mut run = shop(&sandbox);
    let mut screen = Screen::of(&sandbox, &["top"], 100, 30);
    screen.until_shown(&[
        "shop",
        "1 failed",
        "counter:0",
        "counter:1",
        "printer:0",
        "exit code 3",
        "QUEUE",
        "0/5",
        "q quit",
    ]);
    assert!(screen.is_taken());
    sandbox.supervisor(&["queue", "put", "jobs", "one"]).ends_with(0);
    screen.until_shown(&["1/5"]);
    sandbox.supervisor(&["scale", "counter=3"]).ends_with(0);
    screen.until_shown(&["counter:2"]);
    screen.type_("q");
    assert_eq!(screen.exit_code(), 0);
    until("the screen is given back", || (!screen.is_taken()).then_some(()));
    assert_eq!(run.stop(), 3);
}

#[test]
fn keys_restart_kill_stop_start_and_show_logs() {
    let sandbox = Sandbox::new();
    let mut run = shop(&sandbox);
    let mut screen = Screen::of(&sandbox, &["top"], 100, 30);
    screen.until_shown(&["counter:0", "q quit"]);
    screen.type_("r");
    run.until_launch("counter", 2);
    screen.until_shown(&["counter:0 is running"]);
    screen.type_("k");
    screen.until_shown(&["counter:0: t TERM"]);
    screen.type_("k");
    run.until_launch("counter", 3);
    screen.until_shown(&["KILL to counter:0: pid"]);
    // A question that is answered otherwise is none.
    screen.type_("\x1b[B");
    screen.type_("k");
    screen.until_shown(&["counter:1: t TERM"]);
    screen.type_("x");
    screen.until_shown(&["q quit"]);
    screen.type_("s");
    screen.until_shown(&["stop counter:1? y/n"]);
    screen.type_("y");
    screen.until_shown(&["counter:1 is stopped"]);
    assert_eq!((state(&run, 1).as_str(), state(&run, 0).as_str()), ("stopped", "running"));
    screen.type_("t");
    screen.until_shown(&["counter:1 is running"]);
    screen.type_("l");
    screen.until_shown(&["log of counter:1", "counting", "esc back"]);
    screen.type_("\x1b");
    screen.until_shown(&["NAME", "counter:0"]);
    screen.type_("\x03");
    assert_eq!(screen.exit_code(), 0);
    assert_eq!(run.stop(), 3);
}

#[test]
fn twenty_columns_are_enough_and_another_size_is_taken_up() {
    let sandbox = Sandbox::new();
    let mut run = shop(&sandbox);
    let mut screen = Screen::of(&sandbox, &["top"], 20, 8);
    screen.until_shown(&["shop", "counter:0 running", "printer:0 failed"]);
    assert!(!screen.text().contains("PID") && !screen.text().contains("QUEUE"));
    screen.type_("\t");
    screen.until_shown(&["QUEUE", "jobs", "0/5"]);
    screen.type_("\t");
    screen.resize(120, 30);
    screen.until_shown(&["PID", "WHY", "QUEUE", "exit code 3"]);
    screen.resize(2, 1);
    screen.resize(20, 8);
    screen.until_shown(&["counter:0 running"]);
    screen.type_("q");
    assert_eq!(screen.exit_code(), 0);
    assert_eq!(run.stop(), 3);
}

#[test]
fn the_terminal_is_given_back_whatever_ends_it() {
    let sandbox = Sandbox::new();
    let mut run = shop(&sandbox);
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut screen = Screen::of(&sandbox, &["top"], 60, 12);
        screen.until_shown(&["counter:0"]);
        kill(Pid::from_raw(screen.pid()), signal).unwrap();
        assert_eq!(screen.exit_code(), 0);
        until("the screen is given back", || (!screen.is_taken()).then_some(()));
    }
    let mut screen = Screen::of(&sandbox, &["top"], 60, 12);
    screen.until_shown(&["counter:0"]);
    assert_eq!(run.stop(), 3);
    assert_eq!(screen.exit_code(), 0);
    screen.until_shown(&["the run has ended"]);
    let run = shop(&sandbox);
    let mut screen = Screen::of(&sandbox, &["top"], 60, 12);
    screen.until_shown(&["counter:0"]);
    run.kill_9();
    assert_eq!(screen.exit_code(), 5);
    screen.until_shown(&["the supervisor went away"]);
    assert!(!screen.is_taken());
    sandbox.clean();
}

#[test]
fn nothing_is_redrawn_where_nothing_changes() {
    let sandbox = Sandbox::new();
    let idle: Value = json!({ "name": "r", "queues": { "q": {} }, "workers": {
        "w": { "command": ["sleep", "1000"], "autostart": false },
        "d": { "command": ["sleep", "1000"], "autostart": false } } });
    let mut run = sandbox.run(&idle);
    let mut screen = Screen::of(&sandbox, &["top"], 80, 20);
    screen.until_shown(&["w:0", "0/s"]);
    until("it is still", || {
        let before = screen.bytes();
        std::thread::sleep(Duration::from_millis(1200));
        (screen.bytes() == before).then_some(())
    });
    let still = screen.bytes();
    stays("nothing is written", Duration::from_secs(3), || screen.bytes() == still);
    screen.type_("q");
    assert_eq!(screen.exit_code(), 0);
    assert_eq!(run.stop(), 0);
}

#[test]
fn without_a_terminal_it_is_wrong_usage_and_says_what_to_use() {
    let sandbox = Sandbox::new();
    let mut run = shop(&sandbox);
    let said = sandbox.supervisor(&["top"]).ends_with(2);
    assert!(said.err.contains("needs a terminal") && said.err.contains("status --watch"), "{}", said.err);
    sandbox.supervisor(&["top", "--json"]).ends_with(2);
    assert_eq!(run.stop(), 3);
    let mut screen = Screen::of(&sandbox, &["top"], 80, 24);
    assert_eq!(screen.exit_code(), 5);
    assert!(!screen.is_taken());
}

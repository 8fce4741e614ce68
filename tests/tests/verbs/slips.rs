//! Words that nobody knows: what was meant is named, wherever it can be.

use control::api::{Proposal, Request};
use serde_json::json;
use tests::Sandbox;

use super::{complained, lasting, run_of};

#[test]
fn a_slip_of_the_finger_in_a_verb_an_option_or_a_value_is_recognised() {
    let sandbox = Sandbox::new();
    let slips: &[(&[&str], &str)] = &[
        (&["stauts"], "status"),
        (&["queue", "gett", "q"], "get"),
        (&["queue", "get", "q", "--folow"], "--follow"),
        (&["spawn", "--polcy", "wait", "--", "true"], "--policy"),
        (&["spawn", "--policy", "daemn", "--", "true"], "daemon"),
        (&["spawn", "--restart", "onfailure", "--", "true"], "on-failure"),
        (&["demo", "deadlok"], "deadlock"),
        (&["queue", "create", "q", "--durable", "--fsync", "alway"], "always"),
    ];
    for (words, meant) in slips {
        let said = complained(&sandbox.supervisor(words), 2);
        assert!(said.contains(&format!("hint: did you mean {meant:?}?")), "{words:?}: {said}");
    }
    for (words, told) in [
        (&["frobnicate"][..], "unrecognized subcommand"),
        (&["value", "add", "v", "x"], "it is no whole number"),
        (&["kill", "99999999999"], "no pid is as large"),
        (&["kill", "0"], "a pid is greater than 0"),
    ] {
        let said = complained(&sandbox.supervisor(words), 2);
        assert!(said.contains(told) && !said.contains("did you mean"), "{words:?}: {said}");
    }
    let said = complained(&sandbox.supervisor(&["queue", "create", "--file", "none/q"]), 4);
    assert!(said.contains("there is no folder for none/q"), "{said}");
}

/// The supervisor would wait for somebody to write into it, for ever.
#[test]
fn a_pipe_is_no_config_for_what_runs_already() {
    let sandbox = Sandbox::new();
    let mut run = run_of(&sandbox, &json!({ "w": lasting() }));
    let pipe = sandbox.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe can be made");
    let pipe = pipe.to_string_lossy().into_owned();
    for verb in ["plan", "apply"] {
        let said = complained(&sandbox.supervisor(&[verb, &pipe]), 3);
        assert!(said.contains("it is no regular file") && said.contains("save it in a file"), "{said}");
    }
    let asked = run.ask::<Proposal>(&Request::Plan { config: Some(pipe), named: true });
    assert!(asked.is_err_and(|error| error.to_string().contains("it is no regular file")));
    assert_eq!(run.stop(), 0);
}

//! What a run shows: lines with their worker's name, whole, and in colour only on a terminal.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use tests::{Said, Sandbox, lives, skipped, until};

#[test]
fn systemd_6838_lines_of_many_workers_are_never_torn_apart() {
    let sandbox = Sandbox::new();
    let line = "0123456789".repeat(40);
    let script =
        format!("i=0; while [ $i -lt 200 ]; do echo \"$SUPERVISOR_INSTANCE-$i {line}\"; i=$((i+1)); done");
    let config =
        json!({ "name": "r", "workers": { "w": { "command": script, "instances": 4, "restart": "never" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 0, "{}", run.err());
    let out = run.out();
    let whole = out.lines().filter(|said| said.contains(&format!("-199 {line}")) && said.ends_with(&line));
    assert_eq!(whole.count(), 4);
    assert_eq!(out.lines().filter(|said| said.ends_with(&line)).count(), 800);
    for instance in 0..4 {
        let own = out.lines().filter(|said| said.contains(&format!("w:{instance}")));
        let numbers: Vec<u32> = own
            .map(|said| {
                said.split(&format!("{instance}-"))
                    .nth(1)
                    .unwrap()
                    .split(' ')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        assert!(numbers.iter().copied().eq(0..200), "{instance}: {numbers:?}");
    }
}

#[test]
fn the_output_of_workers_is_data_and_what_the_supervisor_says_is_talk() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": { "command": "echo out; echo err >&2; exit 3", "restart": "never" } } });
    let (code, run) = sandbox.run_to_its_end(&config);
    assert_eq!(code, 3);
    assert_eq!(run.out().lines().count(), 2, "{}", run.out());
    assert!(run.err().lines().all(|line| line.starts_with("supervisor: ")), "{}", run.err());
}

/// A command line on a terminal of its own, if the machine has what makes one.
fn on_a_terminal(sandbox: &Sandbox, line: &str) -> Option<Command> {
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        skipped("no `script` on this machine to make a terminal");
        return None;
    }
    let mut command = sandbox.shell();
    command.arg(format!("exec script -qefc '{line}' /dev/null")).env("TERM", "xterm");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

#[test]
fn colour_is_for_terminals_and_never_with_no_color() {
    let sandbox = Sandbox::new();
    let config = json!({ "name": "r", "workers": { "w": { "command": "echo hello", "restart": "never" } } });
    sandbox.write("r.json", config.to_string());
    let Some(mut command) = on_a_terminal(&sandbox, "supervisor run r.json") else { return };
    let said = Said::of(&mut command).ends_with(0);
    assert!(said.out.contains("hello") && said.out.contains("\u{1b}["), "{:?}", said.out);
    let Some(mut command) = on_a_terminal(&sandbox, "supervisor run r.json") else { return };
    let said = Said::of(command.env("NO_COLOR", "1")).ends_with(0);
    assert!(said.out.contains("hello") && !said.out.contains("\u{1b}["), "{:?}", said.out);
}

#[test]
fn watchexec_716_ctrl_c_on_the_terminal_reaches_the_supervisor_and_not_its_workers() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo interrupted > interrupted' INT; trap 'echo asked > asked; exit 0' TERM; echo $$ > pid; \
                  while :; do sleep 0.02; done";
    let config = json!({ "name": "r", "workers": { "w": { "command": script } } });
    sandbox.write("r.json", config.to_string());
    let Some(mut command) = on_a_terminal(&sandbox, "supervisor run r.json") else { return };
    let mut child = command.spawn().unwrap();
    let pid = sandbox.until_pid("pid");
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(b"\x03").unwrap();
    keys.flush().unwrap();
    until("it has ended", || child.try_wait().unwrap());
    drop(keys);
    assert!(!lives(pid));
    assert!(sandbox.has("asked") && !sandbox.has("interrupted"));
}

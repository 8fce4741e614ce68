//! `why`: why an instance stands where it stands, for people.

use std::fmt::Write;
use std::process::ExitCode;

use control::Client;
use control::api::{AskedBy, Exit, Milestone, Request, RunningOut, Spent, Why};

use crate::output::{age, print, print_json, printable};
use crate::reach::call;
use crate::status::{ending, instance_name};
use crate::talk::Failure;

/// `why`: a paragraph an instance.
///
/// # Errors
/// See [`call`].
pub fn why(mut client: Client, worker: String, json: bool) -> Result<ExitCode, Failure> {
    let reasons: Vec<Why> = call(&mut client, &Request::Why { worker })?;
    if json {
        print_json(&reasons)?;
    } else {
        let paragraphs: Vec<String> = reasons.iter().map(told).collect();
        print(&paragraphs.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn told(why: &Why) -> String {
    let row = &why.status;
    let mut text = String::new();
    let mut say = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{}", printable(&line.to_string())).expect("a String takes everything");
    };
    let reason = row.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    say(format_args!("{} is {} for {}{reason}", instance_name(row), row.state, age(why.since_s)));
    if let (Some(pid), Some(launch)) = (row.pid, row.launch) {
        let up = row.uptime_s.map(|up| format!(", up for {}", age(up))).unwrap_or_default();
        say(format_args!("  pid:        {pid}, launch {launch}{up}"));
    }
    if let Some(exit) = row.exit {
        let core = match why.core_dumped {
            Some(true) => ", a core dump was left",
            Some(false) if matches!(exit, Exit::Signal(_)) => ", no core dump",
            _ => "",
        };
        say(format_args!("  last exit:  {}{core}", ending(exit)));
    }
    // Where it is down that is told above, of its last launch.
    if let Some(reason) = why.ended_for.as_ref().filter(|_| row.pid.is_some()) {
        say(format_args!("  ended for:  {reason}"));
    }
    let Spent { restarts, allowed, within_s, forgotten_in_s } = &why.spent;
    let window = match forgotten_in_s {
        Some(left) => {
            format!(" ({restarts} of {allowed} within {within_s}s; the oldest is forgotten in {left:.1}s)")
        }
        None => String::new(),
    };
    say(format_args!("  restarts:   {}{window}", row.restarts));
    if let Some(rest) = why.next_launch_in_s {
        if rest < 60.0 {
            say(format_args!("  next try:   in {rest:.1}s"));
        } else {
            say(format_args!("  next try:   in {}", age(rest)));
        }
    }
    if let Some(RunningOut { what, left_s }) =
        why.running_out.as_ref().filter(|running| running.what != "rest")
    {
        let then = if what == "grace" { "then it is killed" } else { "then it is stopped" };
        say(format_args!("  runs out:   its {what}, in {left_s:.1}s; {then}"));
    }
    if let Some(waits) = &why.waits_for {
        let what = match waits.milestone {
            Milestone::Started => "to start",
            Milestone::Ready => "to be ready",
            Milestone::Succeeded => "to succeed",
            Milestone::Ended => "to end",
        };
        say(format_args!("  waits for:  {} {what}", waits.worker));
    }
    for link in &why.chain {
        let reason = link.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        say(format_args!("  held up by: {}:{} is {}{reason}", link.worker, link.instance, link.state));
    }
    if let Some(asked) = &why.asked {
        say(format_args!("  asked:      {}", asker(asked)));
    }
    if let Some(changed) = &why.changed {
        say(format_args!("  changed:    {changed}"));
    }
    if why.older_config {
        say(format_args!("  config:     an older one; the present one holds from its next launch on"));
    }
    if let Some(says) = &why.says {
        say(format_args!("  says:       {says}"));
    }
    if !why.output.is_empty() {
        say(format_args!("  its last lines:"));
        for line in &why.output {
            say(format_args!("    {}", line.line));
        }
    }
    text
}

/// Who asked for what, and when.
fn asker(asked: &AskedBy) -> String {
    let AskedBy { what, uid, pid, command, ago_s } = asked;
    let uid = uid.map(|uid| format!(", uid {uid}")).unwrap_or_default();
    let who = match (pid, command) {
        (Some(pid), Some(command)) => format!(" by pid {pid} ({command})"),
        (Some(pid), None) => format!(" by pid {pid}"),
        (None, _) => String::new(),
    };
    format!("{what}{who}{uid}, {} ago", age(*ago_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::api::{InstanceStatus, LogLine, WaitsFor};

    fn resting() -> Why {
        Why {
            status: InstanceStatus {
                worker: "w".to_owned(),
                instance: 1,
                launch: Some(3),
                state: "backoff".to_owned(),
                pid: None,
                ppid: None,
                uptime_s: None,
                restarts: 2,
                exit: Some(Exit::Signal(11)),
                policy: "wait".to_owned(),
                why: Some("killed by signal 11 (SEGV)".to_owned()),
            },
            since_s: 1.2,
            core_dumped: Some(true),
            next_launch_in_s: Some(0.84),
            waits_for: None,
            running_out: Some(RunningOut { what: "rest".to_owned(), left_s: 0.84 }),
            spent: Spent { restarts: 2, allowed: 5, within_s: 10.0, forgotten_in_s: Some(3.21) },
            chain: Vec::new(),
            asked: None,
            changed: Some("env changed: A".to_owned()),
            ended_for: None,
            older_config: false,
            says: None,
            output: vec![LogLine {
                time: String::new(),
                worker: Some("w".to_owned()),
                instance: Some(1),
                launch: Some(3),
                stream: "stderr".to_owned(),
                line: "out of\x1b[2J luck".to_owned(),
                partial: None,
                lossy: false,
                lost_lines: None,
            }],
        }
    }

    #[test]
    fn a_try_that_is_days_away_is_told_in_days() {
        let far = |rest| told(&Why { next_launch_in_s: Some(rest), ..resting() });
        assert!(far(59.94).contains("next try:   in 59.9s\n"));
        assert!(far(152_866.6).contains(&format!("next try:   in {}\n", age(152_866.6))));
    }

    #[test]
    fn one_that_rests_tells_how_it_ended_when_it_comes_back_and_what_it_said() {
        let expected = "\
w:1 is backoff for 1s: killed by signal 11 (SEGV)
  last exit:  signal 11 (SEGV), a core dump was left
  restarts:   2 (2 of 5 within 10s; the oldest is forgotten in 3.2s)
  next try:   in 0.8s
  changed:    env changed: A
  its last lines:
    out of\\u{1b}[2J luck
";
        assert_eq!(told(&resting()), expected);
    }

    #[test]
    fn one_that_waits_tells_for_whom_and_one_that_runs_tells_its_pid_and_what_it_says() {
        let mut why = resting();
        why.waits_for = Some(WaitsFor { worker: "db".to_owned(), milestone: Milestone::Ready });
        assert!(told(&why).contains("  waits for:  db to be ready\n"));
        why.status.pid = Some(7);
        why.status.uptime_s = Some(61.0);
        why.says = Some("half way".to_owned());
        why.ended_for = Some("is started again together with b".to_owned());
        assert!(told(&why).contains("\n  ended for:  is started again together with b\n"));
        assert!(told(&why).contains("  pid:        7, launch 3, up for 1m01s\n"));
        assert!(told(&why).contains("  says:       half way\n"));
        assert!(!told(&why).contains("  config: "));
        why.older_config = true;
        assert!(told(&why).contains("\n  config:     an older one; "));
    }
}

//! From values to the values and words of another room.

use control::api;
use process::Exit;
use supervision::{Ending, Instance, Phase, Policy, RunningOut};

/// How the core calls an exit.
pub fn ending(exit: Exit) -> Ending {
    match exit {
        Exit::Code(code) => Ending::Code(code),
        Exit::Signal { signal, .. } => Ending::Signal(signal),
    }
}

/// How the control API calls an ending; `None` when nobody could learn it.
pub fn exit(ending: Ending) -> Option<api::Exit> {
    match ending {
        Ending::Code(code) => Some(api::Exit::Code(code)),
        Ending::Signal(signal) => Some(api::Exit::Signal(signal)),
        Ending::Unknown => None,
    }
}

/// How the config calls a policy.
pub fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Wait => "wait",
        Policy::Terminate => "terminate",
        Policy::Daemon => "daemon",
    }
}

/// What people call a deadline of an instance.
pub fn running_out(what: RunningOut) -> &'static str {
    match what {
        RunningOut::Ready => "ready_timeout",
        RunningOut::Grace => "grace",
        RunningOut::Rest => "rest",
    }
}

/// What people are told without asking: what went wrong.
pub fn worth_saying(now: &Instance, show: &str) -> Option<String> {
    match now.phase {
        Phase::Backoff => {
            let rest = now.next_launch_in.unwrap_or_default();
            Some(format!("{show}: {}; starts again in {}", now.why, span(rest)))
        }
        Phase::Failed => Some(format!("{show}: failed: {}", now.why)),
        Phase::Waiting if now.between_runs == Some(false) => {
            Some(format!("{show}: a run failed: {}", now.why.trim_start_matches("between two runs; last: ")))
        }
        _ => None,
    }
}

/// A length of time for people: `250ms`, `1.5s`, `2m`. Rounded up to milliseconds: of a rest of `100ms` a little is over
/// when it is told.
pub fn span(length: std::time::Duration) -> String {
    let millis = length.as_nanos().div_ceil(1_000_000);
    let seconds = millis as f64 / 1000.0;
    if millis < 1000 {
        format!("{millis}ms")
    } else if seconds < 60.0 {
        format!("{:.1}s", seconds).replace(".0s", "s")
    } else {
        format!("{}m", millis / 60_000)
    }
}

/// Why a system call failed, without the number that Rust adds.
pub fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

/// So many processes, in words.
pub fn processes(count: usize) -> String {
    if count == 1 { "a process".to_owned() } else { format!("{count} processes") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rest_is_told_as_it_is_written_though_some_of_it_is_over() {
        let told = [0, 99_400_000, 999_600_000, 1_499_100_000, 59_999_999_999, 7_200_000_000_000]
            .map(|nanos| span(Duration::from_nanos(nanos)));
        assert_eq!(told, ["0ms", "100ms", "1s", "1.5s", "1m", "120m"]);
    }
}

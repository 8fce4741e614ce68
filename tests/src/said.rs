//! What a program said, and how it ended.

use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::Value;

use crate::PATIENCE;

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; 128 + n for signal n.
    pub code: i32,
    /// Its standard output, byte for byte.
    pub bytes: Vec<u8>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// Runs a command to its end. One that does not end is killed, and the test fails.
    #[track_caller]
    pub fn of(command: &mut Command) -> Said {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Said::at_the_end_of(command.spawn().expect("the command can be executed"))
    }

    /// Waits for a child whose output is piped.
    #[track_caller]
    pub fn at_the_end_of(child: Child) -> Said {
        let pid = i32::try_from(child.id()).expect("pids are small");
        let (tell, told) = channel();
        std::thread::spawn(move || {
            // Nobody listens when the test has given up.
            let _ = tell.send(child.wait_with_output());
        });
        match told.recv_timeout(PATIENCE) {
            Ok(output) => Said::from(output.expect("a child can be waited for")),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let command = process::cmdline(Pid::from_raw(pid));
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                panic!("waited in vain for the end of: {command}");
            }
        }
    }

    /// Fails unless it ended with this exit code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Said {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// Fails unless standard error holds this text.
    #[track_caller]
    pub fn tells(&self, text: &str) -> &Said {
        assert!(self.err.contains(text), "not told: {text}\nerr: {}", self.err);
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("no JSON: {error}\nout: {}\nerr: {}", self.out, self.err))
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        use std::os::unix::process::ExitStatusExt;
        let folded = || output.status.signal().map(|signal| 128 + signal);
        Said {
            code: output.status.code().or_else(folded).unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }
}

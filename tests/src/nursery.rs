//! A supervisor below somebody who reaps what it leaves behind, as a good process 1 does.

use std::fs::File;
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde_json::Value;

use crate::{Sandbox, until};

/// A supervisor whose workers, should it be killed, are reaped at once when they end.
#[derive(Debug)]
pub struct Nursery {
    child: Child,
}

impl Nursery {
    /// Starts `supervisor run` with this config, and waits until it answers.
    #[track_caller]
    pub fn start(sandbox: &Sandbox, config: &Value) -> Nursery {
        let name = config["name"].as_str().expect("the run has a name");
        let path = sandbox.write(&format!("{name}.json"), config.to_string());
        let mut command = sandbox.command("probe");
        command.args(["nursery", "supervisor", "run"]).arg(path);
        let out = File::create(sandbox.path().join("nursery.out")).expect("a file can be made");
        let child = command
            .stderr(out.try_clone().expect("a file can be shared"))
            .stdout(out)
            .spawn()
            .expect("the probe can be executed");
        until("the supervisor answers", || (sandbox.supervisor(&["status"]).code == 0).then_some(()));
        Nursery { child }
    }

    /// Kills the supervisor with -9.
    #[track_caller]
    pub fn kill_the_supervisor(&self, sandbox: &Sandbox) {
        let status = sandbox.supervisor(&["status", "--json"]).ends_with(0).json();
        let pid = status["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is ours");
        // Reaped, not only ended: until its last thread has ended it holds what it held.
        until("the supervisor is reaped", || {
            matches!(process::Stat::of(Pid::from_raw(pid)), Ok(None)).then_some(())
        });
    }

    /// From now on the dead are not reaped, as below many a first process of a container; until it is emptied.
    #[track_caller]
    pub fn reap_no_more(&self) {
        kill(self.pid(), Signal::SIGSTOP).expect("it is ours");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// Waits until nothing that was started in it lives any more.
    #[track_caller]
    pub fn until_empty(mut self) {
        kill(self.pid(), Signal::SIGCONT).expect("it is ours");
        until("the nursery is empty", || self.child.try_wait().expect("a child can be waited for"));
    }
}

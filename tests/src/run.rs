//! A supervisor that runs a config in the foreground.

use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use control::api::{InstanceStatus, ProcessRow, QueueStatus, Request, Status};
use control::{Client, ClientError};
use nix::sys::signal::{Signal, kill};
use process::Pid;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{PATIENCE, Sandbox, until};

/// A run in a sandbox. Dropped, it is stopped at once.
#[derive(Debug)]
pub struct Run {
    child: Child,
    name: String,
    folder: PathBuf,
    socket: PathBuf,
}

impl Run {
    /// Starts `supervisor run` with this config and these further arguments, and waits until it answers. What it prints
    /// goes to the files `NAME.out` and `NAME.err` of the sandbox.
    pub fn start(sandbox: &Sandbox, config: &Value, arguments: &[&str]) -> Run {
        Run::begin(sandbox, config, arguments).up()
    }

    /// The same, with these variables in the supervisor's environment.
    pub fn start_with(sandbox: &Sandbox, config: &Value, variables: &[(&str, &OsStr)]) -> Run {
        let mut command = sandbox.command("supervisor");
        command.envs(variables.iter().copied());
        Run::begin_as(command, sandbox, config, &[]).up()
    }

    /// Waits until it answers.
    fn up(mut self) -> Run {
        let run = &mut self;
        until("the supervisor answers", || {
            if let Some(ended) = run.child.try_wait().expect("a child can be waited for") {
                panic!("the supervisor has ended ({ended}): {}", run.err());
            }
            run.try_status().ok()
        });
        self
    }

    /// [`Run::start`] without waiting.
    pub fn begin(sandbox: &Sandbox, config: &Value, arguments: &[&str]) -> Run {
        Run::begin_as(sandbox.command("supervisor"), sandbox, config, arguments)
    }

    fn begin_as(mut command: Command, sandbox: &Sandbox, config: &Value, arguments: &[&str]) -> Run {
        let name = config["name"].as_str().unwrap_or("config").to_owned();
        let path = sandbox.write(&format!("{name}.json"), config.to_string());
        command.arg("run").arg(path).args(arguments);
        let to = |what: &str| {
            File::options().create(true).append(true).open(sandbox.path().join(format!("{name}.{what}")))
        };
        command.stdout(to("out").expect("a file can be made"));
        command.stderr(to("err").expect("a file can be made"));
        let child = command.spawn().expect("the supervisor can be executed");
        let socket = sandbox.runtime().join(&name).join("socket");
        Run { child, name, folder: sandbox.path().to_owned(), socket }
    }

    /// The supervisor's pid.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pids are small")
    }

    /// The control socket.
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// What it printed on standard output so far.
    pub fn out(&self) -> String {
        self.printed("out")
    }

    /// What it printed on standard error so far.
    pub fn err(&self) -> String {
        self.printed("err")
    }

    fn printed(&self, what: &str) -> String {
        let path = self.folder.join(format!("{}.{what}", self.name));
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    /// Asks the supervisor.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ClientError> {
        let mut client = Client::connect(&self.socket)?;
        client.set_timeout(Some(PATIENCE));
        client.call(request)
    }

    fn try_status(&self) -> Result<Status, ClientError> {
        self.ask(&Request::Status { workers: Vec::new() })
    }

    /// Its status.
    #[track_caller]
    pub fn status(&self) -> Status {
        match self.try_status() {
            Ok(status) => status,
            Err(error) => panic!("no status: {error}; it said: {}", self.err()),
        }
    }

    /// One row of its status.
    #[track_caller]
    pub fn instance(&self, worker: &str, instance: u32) -> InstanceStatus {
        let row =
            self.status().workers.into_iter().find(|row| row.worker == worker && row.instance == instance);
        row.unwrap_or_else(|| panic!("there is no {worker}:{instance}"))
    }

    /// Its process tree.
    #[track_caller]
    pub fn ps(&self) -> Vec<ProcessRow> {
        self.ask(&Request::Ps).expect("ps is answered")
    }

    /// The pids of a worker's processes, as [`Run::ps`] shows them.
    #[track_caller]
    pub fn pids_of(&self, worker: &str) -> Vec<i32> {
        let own = self.ps().into_iter().filter(|row| row.worker.as_deref() == Some(worker));
        own.map(|row| row.pid).collect()
    }

    /// Waits until a worker's trees have so many processes together, and says which.
    #[track_caller]
    pub fn until_so_many(&self, worker: &str, count: usize) -> Vec<i32> {
        until(&format!("{worker} has {count} processes"), || {
            Some(self.pids_of(worker)).filter(|all| all.len() == count)
        })
    }

    /// Waits until every instance is in a state.
    #[track_caller]
    pub fn until_all(&self, state: &str) -> Vec<InstanceStatus> {
        until(&format!("all are {state}"), || {
            Some(self.status().workers).filter(|rows| rows.iter().all(|row| row.state == state))
        })
    }

    /// One of its queues.
    #[track_caller]
    pub fn queue(&self, name: &str) -> QueueStatus {
        let all: Vec<QueueStatus> = self.ask(&Request::Queues).expect("queues are told");
        all.into_iter()
            .find(|queue| queue.queue == name)
            .unwrap_or_else(|| panic!("there is no queue {name}"))
    }

    /// Waits until the first instance of a worker is in a state, and says its row.
    #[track_caller]
    pub fn until_state(&self, worker: &str, state: &str) -> InstanceStatus {
        until(&format!("{worker} is {state}"), || {
            Some(self.instance(worker, 0)).filter(|row| row.state == state)
        })
    }

    /// Waits until the first instance of a worker runs in at least this launch, and says its pid.
    #[track_caller]
    pub fn until_launch(&self, worker: &str, launch: u64) -> i32 {
        until(&format!("{worker} runs in launch {launch}"), || {
            let row = self.instance(worker, 0);
            row.pid.filter(|_| row.state == "running" && row.launch >= Some(launch))
        })
    }

    /// Sends the supervisor a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the supervisor is our child");
    }

    /// Kills the supervisor with -9.
    pub fn kill_9(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("a child can be waited for");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        until("the supervisor has ended", || self.child.try_wait().expect("a child can be waited for"))
    }

    /// Waits until it has ended, and says its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = self.wait();
        status
            .code()
            .unwrap_or_else(|| panic!("the supervisor was killed: {status}; it said: {}", self.err()))
    }

    /// Tells it to stop, and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.exit_code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Twice: at once. The second may find it gone.
            let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
            let _ = kill(Pid::from_raw(self.pid()), Signal::SIGQUIT);
            let start = std::time::Instant::now();
            while let Ok(None) = self.child.try_wait() {
                if start.elapsed() > PATIENCE {
                    let _ = self.child.kill();
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
}

//! The programs that are measured: started, watched, told to end, and never left behind.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bench::{Birth, Stamp};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Trouble;
use crate::births::{Births, PATIENCE};

/// How long a program that was told to end may take when nobody measures it any more.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// Where configs, pipes and runtime folders are while the bench runs.
#[derive(Debug)]
pub struct Stage {
    folder: tempfile::TempDir,
    scenes: u32,
}

/// What our workers' output goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// `"null"`.
    Null,
    /// `"log"`, the default: a pipe each for standard output and error.
    Log,
}

/// One program that leads others: ours, or a bare one.
#[derive(Debug)]
pub struct Scene {
    program: Running,
    births: Births,
    begun: Stamp,
    name: OsString,
    runtime: PathBuf,
}

/// How long it took to stop.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// Until the last worker was gone.
    pub workers_ms: f64,
    /// Until the program that led them was gone too.
    pub all_ms: f64,
}

impl Stage {
    /// An empty one.
    pub fn new() -> Result<Stage, Trouble> {
        Ok(Stage { folder: tempfile::Builder::new().prefix("bench-").tempdir()?, scenes: 0 })
    }

    fn next_name(&mut self) -> OsString {
        self.scenes += 1;
        format!("bench-{}", self.scenes).into()
    }

    /// The name of the next scene, and a pipe for the births in it.
    pub fn next_births(&mut self) -> Result<(OsString, Births), Trouble> {
        let name = self.next_name();
        let births = Births::in_folder(self.folder.path(), &name)?;
        Ok((name, births))
    }

    fn runtime(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// A path for what a program is to leave here.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Our supervisor with so many workers.
    pub fn ours(&mut self, count: u32, output: Output) -> Result<Scene, Trouble> {
        let (name, births) = self.next_births()?;
        let config = self.write_config(&name, &crowd_config(births.path(), count, output)?)?;
        let mut command = self.supervisor(&name)?;
        command.arg("run").arg(&config).stderr(self.talk()?);
        self.open(command, births, name)
    }

    /// A bare program of this bench, with these arguments before the pipe.
    pub fn bare(&mut self, mode: &str, arguments: &[&str]) -> Result<Scene, Trouble> {
        let (name, births) = self.next_births()?;
        let mut command = Command::new(crate::programs()?.join("bench"));
        command.arg(mode).arg(births.path()).args(arguments);
        self.open(command, births, name)
    }

    fn open(&self, mut command: Command, births: Births, name: OsString) -> Result<Scene, Trouble> {
        let begun = Stamp::now();
        let program = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()))?;
        Ok(Scene { program, births, begun, name, runtime: self.runtime() })
    }

    /// Our command, aimed at the run of this name.
    pub fn supervisor(&self, name: &OsString) -> Result<Command, Trouble> {
        supervisor(&self.runtime(), name)
    }

    /// Runs a config to its end.
    pub fn run_to_its_end(&mut self, config: &str) -> Result<(), Trouble> {
        let name = self.next_name();
        let config = self.write_config(&name, config)?;
        let mut command = self.supervisor(&name)?;
        command.arg("run").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.talk()?);
        Running::start(&mut command)?.end_well()
    }

    /// Where our supervisors talk to.
    fn talk(&self) -> Result<File, Trouble> {
        Ok(File::options().append(true).create(true).open(self.path("talk"))?)
    }

    /// What our supervisors said, for when something went wrong.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.path("talk")).unwrap_or_default()
    }

    fn write_config(&self, name: &OsString, text: &str) -> Result<PathBuf, Trouble> {
        let path = self.folder.path().join(name).with_extension("json");
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

fn supervisor(runtime: &Path, name: &OsString) -> Result<Command, Trouble> {
    let mut command = Command::new(crate::programs()?.join("supervisor"));
    command.env("SUPERVISOR_RUNTIME_DIR", runtime).env("SUPERVISOR_NAME", name);
    command.env_remove("SUPERVISOR_SOCKET").arg("--name").arg(name);
    Ok(command)
}

/// So many workers, each an entry of its own. Restarts are at once and without end; nothing else is said.
fn crowd_config(pipe: &Path, count: u32, output: Output) -> Result<String, Trouble> {
    let program = serde_json::to_string(&crate::programs()?.join("bench-child"))?;
    let pipe = serde_json::to_string(pipe)?;
    let output = match output {
        Output::Null => r#""stdout": "null", "stderr": "null", "#,
        Output::Log => "",
    };
    let mut text = String::from("{ \"workers\": {\n");
    for id in 0..count {
        let comma = if id + 1 < count { "," } else { "" };
        let _ = writeln!(
            text,
            r#"  "w{id}": {{ "command": [{program}, {pipe}, "{id}"], {output}"backoff": {{ "initial": 0 }}, "intensity": {{ "restarts": 1000000, "within": "1s" }} }}{comma}"#
        );
    }
    text.push_str("} }\n");
    Ok(text)
}

impl Scene {
    /// Waits for so many births; milliseconds from the start of the program that leads to the last of them.
    pub fn born(&mut self, count: u32) -> Result<f64, Trouble> {
        let births = self.births.crowd(count as usize)?;
        let last = births.iter().map(|birth| birth.at).max().unwrap_or(self.begun);
        Ok(last.ms_since(self.begun))
    }

    /// Waits for one birth.
    pub fn next_birth(&mut self) -> Result<Birth, Trouble> {
        self.births.next()
    }

    /// The pid of the program that leads.
    pub fn pid(&self) -> u32 {
        self.program.0.id()
    }

    /// Milliseconds that `supervisor status` takes, its own start included.
    pub fn status_ms(&self) -> Result<f64, Trouble> {
        let mut command = supervisor(&self.runtime, &self.name)?;
        command.arg("status").stdin(Stdio::null()).stdout(Stdio::null());
        timed(command)
    }

    /// Tells it to end, and waits until nothing is left.
    pub fn stop(mut self) -> Result<Stopped, Trouble> {
        let begun = Stamp::now();
        self.program.tell(Signal::SIGTERM);
        let workers = self.births.end()?;
        self.program.wait(PATIENCE)?;
        Ok(Stopped { workers_ms: workers.ms_since(begun), all_ms: Stamp::now().ms_since(begun) })
    }
}

/// Milliseconds from the start to the end of a command, which must succeed.
pub fn timed(mut command: Command) -> Result<f64, Trouble> {
    let begun = Stamp::now();
    Running::start(&mut command)?.end_well()?;
    Ok(Stamp::now().ms_since(begun))
}

/// A program that is ended when it is no longer of use.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it; what it says on standard error is shown.
    pub fn start(command: &mut Command) -> Result<Running, Trouble> {
        let told = command.get_program().display().to_string();
        command.spawn().map(Running).map_err(|error| Trouble::new(format!("{told}: {error}")))
    }

    /// Waits until it has ended, which must be a success.
    pub fn end_well(mut self) -> Result<(), Trouble> {
        self.wait(PATIENCE)?;
        match self.0.wait()? {
            status if status.success() => Ok(()),
            status => Err(Trouble::new(format!("a program that was to succeed did not: {status}"))),
        }
    }

    /// Its pid.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("a pid of Linux"))
    }

    fn tell(&self, signal: Signal) {
        // An error means that it is gone.
        let _ = kill(self.pid(), signal);
    }

    fn wait(&mut self, patience: Duration) -> Result<(), Trouble> {
        if self.0.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = self.pid();
        if let Some(pidfd) = process::pidfd_open(pid)? {
            let limit = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
            poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], limit)?;
        }
        match self.0.try_wait()? {
            Some(_) => Ok(()),
            None => Err(Trouble::new(format!("process {pid} did not end within {patience:?}"))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What has been waited for has no pid any more.
        if matches!(self.0.try_wait(), Ok(None)) {
            self.tell(Signal::SIGTERM);
            if self.wait(LAST_WORDS).is_err() {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }
    }
}

//! A place for one test: a folder, a runtime folder, and programs that know no other supervisor.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process::{Pid, Snapshot};
use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, Run, Said, skipped, until};

/// The folder of the programs under test.
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let deps = test.parent().expect("a test lies in a folder");
    deps.parent().expect("the folder of tests lies beside the programs").to_owned()
}

/// A program under test.
pub fn program(name: &str) -> PathBuf {
    let path = programs().join(name);
    assert!(
        path.exists(),
        "{} is missing: build the programs first (cargo build --workspace)",
        path.display()
    );
    path
}

/// A place for one test.
#[derive(Debug)]
pub struct Sandbox {
    folder: TempDir,
}

impl Default for Sandbox {
    fn default() -> Sandbox {
        Sandbox::new()
    }
}

impl Sandbox {
    /// An empty one.
    pub fn new() -> Sandbox {
        Sandbox { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of its runs.
    pub fn runtime(&self) -> PathBuf {
        self.path().join("run")
    }

    /// Writes a file, and says where.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).expect("a file can be written in the sandbox");
        path
    }

    /// Reads a file; empty if there is none.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path().join(name)).unwrap_or_default()).into_owned()
    }

    /// A program under test, which knows no other supervisor and finds the worker programs.
    pub fn command(&self, name: &str) -> Command {
        self.outfit(Command::new(program(name)))
    }

    /// A shell that is yet to be given its script, as [`Sandbox::command`].
    pub fn shell(&self) -> Command {
        let mut command = self.outfit(Command::new("/bin/sh"));
        command.arg("-c");
        command
    }

    fn outfit(&self, mut command: Command) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(programs()).chain(std::env::split_paths(&path));
        command.current_dir(self.path());
        command.env("PATH", std::env::join_paths(all).expect("folders of PATH are free of colons"));
        command.env("SUPERVISOR_RUNTIME_DIR", self.runtime());
        command.env("SUPERVISOR_STATE_DIR", self.path().join("state"));
        for ours in ["SUPERVISOR_NAME", "SUPERVISOR_SOCKET", "SUPERVISOR_WORKER", "NO_COLOR"] {
            command.env_remove(ours);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs `supervisor` with these arguments to its end.
    #[track_caller]
    pub fn supervisor(&self, arguments: &[&str]) -> Said {
        Said::of(self.command("supervisor").args(arguments))
    }

    /// Starts `supervisor` with these arguments, for [`Said::at_the_end_of`].
    #[track_caller]
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.command("supervisor");
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the supervisor can be executed")
    }

    /// Runs `supervisor` with these arguments and this standard input to its end.
    #[track_caller]
    pub fn supervisor_with_input(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut command = self.command("supervisor");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the supervisor can be executed");
        // It may end before it has read everything; what it says then is what matters.
        let _ = child.stdin.take().expect("it was asked for").write_all(input);
        Said::at_the_end_of(child)
    }

    /// Starts a run of this config, and waits until it answers.
    pub fn run(&self, config: &Value) -> Run {
        Run::start(self, config, &[])
    }

    /// Starts a run of this config, and waits until it has ended by itself.
    #[track_caller]
    pub fn run_to_its_end(&self, config: &Value) -> (i32, Run) {
        let mut run = Run::begin(self, config, &[]);
        let code = run.exit_code();
        (code, run)
    }

    /// How many whole lines a file holds; 0 if there is none.
    pub fn lines(&self, name: &str) -> usize {
        self.read(name).matches('\n').count()
    }

    /// Waits until a file holds at least so many whole lines, and says what it holds.
    #[track_caller]
    pub fn until_lines(&self, name: &str, count: usize) -> String {
        until(&format!("{name} has {count} lines"), || {
            Some(self.read(name)).filter(|text| text.matches('\n').count() >= count)
        })
    }

    /// A command line on a terminal of its own, its ends piped, if the machine has what makes one; says so when not.
    pub fn on_a_terminal(&self, line: &str) -> Option<Command> {
        if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
            skipped("no `script` on this machine to make a terminal");
            return None;
        }
        let mut command = self.shell();
        command.arg(format!("exec script -qefc '{line}' /dev/null")).env("TERM", "xterm");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Some(command)
    }

    /// Whether a file is there.
    pub fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    /// Waits until a file is there and holds a whole line, and says what it holds.
    #[track_caller]
    pub fn until_written(&self, name: &str) -> String {
        until(&format!("{name} is written"), || Some(self.read(name)).filter(|text| text.ends_with('\n')))
    }

    /// Waits until a file holds a line with a pid, and says which.
    #[track_caller]
    pub fn until_pid(&self, name: &str) -> i32 {
        self.until_written(name).trim().parse().expect("a pid is written there")
    }

    /// The supervisors of this sandbox and the processes that they have started, by the marks in their environment.
    pub fn processes(&self) -> Vec<i32> {
        let ours = |pid: Pid| {
            let here = |name: &str| {
                process::environ_var(pid, name)
                    .is_some_and(|value| value.starts_with(self.path().as_os_str().as_encoded_bytes()))
            };
            ["SUPERVISOR_SOCKET", "SUPERVISOR_FOLDER", "SUPERVISOR_RUNTIME_DIR"]
                .into_iter()
                .any(here)
                .then_some(pid.as_raw())
        };
        let snapshot = Snapshot::take().expect("/proc can be read");
        let living: Vec<Pid> =
            snapshot.iter().filter(|stat| !stat.is_zombie()).map(|stat| stat.pid).collect();
        living.into_iter().filter_map(ours).collect()
    }

    /// Ends, by pid, whatever a test left on purpose, also what a supervisor among them starts meanwhile.
    pub fn clean(&self) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let left: Vec<String> = self
            .processes()
            .into_iter()
            .map(|pid| format!("{pid} {}", process::cmdline(Pid::from_raw(pid))))
            .collect();
        self.clean();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

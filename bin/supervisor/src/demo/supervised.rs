//! A real supervisor on the stage, by the same commands that anybody would type.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::demo::stage::{Stage, until};

/// The config of a lesson that has one.
pub const CONFIG: &str = "lesson.json";

/// What a command of the supervisor did.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code; 128+n for signal n.
    pub code: i64,
    /// What it printed.
    pub out: String,
    /// What it said on standard error.
    pub err: String,
}

impl Stage {
    /// Writes the config of this step, and shows it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn config(&mut self, text: &str) -> io::Result<()> {
        std::fs::write(self.folder().join(CONFIG), text)?;
        self.file(&format!("{CONFIG}:\n{text}"));
        Ok(())
    }

    /// Any command, in the folder of the lesson.
    pub fn command(&self, program: impl Into<PathBuf>) -> Command {
        let mut command = Command::new(program.into());
        command.current_dir(self.folder()).stdin(Stdio::null());
        command
    }

    /// `supervisor ARGUMENTS`, to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn supervisor(&self, arguments: &[&str]) -> io::Result<Answer> {
        let mut command = self.command(std::env::current_exe()?);
        answer(command.args(arguments).output()?)
    }

    /// `supervisor ARGUMENTS --json`, to its end.
    ///
    /// # Errors
    /// When it fails.
    pub fn report(&self, arguments: &[&str]) -> io::Result<Value> {
        let answer = self.supervisor(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&answer.out).map_err(|_| {
            io::Error::other(format!("supervisor {}: {}", arguments.join(" "), answer.err.trim()))
        })
    }

    /// Starts the config in the background; the supervisor's pid.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn detach(&self) -> io::Result<i32> {
        let answer = self.supervisor(&["run", CONFIG, "--detach"])?;
        let pid = answer.out.split_whitespace().nth(1).and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| io::Error::other(format!("supervisor run: {}", answer.err.trim())))
    }

    /// The row of `status` of a worker's first instance.
    ///
    /// # Errors
    /// When there is none.
    pub fn status(&self, worker: &str) -> io::Result<Value> {
        let mut status = self.report(&["status", worker])?;
        Ok(status["workers"][0].take())
    }

    /// The pid of a worker's first instance.
    ///
    /// # Errors
    /// When it has none.
    pub fn pid_of(&self, worker: &str) -> io::Result<i32> {
        let pid = self.status(worker)?["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.ok_or_else(|| io::Error::other(format!("{worker} has no pid")))
    }

    /// Waits until a file of the lesson is there.
    ///
    /// # Errors
    /// When it never comes.
    pub fn until_file(&self, name: &str) -> io::Result<()> {
        let path = self.folder().join(name);
        until(&format!("{name} is there"), || Ok(path.exists().then_some(())))
    }
}

fn answer(output: Output) -> io::Result<Answer> {
    use std::os::unix::process::ExitStatusExt;
    let code =
        output.status.code().or_else(|| output.status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Answer { code: code.into(), out: text(&output.stdout), err: text(&output.stderr) })
}

/// Whether a process is there and has not ended.
pub fn lives(pid: i32) -> bool {
    process::Stat::of(process::Pid::from_raw(pid)).ok().flatten().is_some_and(|stat| !stat.is_zombie())
}

/// The state letter of a process as the kernel shows it, if it is there.
pub fn state(pid: i32) -> Option<char> {
    process::Stat::of(process::Pid::from_raw(pid)).ok().flatten().map(|stat| stat.state)
}

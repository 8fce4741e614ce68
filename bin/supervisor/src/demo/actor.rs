//! The processes of a lesson: this same program once more, in a part of its own, with which lines are exchanged.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use crate::demo::PART;
use crate::demo::stage::{PATIENCE, until};

/// A child that plays a part. It is ended when this is dropped.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    ear: Option<ChildStdin>,
    says: Receiver<String>,
}

impl Actor {
    /// Starts a part of a lesson.
    ///
    /// # Errors
    /// When no process can be made.
    pub fn of(lesson: &str, part: &str, arguments: &[&str]) -> io::Result<Actor> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([PART, lesson, part]).args(arguments);
        Actor::start(command)
    }

    /// Starts any command as a child that is talked with.
    ///
    /// # Errors
    /// When no process can be made.
    pub fn start(mut command: Command) -> io::Result<Actor> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let ear = child.stdin.take();
        let mouth = child.stdout.take().expect("it was asked for");
        let (said, says) = channel();
        // Ends with the child, or when nobody listens any more.
        thread::spawn(move || {
            BufReader::new(mouth).lines().map_while(Result::ok).try_for_each(|line| said.send(line))
        });
        Ok(Actor { child, ear, says })
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The next line it says; none once it has closed its mouth for good.
    ///
    /// # Errors
    /// When it says nothing for too long.
    pub fn listen(&self) -> io::Result<Option<String>> {
        match self.says.recv_timeout(PATIENCE) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {} says nothing", self.pid())))
            }
        }
    }

    /// The next line it says.
    ///
    /// # Errors
    /// When it says nothing any more.
    pub fn hear(&self) -> io::Result<String> {
        self.listen()?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, format!("process {} ended in silence", self.pid()))
        })
    }

    /// The number on the next line it says.
    ///
    /// # Errors
    /// When there is none.
    pub fn hear_number(&self) -> io::Result<i64> {
        let line = self.hear()?;
        line.parse().map_err(|_| io::Error::other(format!("process {} said {line:?}", self.pid())))
    }

    /// Says a line to it.
    ///
    /// # Errors
    /// When it has gone.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        match &mut self.ear {
            Some(ear) => writeln!(ear, "{line}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Has nothing more to say to it, and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn join(&mut self) -> io::Result<ExitStatus> {
        self.ear = None;
        let what = format!("process {} ends", self.pid());
        until(&what, || self.child.try_wait())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Where it has ended and was waited for, neither does anything.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says a line to the parent, at once.
///
/// # Errors
/// When the parent has gone.
pub fn say(line: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Waits for a line of the parent; none once it has nothing more to say.
///
/// # Errors
/// Those of reading.
pub fn told() -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = io::stdin().lock().read_line(&mut line)?;
    Ok((length > 0).then(|| line.trim_end_matches('\n').to_owned()))
}

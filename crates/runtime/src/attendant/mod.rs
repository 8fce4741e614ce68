//! Attendants: small processes that join a worker's standard streams to queues, one a stream.
//!
//! ```text
//!   queue ──► feeder ──── a pipe that holds one line ────► worker ──── a pipe ────► collector ──► queue
//! ```
//!
//! Processes and not threads, because a `wait` worker outlives a supervisor that is killed, and what it reads and writes
//! must outlive it too. An attendant ends with its worker: the feeder when that is dead, the collector when nobody can
//! write into its pipe any more. Its environment bears the marks of the launch it attends, and one that says what it is.
//!
//! An attendant has three descriptors: the queue (0), the pipe (1), and a socket to the supervisor (2). What it prints
//! there is told in the worker's log; what it reads there are [`Word`]s.
//!
//! When an attendant dies, the supervisor gives back what it held. When it dies and was not done, its launch is killed:
//! a worker must not mistake the end of its feeder for the end of its queue.

mod collector;
mod feeder;
mod look;
mod pace;
mod taker;

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ipc::Queue;
use nix::fcntl::{FcntlArg, fcntl};
use process::{Identity, Pid, Spawn, Stdio, Variables};

/// The hidden verb by which the program becomes an attendant.
pub const VERB: &str = "attend";

/// The variable that says what an attendant is.
pub(crate) const MARK: &str = "ATTENDS";

/// What an attendant does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It hands messages to a worker's standard input.
    Feeder,
    /// It takes a worker's standard output or error apart into messages.
    Collector,
}

impl Role {
    /// Its name, in marks and among processes.
    pub fn name(self) -> &'static str {
        match self {
            Role::Feeder => "feeder",
            Role::Collector => "collector",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Role> {
        [Role::Feeder, Role::Collector].into_iter().find(|role| role.name() == name)
    }

    fn comm(self) -> &'static std::ffi::CStr {
        match self {
            Role::Feeder => c"sv-feeder",
            Role::Collector => c"sv-collector",
        }
    }
}

/// What the supervisor tells a feeder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// This is the worker.
    Attend(Identity),
    /// The worker has ended; whether with exit code 0.
    Ended { well: bool },
}

impl Word {
    pub(crate) fn send(self, mut to: &UnixStream) -> io::Result<()> {
        let line = match self {
            Word::Attend(worker) => format!("attend {} {}\n", worker.pid, worker.start_time),
            Word::Ended { well: true } => "ended well\n".to_owned(),
            Word::Ended { well: false } => "ended badly\n".to_owned(),
        };
        to.write_all(line.as_bytes())
    }

    /// Waits for the next one. `None`: the supervisor is gone.
    fn hear(mut from: &UnixStream) -> Option<Word> {
        let mut line = Vec::new();
        let mut byte = [0];
        // Byte by byte: they are few and short, and what follows a word belongs to the next one.
        while byte != *b"\n" {
            match from.read(&mut byte) {
                Ok(0) => return None,
                Ok(_) => line.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Word::read(std::str::from_utf8(&line).ok()?)
    }

    fn read(line: &str) -> Option<Word> {
        match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
            ["attend", pid, start_time] => {
                let pid = Pid::from_raw(pid.parse().ok()?);
                Some(Word::Attend(Identity { pid, start_time: start_time.parse().ok()? }))
            }
            ["ended", "well"] => Some(Word::Ended { well: true }),
            ["ended", "badly"] => Some(Word::Ended { well: false }),
            _ => None,
        }
    }
}

/// An attendant that is to be spawned.
#[derive(Debug)]
pub(crate) struct Order {
    pub role: Role,
    pub spawn: Spawn,
    /// Our end of its socket.
    pub socket: UnixStream,
}

/// What an attendant is made from.
#[derive(Debug)]
pub(crate) struct Making<'a> {
    pub role: Role,
    /// The queue's name, and the queue.
    pub queue: (&'a str, &'a Queue),
    /// Where a message goes that cannot be delivered as a line.
    pub dead_letters: Option<PathBuf>,
    /// Its environment.
    pub env: Variables,
    /// The signal it gets when the supervisor dies.
    pub parent_death: Option<i32>,
}

impl Making<'_> {
    /// How it is spawned, and the worker's end of the pipe.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn prepare(self) -> io::Result<(Order, OwnedFd)> {
        let (read, write) = io::pipe()?;
        let (own, workers): (OwnedFd, OwnedFd) = match self.role {
            Role::Feeder => {
                one_line(&write)?;
                (write.into(), read.into())
            }
            Role::Collector => (read.into(), write.into()),
        };
        let (socket, its) = UnixStream::pair()?;
        let (name, queue) = self.queue;
        let text = |word: &OsStr| CString::new(word.as_bytes()).map_err(io::Error::from);
        let mut argv = vec![
            text(std::env::current_exe()?.as_os_str())?,
            text(VERB.as_ref())?,
            text(self.role.name().as_ref())?,
            text(name.as_ref())?,
        ];
        if let Some(path) = self.dead_letters {
            argv.push(text(path.as_os_str())?);
        }
        let mut spawn = Spawn::new(argv, self.env, c"/".to_owned());
        spawn.stdin = Stdio::Fd(Arc::new(queue.as_fd().try_clone_to_owned()?));
        spawn.stdout = Stdio::Fd(Arc::new(own));
        spawn.stderr = Stdio::Fd(Arc::new(its.into()));
        spawn.parent_death = self.parent_death;
        Ok((Order { role: self.role, spawn, socket }, workers))
    }
}

/// Makes a pipe as small as pipes are: it then has one place, which is taken until all that is in it has been read. So
/// it can be written into exactly when its reader has taken everything.
fn one_line(end: impl AsFd) -> io::Result<()> {
    fcntl(end, FcntlArg::F_SETPIPE_SZ(1))?;
    Ok(())
}

/// Is an attendant, if `given`, a whole command line, says so.
pub fn attend(given: &[OsString]) -> Option<ExitCode> {
    let [_, verb, role, queue, rest @ ..] = given else { return None };
    let role = role.to_str().and_then(Role::named).filter(|_| verb == VERB)?;
    let dead_letters = rest.first().map(Path::new);
    // For people who look at `ps`; it works under any name.
    let _ = nix::sys::prctl::set_name(role.comm());
    let done = Post::take(queue.to_string_lossy().into_owned(), dead_letters).and_then(|post| match role {
        Role::Feeder => feeder::feed(post),
        Role::Collector => collector::collect(post),
    });
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            say(&format!("{}: queue {}: {trouble}", role.name(), queue.display()));
            ExitCode::FAILURE
        }
    })
}

/// What an attendant finds when it begins.
struct Post {
    name: String,
    queue: Queue,
    dead_letters: Option<Queue>,
    pipe: OwnedFd,
    supervisor: UnixStream,
}

impl Post {
    fn take(name: String, dead_letters: Option<&Path>) -> Result<Post, String> {
        let own = |end: io::Result<OwnedFd>| end.map_err(|error| error.to_string());
        let queue = own(io::stdin().as_fd().try_clone_to_owned())?;
        let pipe = own(io::stdout().as_fd().try_clone_to_owned())?;
        let supervisor = own(io::stderr().as_fd().try_clone_to_owned())?;
        // The end of the pipe is to be closed by closing `pipe`; a copy would keep it open.
        let nothing = std::fs::File::open("/dev/null").map_err(|error| error.to_string())?;
        nix::unistd::dup2_stdout(&nothing).map_err(|errno| errno.desc().to_owned())?;
        Ok(Post {
            name,
            queue: Queue::from_fd(queue).map_err(|error| error.to_string())?,
            // Its holder may just have died. Dead letters then stay where they are.
            dead_letters: dead_letters.and_then(|path| Queue::open(path).ok()),
            pipe,
            supervisor: UnixStream::from(supervisor),
        })
    }
}

/// Says something in the worker's log.
fn say(what: &str) {
    // The supervisor may be gone, and then nobody listens.
    crate::talk::say(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_heard_as_they_were_sent() {
        let (to, from) = UnixStream::pair().expect("sockets");
        let worker = Identity { pid: Pid::from_raw(71), start_time: 12345 };
        let words = [Word::Attend(worker), Word::Ended { well: true }, Word::Ended { well: false }];
        for word in words {
            word.send(&to).expect("sent");
        }
        for word in words {
            assert_eq!(Word::hear(&from), Some(word));
        }
        drop(to);
        assert_eq!(Word::hear(&from), None);
        for odd in ["", "attend", "attend x 1", "attend 1", "ended", "ended ?"] {
            assert_eq!(Word::read(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_smallest_pipe_can_be_written_into_exactly_when_it_is_empty() {
        let (mut read, mut write) = io::pipe().expect("a pipe");
        one_line(&write).expect("resized");
        let is_writable = |end: &io::PipeWriter| {
            let mut look = [nix::poll::PollFd::new(end.as_fd(), nix::poll::PollFlags::POLLOUT)];
            nix::poll::poll(&mut look, nix::poll::PollTimeout::ZERO).expect("polled") == 1
        };
        let mut byte = [0];
        for length in [1, 2, 100, 4096] {
            assert!(is_writable(&write));
            write.write_all(&vec![b'x'; length]).expect("written");
            for _ in 0..length {
                assert!(!is_writable(&write));
                read.read_exact(&mut byte).expect("read");
            }
        }
        assert!(is_writable(&write));
    }
}

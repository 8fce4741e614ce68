//! A small process beside the supervisor that outlives it, for one purpose: when the supervisor is killed, the kernel
//! kills the leaders of `daemon` workers, and the guard kills what those had started.
//!
//! ```text
//!   supervisor ── holds the write end of a pipe ──► guard: reads its standard input
//!       ends well: writes one byte ───────────────► ends
//!       dies:      the pipe is at its end ────────► kills every process that bears a mark of a `daemon` worker
//! ```

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use process::{Identity, Pid, Snapshot, Spawn, Stdio};

/// What the guard is called among processes.
const NAME: &std::ffi::CStr = c"sv-guard";

/// The hidden verb by which the program becomes a guard.
pub const VERB: &str = "guard-of";

/// How often what was killed is looked for again: a process that is being born is found by the next look.
const LOOKS_AT_MOST: usize = 100;

/// How long one look waits for what it killed.
const LOOK_MS: u16 = 100;

/// The supervisor's end.
#[derive(Debug)]
pub struct Guard {
    word: io::PipeWriter,
    pidfd: Option<OwnedFd>,
    /// Its pid, once it runs.
    pub pid: Option<Pid>,
}

impl Guard {
    /// A guard and how it is spawned.
    pub fn prepare(program: &Path, socket: &Path) -> io::Result<(Guard, Spawn)> {
        let (hears, word) = io::pipe()?;
        let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
        let argv = vec![
            text(program.as_os_str().as_bytes())?,
            text(VERB.as_bytes())?,
            text(std::process::id().to_string().as_bytes())?,
            text(socket.as_os_str().as_bytes())?,
        ];
        let mut spawn = Spawn::new(argv, Vec::new(), c"/".to_owned());
        spawn.stdin = Stdio::Fd(Arc::new(hears.into()));
        Ok((Guard { word, pidfd: None, pid: None }, spawn))
    }

    /// It runs.
    pub fn spawned(&mut self, pid: Pid, pidfd: OwnedFd) {
        self.pid = Some(pid);
        self.pidfd = Some(pidfd);
    }

    /// Its descriptor, to watch it.
    pub fn pidfd(&self) -> Option<&OwnedFd> {
        self.pidfd.as_ref()
    }

    /// Lets it go: everything has ended as it should.
    pub fn dismiss(mut self) {
        // An error means that it is gone already.
        let _ = self.word.write_all(b".");
        if let Some(pidfd) = self.pidfd {
            let mut wait = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut wait, PollTimeout::from(1000u16));
            let _ = process::wait_leader(pidfd.as_fd());
        }
    }
}

/// Is the guard: waits for the word, or for the death, of the supervisor `supervisor`, whose control socket is at
/// `socket`.
///
/// # Errors
///
/// When standard input or `/proc` cannot be read.
pub fn guard(supervisor: i32, socket: &Path) -> io::Result<()> {
    // For people who look at `ps`; it works under any name.
    let _ = nix::sys::prctl::set_name(NAME);
    let mut word = [0];
    loop {
        match io::stdin().lock().read(&mut word) {
            Ok(0) => break,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(folder) = socket.parent() {
        crate::cgroups::kill_daemons(folder);
    }
    for _ in 0..LOOKS_AT_MOST {
        let victims = daemons(supervisor, socket)?;
        if victims.is_empty() {
            return Ok(());
        }
        process::freeze_and_kill(&victims, |_| false)?;
        let held: Vec<OwnedFd> = victims.iter().filter_map(|victim| victim.hold().ok().flatten()).collect();
        for pidfd in &held {
            let mut wait = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut wait, PollTimeout::from(LOOK_MS));
        }
    }
    Ok(())
}

/// Every living process that bears the mark of a `daemon` worker of this supervisor.
fn daemons(supervisor: i32, socket: &Path) -> io::Result<Vec<Identity>> {
    let supervisor = supervisor.to_string();
    let is_one = |pid: Pid| {
        process::origin(pid).ok().flatten().is_some_and(|origin| {
            origin.mark("POLICY") == Some("daemon")
                && origin.mark("PID") == Some(&supervisor)
                && crate::sweeping::is_of(&origin, socket)
        })
    };
    let snapshot = Snapshot::take()?;
    let living = snapshot.iter().filter(|stat| !stat.is_zombie() && stat.pid != Pid::this());
    Ok(living.filter(|stat| is_one(stat.pid)).map(Identity::from).collect())
}

//! From a worker's setup to one launch: arguments, environment, descriptors.

use std::cell::OnceCell;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::fchown;
use process::{Plot, Spawn, Stdio, Variables};
use supervision::{LaunchFailure, Policy, Process};

use crate::attendant::{self, Role};
use crate::doors::other_user;
use crate::environment::{Environment, PROBE, Paths};
use crate::listening;
use crate::logs::{Label, Pump, Stream, Streams, Watch, Writer};
use crate::mailbox::{self, Mail};
use crate::queues::Queues;
use crate::setup::{Command, Input, Output, Sign, Watching, WorkerSetup};
use crate::temporary;
use crate::words;

/// What one launch needs beside its worker's setup.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Which launch.
    pub process: Process,
    /// The worker's name.
    pub name: &'a Arc<str>,
    /// What people call the instance: the worker's name, with the number where there are several.
    pub show: &'a Arc<str>,
    /// How the worker and the supervisor part.
    pub policy: Policy,
    /// How it is launched.
    pub worker: &'a WorkerSetup,
    /// Its notification socket.
    pub notify: Option<&'a Path>,
    /// Its control socket, where that is not the run's own.
    pub door: Option<&'a Path>,
    /// Whom to tell of a line that shows that it is ready.
    pub mail: &'a mailbox::Sender,
}

/// What was made for one launch alone.
#[derive(Debug, Default)]
pub struct Given {
    /// Its cgroup's place.
    pub cgroup: Option<Plot>,
    /// Its temporary folder.
    pub temporary: temporary::Given,
    /// The sockets it listens on.
    pub sockets: Vec<Arc<OwnedFd>>,
}

/// Where a launch takes place.
#[derive(Debug)]
pub struct Place<'a> {
    /// What all launches have in common in their environment.
    pub environment: &'a Environment,
    /// Where what they print goes.
    pub pump: &'a Pump,
    /// The run's queues.
    pub queues: &'a Queues,
}

/// A launch that is ready to be spawned: its attendants first.
#[derive(Debug)]
pub struct Prepared {
    /// How its leader is spawned.
    pub spawn: Spawn,
    /// The streams of the log that it writes to.
    pub streams: Streams,
    /// Those who join its streams to queues.
    pub attendants: Vec<attendant::Order>,
    /// Where a newline shows that it is ready, if one does.
    pub newline: Option<OwnedFd>,
}

impl Launch<'_> {
    /// Opens what it reads and writes, and says how it is spawned. The streams are attached to `pump` already; whoever
    /// spawns finishes them when that fails.
    ///
    /// # Errors
    ///
    /// Says which file could not be opened, and why.
    pub fn prepare(&self, place: &Place<'_>, given: Given) -> Result<Prepared, LaunchFailure> {
        let (mut streams, mut attendants) = (Streams::default(), Vec::new());
        let writer = OnceCell::new();
        let label = |stream| writer.get_or_init(|| self.writer()).label(stream);
        let stdin = match &self.worker.kept.stdin {
            Input::Null => Stdio::Null,
            Input::Inherit => Stdio::Inherit,
            Input::File(path) => Stdio::Fd(Arc::new(open(path, OpenOptions::new().read(true), "stdin")?)),
            Input::Queue(queue) => self.attended(Role::Feeder, queue, "stdin", place, &mut attendants)?,
        };
        let mut output = |output: &Output, stream: Stream| match output {
            Output::Null => Ok(Stdio::Null),
            Output::Inherit => Ok(Stdio::Inherit),
            Output::File(path) => {
                let how = OpenOptions::new().append(true).create(true).to_owned();
                Ok(Stdio::Fd(Arc::new(open(path, &how, stream.name())?)))
            }
            Output::Log => self.logged(label(stream), place.pump, &mut streams),
            Output::Queue(queue) => {
                self.attended(Role::Collector, queue, stream.name(), place, &mut attendants)
            }
        };
        let stdout = output(&self.worker.kept.stdout, Stream::Stdout)?;
        let stderr = output(&self.worker.kept.stderr, Stream::Stderr)?;
        self.give_pipes([&stdin, &stdout, &stderr])?;
        let tmp = given.temporary.path.as_deref();
        let mut spawn = Spawn {
            argv: self.argv()?,
            env: self.environment(place.environment, tmp),
            pid_variables: vec![c"SUPERVISOR_LEADER".to_owned()],
            cwd: text(self.worker.kept.cwd.as_os_str().as_bytes(), "cwd")?,
            stdin,
            stdout,
            stderr,
            // A `wait` worker outlives its supervisor; a `terminate` worker is asked by the kernel; a `daemon` dies.
            parent_death: match self.policy {
                Policy::Wait => None,
                Policy::Terminate => Some(self.worker.kept.stop_signal),
                Policy::Daemon => Some(libc::SIGKILL),
            },
            umask: Some(self.worker.kept.umask),
            nice: (self.worker.kept.nice != 0).then_some(self.worker.kept.nice),
            cgroup: given.cgroup,
            ..Spawn::new(Vec::new(), Variables::default(), CString::default())
        };
        for (folder, place) in &given.temporary.mounts {
            let text = |path: &Path| text(path.as_os_str().as_bytes(), "private_tmp");
            spawn.mounts.push((text(folder)?, text(place)?));
        }
        self.hand_over(&given.sockets, &mut spawn);
        self.apply_terms(&mut spawn);
        let newline = self.hand_pipe(&mut spawn)?;
        Ok(Prepared { spawn, streams, attendants, newline })
    }

    /// Gives the pipes that were made for it to the user it runs as: who opens `/dev/stdout` anew is asked whose it is.
    fn give_pipes(&self, [stdin, stdout, stderr]: [&Stdio; 3]) -> Result<(), LaunchFailure> {
        let Some(user) = other_user(self.worker) else { return Ok(()) };
        let kept = &self.worker.kept;
        let is_made = |output: &Output| matches!(output, Output::Log | Output::Queue(_));
        let made = [
            (stdin, "stdin", matches!(kept.stdin, Input::Queue(_))),
            (stdout, "stdout", is_made(&kept.stdout)),
            (stderr, "stderr", is_made(&kept.stderr)),
        ];
        for (stdio, name, _) in made.iter().filter(|(.., is_made)| *is_made) {
            if let Stdio::Fd(pipe) = stdio {
                let given = fchown(&**pipe, Some(user.uid.into()), Some(user.gid.into()));
                given.map_err(|errno| {
                    LaunchFailure(format!("{name}: it cannot be given to its user: {}", errno.desc()))
                })?;
            }
        }
        Ok(())
    }

    /// Hands it the end of a pipe on which it shows that it is ready, if that is its way; gives the other end.
    fn hand_pipe(&self, spawn: &mut Spawn) -> Result<Option<OwnedFd>, LaunchFailure> {
        let Some(Watching { ready: Sign::Newline(number), .. }) = self.worker.kept.watched.as_deref() else {
            return Ok(None);
        };
        let failed = |error: io::Error| LaunchFailure(format!("ready: pipe: {}", words::reason(&error)));
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        // Ours alone: the worker may wait when it writes.
        let flags = OFlag::O_NONBLOCK;
        fcntl(&read, FcntlArg::F_SETFL(flags)).map_err(|errno| failed(errno.into()))?;
        let place = spawn.handed.partition_point(|(other, _)| other < number);
        spawn.handed.insert(place, (*number, Arc::new(write)));
        Ok(Some(read))
    }

    /// A probe of the launch: this program with the launch's environment, folder and rights, which reads and writes
    /// nothing and dies with the supervisor.
    ///
    /// # Errors
    ///
    /// Says what cannot be expressed.
    pub fn probe(
        &self,
        argv: &[String],
        number: u64,
        environment: &Environment,
    ) -> Result<Spawn, LaunchFailure> {
        let argv: Result<_, _> = argv.iter().map(|word| text(word.as_bytes(), "command")).collect();
        let mut env = self.environment(environment, None);
        env.push(PROBE, number.to_string());
        let mut spawn = Spawn::new(argv?, env, text(self.worker.kept.cwd.as_os_str().as_bytes(), "cwd")?);
        spawn.parent_death = Some(libc::SIGKILL);
        spawn.umask = Some(self.worker.kept.umask);
        self.apply_terms(&mut spawn);
        Ok(spawn)
    }

    fn environment(&self, environment: &Environment, tmp: Option<&Path>) -> Variables {
        let paths = Paths { notify: self.notify, door: self.door, tmp };
        environment.of_launch(self.worker, self.name, self.policy, self.process, paths)
    }

    /// Hands sockets over as `sd_listen_fds` looks for them. They all bear the worker's name.
    fn hand_over(&self, sockets: &[Arc<OwnedFd>], spawn: &mut Spawn) {
        if sockets.is_empty() {
            return;
        }
        spawn.handed = (listening::FIRST..).zip(sockets.iter().cloned()).collect();
        spawn.pid_variables.push(c"LISTEN_PID".to_owned());
        let names = vec![&**self.name; sockets.len()].join(":");
        spawn.env.push("LISTEN_FDS", sockets.len().to_string());
        spawn.env.push("LISTEN_FDNAMES", names);
    }

    fn apply_terms(&self, spawn: &mut Spawn) {
        let Some(terms) = self.worker.kept.terms.as_deref() else { return };
        spawn.credentials = terms.account.as_ref().and_then(|account| account.credentials.clone());
        spawn.limits.clone_from(&terms.limits);
        spawn.io_priority = terms.io_priority;
        spawn.oom_score_adj = terms.oom_score_adj;
        spawn.processors.clone_from(&terms.processors);
        spawn.no_new_privileges = terms.no_new_privileges;
    }

    fn argv(&self) -> Result<Vec<CString>, LaunchFailure> {
        match &self.worker.command {
            Command::Argv(argv) => argv.iter().map(|argument| text(argument, "command")).collect(),
            Command::Shell(line) => {
                Ok(vec![c"/bin/sh".to_owned(), c"-c".to_owned(), text(line.as_bytes(), "command")?])
            }
        }
    }

    fn logged(&self, label: Label, pump: &Pump, streams: &mut Streams) -> Result<Stdio, LaunchFailure> {
        let name = label.stream.name();
        let failed = |error: io::Error| LaunchFailure(format!("{name}: pipe: {}", words::reason(&error)));
        // Who outlives the supervisor must not die of a pipe that nobody reads.
        let (read, write) = pump.pipe(self.policy == Policy::Wait).map_err(failed)?;
        let file = self.worker.kept.log.as_deref().cloned().map(|settings| pump.file(settings));
        let stream = match self.line_watch() {
            Some(watch) => pump.attach_watched(read, label, file, watch),
            None => pump.attach(read, label, file),
        };
        streams.push(stream);
        Ok(Stdio::Fd(Arc::new(write)))
    }

    /// The end of a pipe whose other end is an attendant's, who joins it to a queue.
    fn attended(
        &self,
        role: Role,
        queue: &str,
        what: &str,
        place: &Place<'_>,
        attendants: &mut Vec<attendant::Order>,
    ) -> Result<Stdio, LaunchFailure> {
        let failed = |why: &str| LaunchFailure(format!("{what}: queue {queue}: {why}"));
        let (segment, dead_letters) = place.queues.get(queue).ok_or_else(|| failed("there is none"))?;
        let making = attendant::Making {
            role,
            queue: (queue, segment),
            dead_letters,
            env: place.environment.of_attendant(role, self.name, self.policy, self.process),
            parent_death: (self.policy == Policy::Daemon).then_some(libc::SIGKILL),
        };
        let (order, workers) = making.prepare().map_err(|error| failed(&words::reason(&error)))?;
        attendants.push(order);
        Ok(Stdio::Fd(Arc::new(workers)))
    }

    /// How many of its streams are looked at for a line that shows that it is ready.
    pub fn line_watches(&self) -> u32 {
        let looked_at = |output: &Output| u32::from(*output == Output::Log);
        match self.worker.kept.watched.as_deref() {
            Some(Watching { ready: Sign::Line(_), .. }) => {
                looked_at(&self.worker.kept.stdout) + looked_at(&self.worker.kept.stderr)
            }
            _ => 0,
        }
    }

    /// Looks for a line that shows that it is ready, if one does.
    fn line_watch(&self) -> Option<Watch> {
        /// Says when nobody looks any more, for whatever reason.
        struct Looks(mailbox::Sender, Process);
        impl Drop for Looks {
            fn drop(&mut self) {
                self.0.send(Mail::LinesSeen(self.1));
            }
        }
        let Some(Watching { ready: Sign::Line(pattern), .. }) = self.worker.kept.watched.as_deref() else {
            return None;
        };
        let (pattern, looks) = (pattern.clone(), Looks(self.mail.clone(), self.process));
        Some(Box::new(move |line| {
            if !pattern.is_match(line) {
                return ControlFlow::Continue(());
            }
            looks.0.send(Mail::LineSeen(looks.1));
            ControlFlow::Break(())
        }))
    }

    /// Who it is in the log.
    pub fn writer(&self) -> Arc<Writer> {
        Arc::new(Writer {
            worker: Arc::clone(self.name),
            instance: self.process.instance.index,
            launch: self.process.launch.0,
            show: Arc::clone(self.show),
        })
    }
}

fn text(bytes: &[u8], what: &str) -> Result<CString, LaunchFailure> {
    CString::new(bytes).map_err(|_| LaunchFailure(format!("{what}: contains a NUL character")))
}

/// Opens without waiting for anybody, so that a FIFO without a partner cannot hold up the loop.
fn open(path: &Path, how: &OpenOptions, what: &str) -> Result<OwnedFd, LaunchFailure> {
    let opened = || -> io::Result<File> {
        let file = how.clone().custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
        Ok(file)
    };
    match opened() {
        Ok(file) => Ok(file.into()),
        Err(error) => Err(LaunchFailure(format!("{what}: {}: {}", path.display(), words::reason(&error)))),
    }
}

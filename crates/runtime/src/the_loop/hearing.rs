//! What launches say of themselves: over their notification sockets, and by lines of their logs.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use process::{Datagram, Pid, Sender, Stat};
use std::os::fd::AsFd;
use supervision::{Event, Process};

use super::{EARLY_AT_MOST, Early, Loop, Watched};
use crate::doors::{self, other_user};
use crate::joining::STATUS_AT_MOST;
use crate::notify::{self, Message, Notification, NotifySocket, Watchdog};
use crate::owning::Owner;
use crate::talk;

/// The ways on which launches are heard.
#[derive(Debug, Default)]
pub struct Ears {
    /// The notification sockets, each with its token in the epoll set.
    sockets: HashMap<Process, (u64, NotifySocket)>,
    /// The pipes on which a newline shows that a launch is ready, each with its token in the epoll set.
    newlines: HashMap<Process, (u64, OwnedFd)>,
    /// How many streams of a launch are still looked at for the line that shows that it is ready.
    lines: HashMap<Process, u32>,
    /// Launches whose giving back waits until the last line of their log was looked at.
    giving_back: Vec<Process>,
    /// Closed when all that was said before was taken in.
    pub(super) barriers: Vec<OwnedFd>,
}

impl Loop {
    /// Opens the notification socket of a launch that is to have one.
    ///
    /// # Errors
    ///
    /// Says why it has none.
    pub(super) fn open_ear(&mut self, process: Process) -> Result<(), String> {
        let worker = self.setup.workers.get(process.instance.worker.0 as usize);
        let Some(worker) = worker.filter(|worker| worker.kept.notify) else { return Ok(()) };
        let cannot = |error: std::io::Error| format!("notification socket: {}", crate::words::reason(&error));
        let own = notify::path_for(self.folder.path(), process);
        let socket = match other_user(worker) {
            None if notify::is_address(&own) => NotifySocket::bind(own).map_err(cannot)?,
            // Who runs as another user does not get into the run's folder, and no library finds a socket with a long path.
            user => {
                let (uid, gid) = user.map_or_else(doors::own_ids, |user| (user.uid, user.gid));
                let folder = self.doors.folder().map_err(|why| format!("notification socket: {why}"))?;
                let path = notify::path_for(&folder, process);
                if !notify::is_address(&path) {
                    let path = path.display();
                    return Err(format!(
                        "notification socket: {path} is too long for an address; a shorter name of the run helps"
                    ));
                }
                let socket = NotifySocket::bind(path).map_err(cannot)?;
                doors::give(socket.path(), uid, gid).map_err(cannot)?;
                socket
            }
        };
        let token = self.watch(&socket, Watched::Notify(process)).map_err(cannot)?;
        self.ears.sockets.insert(process, (token, socket));
        Ok(())
    }

    /// The notification socket of a launch.
    pub(super) fn ear_of(&self, process: Process) -> Option<&NotifySocket> {
        self.ears.sockets.get(&process).map(|(_, socket)| socket)
    }

    /// Nothing is heard of a launch any more.
    pub(super) fn close_ear(&mut self, process: Process) {
        self.close_newline(process);
        if let Some((token, socket)) = self.ears.sockets.remove(&process) {
            // Closing it would do, were it not for children that have not been executed yet.
            let _ = self.epoll.delete(&socket);
            self.watched.remove(&token);
        }
    }

    /// Takes in all that a launch has said.
    pub(super) fn hear_notifications(&mut self, process: Process) {
        while let Some(heard) = self.ear_of(process).and_then(NotifySocket::receive) {
            self.take_notification(process, heard);
        }
    }

    /// Takes in what a launch said, now or when its spawner has told that it runs.
    pub(super) fn take_notification(&mut self, process: Process, heard: Notification) {
        let early = self.pending.values().any(|pending| pending.process == process);
        if !early {
            self.heed(process, heard);
        } else if self.early.len() < EARLY_AT_MOST {
            self.early.push(Early::Notification(process, heard));
        }
    }

    fn heed(&mut self, process: Process, heard: Notification) {
        let Notification { message, datagram: Datagram { sender, mut descriptors, .. } } = heard;
        if !sender.as_ref().is_some_and(|sender| self.is_of(sender, process)) {
            let from =
                sender.map_or_else(|| "nobody knows whom".to_owned(), |sender| format!("pid {}", sender.pid));
            let show = self.roster.show(process.instance);
            return talk::say(format_args!(
                "{show}: a notification from {from}, which is not of its tree: ignored"
            ));
        }
        self.note_words(process, &message);
        if let Some(pid) = message.main_pid {
            self.lead(process, pid);
        }
        let Message { ready, stopping, watchdog, watchdog_every, extend, barrier, .. } = message;
        let watchdog = watchdog.map(|said| match said {
            Watchdog::Alive => Event::Alive(process),
            Watchdog::Trigger => Event::Ails(process),
        });
        self.news.extend(ready.then_some(Event::Ready(process)));
        self.news.extend(watchdog_every.map(|every| Event::Beats(process, every)));
        self.news.extend(watchdog);
        self.news.extend(stopping.then_some(Event::Departs(process)));
        self.news.extend(extend.map(|more| Event::NeedsTime(process, more)));
        if barrier {
            self.ears.barriers.append(&mut descriptors);
        }
    }

    /// Notes what is for people.
    fn note_words(&mut self, process: Process, message: &Message) {
        if let Some(errno) = message.errno {
            let name = nix::errno::Errno::from_raw(errno).desc();
            self.news.push_back(Event::Complains(process, format!("{name} (errno {errno})")));
        }
        let Some(tree) = self.processes.get_mut(process) else { return };
        if let Some(status) = &message.status {
            tree.talk().status = Some(status.chars().take(STATUS_AT_MOST).collect());
        }
        if message.reloading {
            tree.talk().reloading = true;
        } else if message.ready && tree.is_reloading() {
            tree.talk().reloading = false;
        }
    }

    /// Whether a sender is of a launch's tree. Of one that has ended and was reaped, the kernel keeps only whose it was:
    /// then it is enough that it knew where to say it, which nobody but this user, and the launch's own, can.
    fn is_of(&self, sender: &Sender, process: Process) -> bool {
        let is_gone = || match &sender.pidfd {
            Some(pidfd) => process::is_dead(pidfd.as_fd()),
            None => matches!(Stat::of(sender.pid), Ok(None)) || sender.pid == Pid::from_raw(0),
        };
        let account = || {
            let worker = self.setup.workers.get(process.instance.worker.0 as usize)?;
            Some(worker.kept.terms.as_ref()?.account.as_ref()?.credentials.as_ref()?.uid)
        };
        let of_the_user =
            sender.uid == nix::unistd::geteuid().as_raw() || sender.uid == 0 || account() == Some(sender.uid);
        match self.owner_of(sender.pid.as_raw()) {
            Some(Owner::Launch(owner)) if owner == process => true,
            // It is below us, and does not tell where it comes from.
            Some(Owner::Run) => of_the_user,
            _ => of_the_user && is_gone(),
        }
    }

    /// Listens for the newline that shows that a launch is ready.
    pub(super) fn expect_newline(&mut self, process: Process, pipe: Option<OwnedFd>) {
        let Some(pipe) = pipe else { return };
        match self.watch(&pipe, Watched::Newline(process)) {
            Ok(token) => drop(self.ears.newlines.insert(process, (token, pipe))),
            Err(error) => {
                let show = self.roster.show(process.instance);
                talk::say(format_args!("{show}: cannot hear when it is ready: {error}"));
            }
        }
    }

    /// Something came on the pipe of a launch that is to show that it is ready; what is not a newline means nothing.
    pub(super) fn hear_newline(&mut self, process: Process) {
        let Some((_, pipe)) = self.ears.newlines.get(&process) else { return };
        let mut buffer = [0; 512];
        let event = loop {
            match nix::unistd::read(pipe, &mut buffer) {
                Ok(0) => {
                    let why = "it has closed the descriptor without a newline".to_owned();
                    break Event::NeverReady(process, why);
                }
                Ok(count) if buffer[..count].contains(&b'\n') => break Event::Ready(process),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return,
            }
        };
        self.close_newline(process);
        self.news.push_back(event);
    }

    fn close_newline(&mut self, process: Process) {
        if let Some((token, pipe)) = self.ears.newlines.remove(&process) {
            // Closing it would do, were it not for children that have not been executed yet.
            let _ = self.epoll.delete(&pipe);
            self.watched.remove(&token);
        }
    }

    /// Notes that so many streams of a launch are looked at for the line that shows that it is ready.
    pub(super) fn expect_lines(&mut self, process: Process, streams: u32) {
        if streams > 0 {
            self.ears.lines.insert(process, streams);
        }
    }

    /// One stream of a launch is not looked at any more.
    pub(super) fn lines_seen(&mut self, process: Process) {
        let Some(left) = self.ears.lines.get_mut(&process) else { return };
        *left -= 1;
        if *left == 0 {
            self.ears.lines.remove(&process);
            if let Some(place) = self.ears.giving_back.iter().position(|waits| *waits == process) {
                self.ears.giving_back.swap_remove(place);
                self.news.push_back(Event::Reclaimed(process));
            }
        }
    }

    /// A launch was given back; says so once its last lines were looked at: what it said before it ended counts.
    pub(super) fn given_back(&mut self, process: Process) {
        if self.ears.lines.contains_key(&process) {
            self.ears.giving_back.push(process);
        } else {
            self.news.push_back(Event::Reclaimed(process));
        }
    }
}

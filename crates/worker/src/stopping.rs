//! Being asked to stop.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use control::Lines;
use control::api::{HelloLine, Order};
use ipc::sync::Family;
use ipc_channel::ipc::IpcReceiver;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::wire::Command;

/// Whether this process was asked to stop: by its supervisor over the channel, or by a signal once that is listened to.
/// A process is asked as a whole, however often it has joined.
#[derive(Clone, Debug)]
pub(crate) struct StopFlag {
    process: &'static OfTheProcess,
}

#[derive(Debug)]
struct OfTheProcess {
    asked: Arc<AtomicBool>,
    listening: AtomicBool,
    ending: Arc<AtomicBool>,
    /// What is written to the second is never read: the first stays readable from the first request on. Made when it is
    /// of use; `None` where there were no descriptors for it, and a sleep is then ended by the signal alone.
    alarm: OnceLock<Option<(UnixStream, UnixStream)>>,
    /// Those whose sleepers are to look at the flag when it goes up.
    sleepers: Mutex<Vec<Family>>,
}

impl OfTheProcess {
    /// Has everybody who sleeps look at the flag.
    fn wake_all(&self) {
        ipc::wake_sleepers();
        self.sleepers().iter().for_each(Family::wake_me);
    }

    fn alarm(&self) -> Option<&(UnixStream, UnixStream)> {
        let make = || UnixStream::pair().and_then(|pair| pair.1.set_nonblocking(true).map(|()| pair)).ok();
        self.alarm.get_or_init(make).as_ref()
    }

    fn sleepers(&self) -> MutexGuard<'_, Vec<Family>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the supervisor tells this process what to do.
#[derive(Debug)]
pub(crate) enum Orders {
    /// Over a channel.
    Channel(IpcReceiver<Command>),
    /// As lines of an answer that goes on.
    Lines(Lines),
}

impl Orders {
    /// Waits for the next one; `false`: there will be none.
    fn next_is_to_stop(&mut self) -> bool {
        match self {
            Orders::Channel(commands) => matches!(commands.recv(), Ok(Command::Stop)),
            Orders::Lines(lines) => {
                let line = lines.next_line().ok().flatten();
                let order = line.and_then(|line| serde_json::from_slice(&line).ok());
                matches!(order, Some(HelloLine::Order(Order::Stop)))
            }
        }
    }
}

impl StopFlag {
    /// The only one there is.
    pub fn of_this_process() -> StopFlag {
        static ONE: LazyLock<OfTheProcess> = LazyLock::new(|| OfTheProcess {
            asked: Arc::default(),
            listening: AtomicBool::new(false),
            ending: Arc::default(),
            sleepers: Mutex::default(),
            alarm: OnceLock::new(),
        });
        StopFlag { process: &ONE }
    }

    /// Hears orders on a thread of its own, which ends with the supervisor or the process.
    pub fn hear(&self, mut orders: Orders) -> io::Result<()> {
        let process = self.process;
        let listen = move || {
            while orders.next_is_to_stop() {
                process.asked.store(true, Ordering::SeqCst);
                // Whoever makes it later looks at the flag after that.
                if let Some(Some((_, bell))) = process.alarm.get() {
                    // Full is as good as rung.
                    let _ = (&*bell).write(b"!");
                }
                process.wake_all();
            }
        };
        thread::Builder::new().name("commands".into()).stack_size(128 * 1024).spawn(listen)?;
        Ok(())
    }

    /// Takes SIGTERM and SIGINT as a request instead of as death, from the first call on.
    pub fn listen(&self) {
        let process = self.process;
        if process.listening.swap(true, Ordering::SeqCst) {
            return;
        }
        for signal in [SIGTERM, SIGINT] {
            // Neither signal is one that must not be listened to, so none of this can fail. The order is that of the
            // actions: whoever is woken must find the flag up.
            let _ = signal_hook::flag::register_conditional_default(signal, Arc::clone(&process.ending));
            let _ = signal_hook::flag::register(signal, Arc::clone(&process.asked));
            let bell = process.alarm().and_then(|(_, bell)| bell.try_clone().ok());
            if let Some(bell) = bell {
                let _ = signal_hook::low_level::pipe::register(signal, bell);
            }
        }
        // A signal interrupts the sleep of one thread, any one; the others are woken by this. Without it they notice when
        // they look by themselves, which they do every few seconds.
        let watch = move || {
            if let Some((hears, _)) = process.alarm() {
                let mut rung = [PollFd::new(hears.as_fd(), PollFlags::POLLIN)];
                while poll(&mut rung, PollTimeout::NONE) == Err(Errno::EINTR) {}
                process.wake_all();
            }
        };
        let _ = thread::Builder::new().name("stopping".into()).stack_size(128 * 1024).spawn(watch);
    }

    /// Lets SIGTERM and SIGINT end the process again: it has nothing left to do but to wait.
    pub fn let_go(&self) {
        self.process.ending.store(true, Ordering::SeqCst);
    }

    /// Ends the waits of this family too, when a stop is asked for.
    pub fn interrupts(&self, family: &Family) {
        family.set_interrupt(self.shared());
        self.process.sleepers().push(family.clone());
    }

    pub fn is_asked(&self) -> bool {
        self.process.asked.load(Ordering::SeqCst)
    }

    /// Whether it is asked for, and the program wants to know.
    pub fn is_heeded(&self) -> bool {
        self.process.listening.load(Ordering::SeqCst) && self.is_asked()
    }

    /// Readable once a stop is asked for. To be had before the flag is looked at, and then slept by.
    pub fn alarm(&self) -> Option<BorrowedFd<'_>> {
        self.process.alarm().map(|(hears, _)| hears.as_fd())
    }

    /// The flag itself, for queues to look at while they wait.
    pub fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.process.asked)
    }
}

/// Whether this process was asked to stop: by a supervisor that it has joined, or by SIGTERM or SIGINT.
///
/// From the first call on, the two signals no longer end the process: they set this, and calls that wait on a queue of
/// this crate or for a [`Child`](crate::Child) return an `Interrupted` error. Once the program is over and waits for its
/// children only, the signals end it again.
pub fn stop_requested() -> bool {
    let stop = StopFlag::of_this_process();
    stop.listen();
    stop.is_asked()
}

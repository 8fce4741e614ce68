//! Being asked to stop.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ipc::sync::Family;
use ipc_channel::ipc::IpcReceiver;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::wire::Command;

/// Whether the supervisor asked this process to stop: over the channel, or by a signal once that is listened to.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopFlag {
    asked: Arc<AtomicBool>,
    listening: Arc<AtomicBool>,
    /// Those whose sleepers are to look at the flag when it goes up.
    sleepers: Arc<Mutex<Vec<Family>>>,
}

impl StopFlag {
    /// Hears commands on a thread of its own, which ends with the supervisor or the process.
    pub fn hear(&self, commands: IpcReceiver<Command>) -> io::Result<()> {
        let (asked, sleepers) = (Arc::clone(&self.asked), Arc::clone(&self.sleepers));
        let listen = move || {
            while let Ok(Command::Stop) = commands.recv() {
                asked.store(true, Ordering::SeqCst);
                sleepers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Family::wake_me);
            }
        };
        thread::Builder::new().name("commands".into()).stack_size(128 * 1024).spawn(listen)?;
        Ok(())
    }

    /// Takes SIGTERM and SIGINT as a request instead of as death, from the first call on.
    pub fn listen(&self) {
        if !self.listening.swap(true, Ordering::SeqCst) {
            for signal in [SIGTERM, SIGINT] {
                // Neither signal is one that must not be listened to, so this cannot fail.
                let _ = signal_hook::flag::register(signal, Arc::clone(&self.asked));
            }
        }
    }

    /// Ends the waits of this family too, when a stop is asked for.
    pub fn interrupts(&self, family: &Family) {
        family.set_interrupt(self.shared());
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner).push(family.clone());
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// The flag itself, for queues to look at while they wait.
    pub fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }
}

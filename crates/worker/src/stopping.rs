//! Being asked to stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ipc_channel::ipc::IpcReceiver;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::wire::Command;

/// Whether the supervisor asked this process to stop: over the channel, or by a signal once that is listened to.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopFlag {
    asked: Arc<AtomicBool>,
    listening: Arc<AtomicBool>,
}

impl StopFlag {
    /// Hears commands on a thread of its own, which ends with the supervisor or the process.
    pub fn hear(&self, commands: IpcReceiver<Command>) -> io::Result<()> {
        let asked = Arc::clone(&self.asked);
        let listen = move || {
            while let Ok(Command::Stop) = commands.recv() {
                asked.store(true, Ordering::SeqCst);
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

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// The flag itself, for queues to look at while they wait.
    pub fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }
}

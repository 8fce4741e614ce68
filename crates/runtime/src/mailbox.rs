//! What other threads tell the loop: one channel, and a descriptor that wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, mpsc};

use control::{Call, Visit};
use ipc_channel::ipc::IpcSender;
use nix::sys::eventfd::{EfdFlags, EventFd};
use supervision::{Process, Purpose};
use worker::wire::Command;

use crate::applying::Read;

/// A message to the loop.
#[derive(Debug)]
pub enum Mail {
    /// Somebody asks for something over the control API.
    Call(Box<Call>),
    /// A worker of another user asks for something.
    Visit(Box<Visit>),
    /// A config was read.
    Read(Box<Read>),
    /// A worker was met; this is how to command it.
    Met(Process, IpcSender<Command>),
    /// A probe over the network was answered.
    Probed(Process, Purpose, Result<(), String>),
    /// A line of a launch's log shows that it is ready.
    LineSeen(Process),
    /// A stream of a launch's log is not looked at for such a line any more; comes once for each that was.
    LinesSeen(Process),
}

/// The loop's end.
#[derive(Debug)]
pub struct Mailbox {
    mail: mpsc::Receiver<Mail>,
    bell: Arc<EventFd>,
}

/// Everybody else's end.
#[derive(Clone, Debug)]
pub struct Sender {
    mail: mpsc::Sender<Mail>,
    bell: Arc<EventFd>,
}

/// A mailbox and the way to reach it.
pub fn mailbox() -> io::Result<(Sender, Mailbox)> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
    let (send, receive) = mpsc::channel();
    Ok((Sender { mail: send, bell: Arc::clone(&bell) }, Mailbox { mail: receive, bell }))
}

impl Sender {
    /// Sends. When the loop has ended, the message is dropped, and with it a call's reply, which then says so.
    pub fn send(&self, mail: Mail) {
        if self.mail.send(mail).is_ok() {
            // Fails only when the bell has been rung 2^64 - 2 times without being heard.
            let _ = self.bell.write(1);
        }
    }
}

impl Mailbox {
    /// The next message, if one is there. The bell is quiet once this has said `None`.
    pub fn next(&self) -> Option<Mail> {
        if let Ok(mail) = self.mail.try_recv() {
            return Some(mail);
        }
        // Quiet the bell first, then look again: a message sent in between rings it anew or is seen.
        let _ = self.bell.read();
        self.mail.try_recv().ok()
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

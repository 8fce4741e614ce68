//! Meeting a worker: connecting to the one-shot server it opened, and saying hello.
//!
//! Every meeting has a short-lived thread of its own, because the worker chose the address: connecting to it may take
//! for ever, and composing or sending must not bring anybody down. Their number is bounded.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use control::Reply;
use control::api::{ApiError, ErrorCode};
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use supervision::Process;
use worker::wire::{Command, Hello};

use crate::mailbox::{Mail, Sender};

/// How many meetings may be under way at once.
const MEETINGS_AT_MOST: usize = 64;

/// Arranges meetings.
#[derive(Debug, Default)]
pub struct Meetings {
    under_way: Arc<AtomicUsize>,
    /// How many there were.
    arranged: AtomicUsize,
}

/// A meeting to be arranged.
pub struct Introduction {
    /// The name of the worker's one-shot server.
    pub server: String,
    /// Whom it is for.
    pub process: Process,
    /// Puts the `Hello` together around the receiver of the commands.
    pub hello: Box<dyn FnOnce(IpcReceiver<Command>) -> Hello + Send>,
}

impl Meetings {
    /// Whether any worker ever wanted to be met.
    pub fn were_any(&self) -> bool {
        self.arranged.load(Ordering::Relaxed) > 0
    }

    /// Meets the worker. `reply` is answered once the `Hello` lies in the worker's socket; the sender of commands comes
    /// by mail.
    pub fn arrange(&self, introduction: Introduction, reply: Reply, mail: Sender) {
        self.arranged.fetch_add(1, Ordering::Relaxed);
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= MEETINGS_AT_MOST {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            reply.refuse(ApiError::new(ErrorCode::WouldBlock, "too many workers are joining at once"));
            return;
        }
        let under_way = Arc::clone(&self.under_way);
        let meet = move || {
            let process = introduction.process;
            let met = catch_unwind(AssertUnwindSafe(|| meet(introduction)))
                .unwrap_or_else(|_| Err("the meeting broke down".to_owned()));
            under_way.fetch_sub(1, Ordering::Relaxed);
            match met {
                Ok(commands) => {
                    mail.send(Mail::Met(process, commands));
                    reply.ok(&serde_json::json!({ "met": true }));
                }
                Err(why) => reply.refuse(ApiError::new(ErrorCode::Failed, format!("cannot meet: {why}"))),
            }
        };
        if thread::Builder::new().name("meeting".into()).stack_size(256 * 1024).spawn(meet).is_err() {
            // The closure, and with it the reply, is gone: the worker is told that nobody answers.
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn meet(introduction: Introduction) -> Result<IpcSender<Command>, String> {
    let Introduction { server, hello, .. } = introduction;
    // A failed connect leaks a descriptor in the library, so look before.
    if !Path::new(&server).exists() {
        return Err(format!("no server at {server}"));
    }
    let there: IpcSender<Hello> = IpcSender::connect(server).map_err(|error| error.to_string())?;
    let (commands, received) = ipc::channel().map_err(|error| error.to_string())?;
    there.send(hello(received)).map_err(|error| error.to_string())?;
    Ok(commands)
}

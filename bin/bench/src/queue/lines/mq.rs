//! A POSIX message queue, as deep as every user may make one.

use std::sync::atomic::{AtomicU64, Ordering};

use bench::Stamp;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_close, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::stat::Mode;

use super::{Ends, name_of};
use crate::Trouble;
use crate::queue::work::{Get, Put};

/// What `/proc/sys/fs/mqueue` allows where nobody has raised it.
const DEEPEST: i64 = 10;
/// The longest message, likewise.
pub const LARGEST: usize = 8192;

/// Something that no other name of the machine has in it.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{:x}-{}", std::process::id(), Stamp::now().0, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A queue that has a name as long as this lives.
pub struct Named {
    name: String,
    queue: Option<MqdT>,
}

impl Named {
    pub fn new(bytes: usize) -> Result<Named, Trouble> {
        let name = format!("/bench-{}", unique());
        let about = MqAttr::new(0, DEEPEST, bytes as i64, 0);
        let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR | MQ_OFlag::O_CLOEXEC;
        let queue = mq_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&about));
        let queue = queue.map_err(|errno| Trouble::new(format!("mq_open: {}", errno.desc())))?;
        Ok(Named { name, queue: Some(queue) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the name away; those who have opened it keep it.
    pub fn forget(&self) {
        let _ = mq_unlink(self.name.as_str());
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.forget();
        if let Some(queue) = self.queue.take() {
            let _ = mq_close(queue);
        }
    }
}

pub struct Mq {
    queue: MqdT,
    buffer: Vec<u8>,
}

impl Put for Mq {
    fn put(&mut self, message: &[u8]) -> Result<(), Trouble> {
        Ok(mq_send(&self.queue, message, 0)?)
    }
}

impl Get for Mq {
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble> {
        let length = mq_receive(&self.queue, &mut self.buffer, &mut 0)?;
        look(&self.buffer[..length]);
        Ok(())
    }
}

/// The ends, and how long every message is.
pub struct MqEnds(pub usize);

impl Ends for MqEnds {
    type Put = Mq;
    type Get = Mq;

    fn put_end(&self, name: &str) -> Result<Mq, Trouble> {
        let queue = mq_open(name_of(name)?.as_str(), MQ_OFlag::O_WRONLY, Mode::empty(), None)?;
        Ok(Mq { queue, buffer: Vec::new() })
    }

    fn get_end(&self, name: &str) -> Result<Mq, Trouble> {
        let queue = mq_open(name_of(name)?.as_str(), MQ_OFlag::O_RDONLY, Mode::empty(), None)?;
        Ok(Mq { queue, buffer: vec![0; self.0] })
    }
}

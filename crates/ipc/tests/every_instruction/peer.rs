//! A process that sleeps in a blocking call while another is killed.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipc::Queue;

use crate::state::{CAPACITY, arguments};

/// A process that sleeps in a blocking call.
pub struct Peer {
    child: Child,
    operation: &'static str,
}

const WATCHDOG: Duration = Duration::from_secs(60);

impl Peer {
    pub fn asleep(queue: &Queue, operation: &'static str) -> Result<Self, String> {
        let child = Command::new(std::env::current_exe().map_err(|e| e.to_string())?)
            .arg("child")
            .args(arguments(queue, "joined", operation))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let mut peer = Self { child, operation };
        let start = Instant::now();
        while !peer.is_asleep() {
            if peer.has_ended()? || start.elapsed() > WATCHDOG {
                return Err("the peer does not sleep".to_owned());
            }
            std::thread::yield_now();
        }
        Ok(peer)
    }

    /// Whether it sleeps on a futex.
    fn is_asleep(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/syscall", self.child.id()))
            .is_ok_and(|call| call.split(' ').next() == Some(&libc_futex().to_string()))
    }

    fn has_ended(&mut self) -> Result<bool, String> {
        Ok(self.child.try_wait().map_err(|e| e.to_string())?.is_some())
    }

    /// It goes on if it has a reason to; else it is given one.
    pub fn must_go_on(mut self, queue: &Queue) -> Result<(), String> {
        let has_reason = |queue: &Queue| match self.operation {
            "peer-get" => !queue.is_empty() || queue.is_closed(),
            _ => queue.len() < CAPACITY,
        };
        let start = Instant::now();
        let mut looked = 0;
        while self.child.try_wait().map_err(|e| e.to_string())?.is_none() {
            let has_reason_now = has_reason(queue);
            let sleeps = self.is_asleep();
            if sleeps && !has_reason_now && !has_reason(queue) {
                looked += 1;
                if looked > 3 {
                    match self.operation {
                        "peer-get" => queue.try_put(b"reason").map_err(|e| e.to_string())?,
                        _ => queue.try_lease().map_err(|e| e.to_string())?.ack(),
                    }
                    looked = 0;
                }
            }
            if start.elapsed() > WATCHDOG {
                return Err(format!("the peer sleeps on, with a reason to wake up: {has_reason_now}"));
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn libc_futex() -> i64 {
    if cfg!(target_arch = "x86_64") { 202 } else { 98 }
}

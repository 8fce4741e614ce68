//! The supervisor's orders to a launch that has joined: over the channel whose receiver travelled in the meeting, or as
//! lines of an answer that goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use control::Feed;
use control::api::{HelloLine, Order};
use ipc_channel::ipc::IpcSender;
use worker::wire::{self, Command};

/// How a launch that has joined is told what to do. Dropped, it tells that nothing more will come.
#[derive(Debug)]
pub struct Orders {
    way: Way,
    /// How many it was sent.
    sent: u32,
}

#[derive(Debug)]
enum Way {
    Channel(IpcSender<Command>),
    Lines(Pen),
}

impl Orders {
    /// Over a channel.
    pub fn over(channel: IpcSender<Command>) -> Orders {
        Orders { way: Way::Channel(channel), sent: 0 }
    }

    /// As lines; the first of them is `hello`. The other end is for whoever reads them.
    pub fn in_lines(hello: HelloLine) -> (Orders, Page) {
        let sheet = Sheet { lines: [hello].into(), ended: false, reader: None };
        let shared = Arc::new(Mutex::new(sheet));
        (Orders { way: Way::Lines(Pen(Arc::clone(&shared))), sent: 0 }, Page(shared))
    }

    /// Tells it to stop, unless it was told much too often. One that is gone is no trouble.
    pub fn stop(&mut self) {
        if self.sent >= wire::COMMANDS_AT_MOST {
            return;
        }
        self.sent += 1;
        match &self.way {
            // An error means that the worker has gone, which its pidfd says better.
            Way::Channel(channel) => drop(channel.send(Command::Stop)),
            Way::Lines(pen) => pen.0.write(|sheet| sheet.lines.push_back(HelloLine::Order(Order::Stop))),
        }
    }
}

/// What was written and not read; at most [`wire::COMMANDS_AT_MOST`] lines and one.
#[derive(Debug)]
struct Sheet {
    lines: VecDeque<HelloLine>,
    ended: bool,
    reader: Option<Waker>,
}

trait Shared {
    fn write(&self, change: impl FnOnce(&mut Sheet));
}

impl Shared for Arc<Mutex<Sheet>> {
    fn write(&self, change: impl FnOnce(&mut Sheet)) {
        let mut sheet = self.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sheet);
        if let Some(reader) = sheet.reader.take() {
            reader.wake();
        }
    }
}

#[derive(Debug)]
struct Pen(Arc<Mutex<Sheet>>);

impl Drop for Pen {
    fn drop(&mut self) {
        self.0.write(|sheet| sheet.ended = true);
    }
}

/// Orders as an answer.
#[derive(Debug)]
pub struct Page(Arc<Mutex<Sheet>>);

impl Feed for Page {
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut sheet = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = sheet.lines.pop_front() {
            // It is plain data with string keys; it cannot fail to be JSON.
            return Poll::Ready(serde_json::to_vec(&line).ok());
        }
        if sheet.ended {
            return Poll::Ready(None);
        }
        sheet.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::api::Hello;

    #[test]
    fn lines_are_read_in_order_and_end_with_whoever_writes_them() {
        let hello = Hello {
            run: "r".into(),
            worker: "w".into(),
            instance: 0,
            launch: 1,
            pid: 2,
            supervisor: 1,
            args: "[]".into(),
            kwargs: "{}".into(),
            queues: Vec::new(),
        };
        let (mut orders, mut page) = Orders::in_lines(HelloLine::Hello(Box::new(hello)));
        let mut context = Context::from_waker(Waker::noop());
        let mut next = || page.poll_line(&mut context).map(|line| line.map(String::from_utf8));
        let Poll::Ready(Some(Ok(first))) = next() else { panic!("there is one") };
        assert!(first.starts_with(r#"{"hello":{"run":"r","#), "{first}");
        assert!(next().is_pending());
        for _ in 0..2 * wire::COMMANDS_AT_MOST {
            orders.stop();
        }
        for _ in 0..wire::COMMANDS_AT_MOST {
            assert_eq!(next(), Poll::Ready(Some(Ok(r#"{"order":"stop"}"#.to_owned()))));
        }
        assert!(next().is_pending(), "no more than it can be asked to read");
        drop(orders);
        assert_eq!(next(), Poll::Ready(None));
    }
}

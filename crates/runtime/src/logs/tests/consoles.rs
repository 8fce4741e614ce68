//! The console with readers that are slow, stuck or gone.

use super::*;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;

/// A console and the pipe it writes into.
fn console() -> (io::PipeReader, Console) {
    let (read, write) = io::pipe().expect("a pipe");
    (read, Console::to(write.into(), false).expect("a console"))
}

/// Writes what the pipe takes, until it takes nothing for a while; returns how much that was.
fn write_until_stuck(writer: &mut Writer, bytes: &[u8]) -> usize {
    fcntl(&writer.pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("to make it nonblocking");
    let mut done = 0;
    while done < bytes.len() {
        match writer.pipe.write(&bytes[done..]) {
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut asked = [PollFd::new(writer.pipe.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut asked, PollTimeout::from(500u16)) == Ok(0) {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    fcntl(&writer.pipe, FcntlArg::F_SETFL(OFlag::empty())).expect("to make it blocking");
    done
}

#[test]
fn a_reader_that_stops_reading_stops_the_workers_and_loses_nothing() {
    let (read, console) = console();
    let pump = Pump::start(Some(console)).expect("a pump");
    let mut writer = Writer::of(&pump, "w", None);
    let all = numbered("line", 12 << 20);
    let done = write_until_stuck(&mut writer, all.as_bytes());
    // The pipe of the worker, what waits in the pump, and the pipe of the console.
    assert!(done <= 3 << 20, "{done} bytes were taken though nobody reads");

    let reader = std::thread::spawn(move || {
        let mut shown = String::new();
        for line in BufReader::new(read).lines() {
            let line = line.expect("text");
            shown.push_str(line.strip_prefix("w | ").expect("a prefix"));
            shown.push('\n');
        }
        shown
    });
    writer.pipe.write_all(&all.as_bytes()[done..]).expect("the pump reads again");
    drop(writer);
    assert_eq!(pump.stop(), []);
    assert!(reader.join().expect("the reader ends") == all, "lines are missing or out of order");
}

#[test]
fn a_reader_that_is_gone_turns_the_console_off_and_workers_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let (read, console) = console();
    let pump = Pump::start(Some(console)).expect("a pump");
    let mut writer = Writer::of(&pump, "w", Some(raw(&path)));
    let all = numbered("line", 12 << 20);
    let done = write_until_stuck(&mut writer, all.as_bytes());
    drop(read);
    writer.pipe.write_all(&all.as_bytes()[done..]).expect("the pump reads again");
    drop(writer);
    assert_eq!(pump.stop(), []);
    assert!(std::fs::read_to_string(&path).expect("the log") == all);
}

#[test]
fn a_reader_that_is_stuck_for_ever_does_not_hold_up_the_end_and_its_loss_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let (read, console) = console();
    let pump = Pump::start(Some(console)).expect("a pump");
    let mut writer = Writer::of(&pump, "w", Some(raw(&path)));
    let all = numbered("line", 12 << 20);
    let done = write_until_stuck(&mut writer, all.as_bytes());
    let troubles = pump.stop();
    let [Trouble::Lost { place, bytes, .. }] = &troubles[..] else { panic!("other troubles: {troubles:?}") };
    assert_eq!(place, "the console");
    // Files get everything all the same.
    assert!(std::fs::read_to_string(&path).expect("the log") == all[..done]);
    let mut read = nonblocking(read);
    let mut shown = Vec::new();
    read.read_to_end(&mut shown).expect("the console is closed");
    assert!(shown.len() < done && *bytes > 0);
}

fn nonblocking(read: io::PipeReader) -> File {
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("to make it nonblocking");
    File::from(OwnedFd::from(read))
}

#[test]
fn the_descriptor_that_others_share_is_left_as_it_is() {
    let (_read, write) = io::pipe().expect("a pipe");
    let ours = write.try_clone().expect("a copy");
    let console = Console::to(ours.into(), false).expect("a console");
    let flags = OFlag::from_bits_retain(fcntl(&write, FcntlArg::F_GETFL).expect("flags"));
    assert!(!flags.contains(OFlag::O_NONBLOCK));
    drop(console);
}

#[test]
fn a_console_may_be_a_socket_or_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out");
    let file = File::create(&path).expect("a file");
    let (mut socket, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    for fd in [OwnedFd::from(file), OwnedFd::from(other)] {
        let pump =
            Pump::start(Some(Console::to(fd, false).expect("a console").padded_to(4))).expect("a pump");
        Writer::of(&pump, "w", None).write("hello\nhalf");
        assert_eq!(pump.stop(), []);
    }
    let mut shown = String::new();
    socket.read_to_string(&mut shown).expect("text");
    assert_eq!(shown, "w    | hello\nw    | half\n");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), shown);
}

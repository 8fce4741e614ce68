//! Pipes that outlive their writers or their readers.

use super::*;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};

/// A process that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn finish_takes_what_is_in_the_pipe_though_leftovers_hold_it_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let pump = Pump::start(None).expect("a pump");
    let mut writer = Writer::of(&pump, "a", Some(LogFile { format: Format::Text, ..raw(&path) }));
    writer.write("one\nand a half");
    pump.finish(writer.stream);
    until("the last line is complete", || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with(" a:0 out ! and a half\n"))
    });
    until("the pipe is closed", || {
        writer.pipe.write_all(b"x").is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    });
    pump.finish(writer.stream);
    assert_eq!(pump.stop(), []);
}

#[test]
fn leftovers_that_never_stop_writing_do_not_hold_up_a_finish() {
    let pump = Pump::start(None).expect("a pump");
    let mut writer = Writer::of(&pump, "a", None);
    let stream = writer.stream;
    let leftover = std::thread::spawn(move || {
        let block = vec![b'\n'; 10_000];
        loop {
            if let Err(error) = writer.pipe.write_all(&block) {
                return error.kind();
            }
        }
    });
    until("it flows", || !pump.tail(Some("a"), 1).is_empty());
    pump.finish(stream);
    assert_eq!(leftover.join().expect("the leftover ends"), io::ErrorKind::BrokenPipe);
    assert_eq!(pump.stop(), []);
}

#[test]
fn stopping_takes_what_is_in_every_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let pump = Pump::start(None).expect("a pump");
    let path = |number: usize| folder.path().join(number.to_string());
    let mut writers: Vec<Writer> =
        (0..50).map(|number| Writer::of(&pump, &number.to_string(), Some(raw(&path(number))))).collect();
    writers.iter_mut().for_each(|writer| writer.write(&numbered("line", 40_000)));
    assert_eq!(pump.stop(), []);
    for number in 0..50 {
        assert!(std::fs::read_to_string(path(number)).expect("a log") == numbered("line", 40_000));
    }
}

#[test]
fn a_worker_survives_its_reader_and_the_next_one_reads_on() {
    let (read, write) = pipe(true).expect("a pipe");
    let child = Command::new("/bin/sh")
        .args(["-c", "read go; echo written to nobody; read end; exit 0"])
        .stdin(Stdio::piped())
        .stdout(write)
        .spawn()
        .expect("a shell");
    let mut child = Killed(child);
    drop(read);
    child.0.stdin.as_mut().expect("a pipe").write_all(b"go\n").expect("it reads");

    let pump = Pump::start(None).expect("a pump");
    let pid = i32::try_from(child.0.id()).expect("a pid");
    let read = adopt(pid, Stream::Stdout).expect("to adopt");
    pump.attach(read, label("orphan", Stream::Stdout), None);
    until("its line is there", || texts(&pump.tail(Some("orphan"), 1)) == ["written to nobody"]);
    child.0.stdin.take();
    assert!(child.0.wait().expect("its end").success(), "it was not killed by SIGPIPE");
}

#[test]
fn only_pipes_are_adopted() {
    let child = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat");
    let child = Killed(child);
    let pid = i32::try_from(child.0.id()).expect("a pid");
    let refused = adopt(pid, Stream::Stdout).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(refused, Err(io::ErrorKind::InvalidInput));
}

#[test]
fn what_cannot_be_read_is_told_and_harms_nobody() {
    let pump = Pump::start(None).expect("a pump");
    let file = tempfile::tempfile().expect("a file");
    pump.attach(Inlet::of(file.into()).expect("a descriptor"), label("odd", Stream::Stderr), None);
    let mut writer = Writer::of(&pump, "fine", None);
    writer.write("hello\n");
    until("the other one is read", || texts(&pump.tail(None, 5)) == ["hello"]);
    let troubles = pump.stop();
    assert!(
        matches!(&troubles[..], [Trouble::Unreadable { place, .. }] if place == "odd:0 stderr"),
        "{troubles:?}"
    );
}

#[test]
fn a_pipe_ends_with_its_writer_though_that_could_read_it_too() {
    let (read, write) = pipe(true).expect("a pipe");
    let mut write = File::from(write);
    write.write_all(b"last").expect("room");
    drop(write);
    let mut text = String::new();
    File::from(OwnedFd::from(read)).read_to_string(&mut text).expect("text");
    assert_eq!(text, "last");
}

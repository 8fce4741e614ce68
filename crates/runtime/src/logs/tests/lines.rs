//! Lines to files, to memory and to followers.

use super::*;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::mpsc;

#[test]
fn both_outputs_of_a_process_meet_in_one_file_and_each_line_says_whose_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("both.log");
    let settings = LogFile { format: Format::Json, ..raw(&path) };
    let pump = Pump::start(None).expect("a pump");
    let (out, out_write) = pipe(false).expect("a pipe");
    let (err, err_write) = pipe(true).expect("a pipe");
    let out = pump.attach(out, label("both", Stream::Stdout), Some(pump.file(settings.clone())));
    let err = pump.attach(err, label("both", Stream::Stderr), Some(pump.file(settings)));
    let mut child = Command::new("/bin/sh")
        .args(["-c", r#"echo one; printf 'say "two"\t' ; printf 'three\n\377four' >&2"#])
        .stdin(Stdio::null())
        .stdout(out_write)
        .stderr(err_write)
        .spawn()
        .expect("a shell");
    assert!(child.wait().expect("its end").success());
    pump.finish(out);
    pump.finish(err);
    assert_eq!(pump.stop(), []);

    let written = std::fs::read_to_string(&path).expect("the log");
    let mut found: Vec<_> = written
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|value| {
            let partial = value.get("partial").cloned().unwrap_or_default();
            (
                value["stream"].to_string(),
                value["seq"].to_string(),
                value["line"].to_string(),
                partial.to_string(),
            )
        })
        .collect();
    found.sort();
    let row = |row: [&str; 4]| (row[0].into(), row[1].into(), row[2].into(), row[3].into());
    assert_eq!(
        found,
        [
            row([r#""stderr""#, "0", r#""three""#, "null"]),
            row([r#""stderr""#, "1", "\"\u{fffd}four\"", r#""end""#]),
            row([r#""stdout""#, "0", r#""one""#, "null"]),
            row([r#""stdout""#, "1", r#""say \"two\"\t""#, r#""end""#]),
        ]
    );
}

#[test]
fn text_records_of_a_file_keep_what_a_worker_wrote_in_pieces() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("text.log");
    let pump = Pump::start(None).expect("a pump");
    let mut writer = Writer::of(&pump, "pieces", Some(LogFile { format: Format::Text, ..raw(&path) }));
    let long = "x".repeat(MAX_LINE + 5);
    for piece in ["a", "b\n\nc", "\n", &long, "\nlast"] {
        writer.write(piece);
    }
    pump.finish(writer.stream);
    assert_eq!(pump.stop(), []);
    let written = std::fs::read_to_string(&path).expect("the log");
    let who = " pieces:0 out ";
    let lines: Vec<&str> = written.lines().map(|line| line.split_once(who).expect("a head").1).collect();
    let (full, rest) = long.split_at(MAX_LINE);
    assert_eq!(lines, ["| ab", "| ", "| c", &format!("+ {full}"), &format!("| {rest}"), "! last"]);
}

#[test]
fn a_flood_starves_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let pump = Pump::start(None).expect("a pump");
    let mut floods: Vec<Writer> = Vec::new();
    for worker in ["flood-a", "flood-b"] {
        let settings = LogFile { max_size: 1 << 20, keep: 0, ..raw(&folder.path().join(worker)) };
        floods.push(Writer::of(&pump, worker, Some(settings)));
    }
    let mut quiet = Writer::of(&pump, "quiet", None);
    let (enough, floods_end) = mpsc::channel::<()>();
    let flood = std::thread::spawn(move || {
        let block = numbered("flood", 100_000);
        while floods_end.try_recv() == Err(mpsc::TryRecvError::Empty) {
            floods.iter_mut().for_each(|flood| flood.write(&block));
        }
    });
    for number in 0..20 {
        quiet.write(&format!("{number}\n"));
        until("the quiet line is there", || texts(&pump.tail(Some("quiet"), 1)) == [number.to_string()]);
    }
    drop(enough);
    flood.join().expect("the flood ends");
    assert_eq!(pump.stop(), []);
}

#[test]
fn the_tail_and_what_follows_it_have_no_gap_and_nothing_twice() {
    let pump = Pump::start(None).expect("a pump");
    let mut writer = Writer::of(&pump, "a", None);
    let mut other = Writer::of(&pump, "b", None);
    writer.write("one\ntwo\nhalf");
    until("the half line is there", || texts(&pump.tail(Some("a"), 1)) == ["half"]);
    let (before, follower) = pump.tail_and_subscribe(Some("a"), 10);
    assert_eq!(texts(&before), ["one", "two"]);
    other.write("not asked for\n");
    writer.write(" a line\nend");
    drop(writer);
    let mut after = Vec::new();
    while after.len() < 2 {
        match follower.next_within(Duration::from_secs(60)) {
            Some(Followed::Line(line)) => after.push((text(&line), line.ending)),
            other => panic!("expected a line, got {other:?}"),
        }
    }
    assert_eq!(after, [("half a line".to_owned(), Ending::Newline), ("end".to_owned(), Ending::Open)]);
    drop(pump);
    assert!(matches!(follower.next_within(Duration::from_secs(60)), Some(Followed::Ended)));
}

#[test]
fn a_follower_that_sleeps_holds_up_nobody_and_learns_what_it_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let pump = Pump::start(None).expect("a pump");
    let follower = pump.subscribe(None);
    let mut writer = Writer::of(&pump, "a", Some(raw(&path)));
    let all = numbered("line", 4 << 20);
    writer.write(&all);
    drop(writer);
    assert_eq!(pump.stop(), []);
    assert_eq!(std::fs::read_to_string(&path).expect("the log"), all);
    let (mut lines, mut lost) = (0, 0);
    loop {
        match follower.try_next() {
            Some(Followed::Line(_)) => lines += 1,
            Some(Followed::Lost(count)) => lost += count,
            Some(Followed::Ended) => break,
            None => panic!("the end is told"),
        }
    }
    assert!(lost > 0 && lines > 0);
    assert_eq!(lines + lost, all.lines().count() as u64);
}

#[test]
fn a_watch_sees_every_line_from_the_first_byte_until_it_has_seen_enough() {
    let pump = Pump::start(None).expect("a pump");
    let (read, write) = pipe(false).expect("a pipe");
    let mut write = File::from(write);
    write.write_all(b"boot\nlistening on 80\nmore\n").expect("room in the pipe");
    let (seen, sight) = mpsc::channel();
    let watch = move |line: &[u8]| {
        seen.send(line.to_vec()).expect("the test waits");
        if line.starts_with(b"listening") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let name = label("server", Stream::Stdout);
    let stream = pump.attach_watched(read, name, None, Box::new(watch));
    pump.finish(stream);
    pump.stop();
    // The channel ends with the watch.
    assert_eq!(sight.iter().collect::<Vec<_>>(), [b"boot".to_vec(), b"listening on 80".to_vec()]);
}

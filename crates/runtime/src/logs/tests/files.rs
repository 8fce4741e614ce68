//! Files: rotation under load, full disks, files that others move.

use super::*;

#[test]
fn no_line_is_lost_or_torn_by_rotation_under_load() {
    let folder = tempfile::tempdir().expect("a folder");
    for format in [Format::Raw, Format::Text, Format::Json] {
        let path = folder.path().join(format!("{format:?}.log"));
        let settings = LogFile { max_size: 20_000, keep: 10_000, format, ..raw(&path) };
        let pump = Pump::start(None).expect("a pump");
        // Without framing, blocks of several writers would meet in the middle of lines.
        let workers = if format == Format::Raw { vec!["a"] } else { vec!["a", "b", "c"] };
        let all: Vec<String> = workers.iter().map(|worker| numbered(worker, 1 << 18)).collect();
        std::thread::scope(|scope| {
            for (worker, all) in workers.iter().zip(&all) {
                let mut writer = Writer::of(&pump, worker, Some(settings.clone()));
                scope.spawn(move || all.split_inclusive('\n').for_each(|line| writer.write(line)));
            }
        });
        assert_eq!(pump.stop(), []);

        let files = generations(&path);
        assert!(files.len() > 10, "{} files", files.len());
        let mut found = vec![String::new(); workers.len()];
        for file in &files {
            let written = std::fs::read_to_string(file).expect("a log file");
            assert!(written.len() <= 20_000, "{} holds {} bytes", file.display(), written.len());
            assert!(written.ends_with('\n'), "{} ends within a line", file.display());
            for line in written.lines() {
                let line = match format {
                    Format::Raw => line.to_owned(),
                    Format::Text => line.split_once(" | ").expect("a record").1.to_owned(),
                    Format::Json => {
                        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
                        record["line"].as_str().expect("a string").to_owned()
                    }
                };
                let worker = workers.iter().position(|worker| line.starts_with(worker)).expect("a worker");
                found[worker].push_str(&line);
                found[worker].push('\n');
            }
        }
        assert!(found == all, "{format:?}: lines are missing or out of order");
    }
}

#[test]
fn only_so_many_old_files_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let pump = Pump::start(None).expect("a pump");
    let mut writer = Writer::of(&pump, "a", Some(LogFile { max_size: 10_000, keep: 2, ..raw(&path) }));
    let all = numbered("a", 200_000);
    writer.write(&all);
    drop(writer);
    assert_eq!(pump.stop(), []);
    let files = generations(&path);
    assert_eq!(files.len(), 3);
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 3);
    let kept: String = files.iter().map(|file| std::fs::read_to_string(file).expect("a log file")).collect();
    assert!(all.ends_with(&kept) && kept.len() > 15_000);
}

#[test]
fn a_full_disk_blocks_no_worker_costs_others_nothing_and_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let pump = Pump::start(None).expect("a pump");
    let mut lucky = Writer::of(&pump, "lucky", Some(raw(&path)));
    let mut unlucky = Writer::of(&pump, "unlucky", Some(raw(Path::new("/dev/full"))));
    let all = numbered("line", 2 << 20);
    for block in all.as_bytes().chunks(100_000) {
        unlucky.pipe.write_all(block).expect("the pump reads");
        lucky.pipe.write_all(block).expect("the pump reads");
    }
    until("the trouble is told", || {
        nix::poll::poll(
            &mut [nix::poll::PollFd::new(pump.troubles_bell(), nix::poll::PollFlags::POLLIN)],
            nix::poll::PollTimeout::ZERO,
        ) == Ok(1)
    });
    drop((lucky, unlucky));
    let troubles = pump.stop();
    let [Trouble::Losing { reason, .. }, Trouble::Lost { bytes, .. }] = &troubles[..] else {
        panic!("other troubles: {troubles:?}");
    };
    assert_eq!((reason.as_str(), *bytes), ("No space left on device", all.len() as u64));
    assert_eq!(std::fs::read_to_string(&path).expect("the log"), all);
}

#[test]
fn a_disk_that_has_room_again_gets_the_count_of_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    let pump = Pump::start(None).expect("a pump");
    let mut writer = Writer::of(&pump, "a", Some(LogFile { format: Format::Json, ..raw(&path) }));
    writer.write("lost\n");
    let mut told = Vec::new();
    until("the loss is told", || {
        told.append(&mut pump.troubles());
        !told.is_empty()
    });
    std::fs::remove_file(&path).expect("to make room");
    pump.reopen();
    until("it is written again", || {
        writer.write("next\n");
        told.append(&mut pump.troubles());
        told.len() == 2
    });
    drop(writer);
    assert_eq!(pump.stop(), []);
    let [Trouble::Losing { .. }, Trouble::Resumed { bytes, .. }] = told[..] else { panic!("{told:?}") };
    let written = std::fs::read_to_string(&path).expect("the log");
    let first: serde_json::Value =
        serde_json::from_str(written.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["lost_bytes"], bytes);
    assert!(bytes > 0 && written.lines().nth(1).is_some_and(|line| line.contains(r#""line":"next""#)));
}

#[test]
fn after_others_have_moved_a_file_a_reopen_begins_a_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, moved) = (folder.path().join("log"), folder.path().join("moved"));
    let pump = Pump::start(None).expect("a pump");
    let mut writer = Writer::of(&pump, "a", Some(raw(&path)));
    writer.write("before\n");
    until("it is written", || std::fs::read_to_string(&path).is_ok_and(|text| text == "before\n"));
    std::fs::rename(&path, &moved).expect("to move it");
    pump.reopen();
    until("there is a new one", || path.exists());
    writer.write("after\n");
    drop(writer);
    assert_eq!(pump.stop(), []);
    assert_eq!(std::fs::read_to_string(&path).expect("the new file"), "after\n");
    assert_eq!(std::fs::read_to_string(&moved).expect("the old file"), "before\n");
}

#[test]
fn one_path_has_one_writer_and_takes_the_latest_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let pump = Pump::start(None).expect("a pump");
    let first = pump.file(raw(&path));
    let second = pump.file(LogFile { format: Format::Text, ..raw(&folder.path().join("./log")) });
    assert!(std::sync::Arc::ptr_eq(&first, &second));
    assert_eq!(first.format(), Format::Text);
}

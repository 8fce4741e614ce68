//! The folders of runs: one run a name, nobody else's, nothing left behind.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use control::{Client, RoomError, Rooms, RunFolder, Wanted};
use tempfile::TempDir;

fn place() -> (TempDir, Rooms) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let rooms = Rooms::at(folder.path().join("supervisor"));
    (folder, rooms)
}

fn private_folder(path: &Path) {
    DirBuilder::new().recursive(true).mode(0o700).create(path).expect("a folder");
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o777
}

fn named(name: &str) -> Wanted {
    Wanted::Named(name.to_owned())
}

#[test]
fn a_runs_folder_is_closed_to_others_and_vanishes_with_it() {
    let (place, rooms) = place();
    let mut run = RunFolder::create(&rooms, "demo").expect("the first of its name");
    let listener = run.listen().expect("a socket");
    assert_eq!((mode(rooms.root()), mode(run.path()), mode(&run.socket())), (0o700, 0o700, 0o600));
    let pid = fs::read_to_string(run.path().join("lock")).expect("a lock");
    assert_eq!(pid.trim(), std::process::id().to_string());
    drop((run, listener));
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 0);
}

#[test]
fn a_second_run_of_the_same_name_is_refused_with_the_pid_of_the_first() {
    let (_place, rooms) = place();
    let first = RunFolder::create(&rooms, "demo").expect("the first of its name");
    match RunFolder::create(&rooms, "demo") {
        Err(RoomError::Taken { name, pid }) => {
            assert_eq!((name.as_str(), pid), ("demo", Some(std::process::id() as i32)));
        }
        other => panic!("{other:?}"),
    }
    let _another = RunFolder::create(&rooms, "other").expect("another name");
    drop(first);
    RunFolder::create(&rooms, "demo").expect("free again");
}

#[test]
fn what_a_crashed_run_left_is_taken_over_and_what_is_not_its_own_is_kept() {
    let (_place, rooms) = place();
    let folder = rooms.root().join("demo");
    private_folder(&folder);
    drop(UnixListener::bind(folder.join("socket")).expect("a socket"));
    fs::write(folder.join("lock"), "99999999\n").expect("a lock");
    fs::write(folder.join("notes"), "of somebody").expect("notes");

    assert!(matches!(rooms.connect(&Wanted::TheOnlyOne), Err(RoomError::NotRunning { name: None })));
    let mut run = RunFolder::create(&rooms, "demo").expect("the former one is dead");
    let listener = run.listen().expect("its socket is no obstacle");
    rooms.connect(&Wanted::TheOnlyOne).expect("it is up");
    drop((run, listener));
    let left: Vec<_> =
        fs::read_dir(&folder).expect("not empty").map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes"]);
}

#[test]
fn a_file_in_the_place_of_the_socket_is_not_removed() {
    let (_place, rooms) = place();
    let mut run = RunFolder::create(&rooms, "demo").expect("a folder");
    fs::write(run.socket(), "precious").expect("a file");
    assert!(matches!(run.listen(), Err(RoomError::NotOurs { .. })));
    let socket = run.socket();
    drop(run);
    assert_eq!(fs::read_to_string(socket).expect("it is still there"), "precious");
}

#[test]
fn a_folder_that_is_open_to_others_is_refused_to_servers_and_clients() {
    let (_place, rooms) = place();
    let folder = rooms.root().join("demo");
    private_folder(&folder);
    let _listener = UnixListener::bind(folder.join("socket")).expect("a socket");
    rooms.connect(&named("demo")).expect("as it should be");
    for open in [0o750, 0o701, 0o720] {
        fs::set_permissions(&folder, Permissions::from_mode(open)).expect("our own folder");
        assert!(matches!(RunFolder::create(&rooms, "demo"), Err(RoomError::NotOurs { .. })), "{open:o}");
        assert!(matches!(rooms.connect(&named("demo")), Err(RoomError::NotOurs { .. })), "{open:o}");
        let socket = Wanted::Socket(folder.join("socket"));
        assert!(matches!(rooms.connect(&socket), Err(RoomError::NotOurs { .. })), "{open:o}");
        assert!(rooms.runs().expect("the others can be seen").is_empty());
    }
}

#[test]
fn a_link_in_the_place_of_a_folder_is_refused() {
    let (place, rooms) = place();
    let elsewhere = place.path().join("elsewhere");
    private_folder(&elsewhere);
    private_folder(rooms.root());
    symlink(&elsewhere, rooms.root().join("demo")).expect("a link");
    assert!(matches!(RunFolder::create(&rooms, "demo"), Err(RoomError::NotOurs { .. })));
    assert!(matches!(rooms.connect(&named("demo")), Err(RoomError::NotOurs { .. })));
    assert_eq!(fs::read_dir(&elsewhere).expect("untouched").count(), 0);
}

#[test]
fn a_root_that_others_can_write_to_is_refused() {
    let (_place, rooms) = place();
    private_folder(rooms.root());
    fs::set_permissions(rooms.root(), Permissions::from_mode(0o777)).expect("our own folder");
    assert!(matches!(RunFolder::create(&rooms, "demo"), Err(RoomError::NotOurs { .. })));
    assert!(matches!(rooms.connect(&named("demo")), Err(RoomError::NotOurs { .. })));
    // As /tmp is: others can put things there, but not replace ours.
    fs::set_permissions(rooms.root(), Permissions::from_mode(0o1777)).expect("our own folder");
    RunFolder::create(&rooms, "demo").expect("sticky");
}

#[test]
fn somebody_elses_folder_is_refused() {
    let (_place, rooms) = place();
    let folder = rooms.root().join("demo");
    private_folder(&folder);
    if std::os::unix::fs::chown(&folder, Some(12345), None).is_err() {
        eprintln!("skipped: only root can give a folder away");
        return;
    }
    assert!(matches!(RunFolder::create(&rooms, "demo"), Err(RoomError::NotOurs { .. })));
    assert!(matches!(rooms.connect(&named("demo")), Err(RoomError::NotOurs { .. })));
}

#[test]
fn the_only_run_that_is_up_needs_no_name() {
    let (_place, rooms) = place();
    assert!(matches!(rooms.connect(&Wanted::TheOnlyOne), Err(RoomError::NotRunning { name: None })));
    let mut one = RunFolder::create(&rooms, "one").expect("a folder");
    let first = one.listen().expect("a socket");
    rooms.connect(&Wanted::TheOnlyOne).expect("one is up");

    let mut two = RunFolder::create(&rooms, "two").expect("a folder");
    let _second = two.listen().expect("a socket");
    match rooms.connect(&Wanted::TheOnlyOne) {
        Err(RoomError::Several { names }) => assert_eq!(names, ["one", "two"]),
        other => panic!("{other:?}"),
    }
    rooms.connect(&named("two")).expect("named");
    assert!(matches!(rooms.connect(&named("three")), Err(RoomError::NotRunning { name: Some(_) })));
    assert!(matches!(rooms.connect(&named("../one")), Err(RoomError::BadName { .. })));

    // A crash leaves the socket without a listener.
    drop(first);
    rooms.connect(&Wanted::TheOnlyOne).expect("only the second is up");
    assert_eq!(rooms.runs().expect("both left a socket").len(), 2);
}

#[test]
fn a_path_too_long_for_a_sockets_address_serves_as_well() {
    let (place, _) = place();
    let deep: PathBuf = place.path().join("d".repeat(100)).join("e".repeat(100));
    let rooms = Rooms::at(&deep);
    let mut run = RunFolder::create(&rooms, "demo").expect("a folder");
    let _listener = run.listen().expect("a socket");
    Client::connect(run.socket()).expect("it is up");
    rooms.connect(&Wanted::TheOnlyOne).expect("it is found");
}

#[test]
fn many_runs_of_one_name_at_once_end_with_one_winner_at_a_time() {
    let (_place, rooms) = place();
    let held = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut won = 0;
                while won < 25 {
                    match RunFolder::create(&rooms, "demo") {
                        Ok(mut run) => {
                            use std::sync::atomic::Ordering::SeqCst;
                            assert_eq!(held.fetch_add(1, SeqCst), 0, "two hold it");
                            let listener = run.listen().expect("a socket");
                            rooms.connect(&named("demo")).expect("it is up");
                            drop(listener);
                            held.fetch_sub(1, SeqCst);
                            won += 1;
                        }
                        Err(RoomError::Taken { .. }) => std::thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
}

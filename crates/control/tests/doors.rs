//! The door of workers that run as another user, on a real socket; and descriptors that come beside an answer.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use control::api::{Enter, ErrorCode, Kill, QueueHandle, QueueStatus, Request, Tell, Who};
use control::{Client, ClientError, Errand, Limits, RoomError, Rooms, Server, Visit, Wanted};
use tempfile::TempDir;

/// Longer than anything here takes on the slowest machine.
const WATCHDOG: Duration = Duration::from_secs(60);

struct World {
    _folder: TempDir,
    socket: PathBuf,
    _server: Server,
    visits: Receiver<Visit>,
}

impl World {
    /// A door for this user.
    fn of(uid: u32) -> World {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let socket = folder.path().join("door");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (sink, visits) = channel();
        let server = Server::start_for_workers(listener, uid, Limits::default(), move |visit| {
            // A test that is over has dropped its end.
            drop(sink.send(visit));
        });
        World { _folder: folder, socket, _server: server.expect("a server"), visits }
    }

    fn own() -> World {
        World::of(nix::unistd::geteuid().as_raw())
    }

    fn client(&self) -> Client {
        let mut client = Client::connect(&self.socket).expect("it listens");
        client.set_timeout(Some(WATCHDOG));
        client
    }

    /// Asks on a thread of its own, while `answer` answers what comes.
    fn ask(
        &self,
        request: Request,
        answer: impl FnOnce(Visit),
    ) -> Result<(serde_json::Value, Vec<OwnedFd>), ClientError> {
        let mut client = self.client();
        let asked = std::thread::spawn(move || client.call_with_descriptors(&request));
        answer(self.visits.recv_timeout(WATCHDOG).expect("it comes"));
        asked.join().expect("no panic")
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (ErrorCode, String) {
    match result {
        Err(ClientError::Refused(error)) => (error.code, error.message),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_errand_is_handed_on_as_what_it_is_and_with_who_brings_it() {
    let world = World::own();
    let told = world.ask(Request::Tell(Tell::Ready), |visit| {
        assert_eq!(visit.errand, Errand::Tell(Tell::Ready));
        assert_eq!(
            (visit.peer.pid, visit.peer.uid),
            (std::process::id() as i32, nix::unistd::geteuid().as_raw())
        );
        visit.reply.ok(&());
    });
    assert!(told.is_ok());
}

#[test]
fn what_is_no_errand_is_refused_before_anybody_hears_of_it_and_the_connection_goes_on() {
    let world = World::own();
    let mut client = world.client();
    for request in [
        Request::Shutdown { now: true },
        Request::Kill(Kill::of(Who::Pid(1))),
        Request::Ps,
        Request::Events { after: 0, follow: true },
    ] {
        let (code, message) = refusal(client.call::<serde_json::Value>(&request));
        assert_eq!(code, ErrorCode::Refused);
        assert!(
            message.starts_with("a worker that runs as another user than its supervisor may not "),
            "{message}"
        );
    }
    assert!(world.visits.try_recv().is_err());
    let answered = std::thread::spawn(move || client.call::<Vec<QueueStatus>>(&Request::Queues));
    world.visits.recv_timeout(WATCHDOG).expect("it comes").reply.ok(&Vec::<QueueStatus>::new());
    assert!(answered.join().expect("no panic").is_ok());
}

#[test]
fn the_door_of_one_user_is_shut_to_all_others_root_included() {
    let world = World::of(4_000_000_000);
    let (code, message) = refusal(world.client().call::<serde_json::Value>(&Request::Tell(Tell::Ready)));
    assert_eq!(code, ErrorCode::Refused);
    assert!(message.ends_with("may not ask here"), "{message}");
    assert!(world.visits.try_recv().is_err());
}

#[test]
fn descriptors_come_beside_an_answer_in_their_order_and_close_with_those_who_do_not_want_them() {
    let world = World::own();
    let file = |text: &str| {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("room");
        file.rewind().expect("a file");
        file
    };
    let request = || Request::QueueHandle { queue: "jobs".into() };
    let handle = || QueueHandle { queue: "jobs".into(), path: None, dead_letter: None };
    let (answer, handed) = world
        .ask(request(), |visit| {
            let enclosed = vec![file("first").into(), file("second").into()];
            visit.reply.ok_with(&handle(), enclosed);
        })
        .expect("it is answered");
    assert_eq!(answer["queue"], "jobs");
    let read = |descriptor: OwnedFd| {
        let mut text = String::new();
        File::from(descriptor).read_to_string(&mut text).expect("a file");
        text
    };
    assert_eq!(handed.into_iter().map(read).collect::<Vec<_>>(), ["first", "second"]);

    // Asked for without them, they are gone: the pipe's other end is at its end.
    let (mut end, enclosed) = std::io::pipe().expect("a pipe");
    let mut client = world.client();
    let asked = std::thread::spawn(move || client.call::<QueueHandle>(&request()));
    let visit = world.visits.recv_timeout(WATCHDOG).expect("it comes");
    visit.reply.ok_with(&handle(), vec![enclosed.into()]);
    assert!(asked.join().expect("no panic").is_ok());
    assert_eq!(end.read(&mut [0]).expect("a pipe"), 0);

    // And with whoever hangs up before.
    let (mut end, enclosed) = std::io::pipe().expect("a pipe");
    let mut client = world.client();
    client.set_timeout(Some(Duration::from_millis(1)));
    assert!(client.call::<QueueHandle>(&request()).is_err());
    drop(client);
    world.visits.recv_timeout(WATCHDOG).expect("it comes").reply.ok_with(&handle(), vec![enclosed.into()]);
    assert_eq!(end.read(&mut [0]).expect("a pipe"), 0);
}

#[test]
fn an_answer_without_descriptors_brings_none() {
    let world = World::own();
    let enter = Request::Hello(Enter { abi: None });
    let (_, handed) = world.ask(enter, |visit| visit.reply.ok(&())).expect("it is answered");
    assert!(handed.is_empty());
}

#[test]
fn a_socket_in_a_folder_that_others_can_write_to_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    if !nix::unistd::geteuid().is_root() {
        // Only root can make a folder that is somebody else's.
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the test");
    let theirs = folder.path().join("theirs");
    std::fs::create_dir(&theirs).expect("a folder");
    let _listener = UnixListener::bind(theirs.join("socket")).expect("a socket");
    std::os::unix::fs::chown(&theirs, Some(12_345), None).expect("root may");
    let connect = || Rooms::at("/nowhere").connect(&Wanted::Socket(theirs.join("socket")));
    let mode =
        |mode| std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(mode)).expect("root may");
    mode(0o711);
    connect().expect("the supervisor's folder, which only it can write to");
    mode(0o733);
    assert!(matches!(connect(), Err(RoomError::NotOurs { why, .. }) if why == "others can write to it"));
}

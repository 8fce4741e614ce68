//! A supervisor that is none: it answers the command as a test tells it to.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use control::{Call, Rooms, RunFolder, Server, Uids};
use tempfile::TempDir;

/// Longer than anything here takes on the slowest machine.
pub const WATCHDOG: Duration = Duration::from_secs(60);

/// A runtime folder with fake supervisors in it.
pub struct World {
    place: TempDir,
    runs: Vec<(RunFolder, Server)>,
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl World {
    /// A world in which no supervisor runs.
    pub fn empty() -> World {
        World { place: tempfile::tempdir().expect("a folder for the test"), runs: Vec::new() }
    }

    /// A world in which one does, called `demo`.
    pub fn of(answer: impl Fn(Call) + Send + 'static) -> World {
        let mut world = World::empty();
        world.add("demo", answer);
        world
    }

    pub fn add(&mut self, name: &str, answer: impl Fn(Call) + Send + 'static) {
        let mut folder = RunFolder::create(&Rooms::at(self.root()), name).expect("a new name");
        let server =
            Server::start(folder.listen().expect("a socket"), Uids::own(), answer).expect("a server");
        self.runs.push((folder, server));
    }

    pub fn root(&self) -> PathBuf {
        self.place.path().join("runs")
    }

    /// All supervisors go away.
    pub fn stop(&mut self) {
        for (folder, server) in self.runs.drain(..) {
            server.stop();
            drop(folder);
        }
    }

    /// The command, with this world around it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor"));
        command.args(arguments).env("SUPERVISOR_RUNTIME_DIR", self.root()).current_dir(self.place.path());
        for variable in ["SUPERVISOR_NAME", "SUPERVISOR_SOCKET", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        outcome(self.command(arguments).spawn().expect("the command starts"))
    }
}

/// Waits for a command to end.
pub fn outcome(mut child: Child) -> Outcome {
    let out = child.stdout.take().map(|pipe| thread::spawn(move || text(pipe)));
    let err = child.stderr.take().map(|pipe| thread::spawn(move || text(pipe)));
    let deadline = Instant::now() + WATCHDOG;
    let code = loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            break status.code();
        }
        if Instant::now() > deadline {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
            panic!("the command never ended");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let join = |reader: Option<thread::JoinHandle<String>>| {
        reader.map(|reader| reader.join().expect("output is text")).unwrap_or_default()
    };
    Outcome { code, out: join(out), err: join(err) }
}

fn text(mut pipe: impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).expect("output is text");
    text
}

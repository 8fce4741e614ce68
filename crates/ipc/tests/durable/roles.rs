//! The processes of the stories.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use ipc::Queue;

/// `ROLE PATH`
pub fn main(args: &[String]) -> ExitCode {
    let [role, path] = args else { return ExitCode::from(2) };
    let queue = match Queue::open(path) {
        Ok(queue) => queue,
        Err(error) => {
            say(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    match role.as_str() {
        // Puts numbers until it is killed, and says which puts have returned.
        "put" => {
            for number in 0u64.. {
                queue.put(&number.to_le_bytes()).expect("there is room");
                say(&number.to_string());
            }
        }
        // Takes one into hand and stands there.
        "hold" => {
            let lease = queue.lease().expect("something is there");
            say(&String::from_utf8_lossy(lease.bytes()));
            let _ = std::io::stdin().read(&mut [0]);
            lease.ack();
        }
        "open" => {
            say("open");
            let _ = std::io::stdin().read(&mut [0]);
        }
        other => panic!("no such role: {other}"),
    }
    ExitCode::SUCCESS
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("the story listens");
}

/// A process in a role.
pub struct Actor {
    child: Child,
    said: BufReader<ChildStdout>,
    go_on: Option<ChildStdin>,
}

impl Actor {
    pub fn start(role: &str, path: &Path) -> Self {
        Self::of(Command::new(std::env::current_exe().unwrap()).arg("role").arg(role).arg(path))
    }

    pub fn of(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let go_on = child.stdin.take();
        Self { child, said, go_on }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// All it says until it ends.
    pub fn rest(&mut self) -> Vec<String> {
        (&mut self.said).lines().map_while(Result::ok).collect()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn end(&mut self) -> bool {
        self.go_on = None;
        self.child.wait().unwrap().success()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

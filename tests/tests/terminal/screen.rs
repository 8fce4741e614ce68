//! A terminal with a program in it.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use tests::{Sandbox, program, until};

/// A terminal with a program in it.
pub struct Screen {
    child: Child,
    keys: File,
    /// The terminal's name, for `stty`.
    path: String,
    seen: Arc<Mutex<Seen>>,
}

/// Sizes of terminals are never nothing.
fn some(size: u16) -> NonZero<u16> {
    NonZero::new(size).expect("a size")
}

struct Seen {
    parser: vt100::Parser,
    bytes: usize,
}

impl Screen {
    /// Runs `supervisor` with these arguments in a terminal of this size.
    pub fn of(sandbox: &Sandbox, arguments: &[&str], columns: u16, rows: u16) -> Screen {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a terminal can be had");
        let path = nix::unistd::ttyname(&pty.slave).expect("a terminal has a name");
        let slave = |_| Stdio::from(pty.slave.try_clone().expect("a descriptor is left"));
        // With the terminal as its own, so that it hears of another size.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program("supervisor")).args(arguments);
        for (name, value) in sandbox.shell().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("TERM", "xterm-256color").current_dir(sandbox.path());
        command.stdin(slave(0)).stdout(slave(1)).stderr(slave(2));
        let child = command.spawn().expect("setsid can be executed");
        drop(command);
        let master: OwnedFd = pty.master;
        let keys = File::from(master.try_clone().expect("a descriptor is left"));
        let seen =
            Arc::new(Mutex::new(Seen { parser: vt100::Parser::new(some(rows), some(columns), 0), bytes: 0 }));
        let eye = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut master = File::from(master);
            let mut piece = [0; 4096];
            // An error means that nobody has the other end any more.
            while let Ok(length @ 1..) = master.read(&mut piece) {
                let mut seen = eye.lock().unwrap();
                seen.parser.process(&piece[..length]);
                seen.bytes += length;
            }
        });
        Screen { child, keys, path: path.to_string_lossy().into_owned(), seen }
    }

    /// Types this.
    pub fn type_(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// What stands on it.
    pub fn text(&self) -> String {
        self.seen.lock().unwrap().parser.screen().contents()
    }

    /// Whether the program has taken the whole screen.
    pub fn is_taken(&self) -> bool {
        self.seen.lock().unwrap().parser.screen().alternate_screen()
    }

    /// How many bytes were written to it so far.
    pub fn bytes(&self) -> usize {
        self.seen.lock().unwrap().bytes
    }

    /// Waits until all of these stand on it.
    #[track_caller]
    pub fn until_shown(&self, parts: &[&str]) {
        let start = std::time::Instant::now();
        while !parts.iter().all(|part| self.text().contains(part)) {
            assert!(start.elapsed() < tests::PATIENCE, "not shown: {parts:?}; but:\n{}", self.text());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Gives it another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.seen.lock().unwrap().parser.screen_mut().set_size(some(rows), some(columns));
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let done = Command::new("stty").args(["-F", &self.path, "cols", &columns, "rows", &rows]).status();
        assert!(done.expect("stty can be executed").success());
    }

    /// The program's pid.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pids are small")
    }

    /// Waits until the program has ended, and says its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = until("the program has ended", || self.child.try_wait().expect("it is our child"));
        status.code().unwrap_or(-1)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Does wrong what it is told: for tests, and to see what a supervisor makes of it.
#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use clap::{Parser, Subcommand};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, pause, setsid};

/// Does wrong what it is told.
#[derive(Parser)]
#[command(version, after_help = "Example: worker-misbehave --after 100 exit 3")]
struct Arguments {
    /// Behave for so many milliseconds first
    #[arg(long, value_name = "MS", default_value_t = 0)]
    after: u64,
    #[command(subcommand)]
    wrong: Wrong,
}

#[derive(Subcommand)]
enum Wrong {
    /// Exits with a code
    Exit { code: u8 },
    /// Dies by a signal, given by its number
    Die { signal: i32 },
    /// Ignores SIGTERM, for ever
    IgnoreTerm,
    /// Leaves a process behind that has forked twice and leads a session of its own, then does as told
    DoubleFork {
        /// Exit with this code instead of living on
        #[arg(long)]
        exit: Option<u8>,
    },
    /// Starts children that outlive it, then exits with a code
    LeakChildren { children: u32, code: u8 },
    /// Writes lines to standard output until so many bytes are written; 0: for ever
    Flood { bytes: u64 },
    /// Takes so many MiB of memory, touches all of it, and keeps it
    Allocate { mebibytes: usize },
    /// Does nothing, for ever
    Hang,
    /// What stands between `double-fork` and what it leaves behind
    #[command(hide = true)]
    Between,
    /// Puts into a queue without end, and dies of SIGKILL in the middle
    DieInPut { queue: String },
    /// Gets from a queue without end, and dies of SIGKILL in the middle
    DieInGet { queue: String },
    /// Leases a message and dies of SIGKILL with it
    DieWithLease { queue: String },
    /// Joins the supervisor twice, then hangs
    JoinTwice,
    /// Says to the supervisor's socket what makes no sense, then hangs
    Garbage,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    thread::sleep(Duration::from_millis(arguments.after));
    match misbehave(arguments.wrong) {
        Ok(code) => ExitCode::from(code),
        Err(error) => workers::end("worker-misbehave", Err(error)),
    }
}

fn misbehave(wrong: Wrong) -> Result<u8, Box<dyn Error>> {
    match wrong {
        Wrong::Exit { code } => return Ok(code),
        Wrong::Die { signal } => nix::sys::signal::kill(Pid::this(), Signal::try_from(signal)?)?,
        Wrong::IgnoreTerm => ignore_term()?,
        Wrong::Between => {
            setsid()?;
            let left = Command::new(std::env::current_exe()?).arg("hang").spawn()?;
            println!("left behind: pid {}", left.id());
            return Ok(0);
        }
        Wrong::DoubleFork { exit } => {
            leave_a_daemon()?;
            if let Some(code) = exit {
                return Ok(code);
            }
        }
        Wrong::LeakChildren { children, code } => {
            for _ in 0..children {
                // Not waited for, on purpose.
                let _child = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn()?;
            }
            return Ok(code);
        }
        Wrong::Flood { bytes } => return flood(bytes),
        Wrong::Allocate { mebibytes } => {
            let memory = vec![1u8; mebibytes << 20];
            println!("{} bytes taken", std::hint::black_box(&memory).len());
            loop {
                pause();
            }
        }
        Wrong::Hang => {}
        Wrong::DieInPut { queue } => {
            let queue = worker::join()?.queue_bytes(&queue)?;
            die_soon();
            loop {
                queue.put(b"a message whose sender is about to die")?;
            }
        }
        Wrong::DieInGet { queue } => {
            let queue = worker::join()?.queue_bytes(&queue)?;
            die_soon();
            loop {
                queue.get()?;
            }
        }
        Wrong::DieWithLease { queue } => {
            let queue = worker::join()?.queue_bytes(&queue)?;
            let _lease = queue.lease()?;
            nix::sys::signal::kill(Pid::this(), Signal::SIGKILL)?;
        }
        Wrong::JoinTwice => {
            let (first, second) = (worker::join()?, worker::join()?);
            println!(
                "joined as {}:{} and {}:{}",
                first.name(),
                first.instance(),
                second.name(),
                second.instance()
            );
        }
        Wrong::Garbage => {
            let socket = std::env::var_os("SUPERVISOR_SOCKET").ok_or("SUPERVISOR_SOCKET is not set")?;
            let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
            stream.write_all(b"\0\xff not HTTP \r\n\r\n{}{}{}\n\n\n")?;
            println!("said what makes no sense");
            loop {
                pause();
            }
        }
    }
    loop {
        pause();
    }
}

/// Takes SIGTERM and does nothing about it.
fn ignore_term() -> std::io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::new(AtomicBool::new(false)))?;
    Ok(())
}

/// Leaves a process that nobody above knows: it leads a session of its own, and whoever started it has exited.
fn leave_a_daemon() -> std::io::Result<()> {
    let mut between = Command::new(std::env::current_exe()?).arg("between").spawn()?;
    between.wait()?;
    Ok(())
}

fn flood(bytes: u64) -> Result<u8, Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let mut written = 0;
    for number in 0u64.. {
        let line = format!("line {number} of a flood that does not care who reads it\n");
        out.write_all(line.as_bytes())?;
        written += line.len() as u64;
        if bytes > 0 && written >= bytes {
            break;
        }
    }
    Ok(0)
}

/// Kills this process from another thread, at a moment that nothing is in step with.
fn die_soon() {
    thread::spawn(|| {
        let jitter = RandomState::new().build_hasher().finish() % 5_000;
        thread::sleep(Duration::from_micros(5_000 + jitter));
        let _ = nix::sys::signal::kill(Pid::this(), Signal::SIGKILL);
    });
}

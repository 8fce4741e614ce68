//! The supervised program: says when it was born, then sleeps until it is killed or the bench is gone.
//!
//! Usage: `bench-child PIPE ID`, or `bench-child PIPE,ID` where it stands in the first line of a script, which names one
//! argument and adds the script's own path. It does as little as a program can, so that what starts it is seen and not the program.
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;

use bench::{Birth, Stamp};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() -> ExitCode {
    let at = Stamp::now();
    let mut arguments = std::env::args_os().skip(1);
    let (Some(pipe), Some(id)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(2);
    };
    let number = |text: &str| text.parse::<u32>().ok();
    let together = || pipe.to_str()?.rsplit_once(',').and_then(|(pipe, id)| Some((pipe.into(), number(id)?)));
    let Some((pipe, id)) = together().or_else(|| Some((pipe.clone(), number(id.to_str()?)?))) else {
        return ExitCode::from(2);
    };
    // Without a reader the bench is gone, and with it the reason to live. Success, so that nobody starts it again.
    let Ok(mut pipe) = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(pipe)
    else {
        return ExitCode::SUCCESS;
    };
    let birth = Birth { at, id, pid: nix::unistd::getpid().as_raw() };
    if pipe.write_all(&birth.to_bytes()).is_err() {
        return ExitCode::FAILURE;
    }
    // Errors and hang-ups come unasked: the last reader has closed the pipe.
    let mut gone = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
    while poll(&mut gone, PollTimeout::NONE).is_err() {}
    ExitCode::SUCCESS
}

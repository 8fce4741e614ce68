//! How fast the log pump moves output, beside a bare relay of reads and writes in the same run.
//!
//!     cargo run --release -p runtime --example pump_rate [ROUNDS] [FOLDER]
//!
//! A thread writes 1 GiB in blocks of 64,000 bytes, then a million lines of 100 bytes, one `write` each, into a pipe. Shown is
//! the best of the rounds: seconds until the last byte is in the file, MiB/s, and the CPU seconds of everything but the writer.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use runtime::logs::{Format, Inlet, LogFile, Pump, Stream, Writer};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

struct Load {
    name: &'static str,
    write: usize,
    writes: usize,
}

#[derive(Clone, Copy)]
struct Rate {
    seconds: f64,
    cpu: f64,
}

fn cpu(who: UsageWho) -> io::Result<f64> {
    let usage = getrusage(who)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

/// Writes all of `load`; returns the CPU seconds that took this thread.
fn write(pipe: OwnedFd, load: &Load) -> io::Result<f64> {
    let mut pipe = File::from(pipe);
    let mut block = vec![b'x'; load.write];
    for newline in (99..load.write).step_by(100) {
        block[newline] = b'\n';
    }
    let before = cpu(UsageWho::RUSAGE_THREAD)?;
    for _ in 0..load.writes {
        pipe.write_all(&block)?;
    }
    Ok(cpu(UsageWho::RUSAGE_THREAD)? - before)
}

/// Times `move_all`, which is to move everything that comes out of the pipe, while another thread writes.
fn timed(load: &Load, move_all: impl FnOnce(OwnedFd) -> io::Result<()>) -> io::Result<Rate> {
    let (read, into) = nix::unistd::pipe()?;
    let (before, start) = (cpu(UsageWho::RUSAGE_SELF)?, Instant::now());
    let writer = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(into, load));
        move_all(read)?;
        writer.join().expect("the writer does not panic")
    })?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Rate { seconds, cpu: cpu(UsageWho::RUSAGE_SELF)? - before - writer })
}

fn relay(load: &Load, path: &Path) -> io::Result<Rate> {
    timed(load, |read| {
        let (mut read, mut file) = (File::from(read), File::create(path)?);
        let mut block = vec![0; 64 * 1024];
        loop {
            match read.read(&mut block)? {
                0 => return Ok(()),
                count => file.write_all(&block[..count])?,
            }
        }
    })
}

fn pump(load: &Load, path: &Path, format: Format) -> io::Result<Rate> {
    timed(load, |read| {
        let pump = Pump::start(None)?;
        let file = pump.file(LogFile { path: path.to_owned(), max_size: 0, keep: 1, format });
        let writer = Writer { worker: "flood".into(), instance: 0, launch: 1, show: "flood".into() };
        let label = std::sync::Arc::new(writer).label(Stream::Stdout);
        let watched = nix::unistd::dup(&read)?;
        pump.attach(Inlet::of(read)?, label, Some(file));
        // The copy reports the end of the writer without reading.
        let mut ended =
            [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&watched), nix::poll::PollFlags::empty())];
        while nix::poll::poll(&mut ended, nix::poll::PollTimeout::NONE).is_err() {}
        let troubles = pump.stop();
        troubles.iter().for_each(|trouble| eprintln!("{trouble}"));
        Ok(())
    })
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds: u32 = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(5);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join(format!("pump-rate-{}.log", std::process::id()));
    let loads = [
        Load { name: "1 GiB in writes of 64,000 bytes", write: 64_000, writes: (1 << 30) / 64_000 },
        Load { name: "1,000,000 lines of 100 bytes", write: 100, writes: 1_000_000 },
    ];
    for load in loads {
        let bytes = (load.write * load.writes) as u64;
        println!("{}", load.name);
        let mut best: [Option<Rate>; 4] = [None; 4];
        for _ in 0..rounds {
            for (kind, best) in best.iter_mut().enumerate() {
                let rate = match kind {
                    0 => relay(&load, &path)?,
                    1 => pump(&load, &path, Format::Raw)?,
                    2 => pump(&load, &path, Format::Text)?,
                    _ => pump(&load, &path, Format::Json)?,
                };
                let size = fs::metadata(&path)?.len();
                assert!(size == bytes || (kind > 1 && size > bytes), "bytes are missing in the file");
                fs::remove_file(&path)?;
                if best.is_none_or(|best| rate.seconds < best.seconds) {
                    *best = Some(rate);
                }
            }
        }
        for (name, rate) in ["relay", "raw", "text", "json"].iter().zip(best.iter().flatten()) {
            let speed = bytes as f64 / rate.seconds / f64::from(1 << 20);
            println!("  {name:5}  {:6.3} s  {speed:6.0} MiB/s  {:6.3} s CPU", rate.seconds, rate.cpu);
        }
    }
    Ok(())
}

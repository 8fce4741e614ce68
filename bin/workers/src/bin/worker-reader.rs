//! Puts the text of files and folders into a queue, a chunk of whole lines a message.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use worker::BytesQueue;

/// A line longer than this is cut, at a place where no word is.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

/// Puts the text of files and folders into a queue, a chunk of whole lines a message.
///
/// Folders are read to the bottom, in order of their names; what is hidden or a link is passed over.
#[derive(Parser)]
#[command(version, after_help = "Example: worker-reader --to chunks book.txt notes/")]
struct Arguments {
    /// The queue
    #[arg(long, value_name = "QUEUE")]
    to: String,
    /// About how many bytes a chunk has
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024, value_parser = clap::value_parser!(u64).range(1..=8 * 1024 * 1024))]
    chunk: u64,
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

fn main() -> ExitCode {
    workers::end("worker-reader", read(&Arguments::parse()))
}

fn read(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let me = worker::join()?;
    let to = me.queue_bytes(&arguments.to)?;
    let size = usize::try_from(arguments.chunk)?;
    for path in &arguments.paths {
        let metadata = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        if metadata.is_dir() {
            read_folder(path, size, &to)?;
        } else {
            read_file(path, size, &to)?;
        }
    }
    Ok(())
}

fn read_folder(folder: &Path, size: usize, to: &BytesQueue) -> Result<(), Box<dyn Error>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.map_err(|error| format!("{}: {error}", folder.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let kind = entry.file_type()?;
        if hidden || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            read_folder(&entry.path(), size, to)?;
        } else if kind.is_file() {
            read_file(&entry.path(), size, to)?;
        }
    }
    Ok(())
}

fn read_file(path: &Path, size: usize, to: &BytesQueue) -> Result<(), Box<dyn Error>> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let mut chunk: Vec<u8> = Vec::with_capacity(size);
    loop {
        let before = chunk.len();
        let got = (&mut file).take(size as u64).read_to_end(&mut chunk).map_err(failed)?;
        if got == 0 {
            break;
        }
        let whole_lines = chunk[before..].iter().rposition(|byte| *byte == b'\n').map(|at| before + at + 1);
        let too_long = || {
            let between_words =
                || chunk.iter().rposition(|byte| !byte.is_ascii_alphabetic()).map(|at| at + 1);
            (chunk.len() >= LONGEST_LINE).then(|| between_words().unwrap_or(chunk.len()))
        };
        if let Some(end) = whole_lines.or_else(too_long) {
            to.put(&chunk[..end])?;
            chunk.drain(..end);
        }
    }
    if !chunk.is_empty() {
        to.put(&chunk)?;
    }
    Ok(())
}

//! Merges the counts of words and writes them.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use worker::UnlessClosed;
use workers::Counts;

/// Merges counts of words until their queue is closed and drained, each chunk once however often it was delivered, and
/// writes lines `COUNT WORD`, the highest count first, then by word.
#[derive(Parser)]
#[command(version, after_help = "Example: worker-collector --from counts --top 10")]
struct Arguments {
    /// The queue of counts
    #[arg(long, value_name = "QUEUE")]
    from: String,
    /// How many words to write; all, if it is not given
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// The file to write; standard output, if it is not given
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    workers::end("worker-collector", collect(&Arguments::parse()))
}

fn collect(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let me = worker::join()?;
    let from = me.queue::<Counts>(&arguments.from)?;
    let mut seen = HashSet::new();
    let mut total: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(counts) = from.lease().unless_closed()? {
        if seen.insert(counts.chunk) {
            for (word, count) in &counts.words {
                *total.entry(word.clone()).or_default() += count;
            }
        }
        counts.ack();
    }
    let mut ranking: Vec<(String, u64)> = total.into_iter().collect();
    ranking.sort_by_key(|(_, count)| Reverse(*count));
    ranking.truncate(arguments.top.unwrap_or(usize::MAX));
    match &arguments.output {
        Some(path) => write_whole(path, &ranking)?,
        None => write(io::stdout().lock(), &ranking)?,
    }
    Ok(())
}

/// Writes a file that is either the old one or the whole new one, whenever somebody looks.
fn write_whole(path: &Path, ranking: &[(String, u64)]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written =
        File::create(&beside).and_then(|file| write(file, ranking)).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is there is of no use; that it cannot be removed changes nothing.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn write(to: impl Write, ranking: &[(String, u64)]) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    for (word, count) in ranking {
        writeln!(to, "{count} {word}")?;
    }
    to.flush()
}

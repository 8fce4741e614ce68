//! Counts the words of chunks of text.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use worker::UnlessClosed;
use workers::Counts;

/// Leases a chunk of text, counts its words, puts the counts, then acknowledges the chunk.
///
/// A word is a run of ASCII letters, lower-cased. The counts carry the id of the chunk's message: should this worker die
/// after it has put them and before it has acknowledged the chunk, they are put again, under the same id.
#[derive(Parser)]
#[command(version, after_help = "Example: worker-counter --from chunks --to counts")]
struct Arguments {
    /// The queue of chunks
    #[arg(long, value_name = "QUEUE")]
    from: String,
    /// The queue of counts
    #[arg(long, value_name = "QUEUE")]
    to: String,
}

fn main() -> ExitCode {
    workers::end("worker-counter", count(&Arguments::parse()))
}

fn count(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let me = worker::join()?;
    let from = me.queue_bytes(&arguments.from)?;
    let to = me.queue::<Counts>(&arguments.to)?;
    while let Some(chunk) = from.lease().unless_closed()? {
        to.put(&Counts { chunk: chunk.id(), words: workers::count_words(&chunk) })?;
        chunk.ack();
    }
    Ok(())
}

//! Moves money between two accounts, which are shared numbers, under their locks.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use worker::sync::LockError;

/// Moves 1 from one account to another, again and again. An account is a value of the run, and a lock of the same name
/// protects it. Both locks are held while money is on its way, so that no sum is ever seen with a coin missing; where
/// that ends in a deadlock, the locks are let go of and taken anew.
#[derive(Parser)]
#[command(version, after_help = "Example: worker-teller --from alice --to bob --times 1000")]
struct Arguments {
    /// The account that pays
    #[arg(long, value_name = "VALUE")]
    from: String,
    /// The account that is paid
    #[arg(long, value_name = "VALUE")]
    to: String,
    /// How often
    #[arg(long, default_value = "1000")]
    times: u64,
}

fn main() -> ExitCode {
    workers::end("worker-teller", work(&Arguments::parse()))
}

fn work(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let me = worker::join()?;
    let (from, to) = (me.value(&arguments.from)?, me.value(&arguments.to)?);
    let (from_lock, to_lock) = (me.lock(&arguments.from)?, me.lock(&arguments.to)?);
    let mut deadlocks = 0u64;
    let mut done = 0;
    while done < arguments.times {
        let paying = from_lock.acquire()?;
        match to_lock.acquire() {
            Ok(paid) => {
                // Reading and then writing is two steps; the locks make them one.
                from.set(from.get() - 1);
                to.set(to.get() + 1);
                drop(paid);
                done += 1;
            }
            Err(LockError::Deadlock(deadlock)) => {
                if deadlocks == 0 {
                    println!("{deadlock}; letting go, and trying again");
                }
                deadlocks += 1;
            }
            Err(error) => return Err(error.into()),
        }
        drop(paying);
    }
    println!("{done} moved from {} to {}, {deadlocks} times after a deadlock", arguments.from, arguments.to);
    Ok(())
}

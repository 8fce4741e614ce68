//! What a durable queue promises: to survive those who use it, the boot of the machine, and the loss of power.
//!
//! The processes are this program again, in a role; that is why it brings its own small runner.

mod boots;
mod lives;
mod roles;
mod rooms;

use std::panic;
use std::process::ExitCode;

/// A story and its name. It may be skipped, and says why.
type Story = (&'static str, fn() -> Option<&'static str>);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "role") {
        return roles::main(&args[1..]);
    }
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let (mut passed, mut failed) = (0, 0);
    for (name, story) in [lives::ALL, boots::ALL, rooms::ALL].concat() {
        if !words.iter().all(|word| name.contains(word.as_str())) {
            continue;
        }
        match panic::catch_unwind(story) {
            Ok(None) => println!("test {name} ... ok"),
            Ok(Some(skipped)) => println!("test {name} ... ok (skipped: {skipped})"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed += 1;
                continue;
            }
        }
        passed += 1;
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! What a queue promises when processes die, stop, fork, or have the number of another.
//!
//! The processes are this program again, in a role; that is why it brings its own small runner.

mod roles;
mod stories;

use std::panic;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "role") {
        return roles::main(&args[1..]);
    }
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut passed = 0;
    let mut failed = 0;
    for (name, story) in stories::all() {
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

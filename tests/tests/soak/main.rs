//! Long runs that end with everything as it was: `scripts/soak spawn` and `scripts/soak supervise`. In the test command
//! they are short.
#![forbid(unsafe_code)]

mod spawning;
mod supervising;

use std::process::ExitCode;

const USAGE: &str = "usage: soak spawn [--rounds N] | supervise [--kills N] [--seed S]";

/// What is done, and for how long.
enum Soak {
    Spawn { rounds: u64 },
    Supervise { kills: u64, seed: u64 },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // What the test runner adds to every test program's line.
    if words.contains(&"--list") {
        return ExitCode::SUCCESS;
    }
    let all = match words.as_slice() {
        ["spawn" | "supervise", ..] => match asked_for(&words) {
            Some(soak) => vec![soak],
            None => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        // A name to filter by, or options of the runner's own: all of it, short.
        _ => vec![Soak::Spawn { rounds: 2000 }, Soak::Supervise { kills: 25, seed: 0 }],
    };
    for soak in all {
        match soak {
            Soak::Spawn { rounds } => spawning::soak(rounds),
            Soak::Supervise { kills, seed } => supervising::soak(kills, seed),
        }
    }
    ExitCode::SUCCESS
}

fn asked_for(words: &[&str]) -> Option<Soak> {
    let (verb, mut options) = words.split_first()?;
    let (mut count, mut seed) = (None, 0);
    while let [name, value, rest @ ..] = options {
        let number = value.parse().ok()?;
        match (*verb, *name) {
            ("spawn", "--rounds") | ("supervise", "--kills") => count = Some(number),
            ("supervise", "--seed") => seed = number,
            _ => return None,
        }
        options = rest;
    }
    match *verb {
        _ if !options.is_empty() => None,
        "spawn" => Some(Soak::Spawn { rounds: count.unwrap_or(100_000) }),
        _ => Some(Soak::Supervise { kills: count.unwrap_or(1000), seed }),
    }
}

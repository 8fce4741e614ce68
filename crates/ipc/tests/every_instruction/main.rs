//! Kills a process after every single instruction of every operation, and looks at what is left.
//!
//! For each scenario (a state of the queue, and an operation on it) a child is stepped through the operation
//! one instruction at a time. After each instruction the segment is what it would be had the child been
//! killed there. Where an instruction has changed it, a copy is taken in which the child counts as dead, and a
//! fresh participant recovers the copy and checks the promises: what waits is what waited before or what
//! should wait after, whole and in order, with its count of deliveries; it never goes back from after to
//! before; the queue takes exactly its capacity again; no block and no page is missing.
//!
//! Beside that, children are really killed, with SIGKILL, at instructions spread over each operation: every
//! one of them with `--full`. That is slow in a debug build; `cargo test --release` makes it bearable.
//!
//! Arguments: `--full`, and words that must be part of a scenario's name.

mod checking;
mod child;
mod copy;
mod peer;
mod scenarios;
mod state;
mod step;

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "child") {
        return child::main(&args[1..]);
    }
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let is_full = args.iter().any(|arg| arg == "--full");
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    step::stay_on_one_processor();
    let start = Instant::now();
    let mut total = Tried::default();
    let mut failures = 0;
    let mut passed = 0;
    for scenario in scenarios::all(is_full) {
        if !words.iter().all(|word| scenario.name.contains(word.as_str())) {
            continue;
        }
        match scenarios::run(&scenario, is_full) {
            Ok(tried) => {
                passed += 1;
                println!(
                    "{:<52} {:>6} instructions, {:>3} states, {:>5} killed",
                    scenario.name, tried.instructions, tried.states, tried.killed
                );
                total.instructions += tried.instructions;
                total.states += tried.states;
                total.killed += tried.killed;
            }
            Err(problem) => {
                failures += 1;
                println!("{:<52} FAILED: {problem}", scenario.name);
            }
        }
    }
    println!(
        "every instruction: {} kill points tried, {} different states recovered, {} processes killed, in {:.1} s",
        total.instructions,
        total.states,
        total.killed,
        start.elapsed().as_secs_f64()
    );
    println!("{passed} passed, {failures} failed");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a scenario amounted to.
#[derive(Debug, Default, Clone, Copy)]
struct Tried {
    instructions: usize,
    states: usize,
    killed: usize,
}

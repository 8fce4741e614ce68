//! A program that starts its own children: three counters share a queue of jobs, one of them is killed with -9 in the
//! midst of its work, and nothing is lost.
//!
//! `cargo run -p worker --example children`

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;
use worker::ipc::sync::{Family, SyncOptions};
use worker::ipc::{Queue as Memory, QueueOptions};
use worker::{Process, Queue, UnlessClosed, active_children, current_process};

const JOBS: u64 = 3000;

fn main() -> Result<(), Box<dyn Error>> {
    // The same program is parent and child: what started it says which.
    let done = match current_process().parent() {
        None => parent(),
        Some(_) => counter(),
    };
    match done {
        // Whoever read the output has seen enough; the children are daemons and end with this process.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(is_broken_pipe) => Ok(()),
        done => done,
    }
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn say(what: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{what}")
}

fn parent() -> Result<(), Box<dyn Error>> {
    let memory =
        Memory::create_anonymous("jobs", &QueueOptions { capacity: Some(64), ..Default::default() })?;
    let jobs = Queue::<u64>::from(memory);
    let shared = Family::create_anonymous(
        "shared",
        &SyncOptions {
            values: vec![("total".into(), 0)],
            locks: vec!["ledger".into()],
            ..Default::default()
        },
    )?;
    let counter = Process::new(std::env::current_exe()?)
        .args([2])
        .kwargs(json!({ "unit": "points" }))
        .daemon(true)
        .queue("jobs", &jobs)
        .lock("ledger", &shared.lock("ledger")?)
        .value("total", &shared.value("total")?);
    // The same plan may be started as often as it is wanted.
    for _ in 0..3 {
        say(format_args!("started {}", counter.start()?))?;
    }
    for job in 1..=JOBS {
        if job == JOBS / 2 {
            let victim = &active_children()[0];
            victim.kill()?;
            say(format_args!("killed  {} ({})", victim.name(), victim.join(Duration::from_secs(10))?))?;
        }
        jobs.put(&job)?;
    }
    jobs.close();
    for child in active_children() {
        let exit = child.join(Duration::from_secs(60))?;
        say(format_args!("ended   {} with {exit}", child.name()))?;
    }
    let (total, wanted) = (shared.value("total")?.get(), (2 * (1..=JOBS).sum::<u64>()) as i64);
    say(format_args!(
        "total   {total}, at least {wanted}: a job whose counter was killed was counted again, and none was lost"
    ))?;
    assert!(total >= wanted);
    Ok(())
}

fn counter() -> Result<(), Box<dyn Error>> {
    #[derive(serde::Deserialize)]
    struct Named {
        unit: String,
    }
    let me = current_process();
    let (times,): (u64,) = me.args()?;
    let Named { unit } = me.kwargs()?;
    let (jobs, ledger, total) = (me.queue::<u64>("jobs")?, me.lock("ledger")?, me.value("total")?);
    let mut counted = 0;
    while let Some(job) = jobs.lease().unless_closed()? {
        let points = (*job * times) as i64;
        {
            let _guard = ledger.acquire()?;
            total.set(total.get() + points);
        }
        counted += points;
        job.ack();
    }
    say(format_args!("        {}, child of {}, counted {counted} {unit}", me.name(), me.ppid()))?;
    Ok(())
}

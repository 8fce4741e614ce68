//! Messages of 64 bytes between two processes: as workers of a run that share a queue of its config, and through a pipe.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Trouble;
use crate::stage::{Running, Stage};

/// How long a message is.
const BYTES: usize = 64;

/// The name of the queue.
const QUEUE: &str = "messages";

/// Messages a second from one worker to another through a queue of the config, as a worker's author writes it.
pub fn through_a_queue(stage: &mut Stage, count: u64) -> Result<f64, Trouble> {
    let rate = stage.path("rate");
    let program = serde_json::to_string(&crate::programs()?.join("bench"))?;
    let rate_text = serde_json::to_string(&rate)?;
    let config = format!(
        r#"{{ "queues": {{ "{QUEUE}": {{ "capacity": 1024 }} }}, "workers": {{
  "from": {{ "command": [{program}, "queue-put", "{count}"], "queues": {{ "put": ["{QUEUE}"] }} }},
  "to": {{ "command": [{program}, "queue-get", "{count}", {rate_text}], "queues": {{ "get": ["{QUEUE}"] }} }}
}} }}"#
    );
    stage.run_to_its_end(&config)?;
    read_rate(&rate)
}

/// The same through a pipe, one `write` and one `read` a message: the least the kernel has to offer.
pub fn through_a_pipe(stage: &Stage, count: u64) -> Result<f64, Trouble> {
    let rate = stage.path("rate");
    let program = crate::programs()?.join("bench");
    let (reader, writer) = std::io::pipe()?;
    let count = count.to_string();
    let mut put = Command::new(&program);
    put.args(["pipe-put", &count]).stdin(Stdio::null()).stdout(writer);
    let mut get = Command::new(&program);
    get.args(["pipe-get", &count]).arg(&rate).stdin(reader);
    let (from, to) = (Running::start(&mut put)?, Running::start(&mut get)?);
    // Their own copies are enough; ours would keep the pipe open when one of them has died.
    drop((put, get));
    to.end_well()?;
    from.end_well()?;
    read_rate(&rate)
}

fn read_rate(path: &Path) -> Result<f64, Trouble> {
    let text = fs::read_to_string(path)?;
    text.trim().parse().map_err(|_| Trouble::new(format!("no rate: {text}")))
}

/// The worker that puts.
pub fn put(count: u64) -> Result<(), Trouble> {
    let me = worker::join().map_err(Trouble::new)?;
    let queue = me.queue_bytes(QUEUE).map_err(Trouble::new)?;
    for number in 0..count {
        queue.put(&message(number)).map_err(Trouble::new)?;
    }
    Ok(())
}

/// The worker that gets, and checks what it gets.
pub fn get(count: u64, rate: &Path) -> Result<(), Trouble> {
    let me = worker::join().map_err(Trouble::new)?;
    let queue = me.queue_bytes(QUEUE).map_err(Trouble::new)?;
    receive(count, rate, || queue.get().map_err(Trouble::new))
}

/// The process that writes into the pipe.
pub fn write(count: u64) -> Result<(), Trouble> {
    let mut output = fs::File::from(nix::unistd::dup(std::io::stdout())?);
    (0..count).try_for_each(|number| Ok(output.write_all(&message(number))?))
}

/// The process that reads from the pipe.
pub fn read(count: u64, rate: &Path) -> Result<(), Trouble> {
    let mut input = fs::File::from(nix::unistd::dup(std::io::stdin())?);
    receive(count, rate, || {
        let mut bytes = [0; BYTES];
        input.read_exact(&mut bytes)?;
        Ok(bytes)
    })
}

fn receive<M: AsRef<[u8]>>(
    count: u64,
    rate: &Path,
    mut next: impl FnMut() -> Result<M, Trouble>,
) -> Result<(), Trouble> {
    let check = |number: u64, got: M| match got.as_ref() == message(number) {
        true => Ok(()),
        false => Err(Trouble::new(format!("message {number} is not what was sent"))),
    };
    // From the first message on: until then one of the two was still being started.
    check(0, next()?)?;
    let begun = Instant::now();
    for number in 1..count {
        check(number, next()?)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    fs::write(rate, format!("{}", (count - 1) as f64 / seconds))?;
    Ok(())
}

fn message(number: u64) -> [u8; BYTES] {
    let mut bytes = [b'.'; BYTES];
    bytes[..8].copy_from_slice(&number.to_ne_bytes());
    bytes
}

//! What the probe does with locks and their like.

use worker::sync::LockError;

use crate::{Done, for_ever, say};

/// Holds a lock for good, and tells who died with it before.
pub fn hold_lock(name: &str) -> Done {
    let me = worker::join()?;
    let guard = me.lock(name)?.acquire()?;
    match guard.recovered() {
        Some(dead) => say(&format!("after pid {} {}", dead.pid, dead.name.as_deref().unwrap_or("?")))?,
        None => say("nobody died with it")?,
    }
    for_ever()
}

/// Waits for a lock until it is asked to stop.
pub fn wait_lock(name: &str) -> Done {
    let me = worker::join()?;
    if me.stop_requested() {
        return Err("asked too early".into());
    }
    match me.lock(name)?.acquire() {
        Err(LockError::Interrupted) => say("interrupted"),
        other => Err(format!("{other:?}").into()),
    }
}

/// Takes one lock, waits until another has taken the other, and takes that too; gives way in a deadlock.
pub fn cross(own: &str, other: &str, barrier: &str) -> Done {
    let me = worker::join()?;
    let guard = me.lock(own)?.acquire()?;
    me.barrier(barrier)?.wait()?;
    match me.lock(other)?.acquire() {
        Ok(_both) => say("has both")?,
        Err(LockError::Deadlock(deadlock)) => say(&deadlock.to_string())?,
        Err(error) => return Err(error.into()),
    }
    drop(guard);
    Ok(())
}

/// Uses one of each kind, half of them with somebody outside.
pub fn all_kinds() -> Done {
    let me = worker::join()?;
    let permit = me.semaphore("gpu")?.acquire()?;
    let (door, opened, open) = (me.lock("door")?, me.condition("opened")?, me.value("open")?);
    let opener = {
        let (door, opened, open) = (door.clone(), opened.clone(), open.clone());
        std::thread::spawn(move || -> Result<(), LockError> {
            let _guard = door.acquire()?;
            open.set(1);
            opened.notify_all()?;
            Ok(())
        })
    };
    let mut guard = door.acquire()?;
    while open.get() == 0 {
        guard = opened.wait(guard)?;
    }
    drop(guard);
    opener.join().map_err(|_| "the opener broke down")??;
    say("waits for go")?;
    me.event("go")?.wait()?;
    me.barrier("line")?.wait()?;
    drop(permit);
    say("all done")
}

/// Adds one to its own number and to the first, a hundred times, by reading and writing under a lock taken twice.
pub fn tally(lock: &str, array: &str) -> Done {
    let me = worker::join()?;
    let (lock, array) = (me.rlock(lock)?, me.array(array)?);
    let mine = 1 + usize::try_from(me.instance())?;
    for _ in 0..100 {
        let _outer = lock.acquire()?;
        for index in [0, mine] {
            let _inner = lock.acquire()?;
            let before = array.get(index).ok_or("no such number")?;
            std::thread::yield_now();
            array.set(index, before + 1);
        }
    }
    Ok(())
}

//! A race that is cured by mutual exclusion.

use std::io;

use ipc::sync::{Family, TryLockError};

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say};
use crate::demo::lessons::counting::{self, COUNTERS, Hold, family, now_us, together};
use crate::demo::stage::{Stage, Taught, until};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "lock",
    teaches: Text {
        en: "a race cured by mutual exclusion; waiting or not; its cost; where to put it",
        zh: "用互斥消除竞争；等待或不等待；代价；锁该放在哪里",
    },
    steps: STEPS,
    teach,
    part,
};

const ROUNDS: i64 = 20_000;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Hold a lock, and let a child try it without waiting.",
            zh: "持有一把锁，让子进程不等待地去试。",
        },
        call: "> let guard = lock.acquire()      # in the parent, pid {my_pid}\n> lock.try_acquire()               # in the child, pid {child_pid}",
        seen: Text {
            en: "the child is refused: {refusal}; the lock says that its holder is {holder_pid}.",
            zh: "子进程被拒绝：{refusal}；锁说明持有者是 {holder_pid}。",
        },
        means: Text {
            en: "only one process holds a lock. A non-blocking acquire answers at once, and the caller can do something else.",
            zh: "同一时刻只有一个进程持有锁。非阻塞获取立即回答，调用者可以先做别的事。",
        },
    },
    Step {
        does: Text {
            en: "Let the child wait for the lock; release it once the child sleeps.",
            zh: "让子进程等待这把锁；等它睡下之后再释放。",
        },
        call: "> lock.acquire()                   # in the child\n> drop(guard)                      # in the parent",
        seen: Text {
            en: "{waiting} waits; the child had the lock {acquired_after_us} us after the release began.",
            zh: "{waiting} 个在等待；释放开始后 {acquired_after_us} 微秒，子进程拿到了锁。",
        },
        means: Text {
            en: "a blocking acquire sleeps, without using the processor, until the holder lets go.",
            zh: "阻塞获取会睡眠，不占用处理器，直到持有者放手。",
        },
    },
    Step {
        does: Text {
            en: "Let {counters} processes add 1 {rounds} times each, with the lock held from reading to writing.",
            zh: "让 {counters} 个进程各加 1，共 {rounds} 次，从读到写都持有锁。",
        },
        call: "> let guard = lock.acquire(); total.set(total.get() + 1); drop(guard)",
        seen: Text {
            en: "the total is {each_total}, of {expected}: {each_lost} lost.",
            zh: "总数是 {each_total}，应为 {expected}：丢失 {each_lost}。",
        },
        means: Text {
            en: "read, add and write have become one step for everybody who takes the same lock.",
            zh: "对所有使用同一把锁的进程来说，读、加、写成了一步。",
        },
    },
    Step {
        does: Text {
            en: "Put the lock in the wrong place: around the writing only.",
            zh: "把锁放错地方：只包住写。",
        },
        call: "> let read = total.get(); let guard = lock.acquire(); total.set(read + 1); drop(guard)",
        seen: Text {
            en: "the total is {write_total}: {write_lost} lost, in spite of the lock.",
            zh: "总数是 {write_total}：尽管有锁，仍丢失 {write_lost}。",
        },
        means: Text {
            en: "what was read before the lock may be old when it is written. Lock what belongs together, from the first reading to the last writing.",
            zh: "加锁之前读到的，到写的时候可能已经过时。要锁住属于一体的全部：从第一次读到最后一次写。",
        },
    },
    Step {
        does: Text {
            en: "Compare the cost: a lock for each addition, and one lock around all {rounds}.",
            zh: "比较代价：每次加法都加锁，与一把锁包住全部 {rounds} 次。",
        },
        call: "> let guard = lock.acquire(); for _ in 0..{rounds} { total.set(total.get() + 1) }",
        seen: Text {
            en: "nothing lost: {all_total}. It took {all_us} us with one lock, {each_us} us with a lock each.",
            zh: "没有丢失：{all_total}。一把锁用时 {all_us} 微秒，每次加锁用时 {each_us} 微秒。",
        },
        means: Text {
            en: "each acquire costs, the more so with many waiting. But one lock around all makes the others wait for all: hold it as briefly as is right, and never while waiting for something else.",
            zh: "每次获取都有代价，等待者越多越贵。但一把锁包住全部，别人就得等到全部做完：在正确的前提下尽量短，绝不要在等待别的东西时持有锁。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let family = family()?;
    let path = family.descriptor_path().to_string_lossy().into_owned();
    let lock = family.lock("ledger").map_err(io::Error::other)?;
    let ledger = || family.locks().map(|locks| locks.into_iter().next()).map_err(io::Error::other);

    let guard = lock.acquire().map_err(io::Error::other)?;
    let mut child = Actor::of(LESSON.name, "take", &[&path])?;
    let refusal = child.hear()?;
    let holder = ledger()?.and_then(|lock| lock.holder).map(|(pid, _)| pid);
    stage.saw("my_pid", std::process::id());
    stage.saw("child_pid", child.pid());
    stage.saw("refusal", refusal.clone());
    stage.saw("holder_pid", holder);
    stage.step(refusal == TryLockError::Held.to_string() && holder == Some(std::process::id()))?;

    let waiting = until("the child waits for the lock", || {
        Ok(ledger()?.map(|lock| lock.waiters.len()).filter(|waiting| *waiting > 0))
    })?;
    let began = now_us()?;
    guard.release();
    let after = child.hear_number()? - began;
    child.join()?;
    stage.saw("waiting", waiting);
    stage.saw("acquired_after_us", after);
    stage.step(waiting == 1 && after >= 0)?;

    let expected = COUNTERS * ROUNDS;
    let each = together(LESSON.name, ROUNDS, Hold::Each)?;
    stage.saw("counters", COUNTERS);
    stage.saw("rounds", ROUNDS);
    stage.saw("expected", expected);
    stage.saw("each_total", each.total);
    stage.saw("each_lost", expected - each.total);
    stage.step(each.total == expected)?;

    let mut write = together(LESSON.name, ROUNDS, Hold::Write)?;
    // Luck may have kept them apart; then once more.
    for _ in 0..20 {
        if write.total == expected {
            write = together(LESSON.name, ROUNDS, Hold::Write)?;
        }
    }
    stage.saw("write_total", write.total);
    stage.saw("write_lost", expected - write.total);
    stage.step(write.total < expected)?;

    let all = together(LESSON.name, ROUNDS, Hold::All)?;
    stage.saw("all_total", all.total);
    stage.saw("all_us", all.took_us);
    stage.saw("each_us", each.took_us);
    stage.step(all.total == expected)
}

fn part(part: &str, arguments: &[String]) -> io::Result<()> {
    if part != "take" {
        return counting::part(part, arguments);
    }
    let family = Family::open(arguments.first().map_or("", String::as_str)).map_err(io::Error::other)?;
    let lock = family.lock("ledger").map_err(io::Error::other)?;
    match lock.try_acquire() {
        Ok(_) => say("taken")?,
        Err(refusal) => say(refusal)?,
    }
    let guard = lock.acquire().map_err(io::Error::other)?;
    say(now_us()?)?;
    drop(guard);
    Ok(())
}

//! Threads and processes lose each other's updates.

use crate::demo::Lesson;
use crate::demo::lessons::counting::{COUNTERS, Counted, Hold, part, threads, together};
use crate::demo::stage::{Stage, Taught};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "race",
    teaches: Text {
        en: "threads and processes that change one number together lose updates",
        zh: "多个线程或进程同时改动一个数，更新会丢失",
    },
    steps: STEPS,
    teach,
    part,
};

const ROUNDS: i64 = 100_000;
/// How often it is tried before the lesson says that nothing was lost.
const ATTEMPTS: i64 = 20;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Let one thread after the other add 1 to a shared number, {rounds} times each; there are {counters}.",
            zh: "让线程一个接一个地给共享的数加 1，每个加 {rounds} 次；共 {counters} 个线程。",
        },
        call: "> let read = total.load(); total.store(read + 1)    # {rounds} times",
        seen: Text {
            en: "the total is {alone_total}, as expected: {expected}.",
            zh: "总数是 {alone_total}，与预期的 {expected} 一致。",
        },
        means: Text {
            en: "the program is right as long as nobody else changes the number.",
            zh: "只要没有别人改动这个数，程序就是对的。",
        },
    },
    Step {
        does: Text {
            en: "The same threads, all at the same time.", zh: "同样的线程，全部同时运行。"
        },
        call: "> thread::spawn(..) x {counters}; then join all",
        seen: Text {
            en: "the total is {thread_total} instead of {expected}: {thread_lost} updates lost (try {thread_try}).",
            zh: "总数是 {thread_total}，而不是 {expected}：丢失了 {thread_lost} 次更新（第 {thread_try} 次尝试）。",
        },
        means: Text {
            en: "adding is three steps: read, add, write. Two threads read the same number and both write the same sum: one update is lost.",
            zh: "加一是三步：读、加、写。两个线程读到同一个数，又都写下同一个和：一次更新就丢了。",
        },
    },
    Step {
        does: Text {
            en: "The same with {counters} processes and a number in shared memory.",
            zh: "换成 {counters} 个进程和一个位于共享内存的数。",
        },
        call: "> let read = total.get(); total.set(read + 1)       # in pids {pids}",
        seen: Text {
            en: "the total is {process_total} instead of {expected}: {process_lost} updates lost (try {process_try}).",
            zh: "总数是 {process_total}，而不是 {expected}：丢失了 {process_lost} 次更新（第 {process_try} 次尝试）。",
        },
        means: Text {
            en: "processes race like threads as soon as they share something: memory, a file, a database. How many are lost is different each time; so is the chance that a test sees it. See the lessons join and lock.",
            zh: "进程只要共享了什么（内存、文件、数据库），就会像线程一样竞争。每次丢失多少都不同，测试能否发现也全凭运气。请看 join 和 lock 两课。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let expected = COUNTERS * ROUNDS;
    let alone = threads(ROUNDS, true);
    stage.saw("rounds", ROUNDS);
    stage.saw("counters", COUNTERS);
    stage.saw("expected", expected);
    stage.saw("alone_total", alone);
    stage.step(alone == expected)?;

    let (mut total, mut tries) = (expected, 0);
    while total == expected && tries < ATTEMPTS {
        tries += 1;
        total = threads(ROUNDS, false);
    }
    stage.saw("thread_total", total);
    stage.saw("thread_lost", expected - total);
    stage.saw("thread_try", tries);
    stage.step(total < expected)?;

    let mut counted = Counted { pids: Vec::new(), total: expected, took_us: 0 };
    let mut tries = 0;
    while counted.total == expected && tries < ATTEMPTS {
        tries += 1;
        counted = together(LESSON.name, ROUNDS, Hold::Never)?;
    }
    stage.saw("pids", counted.pids);
    stage.saw("process_total", counted.total);
    stage.saw("process_lost", expected - counted.total);
    stage.saw("process_try", tries);
    stage.step(counted.total < expected)
}

//! A race that is cured by order.

use crate::demo::Lesson;
use crate::demo::lessons::counting::{COUNTERS, Hold, one_by_one, part, threads, together};
use crate::demo::stage::{Stage, Taught};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "join",
    teaches: Text {
        en: "a race cured by order: start one, join it, start the next",
        zh: "用顺序消除竞争：启动一个，等它结束 (join)，再启动下一个",
    },
    steps: STEPS,
    teach,
    part,
};

const ROUNDS: i64 = 100_000;

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Start {counters} threads that add 1 to a shared number {rounds} times each, and join each before the next starts.",
            zh: "启动 {counters} 个线程，每个给共享的数加 1，共 {rounds} 次；每个都先 join，再启动下一个。",
        },
        call: "> for _ in 0..{counters} { thread::spawn(count).join() }",
        seen: Text {
            en: "the total is {thread_total}, of {expected}: {thread_lost} lost.",
            zh: "总数是 {thread_total}，应为 {expected}：丢失 {thread_lost}。",
        },
        means: Text {
            en: "join waits until the thread has ended. Who is alone with a number loses nothing.",
            zh: "join 会等到线程结束。独自面对一个数，就不会丢失任何东西。",
        },
    },
    Step {
        does: Text {
            en: "The same with {counters} processes and a number in shared memory.",
            zh: "换成 {counters} 个进程和一个位于共享内存的数。",
        },
        call: "> for _ in 0..{counters} { Command::new(program).spawn().wait() }",
        seen: Text {
            en: "pids {pids}; the total after each: {after_each}; {process_lost} lost.",
            zh: "编号 {pids}；每个结束后的总数：{after_each}；丢失 {process_lost}。",
        },
        means: Text {
            en: "waiting for a child also means that all it wrote is there: each began where the one before had ended.",
            zh: "等到子进程结束，也意味着它写下的一切都已就位：每一个都从前一个结束的地方开始。",
        },
    },
    Step {
        does: Text {
            en: "For comparison, the same processes at the same time.",
            zh: "作为对照，同样的进程同时运行。",
        },
        call: "> start all; wait for all",
        seen: Text {
            en: "the total is {together_total}: {together_lost} lost. In order it took {ordered_us} us of counting, together {together_us} us.",
            zh: "总数是 {together_total}：丢失 {together_lost}。按顺序计数用时 {ordered_us} 微秒，同时则为 {together_us} 微秒。",
        },
        means: Text {
            en: "joining after all have started is too late. Order is the simplest cure, and its price is that nothing runs at the same time. The lesson lock shows the other one.",
            zh: "全部启动之后再 join 就晚了。顺序是最简单的办法，代价是没有任何并行。另一种办法见 lock 一课。",
        },
    },
];

fn teach(stage: &mut Stage) -> Taught {
    let expected = COUNTERS * ROUNDS;
    let total = threads(ROUNDS, true);
    stage.saw("counters", COUNTERS);
    stage.saw("rounds", ROUNDS);
    stage.saw("expected", expected);
    stage.saw("thread_total", total);
    stage.saw("thread_lost", expected - total);
    stage.step(total == expected)?;

    let (ordered, after_each) = one_by_one(LESSON.name, ROUNDS)?;
    stage.saw("pids", ordered.pids);
    stage.saw("after_each", after_each.clone());
    stage.saw("process_lost", expected - ordered.total);
    let each_began_where_the_last_ended =
        after_each.iter().zip(1..).all(|(total, nth)| *total == nth * ROUNDS);
    stage.step(ordered.total == expected && each_began_where_the_last_ended)?;

    let mut together_counted = together(LESSON.name, ROUNDS, Hold::Never)?;
    // Luck may have kept them apart; then once more.
    for _ in 0..20 {
        if together_counted.total == expected {
            together_counted = together(LESSON.name, ROUNDS, Hold::Never)?;
        }
    }
    stage.saw("together_total", together_counted.total);
    stage.saw("together_lost", expected - together_counted.total);
    stage.saw("ordered_us", ordered.took_us);
    stage.saw("together_us", together_counted.took_us);
    stage.step(together_counted.total < expected)
}

//! Two processes in each other's way.

use std::io;

use ipc::sync::{Family, LockError, SyncOptions};

use crate::demo::Lesson;
use crate::demo::actor::{Actor, say, told};
use crate::demo::lessons::counting::now_us;
use crate::demo::stage::{Stage, Taught};
use crate::demo::text::{Step, Text};

pub const LESSON: Lesson = Lesson {
    name: "deadlock",
    teaches: Text {
        en: "two processes in each other's way: found, named, resolved, avoided",
        zh: "两个进程互相挡路：发现它、指出它、化解它、避免它",
    },
    steps: STEPS,
    teach,
    part,
};

const STEPS: &[Step] = &[
    Step {
        does: Text {
            en: "Let one process take the fork, and another the knife.",
            zh: "让一个进程拿走叉子，另一个拿走刀子。",
        },
        call: "> fork.acquire()                   # in ann, pid {ann_pid}\n> knife.acquire()                  # in bob, pid {bob_pid}",
        seen: Text {
            en: "the fork is held by {fork_holder}, the knife by {knife_holder}.",
            zh: "叉子在 {fork_holder} 手里，刀子在 {knife_holder} 手里。",
        },
        means: Text {
            en: "so far nobody waits. But each will want what the other one has.",
            zh: "到目前为止没有人在等。但每一方都会想要对方手里的东西。",
        },
    },
    Step {
        does: Text {
            en: "Let each take the other one too, and wait for it as long as it takes.",
            zh: "让双方再去拿另一件，并且一直等下去。",
        },
        call: "> knife.acquire()                  # in ann\n> fork.acquire()                   # in bob",
        seen: Text { en: "{loser} is told: {said}.", zh: "{loser} 得到的回答：{said}。" },
        means: Text {
            en: "each waits for the other, for ever: a deadlock. It was found by walking from each lock to its holder and on to what that one waits for, until the way came back. Exactly one of them gets an error that names both.",
            zh: "双方永远互相等待：这就是死锁。发现它的办法是：从锁走到持有者，再走到持有者所等的锁，直到路回到起点。两者中恰好有一个得到错误，其中指出了双方。",
        },
    },
    Step {
        does: Text {
            en: "Let the one who was told put back what it holds, and try again.",
            zh: "让得到错误的一方放回手里的东西，然后重来。",
        },
        call: "> drop(guard)                      # in {loser}",
        seen: Text {
            en: "{order} have eaten, in this order; exit codes {codes}.",
            zh: "{order} 依次吃完；退出码 {codes}。",
        },
        means: Text {
            en: "a deadlock is resolved when one gives way: the other one got both, finished, and let go. Nobody had to be killed.",
            zh: "只要一方让步，死锁就化解了：另一方拿到两件、吃完、放手。不必杀死任何进程。",
        },
    },
    Step {
        does: Text {
            en: "Let both take the fork first and the knife second, {meals} times each.",
            zh: "让双方都先拿叉子、后拿刀子，各 {meals} 次。",
        },
        call: "> fork.acquire(); knife.acquire()  # in both",
        seen: Text {
            en: "{ordered_meals} meals, {ordered_deadlocks} deadlocks.",
            zh: "吃了 {ordered_meals} 餐，死锁 {ordered_deadlocks} 次。",
        },
        means: Text {
            en: "where everybody takes locks in the same order no circle can arise. That is the way to avoid it; finding it is for when somebody did not.",
            zh: "如果大家都按同样的顺序拿锁，就不会形成环。这是避免死锁的办法；发现死锁，是为没有遵守顺序的时候准备的。",
        },
    },
];

const MEALS: usize = 200;

fn teach(stage: &mut Stage) -> Taught {
    let options = SyncOptions {
        locks: vec!["fork".to_owned(), "knife".to_owned()],
        participants: 16,
        ..Default::default()
    };
    let table = Family::create_anonymous("table", &options).map_err(io::Error::other)?;
    let path = table.descriptor_path().to_string_lossy().into_owned();

    let mut ann = Actor::of(LESSON.name, "eat", &[&path, "ann", "fork", "knife"])?;
    let mut bob = Actor::of(LESSON.name, "eat", &[&path, "bob", "knife", "fork"])?;
    ann.hear()?;
    bob.hear()?;
    let locks = table.locks().map_err(io::Error::other)?;
    let holders: Vec<Option<(u32, String)>> = locks.into_iter().map(|lock| lock.holder).collect();
    let expected =
        [(&ann, "ann"), (&bob, "bob")].map(|(who, name)| Some((who.pid().cast_unsigned(), name.to_owned())));
    let name = |holder: &Option<(u32, String)>| holder.as_ref().map(|(_, name)| name.clone());
    stage.saw("ann_pid", ann.pid());
    stage.saw("bob_pid", bob.pid());
    stage.saw("fork_holder", holders.first().and_then(name));
    stage.saw("knife_holder", holders.get(1).and_then(name));
    stage.step(holders == expected)?;

    ann.tell("go")?;
    bob.tell("go")?;
    // Each says what became of its second lock: one is told of the deadlock, the other gets it.
    let said = [ann.hear()?, bob.hear()?];
    let deadlocks: Vec<usize> = (0..2).filter(|who| said[*who].starts_with("deadlock")).collect();
    let loser = deadlocks.first().copied().unwrap_or(0);
    let names_both = [&ann, &bob].iter().all(|who| said[loser].contains(&format!("(pid {})", who.pid())));
    stage.saw("said_ann", said[0].clone());
    stage.saw("said_bob", said[1].clone());
    stage.saw("loser", ["ann", "bob"][loser]);
    stage.saw("said", said[loser].clone());
    stage.step(deadlocks.len() == 1 && names_both && said[1 - loser] == "has both")?;

    let ate = [ann.hear_number()?, bob.hear_number()?];
    let winner_first = ate[1 - loser] <= ate[loser];
    let order = if (loser == 1) == winner_first { ["ann", "bob"] } else { ["bob", "ann"] };
    let codes = [ann.join()?.code(), bob.join()?.code()];
    stage.saw("order", order.to_vec());
    stage.saw("codes", codes.iter().copied().flatten().collect::<Vec<i32>>());
    stage.step(codes == [Some(0), Some(0)] && winner_first)?;

    let mut eaters = Vec::new();
    for name in ["ann", "bob"] {
        eaters.push(Actor::of(LESSON.name, "feast", &[&path, name, "fork", "knife"])?);
    }
    for eater in &mut eaters {
        eater.hear()?;
        eater.tell("go")?;
    }
    let (mut eaten, mut deadlocks) = (0, 0);
    for eater in &mut eaters {
        eaten += eater.hear_number()?;
        deadlocks += eater.hear_number()?;
        eater.join()?;
    }
    stage.saw("meals", MEALS);
    stage.saw("ordered_meals", eaten);
    stage.saw("ordered_deadlocks", deadlocks);
    stage.step(eaten == 2 * MEALS as i64 && deadlocks == 0)
}

fn part(part: &str, arguments: &[String]) -> io::Result<()> {
    let [path, name, first, second] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
    let table = Family::open(path).map_err(io::Error::other)?;
    table.set_label(name).map_err(io::Error::other)?;
    let first = table.lock(first).map_err(io::Error::other)?;
    let second = table.lock(second).map_err(io::Error::other)?;
    let eat = || -> Result<(), LockError> { first.acquire().and_then(|_first| second.acquire().map(drop)) };
    if part == "feast" {
        say("ready")?;
        told()?;
        let ends: Vec<bool> = (0..MEALS).map(|_| eat().is_ok()).collect();
        let eaten = ends.iter().filter(|eaten| **eaten).count();
        say(eaten)?;
        return say(ends.len() - eaten);
    }
    let one = first.acquire().map_err(io::Error::other)?;
    say("has one")?;
    told()?;
    let both = match second.acquire() {
        Ok(two) => {
            say("has both")?;
            (one, two)
        }
        Err(deadlock) => {
            say(deadlock)?;
            drop(one);
            // In the order of the other one, so that this time it is a queue and no circle.
            let two = second.acquire().map_err(io::Error::other)?;
            (first.acquire().map_err(io::Error::other)?, two)
        }
    };
    say(now_us()?)?;
    drop(both);
    Ok(())
}

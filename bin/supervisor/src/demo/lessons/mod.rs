//! The lessons, in the order in which they are best learned.

mod arguments;
mod counting;
mod crash;
mod daemon;
mod deadlock;
mod files;
mod full_and_empty;
mod isolation;
mod join;
mod kill;
mod lock;
mod process;
mod queue;
mod race;
mod terminate;
mod wait;

use crate::demo::Lesson;

/// All of them.
pub const LESSONS: &[Lesson] = &[
    process::LESSON,
    arguments::LESSON,
    isolation::LESSON,
    crash::LESSON,
    wait::LESSON,
    kill::LESSON,
    terminate::LESSON,
    daemon::LESSON,
    race::LESSON,
    join::LESSON,
    lock::LESSON,
    deadlock::LESSON,
    files::LESSON,
    queue::LESSON,
    full_and_empty::LESSON,
];

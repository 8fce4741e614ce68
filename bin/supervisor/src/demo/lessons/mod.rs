//! The lessons, in the order in which they are best learned.

mod arguments;
mod crash;
mod daemon;
mod files;
mod isolation;
mod kill;
mod process;
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
    files::LESSON,
];

//! What is known of the end of a process beside how it ended.

use crate::instance::{Fate, State, Step};
use crate::words::Cause;
use crate::{InstanceId, Leftover, Process, Supervisor};

/// Something that an ending does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Its tree needed more memory than it may have, and the kernel killed a process of it. To be told before
    /// [`crate::Event::Ended`].
    OutOfMemory,
    /// It left a core dump. To be told before [`crate::Event::Ended`].
    CoreDumped,
    /// So many processes of its tree still lived when its leader ended by itself. To be told between
    /// [`crate::Event::Ended`] and [`crate::Event::Emptied`].
    LeftBehind(u32),
}

impl Supervisor {
    pub(crate) fn remarked(&mut self, process: Process, remark: Remark) {
        let id = process.instance;
        if !self.is_present(process) {
            return;
        }
        match remark {
            // Want of memory is the reason, whatever was dumped because of it.
            Remark::CoreDumped if self.member(id).remark == Some(Remark::OutOfMemory) => {}
            Remark::OutOfMemory | Remark::CoreDumped => {
                self.change(id, |member| member.remark = Some(remark));
            }
            Remark::LeftBehind(count) => self.it_left_others(id, count, remark),
        }
    }

    fn it_left_others(&mut self, id: InstanceId, count: u32, remark: Remark) {
        if count == 0 || self.crew(id.worker).spec.leftover != Leftover::Fail {
            return;
        }
        let State::Leaving { step: Step::Clearing, fate } = &self.member(id).state else { return };
        let failed = |cause: &Cause| match cause {
            // Told again, when some of them are gone: the first number counts.
            Cause::Ended { remark: Some(Remark::LeftBehind(_)), .. } => None,
            Cause::Ended { ending, said, .. } => {
                Some(Cause::Ended { ending: *ending, remark: Some(remark), said: said.clone() })
            }
            _ => None,
        };
        let next = match fate {
            Fate::Policy(cause) => failed(cause).map(Fate::Policy),
            Fate::PolicyOrStopped(cause) => failed(cause).map(Fate::PolicyOrStopped),
            _ => None,
        };
        if let Some(next) = next {
            self.destine(id, next);
        }
    }
}

impl Remark {
    /// The words, to follow those of an ending.
    pub(crate) fn words(self) -> String {
        match self {
            Remark::OutOfMemory => "out of memory".to_owned(),
            Remark::CoreDumped => "core dumped".to_owned(),
            Remark::LeftBehind(1) => "but it left a process behind".to_owned(),
            Remark::LeftBehind(count) => format!("but it left {count} processes behind"),
        }
    }
}

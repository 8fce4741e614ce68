//! Why an instance stands where it stands: a value inside the core, words for people outside.

use std::sync::Arc;
use std::time::Duration;

use crate::{Ending, InstanceId, Intensity, LaunchFailure, Milestone, Remark, WorkerId};

/// How a launch came to its end by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cause {
    Ended(Ending),
    /// It ended, and more is known of that.
    Remarked(Ending, Remark),
    NotReady(Duration),
    NotExecuted(LaunchFailure),
}

/// What is to blame for where an instance stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Blame {
    Nothing,
    NeverStarted,
    Cause(Cause),
    /// It may not be started again so soon.
    Spent(Intensity, Cause),
    /// Its family may not be started again so soon.
    FamilySpent(Intensity, Cause),
    /// Not everything has happened yet that it comes after; this is the first that has not.
    Waits(WorkerId, Milestone),
    /// It is executed but has not said that it is ready.
    Unready,
    /// It rests, and its group is started again with it: that had spent its restarts.
    GroupSpent(Arc<str>, Intensity, Cause),
    /// Another failed for good: the first in the chain, and why.
    Lost(Arc<(InstanceId, Blame)>),
    /// Another ended before it was ready.
    NeverReady(InstanceId),
    /// Another is always started again.
    NeverEnds(WorkerId),
    Circle,
    NoSuchWorker,
    /// Another was taken out of the config.
    Removed(WorkerId),
    Requested,
    StartsAgain,
    /// What the config says of it has changed.
    Changes,
    /// What it comes after has changed, and must be gone first.
    AfterChange(WorkerId),
    /// It is started again for the sake of this one.
    Together(InstanceId),
    Vanishes,
    TakenOut,
    WorkDone,
    Told,
    /// An essential one ended for good, and how.
    Essential(Arc<(InstanceId, Blame)>),
}

impl Blame {
    /// The words. Lower case, no full stop; empty when there is nothing to say.
    pub(crate) fn words(&self, names: &dyn Names) -> String {
        match self {
            Blame::Nothing => String::new(),
            Blame::NeverStarted => "not started".into(),
            Blame::Cause(cause) => cause.words(),
            Blame::Spent(allowed, last) => spent(*allowed, "", last),
            Blame::FamilySpent(allowed, last) => spent(*allowed, " of the family", last),
            Blame::GroupSpent(group, allowed, last) => {
                let spent = spent(*allowed, &format!(" of the group {group}"), last);
                format!("{spent}; the group is started again")
            }
            Blame::Waits(worker, milestone) => {
                let milestone = match milestone {
                    Milestone::Started => "to start",
                    Milestone::Ready => "to be ready",
                    Milestone::Succeeded => "to succeed",
                    Milestone::Ended => "to end",
                };
                format!("waits for {} {milestone}", names.worker(*worker))
            }
            Blame::Unready => "not ready yet".into(),
            Blame::Lost(loss) => format!("{} failed: {}", names.instance(loss.0), loss.1.words(names)),
            Blame::NeverReady(id) => format!("{} ended before it was ready", names.instance(*id)),
            Blame::NeverEnds(id) => {
                format!("{} is always started again, it never succeeds", names.worker(*id))
            }
            Blame::Circle => "waits for one that waits for it".into(),
            Blame::NoSuchWorker => "waits for a worker that does not exist".into(),
            Blame::Removed(id) => format!("{} was taken out of the config", names.worker(*id)),
            Blame::Requested => "stopped by request".into(),
            Blame::Changes => "its config has changed".into(),
            Blame::AfterChange(id) => {
                format!("waits for {} to be gone, which has changed", names.worker(*id))
            }
            Blame::StartsAgain => "is started again once it is gone".into(),
            Blame::Together(id) => format!("is started again together with {}", names.instance(*id)),
            Blame::Vanishes => "scaled away".into(),
            Blame::TakenOut => "taken out of the config".into(),
            Blame::WorkDone => "the run's work is done".into(),
            Blame::Told => "the run was told to stop".into(),
            Blame::Essential(end) => {
                let how = end.1.words(names);
                format!("{}, which is essential, ended: {how}", names.instance(end.0))
            }
        }
    }
}

fn spent(allowed: Intensity, whose: &str, last: &Cause) -> String {
    let last = last.words();
    match allowed.restarts {
        0 => format!("no restarts{whose} allowed; last: {last}"),
        1 => format!("1 restart{whose} within {}; last: {last}", length(allowed.within)),
        many => format!("{many} restarts{whose} within {}; last: {last}", length(allowed.within)),
    }
}

impl Cause {
    fn words(&self) -> String {
        match self {
            Cause::Remarked(ending, remark) => {
                format!("{}, {}", Cause::Ended(*ending).words(), remark.words())
            }
            Cause::Ended(Ending::Code(code)) => format!("exit code {code}"),
            Cause::Ended(Ending::Signal(signal)) => match signal_name(*signal) {
                Some(name) => format!("killed by signal {signal} ({name})"),
                None => format!("killed by signal {signal}"),
            },
            Cause::Ended(Ending::Unknown) => "ended, and nobody could learn how".into(),
            Cause::NotReady(within) => format!("not ready within {}", length(*within)),
            Cause::NotExecuted(failure) => failure.0.clone(),
        }
    }
}

/// What people call workers and instances.
pub(crate) trait Names {
    fn worker(&self, id: WorkerId) -> String;
    /// `db`; or `db:1` where there are several.
    fn instance(&self, id: InstanceId) -> String;
}

/// A length of time as the config writes it: exact, in the largest unit that makes it whole.
fn length(length: Duration) -> String {
    let nanos = length.as_nanos();
    let units = [("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000), ("ns", 1)];
    let (unit, size) = if nanos == 0 {
        ("s", 1)
    } else {
        units.into_iter().find(|(_, size)| nanos.is_multiple_of(*size)).unwrap_or(("ns", 1))
    };
    format!("{}{unit}", nanos / size)
}

fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    NAMES.get(usize::try_from(signal).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_in_the_config() {
        let written: Vec<String> = [0, 250, 1000, 1500, 10_000, 60_000, 90_000, 300_000]
            .map(|ms| length(Duration::from_millis(ms)))
            .into();
        assert_eq!(written, ["0s", "250ms", "1s", "1500ms", "10s", "1m", "90s", "5m"]);
    }

    #[test]
    fn endings_are_named() {
        let words = |ending| Cause::Ended(ending).words();
        assert_eq!(words(Ending::Code(3)), "exit code 3");
        assert_eq!(words(Ending::Signal(9)), "killed by signal 9 (KILL)");
        assert_eq!(words(Ending::Signal(31)), "killed by signal 31 (SYS)");
        assert_eq!(words(Ending::Signal(34)), "killed by signal 34");
        assert_eq!(words(Ending::Signal(0)), "killed by signal 0");
        assert_eq!(words(Ending::Signal(i32::MIN)), "killed by signal -2147483648");
    }
}

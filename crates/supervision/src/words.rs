//! Why an instance stands where it stands: a value inside the core, words for people outside.

use std::sync::Arc;
use std::time::Duration;

use crate::{Ending, InstanceId, Intensity, LaunchFailure, Milestone, Remark, WorkerId};

/// How a launch came to its end by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cause {
    /// It ended; what more is known of that; and what it said went wrong, if it said anything.
    Ended {
        ending: Ending,
        remark: Option<Remark>,
        said: Option<Box<str>>,
    },
    /// It says that it is about to end; how, is not known yet.
    Departing,
    /// It was not ready in time; and why it was not when it was last asked.
    NotReady(Duration, Option<Box<str>>),
    /// It could no longer become ready.
    NeverReady(Box<str>),
    /// It gave no sign of life for so long.
    Silent(Duration),
    /// It said that something was wrong with it.
    Ailing,
    /// So many probes in a row failed, the last one for this reason.
    Unhealthy(u32, Box<str>),
    NotExecuted(LaunchFailure),
}

/// What is to blame for where an instance stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Blame {
    Nothing,
    NeverStarted,
    Cause(Cause),
    /// It may not be started again so soon.
    Spent(Box<(Intensity, Cause)>),
    /// Its family may not be started again so soon.
    FamilySpent(Box<(Intensity, Cause)>),
    /// Not everything has happened yet that it comes after; this is the first that has not.
    Waits(WorkerId, Milestone),
    /// It is executed but not ready; and why it was not when it was last asked.
    Unready(Option<Box<str>>),
    /// So many probes of so many that are allowed failed, the last one for this reason.
    Poorly(u32, u32, Box<str>),
    /// It rests, and its group is started again with it: that had spent its restarts.
    GroupSpent(Box<(Arc<str>, Intensity, Cause)>),
    /// Another failed for good: the first in the chain, and why.
    Lost(Arc<(InstanceId, Blame)>),
    /// Another ended before it was ready.
    NeverReady(InstanceId),
    /// Another is always started again.
    NeverEnds(WorkerId),
    /// Another runs by the clock, again and again.
    Scheduled(WorkerId),
    /// Its start is delayed by so much.
    Delayed(Duration),
    /// Its time has not come yet.
    NotDue,
    /// Its last run is over, and how; the next is not due yet.
    BetweenRuns(Box<Blame>),
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
    /// What it left behind was asked to stop, and must be gone first.
    AfterLeftovers,
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
            Blame::Spent(what) => spent(what.0, "", &what.1),
            Blame::FamilySpent(what) => spent(what.0, " of the family", &what.1),
            Blame::GroupSpent(what) => {
                let (group, allowed, last) = &**what;
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
            Blame::Unready(None) => "not ready yet".into(),
            Blame::Unready(Some(why)) => format!("not ready yet: {why}"),
            Blame::Poorly(failed, of, why) => format!("{failed} of {of} health probes failed: {why}"),
            Blame::Lost(loss) => format!("{} failed: {}", names.instance(loss.0), loss.1.words(names)),
            Blame::NeverReady(id) => format!("{} ended before it was ready", names.instance(*id)),
            Blame::NeverEnds(id) => {
                format!("{} is always started again, it never succeeds", names.worker(*id))
            }
            Blame::Scheduled(id) => {
                format!("{} runs by the clock again and again, it never ends", names.worker(*id))
            }
            Blame::Delayed(by) => format!("its start is delayed by {}", length(*by)),
            Blame::NotDue => "waits for its time".into(),
            Blame::BetweenRuns(last) => format!("between two runs; last: {}", last.words(names)),
            Blame::Circle => "waits for one that waits for it".into(),
            Blame::NoSuchWorker => "waits for a worker that does not exist".into(),
            Blame::Removed(id) => format!("{} was taken out of the config", names.worker(*id)),
            Blame::Requested => "stopped by request".into(),
            Blame::Changes => "its config has changed".into(),
            Blame::AfterChange(id) => {
                format!("waits for {} to be gone, which has changed", names.worker(*id))
            }
            Blame::StartsAgain => "is started again once it is gone".into(),
            Blame::AfterLeftovers => "waits for what it left behind to be gone".into(),
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
            Cause::Ended { ending, remark, said } => {
                let mut words = ended(*ending);
                if let Some(remark) = remark {
                    words = format!("{words}, {}", remark.words());
                }
                if let Some(said) = said {
                    words = format!("{words}; it said: {said}");
                }
                words
            }
            Cause::Departing => "says that it is stopping".into(),
            Cause::NotReady(within, None) => format!("not ready within {}", length(*within)),
            Cause::NotReady(within, Some(last)) => {
                format!("not ready within {}; last: {last}", length(*within))
            }
            Cause::NeverReady(why) => format!("not ready: {why}"),
            Cause::Silent(every) => format!("no sign of life within {}", length(*every)),
            Cause::Ailing => "said that something is wrong with it".into(),
            Cause::Unhealthy(1, last) => format!("unhealthy: {last}"),
            Cause::Unhealthy(failures, last) => {
                format!("unhealthy: {failures} probes in a row failed; last: {last}")
            }
            Cause::NotExecuted(failure) => failure.0.clone(),
        }
    }
}

pub(crate) fn ended(ending: Ending) -> String {
    match ending {
        Ending::Code(code) => format!("exit code {code}"),
        Ending::Signal(signal) => match signal_name(signal) {
            Some(name) => format!("killed by signal {signal} ({name})"),
            None => format!("killed by signal {signal}"),
        },
        Ending::Unknown => "ended, and nobody could learn how".into(),
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
    let units = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1000),
        ("ns", 1),
    ];
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
        let written: Vec<String> = [0, 250, 1000, 1500, 10_000, 60_000, 90_000, 300_000, 7_200_000]
            .map(|ms| length(Duration::from_millis(ms)))
            .into();
        assert_eq!(written, ["0s", "250ms", "1s", "1500ms", "10s", "1m", "90s", "5m", "2h"]);
    }

    #[test]
    fn endings_are_named() {
        let words = |ending| Cause::Ended { ending, remark: None, said: None }.words();
        assert_eq!(words(Ending::Code(3)), "exit code 3");
        assert_eq!(words(Ending::Signal(9)), "killed by signal 9 (KILL)");
        assert_eq!(words(Ending::Signal(31)), "killed by signal 31 (SYS)");
        assert_eq!(words(Ending::Signal(34)), "killed by signal 34");
        assert_eq!(words(Ending::Signal(0)), "killed by signal 0");
        assert_eq!(words(Ending::Signal(i32::MIN)), "killed by signal -2147483648");
    }
}

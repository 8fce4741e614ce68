//! How the core's values are written down: as JSON, and back to the very same values.
//!
//! Each type stands here once, taken apart by name, so that a new member cannot be forgotten: it does not compile then.
//! A struct is an object of its members; a variant is its name, or an object of its name and a list of what is in it.

use std::time::Duration;

use serde_json::{Map, Value};
use supervision::{
    Action, After, Backoff, CatchUp, Change, Conclusion, Ending, Event, Family, Group, GroupId, Health,
    InstanceId, Intensity, Launch, LaunchFailure, Leftover, Manner, Milestone, Moment, OnFailed, Overlap,
    Policy, Process, Purpose, Readiness, Remark, Request, Restart, Schedule, Strategy, Target, Timing,
    Worker, WorkerId,
};

/// A value that can be written down.
pub trait Wire: Sized {
    /// As JSON.
    fn write(&self) -> Value;

    /// Back from it; `None`: it is not what [`Wire::write`] makes.
    fn read(value: &Value) -> Option<Self>;
}

macro_rules! numbers {
    ($( $type:ty ),+) => { $(
        impl Wire for $type {
            fn write(&self) -> Value {
                (*self).into()
            }

            fn read(value: &Value) -> Option<$type> {
                serde_json::from_value(value.clone()).ok()
            }
        }
    )+ };
}

numbers! { u32, u64, i32, bool }

/// As text: that comes back exactly, and can be read.
impl Wire for f64 {
    fn write(&self) -> Value {
        format!("{self:?}").into()
    }

    fn read(value: &Value) -> Option<f64> {
        value.as_str()?.parse().ok()
    }
}

impl Wire for String {
    fn write(&self) -> Value {
        self.as_str().into()
    }

    fn read(value: &Value) -> Option<String> {
        Some(value.as_str()?.to_owned())
    }
}

/// In nanoseconds.
impl Wire for Duration {
    fn write(&self) -> Value {
        match u64::try_from(self.as_nanos()) {
            Ok(nanos) => nanos.into(),
            // Beyond five hundred years it is as text.
            Err(_) => format!("{}.{:09}", self.as_secs(), self.subsec_nanos()).into(),
        }
    }

    fn read(value: &Value) -> Option<Duration> {
        if let Some(nanos) = value.as_u64() {
            return Some(Duration::from_nanos(nanos));
        }
        let (seconds, nanos) = value.as_str()?.split_once('.')?;
        Some(Duration::new(seconds.parse().ok()?, nanos.parse().ok()?))
    }
}

/// In nanoseconds from the start of the run.
impl Wire for Moment {
    fn write(&self) -> Value {
        self.as_nanos().into()
    }

    fn read(value: &Value) -> Option<Moment> {
        Some(Moment::from_nanos(value.as_u64()?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::write)
    }

    fn read(value: &Value) -> Option<Option<T>> {
        if value.is_null() { Some(None) } else { T::read(value).map(Some) }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self) -> Value {
        self.iter().map(T::write).collect()
    }

    fn read(value: &Value) -> Option<Vec<T>> {
        value.as_array()?.iter().map(T::read).collect()
    }
}

impl<T: Wire> Wire for Box<T> {
    fn write(&self) -> Value {
        T::write(self)
    }

    fn read(value: &Value) -> Option<Box<T>> {
        T::read(value).map(Box::new)
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn write(&self) -> Value {
        let (name, value) = match self {
            Ok(value) => ("ok", value.write()),
            Err(error) => ("err", error.write()),
        };
        Map::from_iter([(name.to_owned(), value)]).into()
    }

    fn read(value: &Value) -> Option<Result<T, E>> {
        match (value.get("ok"), value.get("err")) {
            (Some(value), None) => T::read(value).map(Ok),
            (None, Some(error)) => E::read(error).map(Err),
            _ => None,
        }
    }
}

impl Wire for () {
    fn write(&self) -> Value {
        Value::Null
    }

    fn read(value: &Value) -> Option<()> {
        value.is_null().then_some(())
    }
}

impl<A: Wire, B: Wire, C: Wire> Wire for (A, B, C) {
    fn write(&self) -> Value {
        vec![self.0.write(), self.1.write(), self.2.write()].into()
    }

    fn read(value: &Value) -> Option<(A, B, C)> {
        let [a, b, c] = value.as_array()?.as_slice() else { return None };
        Some((A::read(a)?, B::read(b)?, C::read(c)?))
    }
}

macro_rules! newtypes {
    ($( $type:ident ),+) => { $(
        impl Wire for $type {
            fn write(&self) -> Value {
                let $type(inner) = self;
                inner.write()
            }

            fn read(value: &Value) -> Option<$type> {
                Wire::read(value).map($type)
            }
        }
    )+ };
}

newtypes! { WorkerId, GroupId, Launch, LaunchFailure }

macro_rules! structs {
    ($( $type:ident { $( $field:ident ),+ } )+) => { $(
        impl Wire for $type {
            fn write(&self) -> Value {
                let $type { $( $field ),+ } = self;
                let mut object = Map::new();
                $( object.insert(stringify!($field).to_owned(), $field.write()); )+
                object.into()
            }

            fn read(value: &Value) -> Option<$type> {
                Some($type { $( $field: Wire::read(value.get(stringify!($field))?)? ),+ })
            }
        }
    )+ };
}

structs! {
    InstanceId { worker, index }
    Process { instance, launch }
    Family { workers, strategy, intensity, stop_within, groups, lasts, seed }
    Group { name, strategy, intensity, workers, groups }
    Worker {
        name, instances, policy, restart, success_codes, backoff, intensity, on_failed, essential, grace, asks_tree, after,
        readiness, leftover, watchdog, health, schedule, start_delay, autostart
    }
    Backoff { initial, factor, max, jitter, reset_after }
    Intensity { restarts, within }
    After { worker, milestone }
    Health { every, timeout, failures, start_grace }
    Schedule { timing, overlap, catch_up }
    Change { removed, changed, added, order, stop_within, strategy, intensity, groups }
}

macro_rules! enums {
    ($( $type:ident { $( $variant:ident $( ( $( $place:ident ),+ ) )? $( { $( $field:ident ),+ } )? ),+ } )+) => { $(
        impl Wire for $type {
            fn write(&self) -> Value {
                match self {
                    $( $type::$variant $( ( $( $place ),+ ) )? $( { $( $field ),+ } )? => {
                        let parts: Vec<Value> =
                            vec![$( $( $place.write() ),+ )? $( $( $field.write() ),+ )?];
                        variant(stringify!($variant), parts)
                    } )+
                }
            }

            fn read(value: &Value) -> Option<$type> {
                let (name, parts) = parts_of(value)?;
                #[allow(unused_mut, unused_variables)]
                let mut parts = parts.iter();
                $( if name == stringify!($variant) {
                    $( $( let $place = Wire::read(parts.next()?)?; )+ )?
                    $( $( let $field = Wire::read(parts.next()?)?; )+ )?
                    return Some($type::$variant $( ( $( $place ),+ ) )? $( { $( $field ),+ } )?);
                } )+
                None
            }
        }
    )+ };
}

fn variant(name: &str, parts: Vec<Value>) -> Value {
    if parts.is_empty() {
        return name.into();
    }
    Map::from_iter([(name.to_owned(), Value::from(parts))]).into()
}

/// The name of a variant, and what is in it.
pub fn parts_of(value: &Value) -> Option<(&str, &[Value])> {
    if let Some(name) = value.as_str() {
        return Some((name, &[]));
    }
    let mut members = value.as_object()?.iter();
    match (members.next(), members.next()) {
        (Some((name, parts)), None) => Some((name, parts.as_array()?)),
        _ => None,
    }
}

enums! {
    Strategy { OneForOne, OneForAll, RestForOne }
    Policy { Wait, Terminate, Daemon }
    Restart { Never, OnFailure, Always }
    OnFailed { Ignore, Stop }
    Leftover { Kill, Fail, Adopt }
    Remark { OutOfMemory, CoreDumped, LeftBehind(count) }
    Milestone { Started, Ready, Succeeded, Ended }
    Manner { Keep, Restart, Roll }
    Readiness { Start, Told { timeout }, Probed { timeout } }
    Timing { Every(every), Told }
    Overlap { Skip, Queue, Replace }
    CatchUp { Skip, Once, All }
    Purpose { Readiness, Health }
    Ending { Code(code), Signal(signal), Unknown }
    Target { Worker(worker), Instance(instance) }
    Request {
        Start(target), Stop(target), Restart(target), Roll(worker), Add(worker), Scale(worker, instances), Change(change)
    }
    Event {
        Begin, TakenBack(process), Launched(process), LaunchFailed(process, failure), Ready(process), NeverReady(process, why),
        Probed(process, purpose, answer), Alive(process), Beats(process, every), Ails(process),
        NeedsTime(process, more), Departs(process), Complains(process, what), Ended(process, ending), Emptied(process), Adopted(process, count), Reclaimed(process), Remarked(process, remark), Due { worker, times, on_time }, Asked(request), Shutdown, ShutdownNow, Tick
    }
    Action {
        Launch(process), Ask(process), Probe(process, purpose, within), Abort(process), Kill(process), Await(process), Adopt(process), AskLeftovers(process), KillLeftovers(process), Reclaim(process), Changed(instance), Retired(worker),
        Unretired(worker), Removed(worker), Rolled(worker, outcome), GaveUp(group, culprit), Conclude(conclusion)
    }
    Conclusion { Succeeded, Failed { instance, ending }, Essential { instance, ending } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<T: Wire + PartialEq + std::fmt::Debug>(value: &T) {
        let text = value.write().to_string();
        let read = serde_json::from_str(&text).ok().and_then(|value| T::read(&value));
        assert_eq!(read.as_ref(), Some(value), "{text}");
    }

    fn process() -> Process {
        Process { instance: InstanceId { worker: WorkerId(3), index: 1 }, launch: Launch(u64::MAX) }
    }

    #[test]
    fn a_family_comes_back_as_it_was() {
        let worker = Worker {
            backoff: Backoff { factor: 1.1, jitter: 0.1 + 0.2, max: Duration::MAX, ..Backoff::default() },
            after: vec![After { worker: WorkerId(0), milestone: Milestone::Succeeded }],
            readiness: Readiness::Told { timeout: Duration::from_nanos(1) },
            success_codes: vec![0, -3],
            ..Worker::named("a \"b\" ü\n")
        };
        let group = Group {
            name: "g".into(),
            strategy: Strategy::RestForOne,
            intensity: Intensity::default(),
            workers: vec![WorkerId(0)],
            groups: vec![GroupId(1)],
        };
        let family = Family { groups: vec![group], seed: u64::MAX, ..Family::of(vec![worker.clone()]) };
        comes_back(&family);
        let change = Change {
            changed: vec![(WorkerId(1), worker.clone(), Manner::Restart)],
            added: vec![worker],
            ..Change::default()
        };
        comes_back(&Event::Asked(Request::Change(Box::new(change))));
    }

    #[test]
    fn events_and_actions_come_back_as_they_were() {
        let instance = process().instance;
        for event in [
            Event::Begin,
            Event::LaunchFailed(process(), LaunchFailure("exec: no".into())),
            Event::Ended(process(), Ending::Signal(9)),
            Event::Ended(process(), Ending::Unknown),
            Event::Adopted(process(), 3),
            Event::Asked(Request::Scale(WorkerId(1), 2)),
            Event::Asked(Request::Roll(WorkerId(1))),
            Event::Asked(Request::Stop(Target::Instance(instance))),
            Event::Asked(Request::Add(Box::new(Worker::named("w")))),
        ] {
            comes_back(&event);
        }
        for action in [
            Action::Launch(process()),
            Action::AskLeftovers(process()),
            Action::GaveUp(GroupId(1), instance),
            Action::Rolled(WorkerId(1), Ok(())),
            Action::Rolled(WorkerId(1), Err("web:2 did not get ready: exit code 7".into())),
            Action::Conclude(Conclusion::Failed { instance, ending: None }),
            Action::Conclude(Conclusion::Essential { instance, ending: Some(Ending::Code(3)) }),
        ] {
            comes_back(&action);
        }
    }

    #[test]
    fn what_is_something_else_is_nothing() {
        for text in ["null", "1", "\"Nonsense\"", "{}", "{\"Launched\":[]}", "{\"Launched\":{}}", "[]"] {
            assert_eq!(Event::read(&serde_json::from_str(text).expect("JSON")), None, "{text}");
        }
    }
}

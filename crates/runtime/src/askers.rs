//! Who asked for what: kept for those who ask why something stands where it stands.

use std::collections::BTreeMap;

use control::Peer;
use control::api::{AskedBy, Request, Who};
use process::Pid;
use supervision::{Instance, InstanceId, Moment, Phase};

use crate::the_loop::Loop;

/// Somebody who asks for something, as the kernel told when it did.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    what: String,
    uid: Option<u32>,
    pid: Option<i32>,
    command: Option<String>,
}

/// The last asker of each instance, and the one who ended the run. As many as there are instances.
#[derive(Debug, Default)]
pub struct Askers {
    last: BTreeMap<InstanceId, (Moment, Asker)>,
    stop: Option<(Moment, Asker)>,
}

impl Askers {
    /// The run is told to stop.
    pub fn told_to_stop(&mut self, by: Asker, now: Moment) {
        self.stop.get_or_insert((now, by));
    }

    /// An instance is no more.
    pub fn forget(&mut self, id: InstanceId) {
        self.last.remove(&id);
    }
}

impl Asker {
    /// Who sends this request, if it changes anything.
    pub fn of(request: &Request, peer: Peer) -> Option<Asker> {
        let what = match request {
            Request::Start { .. } => "start",
            Request::Stop { .. } => "stop",
            Request::Restart { .. } => "restart",
            Request::Scale { .. } => "scale",
            Request::Kill(_) => "kill",
            Request::Shutdown { .. } => "shutdown",
            Request::Plan { .. } => "plan",
            Request::Apply { .. } => "apply",
            _ => return None,
        };
        // A process that cannot be seen has no pid here.
        let pid = Some(peer.pid).filter(|pid| *pid > 0);
        Some(Asker {
            what: what.to_owned(),
            uid: Some(peer.uid),
            pid,
            command: pid.map(|pid| process::cmdline(Pid::from_raw(pid))),
        })
    }

    /// Who sent the supervisor a signal.
    pub fn signal(name: &str, pid: Option<i32>) -> Asker {
        let pid = pid.filter(|pid| *pid > 0);
        Asker {
            what: format!("signal {name} to the supervisor"),
            uid: None,
            pid,
            command: pid.map(|pid| process::cmdline(Pid::from_raw(pid))),
        }
    }
}

impl Loop {
    /// Notes who asks, for all that the request concerns.
    pub(crate) fn note_asker(&mut self, request: &Request, by: Option<&Asker>) {
        let Some(by) = by else { return };
        let names: Vec<String> = match request {
            Request::Start { workers, .. }
            | Request::Stop { workers, .. }
            | Request::Restart { workers, .. } => workers.clone(),
            Request::Scale { workers, .. } => workers.iter().map(|size| size.worker.clone()).collect(),
            // It only says who would be concerned.
            Request::Kill(kill) if kill.dry_run => return,
            Request::Kill(kill) => match &kill.whom {
                Who::Worker(worker) => vec![worker.clone()],
                Who::Pid(pid) => {
                    let owner = self.processes.led_by(*pid).map(|process| process.instance);
                    return self.note_asked(owner.into_iter().collect(), by);
                }
            },
            Request::Shutdown { .. } => return self.askers.told_to_stop(by.clone(), self.clock.now()),
            _ => return,
        };
        // A name that is nobody's is refused by the request itself.
        let concerned = names.iter().filter_map(|name| self.instances_of(std::slice::from_ref(name)).ok());
        let concerned = match request {
            Request::Scale { .. } => self.not_stopped(concerned.flatten()),
            _ => concerned.flatten().collect(),
        };
        self.note_asked(concerned, by);
    }

    /// Those that are not stopped. Who is stays so though its config or its number of fellows changes: who stopped it is to
    /// blame as before.
    pub(crate) fn not_stopped(&self, all: impl Iterator<Item = InstanceId>) -> Vec<InstanceId> {
        let is_stopped = |id: InstanceId| matches!(self.core.standing(id), Some((Phase::Stopped, _)));
        all.filter(|id| !is_stopped(*id)).collect()
    }

    /// Notes who asks for something of these.
    pub(crate) fn note_asked(&mut self, concerned: Vec<InstanceId>, by: &Asker) {
        let now = self.clock.now();
        self.askers.last.extend(concerned.into_iter().map(|id| (id, (now, by.clone()))));
    }

    /// Who last asked for something of an instance; once the run is being stopped, who asked for that.
    pub(crate) fn asked_by(&self, instance: &Instance) -> Option<AskedBy> {
        let own = self.askers.last.get(&instance.id);
        let stop = self.askers.stop.as_ref().filter(|_| instance.why == "the run was told to stop");
        let (at, Asker { what, uid, pid, command }) = stop.or(own)?;
        Some(AskedBy {
            what: what.clone(),
            uid: *uid,
            pid: *pid,
            command: command.clone(),
            ago_s: self.clock.now().since(*at).as_secs_f64(),
        })
    }
}

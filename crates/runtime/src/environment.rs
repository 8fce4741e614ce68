//! The environment of a launch: what the supervisor has, what the config says, and who the worker is.
//!
//! What all workers share is kept as their programs get it; the rest is put together at each launch, so that a worker
//! costs nothing here, and a launch little.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use process::{Entries, Variables};
use supervision::{Policy, Process};

use crate::attendant::{self, Role};
use crate::setup::WorkerSetup;
use crate::words;

/// What a program finds in `PATH` when nobody says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that say which run, worker and launch a process belongs to. A run inside a run does not inherit them.
const OURS: [&str; 19] = [
    "SUPERVISOR_NAME",
    "SUPERVISOR_SOCKET",
    "SUPERVISOR_FOLDER",
    "SUPERVISOR_WORKER",
    "SUPERVISOR_INSTANCE",
    "SUPERVISOR_LAUNCH",
    "SUPERVISOR_PID",
    "SUPERVISOR_POLICY",
    "SUPERVISOR_LEADER",
    "SUPERVISOR_ATTENDS",
    "SUPERVISOR_ARGS",
    "SUPERVISOR_KWARGS",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    PROBE,
];

/// The variable that marks what a probe started, with the probe's number.
pub const PROBE: &str = "SUPERVISOR_PROBE";

/// Paths that a launch is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paths<'a> {
    /// Its notification socket.
    pub notify: Option<&'a Path>,
    /// Its control socket, where that is not the run's own.
    pub door: Option<&'a Path>,
    /// Its folder of temporary files.
    pub tmp: Option<&'a Path>,
}

/// What the environments of all launches have in common.
#[derive(Debug)]
pub struct Environment {
    /// What the supervisor has itself, with the `PATH` of workers that say nothing of it.
    inherited: Arc<Entries>,
    /// What says which run they belong to.
    run: Arc<Entries>,
    socket: PathBuf,
    programs: Option<PathBuf>,
}

impl Environment {
    /// The environments of the run `run` of this process, whose control socket is at this path.
    pub fn new(run: &str, programs: Option<&Path>, socket: &Path) -> Environment {
        let mut environment = Environment {
            inherited: Arc::default(),
            run: Arc::new(of_run(run, socket)),
            socket: socket.to_owned(),
            programs: programs.map(Path::to_owned),
        };
        let ours = |name: &OsStr| OURS.iter().any(|ours| name == *ours);
        let mut inherited: BTreeMap<OsString, OsString> =
            std::env::vars_os().filter(|(name, _)| !ours(name)).collect();
        let path = environment.path(inherited.get(OsStr::new("PATH")).map(OsString::as_os_str));
        inherited.insert("PATH".into(), path);
        let mut entries = Entries::default();
        for (name, value) in &inherited {
            entries.push(name.as_bytes(), value.as_bytes());
        }
        environment.inherited = Arc::new(entries);
        environment
    }

    /// All variables of one launch. What cannot be expressed (a NUL inside) is left out.
    pub fn of_launch(
        &self,
        worker: &WorkerSetup,
        name: &str,
        policy: Policy,
        process: Process,
        Paths { notify, door, tmp }: Paths<'_>,
    ) -> Variables {
        let kept = &worker.kept;
        let mut own = marks(name, policy, process);
        own.push("SUPERVISOR_ARGS", worker.args.as_bytes());
        own.push("SUPERVISOR_KWARGS", worker.kwargs.as_bytes());
        let mut run = Arc::clone(&self.run);
        if let Some(door) = door {
            run = Arc::new(run.filtered(|name| name != b"SUPERVISOR_SOCKET"));
            own.push("SUPERVISOR_SOCKET", door.as_os_str().as_bytes());
            // Its socket is not the one by which the run is known.
            if let Some(folder) = self.socket.parent() {
                own.push("SUPERVISOR_FOLDER", folder.as_os_str().as_bytes());
            }
        }
        if let Some(notify) = notify {
            own.push("NOTIFY_SOCKET", notify.as_os_str().as_bytes());
        }
        if let Some(every) = kept.watched.as_ref().and_then(|watched| watched.watchdog) {
            own.push("WATCHDOG_USEC", every.as_micros().to_string());
        }
        let account = kept.terms.as_deref().and_then(|terms| terms.account.as_ref());
        let told = account.into_iter().flat_map(|account| &account.variables);
        // Of two of one name the later counts.
        let mut set: BTreeMap<&OsStr, &OsStr> =
            told.map(|(name, value)| (OsStr::new(*name), value.as_os_str())).collect();
        set.extend(tmp.map(|tmp| (OsStr::new("TMPDIR"), tmp.as_os_str())));
        set.extend(kept.env.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))));
        let inherited = match (set.is_empty(), kept.clear_env) {
            (true, false) => Some(Arc::clone(&self.inherited)),
            (false, false) => {
                Some(Arc::new(self.inherited.filtered(|name| !set.contains_key(OsStr::from_bytes(name)))))
            }
            (_, true) => None,
        };
        let path = set.remove(OsStr::new("PATH"));
        if path.is_some() || kept.clear_env {
            own.push("PATH", self.path(path).as_bytes());
        }
        // Nobody says who a worker is but the supervisor.
        set.retain(|name, _| {
            let is_set = |entries: &Entries| entries.iter().any(|entry| name_of(entry) == name.as_bytes());
            !is_set(&own) && !is_set(&run)
        });
        for (name, value) in set {
            own.push(name.as_bytes(), value.as_bytes());
        }
        with_run(own, run, inherited)
    }

    /// All variables of an attendant of a launch: the marks by which it is known, and a `PATH`, by which it is seen that
    /// its environment can be read.
    pub fn of_attendant(&self, role: Role, name: &str, policy: Policy, process: Process) -> Variables {
        let mut own = marks(name, policy, process);
        own.push("PATH", DEFAULT_PATH);
        own.push(format!("SUPERVISOR_{}", attendant::MARK), role.name());
        with_run(own, Arc::clone(&self.run), None)
    }

    /// This `PATH`, or the usual one, with our folder at its end: also where it stands further ahead, for who looks for it
    /// looks there.
    fn path(&self, path: Option<&OsStr>) -> OsString {
        let mut path = path.unwrap_or(OsStr::new(DEFAULT_PATH)).to_owned();
        if let Some(programs) = &self.programs
            && std::env::split_paths(&path).last().is_none_or(|folder| folder != *programs)
        {
            if !path.is_empty() {
                path.push(":");
            }
            path.push(programs);
        }
        path
    }
}

fn with_run(own: Entries, run: Arc<Entries>, inherited: Option<Arc<Entries>>) -> Variables {
    let mut variables = Variables::from(own);
    variables.share(run);
    if let Some(inherited) = inherited {
        variables.share(inherited);
    }
    variables
}

fn of_run(run: &str, socket: &Path) -> Entries {
    let mut entries = Entries::default();
    entries.push("SUPERVISOR_NAME", run);
    entries.push("SUPERVISOR_SOCKET", socket.as_os_str().as_bytes());
    entries.push("SUPERVISOR_PID", std::process::id().to_string());
    entries
}

/// What says which launch a process belongs to, within its run.
fn marks(name: &str, policy: Policy, Process { instance, launch }: Process) -> Entries {
    let mut entries = Entries::default();
    entries.reserve(8, 256 + name.len());
    entries.push("SUPERVISOR_WORKER", name);
    entries.push("SUPERVISOR_INSTANCE", instance.index.to_string());
    entries.push("SUPERVISOR_LAUNCH", launch.0.to_string());
    entries.push("SUPERVISOR_POLICY", words::policy(policy));
    entries
}

fn name_of(entry: &[u8]) -> &[u8] {
    entry.iter().position(|byte| *byte == b'=').map_or(entry, |end| &entry[..end])
}

//! The environment of a launch: what the supervisor has, what the config says, and who the worker is.
//!
//! Only what all workers share is kept; the rest is put together at each launch, so that a worker costs nothing here.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    inherited: Vec<(OsString, OsString)>,
    programs: Option<PathBuf>,
    run: String,
    socket: PathBuf,
}

impl Environment {
    /// The environments of the run `run`, whose control socket is at this path.
    pub fn new(run: &str, programs: Option<&Path>, socket: &Path) -> Environment {
        let ours = |name: &OsString| OURS.iter().any(|ours| name == *ours);
        Environment {
            inherited: std::env::vars_os().filter(|(name, _)| !ours(name)).collect(),
            programs: programs.map(Path::to_owned),
            run: run.to_owned(),
            socket: socket.to_owned(),
        }
    }

    /// All variables of one launch, as `NAME=VALUE`. What cannot be expressed (a NUL inside) is left out.
    pub fn of_launch(
        &self,
        worker: &WorkerSetup,
        name: &str,
        policy: Policy,
        Process { instance, launch }: Process,
        Paths { notify, door, tmp }: Paths<'_>,
    ) -> Vec<CString> {
        let mut all: BTreeMap<&OsStr, &OsStr> = BTreeMap::new();
        if !worker.kept.clear_env {
            all.extend(self.inherited.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())));
        }
        let account = worker.kept.terms.as_deref().and_then(|terms| terms.account.as_ref());
        let told = account.into_iter().flat_map(|account| &account.variables);
        all.extend(told.map(|(name, value)| (OsStr::new(*name), value.as_os_str())));
        all.extend(tmp.map(|tmp| (OsStr::new("TMPDIR"), tmp.as_os_str())));
        all.extend(worker.kept.env.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))));
        let path = self.path(all.get(OsStr::new("PATH")).copied().unwrap_or(OsStr::new(DEFAULT_PATH)));
        let numbers = [instance.index.to_string(), launch.0.to_string(), std::process::id().to_string()];
        let marks: [(&str, &OsStr); 10] = [
            ("PATH", &path),
            ("SUPERVISOR_NAME", OsStr::new(&self.run)),
            ("SUPERVISOR_SOCKET", door.unwrap_or(&self.socket).as_os_str()),
            ("SUPERVISOR_WORKER", OsStr::new(name)),
            ("SUPERVISOR_INSTANCE", OsStr::new(&numbers[0])),
            ("SUPERVISOR_LAUNCH", OsStr::new(&numbers[1])),
            ("SUPERVISOR_PID", OsStr::new(&numbers[2])),
            ("SUPERVISOR_POLICY", OsStr::new(words::policy(policy))),
            ("SUPERVISOR_ARGS", OsStr::new(&*worker.args)),
            ("SUPERVISOR_KWARGS", OsStr::new(&*worker.kwargs)),
        ];
        all.extend(marks.map(|(name, value)| (OsStr::new(name), value)));
        if let (Some(_), Some(folder)) = (door, self.socket.parent()) {
            // Its socket is not the one by which the run is known.
            all.insert(OsStr::new("SUPERVISOR_FOLDER"), folder.as_os_str());
        }
        if let Some(notify) = notify {
            all.insert(OsStr::new("NOTIFY_SOCKET"), notify.as_os_str());
        }
        let watchdog = worker.kept.watched.as_ref().and_then(|watched| watched.watchdog);
        let watchdog = watchdog.map(|every| every.as_micros().to_string());
        if let Some(every) = &watchdog {
            all.insert(OsStr::new("WATCHDOG_USEC"), OsStr::new(every));
        }
        all.into_iter().filter_map(|(name, value)| entry(name, value)).collect()
    }

    /// All variables of an attendant of a launch: the marks by which it is known, and a `PATH`, by which it is seen that
    /// its environment can be read.
    pub fn of_attendant(
        &self,
        role: Role,
        name: &str,
        policy: Policy,
        Process { instance, launch }: Process,
    ) -> Vec<CString> {
        let numbers = [instance.index.to_string(), launch.0.to_string(), std::process::id().to_string()];
        let attends = format!("SUPERVISOR_{}", attendant::MARK);
        let marks: [(&str, &OsStr); 9] = [
            ("PATH", OsStr::new(DEFAULT_PATH)),
            ("SUPERVISOR_NAME", OsStr::new(&self.run)),
            ("SUPERVISOR_SOCKET", self.socket.as_os_str()),
            ("SUPERVISOR_WORKER", OsStr::new(name)),
            ("SUPERVISOR_INSTANCE", OsStr::new(&numbers[0])),
            ("SUPERVISOR_LAUNCH", OsStr::new(&numbers[1])),
            ("SUPERVISOR_PID", OsStr::new(&numbers[2])),
            ("SUPERVISOR_POLICY", OsStr::new(words::policy(policy))),
            (&attends, OsStr::new(role.name())),
        ];
        marks.into_iter().filter_map(|(name, value)| entry(OsStr::new(name), value)).collect()
    }

    fn path(&self, path: &OsStr) -> OsString {
        let mut path = path.to_owned();
        if let Some(programs) = &self.programs
            && !std::env::split_paths(&path).any(|folder| folder == *programs)
        {
            if !path.is_empty() {
                path.push(":");
            }
            path.push(programs);
        }
        path
    }
}

fn entry(name: &OsStr, value: &OsStr) -> Option<CString> {
    let mut bytes = Vec::with_capacity(name.len() + value.len() + 2);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'=');
    bytes.extend_from_slice(value.as_bytes());
    CString::new(bytes).ok()
}

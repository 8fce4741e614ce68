//! From what the file says to what shall be done: names become places, paths absolute, variables one list.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use supervision::{After, Family, GroupId, Readiness, WorkerId};

use crate::choice::{Address, Readying, Sink, Source, Url};
use crate::collection::{Entry, Env, Named, Placed};
use crate::command::{Args, Argv, Invocation, Kwargs};
use crate::document::{
    Backoff, File, FsyncWord, Group, Health, Intensity, Limits, Log, Queue, Reload, Worker,
};
use crate::env_file::{self, Variables};
use crate::listen::Place;
use crate::measure::{Length, Size, Whole};
use crate::node::Path as Way;
use crate::plan::{
    Command, Fsync, Limit, LimitsPlan, Listen, LogPlan, Output, Plan, Probe, QueuePlan, Ready, ReloadPlan,
    Stdin, WorkerPlan,
};
use crate::problem::{Complaint, clipped, quoted};
use crate::reading::Reading;
use crate::text::{Filled, Name, Text, Umask, Word};

/// When a launch that is ready from its start has shown that it does not end at once.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// The plan that a file without problems means, but for what its `env_file`s still bring up; `path` is its own.
pub(crate) fn plan(file: File, name: String, path: &Path, reading: &mut Reading<'_>) -> Plan {
    let folder = Folder::of(path);
    let places: HashMap<String, WorkerId> =
        file.workers.0.iter().zip(0..).map(|(entry, place)| (entry.name.clone(), WorkerId(place))).collect();
    let mut family = Vec::with_capacity(file.workers.0.len());
    let mut workers = Vec::with_capacity(file.workers.0.len());
    for Entry { name, value: worker, .. } in file.workers.0 {
        family.push(decided(&name, &worker, &places));
        workers.push(carried_out(name, worker, folder, reading));
    }
    Plan {
        name,
        family: Family {
            workers: family,
            strategy: file.strategy.0,
            intensity: file.intensity.map(|intensity| intensity_of(&intensity)),
            stop_within: file.stop_timeout.map(|Length(length)| length),
            lasts: false,
            groups: groups_of(&file.groups, &places),
            seed: 0,
        },
        queues: pairs(file.queues, queue_of),
        locks: file.locks.into_strings(),
        rlocks: file.rlocks.into_strings(),
        semaphores: pairs(file.semaphores, |count| small(&count)),
        events: file.events.into_strings(),
        conditions: file.conditions.into_strings(),
        barriers: pairs(file.barriers, |parties| small(&parties)),
        values: pairs(file.values, |Whole(value)| value),
        arrays: pairs(file.arrays, |numbers| small(&numbers)),
        workers,
        omissions: Vec::new(),
    }
}

fn groups_of(groups: &Named<Group>, workers: &HashMap<String, WorkerId>) -> Vec<supervision::Group> {
    let places: HashMap<&str, GroupId> =
        groups.0.iter().zip(0..).map(|(entry, place)| (entry.name.as_str(), GroupId(place))).collect();
    let group = |Entry { name, value: group, .. }: &Entry<Group>| supervision::Group {
        name: name.clone(),
        strategy: group.strategy.0,
        intensity: intensity_of(&group.intensity),
        workers: group.workers.0.iter().filter_map(|listed| workers.get(&listed.name).copied()).collect(),
        groups: group
            .groups
            .0
            .iter()
            .filter_map(|listed| places.get(listed.name.as_str()).copied())
            .collect(),
    };
    groups.0.iter().map(group).collect()
}

/// What the core decides by.
fn decided(name: &str, worker: &Worker, places: &HashMap<String, WorkerId>) -> supervision::Worker {
    let Backoff { initial, factor, max, jitter, reset_after } = worker.backoff;
    let after = worker.after.0.iter().filter_map(|entry| {
        let Word(milestone) = entry.value;
        Some(After { worker: *places.get(&entry.name)?, milestone })
    });
    supervision::Worker {
        name: name.to_owned(),
        instances: small(&worker.instances),
        policy: worker.policy.0,
        restart: worker.restart.0,
        success_codes: worker.success_codes.iter().map(|Whole(code)| *code as i32).collect(),
        backoff: supervision::Backoff {
            initial: initial.0,
            factor: factor.0,
            max: max.0,
            jitter: jitter.0,
            reset_after: reset_after.0,
        },
        intensity: intensity_of(&worker.intensity),
        on_failed: worker.on_failed.0,
        essential: worker.essential,
        grace: worker.stop.grace.0,
        asks_tree: worker.stop.to.0 == crate::plan::StopTo::Tree,
        after: after.collect(),
        readiness: {
            let timeout = worker.ready_timeout.0;
            match worker.ready.value {
                Readying::Start => Readiness::Start,
                Readying::Notify | Readying::Fd(_) | Readying::Log(_) => Readiness::Told { timeout },
                Readying::Tcp(_) | Readying::Http(_) | Readying::Command(_) => Readiness::Probed { timeout },
            }
        },
        leftover: worker.leftover.0,
        watchdog: worker.watchdog.map(|Length(length)| length),
        health: worker.health.as_ref().map(|health| supervision::Health {
            every: health.every.0,
            timeout: health.timeout.0,
            failures: small(&health.failures),
            start_grace: health.start_grace.0,
        }),
        schedule: worker.schedule.as_ref().map(|Placed { value: schedule, .. }| supervision::Schedule {
            timing: match schedule.every {
                Some(Length(every)) => supervision::Timing::Every(every),
                None => supervision::Timing::Told,
            },
            overlap: schedule.overlap.0,
            catch_up: schedule.catch_up.0,
        }),
        min_ready: match (worker.min_ready, &worker.ready.value) {
            (Some(Length(length)), _) => length,
            (None, Readying::Start) => PROVEN_AFTER,
            (None, _) => Duration::ZERO,
        },
        start_delay: worker.start_delay.0,
        autostart: worker.autostart,
    }
}

/// What is done when the core says so.
fn carried_out(name: String, worker: Worker, folder: Folder<'_>, reading: &mut Reading<'_>) -> WorkerPlan {
    let Args(args) = worker.args;
    let Kwargs(kwargs) = worker.kwargs;
    let filled = |text: Option<Placed<Text>>| text.map(|text| text.value.0).filter(|text| !text.is_empty());
    let env = environment(&name, worker.env_file, worker.env, folder, reading);
    // A queue that a stream leads to or from is listed as if by name.
    let (mut gets, mut puts) = (worker.queues.get.into_strings(), worker.queues.put.into_strings());
    list(&mut gets, worker.stdin.queue());
    list(&mut puts, worker.stdout.queue());
    list(&mut puts, worker.stderr.queue());
    WorkerPlan {
        name,
        command: match worker.command {
            Invocation::Argv(Argv(argv)) => Command::Argv(folder.argv(argv)),
            Invocation::Shell(line) => Command::Shell(line),
        },
        args,
        kwargs,
        stop_signal: worker.stop.signal.0,
        stop_to: worker.stop.to.0,
        reload: worker.reload.map(|reload| reload_of(reload, folder, reading)),
        env,
        clear_env: worker.clear_env,
        cwd: folder.join(&worker.cwd.0),
        user: filled(worker.user),
        group: filled(worker.group),
        umask: {
            let Umask(mask) = worker.umask;
            mask
        },
        nice: worker.nice.value.0 as i32,
        io_priority: worker.ionice.map(|priority| priority.value.0),
        oom_score_adj: worker.oom_score_adj.map(|score| score.value.0 as i32),
        cpus: worker.cpus.map(|cpus| cpus.value.0),
        no_new_privs: worker.no_new_privs,
        private_tmp: worker.private_tmp.value.0,
        listen: worker.listen.0.into_iter().map(|listed| listen_of(listed.place, folder)).collect(),
        rolling: worker.rolling,
        tree: worker.tree.value.0,
        limits: limits_of(&worker.limits),
        stdin: match worker.stdin {
            Source::Null => Stdin::Null,
            Source::Inherit => Stdin::Inherit,
            Source::Path(path) => Stdin::Path(folder.join(&path)),
            Source::Queue(Placed { value: Name(queue), .. }) => Stdin::Queue(queue),
        },
        stdout: output_of(worker.stdout, folder),
        stderr: output_of(worker.stderr, folder),
        log: log_of(worker.log, folder),
        gets,
        puts,
        ready: match worker.ready.value {
            Readying::Start => Ready::Start,
            Readying::Notify => Ready::Notify,
            Readying::Fd(fd) => Ready::Fd(fd),
            Readying::Log(pattern) => Ready::Log(pattern),
            Readying::Tcp(address) => Ready::Tcp { host: address.host, port: address.port },
            Readying::Http(url) => Ready::Http(url),
            Readying::Command(argv) => Ready::Command(folder.argv(argv)),
        },
        health: worker.health.and_then(|health| health_of(health, folder)),
        cron: worker.schedule.and_then(|schedule| schedule.value.cron),
    }
}

fn list(names: &mut Vec<String>, queue: Option<&Placed<Name>>) {
    if let Some(Placed { value: Name(name), .. }) = queue
        && !names.contains(name)
    {
        names.push(name.clone());
    }
}

/// The folder of the config, from which relative paths lead.
#[derive(Clone, Copy)]
pub(crate) struct Folder<'p>(&'p Path);

impl<'p> Folder<'p> {
    /// That of this config.
    pub fn of(config: &'p Path) -> Folder<'p> {
        Folder(config.parent().unwrap_or(Path::new("/")))
    }

    pub fn join(self, path: &str) -> PathBuf {
        // Through components, which leave out `.` and doubled slashes, but keep `..`: it may cross a link.
        self.0.join(path).components().collect()
    }

    /// A command whose program is a path is found from here.
    fn argv(self, mut argv: Vec<String>) -> Vec<String> {
        if let Some(program) = argv.first_mut() {
            *program = self.program(program);
        }
        argv
    }

    /// A program with a slash in it is a path; one without is looked up.
    fn program(self, program: &str) -> String {
        if !program.contains('/') {
            return program.to_owned();
        }
        // A folder whose name is not UTF-8 cannot be written into a list of strings; the program stays relative.
        self.join(program).into_os_string().into_string().unwrap_or_else(|_| program.to_owned())
    }
}

/// The variables of the file, then those of the config, which win.
fn environment(
    worker: &str,
    file: Option<Placed<Filled>>,
    Env(own): Env,
    folder: Folder<'_>,
    reading: &mut Reading<'_>,
) -> Variables {
    let from_file = file.map_or_else(Vec::new, |file| variables_of_file(worker, &file, folder, reading));
    let mut variables: Variables = Vec::with_capacity(from_file.len() + own.len());
    let mut places = HashMap::new();
    for (name, value) in from_file.into_iter().chain(own) {
        match places.get(&name) {
            Some(place) => {
                let (_, former): &mut (String, String) = &mut variables[*place];
                *former = value;
            }
            None => {
                places.insert(name.clone(), variables.len());
                variables.push((name, value));
            }
        }
    }
    variables
}

fn variables_of_file(
    worker: &str,
    Placed { value: Filled(path), at }: &Placed<Filled>,
    folder: Folder<'_>,
    reading: &mut Reading<'_>,
) -> Variables {
    let root = Way::Root;
    let workers = root.key("workers");
    let way = workers.key(worker);
    let way = way.key("env_file");
    let absolute = folder.join(path);
    match reading.surroundings.read(&absolute) {
        Err(error) => {
            let shown = absolute.display().to_string();
            let complaint = Complaint::new(format!("cannot read {}: {error}", quoted(&shown)));
            reading.note_at(&way, *at, complaint.hint("a relative path begins at the folder of the config"));
            Vec::new()
        }
        Ok(bytes) => env_file::parse(&bytes).unwrap_or_else(|wrong| {
            for (line, complaint) in wrong {
                let message = format!("line {line} of {} {}", clipped(path), complaint.message);
                reading.note_at(&way, *at, Complaint { message, ..complaint });
            }
            Vec::new()
        }),
    }
}

fn queue_of(queue: Queue) -> QueuePlan {
    QueuePlan {
        capacity: queue.capacity.0,
        max_bytes: queue.max_bytes.map(|Size(bytes)| bytes),
        max_message: queue.max_message.0,
        max_deliveries: queue.max_deliveries.as_ref().map(small),
        dead_letter: queue.dead_letter.map(|Placed { value: Name(name), .. }| name),
        durable: queue.durable.then_some(match queue.fsync.0 {
            FsyncWord::Always => Fsync::Always,
            FsyncWord::Interval => Fsync::Interval(queue.fsync_interval.0),
            FsyncWord::Never => Fsync::Never,
        }),
    }
}

fn reload_of(reload: Reload, folder: Folder<'_>, reading: &Reading<'_>) -> ReloadPlan {
    let file = |Filled(path)| {
        let path = folder.join(&path);
        let mark = reading.surroundings.mark(&path);
        (path, mark)
    };
    ReloadPlan { signal: reload.signal.0, files: reload.files.into_iter().map(file).collect() }
}

fn output_of(sink: Sink, folder: Folder<'_>) -> Output {
    match sink {
        Sink::Log => Output::Log,
        Sink::Inherit => Output::Inherit,
        Sink::Null => Output::Null,
        Sink::Path(path) => Output::Path(folder.join(&path)),
        Sink::Queue(Placed { value: Name(queue), .. }) => Output::Queue(queue),
    }
}

fn log_of(log: Log, folder: Folder<'_>) -> LogPlan {
    LogPlan {
        file: log.file.map(|Filled(path)| folder.join(&path)),
        max_size: log.max_size.0,
        keep: small(&log.keep),
        format: log.format.0,
    }
}

fn listen_of(place: Place, folder: Folder<'_>) -> Listen {
    match place {
        Place::Tcp(Address { host, port }) => Listen::Tcp { host, port },
        Place::Udp(Address { host, port }) => Listen::Udp { host, port },
        Place::Unix(path) => Listen::Unix(folder.join(&path)),
    }
}

fn limits_of(limits: &Limits) -> LimitsPlan {
    let mut of_processes = Vec::new();
    macro_rules! add {
        ($( $field:ident )+) => { $(
            of_processes.extend(limits.$field.as_ref().map(|limit| Limit {
                name: crate::form::key(stringify!($field)),
                soft: limit.value.soft,
                hard: limit.value.hard,
            }));
        )+ };
    }
    add!(nofile core r#as cpu_time data fsize locks memlock msgqueue nice nproc rss rtprio rttime sigpending stack);
    LimitsPlan {
        memory: limits.memory.as_ref().map(|limit| limit.value.0),
        pids: limits.pids.as_ref().map(|limit| small(&limit.value)),
        cpu: limits.cpu.as_ref().map(|limit| limit.value.0),
        of_processes,
    }
}

/// The one probe that is given.
fn health_of(health: Health, folder: Folder<'_>) -> Option<Probe> {
    let tcp = |address: Address| Probe::Tcp { host: address.host, port: address.port };
    let http = health.http.map(|Url(url)| Probe::Http(url));
    let command = health.command.map(|Argv(argv)| Probe::Command(folder.argv(argv)));
    http.or(health.tcp.map(|placed| tcp(placed.value))).or(command)
}

fn intensity_of(intensity: &Intensity) -> supervision::Intensity {
    supervision::Intensity { restarts: small(&intensity.restarts), within: intensity.within.0 }
}

/// A count whose form bounds it to what 32 bits hold.
fn small<const MAX: i64, const MIN: i64>(Whole(count): &Whole<MIN, MAX>) -> u32 {
    const { assert!(MIN >= 0 && MAX <= u32::MAX as i64) };
    *count as u32
}

fn pairs<T, U, const MIN: usize>(named: Named<T, MIN>, change: impl Fn(T) -> U) -> Vec<(String, U)> {
    named.0.into_iter().map(|entry| (entry.name, change(entry.value))).collect()
}

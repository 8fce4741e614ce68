//! The config, key by key: what there is, what form it takes, what it is when it is left out.
//!
//! The reader, the schema and the defaults are made from these lists; the text over each key is its description in
//! the schema.

use std::time::Duration;

use crate::choice::{Address, Capacity, Readying, Sink, Source, Url};
use crate::collection::{Env, Named, Names, Placed};
use crate::command::{Args, Argv, Invocation, Kwargs};
use crate::cron::Cron;
use crate::form::document;
use crate::limit::{Bound, Cpus, Dispensable, IoNice, Microseconds, Seconds};
use crate::listen::Places;
use crate::measure::{Fraction, GIB, Grace, Length, PIB, Rest, Size, Wait, Whole};
use crate::plan::{LogFormat, PrivateTmp, StopTo, TreeBy};
use crate::signal::Signal;
use crate::text::{Filled, Name, Text, Umask, Word, Words};

/// A whole number that counts something.
type Count = Whole<0, 1_000_000_000>;
/// How many may hold a semaphore at once.
type Permits = Whole<1, 1024>;
/// How many a barrier waits for.
type Parties = Whole<1, 65_535>;
/// How many numbers an array has.
type Numbers = Whole<1, 1_048_576>;
/// A size in memory or on disk; not nothing.
type Bytes = Size<1, PIB>;
/// A size that may be nothing.
type Amount = Size<0, PIB>;

/// When a message reaches the disk, as a word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FsyncWord {
    Always,
    Interval,
    Never,
}

const fn seconds<const SOME: bool, const MAX: u64>(seconds: u64) -> Length<SOME, MAX> {
    Length(Duration::from_secs(seconds))
}

document! {
    /// The config of a run: its queues, its workers, and how they live together.
    File requires "workers" {
        /// The name of the run. Left out: the name of the file, without its ending.
        name: Option<Name> = None;
        /// The queues that carry messages between workers, by name.
        queues: Named<Queue> = Named::default();
        /// The names of the locks: each is held by one at a time.
        locks: Names = Names::default();
        /// The names of the recursive locks: as locks, but who holds one may take it again.
        rlocks: Names = Names::default();
        /// The semaphores by name, each with how many may hold it at once.
        semaphores: Named<Permits> = Named::default();
        /// The names of the events: each is set or not, and can be waited for.
        events: Names = Names::default();
        /// The names of the conditions: each is used with any of the locks.
        conditions: Names = Names::default();
        /// The barriers by name, each with how many must come before all pass.
        barriers: Named<Parties> = Named::default();
        /// The shared numbers by name, each with what it is at first.
        values: Named<Whole<{ i64::MIN }, { i64::MAX }>> = Named::default();
        /// The arrays of shared numbers by name, each with how many it has; all are 0 at first.
        arrays: Named<Numbers> = Named::default();
        /// Who else is restarted when one worker is: nobody, all, or those after it in the file.
        strategy: Word<supervision::Strategy> = Word::default();
        /// How many restarts the whole run may spend. Left out: with one_for_one each worker's own
        /// intensity counts alone; with the other strategies 5 within 10s.
        intensity: Option<Intensity> = None;
        /// How long stopping the whole run may take: what is not gone by then is killed. Left out: as long as the
        /// graces of its levels add up to.
        stop_timeout: Option<Rest> = None;
        /// The groups of workers that share a fate, by name.
        groups: Named<Group> = Named::default();
        /// The workers by name, in the order in which they start.
        workers: Named<Worker, 1> = Named::default();
    }

    /// A queue: messages wait here until a worker takes them.
    Queue {
        /// At most so many messages; a put waits while the queue is full. Null: no limit but max_bytes.
        capacity: Capacity = Capacity(None);
        /// At most so much memory. Left out: half of the machine's.
        max_bytes: Option<Bytes> = None;
        /// The largest message.
        max_message: Size<1, GIB> = Size(16 << 20);
        /// A message is given up on after so many deliveries without an acknowledgement. Left out: never.
        max_deliveries: Option<Whole<1, 1_000_000>> = None;
        /// The queue that takes the messages given up on. Left out: they are dropped.
        dead_letter: Option<Placed<Name>> = None;
        /// Whether messages survive the end of the run, on disk.
        durable: bool = false;
        /// When a message put into a durable queue is made to reach the disk: always (before the put returns: it
        /// survives a loss of power), interval (within fsync_interval), never (when the system comes to it). Each
        /// survives the death of any process and an orderly restart of the machine.
        fsync: Word<FsyncWord> = Word::default();
        /// How long a message may be only in memory, with fsync: interval.
        fsync_interval: Wait = seconds(1);
    }

    /// A limit on restarts: when it is reached, the next failure is for good.
    Intensity {
        /// At most so many restarts.
        restarts: Count = Whole(5);
        /// Within this time.
        within: Wait = seconds(10);
    }

    /// A group of workers that share a fate; groups nest. A group that has spent its restarts is one
    /// failure to what it lies in, which starts it again as a whole.
    Group {
        /// Who else of the group is restarted when one is: nobody, all, or those after it in the file. A
        /// group within it stands where its first worker stands.
        strategy: Word<supervision::Strategy> = Word::default();
        /// How many restarts the group may spend.
        intensity: Intensity = Intensity::default();
        /// The workers that belong to it; each belongs to one group at most.
        workers: Names = Names::default();
        /// The groups that lie in it; each lies in one at most.
        groups: Names = Names::default();
    }

    /// A worker: a command, and how its processes are kept.
    Worker requires "command" {
        /// What it runs: a list of a program and its arguments, or one string for /bin/sh -c, which is left
        /// to the shell as it is written.
        command: Invocation = Invocation::default();
        /// A list of any JSON that reaches the worker, also as $SUPERVISOR_ARGS.
        args: Args = Args("[]".to_owned());
        /// An object of any JSON that reaches the worker, also as $SUPERVISOR_KWARGS.
        kwargs: Kwargs = Kwargs("{}".to_owned());
        /// How many numbered copies run side by side.
        instances: Whole<0, 10_000> = Whole(1);
        /// How it and the supervisor part: wait (the run waits for its end), terminate (it is asked to stop
        /// when the work is done), daemon (it is killed when the work is done or the supervisor dies).
        policy: Word<supervision::Policy> = Word::default();
        /// When it is started again after it ended by itself.
        restart: Word<supervision::Restart> = Word::default();
        /// The exit codes that count as success.
        success_codes: Vec<Whole<0, 255>> = vec![Whole(0)];
        /// How long it rests before it is started again.
        backoff: Backoff = Backoff::default();
        /// How many restarts each instance may spend before it has failed for good.
        intensity: Intensity = Intensity::default();
        /// What its failing for good means: nothing to the others, or the end of the whole run.
        on_failed: Word<supervision::OnFailed> = Word::default();
        /// Whether the run ends, with its exit code, when an instance of it has ended for good.
        essential: bool = false;
        /// What must have happened before it starts: other workers by name, and what each must have reached.
        after: Named<Word<supervision::Milestone>> = Named::default();
        /// When it counts as ready: start (as soon as it is started), notify (when it says so), or when it writes a
        /// newline to a descriptor, when a line of its log matches, when an address takes connections, when a page
        /// answers with success, when a command succeeds. Whatever is awaited, it may also say so through the SDK.
        ready: Placed<Readying> = Placed::default();
        /// How long it may take to be ready, where it is not ready from the start.
        ready_timeout: Wait = seconds(30);
        /// How its health is probed.
        health: Option<Health> = None;
        /// Once it is ready, it must give a sign of life at least this often: WATCHDOG=1 to $NOTIFY_SOCKET, or a
        /// heartbeat through the SDK. One that does not is sent ABRT, killed after its grace, and treated as failed.
        watchdog: Option<Wait> = None;
        /// How it takes up what has changed without being started again, when the config is applied.
        reload: Option<Reload> = None;
        /// Whether `restart` lets a new launch get ready before an old one is asked to stop: it has one instance more for
        /// a while, with the next number.
        rolling: bool = false;
        /// How long a new launch must have been ready until a rolling restart takes it for good and asks the next old one to stop;
        /// a second where it is ready from its start, so that one that ends at once costs no old one, else no time.
        min_ready: Option<Rest> = None;
        /// How it is stopped.
        stop: Stop = Stop::default();
        /// What becomes of processes that it leaves behind when it ends by itself: kill (they are killed), fail (they are
        /// killed, and it has failed), adopt (they live on and are shown as its own; they are asked to stop when it is
        /// stopped or started anew by request, killed after its grace, and killed when the run ends. A supervisor that
        /// takes over from one that was killed kills them).
        leftover: Word<supervision::Leftover> = Word::default();
        /// Environment variables, over those of env_file and the supervisor's own.
        env: Env = Env::default();
        /// A file of environment variables: lines of NAME=value.
        env_file: Option<Placed<Filled>> = None;
        /// Whether the supervisor's own environment is kept from it.
        clear_env: bool = false;
        /// The folder it runs in.
        cwd: Filled = Filled(".".to_owned());
        /// The user it runs as, by name or number; HOME, USER, LOGNAME and SHELL tell it. Empty: the supervisor's. As another
        /// user than the supervisor's it has a control socket of its own, by which it joins, reports, and uses queues, locks
        /// and their like, but commands nothing.
        user: Option<Placed<Text>> = None;
        /// The group it runs as, by name or number. Empty: the user's own. The supplementary groups are the user's.
        group: Option<Placed<Text>> = None;
        /// The permission bits its new files do not get, in octal.
        umask: Umask = Umask(0o022);
        /// Its niceness: from -20 (most urgent) to 19. 0: the supervisor's own.
        nice: Placed<Whole<-20, 19>> = Placed { value: Whole(0), at: 0 };
        /// Its priority at disks: idle, or best-effort or realtime with a level from 0 (first) to 7. Left out: the
        /// supervisor's own.
        ionice: Option<Placed<IoNice>> = None;
        /// How much sooner (up to 1000) or later (down to -1000) than others it is killed when the machine runs short of
        /// memory. Left out: the supervisor's own.
        oom_score_adj: Option<Placed<Whole<-1000, 1000>>> = None;
        /// The processors it may run on. Left out: the supervisor's.
        cpus: Option<Placed<Cpus>> = None;
        /// Whether neither it nor what it starts can ever gain rights by executing a file (sudo, su).
        no_new_privs: bool = false;
        /// Temporary files of its own, which go when it has ended: none (it shares /tmp with all), folder (a folder that
        /// TMPDIR names), mount (that folder is also its /tmp and /var/tmp; for root).
        private_tmp: Placed<Word<PrivateTmp>> = Placed { value: Word(PrivateTmp::None), at: 0 };
        /// The addresses whose sockets are opened for it before it first starts and kept while it is started again: tcp, udp
        /// or unix. Its launches find them from descriptor 3 on (LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES).
        listen: Places = Places::default();
        /// How its tree is kept together: cgroup (nothing escapes; it costs a start about 150 us), or auto (a cgroup where
        /// a limit on memory, pids or cpu needs one anyway; else by parents, sessions and marks in the environment).
        tree: Placed<Word<TreeBy>> = Placed { value: Word(TreeBy::Auto), at: 0 };
        /// What it may use at most.
        limits: Limits = Limits::default();
        /// What of this it can do without where the machine cannot give it: keys like nice or limits.memory. What is left
        /// out then is said at the start.
        optional: Dispensable = Dispensable::default();
        /// Where its standard input comes from: null, inherit, or a path.
        stdin: Source = Source::Null;
        /// Where its standard output goes: log, inherit, null, or a path.
        stdout: Sink = Sink::Log;
        /// Where its standard error goes: log, inherit, null, or a path.
        stderr: Sink = Sink::Log;
        /// How its logs are written.
        log: Log = Log::default();
        /// The queues it works with. A worker that runs as another user and names any, here or for its standard streams, may
        /// use those, and the queue of their dead letters, and no others.
        queues: Ends = Ends::default();
        /// When it runs by the clock, again and again. A run that fails is started again by its policy; when it is over,
        /// the worker waits for the next. A worker with a schedule never ends for good: with the policy wait, the run
        /// lasts until it is told to stop.
        schedule: Option<Placed<Schedule>> = None;
        /// How long it waits, where it starts with the run, once all it comes after has come.
        start_delay: Rest = seconds(0);
        /// Whether it starts with the run.
        autostart: bool = true;
    }

    /// A rest that grows with every failure in a row.
    Backoff {
        /// The first rest.
        initial: Rest = Length(Duration::from_millis(100));
        /// Each rest is this many times the one before.
        factor: Fraction<100, 100_000> = Fraction(2.0);
        /// The longest rest.
        max: Rest = seconds(30);
        /// The part of a rest by which chance may lengthen or shorten it.
        jitter: Fraction<0, 100> = Fraction(0.1);
        /// A launch that lived this long makes the next rest the first again.
        reset_after: Rest = seconds(10);
    }

    /// A probe that tells whether a running worker is well.
    Health takes one of ["http", "tcp", "command"] {
        /// The page that must answer with success: a status from 200 to 399.
        http: Option<Url> = None;
        /// The address that must take connections.
        tcp: Option<Placed<Address>> = None;
        /// The program, with its arguments, that must exit with 0.
        command: Option<Argv> = None;
        /// How often it is asked.
        every: Wait = seconds(10);
        /// How long an answer may take.
        timeout: Wait = seconds(1);
        /// So many failures in a row mean that the worker has failed.
        failures: Whole<1, 1000> = Whole(3);
        /// Failures in this time after it became ready do not count, unless a probe has succeeded.
        start_grace: Rest = seconds(0);
    }

    /// When a worker runs by the clock.
    Schedule takes one of ["cron", "every"] {
        /// Five fields: minute, hour, day of the month, month (or jan to dec), day of the week (or mon to sun), in the
        /// supervisor's local time; or a name: @hourly, @daily, @weekly, @monthly, @yearly. A time that a change of the
        /// clocks leaves out comes when that is over; one that comes twice counts once, unless the schedule is for every
        /// hour.
        cron: Option<Cron> = None;
        /// At its start, and then whenever this time is over.
        every: Option<Wait> = None;
        /// What becomes of a run that is due while another is under way: it is left out, follows at once, or takes the
        /// other's place.
        overlap: Word<supervision::Overlap> = Word::default();
        /// What becomes of times that were missed, because the machine slept or its clock was set: they are left out,
        /// one run makes up for all, or there is a run for each.
        catch_up: Word<supervision::CatchUp> = Word::default();
    }

    /// How a worker is stopped: asked by a signal, and killed after its grace.
    Stop {
        /// The signal that asks it: a name or a number.
        signal: Signal = Signal::TERM;
        /// How long it has before it is killed.
        grace: Grace = seconds(10);
        /// Whom the signal reaches: the main process, or the whole tree below it.
        to: Word<StopTo> = Word::default();
    }

    /// What a worker takes up by itself when it gets a signal.
    Reload requires "files" {
        /// The signal that tells it: a name or a number.
        signal: Signal = Signal::HUP;
        /// The files it reads then. When one of them has changed, it is told; when more than that has, it is
        /// started again.
        files: Vec<Filled> = Vec::new();
    }

    /// Limits on what a worker may use. Those on memory, pids and cpu are for its whole tree, by a cgroup; the others are
    /// the kernel's for each process (see setrlimit), each an amount, "unlimited", or {"soft": …, "hard": …}.
    Limits {
        /// Memory and swap of its whole tree. Who needs more is killed, and the reason is told.
        memory: Option<Placed<Bytes>> = None;
        /// Processes and threads of its whole tree.
        pids: Option<Placed<Whole<1, 4_194_304>>> = None;
        /// Processors that its whole tree may keep busy: 0.5 is half of one.
        cpu: Option<Placed<Fraction<1, 1_000_000>>> = None;
        /// Open files of a process.
        nofile: Option<Placed<Bound<Whole<1, 1_000_000_000>>>> = None;
        /// The size of core dumps; 0: none is written.
        core: Option<Placed<Bound<Amount>>> = None;
        /// The address space of a process.
        r#as: Option<Placed<Bound<Amount>>> = None;
        /// The time of a process on processors, in whole seconds.
        cpu_time: Option<Placed<Bound<Seconds>>> = None;
        /// The data of a process: its heap, and what it maps for itself alone.
        data: Option<Placed<Bound<Amount>>> = None;
        /// The size of a file that it writes.
        fsize: Option<Placed<Bound<Amount>>> = None;
        /// The file locks of a process.
        locks: Option<Placed<Bound<Count>>> = None;
        /// The memory of a process that is kept from swap.
        memlock: Option<Placed<Bound<Amount>>> = None;
        /// The POSIX message queues of its user.
        msgqueue: Option<Placed<Bound<Amount>>> = None;
        /// How urgent it may make itself: 20 less the niceness.
        nice: Option<Placed<Bound<Whole<0, 40>>>> = None;
        /// The processes and threads of its user, wherever they come from.
        nproc: Option<Placed<Bound<Count>>> = None;
        /// The memory of a process; Linux takes the number and does nothing.
        rss: Option<Placed<Bound<Amount>>> = None;
        /// The highest real-time priority it may take.
        rtprio: Option<Placed<Bound<Whole<0, 99>>>> = None;
        /// How long it may run without a pause under a real-time policy.
        rttime: Option<Placed<Bound<Microseconds>>> = None;
        /// The signals that wait for its user's processes.
        sigpending: Option<Placed<Bound<Count>>> = None;
        /// The stack of a process.
        stack: Option<Placed<Bound<Amount>>> = None;
    }

    /// How a worker's logs are written.
    Log {
        /// The file they also go to. Left out: none.
        file: Option<Filled> = None;
        /// A file that has reached this size is put aside and a new one begun.
        max_size: Bytes = Size(50 << 20);
        /// So many files put aside are kept.
        keep: Whole<0, 10_000> = Whole(10);
        /// The form of a line: text, JSON, or as the worker wrote it.
        format: Word<LogFormat> = Word::default();
    }

    /// The queues a worker works with.
    Ends {
        /// The queues it takes from.
        get: Names = Names::default();
        /// The queues it puts into: each closes when all that put into it have ended for good.
        put: Names = Names::default();
    }
}

/// The words of enumerations, and which of them is meant when nothing is written.
macro_rules! words {
    ($( $type:ty, $default:ident { $( $word:literal => $meaning:ident ),+ } )+) => { $(
        impl Words for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$( ($word, Self::$meaning) ),+];
            const DEFAULT: Self = Self::$default;
        }
    )+ };
}

words! {
    supervision::Strategy, OneForOne {
        "one_for_one" => OneForOne, "one_for_all" => OneForAll, "rest_for_one" => RestForOne
    }
    supervision::Policy, Wait { "wait" => Wait, "terminate" => Terminate, "daemon" => Daemon }
    supervision::Restart, OnFailure { "never" => Never, "on-failure" => OnFailure, "always" => Always }
    supervision::OnFailed, Ignore { "ignore" => Ignore, "stop" => Stop }
    supervision::Leftover, Kill { "kill" => Kill, "fail" => Fail, "adopt" => Adopt }
    supervision::Overlap, Skip { "skip" => Skip, "queue" => Queue, "replace" => Replace }
    supervision::CatchUp, Once { "skip" => Skip, "once" => Once, "all" => All }
    // Nobody leaves a milestone out; its default only stands in for one that could not be read.
    supervision::Milestone, Ready {
        "started" => Started, "ready" => Ready, "succeeded" => Succeeded, "ended" => Ended
    }
    StopTo, Main { "main" => Main, "tree" => Tree }
    PrivateTmp, None { "none" => None, "folder" => Folder, "mount" => Mount }
    TreeBy, Auto { "auto" => Auto, "cgroup" => Cgroup }
    FsyncWord, Always { "always" => Always, "interval" => Interval, "never" => Never }
    LogFormat, Text { "text" => Text, "json" => Json, "raw" => Raw }
}

//! One promise each.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipc::{GetError, Queue, QueueOptions, Reclaimed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// None when all was looked at, else what could not be, and why.
type Story = fn() -> Option<&'static str>;

pub fn all() -> Vec<(&'static str, Story)> {
    vec![
        ("what_a_killed_process_held_is_delivered_again_with_its_count_raised", killed_holder),
        ("a_living_process_is_left_alone", living_holder),
        ("a_stopped_process_is_not_a_dead_one_and_stops_nobody", stopped_holder),
        ("a_sleeper_is_woken_by_a_death_with_nobody_to_reclaim", unsupervised_sleeper),
        ("a_sleeper_is_woken_when_the_supervisor_reclaims", supervised_sleeper),
        ("a_process_whose_first_thread_has_ended_is_alive", leaderless_holder),
        ("the_child_of_a_fork_is_a_participant_of_its_own", forked_child),
        ("a_new_process_with_the_pid_of_a_dead_one_is_not_taken_for_it", reused_pid),
        ("a_clean_exit_acknowledges_and_a_crash_does_not", ways_to_end),
        ("the_places_of_the_dead_are_taken_when_there_are_no_others", crowded),
        ("a_queue_of_another_pid_namespace_is_refused", foreign_namespace),
        ("what_the_dead_left_in_a_file_is_delivered_to_who_comes_later", left_in_a_file),
        ("a_sleeper_is_interrupted_when_its_flag_goes_up", interrupted_sleeper),
    ]
}

const WATCHDOG: Duration = Duration::from_secs(60);

/// A process in a role, killed when the story is over.
struct Actor(Child);

impl Actor {
    fn start(role: &str, queue: &Queue) -> Self {
        Self::start_by(Command::new(std::env::current_exe().expect("this program has a path")), role, queue)
    }

    fn start_by(mut command: Command, role: &str, queue: &Queue) -> Self {
        let child = command
            .args(["role", role])
            .arg(queue.descriptor_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process starts");
        Self(child)
    }

    /// Starts it and waits until it says that it is there.
    fn standing(role: &str, queue: &Queue) -> Self {
        let mut actor = Self::start(role, queue);
        assert_eq!(actor.line(), "here");
        actor
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().expect("it is a pipe");
        // A line is read byte by byte, so that nothing is taken from the next.
        BufReader::with_capacity(1, stdout).read_line(&mut line).expect("it is a pipe");
        line.trim_end().to_owned()
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn kill(&mut self) {
        self.0.kill().expect("it is our child");
        self.0.wait().expect("it is our child");
    }

    fn go_on(&mut self) {
        drop(self.0.stdin.take());
    }

    fn end(&mut self) -> bool {
        self.0.wait().expect("it is our child").success()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("it is our child");
    }

    /// Waits until `/proc/PID/stat` says this state.
    fn until_state(&self, state: char) {
        let start = Instant::now();
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
            if stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with(state)) {
                return;
            }
            assert!(start.elapsed() < WATCHDOG, "it never was {state}: {stat}");
            std::thread::yield_now();
        }
    }

    /// Waits until it sleeps on a futex.
    fn until_asleep(&self) {
        let futex = if cfg!(target_arch = "x86_64") { "202 " } else { "98 " };
        let start = Instant::now();
        loop {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", self.pid())).unwrap_or_default();
            if call.starts_with(futex) {
                return;
            }
            assert!(start.elapsed() < WATCHDOG, "it never slept: {call}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn queue(supervised: bool) -> Queue {
    let options = QueueOptions { capacity: Some(8), supervised, participants: 32, ..Default::default() };
    Queue::create_anonymous("death", &options).expect("memory")
}

fn killed_holder() -> Option<&'static str> {
    let queue = queue(true);
    queue.put(b"a").unwrap();
    let mut actor = Actor::standing("hold", &queue);
    assert_eq!(queue.stats().in_flight, 1);
    actor.kill();
    assert_eq!(
        queue.reclaim(actor.pid()).unwrap(),
        Reclaimed { dead: 1, redelivered: 1, freed: 0, handed_on: 0 }
    );
    assert_eq!(queue.reclaim(actor.pid()).unwrap(), Reclaimed::default());
    let lease = queue.try_lease().unwrap();
    assert_eq!((lease.bytes(), lease.deliveries()), (&b"a"[..], 2));
    None
}

fn living_holder() -> Option<&'static str> {
    let queue = queue(true);
    queue.put(b"a").unwrap();
    let mut actor = Actor::standing("hold", &queue);
    assert_eq!(queue.reclaim(actor.pid()).unwrap(), Reclaimed::default());
    assert_eq!(queue.reclaim_dead().unwrap(), Reclaimed::default());
    actor.go_on();
    assert!(actor.end());
    assert_eq!((queue.stats().in_flight, queue.len()), (0, 0));
    None
}

fn stopped_holder() -> Option<&'static str> {
    let queue = queue(false);
    queue.put(b"a").unwrap();
    let mut actor = Actor::standing("hold", &queue);
    actor.signal(Signal::SIGSTOP);
    actor.until_state('T');
    assert_eq!(queue.reclaim_dead().unwrap(), Reclaimed::default());
    for turn in 0..1000u32 {
        queue.put(&turn.to_le_bytes()).unwrap();
        assert_eq!(queue.get().unwrap(), turn.to_le_bytes());
    }
    queue.ack_got();
    assert_eq!(queue.stats().in_flight, 1);
    actor.signal(Signal::SIGCONT);
    actor.go_on();
    assert!(actor.end());
    assert_eq!(queue.stats().in_flight, 0);
    None
}

fn unsupervised_sleeper() -> Option<&'static str> {
    let queue = queue(false);
    queue.put(b"a").unwrap();
    let mut holder = Actor::standing("hold", &queue);
    let mut sleeper = Actor::standing("wait", &queue);
    sleeper.until_asleep();
    holder.kill();
    assert_eq!(sleeper.line(), "a 2");
    assert!(sleeper.end());
    None
}

fn supervised_sleeper() -> Option<&'static str> {
    let queue = queue(true);
    queue.put(b"a").unwrap();
    let mut holder = Actor::standing("hold", &queue);
    let mut sleeper = Actor::standing("wait", &queue);
    sleeper.until_asleep();
    holder.kill();
    assert_eq!(queue.reclaim(holder.pid()).unwrap().redelivered, 1);
    assert_eq!(sleeper.line(), "a 2");
    assert!(sleeper.end());
    None
}

fn leaderless_holder() -> Option<&'static str> {
    let queue = queue(false);
    queue.put(b"a").unwrap();
    let mut actor = Actor::standing("leaderless", &queue);
    // The first thread is a zombie, and the process with it as far as its state tells.
    actor.until_state('Z');
    assert_eq!(queue.reclaim_dead().unwrap(), Reclaimed::default());
    assert_eq!(queue.stats().in_flight, 1);
    actor.go_on();
    assert!(actor.end());
    assert_eq!(queue.stats().in_flight, 0);
    None
}

fn forked_child() -> Option<&'static str> {
    let queue = queue(true);
    queue.put(b"a").unwrap();
    queue.put(b"b").unwrap();
    let mut actor = Actor::start("fork", &queue);
    assert!(actor.end());
    queue.reclaim_dead().unwrap();
    assert_eq!((queue.stats().in_flight, queue.len()), (0, 0));
    None
}

fn reused_pid() -> Option<&'static str> {
    const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
    let queue = queue(true);
    for name in [b"a", b"b"] {
        queue.put(name).unwrap();
    }
    // Others start processes too and may take the number first, so it is tried some times.
    for _ in 0..200 {
        let mut first = Actor::standing("hold", &queue);
        let pid = first.pid();
        first.kill();
        let wish = std::fs::OpenOptions::new().write(true).open(LAST_PID);
        let Ok(mut wish) = wish else {
            return Some("only root may choose the next pid");
        };
        if write!(wish, "{}", pid - 1).is_err() {
            return Some("the next pid cannot be chosen here");
        }
        let mut second = Actor::start("hold", &queue);
        assert_eq!(second.line(), "here");
        let is_same = second.pid() == pid;
        if is_same && !has_lifelong_numbers() {
            return Some(
                "this kernel cannot tell two processes of one pid that begin within a hundredth second",
            );
        }
        let reclaimed = queue.reclaim(pid).unwrap();
        assert_eq!((reclaimed.dead, reclaimed.redelivered), (1, 1));
        if is_same {
            assert_eq!(queue.stats().in_flight, 1, "what the second holds is its own");
            second.go_on();
            assert!(second.end());
            return None;
        }
        second.kill();
        queue.reclaim(second.pid()).unwrap();
    }
    Some("somebody else always got the number")
}

/// Whether the kernel gives each process a number that no other has.
fn has_lifelong_numbers() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(9))
}

fn ways_to_end() -> Option<&'static str> {
    for (role, comes_again) in
        [("get-and-exit", false), ("get-and-forget", false), ("get-and-abort", true), ("get-and-panic", true)]
    {
        let queue = queue(true);
        queue.put(b"a").unwrap();
        let mut actor = Actor::start(role, &queue);
        actor.end();
        queue.reclaim(actor.pid()).unwrap();
        assert_eq!(queue.try_lease().is_ok(), comes_again, "{role}");
    }
    None
}

fn crowded() -> Option<&'static str> {
    let options = QueueOptions { capacity: Some(8), participants: 2, ..Default::default() };
    let queue = Queue::create_anonymous("crowded", &options).expect("memory");
    let other = || Queue::open(queue.descriptor_path()).expect("it is there");
    for name in [b"a", b"b"] {
        let putter = other();
        putter.put(name).unwrap();
    }
    let mut holders = [Actor::standing("hold", &queue), Actor::standing("hold", &queue)];
    assert_eq!(queue.try_put(b"c").unwrap_err().to_string(), ipc::Fault::Crowded.to_string());
    holders[0].kill();
    holders[1].kill();
    let mut got = Vec::new();
    while let Ok(lease) = queue.try_lease() {
        got.push((lease.bytes().to_vec(), lease.deliveries()));
        lease.ack();
        queue.reclaim_dead().unwrap();
    }
    got.sort();
    assert_eq!(got, [(b"a".to_vec(), 2), (b"b".to_vec(), 2)]);
    None
}

fn foreign_namespace() -> Option<&'static str> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue");
    let queue = Queue::create(&path, &QueueOptions { capacity: Some(4), ..Default::default() }).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(std::env::current_exe().unwrap());
    command.args(["role", "foreign"]).arg(&path);
    let can = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        return Some("no pid namespace can be made here");
    }
    assert!(command.status().unwrap().success());
    drop(queue);
    None
}

fn left_in_a_file() -> Option<&'static str> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue");
    let options = QueueOptions { capacity: Some(4), ..Default::default() };
    let queue = Queue::create(&path, &options).unwrap();
    queue.put(b"a").unwrap();
    let mut actor = Actor::standing("hold", &queue);
    actor.kill();
    drop(queue);
    let queue = Queue::open(&path).unwrap();
    let lease = queue.try_lease().unwrap();
    assert_eq!((lease.bytes(), lease.deliveries()), (&b"a"[..], 2));
    None
}

fn interrupted_sleeper() -> Option<&'static str> {
    let queue = queue(true);
    let flag = Arc::new(AtomicBool::new(false));
    queue.set_interrupt(Arc::clone(&flag));
    let sleeper = std::thread::spawn({
        let queue = queue.clone();
        move || queue.get()
    });
    flag.store(true, Ordering::Release);
    queue.wake_me();
    assert_eq!(sleeper.join().unwrap(), Err(GetError::Interrupted));
    flag.store(false, Ordering::Release);
    queue.put(b"a").unwrap();
    assert_eq!(queue.get().unwrap(), b"a");
    None
}

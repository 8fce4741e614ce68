//! A process that does what it is told, line by line.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use ipc::sync::{Family, Guard, Permit};

use crate::WATCHDOG;

/// A process of the test's own, killed when it goes out of scope.
pub struct Puppet {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Puppet {
    pub fn of(family: &Family, label: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .arg("child")
            .arg(family.descriptor_path())
            .arg(label)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process can be started");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in answers.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut puppet = Self { child, orders, answers: receiver };
        assert_eq!(puppet.answer(), "ready");
        puppet
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to do something, without waiting for the outcome.
    pub fn tell(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it listens");
    }

    /// What it says next.
    pub fn answer(&mut self) -> String {
        match self.answers.recv_timeout(WATCHDOG) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("process {} never answered", self.pid()),
            Err(RecvTimeoutError::Disconnected) => panic!("process {} has ended", self.pid()),
        }
    }

    pub fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.answer()
    }

    pub fn has_answered(&mut self) -> Option<String> {
        self.answers.try_recv().ok()
    }

    /// Kills it with SIGKILL and waits until it is gone; answers its pid.
    pub fn kill(mut self) -> u32 {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
        self.pid()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid() as i32), signal).expect("it is ours");
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Held {
    guards: HashMap<String, Guard>,
    permits: Vec<Permit>,
}

/// `child PATH LABEL`, then orders on standard input.
pub fn main(args: &[String]) -> ExitCode {
    let [path, label] = args else { return ExitCode::from(2) };
    let family = Family::open(path).expect("the family opens");
    family.set_label(label).expect("the family is well");
    let mut held = Held { guards: HashMap::new(), permits: Vec::new() };
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.expect("orders are text");
        let words: Vec<&str> = line.split(' ').collect();
        println!("{}", obey(&family, &mut held, &words));
    }
    ExitCode::SUCCESS
}

fn said<T, E: std::fmt::Display>(outcome: Result<T, E>) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn took<E: std::fmt::Display>(held: &mut Held, name: &str, outcome: Result<Guard, E>) -> String {
    match outcome {
        Err(error) => error.to_string(),
        Ok(guard) => {
            let answer = match guard.recovered() {
                None => "ok".to_owned(),
                Some(dead) => format!("recovered {} {}", dead.pid, dead.name.as_deref().unwrap_or("-")),
            };
            held.guards.insert(name.to_owned(), guard);
            answer
        }
    }
}

fn obey(family: &Family, held: &mut Held, words: &[&str]) -> String {
    let lock = |name: &str| family.lock(name).expect("a lock of this name");
    let semaphore = |name: &str| family.semaphore(name).expect("a semaphore of this name");
    match *words {
        ["acquire", name] => took(held, name, lock(name).acquire()),
        ["try", name] => took(held, name, lock(name).try_acquire()),
        ["timed", name, ms] => {
            let timeout = Duration::from_millis(ms.parse().expect("a number"));
            took(held, name, lock(name).acquire_timeout(timeout))
        }
        ["release", name] => {
            held.guards.remove(name).expect("it is held").release();
            "ok".to_owned()
        }
        ["permit", name] => match semaphore(name).acquire() {
            Ok(permit) => {
                held.permits.push(permit);
                "ok".to_owned()
            }
            Err(error) => error.to_string(),
        },
        ["keep"] => {
            held.permits.pop().expect("a permit is held").keep();
            "ok".to_owned()
        }
        ["consume"] => {
            held.permits.pop().expect("a permit is held").consume();
            "ok".to_owned()
        }
        ["event", name] => said(family.event(name).expect("an event of this name").wait()),
        ["set", name] => said(family.event(name).expect("an event of this name").set()),
        ["barrier", name] => match family.barrier(name).expect("a barrier of this name").wait() {
            Ok(_) => "passed".to_owned(),
            Err(error) => error.to_string(),
        },
        ["wait", name, with] => {
            let guard = held.guards.remove(with).expect("it is held");
            let waited = family.condition(name).expect("a condition of this name").wait(guard);
            took(held, with, waited)
        }
        ["count", times, name] => {
            let total = family.value("total").expect("a value of this name");
            for _ in 0..times.parse().expect("a number") {
                let _guard = (name != "-").then(|| lock(name).acquire().expect("the lock is taken"));
                total.add_unprotected(1);
            }
            "ok".to_owned()
        }
        ["churn"] => churn(family),
        _ => panic!("no such order: {words:?}"),
    }
}

/// Works for ever: under the lock it makes two numbers differ and equal again, and counts whoever finds them
/// different without having been told that the one before died; permits and a value beside it.
fn churn(family: &Family) -> String {
    let lock = family.lock("ledger").expect("made so");
    let rlock = family.rlock("deep").expect("made so");
    let semaphore = family.semaphore("gpu").expect("made so");
    let value = |name: &str| family.value(name).expect("made so");
    let (begun, ended, inside) = (value("begun"), value("ended"), value("inside"));
    let (faults, rounds, told) = (value("faults"), value("rounds"), value("told"));
    loop {
        let guard = lock.acquire().expect("there is no circle");
        if guard.recovered().is_some() {
            told.add(1);
            ended.set(begun.get());
        } else if begun.get() != ended.get() {
            faults.add(1);
        }
        begun.add_unprotected(1);
        ended.add_unprotected(1);
        drop(guard);
        {
            let outer = rlock.acquire().expect("there is no circle");
            let _inner = rlock.acquire().expect("it is ours");
            if outer.recovered().is_some() {
                inside.set(0);
            }
            if inside.add_unprotected(1) != 1 {
                faults.add(1);
            }
            inside.add_unprotected(-1);
        }
        drop(semaphore.acquire().expect("permits come back"));
        rounds.add(1);
    }
}

//! Adding a worker while the run goes on.

use std::path::PathBuf;

use control::api::{self, ApiError, ErrorCode, NewWorker};
use supervision::{After, Event, MAX_INSTANCES, Milestone, Policy, Request, Restart, Target, Worker};

use crate::asking::Outcome;
use crate::setup::{Command, Input, Output, StopTo, WorkerSetup};
use crate::the_loop::Loop;
use crate::waiting::{Until, Wanted};

/// A run has at most so many workers. Those that have ended count too: their names and their endings are kept.
const WORKERS_AT_MOST: usize = 100_000;

impl Loop {
    pub(crate) fn spawn(&mut self, new: NewWorker, wait: bool) -> Result<Outcome, ApiError> {
        self.refuse_while_stopping()?;
        let refused = |why: String| ApiError::new(ErrorCode::Refused, why);
        if self.setup.workers.len() >= WORKERS_AT_MOST {
            return Err(refused(format!("the run has {WORKERS_AT_MOST} workers, those that ended included")));
        }
        if new.instances > MAX_INSTANCES {
            let message = format!("a worker has at most {MAX_INSTANCES} instances");
            return Err(ApiError::new(ErrorCode::Usage, message));
        }
        let name = match new.name.clone() {
            Some(name) if self.roster.worker(&name).is_some() => {
                return Err(refused(format!("a worker is called {name:?} already")).hint(format!(
                    "`supervisor start {name}` starts it again; `spawn` without --name finds a name"
                )));
            }
            Some(name) => name,
            None => {
                let command = new.command.first().map_or("", String::as_str);
                free_name(command, |name| self.roster.worker(name).is_some())
            }
        };
        let worker = Worker {
            instances: new.instances,
            policy: policy(new.policy),
            restart: restart(new.restart),
            after: self.after(&new)?,
            ..Worker::named(&name)
        };
        let id = self.roster.add(name, new.instances);
        self.setup.workers.push(setup(new));
        if worker.policy == Policy::Daemon {
            self.need_guard();
        }
        self.tell_core([Event::Asked(Request::Add(Box::new(worker)))]);
        let wanted = self.instances_of_worker(id).map(|instance| Wanted { instance, not: None });
        let until = Until::Running(wanted.collect());
        self.when(wait, until)
    }

    fn after(&self, new: &NewWorker) -> Result<Vec<After>, ApiError> {
        let after = |(name, milestone): (&String, &api::Milestone)| match self.target(name)? {
            Target::Worker(worker) => Ok(After { worker, milestone: reached(*milestone) }),
            Target::Instance(_) => {
                Err(ApiError::new(ErrorCode::Usage, "it can come after a worker, not an instance"))
            }
        };
        new.after.iter().map(after).collect()
    }
}

fn setup(new: NewWorker) -> WorkerSetup {
    WorkerSetup {
        command: Command::Argv(new.command.into_iter().map(Into::into).collect()),
        args: "[]".into(),
        kwargs: "{}".into(),
        stop_signal: libc::SIGTERM,
        stop_to: StopTo::Main,
        env: new.env.into_iter().collect(),
        clear_env: false,
        cwd: PathBuf::from(new.cwd).into(),
        umask: 0o022,
        nice: 0,
        terms: None,
        rolling: false,
        stdin: Input::Null,
        stdout: Output::Log,
        stderr: Output::Log,
        log: None,
        notify: false,
        puts: Vec::new(),
    }
}

/// The name of the program without its folder, as far as that can be a name; with a number where it is taken.
fn free_name(program: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let file = program.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let fits = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = file.chars().take(100).map(fits).collect();
    let name = if control::is_name(&name) { name } else { "worker".to_owned() };
    if !is_taken(&name) {
        return name;
    }
    // Workers are not without number, so one of these is free.
    let mut number = 2u32;
    loop {
        let numbered = format!("{name}-{number}");
        if !is_taken(&numbered) {
            return numbered;
        }
        number += 1;
    }
}

fn policy(policy: api::Policy) -> Policy {
    match policy {
        api::Policy::Wait => Policy::Wait,
        api::Policy::Terminate => Policy::Terminate,
        api::Policy::Daemon => Policy::Daemon,
    }
}

fn restart(restart: api::Restart) -> Restart {
    match restart {
        api::Restart::Never => Restart::Never,
        api::Restart::OnFailure => Restart::OnFailure,
        api::Restart::Always => Restart::Always,
    }
}

fn reached(milestone: api::Milestone) -> Milestone {
    match milestone {
        api::Milestone::Started => Milestone::Started,
        api::Milestone::Ready => Milestone::Ready,
        api::Milestone::Succeeded => Milestone::Succeeded,
        api::Milestone::Ended => Milestone::Ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_called_as_its_program_and_by_a_number_where_that_is_taken() {
        let free = |program: &str| free_name(program, |_| false);
        assert_eq!(free("sleep"), "sleep");
        assert_eq!(free("/usr/bin/g++"), "g__");
        assert_eq!(free("./a b/"), "a_b");
        for odd in ["", "/", "12", ".."] {
            assert_eq!(free(odd), "worker", "{odd}");
        }
        assert!(control::is_name(&free(&"ü".repeat(300))));
        assert_eq!(free_name("sleep", |name| name == "sleep"), "sleep-2");
        assert_eq!(free_name("7", |name| ["worker", "worker-2"].contains(&name)), "worker-3");
    }
}

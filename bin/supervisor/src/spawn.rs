//! `spawn`: a worker from a shell script.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use control::Client;
use control::api::{Acted, ErrorCode, NewWorker, Request};

use crate::arguments::Spawn;
use crate::output::{print, print_json};
use crate::reach::call;
use crate::status::{instance_name, why};
use crate::talk::Failure;

/// Adds the worker, and prints a line `NAME PID` an instance.
///
/// # Errors
/// See [`call`]; exit 1 when it cannot be started.
pub fn spawn(
    connect: impl FnOnce() -> Result<Client, Failure>,
    new: Spawn,
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut client = connect().map_err(|failure| match failure {
        Failure::Error(error) if error.code == ErrorCode::NotRunning => {
            Failure::Error(error.hint("`supervisor run --empty --detach` starts one that waits for workers"))
        }
        other => other,
    })?;
    let (several, no_wait) = (new.instances != 1, new.no_wait);
    let request = Request::Spawn { worker: worker(new)?, wait: !no_wait };
    let acted: Acted = call(&mut client, &request)?;
    let lost = acted.instances.iter().find(|row| !no_wait && row.state == "failed" && row.exit.is_none());
    if let Some(row) = lost {
        let message = format!("{} failed: {}", instance_name(row), why(row));
        return Err(Failure::new(ErrorCode::Failed, message.trim_end_matches(": ")));
    }
    if json {
        print_json(&acted)?;
    } else {
        let mut text = String::new();
        for row in &acted.instances {
            let name = if several { instance_name(row) } else { row.worker.clone() };
            let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            text.push_str(&format!("{name} {pid}\n"));
        }
        print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn worker(new: Spawn) -> Result<NewWorker, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(ErrorCode::Failed, format!("this folder has gone: {error}")))?;
    let mut command = new.command;
    if let Some(program) = command.first_mut().filter(|program| program.as_bytes().contains(&b'/')) {
        *program = here.join(&*program).into_os_string();
    }
    let cwd = match &new.cwd {
        Some(cwd) => here.join(cwd),
        None => here,
    };
    // Through components, which leave out `.` and doubled slashes.
    let cwd = text(cwd.components().collect())?;
    if !Path::new(&cwd).is_dir() {
        return Err(Failure::new(ErrorCode::Usage, format!("{cwd} is no folder")));
    }
    Ok(NewWorker {
        name: new.name,
        command: command.into_iter().map(|word| word.into_vec().into()).collect(),
        cwd,
        env: new.env.into_iter().collect(),
        policy: new.policy,
        restart: new.restart,
        instances: new.instances,
        after: new.after.into_iter().collect(),
        queue_in: new.queue_in,
        queue_out: new.queue_out,
    })
}

/// Paths travel as JSON.
fn text(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string()
        .into_string()
        .map_err(|path| Failure::new(ErrorCode::Usage, format!("{} is not UTF-8", path.display())))
}

/// Everywhere `--name` picks the run, but behind `spawn` it names the worker: in front of `spawn` it is still the run,
/// which is then said as `--run`.
pub fn own_name(given: Vec<OsString>) -> Vec<OsString> {
    let mut front = Vec::new();
    let mut run = None;
    let mut words = given.iter();
    front.extend(words.next().cloned());
    while let Some(word) = words.next() {
        let shown = word.to_string_lossy();
        if shown == "--name" {
            let Some(name) = words.next() else { return given };
            run = Some(name.clone());
        } else if let Some(name) = shown.strip_prefix("--name=") {
            run = Some(name.into());
        } else if shown == "spawn" {
            front.push(word.clone());
            if let Some(run) = run {
                front.extend(["--run".into(), run]);
            }
            front.extend(words.cloned());
            return front;
        } else if shown.starts_with('-') {
            front.push(word.clone());
        } else {
            return given;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_front_of_spawn_is_the_run_and_behind_it_the_worker() {
        let own = |line: &str| -> String {
            let words = own_name(line.split(' ').map(OsString::from).collect());
            words.join(" ".as_ref()).to_string_lossy().into_owned()
        };
        let same = [
            "supervisor spawn --name web -- spawn --name x",
            "supervisor --name demo status",
            "supervisor status spawn",
            "supervisor --name",
            "supervisor",
        ];
        for line in same {
            assert_eq!(own(line), line);
        }
        assert_eq!(own("s --name demo --json spawn -- a"), "s --json spawn --run demo -- a");
        assert_eq!(own("s --name=demo spawn --name web -- a"), "s spawn --run demo --name web -- a");
    }
}

//! The command `supervisor`: words for people. Everything it does to a run goes through the control API, but for the
//! messages of queues, which it moves itself, and the locks, which it holds itself.
#![forbid(unsafe_code)]

mod act;
mod arguments;
mod check;
mod completing;
mod demo;
mod doctor;
mod granting;
mod kill;
mod logs;
mod messages;
mod offer;
mod output;
mod plan;
mod processes;
mod progress;
mod queue;
mod reach;
mod replay;
mod run;
mod setup;
mod source;
mod spawn;
mod status;
mod sync;
mod talk;
mod top;
mod why;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use control::api::{KillOrder, Request};

use arguments::{Arguments, Targets, Verb};
use reach::connect;
use talk::{Failure, conclude};

fn main() -> ExitCode {
    let given: Vec<OsString> = spawn::own_name(std::env::args_os().collect());
    // Before anything that takes memory: it is to be small, and may wait for long.
    if let [_, verb, supervisor, socket] = given.as_slice()
        && verb == runtime::guard::VERB
        && let Some(Ok(supervisor)) = supervisor.to_str().map(str::parse)
    {
        return match runtime::guard::guard(supervisor, Path::new(socket)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if let Some(code) = runtime::attendant::attend(&given).or_else(|| demo::part(&given)) {
        return code;
    }
    if let Some(code) = completing::answered(&given) {
        return code;
    }
    match Arguments::try_parse_from(&given) {
        Ok(arguments) => {
            let json = arguments.json;
            conclude(dispatch(arguments), json)
        }
        // Help and version are what was asked for; wrong usage is not.
        Err(error) if !error.use_stderr() => conclude(shown(&error), false),
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Where standard error is closed there is nobody left to tell.
            let _ = error.print();
            ExitCode::from(2)
        }
        Err(error) => conclude(Err(talk::usage_error(&error).into()), offer::wants_json(&given)),
    }
}

fn shown(error: &clap::Error) -> Result<ExitCode, Failure> {
    error.print()?;
    Ok(ExitCode::SUCCESS)
}

fn dispatch(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { json, progress, name, verb } = arguments;
    let manner = progress::Manner { json, progress };
    let supervisor = || connect(name.as_deref(), json);
    match verb {
        Verb::Run(given) => run::run(given, name, json),
        Verb::Check { config } => check::check(&config, json),
        Verb::Schema => check::schema(),
        Verb::Status { workers, watch: false } => status::status(supervisor()?, workers, json),
        Verb::Status { workers, watch: true } => status::watch(supervisor()?, workers, json),
        Verb::Ps { whom } => processes::ps(supervisor()?, &whom, json),
        Verb::Pid { workers } => processes::pid(supervisor()?, &workers, json),
        Verb::Start(Targets { workers, no_wait }) => {
            act::act(supervisor()?, &Request::Start { workers, wait: !no_wait }, manner)
        }
        Verb::Stop(Targets { workers, no_wait }) => {
            act::act(supervisor()?, &Request::Stop { workers, wait: !no_wait }, manner)
        }
        Verb::Restart { targets: Targets { workers, no_wait }, rolling } => {
            let restart = Request::Restart { workers, wait: !no_wait, rolling };
            act::act(supervisor()?, &restart, manner)
        }
        Verb::Scale { sizes: workers, no_wait } => {
            act::act(supervisor()?, &Request::Scale { workers, wait: !no_wait }, manner)
        }
        Verb::Spawn(new) => {
            let run = new.run.clone();
            spawn::spawn(|| connect(run.as_deref(), json), new, json)
        }
        Verb::Replay { journal, worker } => replay::replay(&journal, worker.as_deref(), json),
        Verb::Plan { config } => plan::plan(&plan::Which { config: &config, name: name.as_deref() }, json),
        Verb::Apply { config, no_wait } => {
            plan::apply(&plan::Which { config: &config, name: name.as_deref() }, !no_wait, manner)
        }
        Verb::Logs { worker, follow, lines } => logs::logs(supervisor()?, worker, lines, follow, json),
        Verb::Events { follow, after } => logs::events(supervisor()?, after, follow),
        Verb::Why { worker } => why::why(supervisor()?, worker, json),
        Verb::Doctor => doctor::doctor(json),
        Verb::Kill { whom, signal, tree, root_first, grace, wait, timeout, foreign, dry_run } => {
            let order = if root_first { KillOrder::RootFirst } else { KillOrder::LeavesFirst };
            let tree = tree.then_some(order);
            let blow = kill::Blow { signal, tree, grace, wait, timeout, foreign, dry_run };
            kill::kill(supervisor, &whom, blow, manner)
        }
        Verb::Wait { whom, timeout } => act::wait(supervisor()?, &whom, timeout, manner),
        Verb::Shutdown { now } => act::shutdown(supervisor()?, now, manner),
        Verb::Queue { verb } => queue::queue(supervisor, verb, manner),
        Verb::Lock { verb } => sync::lock(supervisor()?, verb, json),
        Verb::Semaphore { verb } => sync::semaphore(supervisor()?, verb, json),
        Verb::Event { verb } => sync::event(supervisor()?, verb, json),
        Verb::Value { verb } => sync::value(supervisor()?, verb, json),
        Verb::Barrier { verb } => sync::barrier(supervisor()?, verb, json),
        Verb::Top => {
            let name = name.clone();
            top::top(move || connect(name.as_deref(), json), json)
        }
        Verb::Demo { lesson, lang } => demo::demo(lesson.as_deref(), lang, json),
        Verb::Completions { shell } => completing::completions(shell),
        Verb::Man => offer::man(),
    }
}

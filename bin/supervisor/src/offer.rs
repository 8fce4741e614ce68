//! What the command tells about itself: the man page.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::arguments::command;
use crate::output::print;
use crate::talk::Failure;

/// Whether `--json` was given, for errors that come before the arguments are understood.
pub fn wants_json(given: &[OsString]) -> bool {
    given.iter().take_while(|word| *word != "--").any(|word| word == "--json")
}

/// `man`: the page of the command, then one a verb.
///
/// # Errors
/// When the output cannot be written.
pub fn man() -> Result<ExitCode, Failure> {
    let mut roff = Vec::new();
    let mut command = command().disable_help_subcommand(true);
    command.build();
    pages(&command, &mut roff)?;
    print(&String::from_utf8_lossy(&roff))?;
    Ok(ExitCode::SUCCESS)
}

fn pages(command: &clap::Command, roff: &mut Vec<u8>) -> Result<(), Failure> {
    clap_mangen::Man::new(command.clone()).render(roff)?;
    for verb in command.get_subcommands() {
        let name = verb.get_display_name().unwrap_or(verb.get_name()).to_owned();
        pages(&verb.clone().name(name), roff)?;
    }
    Ok(())
}

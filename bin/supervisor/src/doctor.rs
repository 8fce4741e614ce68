//! `doctor`: what this machine offers. It asks the kernel, and no supervisor.

use std::process::ExitCode;

use process::{Capability, Cgroups, Fact, is_capable};

use crate::output::{Cell, Colour, Side, Table, print, print_json, wants_colour};
use crate::talk::Failure;

/// How whole trees are kept together, found and killed: the name of the way, and what it means here.
fn tier(cgroups: &Cgroups) -> (&'static str, String) {
    match cgroups.unified() {
        Ok(_) => (
            "cgroup",
            "a worker with a limit on memory, pids or cpu, or with \"tree\": \"cgroup\", has a cgroup of its own: nothing \
             gets out of it, and it is killed in one step; the others, which start 150 us sooner, are kept by subreaper \
             and walk"
                .to_owned(),
        ),
        Err(why) => (
            "subreaper and walk",
            format!(
                "orphans come back to the supervisor, and trees are frozen and killed until they are empty; no cgroup can \
                 be had: {why}"
            ),
        ),
    }
}

/// Whether workers of other users can be let in.
fn doors() -> Fact {
    let place = runtime::place_of_doors();
    let (available, detail) = match &place {
        Ok(_) if !is_capable(Capability::Chown) => {
            (false, "workers of other users cannot be given a control socket (CAP_CHOWN)".to_owned())
        }
        Ok(place) => (true, format!("workers of other users get a control socket below {}", place.display())),
        Err(why) => (false, format!("workers of other users cannot be given a control socket: {why}")),
    };
    Fact { name: "their sockets", available, detail }
}

/// `doctor`: a row a fact, then the tier.
///
/// # Errors
/// When the output cannot be written.
pub fn doctor(json: bool) -> Result<ExitCode, Failure> {
    let mut facts = process::facts();
    let beside = facts.iter().position(|fact| fact.name == "other users").map_or(facts.len(), |at| at + 1);
    facts.insert(beside, doors());
    let (tier, why) = tier(&Cgroups::look());
    if json {
        let facts: Vec<serde_json::Value> = facts
            .iter()
            .map(|fact| {
                serde_json::json!({"name": fact.name, "available": fact.available, "detail": fact.detail})
            })
            .collect();
        print_json(&serde_json::json!({"tier": tier, "why": why, "facts": facts}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&[("WHAT", Side::Left), ("HERE", Side::Left), ("DETAIL", Side::Left)]);
    for fact in &facts {
        let (word, colour) = if fact.available { ("yes", Colour::Green) } else { ("no", Colour::Yellow) };
        table.row(vec![Cell::from(fact.name), Cell::coloured(word, colour), Cell::from(&fact.detail)]);
    }
    print(&format!("{}\ntier: {tier}: {why}\n", table.render(wants_colour())))?;
    Ok(ExitCode::SUCCESS)
}

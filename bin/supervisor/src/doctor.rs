//! `doctor`: what this machine offers. It asks the kernel, and no supervisor.

use std::process::ExitCode;

use crate::output::{Cell, Colour, Side, Table, print, print_json, wants_colour};
use crate::talk::Failure;

/// How whole trees are found and killed.
const TIER: &str = "subreaper and walk";

/// What that means.
const TIER_MEANS: &str = "orphans come back to the supervisor, and trees are frozen and killed until they are empty; \
                          cgroups are not used";

/// `doctor`: a row a fact, then the tier.
///
/// # Errors
/// When the output cannot be written.
pub fn doctor(json: bool) -> Result<ExitCode, Failure> {
    let facts = process::facts();
    if json {
        let facts: Vec<serde_json::Value> = facts
            .iter()
            .map(|fact| {
                serde_json::json!({"name": fact.name, "available": fact.available, "detail": fact.detail})
            })
            .collect();
        print_json(&serde_json::json!({"tier": TIER, "facts": facts}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&[("WHAT", Side::Left), ("HERE", Side::Left), ("DETAIL", Side::Left)]);
    for fact in &facts {
        let (word, colour) = if fact.available { ("yes", Colour::Green) } else { ("no", Colour::Yellow) };
        table.row(vec![Cell::from(fact.name), Cell::coloured(word, colour), Cell::from(&fact.detail)]);
    }
    print(&format!("{}\ntier: {TIER} ({TIER_MEANS})\n", table.render(wants_colour())))?;
    Ok(ExitCode::SUCCESS)
}

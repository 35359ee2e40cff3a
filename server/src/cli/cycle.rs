//! `metergate cycle`: from where billing periods are counted, and the resets that follow.

use clap::Subcommand;
use serde_json::json;

use super::Ending;
use super::client::{Client, of_organization, with_query};
use super::row::{Row, list};
use super::screen::{Screen, fields, plain};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show the cycle and its next twelve resets
    Show {
        /// The organization's key or id
        organization: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Count billing periods from another date; counters keep their values
    Set {
        /// The organization's key or id
        organization: String,
        /// A date such as 2026-11-01 (midnight in the organization's zone), or an instant
        date: String,
        /// Why; kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
        /// Only show what would be
        #[arg(long)]
        preview: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let (Command::Show { organization, json } | Command::Set { organization, json, .. }) = command;
    let path = of_organization(organization, "/billing-cycle");
    let answer = match command {
        Command::Show { .. } => client.get(&path)?,
        Command::Set { date, preview: true, .. } => {
            client.get(&with_query(&path, &[("billingCycleStartDate", date)]))?
        }
        Command::Set { date, reason, .. } => {
            client.patch(&path, &json!({ "billingCycleStartDate": date, "reason": reason }))?
        }
    };
    if *json {
        screen.print(answer.trim_end());
        return Ok(Ending::Done);
    }
    let cycle: Row = client.read(&path, &answer)?;
    screen.print(&fields(&cycle, &FIELDS));
    for reset in cycle.get("resets").and_then(|resets| list(resets)).unwrap_or_default() {
        screen.print(&format!("{:<15} {}", "reset", plain(&reset)));
    }
    if matches!(command, Command::Set { preview: true, .. }) {
        screen.note("nothing was changed: this is what the move would make of it");
    }
    Ok(Ending::Done)
}

const FIELDS: [(&str, &str); 4] = [
    ("organization", "organization"),
    ("counted from", "billingCycleStartDate"),
    ("time zone", "timeZone"),
    ("last reset", "lastReset"),
];

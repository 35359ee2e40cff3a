//! `metergate grant`: credit.

use clap::Subcommand;
use serde_json::json;

use super::Ending;
use super::client::{Client, of_organization};
use super::row::{Row, body, cell};
use super::screen::{Align, Screen, Table};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the credit that an organization was given, and what became of it
    List {
        /// Its key or id
        organization: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give credit; it is used once the limit of the period is
    Add {
        /// The organization's key or id
        organization: String,
        /// The meter
        meter: String,
        /// How much, in the meter's unit; above zero
        amount: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Lower is used first
        #[arg(long, allow_negative_numbers = true)]
        priority: Option<i32>,
        /// From when, RFC 3339; now where not given
        #[arg(long)]
        starts_at: Option<String>,
        /// The first instant after, RFC 3339; until it is used where not given
        #[arg(long)]
        expires_at: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take back what is left of credit
    Void {
        /// The organization's key or id
        organization: String,
        /// The number of the grant, as the list shows it
        id: u32,
        /// Why
        #[arg(long)]
        reason: String,
    },
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::List { organization, json } => list(client, organization, *json, screen)?,
        Command::Add { organization, meter, amount, reason, priority, starts_at, expires_at, json } => {
            let new = body([
                ("meter", Some(json!(meter))),
                ("amount", Some(json!(amount))),
                ("reason", Some(json!(reason))),
                ("priority", priority.map(|priority| json!(priority))),
                ("startsAt", starts_at.as_ref().map(|time| json!(time))),
                ("expiresAt", expires_at.as_ref().map(|time| json!(time))),
            ]);
            let path = of_organization(organization, "/grants");
            let answer = client.post(&path, &new)?;
            if *json {
                screen.print(answer.trim_end());
            } else {
                let grant: Row = client.read(&path, &answer)?;
                let [id, amount, meter] = ["id", "amount", "meter"].map(|field| cell(&grant, field));
                screen.print(&format!("grant {id}: {amount} of {meter} for {organization}"));
            }
        }
        Command::Void { organization, id, reason } => {
            let path = of_organization(organization, &format!("/grants/{id}"));
            client.delete_with(&path, &json!({ "reason": reason }))?;
            screen.note(&format!("voided grant {id} of {organization}"));
        }
    }
    Ok(Ending::Done)
}

const COLUMNS: [(&str, Align); 10] = [
    ("id", Align::Right),
    ("meter", Align::Left),
    ("amount", Align::Right),
    ("used", Align::Right),
    ("held", Align::Right),
    ("remaining", Align::Right),
    ("state", Align::Left),
    ("priority", Align::Right),
    ("expiresAt", Align::Left),
    ("reason", Align::Left),
];

fn list(client: &Client, organization: &str, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    let grants = client.list(&of_organization(organization, "/grants"), &[])?;
    if json {
        screen.print(&serde_json::to_string(&json!({ "data": grants }))?);
    } else {
        screen.print(&Table::of(&COLUMNS, &grants)?.text());
    }
    Ok(())
}

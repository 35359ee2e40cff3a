//! `metergate org`: organizations.

use clap::Subcommand;
use serde_json::{Map, json};

use super::Ending;
use super::client::{Client, segment};
use super::row::{Row, cell, rows};
use super::screen::{Align, Screen, Table, plain};
use super::usage;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create an organization
    Create {
        /// Its key: 1 to 128 of A-Z a-z 0-9 . _ : @ -
        key: String,
        /// Its name; the key where not given
        #[arg(long)]
        name: Option<String>,
        /// Its plan
        #[arg(long)]
        plan: Option<String>,
        /// Its time zone, such as Europe/Berlin; UTC where not given
        #[arg(long)]
        time_zone: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the organizations
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an organization and its use in the current period
    Show {
        /// Its key or id
        organization: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::Create { key, name, plan, time_zone, json } => {
            let mut body = Map::new();
            body.insert("key".to_owned(), json!(key));
            body.insert("name".to_owned(), json!(name.as_ref().unwrap_or(key)));
            body.extend(plan.as_ref().map(|plan| ("plan".to_owned(), json!(plan))));
            body.extend(time_zone.as_ref().map(|zone| ("timeZone".to_owned(), json!(zone))));
            let answer = client.post("/v1/organizations", &body)?;
            show(client, &answer, *json, screen)?;
        }
        Command::List { json } => list(client, *json, screen)?,
        Command::Show { organization, json } => {
            let answer = client.get(&format!("/v1/organizations/{}", segment(organization)))?;
            show(client, &answer, *json, screen)?;
            if !json {
                screen.print("");
                usage::current(client, organization, false, screen)?;
            }
        }
    }
    Ok(Ending::Done)
}

fn list(client: &Client, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    let organizations = client.list("/v1/organizations", &[])?;
    if json {
        screen.print(&serde_json::to_string(&json!({ "data": organizations }))?);
        return Ok(());
    }
    let columns = ["key", "name", "plan", "status", "locked", "timeZone", "nextResetDate"];
    screen.print(&Table::of(&columns.map(|name| (name, Align::Left)), &organizations)?.text());
    Ok(())
}

fn show(client: &Client, answer: &str, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    if json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let organization: Row = client.read("/v1/organizations", answer)?;
    for (label, field) in FIELDS {
        screen.print(&format!("{label:<15} {}", plain(&cell(&organization, field))));
    }
    for lock in rows(&organization, "locks") {
        screen.print(&format!(
            "{:<15} {} {}",
            "locked by",
            plain(&cell(&lock, "cause")),
            plain(&cell(&lock, "reason"))
        ));
    }
    Ok(())
}

const FIELDS: [(&str, &str); 10] = [
    ("key", "key"),
    ("id", "id"),
    ("name", "name"),
    ("plan", "plan"),
    ("plan version", "planVersion"),
    ("status", "status"),
    ("trial ends", "trialEndsAt"),
    ("time zone", "timeZone"),
    ("next reset", "nextResetDate"),
    ("created", "createdAt"),
];

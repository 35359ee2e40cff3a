//! `metergate plan`: plans, and who is on which.

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::Ending;
use super::client::{Client, of_organization, segment};
use super::organization;
use super::row::{Row, body, cell, rows};
use super::screen::{Align, Screen, Table, fields};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the plans
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a plan and its limits
    Show {
        /// Its key
        plan: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Move an organization to a plan
    Set {
        /// The organization's key or id
        organization: String,
        /// The plan's key
        plan: String,
        /// Its version; the newest where not given
        #[arg(long)]
        version: Option<u32>,
        /// At once, or when the open billing period ends
        #[arg(long, value_enum, default_value_t)]
        at: At,
        /// Keep the organization's overrides
        #[arg(long)]
        keep_overrides: bool,
        /// Why; kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// When a plan changes.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(super) enum At {
    #[default]
    Now,
    #[value(name = "periodEnd", alias = "period-end")]
    PeriodEnd,
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::List { json } => list(client, *json, screen)?,
        Command::Show { plan, json } => show(client, plan, *json, screen)?,
        Command::Set { organization, plan, version, at, keep_overrides, reason, json } => {
            let at = match at {
                At::Now => "now",
                At::PeriodEnd => "periodEnd",
            };
            let change = body([
                ("plan", Some(json!(plan))),
                ("version", version.map(|version| json!(version))),
                ("at", Some(json!(at))),
                ("keepOverrides", Some(json!(keep_overrides))),
                ("reason", Some(json!(reason))),
            ]);
            let answer = client.put(&of_organization(organization, "/plan"), &change)?;
            organization::show(client, &answer, *json, screen)?;
        }
    }
    Ok(Ending::Done)
}

fn list(client: &Client, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    let plans = client.list("/v1/plans", &[])?;
    if json {
        screen.print(&serde_json::to_string(&json!({ "data": plans }))?);
        return Ok(());
    }
    let columns = [("key", Align::Left), ("version", Align::Right), ("name", Align::Left), ("createdAt", Align::Left)];
    screen.print(&Table::of(&columns, &plans)?.text());
    Ok(())
}

fn show(client: &Client, plan: &str, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    let path = format!("/v1/plans/{}", segment(plan));
    let answer = client.get(&path)?;
    if json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let plan: Row = client.read(&path, &answer)?;
    screen.print(&fields(&plan, &[("key", "key"), ("version", "version"), ("name", "name"), ("created", "createdAt")]));
    let columns =
        [("meter", Align::Left), ("window", Align::Left), ("max", Align::Right), ("enforcement", Align::Left)];
    let mut table = Table::new(&columns);
    for limit in rows(&plan, "limits") {
        let max = if cell(&limit, "unlimited") == "true" { "unlimited".to_owned() } else { cell(&limit, "max") };
        table.row(vec![cell(&limit, "meter"), cell(&limit, "window"), max, cell(&limit, "enforcement")]);
    }
    screen.print(&format!("\n{}", table.text()));
    Ok(())
}

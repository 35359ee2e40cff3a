//! `metergate org`: organizations.

use clap::Subcommand;
use serde_json::json;

use super::Ending;
use super::client::{Client, of_organization};
use super::row::{Row, body, cell, object, rows};
use super::screen::{Align, Screen, Table, fields, plain};
use super::{member, usage};

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
        /// A test organization, which can have a clock of its own
        #[arg(long)]
        test: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change its key, name or time zone
    Update {
        /// Its key or id
        organization: String,
        /// Its new key
        #[arg(long)]
        key: Option<String>,
        /// Its new name
        #[arg(long, required_unless_present_any = ["key", "time_zone"])]
        name: Option<String>,
        /// Its new time zone
        #[arg(long)]
        time_zone: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete it with everything of it, for good
    Delete {
        /// Its key or id
        organization: String,
        /// Do it: nothing brings it back
        #[arg(long)]
        yes: bool,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let its trial end at another time; one that is over goes on until then
    Trial {
        /// Its key or id
        organization: String,
        /// When, RFC 3339
        ends_at: String,
        /// Why; kept in the audit log
        #[arg(long)]
        reason: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set the clock of a test organization: to any time while nothing is recorded, then forward
    Clock {
        /// Its key or id
        organization: String,
        /// What it is to show, RFC 3339
        now: String,
        /// Why; kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List its members
    Members(member::List),
    /// Invite somebody; prints a link to pass on, which opens once within 7 days
    Invite(member::Invite),
    /// List who is invited and has not come yet
    Invitations(member::List),
    /// Invite again: prints another link, for another 7 days; the one before opens nothing any more
    InviteAgain(member::Again),
    /// Withdraw an invitation
    Withdraw(member::Withdraw),
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
        Command::Create { key, name, plan, time_zone, test, json } => {
            let name = name.as_ref().unwrap_or(key);
            let new = body([
                ("key", Some(json!(key))),
                ("name", Some(json!(name))),
                ("plan", plan.as_ref().map(|plan| json!(plan))),
                ("timeZone", time_zone.as_ref().map(|zone| json!(zone))),
                ("test", test.then_some(json!(true))),
            ]);
            let answer = client.post("/v1/organizations", &new)?;
            show(client, &answer, *json, screen)?;
        }
        Command::Update { organization, key, name, time_zone, json } => {
            let change = [("key", key), ("name", name), ("timeZone", time_zone)];
            let change = body(change.map(|(field, value)| (field, value.as_ref().map(|value| json!(value)))));
            let answer = client.patch(&of_organization(organization, ""), &change)?;
            show(client, &answer, *json, screen)?;
        }
        Command::Trial { organization, ends_at, reason, json } => {
            let path = of_organization(organization, "/trial");
            let answer = client.put(&path, &json!({ "endsAt": ends_at, "reason": reason }))?;
            show(client, &answer, *json, screen)?;
        }
        Command::Clock { organization, now, reason, json } => {
            let path = of_organization(organization, "/clock");
            let answer = client.put(&path, &json!({ "now": now, "reason": reason }))?;
            show(client, &answer, *json, screen)?;
        }
        Command::Members(asked) => member::list(client, asked, screen)?,
        Command::Invite(asked) => member::invite(client, asked, screen)?,
        Command::Invitations(asked) => member::invitations(client, asked, screen)?,
        Command::InviteAgain(asked) => member::invite_again(client, asked, screen)?,
        Command::Withdraw(asked) => member::withdraw(client, asked, screen)?,
        Command::Delete { organization, yes, reason } => delete(client, organization, *yes, reason, screen)?,
        Command::List { json } => list(client, *json, screen)?,
        Command::Show { organization, json } => {
            let answer = client.get(&of_organization(organization, ""))?;
            show(client, &answer, *json, screen)?;
            if !json {
                screen.print("");
                usage::current(client, organization, false, screen)?;
            }
        }
    }
    Ok(Ending::Done)
}

fn delete(client: &Client, organization: &str, yes: bool, reason: &str, screen: &dyn Screen) -> anyhow::Result<()> {
    if !yes {
        anyhow::bail!(
            "this deletes {} with all of its use, limits, keys and members, for good: say --yes",
            plain(organization)
        );
    }
    client.delete_with(&of_organization(organization, ""), &json!({ "reason": reason }))?;
    screen.print(&format!("{} is deleted", plain(organization)));
    Ok(())
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

/// Prints an organization that the server answered.
pub(super) fn show(client: &Client, answer: &str, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    if json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let organization: Row = client.read("/v1/organizations", answer)?;
    screen.print(&fields(&organization, &FIELDS));
    if cell(&organization, "test") == "true" {
        screen.print(&fields(&organization, &[("clock", "clock")]));
    }
    if let Some(scheduled) = object(&organization, "scheduledPlan") {
        let [plan, version, at] = ["plan", "version", "at"].map(|field| plain(&cell(&scheduled, field)));
        screen.print(&format!("{:<15} {plan} version {version} at {at}", "scheduled plan"));
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

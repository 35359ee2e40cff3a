//! `metergate org members` and `metergate org invite`: who may act for an organization.

use serde_json::json;

use super::client::{Client, of_organization};
use super::row::{Row, cell};
use super::screen::{Align, Screen, Table, plain};

/// Whose members.
#[derive(clap::Args)]
pub(super) struct List {
    /// Its key or id
    organization: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Whom to invite.
#[derive(clap::Args)]
pub(super) struct Invite {
    /// The organization's key or id
    organization: String,
    /// Their address
    email: String,
    /// What they will be able to do: viewer, editor, admin or owner
    #[arg(long)]
    role: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn list(client: &Client, asked: &List, screen: &dyn Screen) -> anyhow::Result<()> {
    let members = client.list(&of_organization(&asked.organization, "/members"), &[])?;
    if asked.json {
        screen.print(&serde_json::to_string(&json!({ "data": members }))?);
        return Ok(());
    }
    let columns = ["id", "email", "name", "role", "active", "createdAt"];
    screen.print(&Table::of(&columns.map(|name| (name, Align::Left)), &members)?.text());
    Ok(())
}

/// The link alone on standard output, so that a script can take it.
pub(super) fn invite(client: &Client, asked: &Invite, screen: &dyn Screen) -> anyhow::Result<()> {
    let path = of_organization(&asked.organization, "/invitations");
    let answer = client.post(&path, &json!({ "email": asked.email, "role": asked.role }))?;
    if asked.json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let made: Row = client.read(&path, &answer)?;
    let [email, expires] = ["email", "expiresAt"].map(|field| plain(&cell(&made, field)));
    screen.note(&format!("{email} joins by this link, once, until {expires}; hand it to nobody else:"));
    screen.print(&cell(&made, "url"));
    Ok(())
}

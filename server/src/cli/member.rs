//! `metergate org members`, `invite`, `invitations`, `invite-again` and `withdraw`: who may act for an organization, or is asked to.

use serde_json::json;

use super::client::{Client, of_organization, segment};
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

/// Which invitation.
#[derive(clap::Args)]
pub(super) struct Again {
    /// The organization's key or id
    organization: String,
    /// The id of the invitation, as the list shows it
    invitation: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which invitation, and why.
#[derive(clap::Args)]
pub(super) struct Withdraw {
    /// The organization's key or id
    organization: String,
    /// The id of the invitation, as the list shows it
    invitation: String,
    /// Why; kept in the audit log
    #[arg(long, default_value = "")]
    reason: String,
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
    show(client, &path, &answer, asked.json, screen)
}

/// The same of somebody who is invited already.
pub(super) fn invite_again(client: &Client, asked: &Again, screen: &dyn Screen) -> anyhow::Result<()> {
    let path = of_organization(&asked.organization, &format!("/invitations/{}/resend", segment(&asked.invitation)));
    let answer = client.post(&path, &json!({}))?;
    show(client, &path, &answer, asked.json, screen)
}

pub(super) fn invitations(client: &Client, asked: &List, screen: &dyn Screen) -> anyhow::Result<()> {
    let open = client.list(&of_organization(&asked.organization, "/invitations"), &[])?;
    if asked.json {
        screen.print(&serde_json::to_string(&json!({ "data": open }))?);
        return Ok(());
    }
    let columns = ["id", "email", "role", "invitedBy", "invitedAt", "expiresAt"];
    screen.print(&Table::of(&columns.map(|name| (name, Align::Left)), &open)?.text());
    Ok(())
}

pub(super) fn withdraw(client: &Client, asked: &Withdraw, screen: &dyn Screen) -> anyhow::Result<()> {
    let path = of_organization(&asked.organization, &format!("/invitations/{}", segment(&asked.invitation)));
    client.delete_with(&path, &json!({ "reason": asked.reason }))?;
    screen.note(&format!("withdrew {}", plain(&asked.invitation)));
    Ok(())
}

fn show(client: &Client, path: &str, answer: &str, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    if json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let made: Row = client.read(path, answer)?;
    let [email, expires] = ["email", "expiresAt"].map(|field| plain(&cell(&made, field)));
    screen.note(&format!("{email} joins by this link, once, until {expires}; hand it to nobody else:"));
    screen.print(&cell(&made, "url"));
    Ok(())
}

//! `metergate key`: API keys.

use clap::Subcommand;
use metergate_rules::time::{DAY, Time};
use serde_json::{Map, Value, json};

use super::Ending;
use super::client::{Client, of_organization, segment};
use super::row::{Row, cell};
use super::screen::{Align, Screen, Table};
use crate::clock;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a key; it is shown this once
    Create {
        /// What the key is for
        #[arg(long)]
        name: String,
        /// What it may do: ingest (send events), consume (decide and reserve), read, admin
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// The only organization it may act on
        #[arg(long)]
        organization: Option<String>,
        /// Days until it expires; never where not given
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        expires_in_days: Option<u32>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the keys
    List {
        /// Only those that are bound to this organization
        #[arg(long)]
        organization: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key
    Revoke {
        /// The id of the key, as the list shows it
        id: String,
        /// Why; kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::Create { name, scopes, organization, expires_in_days, json } => {
            let expiry = expires_in_days.map(|days| clock::wall().plus(i64::from(days) * DAY));
            let answer = client.post("/v1/api-keys", &body(name, scopes, organization.as_deref(), expiry))?;
            show_created(client, &answer, *json, screen)?;
        }
        Command::List { organization, json } => list(client, organization.as_deref(), *json, screen)?,
        Command::Revoke { id, reason } => {
            client.delete_with(&format!("/v1/api-keys/{}", segment(id)), &json!({ "reason": reason }))?;
            screen.note(&format!("revoked {id}"));
        }
    }
    Ok(Ending::Done)
}

fn body(name: &str, scopes: &[String], organization: Option<&str>, expires_at: Option<Time>) -> Value {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(name));
    body.insert("scopes".to_owned(), json!(scopes));
    body.extend(organization.map(|key| ("organization".to_owned(), json!(key))));
    body.extend(expires_at.map(|time| ("expiresAt".to_owned(), json!(time.to_string()))));
    Value::Object(body)
}

/// The key alone on standard output, so that a script can take it.
fn show_created(client: &Client, answer: &str, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    if json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let key: Row = client.read("/v1/api-keys", answer)?;
    screen.note(&format!("created key {} ({}); it is not shown again:", cell(&key, "id"), cell(&key, "name")));
    screen.print(&cell(&key, "key"));
    Ok(())
}

fn list(client: &Client, organization: Option<&str>, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    let path = organization.map_or_else(|| "/v1/api-keys".to_owned(), |key| of_organization(key, "/api-keys"));
    let keys = client.list(&path, &[])?;
    if json {
        screen.print(&serde_json::to_string(&json!({ "data": keys }))?);
        return Ok(());
    }
    let columns = ["id", "name", "scopes", "organization", "createdAt", "expiresAt"];
    screen.print(&Table::of(&columns.map(|name| (name, Align::Left)), &keys)?.text());
    Ok(())
}

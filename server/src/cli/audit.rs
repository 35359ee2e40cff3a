//! `metergate audit`: the audit log, and whether it is as it was written.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use serde_json::value::RawValue;

use super::Ending;
use super::client::{Client, segment};
use super::row::{Row, shown};
use super::screen::{Align, Screen, Table};
use crate::spreadsheet;

mod archive;
mod prune;
mod verify;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the newest entries
    List {
        #[command(flatten)]
        which: Which,
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print all entries, newest first
    Export {
        #[command(flatten)]
        which: Which,
        /// Lines of JSON, or CSV
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the signed ends of all chains, to be kept where nobody can change them
    Head,
    /// Have the server write older entries into a file and drop them behind a checkpoint
    Prune(prune::Prune),
    /// Name the first entry of each chain that was changed, dropped or moved
    Verify {
        /// What `audit head` printed earlier: then also what was cut off or written anew is named
        #[arg(long)]
        against: Option<PathBuf>,
        /// Verify this file of dropped entries instead, without a server
        #[arg(long, conflicts_with = "against")]
        archive: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which entries.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Of this organization; of the team where not given
    #[arg(long)]
    organization: Option<String>,
    /// By this actor, such as key:backend
    #[arg(long)]
    actor: Option<String>,
    /// Of this action, such as plan.change
    #[arg(long)]
    action: Option<String>,
    /// Of this category, such as quota
    #[arg(long)]
    category: Option<String>,
    /// The first instant, RFC 3339
    #[arg(long)]
    from: Option<String>,
    /// The first instant after, RFC 3339
    #[arg(long)]
    to: Option<String>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(super) enum Format {
    #[default]
    Jsonl,
    Csv,
}

impl Which {
    fn path(&self) -> String {
        let of = |organization: &String| format!("/v1/organizations/{}/audit-log", segment(organization));
        self.organization.as_ref().map_or_else(|| "/v1/audit-log".to_owned(), of)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        let all = [
            ("actor", &self.actor),
            ("action", &self.action),
            ("category", &self.category),
            ("from", &self.from),
            ("to", &self.to),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::List { which, limit, json } => list(client, which, *limit, *json, screen)?,
        Command::Export { which, format } => export(client, which, *format, screen)?,
        Command::Head => screen.print(client.get("/v1/audit-log/head?format=jsonl")?.trim_end()),
        Command::Prune(asked) => prune::run(client, asked, screen)?,
        Command::Verify { archive: Some(file), json, .. } => return archive::run(file, *json, screen),
        Command::Verify { against, json, .. } => return verify::run(client, against.as_deref(), *json, screen),
    }
    Ok(Ending::Done)
}

fn list(client: &Client, which: &Which, limit: usize, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    let mut entries = Vec::new();
    client.each_page(&which.path(), &which.query(), |page| {
        entries.extend(page);
        Ok::<_, anyhow::Error>(entries.len() < limit)
    })?;
    entries.truncate(limit);
    if json {
        screen.print(&serde_json::to_string(&json!({ "data": entries }))?);
        return Ok(());
    }
    let columns = ["time", "actor", "action", "category", "before", "after", "details", "reason"];
    let columns = columns.map(|name| (name, Align::Left));
    screen.print(&Table::of(&[&[("seq", Align::Right)], &columns[..]].concat(), &entries)?.text());
    Ok(())
}

fn export(client: &Client, which: &Which, format: Format, screen: &dyn Screen) -> anyhow::Result<()> {
    let mut is_first = true;
    client.each_page(&which.path(), &which.query(), |page| {
        let text = match format {
            Format::Jsonl => page.iter().map(|entry| entry.get()).collect::<Vec<_>>().join("\n"),
            Format::Csv => as_csv(&page, std::mem::take(&mut is_first))?,
        };
        if !text.is_empty() {
            screen.print(&text);
        }
        Ok::<_, anyhow::Error>(true)
    })
}

const COLUMNS: [&str; 9] = ["seq", "time", "actor", "action", "category", "before", "after", "details", "reason"];
const RESOLVED: [(&str, &str); 3] = [("resolvedAt", "at"), ("resolvedBy", "by"), ("resolvedNote", "note")];

/// The same columns as the server's.
fn as_csv(entries: &[Box<RawValue>], with_names: bool) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if with_names {
        writer.write_record(COLUMNS.into_iter().chain(RESOLVED.map(|(name, _)| name)).chain(["hash"]))?;
    }
    for entry in entries {
        let row: Row = serde_json::from_str(entry.get())?;
        let resolved: Option<Row> = row.get("resolved").and_then(|raw| serde_json::from_str(raw.get()).ok());
        let resolved = RESOLVED.map(|(_, field)| resolved.as_ref().map_or_else(String::new, |row| text(row, field)));
        let columns = COLUMNS.map(|field| text(&row, field));
        let texts = columns.into_iter().chain(resolved).chain([text(&row, "hash")]);
        writer.write_record(texts.map(|text| spreadsheet::cell(&text).into_owned()))?;
    }
    let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(String::from_utf8(bytes)?.trim_end().to_owned())
}

/// A field as it stands in CSV: empty where it is not there or null.
fn text(row: &Row, field: &str) -> String {
    row.get(field).filter(|raw| raw.get() != "null").map_or_else(String::new, |raw| shown(raw))
}

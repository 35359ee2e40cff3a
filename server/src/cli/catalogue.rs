//! `metergate catalogue`: the meters, plans and prices of the server, and a file that changes them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use serde_json::value::RawValue;

use super::Ending;
use super::client::{Client, Repeat, with_query};
use super::row::{Row, cell, list, rows};
use super::screen::{Align, Screen, Table, plain};
use super::what_if::{self, Foreseen};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show the difference, ask, and apply a catalogue file
    Apply {
        /// The catalogue file (TOML)
        file: PathBuf,
        /// Leave organizations on the versions that their plans have now
        #[arg(long)]
        keep: bool,
        /// Apply without asking
        #[arg(long)]
        yes: bool,
        /// Print the server's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the meters, plans and prices in force
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what applying a catalogue file would change
    Diff {
        /// The catalogue file (TOML)
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::Show { json } => show(client, *json, screen),
        Command::Diff { file, json } => {
            let content = content(file)?;
            let changes = Changes::ask(client, &content, false)?;
            screen.print(if *json { changes.answer.trim_end() } else { &changes.text });
            if changes.of_plans {
                what_if::before_applying(client, &content, what_if::ASKED, screen);
            }
            Ok(Ending::Done)
        }
        Command::Apply { file, keep, yes, json } => {
            let content = content(file)?;
            let changes = Changes::ask(client, &content, *keep)?;
            match (changes.any, json) {
                (false, true) => screen.print(changes.answer.trim_end()),
                // For people to see before they say yes: beside a JSON result it is a note.
                (true, true) => screen.note(&changes.text),
                (_, false) => screen.print(&changes.text),
            }
            if !changes.any {
                return Ok(Ending::Done);
            }
            // Whoever stays on the old version is refused nothing by the new one.
            let foreseen = match changes.of_plans && !keep {
                true => {
                    let within = if *yes { what_if::UNASKED } else { what_if::ASKED };
                    what_if::before_applying(client, &content, within, screen)
                }
                false => Foreseen::Nothing,
            };
            if *yes || confirmed(foreseen, screen) {
                apply(client, &content, *keep, *json, screen)
            } else {
                Ok(Ending::Unconfirmed)
            }
        }
    }
}

fn content(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn confirmed(foreseen: Foreseen, screen: &dyn Screen) -> bool {
    let answer = screen.confirm(match foreseen {
        Foreseen::Refusals => "Requests that were allowed would have been refused. Apply these changes all the same?",
        Foreseen::Unknown => "What they would have refused is not known. Apply these changes all the same?",
        Foreseen::Nothing => "Apply these changes?",
    });
    match answer {
        Some(true) => {}
        Some(false) => screen.note("nothing was changed"),
        None => screen.note("nothing was changed: pass --yes to apply without a terminal"),
    }
    answer == Some(true)
}

const TOML: &str = "application/toml";

/// What a file would change.
struct Changes {
    /// The server's answer.
    answer: String,
    /// The same for people.
    text: String,
    /// Whether there is any difference.
    any: bool,
    /// Whether a plan changes, or whoever is on an older version of one.
    of_plans: bool,
}

impl Changes {
    /// Organizations that are behind are to be moved, too, unless they are kept.
    fn ask(client: &Client, content: &str, keep: bool) -> anyhow::Result<Self> {
        let path = "/v1/catalog/diff";
        let answer = client.post_as(path, TOML, content.as_bytes(), Repeat::Safe)?;
        let changes: Row = client.read(path, &answer)?;
        let lines = change_lines(&changes, keep);
        let (any, of_plans) = (!lines.is_empty(), rows(&changes, "plans").iter().any(|plan| is_changed(plan, keep)));
        Ok(Self { answer, of_plans, text: if any { lines.join("\n") } else { "nothing differs".to_owned() }, any })
    }
}

fn apply(client: &Client, content: &str, keep: bool, json: bool, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let path = with_query("/v1/catalog/apply", if keep { &[("keep", "true")] } else { &[] });
    // Applying the same file twice changes nothing the second time.
    let answer = client.post_as(&path, TOML, content.as_bytes(), Repeat::Safe)?;
    screen.print(if json { answer.trim_end() } else { "applied" });
    Ok(Ending::Done)
}

/// A line for each meter and plan that changes, or by which an organization does, and one below it for each detail.
fn change_lines(changes: &Row, keep: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, field) in [("meter", "meters"), ("plan", "plans"), ("price", "prices")] {
        let rows = rows(changes, field);
        for change in rows.iter().filter(|change| is_changed(change, keep)) {
            lines.push(plain(&headline(kind, change)));
            let details = change.get("details").and_then(|raw| list(raw)).unwrap_or_default();
            lines.extend(details.iter().map(|detail| format!("    {}", plain(detail))));
        }
    }
    lines
}

/// Whether it changes, or an organization does by it.
fn is_changed(change: &Row, keep: bool) -> bool {
    let is_behind = !keep && !matches!(cell(change, "organizations").as_str(), "–" | "0");
    cell(change, "change") != "unchanged" || is_behind
}

fn headline(kind: &str, change: &Row) -> String {
    let sign = match cell(change, "change").as_str() {
        "added" => '+',
        "removed" => '-',
        "unchanged" => '=',
        _ => '~',
    };
    let versions = match (cell(change, "fromVersion").as_str(), cell(change, "toVersion").as_str()) {
        ("–", _) | (_, "–") => String::new(),
        (from, to) if from == to => format!(", version {to}"),
        (from, to) => format!(", version {from} → {to}"),
    };
    let organizations = match cell(change, "organizations").as_str() {
        "–" | "0" => String::new(),
        "1" => ", 1 organization on an older one".to_owned(),
        count => format!(", {count} organizations on an older one"),
    };
    format!("{sign} {kind} {}{versions}{organizations}", cell(change, "key"))
}

fn show(client: &Client, json: bool, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let (meters, plans) = (client.list("/v1/meters", &[])?, client.list("/v1/plans", &[])?);
    let prices = super::price::all(client)?;
    if json {
        screen.print(&serde_json::to_string(&json!({ "meters": meters, "plans": plans, "prices": prices }))?);
        return Ok(Ending::Done);
    }
    let columns = ["key", "unit", "eventType", "aggregation", "decimals", "dimensions"];
    screen.print(&format!("{}\n", Table::of(&columns.map(|name| (name, Align::Left)), &meters)?.text()));
    screen.print(&format!("{}\n", limits(&plans)?.text()));
    screen.print(&super::price::table(&prices)?.text());
    Ok(Ending::Done)
}

/// Every limit of every plan.
fn limits(plans: &[Box<RawValue>]) -> anyhow::Result<Table> {
    let left = ["plan", "version", "meter", "window"].map(|name| (name, Align::Left));
    let columns = [left.as_slice(), &[("max", Align::Right), ("enforcement", Align::Left)]].concat();
    let mut table = Table::new(&columns);
    for raw in plans {
        let plan: Row = serde_json::from_str(raw.get())?;
        for limit in rows(&plan, "limits") {
            let unlimited = cell(&limit, "unlimited") == "true";
            let max = if unlimited { "unlimited".to_owned() } else { cell(&limit, "max") };
            let [meter, window, enforcement] = ["meter", "window", "enforcement"].map(|field| cell(&limit, field));
            table.row(vec![cell(&plan, "key"), cell(&plan, "version"), meter, window, max, enforcement]);
        }
    }
    Ok(table)
}

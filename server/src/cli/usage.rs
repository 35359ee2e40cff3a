//! `metergate usage`: what was used.

use serde_json::json;
use serde_json::value::RawValue;

use super::Ending;
use super::client::{Client, segment};
use super::row::{Row, cell, rows};
use super::screen::{Align, Screen, Table, plain};
use crate::spreadsheet;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The organization; may be repeated; all where not given. One alone shows its current period
    #[arg(long)]
    organization: Vec<String>,
    /// The meter; may be repeated; all where not given
    #[arg(long)]
    meter: Vec<String>,
    /// The first instant, RFC 3339
    #[arg(long)]
    from: Option<String>,
    /// The first instant after, RFC 3339
    #[arg(long)]
    to: Option<String>,
    /// hour, day, month or total
    #[arg(long, value_parser = ["hour", "day", "month", "total"])]
    granularity: Option<String>,
    /// A dimension to group by, such as model; may be repeated
    #[arg(long, value_delimiter = ',')]
    group_by: Vec<String>,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match options.organization.as_slice() {
        [organization] if options.asks_for_now() => current(client, organization, options.json, screen)?,
        _ => report(client, options, screen)?,
    }
    Ok(Ending::Done)
}

/// The use of an organization in its current period, with limits.
pub(super) fn current(client: &Client, organization: &str, json: bool, screen: &dyn Screen) -> anyhow::Result<()> {
    let path = format!("/v1/organizations/{}/usage", segment(organization));
    let answer = client.get(&path)?;
    if json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let usage: Row = client.read(&path, &answer)?;
    screen.print(&format!("next reset {}\n", plain(&cell(&usage, "nextResetDate"))));
    let numbers = ["used", "held", "limit", "remaining", "overage", "extra", "granted"];
    let columns: Vec<_> = numbers.map(|name| (name, Align::Right)).into();
    let mut table = Table::new(&[&[("meter", Align::Left)], columns.as_slice()].concat());
    for meter in rows(&usage, "meters") {
        let cells = numbers.iter().map(|field| number(&meter, field));
        table.row(std::iter::once(cell(&meter, "meter")).chain(cells).collect());
    }
    screen.print(&table.text());
    Ok(())
}

fn number(meter: &Row, field: &str) -> String {
    let unlimited = cell(meter, "unlimited") == "true" && matches!(field, "limit" | "remaining");
    if unlimited { "unlimited".to_owned() } else { cell(meter, field) }
}

impl Options {
    fn asks_for_now(&self) -> bool {
        let spans = [&self.from, &self.to, &self.granularity].iter().any(|option| option.is_some());
        !spans && self.group_by.is_empty() && self.meter.is_empty() && !self.csv
    }

    fn query(&self) -> Vec<(&str, &str)> {
        let repeated = [("organization", &self.organization), ("meter", &self.meter), ("groupBy", &self.group_by)];
        let single = [("from", &self.from), ("to", &self.to), ("granularity", &self.granularity)];
        let repeated = repeated.into_iter().flat_map(|(name, values)| values.iter().map(move |v| (name, v.as_str())));
        let single = single.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        repeated.chain(single).collect()
    }
}

fn report(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<()> {
    let data = client.list("/v1/usage", &options.query())?;
    let text = match (options.json, options.csv) {
        (true, _) => serde_json::to_string(&json!({ "data": data }))?,
        (_, true) => as_csv(&data, &options.group_by)?,
        _ => as_table(&data, &options.group_by)?,
    };
    screen.print(&text);
    Ok(())
}

const BEFORE_GROUPS: [&str; 4] = ["organization", "meter", "start", "end"];

fn as_table(data: &[Box<RawValue>], groups: &[String]) -> anyhow::Result<String> {
    let left = BEFORE_GROUPS.into_iter().chain(groups.iter().map(String::as_str)).map(|name| (name, Align::Left));
    let columns: Vec<_> = left.chain([("value", Align::Right), ("count", Align::Right)]).collect();
    let mut table = Table::new(&columns);
    for raw in data {
        table.row(cells(raw, groups)?);
    }
    Ok(table.text())
}

fn as_csv(data: &[Box<RawValue>], groups: &[String]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let groups_of = || groups.iter().map(String::as_str);
    let names = BEFORE_GROUPS.into_iter().chain(groups_of()).chain(["value", "count"]);
    writer.write_record(names.map(|name| spreadsheet::cell(name).into_owned()))?;
    for raw in data {
        let texts = cells(raw, groups)?;
        let texts = texts.iter().map(|text| if text == "–" { "" } else { text });
        writer.write_record(texts.map(|text| spreadsheet::cell(text).into_owned()))?;
    }
    let bytes = writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(String::from_utf8(bytes)?.trim_end().to_owned())
}

fn cells(raw: &RawValue, groups: &[String]) -> anyhow::Result<Vec<String>> {
    let row: Row = serde_json::from_str(raw.get())?;
    let group: Row = row.get("group").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let mut cells: Vec<String> = BEFORE_GROUPS.iter().map(|field| cell(&row, field)).collect();
    cells.extend(groups.iter().map(|name| cell(&group, name)));
    cells.extend([cell(&row, "value"), cell(&row, "count")]);
    Ok(cells)
}

//! `metergate prices`: what language models' tokens cost, and what was charged for them priced again.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use serde_json::value::RawValue;

use super::Ending;
use super::client::{Client, segment};
use super::row::{Row, body, cell, rows, text};
use super::screen::{Align, Screen, Table, plain};

/// Between two looks at a job.
const PAUSE: Duration = Duration::from_millis(200);
const PATH: &str = "/v1/prices";
const RECOMPUTE: &str = "/v1/prices/recompute";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show the prices in force, and those before and to come
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Price what was used in a time again by the prices in force; without --apply only say what would change
    Recompute(Recompute),
}

#[derive(clap::Args)]
pub(super) struct Recompute {
    /// The first instant, RFC 3339
    #[arg(long)]
    from: String,
    /// The first instant after, RFC 3339; now where not given
    #[arg(long)]
    to: Option<String>,
    /// An organization; may be repeated; all where not given
    #[arg(long)]
    organization: Vec<String>,
    /// A model, or a family such as gpt-4o*; may be repeated; all where not given
    #[arg(long)]
    model: Vec<String>,
    /// Record what differs, as adjustments
    #[arg(long, requires = "reason")]
    apply: bool,
    /// Why; kept in the audit log
    #[arg(long)]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(client: &Client, command: &Command, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match command {
        Command::Show { json: true } => screen.print(client.get(PATH)?.trim_end()),
        Command::Show { json: false } => screen.print(&table(&all(client)?)?.text()),
        Command::Recompute(options) => return recompute(client, options, screen),
    }
    Ok(Ending::Done)
}

/// All prices of the server.
pub(super) fn all(client: &Client) -> anyhow::Result<Vec<Box<RawValue>>> {
    let table: Row = client.read(PATH, &client.get(PATH)?)?;
    let prices = table.get("prices").map_or("[]", |prices| prices.get());
    Ok(client.read(PATH, prices)?)
}

/// Prices as a table.
pub(super) fn table(prices: &[Box<RawValue>]) -> anyhow::Result<Table> {
    let left = ["model", "provider", "effectiveFrom"].map(|name| (name, Align::Left));
    let right = ["inputAbove", "input", "cachedInput", "cacheWrite", "output"].map(|name| (name, Align::Right));
    Table::of(&[left.as_slice(), &right].concat(), prices)
}

fn recompute(client: &Client, options: &Recompute, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let named = |names: &[String]| (!names.is_empty()).then(|| json!(names));
    let asked = body([
        ("from", Some(json!(options.from))),
        ("to", options.to.as_ref().map(|to| json!(to))),
        ("organizations", named(&options.organization)),
        ("models", named(&options.model)),
        ("dryRun", Some(json!(!options.apply))),
        ("reason", options.reason.as_ref().map(|reason| json!(reason))),
    ]);
    let mut answer = client.work(RECOMPUTE, &asked)?;
    let mut report: Row = client.read(RECOMPUTE, &answer)?;
    if text(&report, "kind").is_some() {
        (answer, report) = ended(client, &report)?;
    }
    screen.print(if options.json { answer.trim_end().to_owned() } else { shown(&report) }.as_str());
    let failed = cell(&report, "failed");
    if failed != "0" {
        screen.note(&format!("{failed} organizations changed again and again meanwhile: call again for those"));
        return Ok(Ending::Failed);
    }
    Ok(Ending::Done)
}

/// What a job has made, once it has ended.
fn ended(client: &Client, begun: &Row) -> anyhow::Result<(String, Row)> {
    let path = format!("/v1/jobs/{}", segment(&cell(begun, "id")));
    loop {
        std::thread::sleep(PAUSE);
        let Some(answer) = client.find(&path)? else {
            anyhow::bail!("the server no longer knows of the job: it was stopped. Call again: what was corrected stays")
        };
        let job: Row = client.read(&path, &answer)?;
        match text(&job, "state").as_deref() {
            Some("running") => {}
            Some("done") => {
                let made = job.get("result").map_or("{}", |made| made.get()).to_owned();
                let report = client.read(&path, &made)?;
                return Ok((made, report));
            }
            _ => anyhow::bail!("{}", plain(&cell(&job, "error"))),
        }
    }
}

fn shown(report: &Row) -> String {
    let right = ["uses", "unpriced", "before", "after", "difference"].map(|name| (name, Align::Right));
    let left = ["organization", "model"].map(|name| (name, Align::Left));
    let mut table = Table::new(&[left.as_slice(), &right].concat());
    for of in rows(report, "organizations") {
        for model in rows(&of, "models") {
            let mut cells = vec![cell(&of, "organization"), cell(&model, "model")];
            cells.extend(right.iter().map(|(name, _)| cell(&model, name)));
            table.row(cells);
        }
    }
    let verb = if cell(report, "dryRun") == "true" { "would change" } else { "changed" };
    let mut lines = vec![table.text(), String::new()];
    lines.push(format!(
        "{} of {} organizations {verb}: {} dollars charged, {} by the prices in force, a difference of {}",
        cell(report, "differing"),
        cell(report, "checked"),
        cell(report, "before"),
        cell(report, "after"),
        cell(report, "difference"),
    ));
    if cell(report, "completeFrom") != "–" {
        lines
            .push(format!("records are complete from {} on: what was used before stays", cell(report, "completeFrom")));
    }
    lines.join("\n")
}

//! `metergate what-if`: past usage under a changed plan or catalogue; and the same before a catalogue is applied.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::Ending;
use super::client::{Client, segment};
use super::row::{Row, body, cell, object, rows, text};
use super::screen::{Align, Screen, Table, plain};

/// Between two looks at a job.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two notes of how far it is: a multiple of [`PAUSE`].
const TELLS: Duration = Duration::from_secs(10);
/// How long what is applied is held up for it: without asking, and where somebody waits to be asked. Who was not replayed by then
/// is said in the answer.
pub(super) const UNASKED: Duration = Duration::from_mins(1);
pub(super) const ASKED: Duration = Duration::from_mins(5);
/// How much longer the answer itself is waited for, such as by a server that is busy.
const GRACE: Duration = Duration::from_secs(15);
/// Organizations that a table shows; JSON has more.
const MOST_SHOWN: usize = 20;
const PATH: &str = "/v1/what-if";

#[derive(clap::Args)]
pub(super) struct Options {
    /// The plan that is changed; without a change: as it is. Needed unless --catalogue names a file
    #[arg(long, required_unless_present = "catalogue")]
    plan: Option<String>,
    /// A limit in place of the plan's, such as api_calls/minute=30, tokens/billingPeriod=5000:soft or messages/day=unlimited;
    /// may be repeated
    #[arg(long = "limit", value_name = "METER/WINDOW=MAX", conflicts_with = "definition")]
    limits: Vec<Limit>,
    /// A file with all of the plan, as JSON
    #[arg(long, value_name = "FILE")]
    definition: Option<PathBuf>,
    /// A catalogue file (TOML) in place of a plan
    #[arg(long, alias = "catalog", value_name = "FILE", conflicts_with_all = ["plan", "limits", "definition"])]
    catalogue: Option<PathBuf>,
    /// An organization, as if it were on the plan; may be repeated; all that are on it where not given
    #[arg(long)]
    organization: Vec<String>,
    /// The first instant, RFC 3339; 30 days before --to where not given
    #[arg(long)]
    from: Option<String>,
    /// The first instant after, RFC 3339; now where not given
    #[arg(long)]
    to: Option<String>,
    /// The zone of the days; UTC where not given
    #[arg(long)]
    time_zone: Option<String>,
    /// How long it may take: the answer is then of the organizations that were replayed by then; all of them where not given
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    within: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A limit as it is typed.
#[derive(Clone, Debug)]
struct Limit(Value);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || "write METER/WINDOW=MAX, such as api_calls/minute=30 or tokens/billingPeriod=5000:soft".to_owned();
        let (place, value) = text.split_once('=').ok_or_else(form)?;
        let (meter, window) = place.split_once('/').ok_or_else(form)?;
        let (max, enforcement) = value.split_once(':').unwrap_or((value, "hard"));
        let named = json!({"meter": meter, "window": window, "enforcement": enforcement});
        let Value::Object(mut limit) = named else { return Err(form()) };
        match max {
            "unlimited" => limit.insert("unlimited".to_owned(), true.into()),
            max => limit.insert("max".to_owned(), max.into()),
        };
        Ok(Self(Value::Object(limit)))
    }
}

pub(super) fn run(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let answer = ask(client, &options.question()?, None, screen)?;
    if options.json {
        screen.print(answer.trim_end());
    } else {
        screen.print(&shown(&client.read(PATH, &answer)?));
    }
    Ok(Ending::Done)
}

impl Options {
    fn question(&self) -> anyhow::Result<Map<String, Value>> {
        let read =
            |file: &PathBuf| std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
        let definition = self.definition.as_ref().map(|file| {
            serde_json::from_str::<Value>(&read(file)?).with_context(|| format!("{} is no JSON", file.display()))
        });
        let text = |option: &Option<String>| option.as_ref().map(|text| json!(text));
        let limits: Vec<&Value> = self.limits.iter().map(|limit| &limit.0).collect();
        Ok(body([
            ("plan", text(&self.plan)),
            ("limits", (!limits.is_empty()).then(|| json!(limits))),
            ("definition", definition.transpose()?),
            ("catalogue", self.catalogue.as_ref().map(read).transpose()?.map(Value::from)),
            ("organizations", (!self.organization.is_empty()).then(|| json!(self.organization))),
            ("from", text(&self.from)),
            ("to", text(&self.to)),
            ("timeZone", text(&self.time_zone)),
            ("withinSeconds", self.within.map(Value::from)),
        ]))
    }
}

/// The answer, also where it is a job first: how far that is, is said now and then. It is waited for so long at most, where
/// that is given.
fn ask(
    client: &Client,
    question: &Map<String, Value>,
    most: Option<Duration>,
    screen: &dyn Screen,
) -> anyhow::Result<String> {
    let answer = client.work(PATH, question)?;
    let mut job: Row = client.read(PATH, &answer)?;
    if text(&job, "kind").is_none() {
        return Ok(answer);
    }
    let path = format!("/v1/jobs/{}", segment(&cell(&job, "id")));
    let mut waited = Duration::ZERO;
    while text(&job, "state").as_deref() == Some("running") {
        if let Some(most) = most.filter(|most| *most <= waited) {
            anyhow::bail!("it takes longer than {} seconds: run metergate what-if --catalogue", most.as_secs());
        }
        std::thread::sleep(PAUSE);
        waited = waited.saturating_add(PAUSE);
        if waited.as_millis().is_multiple_of(TELLS.as_millis()) {
            screen.note(&progress(&job));
        }
        let answer = client.find(&path)?;
        job = match answer {
            Some(answer) => client.read(&path, &answer)?,
            None => anyhow::bail!("the server no longer knows of it: it was stopped; ask again"),
        };
    }
    match job.get("result") {
        Some(result) => Ok(result.get().to_owned()),
        None => anyhow::bail!("it cannot be said: {}", cell(&job, "error")),
    }
}

fn progress(job: &Row) -> String {
    let Some(progress) = object(job, "progress") else { return "past usage is being replayed".to_owned() };
    format!("past usage is being replayed: {} of {} organizations", cell(&progress, "done"), cell(&progress, "total"))
}

/// What is known of a catalogue before it is applied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreseen {
    /// Nothing that was allowed would have been refused.
    Nothing,
    /// Something would have been.
    Refusals,
    /// It cannot be said, at least not of everybody.
    Unknown,
}

/// Says what applying a catalogue would have refused, of the organizations that are replayed within so long. Where it cannot be
/// said, a note says why.
pub(super) fn before_applying(client: &Client, content: &str, within: Duration, screen: &dyn Screen) -> Foreseen {
    let question = body([("catalogue", Some(json!(content))), ("withinSeconds", Some(json!(within.as_secs())))]);
    let most = Some(within.saturating_add(GRACE));
    let told = ask(client, &question, most, screen).and_then(|answer| Ok(client.read::<Row>(PATH, &answer)?));
    match told {
        Ok(report) => {
            screen.note(&plain(&cell(&report, "summary")));
            let estimate = object(&report, "estimate");
            let estimated = estimate.is_some_and(|estimate| cell(&estimate, "refused") != "0");
            let is_partly_known = number(&report, "failed") > 0 || number(&report, "unreplayed") > 0;
            match (cell(&report, "refused") != "0" || estimated, is_partly_known) {
                (true, _) => Foreseen::Refusals,
                (false, true) => Foreseen::Unknown,
                (false, false) => Foreseen::Nothing,
            }
        }
        Err(error) => {
            screen.note(&format!("what it would have refused cannot be said: {error:#}"));
            Foreseen::Unknown
        }
    }
}

/// The answer for people: the summary, then tables of what is in it.
fn shown(report: &Row) -> String {
    let mut parts = vec![plain(&cell(report, "summary"))];
    let limits = rows(report, "limits");
    if !limits.is_empty() {
        parts.push(of_limits(&limits).text());
    }
    if let Some(late) = object(report, "late").filter(|late| number(late, "facts") > 0) {
        parts.push(of_late(&rows(&late, "meters")).text());
    }
    let organizations = rows(report, "organizations");
    if !organizations.is_empty() {
        parts.push(of_organizations(&organizations, is_priced(report)).text());
        let cut = u64::try_from(organizations.len().saturating_sub(MOST_SHOWN)).unwrap_or(u64::MAX);
        let more = number(report, "moreOrganizations").saturating_add(cut);
        if more > 0 {
            parts.push(format!("and {more} more; --json has the first 500"));
        }
    }
    if is_priced(report) {
        let [refused, before, after] = DOLLARS.map(|(field, _)| cell(report, field));
        parts.push(format!(
            "language models: {before} dollars charged, {after} would have been; the refused calls cost {refused}"
        ));
    }
    parts.push(format!(
        "{} calls and {} facts of {} organizations were replayed",
        cell(report, "calls"),
        cell(report, "facts"),
        cell(report, "replayed")
    ));
    parts.join("\n\n")
}

fn number(row: &Row, field: &str) -> u64 {
    row.get(field).and_then(|raw| raw.get().parse().ok()).unwrap_or(0)
}

/// What calls of language models cost, in US dollars: the fields, and how a table calls them.
const DOLLARS: [(&str, &str); 3] =
    [("cost", "dollars refused"), ("costBefore", "dollars charged"), ("costAfter", "dollars then")];

/// Whether anything was charged for language models, or would have been.
fn is_priced(report: &Row) -> bool {
    DOLLARS.iter().any(|(field, _)| !matches!(cell(report, field).as_str(), "–" | "0"))
}

/// The columns of what is counted.
const COUNTS: [&str; 3] = ["refused", "refused before", "allowed"];

fn of_limits(limits: &[Row]) -> Table {
    let left = [("meter", Align::Left), ("window", Align::Left), ("reason", Align::Left)];
    let right = COUNTS.map(|name| (name, Align::Right));
    let mut table = Table::new(&[&left[..], &right, &[("quantity refused", Align::Right)]].concat());
    for limit in limits {
        let fields = ["meter", "window", "reason", "refused", "refusedBefore", "allowed", "refusedQuantity"];
        table.row(fields.iter().map(|field| cell(limit, field)).collect());
    }
    table
}

/// What was told too late for a limit, by meter.
fn of_late(meters: &[Row]) -> Table {
    let columns = ["told late", "quantity", "about beyond", "quantity beyond"].map(|name| (name, Align::Right));
    let mut table = Table::new(&[&[("meter", Align::Left)][..], &columns].concat());
    for one in meters {
        let fields = ["meter", "facts", "quantity", "beyond", "beyondQuantity"];
        table.row(fields.iter().map(|field| cell(one, field)).collect());
    }
    table
}

fn of_organizations(organizations: &[Row], is_priced: bool) -> Table {
    let names = [("organization", Align::Left), ("plan", Align::Left)];
    let counts = COUNTS.map(|name| (name, Align::Right));
    let estimates = [("estimated", Align::Right), ("late beyond", Align::Right)];
    let dollars = DOLLARS.map(|(_, name)| (name, Align::Right));
    let dollars = if is_priced { &dollars[..] } else { &[] };
    let times = [("first", Align::Left), ("last", Align::Left)];
    let mut table = Table::new(&[&names[..], &counts, &estimates, dollars, &times].concat());
    for one in organizations.iter().take(MOST_SHOWN) {
        let counted = ["organization", "plan", "refused", "refusedBefore", "allowed", "refusedEstimated", "lateBeyond"];
        let costs = DOLLARS.map(|(field, _)| field);
        let costs = if is_priced { &costs[..] } else { &[] };
        let times = ["firstRefusedAt", "lastRefusedAt"];
        table.row(counted.iter().chain(costs).chain(&times).map(|field| cell(one, field)).collect());
    }
    table
}

//! `metergate import FILE.csv`: past usage from a file, each row an event.
//!
//! ```text
//! the server's record: rows done, digest of those rows
//!   digest of the file's first rows is the same → the rows after them are new
//!   it differs → another file under a known name: ask, then begin with the first row
//! rows → events, in batches → POST /v1/events → PUT the record → the next batch
//! ```
//!
//! An event's id is its row's number and content, so that a crash after a batch was taken and before its record was
//! written counts nothing twice. What an import holds in memory is one batch.

use std::path::PathBuf;

use anyhow::Context as _;

use super::Ending;
use super::client::{Client, segment};
use super::row::{Row, text};
use super::screen::Screen;
use event::{Columns, Constant, Property};
use record::{Record, Start};
use rejected::Rejected;
use run::Run;

mod event;
mod quotes;
mod record;
mod rejected;
mod rows;
mod run;
mod time;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The CSV file; its first line names the columns
    file: PathBuf,
    /// The organization that used what the file lists
    #[arg(long)]
    organization: String,
    /// The meter that counts it
    #[arg(long)]
    meter: String,
    /// The column that holds the time; without a zone it is UTC
    #[arg(long)]
    time_column: String,
    /// An event property and the column that holds it; may be repeated
    #[arg(long = "property", value_name = "NAME=COLUMN", value_parser = event::property)]
    properties: Vec<Property>,
    /// An event property that is the same of every row, such as model=gpt-4o; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = event::constant)]
    constants: Vec<Constant>,
    /// The column that holds the quantity; 1 a row where not given
    #[arg(long)]
    quantity_column: Option<String>,
    /// The name under which the server remembers what is done [default: import:<organization>/<meter>/<file name>]
    #[arg(long)]
    source: Option<String>,
    /// Rows sent at a time
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// Import another file under a known name without asking
    #[arg(long)]
    yes: bool,
    /// The file for rows that are rejected, to be mended and imported from there [default: <file>.rejected.csv]
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
    /// Send every row again from the first; none counts twice while ids are known (35 days)
    #[arg(long)]
    restart: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let source = options.source()?;
    let mut rows = rows::Rows::open(&options.file)?;
    let meter = meter(&client.at_first(), &options.meter)?;
    let columns = Columns::find(rows.headings(), options, &meter.value_property)?;
    let record = if options.restart { None } else { Record::read(client, &source)? };
    let start = record.map_or(Ok(Start::Anew), |record| record.compare(&mut rows))?;
    match start {
        Start::After(0) => {}
        Start::After(done) => screen.note(&format!("{done} rows are done already; going on after them")),
        Start::Another if !another_is_meant(options, &source, screen) => return Ok(Ending::Unconfirmed),
        Start::Another | Start::Anew => rows = rows::Rows::open(&options.file)?,
    }
    let template = event::Template {
        source: &source,
        kind: &meter.event_type,
        organization: &options.organization,
        columns: &columns,
    };
    let to = options.rejected.clone().unwrap_or_else(|| Rejected::beside(&options.file));
    let rejected = Rejected::begin(to, rows.headings(), rows.line())?;
    let (tally, rejected) = Run::new(client, screen, template, rows, options.batch, rejected).finish()?;
    if tally.rejected > 0 {
        let file = rejected.path().display();
        screen.note(&format!(
            "what was rejected is in {file}: mend the rows and import that file; or, where the rows are right and the server \
             takes them by now, send every row again with --restart. Both would count them twice"
        ));
    }
    screen.print(&if options.json { tally.json() } else { tally.to_string() });
    Ok(if tally.rejected == 0 { Ending::Done } else { Ending::Failed })
}

impl Options {
    fn source(&self) -> anyhow::Result<String> {
        let named = self.source.clone();
        let source = match named {
            Some(source) => source,
            None => {
                let name = self.file.file_name().context("the file has no name")?.to_string_lossy();
                format!("import:{}/{}/{name}", self.organization, self.meter)
            }
        };
        let source = metergate_rules::id::EventSource::new(&source).context("--source")?;
        Ok(source.as_str().to_owned())
    }
}

/// What an import has to know of its meter.
struct Meter {
    event_type: String,
    value_property: String,
}

fn meter(client: &Client, key: &str) -> anyhow::Result<Meter> {
    let path = format!("/v1/meters/{}", segment(key));
    let meter: Row = client.read(&path, &client.get(&path)?)?;
    let event_type = text(&meter, "eventType").unwrap_or_else(|| key.to_owned());
    let value_property = text(&meter, "valueProperty").unwrap_or_else(|| "quantity".to_owned());
    Ok(Meter { event_type, value_property })
}

fn another_is_meant(options: &Options, source: &str, screen: &dyn Screen) -> bool {
    let differs = format!("{} differs from the file that was imported as {source}", options.file.display());
    if options.yes {
        screen.note(&format!("{differs}; beginning with its first row"));
        return true;
    }
    let answer = screen.confirm(&format!("{differs}.\nImport all its rows, which count beside what is there?"));
    match answer {
        Some(true) => {}
        Some(false) => screen.note("nothing was imported"),
        None => screen.note(&format!("{differs}: nothing was imported; pass --yes to import all its rows")),
    }
    answer == Some(true)
}

#[cfg(test)]
mod tests;

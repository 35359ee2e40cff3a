//! `metergate aggregate`: rollups made again from the records, where the rows are not what these say.

use serde_json::json;

use super::Ending;
use super::client::Client;
use super::row::{Row, body};
use super::screen::{Screen, fields};

/// Which days.
#[derive(clap::Args)]
pub(super) struct Options {
    /// The first day, of UTC; from the first on where not given
    #[arg(long)]
    from: Option<String>,
    /// The last day, which is in it; to the last where not given
    #[arg(long)]
    to: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const PATH: &str = "/api/admin/metrics/aggregate";

pub(super) fn run(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let day = |day: &Option<String>| day.as_ref().map(|day| json!(day));
    let answer = client.work(PATH, &body([("from", day(&options.from)), ("to", day(&options.to))]))?;
    if options.json {
        screen.print(answer.trim_end());
    } else {
        screen.print(&told(&client.read(PATH, &answer)?));
    }
    Ok(Ending::Done)
}

/// What was done, a line for each figure.
fn told(report: &Row) -> String {
    let part = |name: &str| report.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let (kept, retention): (Row, Row) = (part("kept"), part("retention"));
    let parts = [
        fields(report, &[("organizations", "organizations"), ("rollups", "rollups"), ("made again", "rebuilt")]),
        fields(&kept, &[("kept", "rollups"), ("kept until", "until")]),
        fields(&retention, &[("files removed", "filesRemoved")]),
    ];
    parts.join("\n")
}

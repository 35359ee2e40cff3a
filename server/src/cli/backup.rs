//! `metergate backup`: a copy of everything, made by the running server; or of a data folder that no server uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::Ending;
use super::client::{Client, Connection, segment};
use super::folder::{DataFolder, bar};
use super::row::{Row, cell, text};
use super::screen::Screen;
use crate::backup::{self, Manifest};
use crate::clock;
use crate::folder::Locked;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The backup's name; else the time
    #[arg(long, conflicts_with = "offline")]
    name: Option<String>,
    /// Copy the data folder without a server; none may be using it
    #[arg(long, requires = "to")]
    offline: bool,
    /// With --offline: the folder to make
    #[arg(long, value_name = "FOLDER", requires = "offline")]
    to: Option<PathBuf>,
    #[command(flatten)]
    data: DataFolder,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(connection: &Connection, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    match &options.to {
        Some(to) if options.offline => offline(&options.data.path()?, to, options.json, screen),
        _ => online(&connection.client()?, options, screen),
    }
}

/// Between two looks at a job.
const PAUSE: Duration = Duration::from_millis(200);

fn online(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let body = options.name.as_ref().map_or_else(|| json!({}), |name| json!({ "name": name }));
    let begun: Row = client.read("/v1/backups", &client.post("/v1/backups", &body)?)?;
    let path = format!("/v1/jobs/{}", segment(&cell(&begun, "id")));
    let bar = bar(0);
    let job = loop {
        let answer = client.find(&path);
        let job: Row = match answer.inspect_err(|_| bar.finish_and_clear())? {
            Some(answer) => client.read(&path, &answer)?,
            None => anyhow::bail!("the server no longer knows of the backup: it was stopped, and there is none"),
        };
        if text(&job, "state").as_deref() != Some("running") {
            break job;
        }
        show(&bar, &job);
        std::thread::sleep(PAUSE);
    };
    bar.finish_and_clear();
    if options.json {
        screen.print(&serde_json::to_string(&job)?);
    }
    if text(&job, "state").as_deref() != Some("done") {
        anyhow::ensure!(options.json, "there is no backup: {}", cell(&job, "error"));
        return Ok(Ending::Failed);
    }
    let made: Row = job.get("result").map_or_else(|| Ok(Row::new()), |made| serde_json::from_str(made.get()))?;
    if !options.json {
        screen.print(&cell(&made, "folder"));
    }
    if cell(&made, "besideTheData") == "true" {
        screen.note("it is on the file system of the data: copy it to another disk or machine");
    }
    Ok(Ending::Done)
}

fn show(bar: &indicatif::ProgressBar, job: &Row) {
    let progress =
        job.get("progress").and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()).unwrap_or_default();
    bar.set_length(progress["total"].as_u64().unwrap_or(0));
    bar.set_position(progress["done"].as_u64().unwrap_or(0));
}

fn offline(data: &Path, to: &Path, json: bool, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let _locked = Locked::with_store(data)?;
    let bar = bar(0);
    let made = backup::make(data, to, clock::wall(), &bar);
    bar.finish_and_clear();
    let (folder, manifest) = made?;
    screen.print(&if json { as_json(&folder, &manifest) } else { folder.display().to_string() });
    Ok(Ending::Done)
}

fn as_json(folder: &Path, manifest: &Manifest) -> String {
    json!({"folder": folder, "bytes": manifest.bytes(), "counts": manifest.counts}).to_string()
}

//! `metergate audit prune`: older entries go into a file, and are dropped.

use serde_json::json;

use super::super::client::Client;
use super::super::row::{Row, cell};
use super::super::screen::{Screen, plain};

const PATH: &str = "/v1/audit-log/prune";

/// Which entries go.
#[derive(clap::Args)]
pub(in crate::cli) struct Prune {
    /// Entries from before this instant, RFC 3339
    #[arg(long)]
    until: String,
    /// Why; kept in the audit log
    #[arg(long, default_value = "")]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(client: &Client, asked: &Prune, screen: &dyn Screen) -> anyhow::Result<()> {
    let answer = client.post(PATH, &json!({"until": asked.until, "reason": asked.reason}))?;
    if asked.json {
        screen.print(answer.trim_end());
        return Ok(());
    }
    let done: Row = client.read(PATH, &answer)?;
    let [until, chains, entries, file, sha256] =
        ["until", "chains", "entries", "file", "sha256"].map(|field| plain(&cell(&done, field)));
    if entries == "0" {
        screen.print(&format!("no entry is from before {until}"));
    } else {
        screen.print(&format!(
            "{entries} entries of {chains} chains from before {until} were dropped; they are in {file}"
        ));
        screen.print(&format!("sha256 {sha256}"));
    }
    if done.get("broken").is_some_and(|broken| broken.get() != "[]") {
        screen.note("some chains do not verify and were kept whole: see `metergate audit verify`");
    }
    Ok(())
}

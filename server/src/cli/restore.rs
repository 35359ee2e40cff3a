//! `metergate restore`: a store out of a backup.

use std::path::PathBuf;

use serde_json::json;

use super::Ending;
use super::folder::{DataFolder, bar};
use super::screen::Screen;
use crate::backup::{self, Restored};
use crate::clock::Clock;
use crate::store::examine::Census;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The backup's folder
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    #[command(flatten)]
    data: DataFolder,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let data = options.data.path()?;
    let bar = bar(0);
    let restored = backup::restore(&options.from, &data, Clock::start(), &bar);
    bar.finish_and_clear();
    let Restored { manifest, counts } = restored?;
    if options.json {
        screen.print(&json!({"folder": data, "createdAt": manifest.created_at, "counts": counts}).to_string());
        return Ok(Ending::Done);
    }
    screen.print(&format!("restored into {}, as it was at {}", data.display(), manifest.created_at));
    screen.print(&told(&counts));
    Ok(Ending::Done)
}

/// What a store holds, in lines. All of it was gone through.
pub(super) fn told(counts: &Census) -> String {
    let last = counts.last_block_at.as_ref().map_or_else(String::new, |at| format!(", the last from {at}"));
    format!(
        "  journal        {} blocks without a gap{last}\n  ids            {}\n  organizations  {}\n  \
         audit log      {} entries in {} chains, every hash verified",
        counts.blocks, counts.ids, counts.organizations, counts.audit_entries, counts.audit_chains
    )
}

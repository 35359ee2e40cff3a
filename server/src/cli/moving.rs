//! `metergate migrate-store`: an embedded store into a PostgreSQL.

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::Ending;
use super::folder::FolderOptions;
use super::screen::Screen;
use crate::app;
use crate::clock::Clock;
use crate::folder::Locked;
use crate::store::moving::{Moved, move_store};

pub(super) fn run(options: &FolderOptions, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let config = options.data.config()?;
    let url =
        config.database_url.as_ref().context("METERGATE_DATABASE_URL does not say which PostgreSQL to move it to")?;
    let _locked = Locked::with_store(&config.data_dir)?;
    let bar = bar();
    let watch = |what: &'static str, done: u64, all: u64| {
        bar.set_message(what);
        bar.set_length(all);
        bar.set_position(done);
    };
    let moved = move_store(&app::settings(&config), url, Clock::start(), &watch);
    bar.finish_and_clear();
    let moved = moved?;
    if options.json {
        screen.print(&json!({"folder": config.data_dir, "moved": moved}).to_string());
        return Ok(Ending::Done);
    }
    screen.print(&format!("moved what is in {} into the database", config.data_dir.display()));
    screen.print(&told(&moved));
    screen.print(
        "start nodes with METERGATE_DATABASE_URL from now on; the folder is as it was, and is not needed any more",
    );
    Ok(Ending::Done)
}

fn told(moved: &Moved) -> String {
    let Moved { organizations, blocks, ids, rollups, values, audit_chains, audit_entries, answers, people, messages } =
        moved;
    format!(
        "  organizations  {organizations}\n  journal        {blocks} blocks, {ids} ids\n  reports        {rollups} rows, {values} \
         distinct values\n  audit log      {audit_entries} entries in {audit_chains} chains, every hash verified\n  \
         answers        {answers}\n  people         {people} rows\n  messages       {messages}"
    )
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}  {pos} of {len}  {elapsed}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

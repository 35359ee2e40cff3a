//! `metergate export`: a copy of everything, as lines of JSON.

use std::fs;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::Ending;
use super::client::Client;
use super::screen::Screen;

#[derive(clap::Args)]
pub(super) struct Options {
    /// Also the events that are still kept
    #[arg(long)]
    events: bool,
    /// The file to write; standard output where not given
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// What the last line of a whole export begins with.
const END: &str = r#"{"kind":"end","#;

pub(super) fn run(client: &Client, options: &Options, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let path = if options.events { "/v1/export?events=true" } else { "/v1/export" };
    // A server that has begun one makes no other until it is read, so what cannot be written is found before.
    let lines = || anyhow::Ok(BufReader::new(client.stream(path)?));
    match &options.output {
        None => copy(lines()?, |line| {
            screen.print(line);
            Ok(())
        })?,
        Some(file) => {
            let count = to_file(lines, file)?;
            screen.note(&format!("wrote {count} lines to {}", file.display()));
            count
        }
    };
    Ok(Ending::Done)
}

/// Under its name only once it is whole, and readable by nobody else.
fn to_file<L: BufRead>(lines: impl FnOnce() -> anyhow::Result<L>, file: &Path) -> anyhow::Result<u64> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = || {
        let opened = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let mut writer = BufWriter::new(opened.with_context(|| format!("cannot write {}", part.display()))?);
        let count = copy(lines()?, |line| Ok(writeln!(writer, "{line}")?))?;
        writer.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&part, file)?;
        anyhow::Ok(count)
    };
    written().inspect_err(|_| {
        // What is there of it is of no use; that it cannot be removed changes nothing about the error.
        let _ = fs::remove_file(&part);
    })
}

/// Copies every line. Answers how many there were.
fn copy(lines: impl BufRead, mut put: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let (mut count, mut ended) = (0, false);
    for line in lines.lines() {
        let line = line.context("the export was cut off")?;
        put(&line)?;
        ended = line.starts_with(END);
        count += 1;
    }
    if !ended {
        bail!("the export was cut off after {count} lines: run it again");
    }
    Ok(count)
}

//! `metergate audit verify --archive`: whether a file of dropped entries is as it was written. It needs no server.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::Ending;
use super::super::screen::{Screen, plain};
use crate::hex::hex;
use crate::store::audit::{Chain, Line, owner};

/// What came out.
#[derive(Default)]
struct Found {
    chains: u64,
    entries: u64,
    findings: Vec<String>,
    digest: Sha256,
}

pub(super) fn run(file: &Path, json: bool, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let shown = file.display();
    let open = File::open(file).with_context(|| format!("cannot read {shown}"))?;
    let found = read(BufReader::new(open)).with_context(|| format!("{shown} is not a file of dropped entries"))?;
    let (well, sha256) = (found.findings.is_empty(), hex(&found.digest.finalize()));
    let (chains, entries) = (found.chains, found.entries);
    if json {
        let told =
            json!({"well": well, "chains": chains, "entries": entries, "findings": found.findings, "sha256": sha256});
        screen.print(&told.to_string());
    } else {
        found.findings.iter().for_each(|finding| screen.print(&plain(finding)));
        if well {
            screen.print(&format!("{chains} chains with {entries} entries: every hash is right"));
        }
        screen.print(&format!("sha256 {sha256}: the checkpoints of these chains name it"));
    }
    Ok(if well { Ending::Done } else { Ending::Failed })
}

fn read(mut file: impl BufRead) -> anyhow::Result<Found> {
    let (mut found, mut chain, mut text) = (Found::default(), None::<Chain>, String::new());
    loop {
        text.clear();
        if file.read_line(&mut text)? == 0 {
            found.ended(chain.take());
            return Ok(found);
        }
        found.digest.update(text.as_bytes());
        match serde_json::from_str(&text)? {
            Line::Opens(end) => {
                found.ended(chain.take());
                found.chains += 1;
                chain = Some(end.chain().context("a chain opens with what is no end of one")?);
            }
            Line::Entry(line) => {
                let row = line.row().context("a value of an entry is not one")?;
                let chain =
                    chain.as_mut().filter(|chain| chain.name() == row.chain).context("an entry without its chain")?;
                found.entries += 1;
                if let Err(broken) = chain.follow(&row) {
                    found.findings.push(format!("{}: {broken}.", owner(&row.chain)));
                }
            }
            Line::Closes(end) => {
                let closed = end.chain().context("a chain closes with what is no end of one")?;
                let reached = chain.take().context("a chain closes that was not open")?;
                if !reached.is_broken() && (reached.name(), reached.end()) != (closed.name(), closed.end()) {
                    found.findings.push(format!("{}: the last entries are gone.", owner(&closed.name())));
                }
            }
        }
    }
}

impl Found {
    /// A chain of which no closing line came.
    fn ended(&mut self, chain: Option<Chain>) {
        if let Some(chain) = chain.filter(|chain| !chain.is_broken()) {
            self.findings
                .push(format!("{}: the chain is not closed: the last entries are gone.", owner(&chain.name())));
        }
    }
}

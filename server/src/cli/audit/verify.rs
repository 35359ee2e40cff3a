//! `metergate audit verify`: whether every entry is there and as it was written.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::Ending;
use super::super::client::{Client, with_query};
use super::super::screen::{Screen, plain};
use crate::hex::{hex, unhex};
use crate::store::audit::{Root, chain_owned_by};

const PATH: &str = "/v1/audit-log/verify";
/// Ends of chains that are compared in one request.
const COMPARED: usize = 50;

/// What one request found.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    chains: u64,
    entries: u64,
    #[serde(default)]
    checkpoints: u64,
    #[serde(default)]
    dropped: u64,
    #[serde(default)]
    older: u64,
    findings: Vec<Finding>,
    signed: Option<bool>,
    next_cursor: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Finding {
    chain: String,
    seq: u64,
    problem: String,
    detail: String,
}

/// What `metergate audit head` printed: this line, and one for each chain.
#[derive(Deserialize)]
struct Head {
    time: String,
    chains: u64,
    team: ChainHead,
    root: String,
    signature: String,
}

#[derive(Deserialize)]
struct ChainHead {
    chain: String,
    seq: u64,
    hash: String,
}

/// All that was found.
#[derive(Default)]
struct Found {
    chains: u64,
    entries: u64,
    /// Chains that begin at a checkpoint.
    checkpoints: u64,
    /// Entries that were exported and dropped behind those.
    dropped: u64,
    /// Noted ends that are older than that.
    older: u64,
    findings: Vec<Finding>,
    signed: Option<bool>,
}

pub(super) fn run(client: &Client, against: Option<&Path>, json: bool, screen: &dyn Screen) -> anyhow::Result<Ending> {
    let noted = against.map(read).transpose()?;
    let mut found = walk(client)?;
    if let Some((head, chains)) = &noted {
        compare(client, head, chains, &mut found)?;
    }
    let well = found.findings.is_empty() && found.signed != Some(false);
    if json {
        let Found { chains, entries, checkpoints, dropped, older, findings, signed } = &found;
        let told = json!({"well": well, "chains": chains, "entries": entries, "checkpoints": checkpoints, "dropped": dropped,
            "older": older, "findings": findings, "signed": signed});
        screen.print(&told.to_string());
    } else {
        tell(&found, against, screen);
    }
    Ok(if well { Ending::Done } else { Ending::Failed })
}

fn tell(found: &Found, against: Option<&Path>, screen: &dyn Screen) {
    for finding in &found.findings {
        screen.print(&format!("{}: {}", plain(&finding.chain), plain(&finding.detail)));
    }
    let whole = format!("{} chains with {} entries", found.chains, found.entries);
    if found.signed == Some(false) {
        screen.print(
            "the signature of the head is not this server's: the file was changed, or is another installation's",
        );
    } else if found.findings.is_empty() {
        let still =
            against.map_or_else(String::new, |file| format!(", and all that {} names is there", file.display()));
        screen.print(&format!("{whole}: every hash is right{still}"));
        if found.checkpoints > 0 {
            let (some, went) = (found.checkpoints, found.dropped);
            screen.print(&format!(
                "{some} of them begin at a checkpoint, behind which {went} older entries were dropped"
            ));
        }
        if found.older > 0 {
            let some = found.older;
            screen.print(&format!(
                "{some} of the noted ends are older than that: the files of dropped entries have them"
            ));
        }
        return;
    }
    screen.note(&format!("of {whole} not all are as they were written; compare with a backup from before"));
}

fn ask(client: &Client, query: &[(&str, &str)]) -> anyhow::Result<Part> {
    Ok(client.read(PATH, &client.get(&with_query(PATH, query))?)?)
}

/// Goes through all chains, a part a request.
fn walk(client: &Client) -> anyhow::Result<Found> {
    let (mut found, mut cursor) = (Found::default(), None::<String>);
    loop {
        let query: Vec<_> = cursor.as_deref().map(|cursor| ("cursor", cursor)).into_iter().collect();
        let part = ask(client, &query)?;
        found.chains += part.chains;
        found.entries += part.entries;
        found.checkpoints += part.checkpoints;
        found.dropped += part.dropped;
        found.findings.extend(part.findings);
        match part.next_cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(found),
        }
    }
}

fn read(file: &Path) -> anyhow::Result<(Head, Vec<ChainHead>)> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let no_head = || format!("{shown} is not what `metergate audit head` prints");
    let head: Head = serde_json::from_str(lines.next().with_context(no_head)?).with_context(no_head)?;
    let chains: Vec<ChainHead> = lines.map(serde_json::from_str).collect::<Result<_, _>>().with_context(no_head)?;
    // A head alone, without its chains, still names the end of the team's.
    let whole = chains.is_empty() || chains.len() as u64 == head.chains && root(&chains) == Some(head.root.clone());
    anyhow::ensure!(
        whole,
        "the chains in {shown} do not give its root: the file was changed, or is not the whole of it"
    );
    Ok((head, chains))
}

fn root(chains: &[ChainHead]) -> Option<String> {
    let mut root = Root::default();
    for end in chains {
        root.add(&chain_owned_by(&end.chain)?, end.seq, &unhex(&end.hash)?);
    }
    Some(hex(&root.finish()))
}

/// Whether the server signed the head, and still has the entries at the ends of its chains.
fn compare(client: &Client, head: &Head, chains: &[ChainHead], found: &mut Found) -> anyhow::Result<()> {
    let number = head.chains.to_string();
    let signature = [("time", &*head.time), ("chains", &number), ("root", &head.root), ("signature", &head.signature)];
    found.signed = ask(client, &signature)?.signed;
    let ends = if chains.is_empty() { std::slice::from_ref(&head.team) } else { chains };
    for some in ends.chunks(COMPARED) {
        let ends: Vec<_> = some.iter().map(|end| format!("{}:{}:{}", end.chain, end.seq, end.hash)).collect();
        let query: Vec<_> = ends.iter().map(|end| ("head", end.as_str())).collect();
        let known: Vec<_> = found.findings.iter().map(|finding| finding.chain.clone()).collect();
        let part = ask(client, &query)?;
        found.older += part.older;
        // Of a chain only the first entry that does not fit is told.
        found.findings.extend(part.findings.into_iter().filter(|new| !known.contains(&new.chain)));
    }
    Ok(())
}

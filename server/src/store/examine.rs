//! Going through a store without changing it: whether everything is there and as it was written, and how much it is.
//!
//! Backups, restores and `metergate doctor` trust nothing else: the pages of the database, the checksum of every block and
//! that none is missing, the checksum of every row that figures are read from and that use of all organizations together
//! is what theirs add up to, the hash of every entry of the audit log.

use std::collections::HashSet;
use std::path::Path;

use metergate_rules::id::OrganizationId;
use serde::{Deserialize, Serialize};

use super::audit::{Chain, Finding, Root, TEAM, held, owner, without_chain};
use super::block::{Block, Record};
use super::error::EngineError;
use super::known::Id;
use super::sqlite::{SCHEMA, Sqlite};
use crate::hex::hex;

mod derived;
mod slices;

/// Findings that are told; a store with more is no better known by them.
const MOST_FINDINGS: usize = 100;

/// What a store holds, counted. A start that folds what lags changes none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Census {
    /// Organizations, also those that stand in the journal alone.
    pub organizations: u64,
    /// Blocks of the journal.
    pub blocks: u64,
    /// The number of the last block; 0 without any.
    pub last_block: u64,
    /// The time of its commit.
    pub last_block_at: Option<String>,
    /// Decisions and events with an id.
    pub ids: u64,
    /// Chains of the audit log.
    pub audit_chains: u64,
    /// Their entries.
    pub audit_entries: u64,
    /// SHA-256 over chain, place and hash of every chain's last entry, in lower-case hex.
    pub audit_heads: String,
}

impl Census {
    /// The figures that `other` has otherwise, such as `ids: 7 instead of 8`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.figures(), other.figures());
        let differing = ours.into_iter().zip(theirs).filter(|(ours, theirs)| ours != theirs);
        differing.map(|((name, ours), (_, theirs))| format!("{name}: {ours} instead of {theirs}")).collect()
    }

    fn figures(&self) -> [(&'static str, String); 8] {
        [
            ("organizations", self.organizations.to_string()),
            ("blocks", self.blocks.to_string()),
            ("the last block", self.last_block.to_string()),
            ("its time", self.last_block_at.clone().unwrap_or_default()),
            ("ids", self.ids.to_string()),
            ("audit chains", self.audit_chains.to_string()),
            ("audit entries", self.audit_entries.to_string()),
            ("the ends of the audit chains", self.audit_heads.clone()),
        ]
    }
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// What there is.
    pub census: Census,
    /// Up to which block everything stands in the rows; a start folds the rest.
    pub folded_to: u64,
    /// What is wrong, in plain words; empty where all is well.
    pub findings: Vec<String>,
}

/// Goes through the store in a folder, at one snapshot, for as long as `go_on` says so.
///
/// # Errors
/// [`EngineError`] if it cannot be opened. What cannot be read further on is a finding.
pub fn examine(folder: &Path, go_on: &dyn Fn() -> bool) -> Result<Examined, EngineError> {
    let sqlite = Sqlite::open_to_read(folder)?;
    let snapshot = sqlite.connection().unchecked_transaction()?;
    let version: u32 = snapshot.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let seen = Examined::default();
    let mut examination = Examination { sqlite: &sqlite, folder, go_on, sliced_to: 0, seen };
    if version == SCHEMA {
        let parts: [(&str, Part<'_>); 7] = [
            ("the database", Examination::pages),
            ("the slices", Examination::slices),
            ("the journal", Examination::journal),
            ("accounts and their use", Examination::usage),
            ("the totals of days", Examination::day_totals),
            ("distinct values", Examination::values),
            ("the audit log", Examination::audit),
        ];
        for (what, part) in parts {
            match part(&mut examination) {
                Ok(()) => {}
                Err(Halt::Stopped) => examination.find(format!("{what} was not gone through to its end")),
                Err(Halt::Sqlite(error)) => examination.find(format!("{what}: {error}")),
            }
        }
    } else {
        examination.find(format!(
            "the database has schema version {version}, this program's is {SCHEMA}: a start brings an older one up to \
             date, a newer one needs a newer metergate"
        ));
    }
    let seen = examination.seen;
    snapshot.rollback()?;
    Ok(seen)
}

type Part<'a> = fn(&mut Examination<'a>) -> Result<(), Halt>;

/// Why a part ends before its end.
enum Halt {
    Stopped,
    Sqlite(EngineError),
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        Self::Sqlite(error)
    }
}

impl From<rusqlite::Error> for Halt {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error.into())
    }
}

struct Examination<'a> {
    sqlite: &'a Sqlite,
    folder: &'a Path,
    go_on: &'a dyn Fn() -> bool,
    /// The last block that is in a slice. The database may still have some of those.
    sliced_to: u64,
    seen: Examined,
}

impl Examination<'_> {
    fn find(&mut self, finding: String) {
        match self.seen.findings.len() {
            MOST_FINDINGS => self.seen.findings.push("and more".to_owned()),
            found if found < MOST_FINDINGS => self.seen.findings.push(finding),
            _ => {}
        }
    }

    fn go_on(&self) -> Result<(), Halt> {
        if (self.go_on)() { Ok(()) } else { Err(Halt::Stopped) }
    }

    fn pages(&mut self) -> Result<(), Halt> {
        self.go_on()?;
        let mut query = self.sqlite.connection().prepare("PRAGMA quick_check")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let told: String = row.get(0)?;
            if told != "ok" {
                self.find(format!("the database: {told}"));
            }
        }
        Ok(())
    }

    fn journal(&mut self) -> Result<(), Halt> {
        let sqlite = self.sqlite;
        self.seen.folded_to = sqlite.setting("folded_to")?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let (mut unfolded, mut deleted) = (HashSet::new(), HashSet::new());
        sqlite.each_block_after(0, |sequence, at, data| {
            self.go_on()?;
            if sequence > self.sliced_to {
                self.follow(sequence, sequence);
            }
            // The newest block stays in the database, also when it is in a slice.
            self.seen.census.last_block_at = Some(at.to_string());
            match Block::read(data).and_then(|block| block.all()) {
                Ok(records) => {
                    self.count(sequence, &records, &mut unfolded);
                    let last = records.iter().filter(|(.., record)| record.entry.what.deletes());
                    deleted.extend(last.map(|(organization, ..)| *organization));
                }
                Err(error) => self.find(format!("block {sequence}: {error}")),
            }
            Ok::<_, Halt>(())
        })?;
        let mut row = sqlite.connection().prepare("SELECT 1 FROM organizations WHERE id = ?")?;
        for organization in unfolded.difference(&deleted) {
            self.seen.census.organizations += u64::from(!row.exists([organization.bytes()])?);
        }
        let rows: i64 = sqlite.connection().query_row("SELECT count(*) FROM organizations", [], |row| row.get(0))?;
        self.seen.census.organizations += rows.unsigned_abs();
        Ok(())
    }

    /// The next blocks of the journal. The first of all may be a later one where older slices are gone.
    fn follow(&mut self, first: u64, last: u64) {
        let due = self.seen.census.last_block + 1;
        let older_are_gone = self.seen.census.blocks == 0 && self.sliced_to > 0;
        if first != due && !older_are_gone {
            self.find(format!("block {due} is missing: block {first} stands in its place"));
        }
        self.seen.census.blocks += (last + 1).saturating_sub(first);
        self.seen.census.last_block = last;
    }

    fn count(
        &mut self,
        sequence: u64,
        records: &[(OrganizationId, u32, Record)],
        unfolded: &mut HashSet<OrganizationId>,
    ) {
        if sequence > self.sliced_to {
            let ids = records.iter().filter(|(_, _, record)| Id::of(record).is_some()).count();
            self.seen.census.ids += ids as u64;
        }
        if sequence > self.seen.folded_to {
            unfolded.extend(records.iter().map(|(organization, ..)| *organization));
        }
    }

    fn audit(&mut self) -> Result<(), Halt> {
        let (mut chain, mut root, mut told) = (None::<Chain>, Root::default(), HashSet::new());
        let sqlite = self.sqlite;
        for Finding { chain, broken } in
            sqlite.organizations_without_audit(MOST_FINDINGS)?.into_iter().map(without_chain)
        {
            told.insert(chain);
            self.find(format!("the audit log of {}: {broken}", owner(&chain)));
        }
        sqlite.each_audit_row(|row| {
            self.go_on()?;
            let mut broken = None;
            let mut now = match chain.filter(|chain| chain.name == row.chain) {
                Some(chain) => chain,
                None => {
                    end(chain, &mut root);
                    self.seen.census.audit_chains += 1;
                    let begun = Chain::begin(sqlite, row.chain)?;
                    broken = begun.broken;
                    begun.chain
                }
            };
            // What was exported and dropped may still be there, until the store has come to it.
            if !now.is_dropped(&row) {
                self.seen.census.audit_entries += 1;
                broken = broken.or(now.follow(&row).err());
                // An end that the team's chain holds is told of once, however many of its entries hold it.
                let ends = if now.broken { Vec::new() } else { held(sqlite, &row, MOST_FINDINGS)? };
                for Finding { chain, broken } in ends.into_iter().filter(|end| told.insert(end.chain)) {
                    self.find(format!("the audit log of {}: {broken}", owner(&chain)));
                }
            }
            if let Some(broken) = broken {
                let whose = if row.chain == TEAM { "the team".to_owned() } else { owner(&row.chain) };
                self.find(format!("the audit log of {whose}: {broken}"));
            }
            chain = Some(now);
            Ok::<_, Halt>(())
        })?;
        end(chain, &mut root);
        self.seen.census.audit_heads = hex(&root.finish());
        Ok(())
    }
}

fn end(chain: Option<Chain>, root: &mut Root) {
    if let Some(Chain { name, head, .. }) = chain {
        root.add(&name, head.sequence, &head.hash);
    }
}

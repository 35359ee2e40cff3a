//! Older entries of the audit log in a file, chain by chain, so that they can be dropped (O6).
//!
//! Lines of JSON: before a chain's entries one with the end of what went before (`opens`), behind them one with their closing
//! hash (`closes`), without which they are not all there. An entry has all that its hash is made of, so that the file can be
//! verified without the server.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use metergate_rules::audit::{Commitments, Hash};
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{AuditRow, Begun, Chain, Cut, TEAM, chain_owned_by, owner};
use crate::hex::{hex, unhex};
use crate::report::stored_object;
use crate::store::error::EngineError;
use crate::store::ledger::Head;
use crate::store::reader::ReadError;
use crate::store::rows::Rows;

/// Entries that are read at once.
const STEP: usize = 100;
/// A step ends when it has looked at so many entries or chains.
const MOST_LOOKED: usize = 5_000;
/// It ends too when it has so many bytes for the file.
const MOST_BYTES: usize = 1 << 20;
/// What the name of a file ends in that is not whole.
const PARTIAL: &str = ".partial";
/// Chains that are named of those that do not verify, at most.
const MOST_NAMED: usize = 100;

/// An entry's line.
#[derive(Serialize, Deserialize)]
pub struct EntryLine {
    chain: String,
    seq: u64,
    time: String,
    actor: String,
    action: String,
    category: String,
    before: Box<RawValue>,
    after: Box<RawValue>,
    details: Box<RawValue>,
    reason: String,
    salt: String,
    hash: String,
    /// What is left of a deleted organization's entry: the five salted hashes in place of what may be personal.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<Vec<String>>,
}

/// Where a chain stands before or behind its entries in the file.
#[derive(Serialize, Deserialize)]
pub struct EndLine {
    chain: String,
    seq: u64,
    hash: String,
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// The end of what went before: entry 0 where nothing did.
    Opens(EndLine),
    /// An entry.
    Entry(Box<EntryLine>),
    /// The last of the entries, with the hash from which the chain goes on.
    Closes(EndLine),
}

impl EndLine {
    fn of(chain: &Chain) -> Self {
        let (seq, hash) = chain.end();
        Self { chain: owner(&chain.name), seq, hash: hex(&hash) }
    }

    /// The chain at this end.
    pub fn chain(&self) -> Option<Chain> {
        let head = Head { sequence: self.seq, hash: unhex(&self.hash)? };
        Some(Chain { name: chain_owned_by(&self.chain)?, head, broken: false })
    }
}

impl EntryLine {
    fn of(row: &AuditRow) -> Self {
        Self {
            chain: owner(&row.chain),
            seq: row.sequence,
            time: row.at.to_string(),
            actor: row.actor.clone(),
            action: row.action.clone(),
            category: row.category.clone(),
            before: stored_object(&row.before),
            after: stored_object(&row.after),
            details: stored_object(&row.details),
            reason: row.reason.clone(),
            salt: hex(&row.salt),
            hash: hex(&row.hash),
            redacted: row.redacted.map(|parts| parts.iter().map(|part| hex(part)).collect()),
        }
    }

    /// The entry; nothing where a value in it cannot be one.
    pub fn row(self) -> Option<AuditRow> {
        let parts = |parts: Vec<String>| -> Option<Commitments> {
            parts.iter().map(|part| unhex(part)).collect::<Option<Vec<Hash>>>()?.try_into().ok()
        };
        Some(AuditRow {
            chain: chain_owned_by(&self.chain)?,
            sequence: self.seq,
            at: self.time.parse().ok()?,
            before: self.before.get().to_owned(),
            after: self.after.get().to_owned(),
            details: self.details.get().to_owned(),
            salt: unhex(&self.salt)?,
            hash: unhex(&self.hash)?,
            redacted: match self.redacted {
                Some(left) => Some(parts(left)?),
                None => None,
            },
            actor: self.actor,
            action: self.action,
            category: self.category,
            reason: self.reason,
        })
    }
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file.
    #[error("{0}")]
    File(#[from] io::Error),
    /// What is to stand in it.
    #[error("{0}")]
    Log(#[from] EngineError),
}

/// A file that is being written. Removed when this goes, unless it is [finished](Archive::finish).
pub struct Archive {
    file: File,
    partial: PathBuf,
    name: PathBuf,
    until: Time,
    hash: Sha256,
    here: Option<Here>,
    begun: bool,
    cuts: Vec<Cut>,
    broken: Vec<String>,
}

/// A chain that is being read.
struct Here {
    chain: Chain,
    entries: u64,
    /// Of these so many are no checkpoints: where there is none, a new checkpoint would only take the place of an old one.
    others: u64,
}

/// A file that is whole and on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Its name; nothing where no entry is old enough.
    pub file: Option<PathBuf>,
    /// What can be dropped now.
    pub cuts: Vec<Cut>,
    /// Chains that do not verify, of which nothing can be dropped; 100 at most.
    pub broken: Vec<String>,
}

impl Archive {
    /// A file in a folder for all entries from before a time. The folder is made where it is not there, and what others left
    /// unfinished in it goes: one is written at a time.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be made.
    pub fn begin(folder: &Path, until: Time) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        for left in fs::read_dir(folder)?.flatten().map(|entry| entry.path()) {
            if left.to_string_lossy().ends_with(PARTIAL) {
                fs::remove_file(left)?;
            }
        }
        let when = until.to_string().replace([':', '-', '.'], "");
        let name = folder.join(format!("audit-{when}-{}.jsonl", hex(&crate::random::bytes::<4>())));
        let partial = PathBuf::from(format!("{}{PARTIAL}", name.display()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        let (hash, cuts, broken) = (Sha256::new(), Vec::new(), Vec::new());
        Ok(Self { file, partial, name, until, hash, here: None, begun: false, cuts, broken })
    }

    /// Writes some more. Whether there is more to do.
    ///
    /// # Errors
    /// [`ArchiveError`] where it cannot be read or written.
    pub fn step(&mut self, rows: &dyn Rows) -> Result<bool, ArchiveError> {
        if !std::mem::replace(&mut self.begun, true) {
            self.here = self.open(rows, rows.audit_chain_from(TEAM)?)?;
        }
        let (mut text, mut looked) = (Vec::new(), 0);
        while text.len() < MOST_BYTES
            && looked < MOST_LOOKED
            && let Some(mut here) = self.here.take()
        {
            let some = rows.audit_after(here.chain.name, here.chain.head.sequence, STEP)?;
            looked += some.len().max(1);
            let older: Vec<_> = some.into_iter().take_while(|row| row.at < self.until).collect();
            let is_kept = here.entries == 0 && !older.is_empty() && has_own_clock(rows, here.chain.name)?;
            let followed = match is_kept {
                true => Err(()),
                false => older.iter().try_for_each(|row| here.take(row, &mut text)),
            };
            self.here = if followed.is_ok() && older.len() == STEP {
                Some(here)
            } else {
                let next = rows.audit_chain_after(here.chain.name)?;
                self.close(here, &mut text);
                self.open(rows, next)?
            };
        }
        if !text.is_empty() {
            self.hash.update(&text);
            self.file.write_all(&text)?;
            self.file.sync_data()?;
        }
        Ok(self.here.is_some())
    }

    fn open(&mut self, rows: &dyn Rows, chain: Option<[u8; 16]>) -> Result<Option<Here>, EngineError> {
        let mut next = chain;
        while let Some(chain) = next {
            let Begun { chain, broken, .. } = Chain::begin(rows, chain)?;
            if broken.is_none() {
                return Ok(Some(Here { chain, entries: 0, others: 0 }));
            }
            self.name_broken(&chain);
            next = rows.audit_chain_after(chain.name)?;
        }
        Ok(None)
    }

    fn close(&mut self, here: Here, text: &mut Vec<u8>) {
        if here.chain.broken {
            self.name_broken(&here.chain);
        } else if here.entries > 0 {
            write(text, &Line::Closes(EndLine::of(&here.chain)));
        }
        if !here.chain.broken && here.others > 0 {
            let Head { sequence, hash } = here.chain.head;
            let (chain, entries, file) = (here.chain.name, here.entries, Hash::default());
            self.cuts.push(Cut { chain, sequence, hash, entries, until: self.until, file });
        }
    }

    fn name_broken(&mut self, chain: &Chain) {
        if self.broken.len() < MOST_NAMED {
            self.broken.push(owner(&chain.name));
        }
    }

    /// Gives the file its name, once it is on disk. One with which nothing can be dropped is not kept.
    ///
    /// # Errors
    /// [`io::Error`] where it cannot be.
    pub fn finish(mut self) -> io::Result<Archived> {
        let broken = std::mem::take(&mut self.broken);
        if self.cuts.is_empty() {
            return Ok(Archived { broken, ..Archived::default() });
        }
        self.file.sync_all()?;
        fs::rename(&self.partial, &self.name)?;
        if let Some(folder) = self.name.parent() {
            File::open(folder)?.sync_all()?;
        }
        let file: Hash = std::mem::take(&mut self.hash).finalize().into();
        let cuts = std::mem::take(&mut self.cuts).into_iter().map(|cut| Cut { file, ..cut }).collect();
        Ok(Archived { file: Some(self.name.clone()), cuts, broken })
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Under its own name the file is no longer there.
        let _ = fs::remove_file(&self.partial);
    }
}

impl Here {
    /// An entry that does not fit ends the chain's part of the file.
    fn take(&mut self, row: &AuditRow, text: &mut Vec<u8>) -> Result<(), ()> {
        if self.entries == 0 {
            write(text, &Line::Opens(EndLine::of(&self.chain)));
        }
        self.chain.follow(row).map_err(drop)?;
        self.entries += 1;
        self.others += u64::from(row.dropped().is_none());
        write(text, &Line::Entry(Box::new(EntryLine::of(row))));
        Ok(())
    }
}

/// Whether it is the chain of a test organization that lives by a clock of its own: its times say nothing of how long ago
/// something was, so it is kept.
fn has_own_clock(rows: &dyn Rows, chain: [u8; 16]) -> Result<bool, EngineError> {
    let account = if chain == TEAM { None } else { rows.account(OrganizationId(chain))? };
    Ok(account.is_some_and(|account| account.clock.is_some()))
}

/// Texts and numbers always have a JSON form.
fn write(text: &mut Vec<u8>, line: &Line) {
    if serde_json::to_writer(&mut *text, line).is_ok() {
        text.push(b'\n');
    }
}

impl From<ArchiveError> for ReadError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Log(error) => error.into(),
            ArchiveError::File(error) => {
                tracing::error!(%error, "the file of the audit log's older entries cannot be written");
                let full = error.kind() == io::ErrorKind::StorageFull;
                let told =
                    if full { crate::store::StoreError::DiskFull } else { crate::store::StoreError::Unavailable };
                Self::Store(told)
            }
        }
    }
}

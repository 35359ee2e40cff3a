//! A start: what the journal holds and the rows do not is applied, then the ids are read.

use std::cell::RefCell;
use std::collections::hash_map;
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use parking_lot::RwLock;

use super::block::{Block, Place};
use super::known::{Id, Known};
use super::ledger::{Ledger, Map};
use super::reader::Recent;
use super::rollup::Derived;
use super::sqlite::{Commit, Sqlite, SqliteError, unreadable};
use crate::catalogue::Snapshot;
use crate::dies_at;

/// Records that replay folds in one commit.
const REPLAY_STEP: usize = 50_000;

/// Applies the blocks that the rows do not hold yet, account by account, and writes the rows.
pub(super) fn replay(sqlite: &mut Sqlite) -> Result<(), SqliteError> {
    let text = sqlite.setting("folded_to")?.unwrap_or_else(|| "0".to_owned());
    let folded_to: u64 = text.parse().map_err(|error| unreadable("folded_to", error))?;
    let mut fold = Fold::default();
    let reading = Sqlite::open_to_read(sqlite.folder())?;
    reading.each_block_after(folded_to, |sequence, at, data| {
        fold.add(sqlite, sequence, data)?;
        fold.last = (sequence, at);
        if fold.records >= REPLAY_STEP { fold.write(sqlite) } else { Ok(()) }
    })?;
    fold.write(sqlite)
}

/// Accounts and what reports read, as blocks make them.
#[derive(Default)]
struct Fold {
    accounts: Map<OrganizationId, (u64, Option<Account>)>,
    derived: Derived,
    records: usize,
    last: (u64, Time),
}

impl Fold {
    fn add(&mut self, sqlite: &Sqlite, sequence: u64, data: &[u8]) -> Result<(), SqliteError> {
        let broken = |error| unreadable(format!("block {sequence}"), error);
        let all = Block::read(data).and_then(|block| block.all()).map_err(broken)?;
        for (organization, _, record) in all {
            let (held, account) = match self.accounts.entry(organization) {
                hash_map::Entry::Occupied(entry) => entry.into_mut(),
                hash_map::Entry::Vacant(entry) => {
                    let row = sqlite.account_row(organization)?;
                    entry.insert(row.map_or((0, None), |(held, account)| (held, Some(account))))
                }
            };
            if *held >= sequence {
                continue;
            }
            match account {
                Some(account) => apply::apply(account, &record.entry),
                None => *account = apply::create(organization, &record.entry),
            }
            self.derived.add(organization, &record.entry);
            self.records += 1;
        }
        Ok(())
    }

    /// Writes what was folded; in one commit, so that a start that dies here begins again from the same place.
    fn write(&mut self, sqlite: &mut Sqlite) -> Result<(), SqliteError> {
        dies_at!("start-replaying");
        let accounts = self.accounts.values().filter_map(|(_, account)| Some((account.as_ref()?, true))).collect();
        let commit = Commit {
            sequence: self.last.0,
            at: self.last.1,
            block: None,
            accounts,
            derived: &self.derived,
            audit: &[],
            receipts: &[],
            team: &[],
        };
        if self.last.0 > 0 {
            sqlite.write(&commit)?;
        }
        *self = Self { last: (0, Time::MIN), ..Self::default() };
        Ok(())
    }
}

/// The ids that the journal holds, and which blocks each organization is in.
pub(super) fn read_ids(
    sqlite: &Sqlite,
    catalogue: Arc<Snapshot>,
    recent: &RwLock<Recent>,
) -> Result<Ledger, SqliteError> {
    let (sequence, last) = sqlite.last_block()?;
    let mut ledger = Ledger {
        accounts: Map::default(),
        keys: Map::default(),
        known: Known::default(),
        blocks: RefCell::default(),
        heads: Map::default(),
        sequence,
        last,
        catalogue,
    };
    let mut recent = recent.write();
    sqlite.each_block_after(0, |sequence, _, data| {
        let broken = |error| unreadable(format!("block {sequence}"), error);
        let block = Block::read(data).map_err(broken)?;
        recent.add(sequence, block.organizations());
        for (organization, offset, record) in block.all().map_err(broken)? {
            if let Some(id) = Id::of(&record) {
                remember(&mut ledger, sqlite, organization, id, Place { sequence, offset })?;
            }
        }
        Ok::<_, SqliteError>(())
    })?;
    Ok(ledger)
}

/// An id at start: under the first attempt that is free, or that holds the same id from an earlier time.
fn remember(
    ledger: &mut Ledger,
    sqlite: &Sqlite,
    organization: OrganizationId,
    id: Id<'_>,
    place: Place,
) -> Result<(), SqliteError> {
    for attempt in 0.. {
        let Some(taken) = ledger.known.candidate(organization, id, attempt) else {
            ledger.known.insert(organization, id, attempt, place);
            return Ok(());
        };
        let earlier = ledger.block(sqlite, taken.sequence)?.map(|block| block.at(taken.offset));
        if matches!(earlier, Some(Ok((owner, ref record))) if owner == organization && Id::of(record) == Some(id)) {
            ledger.known.insert(organization, id, attempt, place);
            return Ok(());
        }
    }
    Ok(())
}

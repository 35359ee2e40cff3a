//! A start: the journal is read once. What it holds and the rows do not becomes the dirty accounts; its ids become known.
//! Nothing is written: the rows follow as they do at any time.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::id::OrganizationId;
use parking_lot::RwLock;

use super::block::{Block, Place, Record};
use super::dirty::{Dirty, DirtyAccount};
use super::known::{Id, Known};
use super::ledger::{Ledger, Map, is_within};
use super::reader::Recent;
use super::sqlite::{Sqlite, SqliteError, unreadable};
use crate::catalogue::Snapshot;
use crate::dies_at;

/// Reads the journal. Answers what the writer has in memory, and up to where every row was.
pub(super) fn replay(
    sqlite: &Sqlite,
    catalogue: Arc<Snapshot>,
    recent: &RwLock<Recent>,
) -> Result<(Ledger, u64), SqliteError> {
    let text = sqlite.setting("folded_to")?.unwrap_or_else(|| "0".to_owned());
    let folded_to: u64 = text.parse().map_err(|error| unreadable("folded_to", error))?;
    let (sequence, last) = sqlite.last_block()?;
    if folded_to > sequence {
        let why = format!("rows hold block {folded_to}, and the journal ends at block {sequence}");
        return Err(unreadable("the end of the journal", why));
    }
    let mut ledger = Ledger {
        accounts: Map::default(),
        dirty: Arc::default(),
        keys: Map::default(),
        known: Known::default(),
        blocks: RefCell::default(),
        heads: Map::default(),
        sequence,
        last,
        catalogue,
    };
    let (mut behind, mut recent) = (Behind { last: sequence, ..Behind::default() }, recent.write());
    sqlite.each_block_after(0, |sequence, _, data| {
        let broken = |error| unreadable(format!("block {sequence}"), error);
        let block = Block::read(data).map_err(broken)?;
        recent.add(sequence, block.organizations());
        let records = block.all().map_err(broken)?;
        for (organization, offset, record) in &records {
            if let Some(id) = Id::of(record) {
                remember(&mut ledger, sqlite, *organization, id, Place { sequence, offset: *offset })?;
            }
        }
        if sequence > folded_to {
            for of_one in records.chunk_by(|a, b| a.0 == b.0) {
                behind.add(sqlite, sequence, of_one)?;
            }
            dies_at!("start-replaying");
        }
        Ok::<_, SqliteError>(())
    })?;
    let dirty = behind.into_dirty();
    ledger.accounts.extend(dirty.all().map(|dirty| (dirty.account.id, Arc::clone(&dirty.account))));
    ledger.dirty = Arc::new(RwLock::new(dirty));
    Ok((ledger, folded_to))
}

/// Accounts that the blocks go beyond, with the block that their rows hold.
#[derive(Default)]
struct Behind {
    /// The journal's last block.
    last: u64,
    accounts: Map<OrganizationId, (u64, Option<DirtyAccount>)>,
}

impl Behind {
    /// Takes in the records of one organization in one block, unless its row holds them.
    fn add(
        &mut self,
        sqlite: &Sqlite,
        sequence: u64,
        records: &[(OrganizationId, u32, Record)],
    ) -> Result<(), SqliteError> {
        let Some((organization, _, first)) = records.first() else { return Ok(()) };
        let (held, dirty) = match self.accounts.entry(*organization) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let row = sqlite.account_row(*organization)?;
                row.iter().try_for_each(|(held, _)| is_within(self.last, *organization, *held))?;
                let clean = |(held, account)| (held, Some(DirtyAccount::clean(&Arc::new(account))));
                entry.insert(row.map_or((0, None), clean))
            }
        };
        if *held >= sequence {
            return Ok(());
        }
        let all = records.iter().map(|(_, _, record)| record);
        let created = dirty.is_none();
        if created {
            *dirty = apply::create(*organization, &first.entry).map(|new| DirtyAccount::clean(&Arc::new(new)));
        }
        let Some(dirty) = dirty else { return Ok(()) };
        let account = Arc::<Account>::make_mut(&mut dirty.account);
        all.clone().skip(usize::from(created)).for_each(|record| apply::apply(account, &record.entry));
        dirty.take_in(sequence, all);
        Ok(())
    }

    fn into_dirty(self) -> Dirty {
        let mut dirty = Dirty::default();
        let behind = self.accounts.into_values().filter_map(|(_, account)| account);
        behind.filter(|account| account.sequence > 0).for_each(|account| dirty.insert(account));
        dirty
    }
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

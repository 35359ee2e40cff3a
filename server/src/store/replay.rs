//! A start: the journal is read once. What it holds and the rows perhaps do not is kept for when it is needed; its ids become
//! known. Nothing is written: the rows follow as they do at any time.

use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use parking_lot::RwLock;

use super::block::{Block, Place, Record, Unreadable};
use super::dirty::{Dirty, DirtyAccount};
use super::error::{EngineError, unreadable};
use super::known::{IdHasher, Known};
use super::ledger::{Kept, Ledger, Map, is_within};
use super::reader::Recent;
use super::refusals::Refusals;
use super::slice::{Files, Records};
use super::sqlite::Sqlite;
use super::unread::{Unsorted, take_in};
use crate::catalogue::Snapshot;
use crate::dies_at;

/// The setting that says up to where every row is. It goes with rows that are thrown away.
const FOLDED_TO: &str = "folded_to";

/// What a start found.
pub(super) struct Replayed {
    /// What the writer has in memory.
    pub(super) ledger: Ledger,
    /// Up to where every row is.
    pub(super) folded_to: u64,
    /// The oldest block in the database.
    pub(super) oldest: u64,
    /// Of the open slice: when its first block was committed, and the bytes of its blocks.
    pub(super) open: (Option<Time>, u64),
}

/// Reads the journal.
pub(super) fn replay(
    sqlite: &Sqlite,
    catalogue: Arc<Snapshot>,
    hasher: IdHasher,
    files: Files,
    recent: &RwLock<Recent>,
) -> Result<Replayed, EngineError> {
    let (sequence, last) = sqlite.last_block()?;
    let (folded_to, oldest) = (folded_to(sqlite, sequence)?, sqlite.first_block()?.unwrap_or(1));
    let sliced_to = files.records.last().map_or(0, |slice| slice.extent().last);
    // Where rows were thrown away there may be none of an organization, nor a listing: then all are made before anything else.
    let are_there = sqlite.setting(FOLDED_TO)?.is_some() && folded_to + 1 >= oldest.min(sequence + 1);
    let (mut behind, mut unread) = (Behind { last: sequence, ..Behind::default() }, Unsorted::default());
    behind.add_slices(sqlite, &files.records, folded_to + 1..oldest)?;
    let mut known = Known::new(hasher, files.ids, oldest.max(sliced_to + 1));
    let (mut recent, mut open) = (recent.write(), (None, 0));
    sqlite.each_block_after(folded_to.min(sliced_to), |sequence, at, data| {
        let broken = |error| unreadable(format!("block {sequence}"), error);
        let block = Block::read(data).map_err(broken)?;
        if sequence > sliced_to {
            open = (open.0.or(Some(at)), open.1 + data.len() as u64);
            recent.add(sequence, block.organizations());
            learn(&mut known, sequence, &block).map_err(broken)?;
        }
        if sequence > folded_to {
            if are_there {
                unread.add(sequence, &block, data);
            } else {
                let records = block.all().map_err(broken)?;
                for of_one in records.chunk_by(|a, b| a.0 == b.0) {
                    behind.add(sqlite, sequence, of_one[0].0, of_one.iter().map(|(_, _, record)| record))?;
                }
            }
            dies_at!("start-replaying");
        }
        Ok::<_, EngineError>(())
    })?;
    let mut dirty = behind.into_dirty();
    dirty.begin_unread(unread.sorted(sequence));
    let ledger = Ledger {
        carried: Map::default(),
        accounts: dirty.all().map(|dirty| (dirty.account.id, Arc::clone(&dirty.account))).collect(),
        dirty: Arc::new(RwLock::new(dirty)),
        keys: Map::default(),
        known,
        closed: files.records,
        blocks: Kept::default(),
        chunks: Kept::default(),
        heads: Map::default(),
        sequence,
        last,
        catalogue,
        people: Arc::default(),
        feed: Arc::default(),
        refusals: Refusals::default(),
        deleted: sqlite.deletions()?.into(),
        cut: sqlite.cut_chains()?.into(),
    };
    Ok(Replayed { ledger, folded_to, oldest, open })
}

/// The ids of a block become known.
fn learn(known: &mut Known, sequence: u64, block: &Block<'_>) -> Result<(), Unreadable> {
    for id in block.ids() {
        let (offset, hash) = id?;
        known.insert(hash, Place { sequence, offset });
    }
    Ok(())
}

/// Up to where every row is, which is not behind the last block.
fn folded_to(sqlite: &Sqlite, last: u64) -> Result<u64, EngineError> {
    let text = sqlite.setting(FOLDED_TO)?.unwrap_or_else(|| "0".to_owned());
    let folded_to = text.parse().map_err(|error| unreadable("folded_to", error))?;
    if folded_to > last {
        let why = format!("rows hold block {folded_to}, and the journal ends at block {last}");
        return Err(unreadable("the end of the journal", why));
    }
    Ok(folded_to)
}

/// Accounts that the blocks go beyond, with the block that their rows hold.
#[derive(Default)]
struct Behind {
    /// The journal's last block.
    last: u64,
    accounts: Map<OrganizationId, (u64, Option<DirtyAccount>)>,
}

impl Behind {
    /// Takes in blocks that are in slices only. There are some only where rows were thrown away: a block stays in the
    /// database until every row holds it.
    fn add_slices(&mut self, sqlite: &Sqlite, closed: &[Arc<Records>], blocks: Range<u64>) -> Result<(), EngineError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let first = closed.first().map_or(blocks.end, |slice| slice.extent().first);
        if first > blocks.start {
            let why = format!("the rows lack block {} and the journal begins with block {first}", blocks.start);
            return Err(EngineError::Unusable(why));
        }
        for slice in closed.iter().filter(|slice| slice.extent().last >= blocks.start) {
            slice.each(|sequence, organization, records| {
                let records = records.iter().map(|(_, record)| record);
                if blocks.contains(&sequence) { self.add(sqlite, sequence, organization, records) } else { Ok(()) }
            })?;
        }
        Ok(())
    }

    /// Takes in the records of one organization in one block, unless its row holds them.
    fn add<'r>(
        &mut self,
        sqlite: &Sqlite,
        sequence: u64,
        organization: OrganizationId,
        records: impl Iterator<Item = &'r Record> + Clone,
    ) -> Result<(), EngineError> {
        let (held, dirty) = match self.accounts.entry(organization) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let row = sqlite.account_row(organization)?;
                row.iter().try_for_each(|(held, _)| is_within(self.last, organization, *held))?;
                let clean = |(held, account)| (held, Some(DirtyAccount::clean(&Arc::new(account))));
                entry.insert(row.map_or((0, None), clean))
            }
        };
        if *held < sequence {
            take_in(dirty, organization, sequence, records);
        }
        Ok(())
    }

    fn into_dirty(self) -> Dirty {
        let mut dirty = Dirty::default();
        let behind = self.accounts.into_values().filter_map(|(_, account)| account);
        behind.filter(|account| account.sequence > 0).for_each(|account| dirty.insert(account));
        dirty
    }
}

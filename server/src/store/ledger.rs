//! What the writer has in memory: the durable image of the accounts, the known ids, the ends of the audit chains.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::audit::{GENESIS, Hash};
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::time::Time;
use parking_lot::RwLock;

use super::block::{Block, Place, Record};
use super::dirty::Dirty;
use super::error::{EngineError, unreadable};
use super::feed::Feed;
use super::known::Known;
use super::refusals::Refusals;
use super::rollup::{Carried, ValueKey};
use super::rows::Rows;
use super::slice::{Chunk, Records};
use crate::catalogue::Snapshot;
use crate::faults::planted;
use crate::people::People;

/// Blocks, and chunks of closed slices, that are kept ready to be read again.
const KEPT: usize = 8;

/// Accounts, keys and ends of audit chains that are kept in memory. An account beyond it goes when its row is written.
const MOST_ACCOUNTS: usize = 1_000_000;

/// A map whose keys nobody can make collide.
pub(super) type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;

/// The end of an audit chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The place of the last entry; 0 without any.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    pub(super) const EMPTY: Self = Self { sequence: 0, hash: GENESIS };
}

/// Everything here is durable: a batch changes it only after its commit.
pub(super) struct Ledger {
    /// Accounts by id, loaded on first use. One whose row is behind the journal is always here.
    pub(super) accounts: Map<OrganizationId, Arc<Account>>,
    /// What rows lack; readers see it too.
    pub(super) dirty: Arc<RwLock<Dirty>>,
    /// What rows of rollups lack since the rows of these accounts carry it, where several nodes share them.
    pub(super) carried: Map<OrganizationId, Arc<Carried>>,
    /// Organizations by key, likewise.
    pub(super) keys: Map<OrganizationKey, OrganizationId>,
    /// The ids of decisions and events.
    pub(super) known: Known,
    /// The records of closed slices, oldest first.
    pub(super) closed: Vec<Arc<Records>>,
    /// Blocks that were read last, by whose journal they are in: repetitions come in the order in which they were first sent.
    pub(super) blocks: Kept<(OrganizationId, u64), Block<'static>>,
    /// Chunks of closed slices that were read last, by the first block of the slice and number.
    pub(super) chunks: Kept<(u64, usize), Chunk>,
    /// The ends of audit chains, likewise.
    pub(super) heads: Map<[u8; 16], Head>,
    /// The last block.
    pub(super) sequence: u64,
    /// The time of the last commit: no batch is earlier.
    pub(super) last: Time,
    /// Meters, plans and keys in force.
    pub(super) catalogue: Arc<Snapshot>,
    /// Everybody.
    pub(super) people: Arc<People>,
    /// What the fleet view is told.
    pub(super) feed: Arc<Feed>,
    /// Refusals of which others were not told yet.
    pub(super) refusals: Refusals,
    /// Organizations that are deleted and of which rows are left.
    pub(super) deleted: VecDeque<OrganizationId>,
    /// Chains of the audit log of which dropped entries are left.
    pub(super) cut: VecDeque<[u8; 16]>,
}

impl Ledger {
    /// The durable image of an organization's account.
    pub(super) fn account(&mut self, rows: &dyn Rows, id: OrganizationId) -> Result<Option<Arc<Account>>, EngineError> {
        if let Some(account) = self.accounts.get(&id)
            && !planted("reload-behind-row")
        {
            return Ok(Some(Arc::clone(account)));
        }
        if self.dirty.read().unread().has(id) {
            self.look_at(rows, id)?;
            if let Some(dirty) = self.dirty.read().get(id) {
                return Ok(Some(Arc::clone(&dirty.account)));
            }
        }
        let Some((held, account)) = rows.account_row(id)? else { return Ok(None) };
        is_within(self.sequence, id, held)?;
        let account = Arc::new(account);
        self.accounts.insert(id, Arc::clone(&account));
        Ok(Some(account))
    }

    /// Makes an account of its row and what that lacks, where nobody has since the start.
    fn look_at(&mut self, rows: &dyn Rows, id: OrganizationId) -> Result<(), EngineError> {
        let lacking = self.dirty.read().unread().read(rows, id)?;
        self.accounts.extend(lacking.iter().map(|lacking| (id, Arc::clone(&lacking.account))));
        self.dirty.write().looked_at(id, lacking);
        Ok(())
    }

    /// Does so with the next accounts in the order of the fold. One that cannot be read is passed over.
    pub(super) fn look_at_next(&mut self, rows: &dyn Rows, mut after: Option<OrganizationId>, most: usize) {
        for _ in 0..most {
            let Some(next) = self.dirty.read().unread().next(after) else { return };
            if let Err(error) = self.look_at(rows, next) {
                tracing::error!(%error, "the rows of an organization stay behind the journal");
                self.dirty.write().mark_damaged(next);
            }
            after = Some(next);
        }
    }

    /// The newest place before `before` at which an id of this hash stands, which may be another's.
    pub(super) fn candidate(
        &self,
        rows: &dyn Rows,
        organization: OrganizationId,
        hash: u64,
        before: Place,
    ) -> Result<Option<Place>, EngineError> {
        match self.known.candidate(hash, before)? {
            Some(place) => Ok(Some(place)),
            None => rows.candidate(organization, hash, before),
        }
    }

    /// The record of an organization at a place; `None` where another's is there, or it has gone for its age.
    pub(super) fn record(
        &self,
        rows: &dyn Rows,
        organization: OrganizationId,
        place: Place,
    ) -> Result<Option<Record>, EngineError> {
        let slice = self.closed.partition_point(|slice| slice.extent().last < place.sequence);
        match self.closed.get(slice) {
            Some(slice) => self.closed_record(slice, organization, place),
            None => self.open_record(rows, organization, place),
        }
    }

    fn open_record(
        &self,
        rows: &dyn Rows,
        organization: OrganizationId,
        place: Place,
    ) -> Result<Option<Record>, EngineError> {
        let broken = |error| unreadable(format!("block {}", place.sequence), error);
        let journal = rows.journal_of(organization);
        let block = self.blocks.get_or_read((journal, place.sequence), || {
            rows.block(journal, place.sequence)?.map(|data| Block::read(data).map_err(broken)).transpose()
        })?;
        let Some(block) = block else { return Ok(None) };
        let (owner, record) = block.at(place.offset).map_err(broken)?;
        Ok((owner == organization).then_some(record))
    }

    fn closed_record(
        &self,
        slice: &Records,
        organization: OrganizationId,
        place: Place,
    ) -> Result<Option<Record>, EngineError> {
        let Some(number) = slice.chunk_of(organization, place.sequence) else { return Ok(None) };
        let key = (slice.extent().first, number);
        let chunk = self.chunks.get_or_read(key, || Ok::<_, EngineError>(Some(slice.chunk(number)?)))?;
        let record = chunk.map_or(Ok(None), |chunk| chunk.at(organization, place));
        Ok(record.map_err(|damage| slice.error(damage))?)
    }

    /// The id of an organization that exists.
    pub(super) fn resolve(
        &mut self,
        rows: &dyn Rows,
        organization: &OrganizationRef,
    ) -> Result<Option<OrganizationId>, EngineError> {
        match organization {
            OrganizationRef::Id(id) => Ok(self.account(rows, *id)?.map(|account| account.id)),
            OrganizationRef::Key(key) => {
                if let Some(id) = self.keys.get(key) {
                    return Ok(Some(*id));
                }
                let Some(id) = rows.organization_id(key)? else { return Ok(None) };
                if self.account(rows, id)?.is_none_or(|account| account.profile.key != *key) {
                    return Err(unreadable(format!("organization {key}"), "its listing and its account do not agree"));
                }
                self.keys.insert(key.clone(), id);
                Ok(Some(id))
            }
        }
    }

    /// Whether a value was seen in `[from.bucket, to)`, with how often it was beside what is durable, by bucket.
    pub(super) fn has_value(
        &self,
        rows: &dyn Rows,
        from: ValueKey,
        to: Time,
        beside: impl Iterator<Item = (Time, i64)>,
    ) -> Result<bool, EngineError> {
        let dirty = self.dirty.read();
        let pending = dirty.get(from.organization).into_iter().flat_map(|dirty| dirty.derived.counts(from, to));
        rows.is_seen(from, to, &mut pending.chain(beside))
    }

    /// Forgets what can be read again, where there is too much of it; called when all of it is durable.
    pub(super) fn bound(&mut self, written: impl Iterator<Item = OrganizationId>) {
        if self.accounts.len() > MOST_ACCOUNTS {
            written.for_each(|id| drop(self.accounts.remove(&id)));
        }
        if self.keys.len() > MOST_ACCOUNTS {
            self.keys.clear();
        }
        if self.heads.len() > MOST_ACCOUNTS {
            self.heads.clear();
        }
    }

    /// The end of an audit chain.
    pub(super) fn head(&mut self, rows: &dyn Rows, chain: [u8; 16]) -> Result<Head, EngineError> {
        if let Some(head) = self.heads.get(&chain) {
            return Ok(*head);
        }
        let head = rows.audit_head(chain)?;
        self.heads.insert(chain, head);
        Ok(head)
    }
}

/// A few things that were read last.
pub(super) struct Kept<K, V>(RefCell<VecDeque<(K, Arc<V>)>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: PartialEq, V> Kept<K, V> {
    fn get_or_read<E>(&self, key: K, read: impl FnOnce() -> Result<Option<V>, E>) -> Result<Option<Arc<V>>, E> {
        let mut kept = self.0.borrow_mut();
        if let Some((_, value)) = kept.iter().find(|(known, _)| *known == key) {
            return Ok(Some(Arc::clone(value)));
        }
        let Some(value) = read()?.map(Arc::new) else { return Ok(None) };
        kept.truncate(KEPT - 1);
        kept.push_front((key, Arc::clone(&value)));
        Ok(Some(value))
    }
}

/// An account's row holds no block that the journal has not: the end of the journal would be lost.
///
/// # Errors
/// [`EngineError::Unreadable`] if it does.
pub(super) fn is_within(last: u64, id: OrganizationId, held: u64) -> Result<(), EngineError> {
    if held <= last {
        return Ok(());
    }
    let why = format!("the account of organization {id} holds block {held}, and the journal ends at block {last}");
    Err(unreadable("the end of the journal", why))
}

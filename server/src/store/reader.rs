//! Reading beside the writer: every read sees one snapshot of what is durable, and never writes.
//!
//! The rows may be behind the journal, so a snapshot has two halves: what the rows lack (from memory), then the rows.
//! Taken in this order, an account's row is either older than its half in memory, and both together are the account and
//! its reports; or it is not, because its rows were written in between: then they alone are, with all that was
//! acknowledged before the read began.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use metergate_rules::account::Account;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationRef};
use metergate_rules::time::{Span, Time};
use parking_lot::{Mutex, RwLock};

use super::block::Block;
use super::dirty::{Dirty, DirtyAccount};
use super::ledger::Map;
use super::rollup::{Day, ValueKey};
use super::slice::Records;
use super::sqlite::{RollupRange, Sqlite, SqliteError, find_rollup, unreadable};
use super::{Scope, StoreError};
use crate::people::People;

mod accounts;
mod between;

pub(super) use between::{later_blocks, records_between};

/// Connections that are kept open for the next read.
const KEPT: usize = 8;
/// Of an organization's blocks so many are looked up at once: most who ask are content with the newest.
const BLOCKS_AT_ONCE: usize = 64;

/// Where each organization's records are: in which blocks of the open slice, and in which files.
#[derive(Default)]
pub struct Recent {
    open: Blocks,
    /// Of the slice that is closing, until it is closed.
    closing: Blocks,
    /// Closed slices, oldest first.
    closed: Vec<Arc<Records>>,
}

/// In which blocks each organization stands.
type Blocks = Map<OrganizationId, Vec<u64>>;

impl Recent {
    /// With closed slices alone.
    pub(super) fn after(closed: Vec<Arc<Records>>) -> Self {
        Self { closed, ..Self::default() }
    }

    pub(super) fn add(&mut self, sequence: u64, organizations: impl IntoIterator<Item = OrganizationId>) {
        for organization in organizations {
            let blocks = self.open.entry(organization).or_default();
            if blocks.last() != Some(&sequence) {
                blocks.push(sequence);
            }
        }
    }

    /// Some blocks of an organization up to `sequence`, newest first; or if there is none, the closed slices, in which
    /// the rest is.
    fn up_to(&self, organization: OrganizationId, sequence: u64) -> Result<Vec<u64>, Vec<Arc<Records>>> {
        for blocks in [&self.open, &self.closing] {
            let blocks = blocks.get(&organization).map_or(&[][..], Vec::as_slice);
            let blocks = &blocks[..blocks.partition_point(|block| *block <= sequence)];
            if !blocks.is_empty() {
                return Ok(blocks.iter().rev().take(BLOCKS_AT_ONCE).copied().collect());
            }
        }
        Err(self.closed.clone())
    }

    /// The open slice begins to close, and another begins.
    pub(super) fn begin_to_close(&mut self) {
        self.closing = std::mem::take(&mut self.open);
    }

    /// The records of the slice that was closing are in a file. What is needed no more is returned: it is large.
    #[must_use]
    pub(super) fn close(&mut self, records: Arc<Records>) -> impl Send + use<> {
        self.closed.push(records);
        std::mem::take(&mut self.closing)
    }

    /// The oldest slice has gone.
    pub(super) fn forget_oldest(&mut self) {
        self.closed.remove(0);
    }
}

/// Opens and keeps connections to read with.
pub struct Reader {
    folder: PathBuf,
    idle: Arc<Mutex<Vec<Sqlite>>>,
    recent: Arc<RwLock<Recent>>,
    dirty: Arc<RwLock<Dirty>>,
    people: Arc<ArcSwap<People>>,
}

impl Reader {
    pub(super) fn new(
        folder: &Path,
        recent: Arc<RwLock<Recent>>,
        dirty: Arc<RwLock<Dirty>>,
        people: Arc<ArcSwap<People>>,
    ) -> Self {
        Self { folder: folder.to_owned(), idle: Arc::default(), recent, dirty, people }
    }

    /// Closes the connections that are kept.
    pub(super) fn close(&self) {
        self.idle.lock().clear();
    }

    /// Runs `read` on one snapshot, on a thread that may wait for the disk.
    ///
    /// # Errors
    /// What `read` answers; [`StoreError::Unavailable`] if the database cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (folder, idle, recent) = (self.folder.clone(), Arc::clone(&self.idle), Arc::clone(&self.recent));
        let (dirty, people) = (Arc::clone(&self.dirty), Arc::clone(&self.people));
        let task = move || {
            let kept = idle.lock().pop();
            let sqlite = kept.map_or_else(|| Sqlite::open_to_read(&folder), Ok)?;
            // Before the snapshot of the rows, and so never newer than they are.
            let dirty = dirty.read().clone();
            let result = in_snapshot(&sqlite, &recent, &dirty, &people.load(), read)?;
            let mut idle = idle.lock();
            if idle.len() < KEPT {
                idle.push(sqlite);
            }
            Ok::<_, ReadError>(result)
        };
        match tokio::task::spawn_blocking(task).await {
            Ok(read) => read.map_err(ReadError::told),
            Err(error) => {
                tracing::error!(%error, "a read panicked");
                Err(StoreError::Internal)
            }
        }
    }
}

fn in_snapshot<T>(
    sqlite: &Sqlite,
    recent: &RwLock<Recent>,
    dirty: &Dirty,
    people: &People,
    read: impl FnOnce(&View<'_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let transaction = sqlite.connection().unchecked_transaction().map_err(SqliteError::from)?;
    let result = read(&View { sqlite, recent, dirty, people })?;
    transaction.commit().map_err(SqliteError::from)?;
    Ok(result)
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What was asked cannot be answered.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database cannot be read.
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
}

impl ReadError {
    /// What the caller is told; what the operator needs goes to the log.
    pub fn told(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Sqlite(error) => {
                tracing::error!(%error, "a read failed");
                StoreError::from(&error)
            }
        }
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error.into())
    }
}

/// Organizations on which something has fallen due.
#[derive(Debug, Default)]
pub struct Due {
    /// Which.
    pub organizations: Vec<OrganizationId>,
    /// Of how many it could not be read.
    pub unreadable: u64,
    /// Where to go on, if there are more.
    pub next: Option<OrganizationId>,
}

/// One snapshot of what is durable.
pub struct View<'a> {
    sqlite: &'a Sqlite,
    recent: &'a RwLock<Recent>,
    dirty: &'a Dirty,
    people: &'a People,
}

impl View<'_> {
    /// Everybody.
    pub const fn people(&self) -> &People {
        self.people
    }

    /// The database, for what is written in the commit of its change. Accounts, rollups and values may be behind there:
    /// they are read by the methods below.
    pub const fn sqlite(&self) -> &Sqlite {
        self.sqlite
    }

    /// The account of an organization, where it exists for the caller.
    ///
    /// # Errors
    /// [`StoreError::UnknownOrganization`] where it does not.
    pub fn account(&self, scope: Scope, organization: &OrganizationRef) -> Result<Account, ReadError> {
        let id = match organization {
            OrganizationRef::Id(id) => Some(*id),
            OrganizationRef::Key(key) => self.sqlite.organization_id(key)?,
        };
        let id = id.ok_or(StoreError::UnknownOrganization)?;
        scope.admits(id, self.people)?;
        let row = self.sqlite.account_row(id)?;
        let lacking = self.dirty.get(id).filter(|dirty| row.as_ref().is_none_or(|(held, _)| *held < dirty.sequence));
        let account = lacking.map_or_else(|| row.map(|(_, account)| account), |dirty| Some((*dirty.account).clone()));
        if let OrganizationRef::Key(key) = organization
            && account.as_ref().is_none_or(|account| account.profile.key != *key)
        {
            return Err(unreadable(format!("organization {key}"), "its listing and its account do not agree").into());
        }
        Ok(account.ok_or(StoreError::UnknownOrganization)?)
    }

    /// Of so many organizations after one, in the order of their ids, those on which something has fallen due on their own
    /// clock; and where to go on.
    ///
    /// # Errors
    /// [`ReadError::Sqlite`] if they cannot be read.
    pub fn due(&self, after: Option<OrganizationId>, most: usize, now: Time) -> Result<Due, ReadError> {
        let rows = self.sqlite.due_times(after, most)?;
        let next = rows.last().filter(|_| rows.len() == most).map(|(id, _)| *id);
        let mut due = Due { next, ..Due::default() };
        for (id, _) in rows.into_iter().filter(|(_, at)| *at <= now) {
            // The row may be behind, and the organization may have a clock of its own.
            match self.account(Scope::Team, &OrganizationRef::Id(id)) {
                Ok(account) if account.next_notable() <= account.own_time(now) => due.organizations.push(id),
                Ok(_) => {}
                // One that is damaged holds up no other.
                Err(error) => {
                    tracing::error!(%error, organization = %id, "what has fallen due cannot be seen");
                    due.unreadable += 1;
                }
            }
        }
        Ok(due)
    }

    /// What the rows of an organization lack.
    fn lacking(&self, organization: OrganizationId) -> Result<Option<&DirtyAccount>, ReadError> {
        let Some(dirty) = self.dirty.get(organization) else { return Ok(None) };
        let held = self.sqlite.account_sequence(organization)?;
        Ok(held.is_none_or(|held| held < dirty.sequence).then_some(dirty))
    }

    /// Goes through the rows of rollups of a meter on some days, each with its day, dimension values and stored day (to be
    /// read by [`Day`]), until `each` has enough.
    ///
    /// # Errors
    /// [`ReadError::Sqlite`] if it cannot be read; what `each` fails with.
    pub fn each_rollup(
        &self,
        range: &RollupRange,
        each: impl FnMut(i32, &str, &[u8]) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        self.sqlite.each_rollup(range, each)
    }

    /// What the rows of such a range lack, in order. Dimension sets beyond the cap of a day stand under the name that they
    /// will have.
    ///
    /// # Errors
    /// [`ReadError::Sqlite`] if it cannot be read.
    pub fn lacking_rollups(&self, range: &RollupRange) -> Result<Vec<(i32, String, Day)>, ReadError> {
        let Some(dirty) = self.lacking(range.organization)? else { return Ok(Vec::new()) };
        let (mut lacking, mut new) = (Vec::new(), (i32::MIN, 0));
        for (key, slots) in dirty.derived.rollups.of(range.meter, range.first, range.last) {
            new = if new.0 == key.day { new } else { (key.day, 0) };
            let (dimensions, stored) = find_rollup(self.sqlite.connection(), &key, new.1)?;
            new.1 += i64::from(stored.is_none());
            lacking.push((key.day, dimensions.to_owned(), slots));
        }
        Ok(lacking)
    }

    /// The values that a meter saw in a span, each with the bucket in which it was seen, in order of both.
    ///
    /// # Errors
    /// [`ReadError::Sqlite`] if it cannot be read.
    pub fn values(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        span: Span,
        mut each: impl FnMut(Time, [u8; 16]),
    ) -> Result<(), ReadError> {
        let in_span = |key: &ValueKey| key.meter == meter && span.contains(key.bucket);
        let lacking = self.lacking(organization)?.map(|dirty| dirty.derived.values.iter());
        let lacking = lacking.into_iter().flatten().filter(|(key, _)| in_span(key));
        let mut lacking: Vec<_> = lacking.map(|(key, count)| ((key.bucket, key.value.0), *count)).collect();
        lacking.sort_unstable();
        let mut lacking = lacking.into_iter().peekable();
        let mut put = |(bucket, value), count: i64| {
            if count > 0 {
                each(bucket, value)
            }
        };
        self.sqlite.each_value(organization, meter, span, |bucket, value, count| {
            let row = (bucket, value);
            while let Some((key, count)) = lacking.next_if(|(key, _)| *key < row) {
                put(key, count);
            }
            let more = lacking.next_if(|(key, _)| *key == row).map_or(0, |(_, more)| more);
            put(row, count + more);
        })?;
        lacking.for_each(|(key, count)| put(key, count));
        Ok(())
    }

    /// Whether a value was seen in `[from.bucket, to)`.
    ///
    /// # Errors
    /// [`ReadError::Sqlite`] if it cannot be read.
    pub fn has_value(&self, from: ValueKey, to: Time) -> Result<bool, ReadError> {
        let lacking = self.lacking(from.organization)?;
        let beside = lacking.into_iter().flat_map(|dirty| dirty.derived.counts(from, to));
        Ok(self.sqlite.is_seen(from, to, beside)?)
    }

    /// The records of an organization in blocks up to `sequence`, newest first, until `take` has enough.
    ///
    /// # Errors
    /// [`ReadError::Sqlite`] if a block cannot be read.
    pub fn records(
        &self,
        organization: OrganizationId,
        sequence: u64,
        mut take: impl FnMut(u64, u32, super::block::Record) -> bool,
    ) -> Result<(), ReadError> {
        // What is newer than the snapshot may be in a file already. The newest block is always in the database.
        let mut newest = sequence.min(self.sqlite.last_block()?.0);
        let closed = loop {
            let blocks = match self.recent.read().up_to(organization, newest) {
                Ok(blocks) => blocks,
                Err(closed) => break closed,
            };
            for sequence in blocks {
                newest = sequence - 1;
                if !self.records_in(sequence, organization, &mut take)? {
                    return Ok(());
                }
            }
        };
        for slice in closed.iter().rev() {
            let more = slice.of(organization, newest, |sequence, records| {
                records.into_iter().rev().all(|(offset, record)| take(sequence, offset, record))
            });
            if !more.map_err(SqliteError::from)? {
                break;
            }
        }
        Ok(())
    }

    /// The same of one block. Whether `take` could take more.
    fn records_in(
        &self,
        sequence: u64,
        organization: OrganizationId,
        take: &mut impl FnMut(u64, u32, super::block::Record) -> bool,
    ) -> Result<bool, ReadError> {
        let Some(data) = self.sqlite.block(sequence)? else { return Ok(true) };
        let broken = |error| super::sqlite::unreadable(format!("block {sequence}"), error);
        let records = Block::read(&data).and_then(|block| block.of(organization)).map_err(broken)?;
        Ok(records.into_iter().rev().all(|(offset, record)| take(sequence, offset, record)))
    }
}

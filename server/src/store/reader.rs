//! Reading beside the writer: every read sees one snapshot of what is durable, and never writes.
//!
//! The rows may be behind the journal, so a snapshot has two halves: what the rows lack (from memory), then the rows.
//! Taken in this order, an account's row is either older than its half in memory, and both together are the account and
//! its reports; or it is not, because its rows were written in between: then they alone are, with all that was
//! acknowledged before the read began.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::time::Time;
use parking_lot::RwLock;

use super::block::Block;
use super::dirty::{Dirty, DirtyAccount};
use super::error::{EngineError, unreadable};
use super::postgres::pool::Pool;
use super::rollup::Rollups;
use super::rows::{RollupRange, Rows};
use super::sqlite::Sqlite;
use super::{Scope, StoreError};
use crate::people::People;

mod accounts;
mod between;
mod day_totals;
mod kept;
mod lacking;
mod own;
mod recent;

pub(super) use between::{later_blocks, records_between};
pub use day_totals::DayTotals;
use kept::Connections;
pub use recent::Recent;

/// Of an organization's blocks so many are looked up at once: most who ask are content with the newest.
const BLOCKS_AT_ONCE: usize = 64;

/// Opens and keeps connections to read with.
pub struct Reader {
    source: Source,
    people: Arc<ArcSwap<People>>,
}

/// Where is read.
#[derive(Clone)]
enum Source {
    Embedded(Embedded),
    /// The rows lack nothing.
    Postgres(Arc<Pool>),
}

#[derive(Clone)]
struct Embedded {
    connections: Arc<Connections>,
    recent: Arc<RwLock<Recent>>,
    dirty: Arc<RwLock<Dirty>>,
}

impl Reader {
    pub(super) fn new(
        folder: &Path,
        recent: Arc<RwLock<Recent>>,
        dirty: Arc<RwLock<Dirty>>,
        people: Arc<ArcSwap<People>>,
    ) -> Self {
        let embedded = Embedded { connections: Arc::new(Connections::new(folder.to_owned())), recent, dirty };
        Self { source: Source::Embedded(embedded), people }
    }

    /// Of an engine whose rows are never behind.
    pub(super) const fn of_rows_alone(pool: Arc<Pool>, people: Arc<ArcSwap<People>>) -> Self {
        Self { source: Source::Postgres(pool), people }
    }

    /// Closes the connections, of the embedded store also those that are at work, as soon as they are done.
    pub(super) fn close(&self) {
        match &self.source {
            Source::Embedded(embedded) => embedded.connections.close(),
            Source::Postgres(pool) => pool.close(),
        }
    }

    /// Runs `read` on one snapshot, on a thread that may wait for the engine.
    ///
    /// # Errors
    /// What `read` answers; [`StoreError::Unavailable`] if the engine cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (source, people) = (self.source.clone(), Arc::clone(&self.people));
        waited(move || source.read(&people.load(), read)).await
    }

    /// The same on a thread of one's own, which may wait.
    ///
    /// # Errors
    /// What `read` answers; [`ReadError::Engine`] if the engine cannot be read.
    pub fn read_here<T>(&self, read: impl FnOnce(&View<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.source.read(&self.people.load(), read)
    }
}

impl Source {
    fn read<T>(&self, people: &People, read: impl FnOnce(&View<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        match self {
            Self::Embedded(embedded) => embedded.read(people, read),
            Self::Postgres(pool) => {
                let dirty = Dirty::default();
                pool.read(|rows| read(&View::new(rows, None, &dirty, people)))
            }
        }
    }
}

/// Waits for a thread that may wait.
async fn waited<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(task).await {
        Ok(read) => read.map_err(ReadError::told),
        Err(error) => {
            tracing::error!(%error, "a read panicked");
            Err(StoreError::Internal)
        }
    }
}

impl Embedded {
    fn read<T>(&self, people: &People, read: impl FnOnce(&View<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.connections.lend(|sqlite| {
            // Before the snapshot of the rows, and so never newer than they are.
            let dirty = self.dirty.read().clone();
            in_snapshot(sqlite, &self.recent, &dirty, people, read)
        })
    }
}

fn in_snapshot<T>(
    sqlite: &Sqlite,
    recent: &RwLock<Recent>,
    dirty: &Dirty,
    people: &People,
    read: impl FnOnce(&View<'_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let transaction = sqlite.connection().unchecked_transaction().map_err(EngineError::from)?;
    let result = read(&View::new(sqlite, Some(recent), dirty, people))?;
    transaction.commit().map_err(EngineError::from)?;
    Ok(result)
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What was asked cannot be answered.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine cannot be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ReadError {
    /// What the caller is told; what the operator needs goes to the log.
    pub fn told(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Engine(error) => {
                tracing::error!(%error, "a read failed");
                StoreError::from(&error)
            }
        }
    }
}

/// The account that was found for an organization that is listed.
fn agreed(organization: &OrganizationRef, account: Option<Account>) -> Result<Account, ReadError> {
    if let OrganizationRef::Key(key) = organization
        && account.as_ref().is_none_or(|account| account.profile.key != *key)
    {
        return Err(unreadable(format!("organization {key}"), "its listing and its account do not agree").into());
    }
    Ok(account.ok_or(StoreError::UnknownOrganization)?)
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
    rows: &'a dyn Rows,
    /// Where records are, unless each organization has a journal of its own.
    recent: Option<&'a RwLock<Recent>>,
    dirty: &'a Dirty,
    /// What the rows lack of those at which nobody has looked since the start, once it was asked for.
    looked_at: RefCell<HashMap<OrganizationId, Option<Arc<DirtyAccount>>>>,
    /// What the row of an account carries for rollups, of the organization of which that was asked last.
    carried: RefCell<Option<(OrganizationId, Arc<Rollups>)>>,
    people: &'a People,
}

impl<'a> View<'a> {
    fn new(rows: &'a dyn Rows, recent: Option<&'a RwLock<Recent>>, dirty: &'a Dirty, people: &'a People) -> Self {
        Self { rows, recent, dirty, looked_at: RefCell::default(), carried: RefCell::default(), people }
    }
}

impl View<'_> {
    /// Everybody.
    pub const fn people(&self) -> &People {
        self.people
    }

    /// The rows, for what is written in the commit of its change. Accounts, rollups and values may be behind there:
    /// they are read by the methods below.
    pub const fn rows(&self) -> &dyn Rows {
        self.rows
    }

    /// The account of an organization, where it exists for the caller.
    ///
    /// # Errors
    /// [`StoreError::UnknownOrganization`] where it does not.
    pub fn account(&self, scope: Scope, organization: &OrganizationRef) -> Result<Account, ReadError> {
        let id = match organization {
            OrganizationRef::Id(id) => Some(*id),
            OrganizationRef::Key(key) => self.rows.organization_id(key)?,
        };
        let id = id.ok_or(StoreError::UnknownOrganization)?;
        scope.admits(id, self.people)?;
        let row = self.rows.account_row(id)?;
        let lacking = self.dirty(id)?.filter(|dirty| row.as_ref().is_none_or(|(held, _)| *held < dirty.sequence));
        let account = lacking.map_or_else(|| row.map(|(_, account)| account), |dirty| Some((*dirty.account).clone()));
        agreed(organization, account)
    }

    /// Of so many organizations after one, in the order of their ids, those on which something has fallen due on their own
    /// clock; and where to go on.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if they cannot be read.
    pub fn due(&self, after: Option<OrganizationId>, most: usize, now: Time) -> Result<Due, ReadError> {
        let rows = self.rows.due_times(after, most)?;
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

    /// Goes through the rows of rollups of a meter on some days, each with its day, dimension values and stored day (to be
    /// read by [`Day`]), until `each` has enough.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if it cannot be read; what `each` fails with.
    pub fn each_rollup(
        &self,
        range: &RollupRange,
        mut each: impl FnMut(i32, &str, &[u8]) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        let mut failed = None;
        self.rows.each_rollup(range, &mut |day, dimensions, data| match each(day, dimensions, data) {
            Ok(more) => Ok(more),
            Err(error) => {
                failed = Some(error);
                Ok(false)
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The records of an organization in blocks up to `sequence`, newest first, until `take` has enough.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if a block cannot be read.
    pub fn records(
        &self,
        organization: OrganizationId,
        sequence: u64,
        mut take: impl FnMut(u64, u32, super::block::Record) -> bool,
    ) -> Result<(), ReadError> {
        let Some(recent) = self.recent else { return self.own_records(organization, sequence, take) };
        // What is newer than the snapshot may be in a file already. The newest block is always in the database.
        let mut newest = sequence.min(self.rows.newest_block(organization)?);
        let closed = loop {
            let blocks = match recent.read().up_to(organization, newest) {
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
            if !more.map_err(EngineError::from)? {
                break;
            }
        }
        Ok(())
    }

    /// The last block in which records of an organization came before a time, or one after it in which it has none. They are in the
    /// order of their times, so few blocks are read however many there are.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if a block cannot be read.
    pub fn last_before(&self, organization: OrganizationId, time: Time) -> Result<u64, ReadError> {
        // Up to `before` all came before it, and none from `after` on.
        let (mut before, mut after) = (0, self.rows.newest_block(organization)?.saturating_add(1));
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            let mut newest = None;
            self.records(organization, middle, |sequence, _, record| {
                newest = Some((sequence, record.entry.at));
                false
            })?;
            match newest {
                Some((sequence, at)) if at >= time => after = sequence.max(before + 1),
                _ => before = middle,
            }
        }
        Ok(before)
    }

    /// The same of one block. Whether `take` could take more.
    fn records_in(
        &self,
        sequence: u64,
        organization: OrganizationId,
        take: &mut impl FnMut(u64, u32, super::block::Record) -> bool,
    ) -> Result<bool, ReadError> {
        let Some(data) = self.rows.block(self.rows.journal_of(organization), sequence)? else { return Ok(true) };
        let broken = |error| unreadable(format!("block {sequence}"), error);
        let records = Block::read(&data).and_then(|block| block.of(organization)).map_err(broken)?;
        Ok(records.into_iter().rev().all(|(offset, record)| take(sequence, offset, record)))
    }
}

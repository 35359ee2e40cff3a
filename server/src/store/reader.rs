//! Reading beside the writer: every read sees one snapshot of what is durable, and never writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::time::Time;
use parking_lot::{Mutex, RwLock};

use super::block::Block;
use super::ledger::Map;
use super::rollup::ValueKey;
use super::sqlite::{Sqlite, SqliteError};
use super::{Scope, StoreError};

/// Connections that are kept open for the next read.
const KEPT: usize = 8;
/// Of an organization's blocks so many are looked up at once: most who ask are content with the newest.
const BLOCKS_AT_ONCE: usize = 64;

/// In which blocks each organization stands.
#[derive(Default)]
pub struct Recent {
    blocks: Map<OrganizationId, Vec<u64>>,
}

impl Recent {
    pub(super) fn add(&mut self, sequence: u64, organizations: impl IntoIterator<Item = OrganizationId>) {
        for organization in organizations {
            let blocks = self.blocks.entry(organization).or_default();
            if blocks.last() != Some(&sequence) {
                blocks.push(sequence);
            }
        }
    }

    /// The blocks of an organization up to `sequence`, newest first.
    pub fn up_to(&self, organization: OrganizationId, sequence: u64, limit: usize) -> Vec<u64> {
        let blocks = self.blocks.get(&organization).map_or(&[][..], Vec::as_slice);
        blocks[..blocks.partition_point(|block| *block <= sequence)].iter().rev().take(limit).copied().collect()
    }
}

/// Opens and keeps connections to read with.
pub struct Reader {
    folder: PathBuf,
    idle: Arc<Mutex<Vec<Sqlite>>>,
    recent: Arc<RwLock<Recent>>,
}

impl Reader {
    pub(super) fn new(folder: &Path, recent: Arc<RwLock<Recent>>) -> Self {
        Self { folder: folder.to_owned(), idle: Arc::default(), recent }
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
        let task = move || {
            let kept = idle.lock().pop();
            let sqlite = kept.map_or_else(|| Sqlite::open_to_read(&folder), Ok)?;
            let result = in_snapshot(&sqlite, &recent, read)?;
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
    read: impl FnOnce(&View<'_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let transaction = sqlite.connection().unchecked_transaction().map_err(SqliteError::from)?;
    let result = read(&View { sqlite, recent })?;
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

/// One snapshot of what is durable.
pub struct View<'a> {
    sqlite: &'a Sqlite,
    recent: &'a RwLock<Recent>,
}

impl View<'_> {
    /// The database, for reports.
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
        let id = id.filter(|id| scope.reaches(*id)).ok_or(StoreError::UnknownOrganization)?;
        Ok(self.sqlite.account(id)?.ok_or(StoreError::UnknownOrganization)?)
    }

    /// Whether a value was seen in `[from.bucket, to)`.
    ///
    /// # Errors
    /// [`ReadError::Sqlite`] if it cannot be read.
    pub fn has_value(&self, from: ValueKey, to: Time) -> Result<bool, ReadError> {
        Ok(self.sqlite.has_value(from, to)?)
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
        let mut newest = Some(sequence);
        while let Some(sequence) = newest {
            let blocks = self.recent.read().up_to(organization, sequence, BLOCKS_AT_ONCE);
            newest = blocks.last().and_then(|oldest| oldest.checked_sub(1));
            for sequence in blocks {
                // A block that this snapshot does not hold yet is newer than it.
                let Some(data) = self.sqlite.block(sequence)? else { continue };
                let broken = |error| super::sqlite::unreadable(format!("block {sequence}"), error);
                let records = Block::read(&data).and_then(|block| block.of(organization)).map_err(broken)?;
                for (offset, record) in records.into_iter().rev() {
                    if !take(sequence, offset, record) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

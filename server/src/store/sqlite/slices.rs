//! The rows of slices. A file counts from the commit of its row on, and counts no more from the commit that deletes it on.

use metergate_rules::time::Time;
use rusqlite::{Transaction, TransactionBehavior};

use super::{EngineError, Sqlite};
use crate::store::slice::Extent;

/// What becomes of slices in one commit.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum SliceChange {
    /// A slice is closed: its records are in a file, and its ids, where it has any.
    Closed(Extent, Option<Extent>),
    /// The ids of several files are in one.
    Merged(Extent),
    /// The file of ids is needed no more.
    IdsGone(Extent),
    /// The file of records is needed no more.
    RecordsGone(Extent),
}

impl Sqlite {
    /// The closed slices, oldest first.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    pub fn slices(&self) -> Result<Vec<Extent>, EngineError> {
        self.extents("SELECT first, last, last_at FROM slices ORDER BY first")
    }

    /// The files of ids, oldest first.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    pub fn slice_ids(&self) -> Result<Vec<Extent>, EngineError> {
        self.extents("SELECT first, last, last_at FROM slice_ids ORDER BY first")
    }

    fn extents(&self, sql: &str) -> Result<Vec<Extent>, EngineError> {
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map([], |row| {
            let [first, last] = [row.get::<_, i64>(0)?, row.get(1)?].map(i64::unsigned_abs);
            Ok(Extent { first, last, last_at: Time::from_micros(row.get(2)?) })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Commits a change. On disk when it returns; nothing of it is there when it fails.
    pub(in crate::store) fn change_slices(&mut self, change: SliceChange) -> Result<(), EngineError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let delete = |sql: &str, extent: Extent| {
            transaction.prepare_cached(sql)?.execute((extent.first.cast_signed(), extent.last.cast_signed()))
        };
        match change {
            SliceChange::Closed(records, ids) => {
                insert(&transaction, "INSERT INTO slices (first, last, last_at) VALUES (?, ?, ?)", records)?;
                if let Some(ids) = ids {
                    insert(&transaction, "INSERT INTO slice_ids (first, last, last_at) VALUES (?, ?, ?)", ids)?;
                }
            }
            SliceChange::Merged(ids) => {
                delete("DELETE FROM slice_ids WHERE first BETWEEN ? AND ?", ids)?;
                insert(&transaction, "INSERT INTO slice_ids (first, last, last_at) VALUES (?, ?, ?)", ids)?;
            }
            SliceChange::IdsGone(ids) => drop(delete("DELETE FROM slice_ids WHERE first = ? AND last = ?", ids)?),
            SliceChange::RecordsGone(records) => {
                delete("DELETE FROM slices WHERE first = ? AND last = ?", records)?;
            }
        }
        fail_here()?;
        Ok(transaction.commit()?)
    }
}

/// Where the tests make such a commit fail.
fn fail_here() -> Result<(), EngineError> {
    fail::fail_point!("slices-fail", |_| Err(EngineError::Unusable("a planted failure".to_owned())));
    Ok(())
}

fn insert(transaction: &Transaction<'_>, sql: &str, extent: Extent) -> rusqlite::Result<usize> {
    let row = (extent.first.cast_signed(), extent.last.cast_signed(), extent.last_at.micros());
    transaction.prepare_cached(sql)?.execute(row)
}

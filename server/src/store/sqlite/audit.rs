//! The audit log: its entries in chains, and by which of them others were marked as dealt with.

use metergate_rules::audit::actions::CHECKPOINT;
use metergate_rules::audit::{Commitments, Hash};
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction};

use super::{EngineError, Sqlite};
use crate::store::audit::{AuditRow, fixed};
use crate::store::ledger::Head;
use crate::store::rows::StoredCheckpoint;

/// What [`audit_row`] reads.
const AUDIT: &str =
    "SELECT chain, sequence, at, actor, action, category, before, after, details, reason, salt, hash, redacted
     FROM audit";

/// Behind `WHERE chain = ?`: what was dropped is not read, though some of it may still be there.
const KEPT: &str = "AND sequence > ifnull((SELECT sequence FROM audit_checkpoints WHERE chain = ?1), 0)";

impl Sqlite {
    /// Entries of a chain before a place, newest first.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn audit_before(&self, chain: [u8; 16], before: u64, limit: usize) -> Result<Vec<AuditRow>, EngineError> {
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let rest = format!("WHERE chain = ? AND sequence < ? {KEPT} ORDER BY sequence DESC LIMIT ?");
        self.audit_rows(&rest, (&chain, before, i64::try_from(limit).unwrap_or(i64::MAX)))
    }

    /// Entries of a chain after a place, oldest first.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn audit_after(&self, chain: [u8; 16], after: u64, limit: usize) -> Result<Vec<AuditRow>, EngineError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rest = format!("WHERE chain = ? AND sequence > ? {KEPT} ORDER BY sequence LIMIT ?");
        self.audit_rows(&rest, (&chain, after, i64::try_from(limit).unwrap_or(i64::MAX)))
    }

    /// Where a chain begins, if not at its first entry.
    pub(in crate::store) fn audit_checkpoint(&self, chain: [u8; 16]) -> Result<Option<StoredCheckpoint>, EngineError> {
        let sql = "SELECT sequence, entry FROM audit_checkpoints WHERE chain = ?";
        let read = |row: &Row<'_>| {
            let [sequence, entry] = [row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()];
            Ok(StoredCheckpoint { sequence, entry })
        };
        Ok(self.connection.prepare_cached(sql)?.query_row([&chain], read).optional()?)
    }

    /// One entry of a chain.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn audit_entry(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError> {
        let Ok(sequence) = i64::try_from(sequence) else { return Ok(None) };
        let found = self.audit_rows(&format!("WHERE chain = ? AND sequence = ? {KEPT}"), (&chain, sequence))?;
        Ok(found.into_iter().next())
    }

    /// The entry by which another one was marked as dealt with, the last time. What the table says is believed only where
    /// the chain says it too.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn audit_resolution(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError> {
        let Ok(place) = i64::try_from(sequence) else { return Ok(None) };
        let sql = "SELECT resolution FROM audit_resolutions WHERE chain = ? AND sequence = ?";
        let mut query = self.connection.prepare_cached(sql)?;
        let found = query.query_row((&chain, place), |row| row.get::<_, i64>(0)).optional()?;
        let Some(resolution) = found else { return Ok(None) };
        Ok(self.audit_entry(chain, resolution.unsigned_abs())?.filter(|row| row.resolves() == Some(sequence)))
    }

    /// The end of a chain.
    pub(in crate::store) fn audit_head(&self, chain: [u8; 16]) -> Result<Head, EngineError> {
        let sql = "SELECT sequence, hash FROM audit WHERE chain = ? ORDER BY sequence DESC LIMIT 1";
        let read =
            |row: &Row<'_>| Ok(Head { sequence: row.get::<_, i64>(0)?.unsigned_abs(), hash: row.get::<_, Hash>(1)? });
        let head = self.connection.prepare_cached(sql)?.query_row([&chain], read).optional()?;
        Ok(head.unwrap_or(Head::EMPTY))
    }

    fn audit_rows(&self, rest: &str, asked: impl Params) -> Result<Vec<AuditRow>, EngineError> {
        let mut query = self.connection.prepare_cached(&format!("{AUDIT} {rest}"))?;
        let rows = query.query_map(asked, audit_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Goes through the whole audit log, chain by chain, each from its first entry.
    pub(in crate::store) fn each_audit_row<E: From<EngineError>>(
        &self,
        each: impl FnMut(AuditRow) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_audit_row_after(None, usize::MAX, each)
    }

    /// Goes through so many entries after a place, chain by chain.
    pub(in crate::store) fn each_audit_row_after<E: From<EngineError>>(
        &self,
        after: Option<([u8; 16], u64)>,
        most: usize,
        mut each: impl FnMut(AuditRow) -> Result<(), E>,
    ) -> Result<(), E> {
        // Names have 16 bytes and places begin at 1, but what is damaged may stand anywhere.
        let chain = after.as_ref().map_or(&[][..], |(chain, _)| chain);
        let sequence = after.map_or(i64::MIN, |(_, sequence)| sequence.cast_signed());
        let sql = format!("{AUDIT} WHERE (chain, sequence) > (?, ?) ORDER BY chain, sequence LIMIT ?");
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut query = self.connection.prepare(&sql).map_err(EngineError::from)?;
        let rows = query.query_map((chain, sequence, most), audit_row).map_err(EngineError::from)?;
        rows.into_iter().try_for_each(|row| each(row.map_err(EngineError::from)?))
    }

    /// The first chain from this one on.
    pub(in crate::store) fn audit_chain_from(&self, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError> {
        self.audit_chain("SELECT chain FROM audit WHERE chain >= ? ORDER BY chain LIMIT 1", chain)
    }

    /// The next chain.
    pub(in crate::store) fn audit_chain_after(&self, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError> {
        self.audit_chain("SELECT chain FROM audit WHERE chain > ? ORDER BY chain LIMIT 1", chain)
    }

    fn audit_chain(&self, sql: &str, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError> {
        Ok(self.connection.prepare_cached(sql)?.query_row([&chain], |row| row.get(0)).optional()?)
    }

    /// Some of the organizations that have no entry at all.
    pub(in crate::store) fn organizations_without_audit(
        &self,
        most: usize,
    ) -> Result<Vec<OrganizationId>, EngineError> {
        let sql = "SELECT id FROM organizations o WHERE NOT EXISTS (SELECT 1 FROM audit WHERE chain = o.id) LIMIT ?";
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get(0).map(OrganizationId))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Whatever stands there: what is none of ours is no reason to read no other entry.
fn bytes<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r [u8]> {
    Ok(row.get_ref(column)?.as_bytes().unwrap_or_default())
}

fn audit_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        chain: row.get(0)?,
        sequence: row.get::<_, i64>(1)?.unsigned_abs(),
        at: Time::from_micros(row.get(2)?),
        actor: row.get(3)?,
        action: row.get(4)?,
        category: row.get(5)?,
        before: row.get(6)?,
        after: row.get(7)?,
        details: row.get(8)?,
        reason: row.get(9)?,
        salt: fixed(bytes(row, 10)?),
        hash: fixed(bytes(row, 11)?),
        redacted: match row.get_ref(12)? {
            ValueRef::Null => None,
            _ => Some(parts(fixed(bytes(row, 12)?))),
        },
    })
}

/// Some entries of a chain of which everything is there.
pub(super) fn unredacted(connection: &Connection, chain: [u8; 16], most: usize) -> Result<Vec<AuditRow>, EngineError> {
    // Where a chain begins has to be read later too, and says nothing of anybody.
    let sql =
        format!("{AUDIT} WHERE chain = ? AND redacted IS NULL AND action <> '{CHECKPOINT}' ORDER BY sequence LIMIT ?");
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map((chain, i64::try_from(most).unwrap_or(i64::MAX)), audit_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The salted hashes in a column.
fn parts(bytes: [u8; 160]) -> Commitments {
    let mut parts = [Hash::default(); 5];
    parts.iter_mut().zip(bytes.chunks_exact(32)).for_each(|(part, bytes)| part.copy_from_slice(bytes));
    parts
}

/// Writes an entry; of one that marks another as dealt with also where to look for it, and of one that says where its chain
/// begins that it is so.
pub(super) fn write_audit(transaction: &Transaction<'_>, row: &AuditRow) -> Result<(), EngineError> {
    let sql = "INSERT INTO audit
               (chain, sequence, at, actor, action, category, before, after, details, reason, salt, hash)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = (
        row.chain,
        row.sequence.cast_signed(),
        row.at.micros(),
        &row.actor,
        &row.action,
        &row.category,
        &row.before,
        &row.after,
        &row.details,
        &row.reason,
        row.salt,
        row.hash,
    );
    transaction.prepare_cached(sql)?.execute(values)?;
    if let Some(resolved) = row.resolves() {
        let sql = "INSERT OR REPLACE INTO audit_resolutions (chain, sequence, resolution) VALUES (?, ?, ?)";
        let values = (row.chain, resolved.cast_signed(), row.sequence.cast_signed());
        transaction.prepare_cached(sql)?.execute(values)?;
    }
    if let Some((cut, _)) = row.dropped() {
        let sql = "INSERT OR REPLACE INTO audit_checkpoints (chain, sequence, entry, dropping) VALUES (?, ?, ?, 1)";
        let values = (row.chain, cut.sequence.cast_signed(), row.sequence.cast_signed());
        transaction.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}

//! What goes when an organization is deleted: what it is found by in the commit of its deletion, the rest in bounded steps.

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use rusqlite::{Transaction, TransactionBehavior};

use super::{Sqlite, SqliteError, settings};
use crate::dies_at;
use crate::store::audit::{AuditRow, TEAM, chain_of};

/// The setting that says how many organizations have been deleted.
const DELETED: &str = "deleted_organizations";
/// Rows that a step deletes at most.
const MOST: usize = 1_000;
/// Entries of the audit log that a step redacts at most.
const MOST_ENTRIES: usize = 200;

/// Of each table some rows of an organization.
const SOME: [&str; 4] = [
    "DELETE FROM rollups WHERE (organization, meter, day, dimensions) IN
     (SELECT organization, meter, day, dimensions FROM rollups WHERE organization = ? LIMIT ?)",
    "DELETE FROM unique_values WHERE (organization, meter, value, bucket) IN
     (SELECT organization, meter, value, bucket FROM unique_values WHERE organization = ? LIMIT ?)",
    "DELETE FROM receipts WHERE (scope, route, key) IN
     (SELECT scope, route, key FROM receipts WHERE scope = ? LIMIT ?)",
    "DELETE FROM audit_resolutions WHERE (chain, sequence) IN
     (SELECT chain, sequence FROM audit_resolutions WHERE chain = ? LIMIT ?)",
];

/// From its commit on nobody finds the organization. Kept answers that were given when it was made, or that somebody owns it,
/// are the team's, and would be given again.
pub(super) fn delete(transaction: &Transaction<'_>, organization: OrganizationId, at: Time) -> Result<(), SqliteError> {
    for sql in ["DELETE FROM accounts WHERE id = ?", "DELETE FROM organizations WHERE id = ?"] {
        transaction.prepare_cached(sql)?.execute([organization.bytes()])?;
    }
    let sql = "DELETE FROM receipts WHERE scope = ? AND instr(body, ?) > 0";
    transaction.prepare_cached(sql)?.execute((TEAM, organization.to_string().as_bytes()))?;
    let sql = "INSERT OR REPLACE INTO deletions (organization, at) VALUES (?, ?)";
    transaction.prepare_cached(sql)?.execute((organization.bytes(), at.micros()))?;
    settings::set(transaction, DELETED, &(settings::number(transaction, DELETED)? + 1).to_string())
}

/// Counts the organizations whose tombstones stand in the audit log, for a store from before they were counted.
pub(super) fn count(transaction: &Transaction<'_>) -> Result<(), SqliteError> {
    let sql = "SELECT count(*) FROM audit WHERE chain = ? AND action = 'organization.delete'";
    let deleted: i64 = transaction.query_row(sql, [TEAM], |row| row.get(0))?;
    if deleted > 0 { settings::set(transaction, DELETED, &deleted.to_string()) } else { Ok(()) }
}

impl Sqlite {
    /// How many organizations have ever been deleted.
    ///
    /// # Errors
    /// [`SqliteError`] if it cannot be read.
    pub(in crate::store) fn deleted(&self) -> Result<u64, SqliteError> {
        settings::number(&self.connection, DELETED)
    }

    /// Organizations that are deleted and of which rows are left.
    pub(in crate::store) fn deletions(&self) -> Result<Vec<OrganizationId>, SqliteError> {
        let mut query = self.connection.prepare("SELECT organization FROM deletions ORDER BY at")?;
        let rows = query.query_map([], |row| row.get(0).map(OrganizationId))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes some of the rows that are left of a deleted organization, and redacts some of its audit log. Whether that
    /// was all. On disk when it returns; nothing of it is there when it fails.
    pub(in crate::store) fn forget_some(&mut self, organization: OrganizationId) -> Result<bool, SqliteError> {
        self.connection.execute_batch("PRAGMA secure_delete = ON")?;
        let done = self.forget(organization);
        self.connection.execute_batch("PRAGMA secure_delete = FAST")?;
        done
    }

    fn forget(&mut self, organization: OrganizationId) -> Result<bool, SqliteError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut left = MOST;
        for sql in SOME {
            let most = i64::try_from(left).unwrap_or(i64::MAX);
            left -= transaction.prepare_cached(sql)?.execute((organization.bytes(), most))?.min(left);
        }
        let redacted = if left == MOST { redact(&transaction, organization)? } else { 0 };
        let done = left == MOST && redacted == 0;
        if done {
            let sql = "DELETE FROM deletions WHERE organization = ?";
            transaction.prepare_cached(sql)?.execute([organization.bytes()])?;
        }
        dies_at!("deletion-step-written");
        transaction.commit()?;
        dies_at!("deletion-step-durable");
        Ok(done)
    }
}

/// Redacts some entries of an organization's chain. Answers how many.
fn redact(transaction: &Transaction<'_>, organization: OrganizationId) -> Result<usize, SqliteError> {
    let entries = super::audit::unredacted(transaction, chain_of(organization), MOST_ENTRIES)?;
    let sql =
        "UPDATE audit SET actor = ?3, before = ?4, after = ?5, details = ?6, reason = ?7, salt = ?8, redacted = ?9
               WHERE chain = ?1 AND sequence = ?2";
    let mut update = transaction.prepare_cached(sql)?;
    let count = entries.len();
    for AuditRow { chain, sequence, actor, before, after, details, reason, salt, redacted, .. } in
        entries.into_iter().map(AuditRow::redact)
    {
        let left = redacted.map(|parts| parts.concat());
        update.execute((chain, sequence.cast_signed(), actor, before, after, details, reason, salt, left))?;
    }
    Ok(count)
}

//! What goes when an organization is deleted: what it is found by in the commit of its deletion, the rest in bounded steps.

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior};

use super::stripe::forget;
use super::{EngineError, Sqlite, settings};
use crate::dies_at;
use crate::store::audit::{AuditRow, TEAM, chain_of};
use crate::store::deletion::of_imports;

/// The setting that says how many organizations have been deleted.
const DELETED: &str = "deleted_organizations";
/// Rows that a step deletes at most.
const MOST: usize = 1_000;
/// Entries of the audit log that a step redacts at most.
const MOST_ENTRIES: usize = 200;

/// Kept answers of the team's that go in the commit of a deletion at most, the oldest first: the one that was given when the
/// organization was made is among them. What is left goes with the rest.
const MOST_ANSWERS: i64 = 500;
/// Deliveries that wait to be sent and go in that commit at most.
const MOST_DELIVERIES: i64 = 500;

/// Of each table some rows of an organization.
const SOME: [&str; 9] = [
    "DELETE FROM receipts WHERE (scope, route, key) IN
     (SELECT scope, route, key FROM receipts WHERE about = ? LIMIT ?)",
    "DELETE FROM rollups WHERE (organization, meter, day, dimensions) IN
     (SELECT organization, meter, day, dimensions FROM rollups WHERE organization = ? LIMIT ?)",
    "DELETE FROM day_totals WHERE (organization, span, meter) IN
     (SELECT organization, span, meter FROM day_totals WHERE organization = ? LIMIT ?)",
    "DELETE FROM unique_values WHERE (organization, meter, value, bucket) IN
     (SELECT organization, meter, value, bucket FROM unique_values WHERE organization = ? LIMIT ?)",
    "DELETE FROM receipts WHERE (scope, route, key) IN
     (SELECT scope, route, key FROM receipts WHERE scope = ? LIMIT ?)",
    "DELETE FROM audit_resolutions WHERE (chain, sequence) IN
     (SELECT chain, sequence FROM audit_resolutions WHERE chain = ? LIMIT ?)",
    "DELETE FROM deliveries WHERE (organization, message, endpoint) IN
     (SELECT organization, message, endpoint FROM deliveries WHERE organization = ? LIMIT ?)",
    "DELETE FROM delivery_attempts WHERE (organization, message, endpoint, number) IN
     (SELECT organization, message, endpoint, number FROM delivery_attempts WHERE organization = ? LIMIT ?)",
    "DELETE FROM messages WHERE (organization, id) IN
     (SELECT organization, id FROM messages WHERE organization = ? LIMIT ?)",
];

/// From its commit on nobody finds the organization. Kept answers that were given when it was made, or that somebody owns it,
/// are the team's, and would be given again.
pub(super) fn delete(transaction: &Transaction<'_>, organization: OrganizationId, at: Time) -> Result<(), EngineError> {
    let sql = "SELECT key FROM organizations WHERE id = ?";
    let key: Option<String> =
        transaction.prepare_cached(sql)?.query_row([organization.bytes()], |row| row.get(0)).optional()?;
    for prefix in of_imports(organization, key.as_deref()) {
        // Behind a slash comes the character 0.
        let end = format!("{}0", prefix.trim_end_matches('/'));
        transaction.prepare_cached("DELETE FROM imports WHERE source >= ? AND source < ?")?.execute((prefix, end))?;
    }
    // By what it is linked with, which goes with it.
    forget(transaction, organization)?;
    for sql in ["DELETE FROM accounts WHERE id = ?", "DELETE FROM organizations WHERE id = ?"] {
        transaction.prepare_cached(sql)?.execute([organization.bytes()])?;
    }
    let sql = "DELETE FROM receipts WHERE (scope, route, key) IN
               (SELECT scope, route, key FROM receipts WHERE about = ? ORDER BY at LIMIT ?)";
    transaction.prepare_cached(sql)?.execute((organization.bytes(), MOST_ANSWERS))?;
    let sql = "DELETE FROM deliveries WHERE (organization, message, endpoint) IN
               (SELECT organization, message, endpoint FROM deliveries WHERE organization = ? AND state = 'pending' LIMIT ?)";
    transaction.prepare_cached(sql)?.execute((organization.bytes(), MOST_DELIVERIES))?;
    let sql = "INSERT OR REPLACE INTO deletions (organization, at) VALUES (?, ?)";
    transaction.prepare_cached(sql)?.execute((organization.bytes(), at.micros()))?;
    settings::set(transaction, DELETED, &(settings::number(transaction, DELETED)? + 1).to_string())
}

/// Counts the organizations whose tombstones stand in the audit log, for a store from before they were counted.
pub(super) fn count(transaction: &Transaction<'_>) -> Result<(), EngineError> {
    let sql = "SELECT count(*) FROM audit WHERE chain = ? AND action = 'organization.delete'";
    let deleted: i64 = transaction.query_row(sql, [TEAM], |row| row.get(0))?;
    if deleted > 0 { settings::set(transaction, DELETED, &deleted.to_string()) } else { Ok(()) }
}

impl Sqlite {
    /// How many organizations have ever been deleted.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub(in crate::store) fn deleted(&self) -> Result<u64, EngineError> {
        settings::number(&self.connection, DELETED)
    }

    /// Organizations that are deleted and of which rows are left.
    pub(in crate::store) fn deletions(&self) -> Result<Vec<OrganizationId>, EngineError> {
        let mut query = self.connection.prepare("SELECT organization FROM deletions ORDER BY at")?;
        let rows = query.query_map([], |row| row.get(0).map(OrganizationId))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes some of the rows that are left of a deleted organization, and redacts some of its audit log. Whether that
    /// was all. On disk when it returns; nothing of it is there when it fails.
    pub(in crate::store) fn forget_some(&mut self, organization: OrganizationId) -> Result<bool, EngineError> {
        self.connection.execute_batch("PRAGMA secure_delete = ON")?;
        let done = self.forget(organization);
        self.connection.execute_batch("PRAGMA secure_delete = FAST")?;
        done
    }

    /// Deletes some answers that were kept before a time. How many. On disk when it returns.
    pub(in crate::store) fn forget_answers(&self, before: Time) -> Result<usize, EngineError> {
        let sql = "DELETE FROM receipts WHERE (scope, route, key) IN
                   (SELECT scope, route, key FROM receipts WHERE at < ? ORDER BY at LIMIT ?)";
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        Ok(self.connection.prepare_cached(sql)?.execute((before.micros(), most))?)
    }

    fn forget(&mut self, organization: OrganizationId) -> Result<bool, EngineError> {
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

/// Notes of the team's kept answers from before this was noted which organization they name.
pub(super) fn fill(transaction: &Transaction<'_>) -> Result<(), EngineError> {
    let mut exists = transaction.prepare("SELECT 1 FROM organizations WHERE id = ?")?;
    let mut note = transaction.prepare("UPDATE receipts SET about = ? WHERE scope = ? AND route = ? AND key = ?")?;
    let mut query = transaction.prepare("SELECT route, key, body FROM receipts WHERE scope = ?")?;
    let answers = query.query_map([TEAM], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?)))?;
    for (route, key, body) in answers.collect::<rusqlite::Result<Vec<(String, String, _)>>>()? {
        for organization in ids_in(&body) {
            if exists.exists([organization.bytes()])? {
                note.execute((organization.bytes(), TEAM, &route, &key))?;
            }
        }
    }
    Ok(())
}

/// What in a text could be the id of an organization.
fn ids_in(text: &[u8]) -> Vec<OrganizationId> {
    /// The length of a UUID as text.
    const LONG: usize = 36;
    let ids = text.windows(LONG).filter_map(|part| std::str::from_utf8(part).ok()?.parse().ok());
    ids.collect()
}

/// Redacts some entries of an organization's chain. Answers how many.
fn redact(transaction: &Transaction<'_>, organization: OrganizationId) -> Result<usize, EngineError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_answers_are_found_by_the_organization_that_they_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut sqlite = Sqlite::open(folder.path()).unwrap();
        let organization = OrganizationId([7; 16]);
        let transaction = sqlite.connection.transaction().unwrap();
        let sql = "INSERT INTO organizations (id, key, name, plan, status, locked, created_at) VALUES (?, 'a', 'a', 1, 'active', 0, 0)";
        transaction.execute(sql, [organization.bytes()]).unwrap();
        let named = format!("{{\"user\":\"{}\",\"id\":\"{organization}\"}}", OrganizationId([8; 16]));
        for (key, scope, body) in [("named", TEAM, &*named), ("other", TEAM, "{}"), ("own", [7; 16], &*named)] {
            let sql = "INSERT INTO receipts (scope, route, key, at, fingerprint, status, body) VALUES (?, 'r', ?, 0, 0, 200, ?)";
            transaction.execute(sql, (scope, key, body.as_bytes())).unwrap();
        }
        fill(&transaction).unwrap();
        let found = "SELECT key FROM receipts WHERE about = ? ORDER BY at LIMIT 9";
        let mut query = transaction.prepare(found).unwrap();
        let keys = query.query_map([organization.bytes()], |row| row.get(0)).unwrap();
        assert_eq!(keys.collect::<rusqlite::Result<Vec<String>>>().unwrap(), ["named"]);
        let plan = format!("EXPLAIN QUERY PLAN {found}");
        let told: String = transaction.query_row(&plan, [organization.bytes()], |row| row.get(3)).unwrap();
        assert!(told.contains("receipts_about"), "{told}");
    }
}

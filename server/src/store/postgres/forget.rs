//! What goes: an organization with what it is found by, and in bounded steps what is left of it, what the audit log dropped,
//! answers and records that were kept for long enough.
//!
//! Steps are transactions of their own; those that two nodes would do at the same time find nothing left to do.

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;

use super::{Of, Postgres, Value, at, most, organization_at, uuid};
use crate::store::audit::{AuditRow, chain_of};
use crate::store::deletion::of_imports;
use crate::store::error::EngineError;

/// Rows that a step deletes at most.
const MOST: usize = 1_000;
/// Entries of the audit log that a step redacts at most.
const MOST_ENTRIES: usize = 200;
/// Kept answers of the team's that go in the commit of a deletion at most.
const MOST_ANSWERS: i64 = 500;
/// Deliveries that wait to be sent and go in that commit at most.
const MOST_DELIVERIES: i64 = 500;

/// Of each table some rows of an organization.
macro_rules! some {
    ($table:literal, $column:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ctid = ANY (ARRAY(SELECT ctid FROM ",
            $table,
            " WHERE ",
            $column,
            " = $1 LIMIT $2)) RETURNING 1"
        )
    };
}

const SOME: [&str; 10] = [
    some!("receipts", "about"),
    some!("receipts", "organization"),
    some!("rollups", "organization"),
    some!("unique_values", "organization"),
    some!("audit_resolutions", "organization"),
    some!("deliveries", "organization"),
    some!("delivery_attempts", "organization"),
    some!("messages", "organization"),
    some!("refusals", "organization"),
    some!("blocks", "organization"),
];

impl Postgres {
    /// From its commit on nobody finds the organization. Kept answers of the team's that name it would be given again.
    pub(super) fn delete(&self, organization: OrganizationId, when: Time) -> Result<(), EngineError> {
        let (id, when) = (uuid(organization), when.micros());
        // Answers of the team's stand under zeros, whoever they name.
        let answers = "DELETE FROM receipts WHERE (organization, route, key) IN
                       (SELECT organization, route, key FROM receipts WHERE about = $1 ORDER BY at LIMIT $2)";
        self.rows(Of::Team, answers, &[&id, &MOST_ANSWERS])?;
        let waiting = "DELETE FROM deliveries WHERE (organization, message, endpoint) IN
                       (SELECT organization, message, endpoint FROM deliveries
                        WHERE organization = $1 AND state = 'pending' LIMIT $2)";
        self.rows(Of::Team, waiting, &[&id, &MOST_DELIVERIES])?;
        let key = self.row(Of::Team, "SELECT key FROM organizations WHERE organization = $1", &[&id])?;
        let key: Option<String> = key.map(|row| at(&row, 0)).transpose()?;
        for prefix in of_imports(organization, key.as_deref()) {
            self.rows(Of::Team, "DELETE FROM imports WHERE starts_with(source, $1)", &[&prefix])?;
        }
        // By what it is linked with, which goes with it.
        self.forget_events(organization)?;
        for sql in [
            "DELETE FROM accounts WHERE organization = $1 RETURNING 1",
            "DELETE FROM organizations WHERE organization = $1 RETURNING 1",
        ] {
            self.rows(Of::Team, sql, &[&id])?;
        }
        let sql = "INSERT INTO deletions (organization, at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.rows(Of::Team, sql, &[&id, &when]).map(drop)
    }

    /// The organization that was deleted first of those of which rows are left.
    pub(in crate::store) fn next_deletion(&self) -> Result<Option<OrganizationId>, EngineError> {
        let sql = "SELECT organization FROM deletions ORDER BY at LIMIT 1";
        let row = self.row(Of::Team, sql, &[])?;
        row.map(|row| organization_at(&row, 0)).transpose()
    }

    /// Deletes some of the rows that are left of a deleted organization, and redacts some of its audit log. Whether that was
    /// all.
    pub(in crate::store) fn forget_some(&self, organization: OrganizationId) -> Result<bool, EngineError> {
        let (id, mut left) = (uuid(organization), MOST);
        for sql in SOME {
            left -= self.rows(Of::Team, sql, &[&id, &most(left)])?.len().min(left);
        }
        if left < MOST || self.redact(organization)? > 0 {
            return Ok(false);
        }
        self.rows(Of::Team, "DELETE FROM deletions WHERE organization = $1", &[&id])?;
        Ok(true)
    }

    fn redact(&self, organization: OrganizationId) -> Result<usize, EngineError> {
        let entries = self.unredacted(organization, MOST_ENTRIES)?;
        let count = entries.len();
        for row in entries.into_iter().map(AuditRow::redact) {
            let sql = "UPDATE audit SET actor = $3, before = $4, after = $5, details = $6, reason = $7, salt = $8, redacted = $9
                       WHERE organization = $1 AND sequence = $2";
            let (id, sequence) = (uuid(OrganizationId(chain_of(organization))), row.sequence.cast_signed());
            let (salt, left) = (&row.salt[..], row.redacted.map(|parts| parts.concat()));
            let mut values: Vec<Value<'_>> = vec![&id, &sequence, &row.actor, &row.before, &row.after];
            values.extend([&row.details as Value<'_>, &row.reason, &salt, &left]);
            self.rows(Of::One(organization), sql, &values)?;
        }
        Ok(count)
    }

    /// Deletes some entries that were dropped from the audit log. Whether there were any.
    pub(in crate::store) fn drop_some(&self) -> Result<bool, EngineError> {
        let sql = "SELECT organization, sequence FROM audit_checkpoints WHERE dropping LIMIT 1";
        let Some(row) = self.row(Of::Team, sql, &[])? else { return Ok(false) };
        let (id, cut) = (uuid(organization_at(&row, 0)?), at::<i64>(&row, 1)?);
        let sql = "DELETE FROM audit_resolutions WHERE organization = $1 AND sequence <= $2";
        self.rows(Of::Team, sql, &[&id, &cut])?;
        let sql = "DELETE FROM audit WHERE (organization, sequence) IN
                   (SELECT organization, sequence FROM audit WHERE organization = $1 AND sequence <= $2
                    ORDER BY sequence LIMIT $3) RETURNING 1";
        if self.rows(Of::Team, sql, &[&id, &cut, &most(MOST)])?.len() < MOST {
            let sql = "UPDATE audit_checkpoints SET dropping = false WHERE organization = $1 AND sequence = $2";
            self.rows(Of::Team, sql, &[&id, &cut])?;
        }
        Ok(true)
    }

    /// Deletes some answers that were kept before a time. Whether there were any.
    pub(in crate::store) fn forget_answers(&self, before: Time) -> Result<bool, EngineError> {
        let sql = "DELETE FROM receipts WHERE ctid = ANY (ARRAY(SELECT ctid FROM receipts WHERE at < $1 LIMIT $2)) RETURNING 1";
        Ok(!self.rows(Of::Team, sql, &[&before.micros(), &most(MOST)])?.is_empty())
    }

    /// Deletes some blocks from before a time. How many.
    pub(in crate::store) fn forget_blocks(&self, before: Time) -> Result<usize, EngineError> {
        let sql =
            "DELETE FROM blocks WHERE ctid = ANY (ARRAY(SELECT ctid FROM blocks WHERE at < $1 LIMIT $2)) RETURNING 1";
        Ok(self.rows(Of::Team, sql, &[&before.micros(), &most(MOST)])?.len())
    }
}

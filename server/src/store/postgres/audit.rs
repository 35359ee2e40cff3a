//! The audit log: reading entries, and which of them go.

use metergate_rules::audit::{Commitments, Hash};
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use tokio_postgres::Row;

use super::{Of, Postgres, at, most, number_at, organization_at, uuid};
use crate::store::audit::{AuditRow, fixed};
use crate::store::error::EngineError;

macro_rules! entries {
    ($rest:expr) => {
        concat!(
            "SELECT organization, sequence, at, actor, action, category, before, after, details, reason, salt, hash, redacted
             FROM audit ",
            $rest
        )
    };
}

/// What was dropped is not read, though some of it may still be there.
macro_rules! kept {
    ($rest:expr) => {
        entries!(concat!(
            "WHERE organization = $1
             AND sequence > coalesce((SELECT c.sequence FROM audit_checkpoints c WHERE c.organization = $1), 0) ",
            $rest
        ))
    };
}

fn entry(row: &Row) -> Result<AuditRow, EngineError> {
    let left: Option<&[u8]> = at(row, 12)?;
    Ok(AuditRow {
        chain: organization_at(row, 0)?.0,
        sequence: number_at(row, 1)?,
        at: Time::from_micros(at(row, 2)?),
        actor: at(row, 3)?,
        action: at(row, 4)?,
        category: at(row, 5)?,
        before: at(row, 6)?,
        after: at(row, 7)?,
        details: at(row, 8)?,
        reason: at(row, 9)?,
        salt: fixed(at(row, 10)?),
        hash: fixed(at(row, 11)?),
        redacted: left.map(|bytes| parts(fixed(bytes))),
    })
}

/// The salted hashes in a column.
fn parts(bytes: [u8; 160]) -> Commitments {
    let mut parts = [Hash::default(); 5];
    parts.iter_mut().zip(bytes.chunks_exact(32)).for_each(|(part, bytes)| part.copy_from_slice(bytes));
    parts
}

impl Postgres {
    pub(super) fn entries_before(
        &self,
        chain: [u8; 16],
        before: u64,
        limit: usize,
    ) -> Result<Vec<AuditRow>, EngineError> {
        let (id, before) = (OrganizationId(chain), i64::try_from(before).unwrap_or(i64::MAX));
        let sql = kept!("AND sequence < $2 ORDER BY sequence DESC LIMIT $3");
        self.rows(Of::One(id), sql, &[&uuid(id), &before, &most(limit)])?.iter().map(entry).collect()
    }

    pub(super) fn entries_after(
        &self,
        chain: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<AuditRow>, EngineError> {
        let (id, after) = (OrganizationId(chain), i64::try_from(after).unwrap_or(i64::MAX));
        let sql = kept!("AND sequence > $2 ORDER BY sequence LIMIT $3");
        self.rows(Of::One(id), sql, &[&uuid(id), &after, &most(limit)])?.iter().map(entry).collect()
    }

    pub(super) fn entry_at(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError> {
        let Ok(sequence) = i64::try_from(sequence) else { return Ok(None) };
        let id = OrganizationId(chain);
        let row = self.row(Of::One(id), kept!("AND sequence = $2"), &[&uuid(id), &sequence])?;
        row.as_ref().map(entry).transpose()
    }

    pub(super) fn all_entries_after(
        &self,
        after: Option<([u8; 16], u64)>,
        limit: usize,
    ) -> Result<Vec<AuditRow>, EngineError> {
        let (chain, sequence) = after.map_or(([0; 16], 0), |(chain, sequence)| (chain, sequence.cast_signed()));
        let sql = entries!("WHERE (organization, sequence) > ($1, $2) ORDER BY organization, sequence LIMIT $3");
        let rows = self.rows(Of::Team, sql, &[&uuid(OrganizationId(chain)), &sequence, &most(limit)])?;
        rows.iter().map(entry).collect()
    }

    pub(super) fn chain_by(&self, sql: &'static str, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError> {
        let row = self.row(Of::Team, sql, &[&uuid(OrganizationId(chain))])?;
        row.map(|row| organization_at(&row, 0).map(|id| id.0)).transpose()
    }

    /// Some entries of a chain of which everything is there. Where a chain begins has to be read later too.
    pub(super) fn unredacted(&self, organization: OrganizationId, limit: usize) -> Result<Vec<AuditRow>, EngineError> {
        let sql = entries!(
            "WHERE organization = $1 AND redacted IS NULL AND action <> 'audit.checkpoint' ORDER BY sequence LIMIT $2"
        );
        self.rows(Of::One(organization), sql, &[&uuid(organization), &most(limit)])?.iter().map(entry).collect()
    }
}

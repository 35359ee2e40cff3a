//! What everybody reads, by the statements of this engine; and those that only the lists of organizations need.

use std::ops::RangeInclusive;

use metergate_rules::account::Account;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationKey, PlanId};
use metergate_rules::time::{Span, Time};
use rusqlite::Row;
use rusqlite::types::Value;

use super::{EngineError, Sqlite, find_rollup};
use crate::catalogue::change::ImportRecord;
use crate::catalogue::price::StoredPrices;
use crate::store::audit::AuditRow;
use crate::store::ledger::Head;
use crate::store::rollup::{RollupKey, ValueKey};
use crate::store::rows::{
    Candidates, EachDayTotal, EachRollup, EachRow, Listing, MeterDays, RollupRange, Rows, StoredCheckpoint,
};
use crate::store::totals::Totals;
use crate::store::{Answer, ReceiptKey};

/// Whose the journal is: one for all organizations.
const ALL: OrganizationId = OrganizationId([0; 16]);

/// A page of organizations: where it begins, and the order.
macro_rules! candidates {
    ($place:literal, $order:literal) => {
        concat!(
            "SELECT o.id, o.key FROM organizations o WHERE ",
            $place,
            "
      AND (?2 IS NULL OR o.id = ?2)
      AND (?3 IS NULL OR o.key LIKE ?3 ESCAPE '\\' OR o.name LIKE ?3 ESCAPE '\\')
      AND (((?4 IS NULL OR o.status = ?4)
            AND (?5 IS NULL OR o.locked = ?5)
            AND (?6 IS NULL OR o.plan IN (SELECT id FROM plans WHERE key = ?6)))
           OR (SELECT a.next_due FROM accounts a WHERE a.id = o.id) <= ?7)
    ORDER BY ",
            $order,
            " LIMIT ?8"
        )
    };
}

const BY_KEY: &str = candidates!("o.key > ?1", "o.key");
const NEWEST_FIRST: &str = candidates!("(?1 IS NULL OR o.id < ?1)", "o.id DESC");

fn listed(row: &Row<'_>) -> rusqlite::Result<(OrganizationId, String)> {
    Ok((OrganizationId(row.get(0)?), row.get(1)?))
}

impl Rows for Sqlite {
    fn account_row(&self, id: OrganizationId) -> Result<Option<(u64, Account)>, EngineError> {
        self.account_row(id)
    }

    fn account_sequence(&self, id: OrganizationId) -> Result<Option<u64>, EngineError> {
        self.account_sequence(id)
    }

    fn organization_id(&self, key: &OrganizationKey) -> Result<Option<OrganizationId>, EngineError> {
        self.organization_id(key)
    }

    fn totals(&self) -> Result<Totals, EngineError> {
        self.totals()
    }

    fn due_times(
        &self,
        after: Option<OrganizationId>,
        most: usize,
    ) -> Result<Vec<(OrganizationId, Time)>, EngineError> {
        self.due_times(after, most)
    }

    fn candidates(&self, asked: &Candidates<'_>, most: usize) -> Result<Vec<(OrganizationId, String)>, EngineError> {
        let Candidates { from, own, pattern, status, locked, plan, due } = *asked;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let (sql, place) = match from {
            Listing::ByKey(key) => (BY_KEY, Value::from(key.to_owned())),
            Listing::NewestFirst(before) => (NEWEST_FIRST, before.map(|before| before.0.to_vec()).into()),
        };
        let values = (place, own.map(|own| own.0), pattern, status, locked, plan, due.micros(), most);
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map(values, listed)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn keys_after(&self, after: &str, most: usize) -> Result<Vec<(OrganizationId, String)>, EngineError> {
        let sql = "SELECT id, key FROM organizations WHERE key > ? ORDER BY key LIMIT ?";
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map((after, i64::try_from(most).unwrap_or(i64::MAX)), listed)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn organizations_on(&self, plans: &[PlanId]) -> Result<u64, EngineError> {
        let mut count = self.connection.prepare_cached("SELECT count(*) FROM organizations WHERE plan = ?")?;
        let counts = plans.iter().map(|plan| count.query_row([plan.0], |row| row.get::<_, i64>(0)));
        Ok(counts.sum::<Result<i64, _>>()?.unsigned_abs())
    }

    fn journal_of(&self, _organization: OrganizationId) -> OrganizationId {
        ALL
    }

    fn block(&self, _journal: OrganizationId, sequence: u64) -> Result<Option<Vec<u8>>, EngineError> {
        self.block(sequence)
    }

    fn newest_block(&self, _organization: OrganizationId) -> Result<u64, EngineError> {
        Ok(self.last_block()?.0)
    }

    fn oldest_block(&self, _organization: OrganizationId) -> Result<Option<u64>, EngineError> {
        self.first_block()
    }

    fn receipt(
        &self,
        scope: [u8; 16],
        receipt: &ReceiptKey,
        since: Time,
    ) -> Result<Option<(u64, Answer)>, EngineError> {
        self.receipt(scope, receipt, since)
    }

    fn is_seen(
        &self,
        from: ValueKey,
        to: Time,
        beside: &mut dyn Iterator<Item = (Time, i64)>,
    ) -> Result<bool, EngineError> {
        self.is_seen(from, to, beside)
    }

    fn each_value(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        span: Span,
        each: &mut dyn FnMut(Time, [u8; 16], i64),
    ) -> Result<(), EngineError> {
        self.each_value(organization, meter, span, each)
    }

    fn each_rollup(&self, range: &RollupRange, each: EachRollup<'_>) -> Result<(), EngineError> {
        self.each_rollup(range, each)
    }

    fn each_day_total(&self, asked: &MeterDays, each: EachDayTotal<'_>) -> Result<bool, EngineError> {
        self.each_day_total(asked, each)?;
        Ok(true)
    }

    fn find_rollup<'k>(&self, key: &'k RollupKey, more: i64) -> Result<(&'k str, Option<Vec<u8>>), EngineError> {
        find_rollup(&self.connection, key, more)
    }

    fn each_row_of_rollups(
        &self,
        organization: OrganizationId,
        days: RangeInclusive<i32>,
        each: EachRow<'_>,
    ) -> Result<(), EngineError> {
        self.each_row_of_rollups(organization, days, each)
    }

    fn audit_before(&self, chain: [u8; 16], before: u64, limit: usize) -> Result<Vec<AuditRow>, EngineError> {
        self.audit_before(chain, before, limit)
    }

    fn audit_after(&self, chain: [u8; 16], after: u64, limit: usize) -> Result<Vec<AuditRow>, EngineError> {
        self.audit_after(chain, after, limit)
    }

    fn audit_checkpoint(&self, chain: [u8; 16]) -> Result<Option<StoredCheckpoint>, EngineError> {
        self.audit_checkpoint(chain)
    }

    fn audit_entry(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError> {
        self.audit_entry(chain, sequence)
    }

    fn audit_resolution(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError> {
        self.audit_resolution(chain, sequence)
    }

    fn audit_head(&self, chain: [u8; 16]) -> Result<Head, EngineError> {
        self.audit_head(chain)
    }

    fn each_audit_row_after(
        &self,
        after: Option<([u8; 16], u64)>,
        most: usize,
        each: &mut dyn FnMut(AuditRow) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.each_audit_row_after(after, most, each)
    }

    fn audit_chain_from(&self, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError> {
        self.audit_chain_from(chain)
    }

    fn audit_chain_after(&self, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError> {
        self.audit_chain_after(chain)
    }

    fn organizations_without_audit(&self, most: usize) -> Result<Vec<OrganizationId>, EngineError> {
        self.organizations_without_audit(most)
    }

    fn import(&self, source: &str) -> Result<Option<ImportRecord>, EngineError> {
        self.import(source)
    }

    fn prices(&self, version: u64) -> Result<Option<StoredPrices>, EngineError> {
        self.price_version(version)
    }

    fn setting(&self, name: &str) -> Result<Option<String>, EngineError> {
        self.setting(name)
    }

    fn answers(&self) -> Result<(), EngineError> {
        Ok(self.connection.query_row("SELECT 1", [], |_| Ok(()))?)
    }
}

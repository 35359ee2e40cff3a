//! What everybody reads, by the statements of this engine.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use metergate_rules::account::Account;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationKey, PlanId};
use metergate_rules::notice::OfRefusal;
use metergate_rules::time::{Span, Time};

use super::lock::opened;
use super::{Of, Postgres, at, bytes_at, most, number_at, organization_at, uuid};
use crate::catalogue::change::ImportRecord;
use crate::catalogue::price::StoredPrices;
use crate::store::audit::AuditRow;
use crate::store::block::Place;
use crate::store::error::EngineError;
use crate::store::ledger::Head;
use crate::store::rollup::{RollupKey, Rollups, ValueKey};
use crate::store::rows::{Candidates, EachRollup, EachRow, Progress, RollupRange, Rows, StoredCheckpoint};
use crate::store::totals::Totals;
use crate::store::{Answer, ReceiptKey};

impl Rows for Postgres {
    fn account_row(&self, id: OrganizationId) -> Result<Option<(u64, Account)>, EngineError> {
        let sql = "SELECT version, sequence, data FROM accounts WHERE organization = $1";
        let Some(row) = self.row(Of::One(id), sql, &[&uuid(id)])? else { return Ok(None) };
        let (account, _) = opened(id, at(&row, 0)?, at(&row, 2)?)?;
        Ok(Some((number_at(&row, 1)?, account)))
    }

    fn totals(&self) -> Result<Totals, EngineError> {
        self.totals()
    }

    fn refusals(&self, organization: OrganizationId, of: &OfRefusal) -> Result<u64, EngineError> {
        self.handed_over(organization, of)
    }

    fn account_sequence(&self, id: OrganizationId) -> Result<Option<u64>, EngineError> {
        let row = self.row(Of::One(id), "SELECT sequence FROM accounts WHERE organization = $1", &[&uuid(id)])?;
        row.map(|row| number_at(&row, 0)).transpose()
    }

    fn organization_id(&self, key: &OrganizationKey) -> Result<Option<OrganizationId>, EngineError> {
        let sql = "SELECT organization FROM organizations WHERE key = $1";
        let row = self.row(Of::Team, sql, &[&key.as_str()])?;
        row.map(|row| organization_at(&row, 0)).transpose()
    }

    fn due_times(
        &self,
        after: Option<OrganizationId>,
        limit: usize,
    ) -> Result<Vec<(OrganizationId, Time)>, EngineError> {
        let sql = "SELECT organization, next_due FROM accounts WHERE $1::uuid IS NULL OR organization > $1
                   ORDER BY organization LIMIT $2";
        let rows = self.rows(Of::Team, sql, &[&after.map(uuid), &most(limit)])?;
        rows.iter().map(|row| Ok((organization_at(row, 0)?, Time::from_micros(at(row, 1)?)))).collect()
    }

    fn candidates(&self, asked: &Candidates<'_>, limit: usize) -> Result<Vec<(OrganizationId, String)>, EngineError> {
        self.candidates_of(asked, limit)
    }

    fn keys_after(&self, after: &str, limit: usize) -> Result<Vec<(OrganizationId, String)>, EngineError> {
        let sql = "SELECT organization, key FROM organizations WHERE key > $1 ORDER BY key LIMIT $2";
        let rows = self.rows(Of::Team, sql, &[&after, &most(limit)])?;
        rows.iter().map(|row| Ok((organization_at(row, 0)?, at(row, 1)?))).collect()
    }

    fn organizations_on(&self, plans: &[PlanId]) -> Result<u64, EngineError> {
        let plans: Vec<i64> = plans.iter().map(|plan| i64::from(plan.0)).collect();
        let sql = "SELECT count(*) FROM organizations WHERE plan = ANY($1)";
        self.row(Of::Team, sql, &[&plans])?.map_or(Ok(0), |row| number_at(&row, 0))
    }

    fn journal_of(&self, organization: OrganizationId) -> OrganizationId {
        organization
    }

    fn block(&self, journal: OrganizationId, sequence: u64) -> Result<Option<Vec<u8>>, EngineError> {
        let sql = "SELECT data FROM blocks WHERE organization = $1 AND sequence = $2";
        let row = self.row(Of::One(journal), sql, &[&uuid(journal), &sequence.cast_signed()])?;
        row.map(|row| at(&row, 0)).transpose()
    }

    fn newest_block(&self, organization: OrganizationId) -> Result<u64, EngineError> {
        Ok(self.account_sequence(organization)?.unwrap_or(0))
    }

    fn oldest_block(&self, organization: OrganizationId) -> Result<Option<u64>, EngineError> {
        let sql = "SELECT sequence FROM blocks WHERE organization = $1 ORDER BY sequence LIMIT 1";
        let row = self.row(Of::One(organization), sql, &[&uuid(organization)])?;
        row.map(|row| number_at(&row, 0)).transpose()
    }

    fn own_blocks_up_to(
        &self,
        organization: OrganizationId,
        sequence: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, EngineError> {
        let sql = "SELECT sequence, data FROM blocks WHERE organization = $1 AND sequence <= $2
                   ORDER BY sequence DESC LIMIT $3";
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        let rows = self.rows(Of::One(organization), sql, &[&uuid(organization), &sequence, &most(limit)])?;
        rows.iter().map(|row| Ok((number_at(row, 0)?, at(row, 1)?))).collect()
    }

    fn own_blocks_in(
        &self,
        organization: OrganizationId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, EngineError> {
        let sql = "SELECT sequence, data FROM blocks WHERE organization = $1 AND sequence BETWEEN $2 AND $3
                   ORDER BY sequence LIMIT $4";
        let [first, last] = [range.start(), range.end()].map(|bound| i64::try_from(*bound).unwrap_or(i64::MAX));
        let rows = self.rows(Of::One(organization), sql, &[&uuid(organization), &first, &last, &most(limit)])?;
        rows.iter().map(|row| Ok((number_at(row, 0)?, at(row, 1)?))).collect()
    }

    fn own_blocks_since(&self, since: Time, limit: usize) -> Result<Vec<(OrganizationId, u64, Time)>, EngineError> {
        let sql = "SELECT organization, sequence, at FROM blocks WHERE at >= $1
                   ORDER BY at, organization, sequence LIMIT $2";
        let rows = self.rows(Of::Team, sql, &[&since.micros(), &most(limit)])?;
        rows.iter()
            .map(|row| Ok((organization_at(row, 0)?, number_at(row, 1)?, Time::from_micros(at(row, 2)?))))
            .collect()
    }

    /// `now()` is when the transaction began, and its snapshot is taken after that.
    fn progress(&self) -> Result<Option<Progress>, EngineError> {
        let sql = "SELECT (extract(epoch FROM now()) * 1000000)::bigint, pg_snapshot_xmin(s)::text::bigint,
                   pg_snapshot_xmax(s)::text::bigint FROM pg_current_snapshot() AS s";
        let row = self.row(Of::Team, sql, &[])?;
        let read =
            |row| Ok(Progress { now: Time::from_micros(at(&row, 0)?), ended: at(&row, 1)?, begun: at(&row, 2)? });
        row.map(read).transpose()
    }

    fn candidate(&self, organization: OrganizationId, hash: u64, before: Place) -> Result<Option<Place>, EngineError> {
        self.candidate_before(organization, hash, before)
    }

    fn receipt(
        &self,
        scope: [u8; 16],
        receipt: &ReceiptKey,
        since: Time,
    ) -> Result<Option<(u64, Answer)>, EngineError> {
        self.kept_answer(OrganizationId(scope), receipt, since)
    }

    fn is_seen(
        &self,
        from: ValueKey,
        to: Time,
        beside: &mut dyn Iterator<Item = (Time, i64)>,
    ) -> Result<bool, EngineError> {
        let mut counts: BTreeMap<Time, i64> = BTreeMap::new();
        beside.for_each(|(bucket, count)| *counts.entry(bucket).or_default() += count);
        let sql = "SELECT bucket, count FROM unique_values
                   WHERE organization = $1 AND meter = $2 AND value = $3 AND bucket >= $4 AND bucket < $5";
        let (organization, meter) = (uuid(from.organization), i64::from(from.meter.0));
        let (value, first, end) = (&from.value.0[..], from.bucket.micros(), to.micros());
        let values: [super::Value<'_>; 5] = [&organization, &meter, &value, &first, &end];
        for row in self.rows(Of::One(from.organization), sql, &values)? {
            *counts.entry(Time::from_micros(at(&row, 0)?)).or_default() += at::<i64>(&row, 1)?;
        }
        Ok(counts.values().any(|count| *count > 0))
    }

    fn each_value(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        span: Span,
        each: &mut dyn FnMut(Time, [u8; 16], i64),
    ) -> Result<(), EngineError> {
        let sql = "SELECT bucket, value, count FROM unique_values
                   WHERE organization = $1 AND meter = $2 AND bucket >= $3 AND bucket < $4 ORDER BY bucket, value";
        let (id, number) = (uuid(organization), i64::from(meter.0));
        let (start, end) = (span.start.micros(), span.end.micros());
        for row in self.rows(Of::One(organization), sql, &[&id, &number, &start, &end])? {
            each(Time::from_micros(at(&row, 0)?), bytes_at(&row, 1)?, at(&row, 2)?);
        }
        Ok(())
    }

    fn carried(&self, organization: OrganizationId) -> Result<Rollups, EngineError> {
        self.carried_by(organization)
    }

    fn each_rollup(&self, range: &RollupRange, each: EachRollup<'_>) -> Result<(), EngineError> {
        self.each_rollup_of(range, each)
    }

    fn find_rollup<'k>(&self, key: &'k RollupKey, more: i64) -> Result<(&'k str, Option<Vec<u8>>), EngineError> {
        self.rollup_of(key, more)
    }

    fn each_row_of_rollups(
        &self,
        organization: OrganizationId,
        days: RangeInclusive<i32>,
        each: EachRow<'_>,
    ) -> Result<(), EngineError> {
        self.each_stored_rollup(organization, days, each)
    }

    fn audit_before(&self, chain: [u8; 16], before: u64, limit: usize) -> Result<Vec<AuditRow>, EngineError> {
        self.entries_before(chain, before, limit)
    }

    fn audit_after(&self, chain: [u8; 16], after: u64, limit: usize) -> Result<Vec<AuditRow>, EngineError> {
        self.entries_after(chain, after, limit)
    }

    fn audit_checkpoint(&self, chain: [u8; 16]) -> Result<Option<StoredCheckpoint>, EngineError> {
        let sql = "SELECT sequence, entry FROM audit_checkpoints WHERE organization = $1";
        let id = OrganizationId(chain);
        let row = self.row(Of::One(id), sql, &[&uuid(id)])?;
        row.map(|row| Ok(StoredCheckpoint { sequence: number_at(&row, 0)?, entry: number_at(&row, 1)? })).transpose()
    }

    fn audit_entry(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError> {
        self.entry_at(chain, sequence)
    }

    fn audit_resolution(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError> {
        let Ok(place) = i64::try_from(sequence) else { return Ok(None) };
        let sql = "SELECT resolution FROM audit_resolutions WHERE organization = $1 AND sequence = $2";
        let id = OrganizationId(chain);
        let Some(row) = self.row(Of::One(id), sql, &[&uuid(id), &place])? else { return Ok(None) };
        Ok(self.entry_at(chain, number_at(&row, 0)?)?.filter(|entry| entry.resolves() == Some(sequence)))
    }

    fn audit_head(&self, chain: [u8; 16]) -> Result<Head, EngineError> {
        let sql = "SELECT sequence, hash FROM audit WHERE organization = $1 ORDER BY sequence DESC LIMIT 1";
        let id = OrganizationId(chain);
        let row = self.row(Of::One(id), sql, &[&uuid(id)])?;
        row.map_or(Ok(Head::EMPTY), |row| Ok(Head { sequence: number_at(&row, 0)?, hash: bytes_at(&row, 1)? }))
    }

    fn each_audit_row_after(
        &self,
        after: Option<([u8; 16], u64)>,
        limit: usize,
        each: &mut dyn FnMut(AuditRow) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.all_entries_after(after, limit)?.into_iter().try_for_each(each)
    }

    fn audit_chain_from(&self, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError> {
        let sql = "SELECT organization FROM audit WHERE organization >= $1 ORDER BY organization LIMIT 1";
        self.chain_by(sql, chain)
    }

    fn audit_chain_after(&self, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError> {
        let sql = "SELECT organization FROM audit WHERE organization > $1 ORDER BY organization LIMIT 1";
        self.chain_by(sql, chain)
    }

    fn organizations_without_audit(&self, limit: usize) -> Result<Vec<OrganizationId>, EngineError> {
        let sql = "SELECT o.organization FROM organizations o
                   WHERE NOT EXISTS (SELECT 1 FROM audit a WHERE a.organization = o.organization) LIMIT $1";
        let rows = self.rows(Of::Team, sql, &[&most(limit)])?;
        rows.iter().map(|row| organization_at(row, 0)).collect()
    }

    fn import(&self, source: &str) -> Result<Option<ImportRecord>, EngineError> {
        let row = self.row(Of::Team, "SELECT rows_done, digest FROM imports WHERE source = $1", &[&source])?;
        let read = |row| {
            let rows_done = number_at(&row, 0)?;
            Ok(ImportRecord { source: source.to_owned(), rows_done, digest: at(&row, 1)? })
        };
        row.map(read).transpose()
    }

    fn prices(&self, version: u64) -> Result<Option<StoredPrices>, EngineError> {
        self.price_version(version)
    }

    fn setting(&self, name: &str) -> Result<Option<String>, EngineError> {
        let row = self.row(Of::Team, "SELECT value FROM settings WHERE name = $1", &[&name])?;
        row.map(|row| at(&row, 0)).transpose()
    }

    fn answers(&self) -> Result<(), EngineError> {
        self.run("SELECT 1")
    }
}

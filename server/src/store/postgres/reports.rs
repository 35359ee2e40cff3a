//! What lists and kept answers are read from.

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;

use super::{Of, Postgres, at, most, organization_at, uuid};
use crate::store::error::EngineError;
use crate::store::receipt::ReceiptRow;
use crate::store::rows::{Candidates, Listing};
use crate::store::totals::Totals;
use crate::store::{Answer, ReceiptKey};

/// A page of organizations: where it begins, and the order. Names are compared byte by byte (`COLLATE "C"`), and so only ASCII
/// letters in either case.
macro_rules! candidates {
    ($place:literal, $order:literal) => {
        concat!(
            "SELECT o.organization, o.key FROM organizations o WHERE ",
            $place,
            "
      AND ($2::uuid IS NULL OR o.organization = $2)
      AND ($3::text IS NULL OR o.key ILIKE $3 OR o.name ILIKE $3)
      AND ((($4::text IS NULL OR o.status = $4)
            AND ($5::boolean IS NULL OR o.locked = $5)
            AND ($6::text IS NULL OR o.plan IN (SELECT id FROM plans WHERE key = $6)))
           OR (SELECT a.next_due FROM accounts a WHERE a.organization = o.organization) <= $7)
    ORDER BY ",
            $order,
            " LIMIT $8"
        )
    };
}

const BY_KEY: &str = candidates!("o.key > $1", "o.key");
const NEWEST_FIRST: &str = candidates!("($1::uuid IS NULL OR o.organization < $1)", "o.organization DESC");

impl Postgres {
    pub(super) fn candidates_of(
        &self,
        asked: &Candidates<'_>,
        limit: usize,
    ) -> Result<Vec<(OrganizationId, String)>, EngineError> {
        let Candidates { from, own, pattern, status, locked, plan, due } = *asked;
        let before = if let Listing::NewestFirst(before) = from { before.map(uuid) } else { None };
        let (sql, place): (_, super::Value<'_>) = match &from {
            Listing::ByKey(key) => (BY_KEY, key),
            Listing::NewestFirst(_) => (NEWEST_FIRST, &before),
        };
        let (own, due, limit) = (own.map(uuid), due.micros(), most(limit));
        let values: [super::Value<'_>; 8] = [place, &own, &pattern, &status, &locked, &plan, &due, &limit];
        let rows = self.rows(Of::Team, sql, &values)?;
        rows.iter().map(|row| Ok((organization_at(row, 0)?, at(row, 1)?))).collect()
    }

    pub(super) fn kept_answer(
        &self,
        scope: OrganizationId,
        receipt: &ReceiptKey,
        since: Time,
    ) -> Result<Option<(u64, Answer)>, EngineError> {
        let sql = "SELECT at, fingerprint, status, body FROM receipts
                   WHERE organization = $1 AND route = $2 AND key = $3";
        let values: [super::Value<'_>; 3] = [&uuid(scope), &receipt.route, &receipt.key.as_str()];
        let Some(row) = self.row(Of::One(scope), sql, &values)? else { return Ok(None) };
        let status = u16::try_from(at::<i32>(&row, 2)?).unwrap_or(500);
        let stored = ReceiptRow {
            scope: scope.0,
            route: receipt.route.to_owned(),
            key: receipt.key.as_str().to_owned(),
            at: Time::from_micros(at(&row, 0)?),
            fingerprint: at::<i64>(&row, 1)?.cast_unsigned(),
            answer: Answer { status, body: at(&row, 3)?, version: None },
        };
        let stored = stored.checked()?;
        Ok((stored.at >= since).then_some((stored.fingerprint, stored.answer)))
    }

    /// What all organizations but those for tests used together.
    pub(in crate::store) fn totals(&self) -> Result<Totals, EngineError> {
        let sql = "SELECT meter, day, sum(count)::bigint,
                          least(greatest(sum(sum), -9223372036854775808), 9223372036854775807)::bigint, max(max)
                   FROM fleet_usage GROUP BY meter, day";
        let mut totals = Totals::default();
        for row in self.rows(Of::Team, sql, &[])? {
            let (meter, day) = (u32::try_from(at::<i64>(&row, 0)?).unwrap_or(u32::MAX), at(&row, 1)?);
            let slot =
                crate::store::rollup::Slot { count: at(&row, 2)?, sum: at(&row, 3)?, max: at(&row, 4)?, last: None };
            totals.add((metergate_rules::id::MeterId(meter), day), &slot);
        }
        Ok(totals)
    }
}

//! Ids that have been seen: what the loop asks of all ids of a batch at once, and the partitions in which they go.

use std::collections::HashMap;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::{DAY, Time};
use tokio_postgres::Row;

use super::{Address, Of, Postgres, Value, at, migrate, number_at, organization_at, uuid};
use crate::store::block::Place;
use crate::store::error::EngineError;
use crate::store::known::NEWEST;

/// A partition holds the ids of so many microseconds.
const SPAN: i64 = 30 * DAY;
/// Only one node at a time makes and drops partitions.
const LOCK: i64 = 0x6d65_7465_6964_7300;
/// How long it is waited for a lock to make a partition, which keeps nobody out, and to drop one, in milliseconds. The latter is
/// less than the loops of all nodes wait for a lock.
const MAKING: u32 = 4_000;
const DROPPING: u32 = 50;

/// Ids that were looked up together, each with the places at which one of its hash stands, newest first.
#[derive(Default)]
pub(super) struct Sought(HashMap<(OrganizationId, u64), Vec<Place>>);

impl Sought {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Ids that are looked up together.
pub(super) struct Seek {
    ids: Vec<uuid::Uuid>,
    hashes: Vec<i64>,
}

impl Seek {
    pub(super) fn of(asked: &[(OrganizationId, u64)]) -> Self {
        let ids = asked.iter().map(|(id, _)| uuid(*id)).collect();
        Self { ids, hashes: asked.iter().map(|(_, hash)| hash.cast_signed()).collect() }
    }

    pub(super) fn statement(&self) -> (&'static str, Vec<Value<'_>>) {
        let sql = "SELECT e.organization, e.hash, e.sequence, e.place
                   FROM unnest($1::uuid[], $2::bigint[]) AS k(organization, hash)
                   JOIN event_ids e ON e.organization = k.organization AND e.hash = k.hash
                   ORDER BY e.sequence DESC, e.place DESC";
        (sql, vec![&self.ids, &self.hashes])
    }
}

impl Postgres {
    /// Afterwards [`Self::candidate_before`] knows these ids until the transaction ends.
    pub(super) fn take_in_sought(&self, asked: &[(OrganizationId, u64)], rows: &[Row]) -> Result<(), EngineError> {
        let mut sought = self.ids.borrow_mut();
        sought.0.extend(asked.iter().map(|asked| (*asked, Vec::new())));
        for row in rows {
            let (id, hash) = (organization_at(row, 0)?, at::<i64>(row, 1)?.cast_unsigned());
            let offset = u32::try_from(number_at(row, 3)?).unwrap_or(u32::MAX);
            let place = Place { sequence: number_at(row, 2)?, offset };
            let places = sought.0.entry((id, hash)).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
        Ok(())
    }

    /// The newest place before `before` at which an id of this hash stands.
    pub(super) fn candidate_before(
        &self,
        organization: OrganizationId,
        hash: u64,
        before: Place,
    ) -> Result<Option<Place>, EngineError> {
        let key = (organization, hash);
        if !self.ids.borrow().0.contains_key(&key) {
            let seek = Seek::of(&[key]);
            let (sql, values) = seek.statement();
            let rows = self.rows(Of::One(organization), sql, &values)?;
            self.take_in_sought(&[key], &rows)?;
        }
        let sought = self.ids.borrow();
        let places = sought.0.get(&key).map_or(&[][..], Vec::as_slice);
        Ok(places.iter().find(|place| before == NEWEST || **place < before).copied())
    }
}

/// Of the owner's connection.
impl Postgres {
    fn partitions(&self) -> Result<Vec<String>, EngineError> {
        let sql = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                   WHERE i.inhparent = 'event_ids'::regclass";
        let rows = self.together(&[(sql, Vec::new())])?.pop().unwrap_or_default();
        rows.iter().map(|row| at(row, 0)).collect()
    }

    /// Makes those that are missing for what arrived or arrives in a time.
    fn make_partitions(&self, there: &[String], from: Time, to: Time) -> Result<(), EngineError> {
        for number in from.micros().div_euclid(SPAN)..=to.micros().div_euclid(SPAN) {
            let name = name_of(number);
            if !there.contains(&name) {
                let (from, to) = (number * SPAN, (number + 1) * SPAN);
                self.run(&format!(
                    "CREATE TABLE {name} (LIKE event_ids INCLUDING ALL);
                     ALTER TABLE event_ids ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
                ))?;
            }
        }
        Ok(())
    }

    /// Makes those for what arrives from now on, in a transaction of its own. Nearly always they are there.
    fn make_what_is_missing(&self, now: Time) -> Result<(), EngineError> {
        let until = now.plus(SPAN);
        let there = self.partitions()?;
        if (now.micros().div_euclid(SPAN)..=until.micros().div_euclid(SPAN)).all(|n| there.contains(&name_of(n))) {
            return Ok(());
        }
        self.run("BEGIN")?;
        self.together(&[("SELECT pg_advisory_xact_lock($1)", vec![&LOCK])])?;
        self.make_partitions_from(now, until)?;
        self.commit()
    }

    /// Lets one go, in a transaction of its own that waits for nobody for long.
    ///
    /// # Errors
    /// [`EngineError::Contended`] where somebody is in the way; the transaction is open then.
    fn drop_partition(&self, name: &str) -> Result<(), EngineError> {
        self.run(&format!("BEGIN; SET LOCAL lock_timeout = {DROPPING}"))?;
        self.run(&format!("SELECT pg_advisory_xact_lock({LOCK}); DROP TABLE IF EXISTS {name}"))?;
        self.commit()
    }

    /// The same in the transaction that is open.
    pub(super) fn make_partitions_from(&self, from: Time, to: Time) -> Result<(), EngineError> {
        self.make_partitions(&self.partitions()?, from, to)
    }
}

/// What came of tending partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Tended {
    /// Partitions that were dropped.
    pub(in crate::store) dropped: u64,
    /// Whether one stays that should go, since somebody was in the way.
    pub(in crate::store) is_left: bool,
}

/// Makes the partitions for what arrives until a little after `now`, and drops those of which everything is from before
/// `forgotten`, unless somebody is in the way: whoever waits to drop one keeps out all who come to `event_ids` after it, on
/// every node, and what reads all of it, such as a dump, may take hours.
///
/// # Errors
/// [`EngineError`] if partitions cannot be looked at or made now.
pub(in crate::store) fn tend_partitions(address: &Address, now: Time, forgotten: Time) -> Result<Tended, EngineError> {
    let owner = Postgres::connect_as_owner(address)?;
    owner.run(&format!(
        "SET search_path = {}; SET lock_timeout = {MAKING}; SET idle_in_transaction_session_timeout = 3000",
        migrate::NAMESPACE
    ))?;
    owner.make_what_is_missing(now)?;
    let mut tended = Tended::default();
    let old = |name: &String| number_of(name).is_some_and(|number| (number + 1) * SPAN <= forgotten.micros());
    for name in owner.partitions()?.into_iter().filter(old) {
        match owner.drop_partition(&name) {
            Ok(()) => tended.dropped += 1,
            Err(EngineError::Contended(why)) => {
                tracing::debug!(why, name, "a partition of ids goes later");
                owner.roll_back();
                tended.is_left = true;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(tended)
}

fn name_of(number: i64) -> String {
    format!("event_ids_{number}")
}

fn number_of(name: &str) -> Option<i64> {
    name.strip_prefix("event_ids_")?.parse().ok()
}

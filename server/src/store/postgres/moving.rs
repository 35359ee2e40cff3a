//! Writing what another engine has: into an empty database, in one transaction, which holds the turn to migrate, so that no
//! node begins on it meanwhile.

use std::time::Duration;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use uuid::Uuid;

use super::remade::INSERT as INSERT_ROLLUPS;
use super::write::{Changed, Commit};
use super::{Address, Of, Owned, Postgres, at, durable, migrate, uuid};
use crate::catalogue::change::TeamRow;
use crate::people::PersonRow;
use crate::store::audit::AuditRow;
use crate::store::block::Place;
use crate::store::error::EngineError;
use crate::store::ledger::Head;
use crate::store::rollup::ValueKey;
use crate::store::totals::Totals;

/// How long a statement may take: some go through all rows of a table.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Rows of a table, by columns.
#[derive(Default)]
pub(in crate::store) struct Blocks {
    owners: Vec<Uuid>,
    sequences: Vec<i64>,
    times: Vec<i64>,
    data: Vec<Vec<u8>>,
    bytes: usize,
}

impl Blocks {
    /// How many bytes wait to be written.
    pub(in crate::store) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(in crate::store) fn push(&mut self, owner: OrganizationId, sequence: u64, time: Time, data: Vec<u8>) {
        self.owners.push(uuid(owner));
        self.sequences.push(sequence.cast_signed());
        self.times.push(time.micros());
        self.bytes += data.len();
        self.data.push(data);
    }
}

/// Likewise.
#[derive(Default)]
pub(in crate::store) struct Ids {
    owners: Vec<Uuid>,
    hashes: Vec<i64>,
    sequences: Vec<i64>,
    offsets: Vec<i64>,
    times: Vec<i64>,
}

impl Ids {
    pub(in crate::store) const fn len(&self) -> usize {
        self.owners.len()
    }

    pub(in crate::store) fn push(&mut self, owner: OrganizationId, hash: u64, place: Place, time: Time) {
        self.owners.push(uuid(owner));
        self.hashes.push(hash.cast_signed());
        self.sequences.push(place.sequence.cast_signed());
        self.offsets.push(i64::from(place.offset));
        self.times.push(time.micros());
    }
}

/// Likewise.
#[derive(Default)]
pub(in crate::store) struct Days {
    owners: Vec<Uuid>,
    meters: Vec<i64>,
    days: Vec<i32>,
    dimensions: Vec<String>,
    data: Vec<Vec<u8>>,
}

impl Days {
    pub(in crate::store) const fn len(&self) -> usize {
        self.owners.len()
    }

    pub(in crate::store) fn push(
        &mut self,
        owner: OrganizationId,
        meter: u32,
        day: i32,
        dimensions: &str,
        data: &[u8],
    ) {
        self.owners.push(uuid(owner));
        self.meters.push(i64::from(meter));
        self.days.push(day);
        self.dimensions.push(dimensions.to_owned());
        self.data.push(data.to_vec());
    }
}

const INSERT_BLOCKS: &str = "
    INSERT INTO blocks (organization, sequence, at, data)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[])";
const INSERT_IDS: &str = "
    INSERT INTO event_ids (organization, hash, sequence, place, at)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])";
const INSERT_AUDIT: &str = "
    INSERT INTO audit (organization, sequence, at, actor, action, category, before, after, details, reason, salt, hash, redacted)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// Tables in which nothing stands before a first start.
const OURS: [&str; 15] = [
    "settings",
    "accounts",
    "blocks",
    "organizations",
    "audit",
    "receipts",
    "deletions",
    "meters",
    "plans",
    "prices",
    "api_keys",
    "people",
    "imports",
    "webhook_endpoints",
    "stripe_events",
];

impl Postgres {
    /// A transaction over a database in which nothing stands yet.
    ///
    /// # Errors
    /// [`EngineError::Unusable`] where something does.
    pub(in crate::store) fn begin_moving(address: &Address, from: Time, to: Time) -> Result<Self, EngineError> {
        migrate::prepare(address)?;
        let owner = Self::connect_as_owner(address)?;
        owner.run(&format!("SET search_path = {}; {}", migrate::NAMESPACE, durable::COMMITS))?;
        migrate::take_turn(&owner)?;
        owner.patience.set(PATIENCE);
        owner.run("BEGIN")?;
        for table in OURS {
            let rows = owner.run_for_number(&format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1) AS one"))?;
            if rows > 0 {
                return Err(EngineError::Unusable(
                    "there is a store in the database already: name an empty one in METERGATE_DATABASE_URL".to_owned(),
                ));
            }
        }
        owner.make_partitions_from(from, to)?;
        Ok(owner)
    }

    /// A single number.
    fn run_for_number(&self, sql: &str) -> Result<i64, EngineError> {
        let row = self.wait(self.client.query_one(sql, &[]))?;
        at(&row, 0)
    }

    /// How many rows a table has.
    pub(in crate::store) fn count(&self, table: &'static str) -> Result<u64, EngineError> {
        Ok(self.run_for_number(&format!("SELECT count(*) FROM {table}"))?.unsigned_abs())
    }

    /// What is the team's, and people.
    pub(in crate::store) fn put_team(
        &self,
        rows: &[TeamRow],
        people: impl Iterator<Item = PersonRow>,
        head: Head,
        now: Time,
    ) -> Result<u64, EngineError> {
        rows.iter().try_for_each(|row| self.write_team(row, now))?;
        let mut written = 0;
        for row in people {
            self.write_person(&row, now)?;
            written += 1;
        }
        let sql = "UPDATE team SET catalogue = 1, people = 1, audit_sequence = $1, audit_hash = $2";
        self.together(&[(sql, vec![&head.sequence.cast_signed(), &head.hash.to_vec()])])?;
        Ok(written)
    }

    /// Accounts, which are new here, and what they are listed by.
    pub(in crate::store) fn put_accounts(&self, changed: Vec<Changed>) -> Result<(), EngineError> {
        let commit = Commit { changed, ..Commit::default() };
        self.write_listed(&commit.changed);
        self.write_new(&commit)?;
        self.together(&[]).map(drop)
    }

    /// Values of distinct counts, or use of all organizations together.
    pub(in crate::store) fn put_derived(
        &self,
        values: std::collections::BTreeMap<ValueKey, i64>,
        totals: Totals,
    ) -> Result<(), EngineError> {
        self.write_derived(&Commit { values, totals: (0, totals), ..Commit::default() });
        self.together(&[]).map(drop)
    }

    /// Blocks of journals.
    pub(in crate::store) fn put_blocks(&self, blocks: &Blocks) -> Result<(), EngineError> {
        let Blocks { owners, sequences, times, data, .. } = blocks;
        self.together(&[(INSERT_BLOCKS, vec![owners, sequences, times, data])]).map(drop)
    }

    /// Under which ids things happened.
    pub(in crate::store) fn put_ids(&self, ids: &Ids) -> Result<(), EngineError> {
        let Ids { owners, hashes, sequences, offsets, times } = ids;
        self.together(&[(INSERT_IDS, vec![owners, hashes, sequences, offsets, times])]).map(drop)
    }

    /// Rollups.
    pub(in crate::store) fn put_days(&self, rows: &Days) -> Result<(), EngineError> {
        let Days { owners, meters, days, dimensions, data } = rows;
        self.together(&[(INSERT_ROLLUPS, vec![owners, meters, days, dimensions, data])]).map(drop)
    }

    /// Entries of the audit log.
    pub(in crate::store) fn put_audit(&self, rows: &[AuditRow]) -> Result<(), EngineError> {
        for row in rows {
            let (chain, sequence, at) = (uuid(OrganizationId(row.chain)), row.sequence.cast_signed(), row.at.micros());
            let AuditRow { actor, action, category, before, after, details, reason, .. } = row.clone();
            let (salt, hash) = (row.salt.to_vec(), row.hash.to_vec());
            let redacted = row.redacted.map(|hashes| hashes.concat());
            self.later(
                INSERT_AUDIT,
                vec![
                    Box::new(chain),
                    Box::new(sequence),
                    Box::new(at),
                    Box::new(actor),
                    Box::new(action),
                    Box::new(category),
                    Box::new(before),
                    Box::new(after),
                    Box::new(details),
                    Box::new(reason),
                    Box::new(salt),
                    Box::new(hash),
                    Box::new(redacted),
                ],
            );
        }
        self.together(&[]).map(drop)
    }

    /// Which entries were dealt with by which others, or what each chain has dropped and by which entry.
    pub(in crate::store) fn put_links(&self, kind: Links, rows: &[([u8; 16], i64, i64)]) -> Result<(), EngineError> {
        let owners: Vec<Uuid> = rows.iter().map(|(chain, ..)| uuid(OrganizationId(*chain))).collect();
        let (first, second): (Vec<i64>, Vec<i64>) = rows.iter().map(|(_, first, second)| (*first, *second)).unzip();
        let sql = match kind {
            Links::Resolutions => {
                "INSERT INTO audit_resolutions (organization, sequence, resolution)
                 SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])"
            }
            Links::Checkpoints => {
                "INSERT INTO audit_checkpoints (organization, sequence, entry, dropping)
                 SELECT k.*, false FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS k(organization, sequence, entry)"
            }
        };
        self.together(&[(sql, vec![&owners, &first, &second])]).map(drop)
    }

    /// A kept answer, its body as it is sealed.
    pub(in crate::store) fn put_receipt(&self, row: Receipt) {
        let sql = "INSERT INTO receipts (organization, route, key, at, fingerprint, status, body, about)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let Receipt { scope, route, key, at, fingerprint, status, body, about } = row;
        let (scope, about) = (uuid(OrganizationId(scope)), about.map(|about| uuid(OrganizationId(about))));
        self.later(
            sql,
            vec![
                Box::new(scope),
                Box::new(route),
                Box::new(key),
                Box::new(at),
                Box::new(fingerprint),
                Box::new(status),
                Box::new(body),
                Box::new(about),
            ],
        );
    }

    /// How far a file has been imported, and when that was.
    pub(in crate::store) fn put_import(
        &self,
        source: &str,
        done: i64,
        digest: &str,
        at: i64,
    ) -> Result<(), EngineError> {
        let sql = "INSERT INTO imports (source, rows_done, digest, updated_at) VALUES ($1, $2, $3, $4)";
        self.rows(Of::Team, sql, &[&source, &done, &digest, &at]).map(drop)
    }

    /// Has PostgreSQL look at how much there is of what, so that it finds good ways through it.
    pub(in crate::store) fn analyze(&self) -> Result<(), EngineError> {
        self.run("ANALYZE")
    }

    /// A row of whatever table, by the statement that writes it.
    pub(in crate::store) fn put_row(&self, sql: &'static str, values: Vec<Owned>) {
        self.later(sql, values);
    }

    /// What waits to go out goes.
    pub(in crate::store) fn flush(&self) -> Result<(), EngineError> {
        self.together(&[]).map(drop)
    }
}

/// What [`Postgres::put_links`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Links {
    Resolutions,
    Checkpoints,
}

/// A kept answer.
pub(in crate::store) struct Receipt {
    pub(in crate::store) scope: [u8; 16],
    pub(in crate::store) route: String,
    pub(in crate::store) key: String,
    pub(in crate::store) at: i64,
    pub(in crate::store) fingerprint: i64,
    pub(in crate::store) status: i32,
    pub(in crate::store) body: Vec<u8>,
    pub(in crate::store) about: Option<[u8; 16]>,
}

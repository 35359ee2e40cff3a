//! Reading what is the team's.

use std::path::Path;

use metergate_rules::id::{MeterId, MeterKey, OrganizationId, PlanId, PlanKey};
use metergate_rules::time::Time;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Transaction};
use serde::de::DeserializeOwned;

use super::{EngineError, Sqlite, settings, unreadable};
use crate::catalogue::change::ImportRecord;
use crate::catalogue::key::{ApiKey, KeyScope};
use crate::catalogue::{MeterEntry, PlanEntry, Stored};
use rusqlite::OptionalExtension;

/// The setting in which the checksum of meters, plans and keys stands. They are few, and all in memory: one for all. Prices have
/// their own.
const CHECKSUM: &str = "catalogue_checksum";
/// The setting in which the team's own stand, as JSON.
pub(super) const TEAM_SETTINGS: &str = "team_settings";
/// The checksum of no rows.
const NOTHING: &str = "00000000";

/// What it is over. Rows that have come later are added at the end, so that a store without any keeps its sum.
const SUMMED: [&str; 5] = [
    "SELECT * FROM meters ORDER BY id",
    "SELECT * FROM plans ORDER BY id",
    "SELECT id, hash, name, scopes, organization, created_at, expires_at, revoked_at FROM api_keys ORDER BY id",
    "SELECT id, created_by FROM api_keys WHERE created_by IS NOT NULL ORDER BY id",
    "SELECT id, replaces FROM api_keys WHERE replaces IS NOT NULL ORDER BY id",
];

/// The checksum of every meter, plan and key as they are stored.
fn catalogue_checksum(connection: &Connection) -> Result<String, EngineError> {
    let mut hasher = crc32fast::Hasher::new();
    for rows in SUMMED {
        let mut query = connection.prepare_cached(rows)?;
        let columns = query.column_count();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                add_value(&mut hasher, row.get_ref(column)?);
            }
        }
    }
    Ok(format!("{:08x}", hasher.finalize()))
}

/// The type and the length come first, so that no value can pass for another.
fn add_value(hasher: &mut crc32fast::Hasher, value: ValueRef<'_>) {
    let mut add = |kind: u8, bytes: &[u8]| {
        hasher.update(&[kind]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    match value {
        ValueRef::Null => add(0, &[]),
        ValueRef::Integer(number) => add(1, &number.to_le_bytes()),
        ValueRef::Real(number) => add(2, &number.to_le_bytes()),
        ValueRef::Text(text) => add(3, text),
        ValueRef::Blob(bytes) => add(4, bytes),
    }
}

/// Brings the checksum up to what has been written in this transaction.
pub(super) fn write_catalogue_checksum(transaction: &Transaction<'_>) -> Result<(), EngineError> {
    settings::set(transaction, CHECKSUM, &catalogue_checksum(transaction)?)
}

impl Sqlite {
    /// Meters, plans and keys.
    ///
    /// # Errors
    /// [`EngineError`] if a row cannot be read.
    pub fn stored(&self) -> Result<Stored, EngineError> {
        let checksum = self.setting(CHECKSUM)?.unwrap_or_else(|| NOTHING.to_owned());
        if checksum != catalogue_checksum(&self.connection)? {
            return Err(unreadable("the catalogue", "its checksum does not match: the stored bytes have changed"));
        }
        let mut stored = Stored::default();
        for entry in self.all("SELECT id, key, spec, created_at, deleted_at FROM meters", meter)? {
            stored.meters.insert(entry.id, entry);
        }
        for entry in self.all("SELECT id, key, spec, created_at, deleted_at, version FROM plans", plan)? {
            stored.plans.insert(entry.id, entry);
        }
        let keys =
            "SELECT id, hash, name, scopes, organization, created_at, expires_at, revoked_at, created_by, replaces
                    FROM api_keys";
        for entry in self.all(keys, |row| Ok(Ok(api_key(row)?)))? {
            stored.keys.insert(entry.id.clone(), entry);
        }
        if let Some(prices) = self.price_versions()?.pop() {
            stored.prices = prices;
        }
        if let Some(text) = self.setting(TEAM_SETTINGS)? {
            stored.settings = serde_json::from_str(&text).map_err(|error| unreadable("the team's settings", error))?;
        }
        stored.endpoints = self.endpoints()?;
        Ok(stored)
    }

    fn all<T>(
        &self,
        sql: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<Result<T, EngineError>>,
    ) -> Result<Vec<T>, EngineError> {
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map([], |row| read(row))?;
        rows.map(|row| row?).collect()
    }

    /// How far an import has come.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn import(&self, source: &str) -> Result<Option<ImportRecord>, EngineError> {
        let mut query = self.connection.prepare_cached("SELECT rows_done, digest FROM imports WHERE source = ?")?;
        let read = |row: &Row<'_>| {
            let rows_done = row.get::<_, i64>(0)?.unsigned_abs();
            Ok(ImportRecord { source: source.to_owned(), rows_done, digest: row.get(1)? })
        };
        Ok(query.query_row([source], read).optional()?)
    }

    /// The names of the closed slices' files.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    pub fn slice_files(&self) -> Result<Vec<String>, EngineError> {
        let (records, ids) = (self.slices()?, self.slice_ids()?);
        let paths = records.iter().map(|extent| extent.records_in(Path::new("")));
        let paths = paths.chain(ids.iter().map(|extent| extent.ids_in(Path::new(""))));
        Ok(paths.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }
}

fn definition<T: DeserializeOwned>(row: &Row<'_>, what: &str) -> rusqlite::Result<Result<T, EngineError>> {
    let text: String = row.get("spec")?;
    Ok(serde_json::from_str(&text).map_err(|error| unreadable(what, error)))
}

fn meter(row: &Row<'_>) -> rusqlite::Result<Result<MeterEntry, EngineError>> {
    let name: String = row.get("key")?;
    let what = format!("meter {name}");
    let spec = definition(row, &what)?;
    let (id, created_at) = (MeterId(row.get("id")?), Time::from_micros(row.get("created_at")?));
    let deleted_at = row.get::<_, Option<i64>>("deleted_at")?.map(Time::from_micros);
    let key = MeterKey::new(&name).map_err(|error| unreadable(&*what, error));
    Ok(key.and_then(|key| Ok(MeterEntry { id, key, spec: spec?, created_at, deleted_at })))
}

fn plan(row: &Row<'_>) -> rusqlite::Result<Result<PlanEntry, EngineError>> {
    let name: String = row.get("key")?;
    let what = format!("plan {name}");
    let spec = definition(row, &what)?;
    let (id, version) = (PlanId(row.get("id")?), row.get("version")?);
    let created_at = Time::from_micros(row.get("created_at")?);
    let deleted_at = row.get::<_, Option<i64>>("deleted_at")?.map(Time::from_micros);
    let key = PlanKey::new(&name).map_err(|error| unreadable(&*what, error));
    Ok(key.and_then(|key| Ok(PlanEntry { id, key, version, spec: spec?, created_at, deleted_at })))
}

fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let scopes: String = row.get("scopes")?;
    let time = |name: &str| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(name)?.map(Time::from_micros));
    Ok(ApiKey {
        id: row.get("id")?,
        hash: row.get("hash")?,
        name: row.get("name")?,
        scopes: scopes.split(',').filter_map(KeyScope::from_name).collect(),
        organization: row.get::<_, Option<[u8; 16]>>("organization")?.map(OrganizationId),
        created_at: Time::from_micros(row.get("created_at")?),
        created_by: row.get("created_by")?,
        replaces: row.get("replaces")?,
        expires_at: time("expires_at")?,
        revoked_at: time("revoked_at")?,
    })
}

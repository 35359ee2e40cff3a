//! What is the team's: reading it, and what a commit writes of it.

use metergate_rules::id::{MeterId, MeterKey, PlanId, PlanKey};
use metergate_rules::time::Time;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;

use super::{Of, Postgres, Value, at, bytes_at, organization_at, uuid};
use crate::catalogue::change::TeamRow;
use crate::catalogue::key::{ApiKey, KeyScope};
use crate::catalogue::price::StoredPrices;
use crate::catalogue::{MeterEntry, PlanEntry, Stored};
use crate::store::error::{EngineError, unreadable};
use crate::store::rows::Rows as _;

/// The setting in which the team's own stand.
const TEAM_SETTINGS: &str = "team_settings";

fn time(row: &Row, column: usize) -> Result<Time, EngineError> {
    at(row, column).map(Time::from_micros)
}

fn time_if(row: &Row, column: usize) -> Result<Option<Time>, EngineError> {
    Ok(at::<Option<i64>>(row, column)?.map(Time::from_micros))
}

fn small(row: &Row, column: usize) -> Result<u32, EngineError> {
    u32::try_from(at::<i64>(row, column)?).map_err(|error| unreadable("a number of the catalogue", error))
}

fn definition<T: DeserializeOwned>(row: &Row, column: usize, what: &str) -> Result<T, EngineError> {
    serde_json::from_str(at(row, column)?).map_err(|error| unreadable(what, error))
}

fn meter(row: &Row) -> Result<MeterEntry, EngineError> {
    let name: &str = at(row, 1)?;
    let what = format!("meter {name}");
    Ok(MeterEntry {
        id: MeterId(small(row, 0)?),
        key: MeterKey::new(name).map_err(|error| unreadable(&*what, error))?,
        spec: definition(row, 2, &what)?,
        created_at: time(row, 3)?,
        deleted_at: time_if(row, 4)?,
    })
}

fn plan(row: &Row) -> Result<PlanEntry, EngineError> {
    let name: &str = at(row, 1)?;
    let what = format!("plan {name}");
    Ok(PlanEntry {
        id: PlanId(small(row, 0)?),
        key: PlanKey::new(name).map_err(|error| unreadable(&*what, error))?,
        version: small(row, 5)?,
        spec: definition(row, 2, &what)?,
        created_at: time(row, 3)?,
        deleted_at: time_if(row, 4)?,
    })
}

fn api_key(row: &Row) -> Result<ApiKey, EngineError> {
    let bound = at::<Option<uuid::Uuid>>(row, 4)?.is_some();
    Ok(ApiKey {
        id: at(row, 0)?,
        hash: bytes_at(row, 1)?,
        name: at(row, 2)?,
        scopes: at::<&str>(row, 3)?.split(',').filter_map(KeyScope::from_name).collect(),
        organization: bound.then(|| organization_at(row, 4)).transpose()?,
        created_at: time(row, 5)?,
        created_by: at(row, 6)?,
        expires_at: time_if(row, 7)?,
        revoked_at: time_if(row, 8)?,
        replaces: at(row, 9)?,
    })
}

fn price_table(row: &Row) -> Result<StoredPrices, EngineError> {
    Ok(StoredPrices {
        version: at::<i64>(row, 0)?.unsigned_abs(),
        prices: definition(row, 1, "the table of prices")?,
        changed_at: Some(time(row, 2)?),
    })
}

impl Postgres {
    /// Meters, plans, keys and settings.
    pub(in crate::store) fn stored(&self) -> Result<Stored, EngineError> {
        let mut stored = Stored::default();
        for row in self.rows(Of::Team, "SELECT id, key, spec, created_at, deleted_at FROM meters", &[])? {
            let entry = meter(&row)?;
            stored.meters.insert(entry.id, entry);
        }
        for row in self.rows(Of::Team, "SELECT id, key, spec, created_at, deleted_at, version FROM plans", &[])? {
            let entry = plan(&row)?;
            stored.plans.insert(entry.id, entry);
        }
        let keys = "SELECT id, hash, name, scopes, organization, created_at, created_by, expires_at, revoked_at,
                    replaces FROM api_keys";
        for row in self.rows(Of::Team, keys, &[])? {
            let entry = api_key(&row)?;
            stored.keys.insert(entry.id.clone(), entry);
        }
        let newest = "SELECT version, prices, changed_at FROM prices ORDER BY version DESC LIMIT 1";
        if let Some(row) = self.row(Of::Team, newest, &[])? {
            stored.prices = price_table(&row)?;
        }
        if let Some(text) = self.setting(TEAM_SETTINGS)? {
            stored.settings = serde_json::from_str(&text).map_err(|error| unreadable("the team's settings", error))?;
        }
        stored.endpoints = self.endpoints()?;
        Ok(stored)
    }

    /// A version of the table of prices.
    pub(super) fn price_version(&self, version: u64) -> Result<Option<StoredPrices>, EngineError> {
        let sql = "SELECT version, prices, changed_at FROM prices WHERE version = $1";
        self.row(Of::Team, sql, &[&version.cast_signed()])?.map(|row| price_table(&row)).transpose()
    }

    /// Keeps a value unless there is one, and answers the one that is kept. In a transaction or alone.
    pub(in crate::store) fn keep_setting(&self, name: &str, value: &str) -> Result<String, EngineError> {
        let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.together(&[(sql, vec![&name, &value])])?;
        let row = self.together(&[("SELECT value FROM settings WHERE name = $1", vec![&name])])?;
        let row = row.into_iter().flatten().next();
        row.map_or_else(|| Err(unreadable(format!("the setting {name}"), "it is not there")), |row| at(&row, 0))
    }

    /// Puts a value in the place of the one that is kept, in the transaction that is open.
    pub(in crate::store) fn put_setting(&self, name: &str, value: &str) -> Result<(), EngineError> {
        let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2";
        self.together(&[(sql, vec![&name, &value])]).map(drop)
    }

    /// Whether anything has ever been decided.
    pub(in crate::store) fn has_journal(&self) -> Result<bool, EngineError> {
        let row = self.row(Of::Team, "SELECT EXISTS (SELECT 1 FROM blocks)", &[])?;
        row.map_or(Ok(false), |row| at(&row, 0))
    }

    pub(super) fn write_team(&self, row: &TeamRow, now: Time) -> Result<(), EngineError> {
        match row {
            TeamRow::Meter(entry) => {
                let sql = "INSERT INTO meters (id, key, spec, created_at, deleted_at) VALUES ($1, $2, $3, $4, $5)
                           ON CONFLICT (id) DO UPDATE SET key = $2, spec = $3, created_at = $4, deleted_at = $5";
                let (id, spec) = (i64::from(entry.id.0), text(&entry.spec)?);
                let (made, gone) = (entry.created_at.micros(), entry.deleted_at.map(Time::micros));
                self.together(&[(sql, vec![&id, &entry.key.as_str(), &spec, &made, &gone])])?;
            }
            TeamRow::Plan(entry) => {
                let sql =
                    "INSERT INTO plans (id, key, version, spec, created_at, deleted_at) VALUES ($1, $2, $3, $4, $5, $6)
                           ON CONFLICT (id) DO UPDATE SET deleted_at = $6";
                let (id, version) = (i64::from(entry.id.0), i64::from(entry.version));
                let (made, gone) = (entry.created_at.micros(), entry.deleted_at.map(Time::micros));
                let spec = text(&entry.spec)?;
                self.together(&[(sql, vec![&id, &entry.key.as_str(), &version, &spec, &made, &gone])])?;
            }
            TeamRow::Key(key) => self.write_key(key)?,
            TeamRow::KeyGone(id) => drop(self.together(&[("DELETE FROM api_keys WHERE id = $1", vec![id])])?),
            TeamRow::Prices(table) => {
                let sql = "INSERT INTO prices (version, prices, changed_at) VALUES ($1, $2, $3)";
                let (version, prices) = (table.version.cast_signed(), text(&*table.prices)?);
                let changed = table.changed_at.unwrap_or(now).micros();
                self.together(&[(sql, vec![&version, &prices, &changed])])?;
            }
            TeamRow::Settings(settings) => {
                self.put_setting(TEAM_SETTINGS, &text(settings)?)?;
            }
            TeamRow::Endpoint(row) => self.write_endpoint(row)?,
            TeamRow::EndpointGone(id) => self.delete_endpoint(id)?,
            TeamRow::Resent(resent) => self.write_resent(resent)?,
            TeamRow::Import(record) => {
                let sql = "INSERT INTO imports (source, rows_done, digest, updated_at) VALUES ($1, $2, $3, $4)
                           ON CONFLICT (source) DO UPDATE SET rows_done = $2, digest = $3, updated_at = $4";
                let (done, at) = (record.rows_done.cast_signed(), now.micros());
                self.together(&[(sql, vec![&record.source, &done, &record.digest, &at])])?;
            }
        }
        Ok(())
    }

    fn write_key(&self, key: &ApiKey) -> Result<(), EngineError> {
        let sql = "INSERT INTO api_keys (id, hash, name, scopes, organization, created_at, created_by, expires_at, revoked_at,
                   replaces) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO UPDATE SET hash = $2, name = $3,
                   scopes = $4, organization = $5, created_at = $6, created_by = $7, expires_at = $8, revoked_at = $9,
                   replaces = $10";
        let scopes = key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",");
        let (bound, made) = (key.organization.map(uuid), key.created_at.micros());
        let (ends, gone) = (key.expires_at.map(Time::micros), key.revoked_at.map(Time::micros));
        let hash = &key.hash[..];
        let mut values: Vec<Value<'_>> = vec![&key.id, &hash, &key.name, &scopes, &bound, &made];
        values.extend([&key.created_by as Value<'_>, &ends, &gone, &key.replaces]);
        self.together(&[(sql, values)]).map(drop)
    }
}

fn text<S: serde::Serialize + ?Sized>(spec: &S) -> Result<String, EngineError> {
    serde_json::to_string(spec).map_err(|error| unreadable("a definition", error))
}

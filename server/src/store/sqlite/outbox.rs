//! The outbox of webhooks on the embedded engine.

use std::collections::BTreeMap;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use rusqlite::{Row, Transaction, TransactionBehavior};

use super::{EngineError, Sqlite, unreadable};
use crate::catalogue::change::{EndpointRow, Resent};
use crate::catalogue::endpoint::{EndpointEntry, EndpointId};
use crate::store::message::MessageId;
use crate::store::outbox::{
    AT_ONCE, AttemptRow, DeliveriesAsked, DeliveryKey, DeliveryRow, DeliveryState, Health, MOST_ATTEMPTS, Noted,
    OutboxRows, OutboxWork, Tries, URGENT, opened, sealed,
};

/// Deliveries with their messages, where a condition holds.
macro_rules! deliveries {
    ($rest:literal) => {
        concat!(
            "SELECT d.organization, d.message, d.endpoint, m.type, m.at, m.body, d.state, d.due_at, d.attempts, d.tried, d.began_at
             FROM deliveries d JOIN messages m ON m.organization = d.organization AND m.id = d.message ",
            $rest
        )
    };
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Result<DeliveryRow, EngineError>> {
    let state: String = row.get(6)?;
    let time = |at: Option<i64>| at.map(Time::from_micros);
    let found = DeliveryRow {
        key: DeliveryKey {
            organization: OrganizationId(row.get(0)?),
            message: MessageId(row.get(1)?),
            endpoint: EndpointId::named(&row.get::<_, String>(2)?),
        },
        kind: row.get(3)?,
        at: Time::from_micros(row.get(4)?),
        body: row.get(5)?,
        state: DeliveryState::Pending,
        due_at: Time::from_micros(row.get(7)?),
        tries: Tries { all: row.get(8)?, lately: row.get(9)?, began_at: time(row.get(10)?) },
    };
    let state = state.parse().map_err(|_| unreadable("a delivery", format!("its state is {state}")));
    Ok(state.map(|state| DeliveryRow { state, ..found }))
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    Ok(AttemptRow {
        number: row.get(0)?,
        at: Time::from_micros(row.get(1)?),
        status: row.get(2)?,
        error: row.get(3)?,
        duration_ms: row.get::<_, i64>(4)?.unsigned_abs(),
        response: row.get(5)?,
    })
}

impl OutboxRows for Sqlite {
    fn due_deliveries(&self, endpoints: &[(EndpointId, Time)]) -> Result<Vec<DeliveryRow>, EngineError> {
        let sql = deliveries!(
            "WHERE d.state = 'pending' AND d.endpoint = ? AND d.due_at <= ?
             AND NOT EXISTS (SELECT 1 FROM deletions g WHERE g.organization = d.organization) ORDER BY d.due_at LIMIT 1"
        );
        let mut query = self.connection.prepare_cached(sql)?;
        let mut due = Vec::new();
        for (endpoint, by) in endpoints {
            let rows = query.query_map((endpoint.as_str(), by.micros()), delivery)?;
            for row in rows {
                due.push(row??);
            }
        }
        Ok(due)
    }

    fn due_mails(&self, now: Time, most: usize) -> Result<Vec<DeliveryRow>, EngineError> {
        let sql = deliveries!(
            "WHERE d.state = 'pending' AND d.endpoint >= 'mail:' AND d.endpoint < 'mail;' AND d.due_at <= ?
             ORDER BY d.due_at LIMIT ?"
        );
        let mut query = self.connection.prepare_cached(sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = query.query_map((now.micros(), most), delivery)?;
        rows.map(|row| row?).collect()
    }

    fn deliveries(&self, asked: &DeliveriesAsked, most: usize) -> Result<Vec<DeliveryRow>, EngineError> {
        let sql = deliveries!(
            "WHERE d.endpoint = ?1 AND d.message >= ?2 AND d.message < ?3
             AND NOT EXISTS (SELECT 1 FROM deletions g WHERE g.organization = d.organization)
             ORDER BY d.message DESC LIMIT ?4"
        );
        let of_state = deliveries!(
            "WHERE d.endpoint = ?1 AND d.message >= ?2 AND d.message < ?3 AND d.state = ?5
             AND NOT EXISTS (SELECT 1 FROM deletions g WHERE g.organization = d.organization)
             ORDER BY d.message DESC LIMIT ?4"
        );
        let (endpoint, (from, before)) = (asked.endpoint.as_str(), asked.range());
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        match asked.state.map(DeliveryState::as_str) {
            Some(state) => {
                let mut query = self.connection.prepare_cached(of_state)?;
                query.query_map((endpoint, from, before, most, state), delivery)?.map(|row| row?).collect()
            }
            None => {
                let mut query = self.connection.prepare_cached(sql)?;
                query.query_map((endpoint, from, before, most), delivery)?.map(|row| row?).collect()
            }
        }
    }

    fn attempts(&self, key: &DeliveryKey) -> Result<Vec<AttemptRow>, EngineError> {
        let sql = "SELECT number, at, status, error, duration_ms, response FROM delivery_attempts
                   WHERE organization = ? AND message = ? AND endpoint = ? ORDER BY number DESC LIMIT ?";
        let mut query = self.connection.prepare_cached(sql)?;
        let values = (key.organization.0, key.message.0, key.endpoint.as_str(), MOST_ATTEMPTS as i64);
        let mut found = query.query_map(values, attempt)?.collect::<rusqlite::Result<Vec<_>>>()?;
        found.reverse();
        Ok(found)
    }

    fn endpoint_health(&self) -> Result<BTreeMap<EndpointId, Health>, EngineError> {
        let sql = "SELECT id, last_at, delivered_at, failing_at, rests_until FROM webhook_endpoints";
        let mut query = self.connection.prepare_cached(sql)?;
        let read = |row: &Row<'_>| {
            let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Time::from_micros));
            let (last_at, delivered_at, failing_at, rests_until) = (time(1)?, time(2)?, time(3)?, time(4)?);
            let health = Health { last_at, delivered_at, failing_at, rests_until };
            Ok((EndpointId::named(&row.get::<_, String>(0)?), health))
        };
        let rows = query.query_map([], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Sqlite {
    /// All endpoints.
    ///
    /// # Errors
    /// [`EngineError`] if one cannot be read, or is not what was written.
    pub(super) fn endpoints(&self) -> Result<BTreeMap<EndpointId, EndpointEntry>, EngineError> {
        let mut query = self.connection.prepare_cached("SELECT id, data FROM webhook_endpoints ORDER BY id")?;
        let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let read = |row: rusqlite::Result<(String, Vec<u8>)>| {
            let (id, data) = row?;
            let entry = opened(&id, &data)?;
            Ok::<_, EngineError>((entry.id.clone(), entry))
        };
        rows.map(read).collect()
    }

    /// Writes something of the outbox, in a transaction of its own. How many rows it was about.
    pub(in crate::store) fn write_outbox(&mut self, work: &OutboxWork) -> Result<u64, EngineError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows = match work {
            OutboxWork::Note(all) => {
                all.iter().try_fold(0, |sum, noted| Ok::<_, EngineError>(sum + note(&transaction, noted)?))?
            }
            OutboxWork::Cancel { enabled, before } => cancel(&transaction, enabled, *before)?,
            OutboxWork::Forget { before } => forget(&transaction, *before)?,
        };
        transaction.commit()?;
        Ok(rows)
    }
}

/// What came of a try, unless it is known already.
fn note(transaction: &Transaction<'_>, noted: &Noted) -> Result<u64, EngineError> {
    let Noted { key, attempt, state, due_at, lately, began_at, rests_until } = noted;
    let (organization, message, endpoint) = (key.organization.0, key.message.0, key.endpoint.as_str());
    let is_taken = *state == DeliveryState::Delivered;
    // One that was sent again meanwhile has begun to be tried anew.
    let sql = "UPDATE deliveries SET attempts = ?6, state = iif(?9 OR tried = ?7 - 1, ?4, state),
                   due_at = iif(?9 OR tried = ?7 - 1, ?5, due_at), began_at = iif(?9 OR tried = ?7 - 1, ?8, began_at),
                   tried = iif(?9 OR tried = ?7 - 1, ?7, tried)
               WHERE organization = ?1 AND message = ?2 AND endpoint = ?3 AND attempts = ?6 - 1";
    let (due, began) = (due_at.micros(), began_at.micros());
    let values = (organization, message, endpoint, state.as_str(), due, attempt.number, lately, began, is_taken);
    if transaction.prepare_cached(sql)?.execute(values)? == 0 {
        return Ok(0);
    }
    let sql = "INSERT INTO delivery_attempts (organization, message, endpoint, number, at, status, error, duration_ms, response)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let AttemptRow { number, at, status, error, duration_ms, response } = attempt;
    let took = duration_ms.cast_signed();
    let values = (organization, message, endpoint, number, at.micros(), status, error, took, response);
    transaction.prepare_cached(sql)?.execute(values)?;
    let sql = "UPDATE webhook_endpoints SET last_at = ?2, delivered_at = iif(?3, ?2, delivered_at),
                   failing_at = iif(?3, NULL, coalesce(failing_at, ?2)), rests_until = ?4 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute((endpoint, at.micros(), is_taken, rests_until.map(Time::micros)))?;
    Ok(1)
}

fn cancel(transaction: &Transaction<'_>, enabled: &[EndpointId], before: Time) -> Result<u64, EngineError> {
    let sql = "UPDATE deliveries SET state = 'canceled' WHERE (organization, message, endpoint) IN (
                   SELECT organization, message, endpoint FROM deliveries
                   WHERE state = 'pending' AND due_at < ? AND endpoint NOT IN (SELECT value FROM json_each(?)) LIMIT ?)";
    let enabled = serde_json::to_string(enabled).map_err(|error| unreadable("the ids of endpoints", error))?;
    Ok(transaction.prepare_cached(sql)?.execute((before.micros(), enabled, AT_ONCE as i64))? as u64)
}

fn forget(transaction: &Transaction<'_>, before: Time) -> Result<u64, EngineError> {
    let sql = "SELECT organization, id FROM messages m WHERE at < ? AND NOT EXISTS (
                   SELECT 1 FROM deliveries d WHERE d.organization = m.organization AND d.message = m.id AND d.state = 'pending')
               ORDER BY at LIMIT ?";
    let old = {
        let mut query = transaction.prepare_cached(sql)?;
        let read = |row: &Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, [u8; 16]>(1)?));
        let rows = query.query_map((before.micros(), AT_ONCE as i64), read)?;
        rows.collect::<rusqlite::Result<Vec<_>>>()?
    };
    for key in &old {
        for sql in [
            "DELETE FROM delivery_attempts WHERE organization = ? AND message = ?",
            "DELETE FROM deliveries WHERE organization = ? AND message = ?",
            "DELETE FROM messages WHERE organization = ? AND id = ?",
        ] {
            transaction.prepare_cached(sql)?.execute(*key)?;
        }
    }
    Ok(old.len() as u64)
}

pub(super) fn write_endpoint(transaction: &Transaction<'_>, row: &EndpointRow) -> Result<(), EngineError> {
    let id = row.entry.id.as_str();
    let data = sealed(&row.entry)?;
    let sql = "INSERT INTO webhook_endpoints (id, data) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET data = ?2";
    transaction.prepare_cached(sql)?.execute((id, data))?;
    if row.begins_anew {
        let sql = "UPDATE webhook_endpoints SET failing_at = NULL, rests_until = NULL WHERE id = ?";
        transaction.prepare_cached(sql)?.execute([id])?;
    }
    Ok(())
}

pub(super) fn delete_endpoint(transaction: &Transaction<'_>, id: &EndpointId) -> Result<(), EngineError> {
    transaction.prepare_cached("DELETE FROM webhook_endpoints WHERE id = ?")?.execute([id.as_str()])?;
    Ok(())
}

/// A delivery is to be sent at once, and tried for a day from then on.
pub(super) fn write_resent(transaction: &Transaction<'_>, resent: &Resent) -> Result<(), EngineError> {
    let key = &resent.key;
    let sql = "UPDATE deliveries SET state = 'pending', due_at = ?4, tried = 0, began_at = NULL
               WHERE organization = ?1 AND message = ?2 AND endpoint = ?3";
    let values = (key.organization.0, key.message.0, key.endpoint.as_str(), URGENT.micros());
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

//! The outbox of webhooks on PostgreSQL.

use std::collections::BTreeMap;

use metergate_rules::time::Time;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Of, Postgres, Value, at, most, number_at, organization_at, uuid};
use crate::catalogue::change::{EndpointRow, Resent};
use crate::catalogue::endpoint::{EndpointEntry, EndpointId};
use crate::store::error::{EngineError, unreadable};
use crate::store::message::MessageId;
use crate::store::outbox::{
    AT_ONCE, AttemptRow, DeliveriesAsked, DeliveryKey, DeliveryRow, DeliveryState, Health, MOST_ATTEMPTS, Noted,
    OutboxRows, OutboxWork, Tries, URGENT, opened, sealed,
};

/// The columns of a delivery with its message.
macro_rules! deliveries {
    ($from:literal) => {
        concat!(
            "SELECT d.organization, d.message, d.endpoint, m.type, m.at, m.body, d.state, d.due_at, d.attempts, d.tried, d.began_at
             FROM ",
            $from
        )
    };
}

fn time(row: &Row, column: usize) -> Result<Time, EngineError> {
    at(row, column).map(Time::from_micros)
}

fn time_if(row: &Row, column: usize) -> Result<Option<Time>, EngineError> {
    Ok(at::<Option<i64>>(row, column)?.map(Time::from_micros))
}

fn count(row: &Row, column: usize) -> Result<u32, EngineError> {
    at::<i32>(row, column).map(i32::unsigned_abs)
}

fn delivery(row: &Row) -> Result<DeliveryRow, EngineError> {
    let state: &str = at(row, 6)?;
    Ok(DeliveryRow {
        key: DeliveryKey {
            organization: organization_at(row, 0)?,
            message: MessageId(at::<Uuid>(row, 1)?.into_bytes()),
            endpoint: EndpointId::named(at(row, 2)?),
        },
        kind: at(row, 3)?,
        at: time(row, 4)?,
        body: at(row, 5)?,
        state: state.parse().map_err(|_| unreadable("a delivery", format!("its state is {state}")))?,
        due_at: time(row, 7)?,
        tries: Tries { all: count(row, 8)?, lately: count(row, 9)?, began_at: time_if(row, 10)? },
    })
}

fn attempt(row: &Row) -> Result<AttemptRow, EngineError> {
    let status = at::<Option<i32>>(row, 2)?.map(u16::try_from).transpose();
    Ok(AttemptRow {
        number: count(row, 0)?,
        at: time(row, 1)?,
        status: status.map_err(|error| unreadable("the status of a try", error))?,
        error: at(row, 3)?,
        duration_ms: number_at(row, 4)?,
        response: at(row, 5)?,
    })
}

impl OutboxRows for Postgres {
    fn due_deliveries(&self, endpoints: &[(EndpointId, Time)]) -> Result<Vec<DeliveryRow>, EngineError> {
        let sql = deliveries!(
            "unnest($1::text[], $2::bigint[]) AS e(id, until) CROSS JOIN LATERAL (
                 SELECT * FROM deliveries p WHERE state = 'pending' AND endpoint = e.id AND due_at <= e.until
                 AND NOT EXISTS (SELECT 1 FROM deletions g WHERE g.organization = p.organization) ORDER BY due_at LIMIT 1) d
             JOIN messages m ON m.organization = d.organization AND m.id = d.message"
        );
        let (ids, untils): (Vec<&str>, Vec<i64>) =
            endpoints.iter().map(|(endpoint, by)| (endpoint.as_str(), by.micros())).unzip();
        self.rows(Of::Team, sql, &[&ids, &untils])?.iter().map(delivery).collect()
    }

    fn due_mails(&self, now: Time, limit: usize) -> Result<Vec<DeliveryRow>, EngineError> {
        let sql = deliveries!(
            "deliveries d JOIN messages m ON m.organization = d.organization AND m.id = d.message
             WHERE d.state = 'pending' AND d.endpoint >= 'mail:' AND d.endpoint < 'mail;' AND d.due_at <= $1
             ORDER BY d.due_at LIMIT $2"
        );
        self.rows(Of::Team, sql, &[&now.micros(), &most(limit)])?.iter().map(delivery).collect()
    }

    fn deliveries(&self, asked: &DeliveriesAsked, limit: usize) -> Result<Vec<DeliveryRow>, EngineError> {
        let sql = deliveries!(
            "deliveries d JOIN messages m ON m.organization = d.organization AND m.id = d.message
             WHERE d.endpoint = $1 AND d.message >= $2 AND d.message < $3
             AND NOT EXISTS (SELECT 1 FROM deletions g WHERE g.organization = d.organization)
             ORDER BY d.message DESC LIMIT $4"
        );
        let of_state = deliveries!(
            "deliveries d JOIN messages m ON m.organization = d.organization AND m.id = d.message
             WHERE d.endpoint = $1 AND d.message >= $2 AND d.message < $3 AND d.state = $5
             AND NOT EXISTS (SELECT 1 FROM deletions g WHERE g.organization = d.organization)
             ORDER BY d.message DESC LIMIT $4"
        );
        let (from, before) = asked.range();
        let (from, before) = (Uuid::from_bytes(from), Uuid::from_bytes(before));
        let (endpoint, limit) = (asked.endpoint.as_str(), most(limit));
        let rows = match asked.state.map(DeliveryState::as_str) {
            Some(state) => self.rows(Of::Team, of_state, &[&endpoint, &from, &before, &limit, &state])?,
            None => self.rows(Of::Team, sql, &[&endpoint, &from, &before, &limit])?,
        };
        rows.iter().map(delivery).collect()
    }

    fn attempts(&self, key: &DeliveryKey) -> Result<Vec<AttemptRow>, EngineError> {
        let sql = "SELECT number, at, status, error, duration_ms, response FROM delivery_attempts
                   WHERE organization = $1 AND message = $2 AND endpoint = $3 ORDER BY number DESC LIMIT $4";
        let (organization, message, endpoint) = values_of(key);
        let rows = self.rows(Of::Team, sql, &[&organization, &message, &endpoint, &most(MOST_ATTEMPTS)])?;
        let mut found = rows.iter().map(attempt).collect::<Result<Vec<_>, EngineError>>()?;
        found.reverse();
        Ok(found)
    }

    fn endpoint_health(&self) -> Result<BTreeMap<EndpointId, Health>, EngineError> {
        let sql = "SELECT id, last_at, delivered_at, failing_at, rests_until FROM webhook_endpoints";
        let read = |row: &Row| {
            let (last_at, delivered_at) = (time_if(row, 1)?, time_if(row, 2)?);
            let (failing_at, rests_until) = (time_if(row, 3)?, time_if(row, 4)?);
            let health = Health { last_at, delivered_at, failing_at, rests_until };
            Ok::<_, EngineError>((EndpointId::named(at(row, 0)?), health))
        };
        self.rows(Of::Team, sql, &[])?.iter().map(read).collect()
    }
}

fn values_of(key: &DeliveryKey) -> (Uuid, Uuid, &str) {
    (uuid(key.organization), Uuid::from_bytes(key.message.0), key.endpoint.as_str())
}

/// What came of a try, unless it is known already. A delivery that was sent again meanwhile has begun to be tried anew.
const NOTE: &str = "
    WITH noted AS (
        UPDATE deliveries SET attempts = $6::integer,
            state = CASE WHEN $14::boolean OR tried = $7::integer - 1 THEN $4::text ELSE state END,
            due_at = CASE WHEN $14::boolean OR tried = $7::integer - 1 THEN $5::bigint ELSE due_at END,
            began_at = CASE WHEN $14::boolean OR tried = $7::integer - 1 THEN $8::bigint ELSE began_at END,
            tried = CASE WHEN $14::boolean OR tried = $7::integer - 1 THEN $7::integer ELSE tried END
        WHERE organization = $1::uuid AND message = $2::uuid AND endpoint = $3::text AND attempts = $6::integer - 1
        RETURNING 1),
    tried AS (
        INSERT INTO delivery_attempts (organization, message, endpoint, number, at, status, error, duration_ms, response)
        SELECT $1::uuid, $2::uuid, $3::text, $6::integer, $9::bigint, $10::integer, $11::text, $12::bigint, $13::text
        FROM noted)
    UPDATE webhook_endpoints SET last_at = $9::bigint,
        delivered_at = CASE WHEN $14::boolean THEN $9::bigint ELSE delivered_at END,
        failing_at = CASE WHEN $14::boolean THEN NULL ELSE coalesce(failing_at, $9::bigint) END,
        rests_until = $15::bigint
    WHERE id = $3::text AND EXISTS (SELECT 1 FROM noted) RETURNING 1";
const CANCEL: &str = "
    UPDATE deliveries SET state = 'canceled' WHERE (organization, message, endpoint) IN (
        SELECT organization, message, endpoint FROM deliveries
        WHERE state = 'pending' AND due_at < $1 AND endpoint <> ALL ($2::text[]) LIMIT $3) RETURNING 1";
const FORGET: &str = "
    WITH old AS (
        SELECT organization, id FROM messages m WHERE at < $1 AND NOT EXISTS (
            SELECT 1 FROM deliveries d WHERE d.organization = m.organization AND d.message = m.id AND d.state = 'pending')
        ORDER BY at LIMIT $2),
    tries AS (DELETE FROM delivery_attempts t USING old WHERE t.organization = old.organization AND t.message = old.id),
    sent AS (DELETE FROM deliveries d USING old WHERE d.organization = old.organization AND d.message = old.id)
    DELETE FROM messages m USING old WHERE m.organization = old.organization AND m.id = old.id RETURNING 1";

impl Postgres {
    /// All endpoints.
    pub(super) fn endpoints(&self) -> Result<BTreeMap<EndpointId, EndpointEntry>, EngineError> {
        let read = |row: &Row| {
            let (id, data): (&str, &[u8]) = (at(row, 0)?, at(row, 1)?);
            let entry = opened(id, data)?;
            Ok::<_, EngineError>((entry.id.clone(), entry))
        };
        self.rows(Of::Team, "SELECT id, data FROM webhook_endpoints ORDER BY id", &[])?.iter().map(read).collect()
    }

    /// Writes something of the outbox, in the transaction that is open. How many rows it was about.
    pub(in crate::store) fn write_outbox(&self, work: &OutboxWork) -> Result<u64, EngineError> {
        let rows = match work {
            OutboxWork::Note(all) => {
                all.iter().try_fold(0, |sum, noted| Ok::<_, EngineError>(sum + self.note(noted)?))?
            }
            OutboxWork::Cancel { enabled, before } => {
                let enabled: Vec<&str> = enabled.iter().map(EndpointId::as_str).collect();
                self.rows(Of::Team, CANCEL, &[&before.micros(), &enabled, &most(AT_ONCE)])?.len()
            }
            OutboxWork::Forget { before } => self.rows(Of::Team, FORGET, &[&before.micros(), &most(AT_ONCE)])?.len(),
        };
        Ok(rows as u64)
    }

    fn note(&self, noted: &Noted) -> Result<usize, EngineError> {
        let Noted { key, attempt, state, due_at, lately, began_at, rests_until } = noted;
        let AttemptRow { number, at, status, error, duration_ms, response } = attempt;
        let (organization, message, endpoint) = values_of(key);
        let (number, lately) = (number.cast_signed(), lately.cast_signed());
        let (due, began, at) = (due_at.micros(), began_at.micros(), at.micros());
        let (status, took) = (status.map(i32::from), duration_ms.cast_signed());
        let (is_taken, state) = (*state == DeliveryState::Delivered, state.as_str());
        let rests = rests_until.map(Time::micros);
        let mut values: Vec<Value<'_>> = vec![&organization, &message, &endpoint, &state, &due, &number, &lately];
        values.extend([&began as Value<'_>, &at, &status, error, &took, response, &is_taken, &rests]);
        Ok(self.rows(Of::Team, NOTE, &values)?.len())
    }

    pub(super) fn write_endpoint(&self, row: &EndpointRow) -> Result<(), EngineError> {
        let id = row.entry.id.as_str();
        let data = sealed(&row.entry)?;
        let sql = "INSERT INTO webhook_endpoints (id, data) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET data = $2";
        self.together(&[(sql, vec![&id, &data])])?;
        if row.begins_anew {
            let sql = "UPDATE webhook_endpoints SET failing_at = NULL, rests_until = NULL WHERE id = $1";
            self.together(&[(sql, vec![&id])])?;
        }
        Ok(())
    }

    pub(super) fn delete_endpoint(&self, id: &EndpointId) -> Result<(), EngineError> {
        self.together(&[("DELETE FROM webhook_endpoints WHERE id = $1", vec![&id.as_str()])]).map(drop)
    }

    /// A delivery is to be sent at once, and tried for a day from then on. Whose it is has no part in who asks for it.
    pub(super) fn write_resent(&self, resent: &Resent) -> Result<(), EngineError> {
        let (organization, message, endpoint) = values_of(&resent.key);
        let sql = "UPDATE deliveries SET state = 'pending', due_at = $4, tried = 0, began_at = NULL
                   WHERE organization = $1 AND message = $2 AND endpoint = $3";
        self.rows(Of::Team, sql, &[&organization, &message, &endpoint, &URGENT.micros()]).map(drop)
    }
}

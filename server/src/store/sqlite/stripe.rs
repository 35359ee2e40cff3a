//! What Stripe told, as it is stored.

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use rusqlite::{OptionalExtension, Row, Transaction};

use super::{EngineError, Sqlite};
use crate::store::error::unreadable;
use crate::store::stripe::{EventList, EventRow, EventState, FADED, StripeRow, StripeRows, Subject};

/// The columns of an event, in order.
macro_rules! events {
    ($rest:literal) => {
        concat!(
            "SELECT id, type, created_at, received_at, subscription, customer, hint, state, due_at, attempts, organization, note,
                    payload FROM stripe_events ",
            $rest
        )
    };
}

fn event(row: &Row<'_>) -> rusqlite::Result<(EventRow, String)> {
    let time = |column| row.get(column).map(Time::from_micros);
    let event = EventRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        created_at: time(2)?,
        received_at: time(3)?,
        subject: Subject { subscription: row.get(4)?, customer: row.get(5)?, hint: row.get(6)? },
        state: EventState::Waiting,
        due_at: time(8)?,
        attempts: row.get(9)?,
        organization: row.get::<_, Option<[u8; 16]>>(10)?.map(OrganizationId),
        note: row.get(11)?,
        payload: row.get(12)?,
    };
    Ok((event, row.get(7)?))
}

/// An event with the state that its row names.
fn stated((event, state): (EventRow, String)) -> Result<EventRow, EngineError> {
    let known = EventState::from_name(&state);
    let state = known.ok_or_else(|| unreadable("an event of Stripe's", format!("there is no state {state}")))?;
    Ok(EventRow { state, ..event })
}

fn organization(row: &Row<'_>) -> rusqlite::Result<OrganizationId> {
    row.get(0).map(OrganizationId)
}

impl Sqlite {
    fn events(&self, sql: &str, values: impl rusqlite::Params) -> Result<Vec<EventRow>, EngineError> {
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map(values, event)?;
        rows.map(|row| stated(row?)).collect()
    }

    /// All events, those that arrived first before the others.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    pub(in crate::store) fn each_stripe_event(
        &self,
        mut each: impl FnMut(EventRow) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut query = self.connection.prepare(events!("ORDER BY received_at, id"))?;
        let rows = query.query_map([], event)?;
        rows.into_iter().try_for_each(|row| each(stated(row?)?))
    }
}

impl StripeRows for Sqlite {
    fn stripe_event(&self, id: &str) -> Result<Option<EventRow>, EngineError> {
        Ok(self.events(events!("WHERE id = ?"), [id])?.pop())
    }

    fn stripe_due(&self, now: Time, most: usize) -> Result<Vec<EventRow>, EngineError> {
        let sql = events!(
            "WHERE state IN ('waiting', 'unmatched') AND due_at <= ?
             ORDER BY state = 'unmatched', received_at, id LIMIT ?"
        );
        self.events(sql, (now.micros(), i64::try_from(most).unwrap_or(i64::MAX)))
    }

    fn stripe_events(&self, list: &EventList, most: usize) -> Result<Vec<EventRow>, EngineError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let (at, id) = list.before.clone().unwrap_or((Time::MAX, String::new()));
        let states = list.states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",");
        let sql = events!(
            "WHERE (received_at, id) < (?1, ?2) AND (?3 = '' OR instr(',' || ?3 || ',', ',' || state || ',') > 0)
             ORDER BY received_at DESC, id DESC LIMIT ?4"
        );
        self.events(sql, (at.micros(), id, states, most))
    }

    fn stripe_newest(&self, now: Time) -> Result<Option<Time>, EngineError> {
        let sql = "SELECT max(created_at) FROM stripe_events WHERE created_at <= ?";
        let newest: Option<i64> = self.connection.prepare_cached(sql)?.query_row([now.micros()], |row| row.get(0))?;
        Ok(newest.map(Time::from_micros).filter(|newest| *newest > Time::MIN))
    }

    fn organization_of_subscription(&self, subscription: &str) -> Result<Option<OrganizationId>, EngineError> {
        let sql = "SELECT id FROM organizations WHERE subscription = ?";
        Ok(self.connection.prepare_cached(sql)?.query_row([subscription], organization).optional()?)
    }

    fn organizations_of_customer(&self, customer: &str) -> Result<Vec<OrganizationId>, EngineError> {
        let sql = "SELECT id FROM organizations WHERE customer = ? ORDER BY id LIMIT 2";
        let mut query = self.connection.prepare_cached(sql)?;
        Ok(query.query_map([customer], organization)?.collect::<rusqlite::Result<_>>()?)
    }

    fn subscriptions_after(&self, after: &str, most: usize) -> Result<Vec<String>, EngineError> {
        let sql = "SELECT subscription FROM organizations WHERE subscription > ? ORDER BY subscription LIMIT ?";
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map((after, i64::try_from(most).unwrap_or(i64::MAX)), |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// An event, in the place of one of this id.
fn put_event(transaction: &Transaction<'_>, event: &EventRow) -> Result<(), EngineError> {
    let sql =
        "INSERT OR REPLACE INTO stripe_events (id, type, created_at, received_at, subscription, customer, hint, state,
               due_at, attempts, organization, note, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let EventRow { subject, .. } = event;
    let (created, received, due) = (event.created_at.micros(), event.received_at.micros(), event.due_at.micros());
    let (state, organization) = (event.state.as_str(), event.organization.map(|id| id.0));
    let values: [&dyn rusqlite::ToSql; 13] = [
        &event.id,
        &event.kind,
        &created,
        &received,
        &subject.subscription,
        &subject.customer,
        &subject.hint,
        &state,
        &due,
        &event.attempts,
        &organization,
        &event.note,
        &event.payload,
    ];
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(super) fn write_stripe(transaction: &Transaction<'_>, row: &StripeRow) -> Result<(), EngineError> {
    match row {
        StripeRow::Event(event) => put_event(transaction, event)?,
        StripeRow::Over { id, state, organization, note } => {
            let sql = "UPDATE stripe_events SET state = ?2, organization = ?3, note = ?4, payload = '', hint = NULL WHERE id = ?1";
            let values = (id, state.as_str(), organization.map(|id| id.0), note);
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        StripeRow::Later { id, state, due_at, note } => {
            let sql =
                "UPDATE stripe_events SET state = ?2, due_at = ?3, note = ?4, attempts = attempts + 1 WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute((id, state.as_str(), due_at.micros(), note))?;
        }
        StripeRow::Again { id, now } => {
            let sql =
                "UPDATE stripe_events SET state = 'waiting', received_at = ?2, due_at = ?2, attempts = 0, note = ''
                       WHERE id = ?1 AND state IN ('waiting', 'unmatched', 'failed')";
            transaction.prepare_cached(sql)?.execute((id, now.micros()))?;
        }
        StripeRow::Fade(before) => {
            let sql = "UPDATE stripe_events SET state = 'ignored', payload = '', hint = NULL, note = ?2
                       WHERE state IN ('unmatched', 'failed') AND received_at < ?1";
            transaction.prepare_cached(sql)?.execute((before.micros(), FADED))?;
        }
        StripeRow::Gone(id) => {
            transaction.prepare_cached("DELETE FROM stripe_events WHERE id = ?")?.execute([id])?;
        }
        StripeRow::Matched { subscription, customer, now } => {
            let sql = "UPDATE stripe_events SET state = 'waiting', due_at = ?3, attempts = 0
                       WHERE state = 'unmatched' AND (subscription = ?1 OR customer = ?2)";
            transaction.prepare_cached(sql)?.execute((subscription, customer, now.micros()))?;
        }
        StripeRow::Named { organization, key, now } => {
            let sql = "UPDATE stripe_events SET state = 'waiting', due_at = ?3, attempts = 0
                       WHERE state = 'unmatched' AND hint IN (?1, ?2)";
            transaction.prepare_cached(sql)?.execute((key.as_str(), organization.to_string(), now.micros()))?;
        }
    }
    Ok(())
}

/// What was applied to an organization that is deleted, or waits for it, tells no more whose it was: it is over with it. Before
/// its row goes, which says with what it is linked.
pub(super) fn forget(transaction: &Transaction<'_>, organization: OrganizationId) -> Result<(), EngineError> {
    let sql = "DELETE FROM stripe_events
               WHERE id IN (SELECT 'sync:' || subscription FROM organizations WHERE id = ? AND subscription IS NOT NULL)";
    transaction.prepare_cached(sql)?.execute([organization.bytes()])?;
    let sql = "UPDATE stripe_events SET state = 'ignored', subscription = NULL, customer = NULL, hint = NULL, payload = '',
                   note = 'the organization was deleted'
               WHERE state IN ('waiting', 'unmatched', 'failed')
                 AND (subscription = (SELECT subscription FROM organizations WHERE id = ?1)
                      OR customer = (SELECT customer FROM organizations WHERE id = ?1)
                      OR hint IN (?2, (SELECT key FROM organizations WHERE id = ?1)))
                 AND NOT EXISTS (SELECT 1 FROM organizations other WHERE other.id <> ?1
                                 AND (other.subscription = stripe_events.subscription OR other.customer = stripe_events.customer))";
    transaction.prepare_cached(sql)?.execute((organization.bytes(), organization.to_string()))?;
    let sql =
        "UPDATE stripe_events SET organization = NULL, subscription = NULL, customer = NULL, hint = NULL, payload = ''
               WHERE organization = ?";
    transaction.prepare_cached(sql)?.execute([organization.bytes()])?;
    Ok(())
}

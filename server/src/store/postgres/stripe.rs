//! What Stripe told, as it is stored.

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use tokio_postgres::Row;

use super::{Of, Postgres, Value, at, most, organization_at, uuid};
use crate::store::error::{EngineError, unreadable};
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

fn event(row: &Row) -> Result<EventRow, EngineError> {
    let time = |column| at(row, column).map(Time::from_micros);
    let state: &str = at(row, 7)?;
    let known = EventState::from_name(state);
    let is_applied = at::<Option<uuid::Uuid>>(row, 10)?.is_some();
    Ok(EventRow {
        id: at(row, 0)?,
        kind: at(row, 1)?,
        created_at: time(2)?,
        received_at: time(3)?,
        subject: Subject { subscription: at(row, 4)?, customer: at(row, 5)?, hint: at(row, 6)? },
        state: known.ok_or_else(|| unreadable("an event of Stripe's", format!("there is no state {state}")))?,
        due_at: time(8)?,
        attempts: u32::try_from(at::<i64>(row, 9)?).unwrap_or(u32::MAX),
        organization: is_applied.then(|| organization_at(row, 10)).transpose()?,
        note: at(row, 11)?,
        payload: at(row, 12)?,
    })
}

impl Postgres {
    fn events(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<EventRow>, EngineError> {
        self.rows(Of::Team, sql, values)?.iter().map(event).collect()
    }

    /// Goes out with the next statement.
    pub(super) fn write_stripe(&self, row: &StripeRow) {
        match row {
            StripeRow::Event(event) => self.put_event(event),
            StripeRow::Over { id, state, organization, note } => {
                let sql = "UPDATE stripe_events SET state = $2, organization = $3, note = $4, payload = '', hint = NULL WHERE id = $1";
                let organization = organization.map(uuid);
                let (id, note) = (id.clone(), note.clone());
                self.later(sql, vec![Box::new(id), Box::new(state.as_str()), Box::new(organization), Box::new(note)]);
            }
            StripeRow::Later { id, state, due_at, note } => {
                let sql = "UPDATE stripe_events SET state = $2, due_at = $3, note = $4, attempts = attempts + 1 WHERE id = $1";
                let (id, note) = (id.clone(), note.clone());
                self.later(
                    sql,
                    vec![Box::new(id), Box::new(state.as_str()), Box::new(due_at.micros()), Box::new(note)],
                );
            }
            StripeRow::Again { id, now } => {
                let sql =
                    "UPDATE stripe_events SET state = 'waiting', received_at = $2, due_at = $2, attempts = 0, note = ''
                           WHERE id = $1 AND state IN ('waiting', 'unmatched', 'failed')";
                self.later(sql, vec![Box::new(id.clone()), Box::new(now.micros())]);
            }
            StripeRow::Fade(before) => {
                let sql = "UPDATE stripe_events SET state = 'ignored', payload = '', hint = NULL, note = $2
                           WHERE state IN ('unmatched', 'failed') AND received_at < $1";
                self.later(sql, vec![Box::new(before.micros()), Box::new(FADED)]);
            }
            StripeRow::Gone(id) => {
                self.later("DELETE FROM stripe_events WHERE id = $1", vec![Box::new(id.clone())]);
            }
            StripeRow::Matched { subscription, customer, now } => {
                let sql = "UPDATE stripe_events SET state = 'waiting', due_at = $3, attempts = 0
                           WHERE state = 'unmatched' AND (subscription = $1 OR customer = $2)";
                let (subscription, customer) = (subscription.clone(), customer.clone());
                self.later(sql, vec![Box::new(subscription), Box::new(customer), Box::new(now.micros())]);
            }
            StripeRow::Named { organization, key, now } => {
                let sql = "UPDATE stripe_events SET state = 'waiting', due_at = $3, attempts = 0
                           WHERE state = 'unmatched' AND hint IN ($1, $2)";
                let names = (key.as_str().to_owned(), organization.to_string());
                self.later(sql, vec![Box::new(names.0), Box::new(names.1), Box::new(now.micros())]);
            }
        }
    }

    /// An event, in the place of one of this id.
    pub(in crate::store) fn put_event(&self, event: &EventRow) {
        let sql = "INSERT INTO stripe_events (id, type, created_at, received_at, subscription, customer, hint, state, due_at,
                       attempts, organization, note, payload)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (id) DO UPDATE
                   SET received_at = $4, state = $8, due_at = $9, attempts = $10, organization = $11, note = $12, payload = $13";
        let EventRow { id, kind, subject, note, payload, .. } = event.clone();
        self.later(
            sql,
            vec![
                Box::new(id),
                Box::new(kind),
                Box::new(event.created_at.micros()),
                Box::new(event.received_at.micros()),
                Box::new(subject.subscription),
                Box::new(subject.customer),
                Box::new(subject.hint),
                Box::new(event.state.as_str()),
                Box::new(event.due_at.micros()),
                Box::new(i64::from(event.attempts)),
                Box::new(event.organization.map(uuid)),
                Box::new(note),
                Box::new(payload),
            ],
        );
    }

    /// What was applied to an organization that is deleted, or waits for it, tells no more whose it was: it is over with it.
    /// Before its row goes, which says with what it is linked.
    pub(super) fn forget_events(&self, organization: OrganizationId) -> Result<(), EngineError> {
        let (id, named) = (uuid(organization), organization.to_string());
        let sql = "DELETE FROM stripe_events
                   WHERE id IN (SELECT 'sync:' || subscription FROM organizations
                                WHERE organization = $1 AND subscription IS NOT NULL)";
        self.rows(Of::Team, sql, &[&id])?;
        let sql = "UPDATE stripe_events SET state = 'ignored', subscription = NULL, customer = NULL, hint = NULL, payload = '',
                       note = 'the organization was deleted'
                   WHERE state IN ('waiting', 'unmatched', 'failed')
                     AND (subscription = (SELECT subscription FROM organizations WHERE organization = $1)
                          OR customer = (SELECT customer FROM organizations WHERE organization = $1)
                          OR hint = $2 OR hint = (SELECT key FROM organizations WHERE organization = $1))
                     AND NOT EXISTS (SELECT 1 FROM organizations other WHERE other.organization <> $1
                                     AND (other.subscription = stripe_events.subscription
                                          OR other.customer = stripe_events.customer))";
        self.rows(Of::Team, sql, &[&id, &named])?;
        let sql = "UPDATE stripe_events SET organization = NULL, subscription = NULL, customer = NULL, hint = NULL, payload = ''
                   WHERE organization = $1";
        self.rows(Of::Team, sql, &[&id]).map(drop)
    }
}

impl StripeRows for Postgres {
    fn stripe_event(&self, id: &str) -> Result<Option<EventRow>, EngineError> {
        Ok(self.events(events!("WHERE id = $1"), &[&id])?.pop())
    }

    fn stripe_due(&self, now: Time, limit: usize) -> Result<Vec<EventRow>, EngineError> {
        let sql = events!(
            "WHERE state IN ('waiting', 'unmatched') AND due_at <= $1
             ORDER BY state = 'unmatched', received_at, id LIMIT $2"
        );
        self.events(sql, &[&now.micros(), &most(limit)])
    }

    fn stripe_events(&self, list: &EventList, limit: usize) -> Result<Vec<EventRow>, EngineError> {
        let (before, id) = list.before.clone().unwrap_or((Time::MAX, String::new()));
        let states: Vec<&str> = list.states.iter().map(|state| state.as_str()).collect();
        let sql = events!(
            "WHERE (received_at, id) < ($1, $2) AND (cardinality($3::text[]) = 0 OR state = ANY($3))
             ORDER BY received_at DESC, id DESC LIMIT $4"
        );
        self.events(sql, &[&before.micros(), &id, &states, &most(limit)])
    }

    fn stripe_newest(&self, now: Time) -> Result<Option<Time>, EngineError> {
        let sql = "SELECT max(created_at) FROM stripe_events WHERE created_at <= $1";
        let row = self.row(Of::Team, sql, &[&now.micros()])?;
        let newest = row.map(|row| at::<Option<i64>>(&row, 0)).transpose()?.flatten();
        Ok(newest.map(Time::from_micros).filter(|newest| *newest > Time::MIN))
    }

    fn organization_of_subscription(&self, subscription: &str) -> Result<Option<OrganizationId>, EngineError> {
        let sql = "SELECT organization FROM organizations WHERE subscription = $1";
        self.row(Of::Team, sql, &[&subscription])?.map(|row| organization_at(&row, 0)).transpose()
    }

    fn organizations_of_customer(&self, customer: &str) -> Result<Vec<OrganizationId>, EngineError> {
        let sql = "SELECT organization FROM organizations WHERE customer = $1 ORDER BY organization LIMIT 2";
        self.rows(Of::Team, sql, &[&customer])?.iter().map(|row| organization_at(row, 0)).collect()
    }

    fn subscriptions_after(&self, after: &str, limit: usize) -> Result<Vec<String>, EngineError> {
        let sql = "SELECT subscription FROM organizations WHERE subscription > $1 ORDER BY subscription LIMIT $2";
        self.rows(Of::Team, sql, &[&after, &most(limit)])?.iter().map(|row| at(row, 0)).collect()
    }
}

//! Messages to webhook endpoints as rows: what is told, and to whom.

use metergate_rules::time::Time;
use uuid::Uuid;

use super::{Owned, Postgres, uuid};
use crate::store::message::MessageRow;

const INSERT_MESSAGES: &str = "
    INSERT INTO messages (organization, id, type, at, body)
    SELECT k.organization, k.id, k.type, $5::bigint, k.body
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS k(organization, id, type, body)";
const INSERT_DELIVERIES: &str = "
    INSERT INTO deliveries (organization, message, endpoint, state, due_at, attempts)
    SELECT k.organization, k.message, k.endpoint, 'pending', $4::bigint, 0
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS k(organization, message, endpoint)";

impl Postgres {
    /// Writes messages, and that they are to be delivered at once.
    pub(super) fn write_messages(&self, rows: &[MessageRow], at: Time) {
        if rows.is_empty() {
            return;
        }
        let at = at.micros();
        let owners: Vec<Uuid> = rows.iter().map(|row| uuid(row.organization)).collect();
        let ids: Vec<Uuid> = rows.iter().map(|row| Uuid::from_bytes(row.id.0)).collect();
        let kinds: Vec<&'static str> = rows.iter().map(|row| row.kind).collect();
        let bodies: Vec<String> = rows.iter().map(|row| row.body.clone()).collect();
        let values: [Owned; 5] = [Box::new(owners), Box::new(ids), Box::new(kinds), Box::new(bodies), Box::new(at)];
        self.later(INSERT_MESSAGES, values.into());
        let (mut owners, mut ids, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
        for (row, endpoint) in rows.iter().flat_map(|row| row.endpoints.iter().map(move |endpoint| (row, endpoint))) {
            owners.push(uuid(row.organization));
            ids.push(Uuid::from_bytes(row.id.0));
            endpoints.push(endpoint.clone());
        }
        let values: [Owned; 4] = [Box::new(owners), Box::new(ids), Box::new(endpoints), Box::new(at)];
        self.later(INSERT_DELIVERIES, values.into());
    }
}

//! Messages to webhook endpoints as rows: what is told, and to whom.

use metergate_rules::time::Time;
use rusqlite::Transaction;

use super::EngineError;
use crate::store::message::MessageRow;

/// Writes a message, and that it is to be delivered at once.
pub(super) fn write_message(transaction: &Transaction<'_>, row: &MessageRow, at: Time) -> Result<(), EngineError> {
    let (organization, id, at) = (row.organization.bytes(), row.id.0, at.micros());
    let sql = "INSERT INTO messages (organization, id, type, at, body) VALUES (?, ?, ?, ?, ?)";
    transaction.prepare_cached(sql)?.execute((organization, id, row.kind, at, &row.body))?;
    let sql = "INSERT INTO deliveries (organization, message, endpoint, state, due_at, attempts)
               VALUES (?, ?, ?, 'pending', ?, 0)";
    let mut deliver = transaction.prepare_cached(sql)?;
    for endpoint in &row.endpoints {
        deliver.execute((organization, id, endpoint, at))?;
    }
    Ok(())
}

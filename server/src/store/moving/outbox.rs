//! Messages to webhook endpoints, with to whom they go and how each try went, and how endpoints fare, which are there already.

use rusqlite::Row;
use uuid::Uuid;

use super::{Moving, ROWS};
use crate::store::error::EngineError;
use crate::store::postgres::Owned;

/// The values of a row, as PostgreSQL takes them.
type Read = fn(&Row<'_>) -> rusqlite::Result<Vec<Owned>>;

/// What is read, by which statement it is written, and how.
const TABLES: [(&str, &str, Read); 4] = [
    (
        "SELECT id, last_at, delivered_at, failing_at, rests_until FROM webhook_endpoints",
        "UPDATE webhook_endpoints SET last_at = $2, delivered_at = $3, failing_at = $4, rests_until = $5 WHERE id = $1",
        |row| Ok(vec![text(row, 0)?, time_if(row, 1)?, time_if(row, 2)?, time_if(row, 3)?, time_if(row, 4)?]),
    ),
    (
        "SELECT organization, id, type, at, body FROM messages",
        "INSERT INTO messages (organization, id, type, at, body) VALUES ($1, $2, $3, $4, $5)",
        |row| Ok(vec![id(row, 0)?, id(row, 1)?, text(row, 2)?, number(row, 3)?, text(row, 4)?]),
    ),
    (
        "SELECT organization, message, endpoint, state, due_at, attempts, tried, began_at FROM deliveries",
        "INSERT INTO deliveries (organization, message, endpoint, state, due_at, attempts, tried, began_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        |row| {
            let times = [number(row, 4)?, count(row, 5)?, count(row, 6)?, time_if(row, 7)?];
            let named = [id(row, 0)?, id(row, 1)?, text(row, 2)?, text(row, 3)?];
            Ok(named.into_iter().chain(times).collect())
        },
    ),
    (
        "SELECT organization, message, endpoint, number, at, status, error, duration_ms, response FROM delivery_attempts",
        "INSERT INTO delivery_attempts (organization, message, endpoint, number, at, status, error, duration_ms, response)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        |row| {
            let named = [id(row, 0)?, id(row, 1)?, text(row, 2)?, count(row, 3)?, number(row, 4)?];
            let (status, error) = (row.get::<_, Option<i32>>(5)?, row.get::<_, Option<String>>(6)?);
            let told: [Owned; 4] = [Box::new(status), Box::new(error), number(row, 7)?, text(row, 8)?];
            Ok(named.into_iter().chain(told).collect())
        },
    ),
];

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Owned> {
    Ok(Box::new(Uuid::from_bytes(row.get(column)?)))
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Owned> {
    Ok(Box::new(row.get::<_, String>(column)?))
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<Owned> {
    Ok(Box::new(row.get::<_, i64>(column)?))
}

fn time_if(row: &Row<'_>, column: usize) -> rusqlite::Result<Owned> {
    Ok(Box::new(row.get::<_, Option<i64>>(column)?))
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<Owned> {
    Ok(Box::new(row.get::<_, i32>(column)?))
}

impl Moving<'_> {
    /// Writes it, some rows at a time.
    pub(super) fn outbox(&mut self) -> Result<(), EngineError> {
        for (select, insert, read) in TABLES {
            let mut query = self.sqlite.connection().prepare(select)?;
            let mut rows = query.query([])?;
            let mut written = 0_u64;
            while let Some(row) = rows.next()? {
                self.target.put_row(insert, read(row)?);
                written += 1;
                if written.is_multiple_of(ROWS as u64) {
                    self.target.flush()?;
                }
            }
            self.target.flush()?;
            if select.contains("FROM messages") {
                self.moved.messages = written;
            }
        }
        Ok(())
    }
}

//! Finding what may not be there: an organization by its key, an answer by its idempotency key.
//!
//! What is not found is made, so a row that is missed because its key has changed on the disk would be made twice. Such a
//! row still stands where it was, and so next to where the key that is looked for leads: its neighbours are looked
//! at before something is taken for new.

use metergate_rules::id::{OrganizationId, OrganizationKey};
use metergate_rules::time::Time;
use rusqlite::{OptionalExtension, Row};

use super::{EngineError, Sqlite, unreadable};
use crate::store::receipt::ReceiptRow;
use crate::store::{Answer, ReceiptKey};

impl Sqlite {
    /// The organization of a key.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn organization_id(&self, key: &OrganizationKey) -> Result<Option<OrganizationId>, EngineError> {
        let mut query = self.connection.prepare_cached("SELECT id FROM organizations WHERE key = ?")?;
        let found = query.query_row([key.as_str()], |row| row.get(0)).optional()?.map(OrganizationId);
        if found.is_none() {
            for sql in [
                "SELECT key, id FROM organizations WHERE key > ? ORDER BY key LIMIT 1",
                "SELECT key, id FROM organizations WHERE key < ? ORDER BY key DESC LIMIT 1",
            ] {
                let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, OrganizationId(row.get(1)?)));
                let neighbour = self.connection.prepare_cached(sql)?.query_row([key.as_str()], read).optional()?;
                neighbour.map_or(Ok(()), |(listed, id)| self.is_listed_right(&listed, id))?;
            }
        }
        Ok(found)
    }

    /// So many accounts after one, in the order of their ids, each with the time at which something falls due by its row.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    pub(in crate::store) fn due_times(
        &self,
        after: Option<OrganizationId>,
        most: usize,
    ) -> Result<Vec<(OrganizationId, Time)>, EngineError> {
        let sql = "SELECT id, next_due FROM accounts WHERE id > ? ORDER BY id LIMIT ?";
        let after = after.as_ref().map_or(&[][..], |id| id.bytes());
        let mut query = self.connection.prepare_cached(sql)?;
        let read = |row: &Row<'_>| Ok((OrganizationId(row.get(0)?), Time::from_micros(row.get(1)?)));
        let rows = query.query_map((after, i64::try_from(most).unwrap_or(i64::MAX)), read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether the organization that is listed under a key is the one that has it.
    ///
    /// # Errors
    /// [`EngineError::Unreadable`] if it is not.
    fn is_listed_right(&self, key: &str, id: OrganizationId) -> Result<(), EngineError> {
        if self.account(id)?.is_some_and(|account| account.profile.key.as_str() == key) {
            return Ok(());
        }
        Err(unreadable(format!("organization {key}"), "its listing and its account do not agree"))
    }

    /// A kept answer with the fingerprint of its request.
    pub(in crate::store) fn receipt(
        &self,
        scope: [u8; 16],
        receipt: &ReceiptKey,
        since: Time,
    ) -> Result<Option<(u64, Answer)>, EngineError> {
        let columns = "SELECT scope, route, key, at, fingerprint, status, body FROM receipts WHERE";
        let read = |condition: &str| {
            let mut query = self.connection.prepare_cached(&format!("{columns} {condition} LIMIT 1"))?;
            let found = query.query_row((&scope, receipt.route, receipt.key.as_str()), receipt_row).optional()?;
            found.map(ReceiptRow::checked).transpose()
        };
        if let Some(row) = read("scope = ? AND route = ? AND key = ?")? {
            return Ok((row.at >= since).then_some((row.fingerprint, row.answer)));
        }
        read("(scope, route, key) > (?, ?, ?) ORDER BY scope, route, key")?;
        read("(scope, route, key) < (?, ?, ?) ORDER BY scope DESC, route DESC, key DESC")?;
        Ok(None)
    }
}

fn receipt_row(row: &Row<'_>) -> rusqlite::Result<ReceiptRow> {
    let answer = Answer { status: row.get(5)?, body: row.get(6)?, version: None };
    let (at, fingerprint) = (Time::from_micros(row.get(3)?), row.get::<_, i64>(4)?.cast_unsigned());
    Ok(ReceiptRow { scope: row.get(0)?, route: row.get(1)?, key: row.get(2)?, at, fingerprint, answer })
}

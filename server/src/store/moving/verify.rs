//! Whether everything was moved: before the commit.

use super::{Moved, Moving, ROWS};
use crate::store::audit::{TEAM, walk};
use crate::store::error::{EngineError, unreadable};
use crate::store::rows::Rows;

impl Moving<'_> {
    /// Counts what is there, goes through the chains of the audit log, and compares their ends.
    pub(super) fn verify(&mut self) -> Result<(), EngineError> {
        (self.watch)("counting and verifying", 0, 0);
        self.target.analyze()?;
        let Moved { organizations, blocks, ids, rollups, values, audit_entries, answers, people, messages, .. } =
            self.moved;
        #[rustfmt::skip]
        let counted = [
            ("accounts", organizations), ("organizations", organizations), ("blocks", blocks), ("event_ids", ids),
            ("rollups", rollups), ("unique_values", values), ("audit", audit_entries), ("receipts", answers), ("people", people),
            ("messages", messages),
        ];
        for (table, expected) in counted {
            let found = self.target.count(table)?;
            if found != expected {
                return Err(unreadable(
                    format!("what was moved into {table}"),
                    format!("{found} rows instead of {expected}"),
                ));
            }
        }
        for (table, listed) in [
            ("accounts", "id"),
            ("rollups", "day"),
            ("unique_values", "count"),
            ("audit", "at"),
            ("receipts", "at"),
            ("stripe_events", "id"),
            ("messages", "at"),
            ("deliveries", "due_at"),
            ("delivery_attempts", "at"),
        ] {
            let sql = format!("SELECT count({listed}) FROM {table}");
            let there: i64 = self.sqlite.connection().query_row(&sql, [], |row| row.get(0))?;
            let found = self.target.count(table)?;
            if there.unsigned_abs() != found {
                return Err(unreadable(
                    format!("what was moved into {table}"),
                    format!("{found} rows instead of {there}"),
                ));
            }
        }
        self.compare_ends()?;
        let mut from = None;
        loop {
            let walked = walk(self.target, from, ROWS)?;
            if let Some(finding) = walked.findings.first() {
                return Err(unreadable("what was moved of the audit log", format!("{finding:?}")));
            }
            from = match walked.next {
                Some(next) => Some(next),
                None => return Ok(()),
            };
        }
    }

    /// Whether each chain of the audit log ends where it did.
    fn compare_ends(&mut self) -> Result<(), EngineError> {
        let differ = || Err(unreadable("what was moved of the audit log", "its chains end elsewhere"));
        let (ours, theirs): (&dyn Rows, &dyn Rows) = (self.sqlite, self.target);
        let mut next = (ours.audit_chain_from(TEAM)?, theirs.audit_chain_from(TEAM)?);
        while let (Some(chain), Some(moved)) = next {
            if chain != moved || ours.audit_head(chain)? != theirs.audit_head(chain)? {
                return differ();
            }
            self.moved.audit_chains += 1;
            next = (ours.audit_chain_after(chain)?, theirs.audit_chain_after(chain)?);
        }
        if next == (None, None) { Ok(()) } else { differ() }
    }
}

//! Rows of the audit log that were exported and dropped: nobody reads them any more, and they go in bounded steps.

use rusqlite::TransactionBehavior;

use super::{EngineError, Sqlite};
use crate::dies_at;

/// Rows that a step deletes at most.
const MOST: usize = 1_000;

/// Of each table some rows of a chain.
const SOME: [&str; 2] = [
    "DELETE FROM audit_resolutions WHERE (chain, sequence) IN
     (SELECT r.chain, r.sequence FROM audit_resolutions r JOIN audit_checkpoints c ON c.chain = r.chain
      WHERE r.chain = ? AND r.sequence <= c.sequence LIMIT ?)",
    "DELETE FROM audit WHERE (chain, sequence) IN
     (SELECT a.chain, a.sequence FROM audit a JOIN audit_checkpoints c ON c.chain = a.chain
      WHERE a.chain = ? AND a.sequence <= c.sequence ORDER BY a.sequence LIMIT ?)",
];

impl Sqlite {
    /// Chains of which dropped entries are left.
    pub(in crate::store) fn cut_chains(&self) -> Result<Vec<[u8; 16]>, EngineError> {
        let mut query = self.connection.prepare("SELECT chain FROM audit_checkpoints WHERE dropping = 1")?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes some of the dropped entries of these chains. How many of them, from the first on, have none left. On disk when
    /// it returns; nothing of it is there when it fails.
    pub(in crate::store) fn drop_some(&mut self, chains: &[[u8; 16]]) -> Result<usize, EngineError> {
        self.connection.execute_batch("PRAGMA secure_delete = ON")?;
        let done = self.drop_rows(chains);
        self.connection.execute_batch("PRAGMA secure_delete = FAST")?;
        done
    }

    fn drop_rows(&mut self, chains: &[[u8; 16]]) -> Result<usize, EngineError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut left, mut done) = (MOST, 0);
        for chain in chains {
            for sql in SOME {
                let most = i64::try_from(left).unwrap_or(i64::MAX);
                left -= transaction.prepare_cached(sql)?.execute((chain, most))?.min(left);
            }
            if left == 0 {
                break;
            }
            transaction
                .prepare_cached("UPDATE audit_checkpoints SET dropping = 0 WHERE chain = ?")?
                .execute([chain])?;
            done += 1;
        }
        dies_at!("audit-drop-written");
        transaction.commit()?;
        dies_at!("audit-drop-durable");
        Ok(done)
    }
}

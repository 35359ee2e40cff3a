//! Older entries of the audit log go once they are exported: an entry of each chain says where it begins from then on, alone in
//! its commit, and rows that nobody reads any more go little by little after it, also after a start.

use super::audit::{Cut, key};
use super::batch::{Batch, Failure, Stop};
use super::checkpoint::stop_after_disk_failure;
use super::deletion::STEP_BYTES;
use super::writer::Writer;
use crate::clock::boot;

/// Chains of which one step deletes rows at most.
const MOST_CHAINS: usize = 50;

impl Writer {
    /// A step in which rows go that were dropped. Whether there was something to do.
    pub(super) fn forget_cut(&mut self) -> Result<bool, Failure> {
        if self.ledger.cut.is_empty() {
            return Ok(false);
        }
        self.forgot = boot();
        let chains: Vec<_> = self.ledger.cut.iter().take(MOST_CHAINS).copied().collect();
        let done = self.sqlite.drop_some(&chains).inspect_err(stop_after_disk_failure).map_err(Failure::from);
        let done = done.inspect_err(|failure| self.tell(failure, "dropped entries could not be deleted yet"))?;
        self.checkpointer.grown(STEP_BYTES);
        self.ledger.cut.drain(..done);
        Ok(true)
    }
}

impl Batch<'_> {
    /// Says in these chains that they begin later. Answers which do.
    pub(super) fn begin_later(&mut self, cuts: &[Cut]) -> Result<Vec<[u8; 16]>, Stop> {
        let (key, mut chains) = (key(self.rows)?, Vec::new());
        for cut in cuts {
            // Somebody may have been quicker; and nothing goes that is not what was exported.
            let last = self.rows.audit_entry(cut.chain, cut.sequence)?;
            if last.is_some_and(|row| row.hash == cut.hash) {
                self.append_audit(cut.chain, &cut.draft(self.now, &key), "system", "")?;
                chains.push(cut.chain);
            }
        }
        Ok(chains)
    }
}

//! The writer brings the rows up to the journal: in a commit of calls, or alone.

use std::sync::Arc;

use metergate_rules::time::SECOND;

use super::batch::Failure;
use super::decided::Decided;
use super::dirty::DirtyAccount;
use super::fold::{Pace, Step};
use super::writer::Writer;
use crate::clock::boot;
use crate::dies_at;

/// Accounts whose listing is brought up to the journal in one commit at start.
const STEP: usize = 1024;
/// For how long rows are written when the store is closed. What is left then is read from the journal at the next start.
const CLOSING: i64 = 10 * SECOND;

impl Writer {
    /// The next rows that are behind.
    pub(super) fn next_step(&mut self, sequence: u64, idle: bool) -> Step {
        let (began, (most, after)) = (boot(), self.fold.next(idle));
        self.ledger.look_at_next(&self.sqlite, after, most);
        let mut step = self.fold.step(&self.ledger.dirty.read(), sequence, idle);
        step.looked = boot() - began;
        step
    }

    /// Without traffic: a commit of rows alone.
    pub(super) fn write_rows(&mut self, idle: bool) -> Result<(), Failure> {
        let step = self.next_step(self.ledger.sequence, idle);
        dies_at!("idle-rows-chosen");
        let written = self.commit_with(Decided::nothing(self.ledger.last), step);
        dies_at!("idle-rows-written");
        if let Err(failure) = &written {
            self.tell(failure, "rows could not be written; they stay behind the journal");
        }
        written.map(drop)
    }

    /// Writes the rows of organizations whose listing a start found behind the journal.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be written.
    pub(super) fn write_listings(&mut self) -> Result<(), Failure> {
        loop {
            let changed = |dirty: &&Arc<DirtyAccount>| dirty.changed;
            let accounts: Vec<_> = self.ledger.dirty.read().all().filter(changed).take(STEP).map(Arc::clone).collect();
            if accounts.is_empty() {
                return Ok(());
            }
            dies_at!("start-listings-chosen");
            let step = self.fold.aside(accounts);
            self.commit_with(Decided::nothing(self.ledger.last), step)?;
        }
    }

    /// The inbox is closed: rows are written for a while.
    pub(super) fn finish(&mut self) {
        let began = boot();
        let mut written = Ok(());
        while written.is_ok()
            && self.settings.pace == Pace::Tenth
            && boot() - began < CLOSING
            && !self.fold.is_done(&self.ledger.dirty.read(), self.ledger.sequence)
        {
            written = self.write_rows(true);
        }
        self.checkpointer.close(&self.sqlite);
    }
}

//! Answers under idempotency keys are kept as long as ids are; then they go, some at a time.

use metergate_rules::time::HOUR;

use super::batch::Failure;
use super::checkpoint::stop_after_disk_failure;
use super::deletion::STEP_BYTES;
use super::writer::Writer;
use crate::clock::boot;

/// How often it is looked whether some have been kept for long enough, in microseconds.
const EVERY: i64 = HOUR;

impl Writer {
    /// A step in which answers go that are not given again. Whether there was something to do.
    pub(super) fn forget_answers(&mut self) -> Result<bool, Failure> {
        if boot() < self.answers_due {
            return Ok(false);
        }
        self.forgot = boot();
        let before = self.now().plus(-self.settings.keep_ids);
        let step = self.sqlite.forget_answers(before).inspect_err(stop_after_disk_failure).map_err(Failure::from);
        let gone = step.inspect_err(|failure| self.tell(failure, "kept answers could not be deleted yet"))?;
        if gone == 0 {
            self.answers_due = boot() + EVERY;
        } else {
            self.checkpointer.grown(STEP_BYTES);
        }
        Ok(gone > 0)
    }
}

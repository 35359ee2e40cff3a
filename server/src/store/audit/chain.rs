//! A chain as far as it was gone through.

use super::cut::{beginning, origin};
use super::{AuditRow, Broken, Cut, follow};
use crate::store::error::EngineError;
use crate::store::ledger::Head;
use crate::store::rows::Rows;

/// A chain as far as it was gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Which.
    pub(in crate::store) name: [u8; 16],
    /// The last entry that fits.
    pub(in crate::store) head: Head,
    /// Whether one did not.
    pub(in crate::store) broken: bool,
}

/// A chain before its first entry.
pub struct Begun {
    /// The chain.
    pub chain: Chain,
    /// What was dropped before that entry.
    pub cut: Option<Cut>,
    /// Why it cannot be said where it begins.
    pub broken: Option<Broken>,
}

impl Chain {
    /// Before the first entry that is kept.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn begin(rows: &dyn Rows, name: [u8; 16]) -> Result<Begun, EngineError> {
        let (cut, broken) = match beginning(rows, name)? {
            Ok(cut) => (cut, None),
            Err(broken) => (None, Some(broken)),
        };
        let chain = Self { name, head: origin(cut.as_ref()), broken: broken.is_some() };
        Ok(Begun { chain, cut, broken })
    }

    /// Which.
    pub const fn name(&self) -> [u8; 16] {
        self.name
    }

    /// The place and the hash of the last entry that fits.
    pub const fn end(&self) -> (u64, metergate_rules::audit::Hash) {
        (self.head.sequence, self.head.hash)
    }

    /// Whether an entry did not fit.
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether an entry comes before those that are kept, and only waits to be deleted.
    pub(in crate::store) const fn is_dropped(&self, row: &AuditRow) -> bool {
        1 <= row.sequence && row.sequence <= self.head.sequence
    }

    /// The first entry that does not fit is told; what comes after it proves nothing.
    ///
    /// # Errors
    /// [`Broken`] tells of it.
    pub fn follow(&mut self, row: &AuditRow) -> Result<(), Broken> {
        if self.broken {
            return Ok(());
        }
        match follow(self.head, row) {
            Ok(head) => self.head = head,
            Err(broken) => {
                self.broken = true;
                return Err(broken);
            }
        }
        Ok(())
    }
}

//! A chain as far as it was gone through.

use super::{AuditRow, Broken, follow};
use crate::store::ledger::Head;

/// A chain as far as it was gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Chain {
    /// Which.
    pub(in crate::store) name: [u8; 16],
    /// The last entry that fits.
    pub(in crate::store) head: Head,
    /// Whether one did not.
    pub(in crate::store) broken: bool,
}

impl Chain {
    pub(in crate::store) const fn begin(name: [u8; 16]) -> Self {
        Self { name, head: Head::EMPTY, broken: false }
    }

    /// The first entry that does not fit is told; what comes after it proves nothing.
    pub(in crate::store) fn follow(&mut self, row: &AuditRow) -> Result<(), Broken> {
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

//! Refusals of which nobody was told yet are handed over, so that whichever node tells next counts those of all.

use metergate_rules::time::SECOND;

use super::Shared;
use super::turn::SHORTLY;
use crate::clock::boot;
use crate::store::batch::Failure;
use crate::store::error::EngineError;
use crate::store::postgres::BEGIN;
use crate::store::refusals::{Refused, row_of};

/// How often what was counted is handed over, and how soon the rest of it, in microseconds.
const EVERY: i64 = SECOND;
const REST: i64 = SECOND / 4;
/// Kinds that are handed over at a time: callers wait meanwhile.
const AT_ONCE: usize = 500;
/// How long a loop that ends hands over, in microseconds.
const AT_LAST: i64 = SECOND;

impl Shared {
    /// Hands over some of what this loop has counted, if it is time, or all of it if the loop ends.
    pub(super) fn hand_over(&mut self, ends: bool) {
        let began = boot();
        if self.ledger.refusals.is_empty() || (!ends && began < self.tending.handed_due) {
            return;
        }
        let mut is_more = self.hand_over_some();
        while is_more && ends && boot() - began < AT_LAST {
            is_more = self.hand_over_some();
        }
        self.tending.handed_due = boot() + if is_more { REST } else { EVERY };
    }

    /// Whether that was possible and there are more. What could not be handed over comes again behind all others: a row that
    /// somebody holds is in the way of those alone that go with it.
    fn hand_over_some(&mut self) -> bool {
        let some = self.ledger.refusals.some_after(self.tending.handed_to, AT_ONCE);
        self.tending.handed_to = some.last().map(|(of, _)| row_of(of));
        match self.again(1, |shared| shared.handed_over(&some)) {
            // Where nobody can say whether it is there, rather none than the same twice: a count is never too large.
            Ok(()) | Err(Failure::Store(EngineError::Unknown(_))) => self.ledger.refusals.forget(&some),
            Err(failure) => {
                if !matches!(failure, Failure::Store(EngineError::Contended(_))) {
                    self.tell(&failure, "refusals that nobody was told of yet stay with this node");
                }
                return false;
            }
        }
        !self.ledger.refusals.is_empty()
    }

    fn handed_over(&mut self, some: &[(Refused, u64)]) -> Result<(), Failure> {
        let session = self.connected()?;
        session.begin(BEGIN);
        session.later(SHORTLY, Vec::new());
        let done = session.hand_over(some).and_then(|()| session.commit());
        self.session = Some(session);
        Ok(done?)
    }
}

//! What early refusals need to hear from the loop: on which version of an account somebody was refused, and which version of it
//! may refuse less.

use std::collections::BTreeSet;

use metergate_rules::id::OrganizationId;
use metergate_rules::outcome::{Hold, What};

use super::Shared;
use super::turn::Held;
use crate::store::decided::Decided;
use crate::store::{DecidedReceipt, Receipt, Seen, StoreError};

impl Shared {
    /// Tells of each organization to which a commit may have given more, and from which version of its account on that holds.
    pub(super) fn tell_given(&self, decided: &Decided, held: &Held) {
        let Some(tell) = self.given.get() else { return };
        let given = decided.records.iter().filter(|(_, record)| may_give(&record.entry.what)).map(|(id, _)| *id);
        for organization in given.chain(decided.deleted).collect::<BTreeSet<OrganizationId>>() {
            let before = held.locked.get(&organization).map_or(0, |(version, _)| *version);
            tell(organization, (before + 1).unsigned_abs());
        }
    }

    /// An answer, with the version of the account on which it was decided where it is a refusal that nothing keeps. The version is
    /// that on which was decided: what the same commit gives, before or after it, has a higher one.
    pub(super) fn with_version(&self, answer: Result<Receipt, StoreError>, held: &Held) -> Result<Receipt, StoreError> {
        match answer {
            Ok(Receipt::Decided(receipt)) if self.given.get().is_some() => {
                Ok(Receipt::Decided(DecidedReceipt { seen: self.seen(&receipt, held), ..receipt }))
            }
            answer => answer,
        }
    }

    fn seen(&self, receipt: &DecidedReceipt, held: &Held) -> Option<Seen> {
        let organization = *self.ledger.keys.get(&receipt.organization)?;
        let (version, _) = held.locked.get(&organization)?;
        // Of a clock that a test sets nobody else knows what it says.
        let keeps_time = self.ledger.accounts.get(&organization)?.clock.is_none();
        let is_kept = receipt.place.is_some() || receipt.replayed;
        (keeps_time && !is_kept).then_some(Seen { organization, version: version.unsigned_abs() })
    }
}

/// Whether somebody who was refused before may be allowed after it. Use alone gives nothing.
fn may_give(what: &What) -> bool {
    match what {
        What::Decided(_) | What::Recorded(_) | What::Image(_) | What::Completed(_) | What::Noticed(_) => false,
        What::Reservation(hold) => matches!(**hold, Hold::Settled(_) | Hold::Released(_)),
        What::Due(_) | What::Changed(_) => true,
    }
}

//! Finding the record that is to be completed, and what is known of how it ended.

use metergate_rules::command::{Command, Completable, Completing, Completion, EventName};
use metergate_rules::decide::Problem;
use metergate_rules::id::OrganizationId;
use metergate_rules::outcome::{Hold, VoidedEvent, What};

use super::correct::uses_of;
use super::search::Search;
use super::{Batch, Stop};
use crate::faults::planted;
use crate::store::Key;
use crate::store::block::{Place, Record};
use crate::store::known::Id;

/// A record has two things to complete, so it is completed twice at most, each time under an id of its own.
pub(super) const STEPS: u8 = 2;

impl Batch<'_> {
    /// With the record, and what is known of it.
    pub(super) fn with_record(
        &mut self,
        organization: OrganizationId,
        name: &EventName,
        said: Completion,
    ) -> Result<Command, Stop> {
        let (place, record, meter) = self.named(organization, name)?;
        if uses_of(&record, meter).is_empty() {
            return Err(Problem::UnknownEvent.into());
        } else if record.entry.what.calls().is_some() {
            // How long each call took was said with it.
            return Err(Problem::AlreadyComplete.into());
        }
        let (known, completed) = match planted("completed-anew") {
            true => (own_outcome(&record), 0),
            false => self.outcome_of(organization, place, &record)?,
        };
        let event = VoidedEvent { sequence: place.sequence, offset: place.offset, meter, recorded_at: record.entry.at };
        let found = Completable { event, uses: uses_of(&record, None), known, said, completed };
        Ok(Command::Complete(Completing::Found(Box::new(found))))
    }

    /// What is known of how a record ended, by itself and by what was said later; and how often that was.
    pub(super) fn outcome_of(
        &mut self,
        organization: OrganizationId,
        place: Place,
        record: &Record,
    ) -> Result<(Completion, u8), Stop> {
        for step in (0..STEPS).rev() {
            let key = Key::Completed(place, step);
            if let Search::Found(found, _) = self.find(organization, Id::Key(&key))?
                && let What::Completed(completed) = found.entry.what
            {
                return Ok((completed.outcome, step + 1));
            }
        }
        Ok((own_outcome(record), 0))
    }
}

/// What a record itself says.
fn own_outcome(record: &Record) -> Completion {
    match &record.entry.what {
        What::Decided(decided) => decided.outcome,
        What::Recorded(recorded) => recorded.event.outcome,
        What::Reservation(hold) => match &**hold {
            Hold::Settled(settled) => settled.outcome,
            Hold::Made { .. } | Hold::Extended { .. } | Hold::Released(_) => Completion::default(),
        },
        What::Due(_) | What::Changed(_) | What::Image(_) | What::Completed(_) | What::Noticed(_) => {
            Completion::default()
        }
    }
}

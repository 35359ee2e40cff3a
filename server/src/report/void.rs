//! Finding an event of which only the records are kept: what happened lately is found by its id.

use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::outcome::{Hold, VoidedEvent, What};
use metergate_rules::time::{HOUR, Time};

use super::Report;
use super::events::DECISION_SOURCE;
use super::reservations::ReservationRef;
use crate::store::Key;
use crate::store::block::Record;
use crate::store::reader::ReadError;

/// Records that are looked at for one event at most.
const MOST_RECORDS: usize = 500_000;
/// What is found by its id may be so much older by another clock, such as the database's.
const CLOCKS: i64 = HOUR;

impl Report<'_> {
    /// Whether the organization may have records from before this, as far as they are kept. A test organization's clock says nothing
    /// of when they were made.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn has_older(&self, organization: &OrganizationRef, before: Time) -> Result<bool, ReadError> {
        let profile = self.view.account(self.scope, organization)?.profile;
        Ok(profile.test || profile.created_at < before)
    }

    /// Where an event that came `before` stands, as `GET /v1/events` names it, by its source and id; `None` where it is not kept, or
    /// too many records have come after it before that time.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller.
    pub fn place_of(
        &self,
        organization: &OrganizationRef,
        before: Time,
        (source, id): (&str, &str),
    ) -> Result<Option<VoidedEvent>, ReadError> {
        let account = self.view.account(self.scope, organization)?;
        // By its own clock a test organization's records may be from any time.
        let newest = match account.profile.test {
            true => u64::MAX,
            false => self.view.last_before(account.id, before.plus(CLOCKS))?,
        };
        let (mut found, mut looked) = (None, 0);
        self.view.records(account.id, newest, |sequence, offset, record| {
            looked += 1;
            found = self.named(account.id, (sequence, offset), &record, source, id);
            found.is_none() && looked < MOST_RECORDS
        })?;
        Ok(found)
    }

    /// The record as the event of that name, if it is it.
    fn named(
        &self,
        organization: OrganizationId,
        (sequence, offset): (u64, u32),
        record: &Record,
        source: &str,
        id: &str,
    ) -> Option<VoidedEvent> {
        let at = |meter| VoidedEvent { sequence, offset, meter, recorded_at: record.entry.at };
        let meter = source.strip_prefix(DECISION_SOURCE);
        match &record.entry.what {
            What::Recorded(recorded) => {
                let event = &recorded.event;
                (event.source.as_str() == source && event.id.as_str() == id).then(|| at(None))
            }
            What::Decided(decided) => {
                let is_it = match &record.key {
                    Some(Key::Decision(_, own) | Key::Together(own)) => own.as_str() == id,
                    Some(Key::Header(..) | Key::Reservation(_) | Key::Ended(_) | Key::Completed(..)) | None => {
                        format!("{sequence}-{offset}") == id
                    }
                };
                let mut uses = decided.uses.iter().filter(|used| is_it && used.follows.is_none());
                uses.find(|used| Some(self.catalogue.meter_key(used.meter)) == meter).map(|used| at(Some(used.meter)))
            }
            What::Reservation(hold) => {
                let Hold::Settled(settled) = &**hold else { return None };
                let own = ReservationRef { organization, number: settled.id }.to_string();
                let used = settled.uses.first()?;
                let is_it = own == id && Some(self.catalogue.meter_key(used.meter)) == meter;
                is_it.then(|| at(Some(used.meter)))
            }
            What::Due(_) | What::Changed(_) | What::Image(_) | What::Completed(_) | What::Noticed(_) => None,
        }
    }
}

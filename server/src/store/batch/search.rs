//! Finding out whether an id has been seen: in this batch, or in the journal.

use metergate_rules::id::OrganizationId;
use metergate_rules::outcome::What;

use super::{Batch, Stop};
use crate::store::StoreError;
use crate::store::block::{Place, Record};
use crate::store::known::Id;
use crate::store::sqlite::{SqliteError, unreadable};

/// Where a record is found.
pub(super) enum Spot {
    /// Among the batch's records, at this index: it has no place yet.
    Batch(usize),
    /// In the journal.
    Journal(Place),
}

/// What a search found.
pub(super) enum Search {
    /// Something was made under this id.
    Found(Box<Record>, Spot),
    /// The id is new, and will be known on this attempt.
    New(u32),
}

impl Batch<'_> {
    /// Looks an id up in this batch and in the journal.
    pub(super) fn search(&self, organization: OrganizationId, id: Id<'_>) -> Result<Search, Stop> {
        for attempt in 0.. {
            if let Some(&index) = self.fresh.get(&(organization, self.ledger.known.hash(organization, id, attempt))) {
                let record = &self.records[index].1;
                if Id::of(record) == Some(id) {
                    return Ok(Search::Found(Box::new(record.clone()), Spot::Batch(index)));
                }
                continue;
            }
            let Some(place) = self.ledger.known.candidate(organization, id, attempt) else {
                return Ok(Search::New(attempt));
            };
            let Some((owner, record)) = self.read(place)? else { return Ok(Search::New(attempt)) };
            if owner == organization && Id::of(&record) == Some(id) {
                let gone = self.is_forgotten(&record);
                return Ok(if gone {
                    Search::New(attempt)
                } else {
                    Search::Found(Box::new(record), Spot::Journal(place))
                });
            }
        }
        Err(StoreError::Internal.into())
    }

    pub(super) fn read(&self, place: Place) -> Result<Option<(OrganizationId, Record)>, SqliteError> {
        let Some(block) = self.ledger.block(self.sqlite, place.sequence)? else { return Ok(None) };
        block.at(place.offset).map(Some).map_err(|error| unreadable(format!("block {}", place.sequence), error))
    }

    /// Whether an id has been kept for long enough.
    pub(super) fn is_forgotten(&self, record: &Record) -> bool {
        let refused = matches!(&record.entry.what, What::Decided(decided) if decided.uses.is_empty());
        let kept = if refused { self.settings.keep_refused } else { self.settings.keep_ids };
        record.entry.at.plus(kept) <= self.now
    }

    pub(super) fn remember(&mut self, organization: OrganizationId, index: usize, attempt: u32) {
        let Some(id) = Id::of(&self.records[index].1) else { return };
        self.fresh.insert((organization, self.ledger.known.hash(organization, id, attempt)), index);
        self.ids.push((index, attempt));
    }
}

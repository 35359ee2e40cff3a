//! Finding out whether an id has been seen: in this batch, or in the journal.

use metergate_rules::id::OrganizationId;
use metergate_rules::outcome::What;

use super::{Batch, Stop};
use crate::store::block::{Key, Place, Record};
use crate::store::error::EngineError;
use crate::store::known::{Id, NEWEST};

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
    /// The id is new, and has this hash.
    New(u64),
}

impl Batch<'_> {
    /// Looks an id up in this batch and in the journal.
    pub(super) fn search(&mut self, organization: OrganizationId, id: Id<'_>) -> Result<Search, Stop> {
        Ok(match self.find(organization, id)? {
            // A test organization's times say nothing of how long ago something was.
            Search::Found(record, Spot::Journal(_))
                if self.is_forgotten(&record) && !self.account(organization)?.profile.test =>
            {
                Search::New(self.ledger.known.hash(organization, id))
            }
            found => found,
        })
    }

    /// The same however long ago it was, as far as it can still be told.
    pub(super) fn find(&mut self, organization: OrganizationId, id: Id<'_>) -> Result<Search, Stop> {
        let hash = self.ledger.known.hash(organization, id);
        for (_, index) in self.fresh.iter_hash(hash).filter(|(other, _)| *other == hash) {
            let (owner, record) = &self.records[*index];
            if *owner == organization && Id::of(record) == Some(id) {
                return Ok(Search::Found(Box::new(record.clone()), Spot::Batch(*index)));
            }
        }
        let mut before = NEWEST;
        while let Some(place) =
            self.ledger.candidate(self.rows, organization, hash, before).map_err(|error| damaged(&error))?
        {
            match self.ledger.record(self.rows, organization, place).map_err(|error| damaged(&error))? {
                Some(record) if Id::of(&record) == Some(id) => {
                    return Ok(Search::Found(Box::new(record), Spot::Journal(place)));
                }
                _ => before = place,
            }
        }
        Ok(Search::New(hash))
    }

    /// Whether an id under which something passed undecided stands for something else by now: a refusal, or another request,
    /// that came to the record first. Then what passed counts beside it.
    pub(super) fn is_taken(&mut self, organization: OrganizationId, under: Option<&(Key, u64)>) -> Result<bool, Stop> {
        let Some((key, fingerprint)) = under else { return Ok(false) };
        let Search::Found(record, _) = self.search(organization, Id::Key(key))? else { return Ok(false) };
        Ok(is_refused(&record) || record.fingerprint != *fingerprint)
    }

    /// Whether an id has been kept for long enough.
    pub(super) fn is_forgotten(&self, record: &Record) -> bool {
        let kept = if is_refused(record) { self.settings.keep_refused } else { self.settings.keep_ids };
        record.entry.at.plus(kept) <= self.now
    }

    /// The last of the records from `first` on, but for what it has others told, which stands behind it.
    pub(super) fn last_record(&self, first: usize) -> Option<usize> {
        let is_first = |(_, record): &(OrganizationId, Record)| !matches!(record.entry.what, What::Noticed(_));
        self.records[first..].iter().rposition(is_first).map(|place| first + place)
    }

    /// The last record was made under an id of this hash.
    pub(super) fn remember(&mut self, hash: u64) {
        let Some(index) = self.last_record(0).filter(|last| Id::of(&self.records[*last].1).is_some()) else { return };
        self.fresh.insert_unique(hash, (hash, index), |(hash, _)| *hash);
        self.ids.push((index, hash));
    }
}

fn is_refused(record: &Record) -> bool {
    matches!(&record.entry.what, What::Decided(decided) if decided.uses.is_empty())
}

/// What cannot be read is neither new nor known. It is one request's trouble, not that of all in its batch.
fn damaged(error: &EngineError) -> Stop {
    tracing::error!(%error, "whether an id is known cannot be told");
    Stop::Request(error.into())
}

//! The ids of decisions and events that have been seen, and where each stands in the journal.
//!
//! Eight bytes of hash and eight of place an id. A hash that matches proves nothing: the record at its place is read and
//! compared before anything is called a repetition, so that two ids with one hash both count. Rebuilt from the blocks at
//! start.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use metergate_rules::id::{EventId, EventSource, OrganizationId};
use metergate_rules::outcome::What;

use super::block::{Key, Place, Record};

/// The id of something that counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id<'a> {
    /// Of a decision.
    Key(&'a Key),
    /// Of an event.
    Event(&'a EventSource, &'a EventId),
}

impl<'a> Id<'a> {
    /// The id under which a record was made, where it has one.
    pub fn of(record: &'a Record) -> Option<Self> {
        match &record.entry.what {
            What::Recorded(recorded) => Some(Self::Event(&recorded.event.source, &recorded.event.id)),
            _ => record.key.as_ref().map(Self::Key),
        }
    }
}

/// The ids that have been seen.
#[derive(Default)]
pub struct Known {
    hasher: RandomState,
    places: HashMap<u64, Place, foldhash::fast::RandomState>,
}

impl Known {
    /// The place at which `id` may stand, on the `attempt`th try from 0. The caller compares the record there; where it
    /// is another's, the next attempt follows. `None` ends the search: the id is new.
    pub fn candidate(&self, organization: OrganizationId, id: Id<'_>, attempt: u32) -> Option<Place> {
        self.places.get(&self.hash(organization, id, attempt)).copied()
    }

    /// Remembers `id`, on the attempt at which the search for it ended.
    pub fn insert(&mut self, organization: OrganizationId, id: Id<'_>, attempt: u32, place: Place) {
        self.places.insert(self.hash(organization, id, attempt), place);
    }

    /// How many ids are known.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The hash under which an id is kept, on this attempt.
    pub fn hash(&self, organization: OrganizationId, id: Id<'_>, attempt: u32) -> u64 {
        self.hasher.hash_one((organization, id, attempt))
    }
}

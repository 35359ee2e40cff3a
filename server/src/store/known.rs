//! The ids of decisions and events that have been seen, and where each stands in the journal.
//!
//! Of the open slice all are in memory, eight bytes of hash and eight of place an id, rebuilt from the blocks at start; of
//! closed slices they are in files, with a filter in memory. A hash that matches proves nothing: the record at its place is
//! read and compared before anything is called a repetition, so that two ids with one hash both count.

use std::hash::Hasher;
use std::sync::Arc;

use metergate_rules::id::{EventId, EventSource, OrganizationId};
use metergate_rules::outcome::What;
use siphasher::sip::SipHasher13;

use super::block::{Key, Place, Record};
use super::slice::{IdFile, IdTable, Probe, SliceError};
use crate::faults::planted;

/// What no place of an id is after.
pub const NEWEST: Place = Place { sequence: u64::MAX, offset: u32::MAX };
/// Ends a text in what is hashed: no text has it.
const END: u8 = 0xff;

/// The id of something that counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id<'a> {
    /// Of a decision.
    Key(&'a Key),
    /// Of an event.
    Event(&'a EventSource, &'a EventId),
}

impl<'a> Id<'a> {
    /// The id under which a record was made, where it has one. What passed undecided under a caller's id is an event under that.
    pub fn of(record: &'a Record) -> Option<Self> {
        match &record.entry.what {
            What::Recorded(recorded) if record.key.is_none() => {
                Some(Self::Event(&recorded.event.source, &recorded.event.id))
            }
            _ => record.key.as_ref().map(Self::Key),
        }
    }
}

/// How ids are hashed in this installation: for ever in the same way, since files hold the hashes, and under a key that
/// nobody knows, so that nobody can make them collide.
#[derive(Clone, Copy)]
pub struct IdHasher(SipHasher13);

impl IdHasher {
    /// With the key of the installation.
    pub fn new(key: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(key))
    }

    /// The hash of an organization's id.
    pub fn hash(&self, organization: OrganizationId, id: Id<'_>) -> u64 {
        let mut hasher = self.0;
        hasher.write(organization.bytes());
        let mut texts = |kind: u8, texts: [&str; 2]| {
            hasher.write(&[kind]);
            for text in texts {
                hasher.write(text.as_bytes());
                hasher.write(&[END]);
            }
        };
        match id {
            Id::Key(Key::Decision(meter, id)) => {
                texts(0, ["", id.as_str()]);
                hasher.write(&meter.0.to_le_bytes());
            }
            Id::Key(Key::Together(id)) => texts(1, ["", id.as_str()]),
            Id::Key(Key::Header(route, key)) => texts(2, [route, key.as_str()]),
            Id::Key(Key::Reservation(number)) => texts(4, ["", &number.0.to_string()]),
            Id::Key(Key::Ended(number)) => texts(5, ["", &number.0.to_string()]),
            Id::Key(Key::Completed(place, step)) => {
                texts(6, [&place.sequence.to_string(), &place.offset.to_string()]);
                hasher.write(&[*step]);
            }
            Id::Event(source, id) => texts(3, [source.as_str(), id.as_str()]),
        }
        // Four hashes for all ids: whoever trusts a hash is found out.
        if planted("ids-collide") { (hasher.finish() % 4) << 61 } else { hasher.finish() }
    }
}

/// The ids that have been seen.
pub struct Known {
    hasher: IdHasher,
    open: IdTable,
    /// Of the slice that is closing, until it is closed.
    closing: Option<Arc<IdTable>>,
    /// Of closed slices, oldest first.
    closed: Vec<Arc<IdFile>>,
}

impl Known {
    /// Those in files, with an open slice that begins at the block `first`.
    pub fn new(hasher: IdHasher, closed: Vec<Arc<IdFile>>, first: u64) -> Self {
        Self { hasher, open: IdTable::beginning_at(first, 0), closing: None, closed }
    }

    /// The hash under which an id is kept.
    pub fn hash(&self, organization: OrganizationId, id: Id<'_>) -> u64 {
        self.hasher.hash(organization, id)
    }

    /// The newest place before `before` at which an id of this hash stands. The caller compares the record there; where it
    /// is another's, the search goes on before it. `None` ends the search: the id is new.
    ///
    /// # Errors
    /// [`SliceError`] where a file cannot be read, or was changed.
    pub fn candidate(&self, hash: u64, before: Place) -> Result<Option<Place>, SliceError> {
        let in_memory = std::iter::once(&self.open).chain(self.closing.as_deref());
        if let Some(place) = in_memory.filter_map(|table| table.candidate(hash, before)).max() {
            return Ok(Some(place));
        }
        // All filters are asked before any answer is looked at: then the processor waits for their lines at once.
        let probe = Probe::of(hash);
        let maybe = self.closed.iter().fold(0_u64, |maybe, file| maybe << 1 | u64::from(file.may_have(&probe)));
        if maybe == 0 {
            return Ok(None);
        }
        for file in self.closed.iter().rev().filter(|file| file.may_have(&probe)) {
            if let Some(place) = file.candidate(hash, before)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Whether an id of this hash is in memory, whoever's it is.
    pub fn has_in_memory(&self, organization: OrganizationId, id: Id<'_>) -> bool {
        self.open.candidate(self.hash(organization, id), NEWEST).is_some()
    }

    /// Remembers an id of the open slice.
    pub fn insert(&mut self, hash: u64, place: Place) {
        self.open.insert(hash, place);
    }

    /// The ids of the open slice.
    pub const fn open(&self) -> &IdTable {
        &self.open
    }

    /// The files, oldest first.
    pub fn closed(&self) -> &[Arc<IdFile>] {
        &self.closed
    }

    /// How many ids are in memory.
    pub fn in_memory(&self) -> u64 {
        self.open.len() + self.closing.as_ref().map_or(0, |table| table.len())
    }

    /// Begins an open slice at the block `first`. Answers the ids of the one before, which are known as before.
    pub fn begin_to_close(&mut self, first: u64) -> Arc<IdTable> {
        let next = IdTable::beginning_at(first, self.open.len());
        let table = Arc::new(std::mem::replace(&mut self.open, next));
        self.closing = Some(Arc::clone(&table));
        table
    }

    /// Answers from the file instead of memory. What is needed no more is returned: it is large.
    #[must_use]
    pub fn close(&mut self, file: Option<Arc<IdFile>>) -> Option<Arc<IdTable>> {
        self.closed.extend(file);
        self.closing.take()
    }

    /// Answers from one file instead of those whose ids it has. They are returned.
    pub fn replace(&mut self, merged: Arc<IdFile>) -> Vec<Arc<IdFile>> {
        let extent = merged.extent();
        let within = |file: &Arc<IdFile>| extent.first <= file.extent().first && file.extent().last <= extent.last;
        let at = self.closed.iter().position(within).unwrap_or(self.closed.len());
        let replaced = self.closed.extract_if(.., |file| within(file)).collect();
        self.closed.insert(at, merged);
        replaced
    }

    /// Forgets the oldest file.
    pub fn forget_oldest(&mut self) -> Option<Arc<IdFile>> {
        (!self.closed.is_empty()).then(|| self.closed.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metergate_rules::id::{DecisionId, IdempotencyKey, MeterId};

    #[test]
    fn hashes_are_the_same_for_ever_and_differ_by_key_kind_and_part() {
        let hasher = IdHasher::new(&[7; 16]);
        let (a, b) = (OrganizationId([1; 16]), OrganizationId([2; 16]));
        let decision = |meter, id: &str| Key::Decision(MeterId(meter), DecisionId::new(id).unwrap());
        let header = |route: &str, key: &str| Key::Header(route.into(), IdempotencyKey::new(key).unwrap());
        let keys = [
            decision(1, "x"),
            decision(2, "x"),
            Key::Together(DecisionId::new("x").unwrap()),
            header("r", "x"),
            header("rx", "x"),
            header("r", "xx"),
        ];
        let events = [("r", "x"), ("rx", "x"), ("r", "xx"), ("x", "r")]
            .map(|(source, id)| (EventSource::new(source).unwrap(), EventId::new(id).unwrap()));
        let ids = keys.iter().map(Id::Key).chain(events.iter().map(|(source, id)| Id::Event(source, id)));
        let mut hashes: Vec<_> = ids.flat_map(|id| [hasher.hash(a, id), hasher.hash(b, id)]).collect();
        assert_eq!(hashes[0], 14_258_440_298_173_481_442, "a file of another version would not be understood");
        hashes.extend([IdHasher::new(&[8; 16]).hash(a, Id::Key(&keys[0]))]);
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn equal_hashes_are_candidates_one_after_the_other_wherever_they_are() {
        let place = |sequence, offset| Place { sequence, offset };
        let mut known = Known::new(IdHasher::new(&[0; 16]), Vec::new(), 1);
        let mut expected = Vec::new();
        for sequence in 1..=3 {
            for offset in [4, 8] {
                known.insert(42, place(sequence, offset));
                expected.insert(0, place(sequence, offset));
            }
            if sequence == 2 {
                known.begin_to_close(3);
            }
        }
        let mut found = Vec::new();
        while let Some(next) = known.candidate(42, found.last().copied().unwrap_or(NEWEST)).unwrap() {
            found.push(next);
        }
        assert_eq!(found, expected);
        assert_eq!(known.in_memory(), 6);
    }
}

//! The block: what one commit made happen, packed into one row of the journal.
//!
//! Version 14: one byte `14`; CRC-32 of the rest, little-endian; the directory (a postcard list of organization, length in
//! bytes and number of records, in order of organization); the ids (bytes: of each record that counts once, in order, how
//! far it begins after the one before or after the ids, as a variable-length integer, and the hash of its id, eight bytes,
//! little-endian); then the records of each organization, each a postcard value after the other, in the order in which
//! they happened. A record's offset in its block, with the block's sequence, is its place.
//!
//! A start reads directories and ids alone, and decodes no record. Where ids are rows of their own, blocks have none.
//!
//! Version 15 is what was one organization's in such a block, in a journal of its own (`moving.rs`): one byte `15`, CRC-32, four
//! bytes with the offset of its first record in the block that it was in, and then as above. So places stay what they were.

use std::borrow::Cow;

use metergate_rules::id::{DecisionId, IdempotencyKey, MeterId, OrganizationId, ReservationId};
use metergate_rules::outcome::Entry;
use serde::{Deserialize, Serialize};

mod pack;

pub use pack::{order, pack, pack_alone, pack_some};

/// What the directory says of an organization: how many bytes and how many records are its own.
type Listed = (OrganizationId, u32, u32);

/// The version that is written.
pub(super) const VERSION: u8 = 14;
/// Of what was in a block with others, and is alone.
const ALONE: u8 = 15;
/// Where the directory begins; of a block that is [`ALONE`] after the offset of its first record.
const HEADER: usize = 5;

/// Under which id a caller had a decision made. Each kind is a space of its own; the ids of events are another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Key {
    /// The `id` of a decision on one meter.
    Decision(MeterId, DecisionId),
    /// The `id` of a decision on several meters together.
    Together(DecisionId),
    /// The number of a reservation, under which it was made.
    Reservation(ReservationId),
    /// The `Idempotency-Key` of a decision without an id, with its route.
    Header(Box<str>, IdempotencyKey),
    /// The number of a reservation, under which it was committed or released.
    Ended(ReservationId),
    /// The place of a record that was completed, and how often it had been before.
    Completed(Place, u8),
}

/// An entry of the journal with the id under which it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The caller's id.
    pub key: Option<Key>,
    /// A hash of what was asked, to tell another request under the same id.
    pub fingerprint: u64,
    /// What happened.
    pub entry: Entry,
}

/// Where a record stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The block.
    pub sequence: u64,
    /// Its offset in the block.
    pub offset: u32,
}

/// Why a block cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The row ends too early.
    #[error("it is cut short")]
    Short,
    /// Another version of the program wrote it.
    #[error("it has format version {0}, which this program does not read: another version of it wrote it")]
    Version(u8),
    /// Its bytes are not those that were written.
    #[error("its checksum does not match: the stored bytes have changed")]
    Checksum,
    /// It does not hold what the version says.
    #[error("it is malformed: {0}")]
    Malformed(#[from] postcard::Error),
}

/// A block as it is stored, checked.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    data: Cow<'a, [u8]>,
    directory: Vec<Listed>,
    /// Where the ids begin.
    ids: usize,
    /// Where the records begin.
    base: usize,
    /// The offset of the first record.
    first: u32,
}

impl<'a> Block<'a> {
    /// Reads the directory of a stored block.
    ///
    /// # Errors
    /// [`Unreadable`] where the bytes are not a block that was written.
    pub fn read(data: impl Into<Cow<'a, [u8]>>) -> Result<Self, Unreadable> {
        let data = data.into();
        let (header, rest) = data.split_at_checked(HEADER).ok_or(Unreadable::Short)?;
        if ![VERSION, ALONE].contains(&header[0]) {
            return Err(Unreadable::Version(header[0]));
        }
        if header[1..] != crc32fast::hash(rest).to_le_bytes() {
            return Err(Unreadable::Checksum);
        }
        let (first, rest) = match header[0] {
            ALONE => rest.split_first_chunk().map(|(first, rest)| (Some(u32::from_le_bytes(*first)), rest)),
            _ => Some((None, rest)),
        }
        .ok_or(Unreadable::Short)?;
        let ((directory, ids), rest) = postcard::take_from_bytes::<(Vec<Listed>, usize)>(rest)?;
        let listed = directory.iter().map(|(_, length, _)| *length as usize).sum::<usize>();
        if ids.checked_add(listed) != Some(rest.len()) {
            return Err(Unreadable::Short);
        }
        let (ids, base) = (data.len() - rest.len(), data.len() - listed);
        Ok(Self { directory, ids, first: first.unwrap_or(base as u32), base, data })
    }

    /// The hashes of the ids in it, each with the offset of its record, in order.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`] where they cannot be read.
    pub fn ids(&self) -> impl Iterator<Item = Result<(u32, u64), Unreadable>> {
        let (mut rest, mut offset) = (&self.data[self.ids..self.base], self.first);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let read = postcard::take_from_bytes::<(u32, [u8; 8])>(rest).map(|((further, hash), after)| {
                (rest, offset) = (after, offset.wrapping_add(further));
                (offset, u64::from_le_bytes(hash))
            });
            if read.is_err() {
                rest = &[];
            }
            Some(read.map_err(Unreadable::from))
        })
    }

    /// The organizations in it.
    pub fn organizations(&self) -> impl Iterator<Item = OrganizationId> {
        self.directory.iter().map(|(organization, ..)| *organization)
    }

    /// How many records each organization has in it, in the same order.
    pub fn counts(&self) -> impl Iterator<Item = u32> {
        self.directory.iter().map(|(_, _, count)| *count)
    }

    /// The records of each organization, not decoded.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        self.directory.iter().scan(self.base, |start, (organization, length, _)| {
            let (from, to) = (*start, *start + *length as usize);
            *start = to;
            let start = self.first + (from - self.base) as u32;
            Some(Run { organization: *organization, start, bytes: &self.data[from..to] })
        })
    }

    /// The records of one organization in the order in which they happened, each with its offset.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`] where a record cannot be read.
    pub fn of(&self, organization: OrganizationId) -> Result<Vec<(u32, Record)>, Unreadable> {
        self.runs().find(|run| run.organization == organization).map_or_else(|| Ok(Vec::new()), |run| run.records())
    }

    /// All records, with organization and offset.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`] where a record cannot be read.
    pub fn all(&self) -> Result<Vec<(OrganizationId, u32, Record)>, Unreadable> {
        let mut all = Vec::new();
        for run in self.runs() {
            let records = run.records()?.into_iter();
            all.extend(records.map(|(offset, record)| (run.organization, offset, record)));
        }
        Ok(all)
    }

    /// The record at an offset, with its organization.
    ///
    /// # Errors
    /// [`Unreadable`] where there is none.
    pub fn at(&self, offset: u32) -> Result<(OrganizationId, Record), Unreadable> {
        for run in self.runs() {
            if let Some(record) = run.at(offset)? {
                return Ok((run.organization, record));
            }
        }
        Err(Unreadable::Short)
    }
}

/// The records of one organization in one block, as bytes until they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// Whose.
    pub organization: OrganizationId,
    /// The offset of the first in its block.
    pub start: u32,
    /// Each a postcard value after the other.
    pub bytes: &'a [u8],
}

impl Run<'_> {
    /// The records in the order in which they happened, each with its offset in the block.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`] where a record cannot be read.
    pub fn records(&self) -> Result<Vec<(u32, Record)>, Unreadable> {
        let (mut records, mut rest) = (Vec::new(), self.bytes);
        while !rest.is_empty() {
            let offset = self.start + (self.bytes.len() - rest.len()) as u32;
            let (record, after) = postcard::take_from_bytes(rest)?;
            records.push((offset, record));
            rest = after;
        }
        Ok(records)
    }

    /// The record at an offset in the block; `None` where that is outside of these.
    ///
    /// # Errors
    /// [`Unreadable::Malformed`] where no record can be read there.
    pub fn at(&self, offset: u32) -> Result<Option<Record>, Unreadable> {
        let start = offset.checked_sub(self.start).map(|start| start as usize);
        match start.and_then(|start| self.bytes.get(start..)).filter(|body| !body.is_empty()) {
            Some(body) => Ok(Some(postcard::take_from_bytes(body)?.0)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metergate_rules::outcome::{Effect, What};
    use metergate_rules::time::{Span, Time};

    fn record(at: i64) -> Record {
        let at = Time::from_micros(at);
        let what = What::Due(Effect::DayBegan(Span { start: at, end: at.plus(1) }));
        Record { key: None, fingerprint: 7, entry: Entry { at, what } }
    }

    #[test]
    fn records_are_found_by_organization_and_by_offset() {
        let (a, b) = (OrganizationId([1; 16]), OrganizationId([2; 16]));
        let packed = [(b, record(1)), (a, record(2)), (b, record(3))];
        let (data, offsets) = pack(&packed, &order(&packed), &[(2, 7), (1, u64::MAX)]).unwrap();
        let block = Block::read(&data).unwrap();
        assert_eq!(block.organizations().collect::<Vec<_>>(), [a, b]);
        assert_eq!(block.of(b).unwrap(), [(offsets[0], record(1)), (offsets[2], record(3))]);
        for ((organization, record), offset) in packed.iter().zip(&offsets) {
            assert_eq!(block.at(*offset).unwrap(), (*organization, record.clone()));
        }
        assert_eq!(block.all().unwrap().len(), 3);
        let ids: Vec<_> = block.ids().map(Result::unwrap).collect();
        assert_eq!(ids, [(offsets[1], u64::MAX), (offsets[2], 7)]);
        assert_eq!(block.counts().collect::<Vec<_>>(), [1, 2]);
        assert!(block.of(OrganizationId([3; 16])).unwrap().is_empty());
    }

    #[test]
    fn what_was_in_a_block_with_others_has_the_same_offsets_alone() {
        let (a, b) = (OrganizationId([1; 16]), OrganizationId([2; 16]));
        let packed = [(b, record(1)), (a, record(2)), (b, record(3))];
        let (data, _) = pack(&packed, &order(&packed), &[]).unwrap();
        let block = Block::read(&data).unwrap();
        for run in block.runs() {
            let alone = pack_alone(&run).unwrap();
            let alone = Block::read(&alone).unwrap();
            assert_eq!(
                alone.all().unwrap(),
                block.all().unwrap().into_iter().filter(|(of, ..)| *of == run.organization).collect::<Vec<_>>()
            );
            for (offset, record) in run.records().unwrap() {
                assert_eq!(alone.at(offset).unwrap(), (run.organization, record));
            }
        }
    }

    #[test]
    fn changed_bytes_are_found() {
        let (data, _) = pack(&[(OrganizationId([1; 16]), record(1))], &[0], &[(0, 3)]).unwrap();
        for i in 0..data.len() {
            let mut changed = data.clone();
            changed[i] ^= 0x10;
            assert!(Block::read(&changed).is_err(), "byte {i}");
            assert!(Block::read(&data[..i]).is_err(), "cut at {i}");
        }
    }
}

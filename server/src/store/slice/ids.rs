//! The ids of closed slices in a file: all in the order of their hashes, in pages, with a filter that is kept in memory.
//!
//! A page has the ids whose hashes begin alike, so the hash says which page to read: a CRC-32, then for each id its hash,
//! block and offset, 20 bytes, little-endian, in order. After the pages the filter is a section of its own.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::file::{Damage, Finished, Kind, Section, Writing};
use super::filter::{Filter, Probe};
use super::{Extent, SliceError, scale};
use crate::store::Place;

const KIND: Kind = *b"mg-ids-1";
/// Bytes of an id in a page.
const ENTRY: usize = 20;
/// Bytes before the ids of a page.
const CHECKSUM: usize = 4;
/// Ids in a page, on average.
const PAGE: u64 = 200;

/// What the tail of the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Tail {
    extent: Extent,
    /// How many ids are in the pages before each page, and in all.
    before: Vec<u64>,
    filter: Section,
}

/// Writes such a file.
pub(super) struct IdWriter {
    out: Writing,
    extent: Extent,
    pages: usize,
    before: Vec<u64>,
    page: Vec<u8>,
    filter: Filter,
    ids: u64,
}

impl IdWriter {
    /// For so many ids.
    pub(super) fn new(path: &Path, extent: Extent, ids: u64) -> io::Result<Self> {
        Ok(Self {
            out: Writing::at(path)?,
            extent,
            pages: usize::try_from(ids / PAGE).unwrap_or(usize::MAX).max(1),
            before: vec![0],
            page: vec![0; CHECKSUM],
            filter: Filter::for_ids(ids),
            ids: 0,
        })
    }

    /// Takes the next id, in the order of hashes and places.
    pub(super) fn push(&mut self, hash: u64, place: Place) -> io::Result<()> {
        self.end_pages_before(scale(hash, self.pages))?;
        self.page.extend_from_slice(&hash.to_le_bytes());
        self.page.extend_from_slice(&place.sequence.to_le_bytes());
        self.page.extend_from_slice(&place.offset.to_le_bytes());
        self.filter.insert(&Probe::of(hash));
        self.ids += 1;
        Ok(())
    }

    fn end_pages_before(&mut self, page: usize) -> io::Result<()> {
        while self.before.len() <= page {
            let checksum = crc32fast::hash(&self.page[CHECKSUM..]);
            self.page[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
            self.out.write(&self.page)?;
            self.page.truncate(CHECKSUM);
            self.before.push(self.ids);
        }
        Ok(())
    }

    /// Ends the file. On the disk when it returns.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end_pages_before(self.pages)?;
        let filter = self.out.section(self.filter.stored())?;
        self.out.finish(KIND, &Tail { extent: self.extent, before: self.before, filter })
    }
}

/// The ids of one or more closed slices.
#[derive(Debug)]
pub struct IdFile {
    file: Finished,
    tail: Tail,
    filter: Filter,
}

impl IdFile {
    /// Opens a file and reads its filter.
    ///
    /// # Errors
    /// [`SliceError`] where it cannot be read, or was changed.
    pub fn open(path: &Path) -> Result<Self, SliceError> {
        let (file, tail): (_, Tail) = Finished::open(path, KIND)?;
        let filter = file.read(tail.filter).and_then(|data| Filter::read(&data));
        match filter {
            Ok(filter) if tail.before.len() > 1 => Ok(Self { tail, filter, file }),
            Ok(_) => Err(file.error(Damage::Malformed("it has no pages"))),
            Err(damage) => Err(file.error(damage)),
        }
    }

    /// Of which blocks.
    pub const fn extent(&self) -> Extent {
        self.tail.extent
    }

    /// How many ids are in it.
    pub fn ids(&self) -> u64 {
        self.tail.before.last().copied().unwrap_or_default()
    }

    /// What of it is in memory, in bytes.
    pub const fn bytes_in_memory(&self) -> usize {
        self.filter.bytes() + self.tail.before.len() * size_of::<u64>()
    }

    /// Whether an id may be in it, by its filter.
    pub fn may_have(&self, probe: &Probe) -> bool {
        self.filter.may_have(probe)
    }

    /// The newest place before `before` at which an id of this hash stands.
    ///
    /// # Errors
    /// [`SliceError`] where the page cannot be read, or was changed.
    pub fn candidate(&self, hash: u64, before: Place) -> Result<Option<Place>, SliceError> {
        let page = self.page(scale(hash, self.pages()))?;
        let (entries, _) = page[CHECKSUM..].as_chunks::<ENTRY>();
        let end = entries.partition_point(|bytes| entry(bytes) < (hash, before));
        let newest = end.checked_sub(1).map(|last| entry(&entries[last]));
        Ok(newest.filter(|(found, _)| *found == hash).map(|(_, place)| place))
    }

    /// All ids in the order of their hashes and places.
    pub(in crate::store) fn entries(&self) -> Entries<'_> {
        Entries { of: self, next_page: 0, page: Vec::new(), at: CHECKSUM }
    }

    /// Takes its name away.
    pub(in crate::store) fn unlink(&self) {
        self.file.unlink();
    }

    const fn pages(&self) -> usize {
        self.tail.before.len() - 1
    }

    /// A page, checked.
    fn page(&self, number: usize) -> Result<Vec<u8>, SliceError> {
        let (before, after) = (self.tail.before[number], self.tail.before[number + 1]);
        let at = (CHECKSUM * number) as u64 + ENTRY as u64 * before;
        let length = CHECKSUM + ENTRY * after.saturating_sub(before) as usize;
        let page = self.file.bytes(at, length).map_err(|damage| self.file.error(damage))?;
        let checksum = crc32fast::hash(&page[CHECKSUM..]).to_le_bytes();
        if page[..CHECKSUM] == checksum { Ok(page) } else { Err(self.file.error(Damage::Checksum(at))) }
    }
}

fn entry(bytes: &[u8; ENTRY]) -> (u64, Place) {
    let [h0, h1, h2, h3, h4, h5, h6, h7, s0, s1, s2, s3, s4, s5, s6, s7, o0, o1, o2, o3] = *bytes;
    let sequence = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let offset = u32::from_le_bytes([o0, o1, o2, o3]);
    (u64::from_le_bytes([h0, h1, h2, h3, h4, h5, h6, h7]), Place { sequence, offset })
}

/// The ids of a file, one after the other.
pub(in crate::store) struct Entries<'a> {
    of: &'a IdFile,
    next_page: usize,
    page: Vec<u8>,
    at: usize,
}

impl Entries<'_> {
    pub(in crate::store) fn next(&mut self) -> Result<Option<(u64, Place)>, SliceError> {
        while self.at >= self.page.len() {
            if self.next_page == self.of.pages() {
                return Ok(None);
            }
            self.page = self.of.page(self.next_page)?;
            (self.next_page, self.at) = (self.next_page + 1, CHECKSUM);
        }
        let found = self.page[self.at..].first_chunk().map(entry);
        self.at += ENTRY;
        Ok(found)
    }
}

#[cfg(test)]
mod tests;

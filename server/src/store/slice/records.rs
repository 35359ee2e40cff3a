//! The records of a closed slice in a file: in the order of organization and block, so that one organization's events are
//! found without reading the rest.
//!
//! A chunk is a section of some 32 KiB with whole runs in it: organization, block, offset in the block and length (16, 8, 4
//! and 4 bytes, little-endian), then the records as they stood in the block. The tail lists the chunks with the first run
//! of each.

use std::io;
use std::path::Path;

use metergate_rules::id::OrganizationId;
use serde::{Deserialize, Serialize};

use super::file::{Damage, Finished, Kind, Section, Writing};
use super::{Extent, SliceError};
use crate::store::Place;
use crate::store::block::{Record, Run};

const KIND: Kind = *b"mg-rec-4";
/// Bytes before the records of a run.
pub(super) const RUN_HEADER: usize = 32;
/// A chunk that has so many bytes takes no more.
const CHUNK: usize = 32 << 10;

/// By what runs are in order: organization, and block. No two have the same.
pub(super) type RunKey = (OrganizationId, u64);

/// What the tail of the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Tail {
    extent: Extent,
    chunks: Vec<Listed>,
}

/// A chunk and its first run.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    first: RunKey,
    section: Section,
}

/// Puts a run as it is stored after what `out` holds.
pub(super) fn store_run(sequence: u64, run: &Run<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(run.organization.bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&run.start.to_le_bytes());
    out.extend_from_slice(&(run.bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(run.bytes);
}

/// The head of a stored run: its key, its offset in the block and the length of its records.
pub(super) fn run_header(header: &[u8; RUN_HEADER]) -> (RunKey, u32, usize) {
    let (organization, rest) = header.split_at(16);
    let (sequence, rest) = rest.split_at(8);
    let (start, length) = rest.split_at(4);
    let organization = OrganizationId(organization.try_into().unwrap_or_default());
    let sequence = u64::from_le_bytes(sequence.try_into().unwrap_or_default());
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap_or_default());
    ((organization, sequence), number(start), number(length) as usize)
}

/// Writes such a file.
pub(super) struct RecordWriter {
    out: Writing,
    chunks: Vec<Listed>,
    chunk: Vec<u8>,
    first: Option<RunKey>,
}

impl RecordWriter {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { out: Writing::at(path)?, chunks: Vec::new(), chunk: Vec::new(), first: None })
    }

    /// Takes the next stored run, in order.
    pub(super) fn push(&mut self, key: RunKey, stored: &[u8]) -> io::Result<()> {
        self.first.get_or_insert(key);
        self.chunk.extend_from_slice(stored);
        if self.chunk.len() >= CHUNK { self.end_chunk() } else { Ok(()) }
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        if let Some(first) = self.first.take() {
            let section = self.out.section([&self.chunk])?;
            self.chunks.push(Listed { first, section });
            self.chunk.clear();
        }
        Ok(())
    }

    /// Ends the file. On the disk when it returns.
    pub(super) fn finish(mut self, extent: Extent) -> io::Result<()> {
        self.end_chunk()?;
        self.out.finish(KIND, &Tail { extent, chunks: self.chunks })
    }
}

/// The records of a closed slice.
#[derive(Debug)]
pub struct Records {
    file: Finished,
    tail: Tail,
}

impl Records {
    /// Opens a file and reads its list of chunks.
    ///
    /// # Errors
    /// [`SliceError`] where it cannot be read, or was changed.
    pub fn open(path: &Path) -> Result<Self, SliceError> {
        let (file, tail) = Finished::open(path, KIND)?;
        Ok(Self { file, tail })
    }

    /// Of which blocks.
    pub const fn extent(&self) -> Extent {
        self.tail.extent
    }

    /// An error of this file.
    pub(in crate::store) fn error(&self, damage: Damage) -> SliceError {
        self.file.error(damage)
    }

    /// The number of the chunk in which an organization's records of a block are, where there are any.
    pub fn chunk_of(&self, organization: OrganizationId, sequence: u64) -> Option<usize> {
        self.tail.chunks.partition_point(|chunk| chunk.first <= (organization, sequence)).checked_sub(1)
    }

    /// A chunk, checked.
    ///
    /// # Errors
    /// [`SliceError`] where it cannot be read, or was changed.
    pub fn chunk(&self, number: usize) -> Result<Chunk, SliceError> {
        let chunk = self.file.read(self.tail.chunks[number].section).and_then(Chunk::read);
        chunk.map_err(|damage| self.file.error(damage))
    }

    /// The records of an organization in blocks up to `sequence`, newest block first, until `take` has enough. Whether it
    /// could take more.
    ///
    /// # Errors
    /// [`SliceError`] where they cannot be read, or were changed.
    pub fn of(
        &self,
        organization: OrganizationId,
        sequence: u64,
        mut take: impl FnMut(u64, Vec<(u32, Record)>) -> bool,
    ) -> Result<bool, SliceError> {
        let mut next = self.chunk_of(organization, sequence);
        while let Some(number) = next {
            let chunk = self.chunk(number)?;
            for (in_block, run) in chunk.runs().rev() {
                if run.organization == organization && in_block <= sequence {
                    let records = run.records().map_err(|error| self.file.error(error))?;
                    if !take(in_block, records) {
                        return Ok(false);
                    }
                }
            }
            let begins_before = self.tail.chunks[number].first.0 < organization;
            next = if begins_before { None } else { number.checked_sub(1) };
        }
        Ok(true)
    }

    /// The records of an organization in blocks after `after` up to `to`, oldest block first, until `take` has enough. Whether
    /// it could take more.
    ///
    /// # Errors
    /// [`SliceError`] where they cannot be read, or were changed.
    pub fn between(
        &self,
        organization: OrganizationId,
        after: u64,
        to: u64,
        mut take: impl FnMut(u64, Vec<(u32, Record)>) -> bool,
    ) -> Result<bool, SliceError> {
        let first = self.chunk_of(organization, after + 1).unwrap_or(0);
        let chunks = self.tail.chunks.iter().enumerate().skip(first);
        for (number, _) in chunks.take_while(|(_, chunk)| chunk.first <= (organization, to)) {
            for (in_block, run) in self.chunk(number)?.runs() {
                if run.organization == organization && after < in_block && in_block <= to {
                    let records = run.records().map_err(|error| self.file.error(error))?;
                    if !take(in_block, records) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// All runs in the order of organization and block, each with its block, as they are stored.
    ///
    /// # Errors
    /// [`SliceError`] where they cannot be read, or were changed; what `each` answers.
    pub(in crate::store) fn each_run<E: From<SliceError>>(
        &self,
        mut each: impl FnMut(u64, &Run<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for number in 0..self.tail.chunks.len() {
            self.chunk(number)?.runs().try_for_each(|(sequence, run)| each(sequence, &run))?;
        }
        Ok(())
    }

    /// All records in the order of organization and block: block, organization, and the records with their offsets.
    ///
    /// # Errors
    /// [`SliceError`] where they cannot be read, or were changed; what `each` answers.
    pub fn each<E: From<SliceError>>(
        &self,
        mut each: impl FnMut(u64, OrganizationId, Vec<(u32, Record)>) -> Result<(), E>,
    ) -> Result<(), E> {
        for number in 0..self.tail.chunks.len() {
            for (sequence, run) in self.chunk(number)?.runs() {
                let records = run.records().map_err(|error| self.file.error(error))?;
                each(sequence, run.organization, records)?;
            }
        }
        Ok(())
    }

    /// Takes its name away.
    pub(in crate::store) fn unlink(&self) {
        self.file.unlink();
    }
}

/// Some runs that follow each other.
#[derive(Debug)]
pub struct Chunk {
    data: Vec<u8>,
    /// Where each run begins.
    runs: Vec<usize>,
}

impl Chunk {
    fn read(data: Vec<u8>) -> Result<Self, Damage> {
        let (mut runs, mut at) = (Vec::new(), 0);
        while at < data.len() {
            let header = data[at..].first_chunk().ok_or(Damage::Malformed("a run is cut short"))?;
            runs.push(at);
            at += RUN_HEADER + run_header(header).2;
        }
        if at > data.len() { Err(Damage::Malformed("a run is cut short")) } else { Ok(Self { data, runs }) }
    }

    /// Its runs in order, each with its block.
    fn runs(&self) -> impl DoubleEndedIterator<Item = (u64, Run<'_>)> {
        self.runs.iter().filter_map(|start| {
            let (header, rest) = self.data[*start..].split_first_chunk()?;
            let ((organization, sequence), start, length) = run_header(header);
            Some((sequence, Run { organization, start, bytes: &rest[..length] }))
        })
    }

    /// The record of an organization at a place; `None` where another's is there.
    ///
    /// # Errors
    /// [`Damage::Record`] where no record can be read there.
    pub fn at(&self, organization: OrganizationId, place: Place) -> Result<Option<Record>, Damage> {
        let own = |(sequence, run): &(u64, Run<'_>)| (run.organization, *sequence) == (organization, place.sequence);
        match self.runs().find(own) {
            Some((_, run)) => Ok(run.at(place.offset)?),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

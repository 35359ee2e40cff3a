//! Making the files of slices. Nothing here counts before its row has been committed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::ids::{IdFile, IdWriter};
use super::records::{RecordWriter, Records};
use super::sort::{self, Sorter};
use super::table::IdTable;
use super::{Extent, SliceError};
use crate::dies_at;
use crate::store::block::Block;
use crate::store::error::{EngineError, unreadable};
use crate::store::sqlite::Sqlite;

/// Blocks that are read in one statement: a reader that stays would keep the write-ahead file from being used again.
const BLOCKS_AT_ONCE: u64 = 256;

/// Why a file could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmade {
    /// The disk.
    #[error("it cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The same, of which file.
    #[error("the slice file {file} cannot be written: {error}")]
    File {
        /// Its name in the folder of slices.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// What it is made from.
    #[error(transparent)]
    Slice(#[from] SliceError),
    /// The blocks it is made from.
    #[error(transparent)]
    Sqlite(#[from] EngineError),
    /// The store is closing.
    #[error("the store is closing")]
    Stopped,
}

impl Unmade {
    /// While this file was being written.
    fn of(self, path: &Path) -> Self {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Self::Io(error) = self { Self::File { file, error } } else { self }
    }
}

/// Makes files in a data folder until it is told to stop.
pub(super) struct Maker<'a> {
    /// The data folder.
    pub(super) folder: &'a Path,
    /// Set once the store closes.
    pub(super) stop: &'a AtomicBool,
}

impl Maker<'_> {
    /// Writes the records of a slice that closes, and its ids where it has any.
    pub(super) fn close(&self, extent: Extent, ids: &IdTable) -> Result<(Records, Option<IdFile>), Unmade> {
        let path = extent.records_in(self.folder);
        self.write_records(extent, &path).map_err(|unmade| unmade.of(&path))?;
        dies_at!("slice-records-written");
        let records = Records::open(&path)?;
        if ids.is_empty() {
            return Ok((records, None));
        }
        let path = extent.ids_in(self.folder);
        self.write_ids(extent, ids, &path).map_err(|unmade| unmade.of(&path))?;
        dies_at!("slice-ids-written");
        Ok((records, Some(IdFile::open(&path)?)))
    }

    /// Writes the ids of two files into one.
    pub(super) fn merge(&self, older: &IdFile, newer: &IdFile) -> Result<IdFile, Unmade> {
        let extent = Extent { first: older.extent().first, ..newer.extent() };
        let path = extent.ids_in(self.folder);
        self.write_merged(extent, [older, newer], &path).map_err(|unmade| unmade.of(&path))?;
        dies_at!("slice-ids-merged");
        Ok(IdFile::open(&path)?)
    }

    fn write_ids(&self, extent: Extent, ids: &IdTable, path: &Path) -> Result<(), Unmade> {
        let mut out = IdWriter::new(path, extent, ids.len())?;
        for (hash, place) in ids.in_order() {
            self.go_on()?;
            out.push(hash, place)?;
        }
        Ok(out.finish()?)
    }

    fn write_merged(&self, extent: Extent, [older, newer]: [&IdFile; 2], path: &Path) -> Result<(), Unmade> {
        let mut out = IdWriter::new(path, extent, older.ids() + newer.ids())?;
        let (mut a, mut b) = (older.entries(), newer.entries());
        let (mut from_a, mut from_b) = (a.next()?, b.next()?);
        loop {
            self.go_on()?;
            let (hash, place) = match (from_a, from_b) {
                (Some(left), right) if right.is_none_or(|right| left <= right) => {
                    from_a = a.next()?;
                    left
                }
                (_, Some(right)) => {
                    from_b = b.next()?;
                    right
                }
                _ => break,
            };
            out.push(hash, place)?;
        }
        Ok(out.finish()?)
    }

    fn write_records(&self, extent: Extent, path: &Path) -> Result<(), Unmade> {
        let mut sorter = Sorter::new(&PathBuf::from(path).with_extension("sorting"), sort::MEMORY)?;
        let sqlite = Sqlite::open_to_read(self.folder)?;
        let mut next = extent.first;
        while next <= extent.last {
            self.go_on()?;
            let to = extent.last.min(next + BLOCKS_AT_ONCE - 1);
            sqlite.each_block_in(next..=to, |sequence, _, data| {
                if sequence != next {
                    return Err(unreadable(format!("block {next}"), "it is missing").into());
                }
                let block = Block::read(data).map_err(|error| unreadable(format!("block {sequence}"), error))?;
                next += 1;
                Ok::<_, Unmade>(sorter.add(sequence, &block)?)
            })?;
            if next <= to {
                return Err(unreadable(format!("block {next}"), "it is missing").into());
            }
        }
        let mut out = RecordWriter::new(path)?;
        let sorted = sorter.finish(|key, stored| match self.go_on() {
            Ok(()) => out.push(key, stored),
            Err(stopped) => Err(io::Error::other(stopped)),
        });
        self.go_on()?;
        sorted?;
        Ok(out.finish(extent)?)
    }

    fn go_on(&self) -> Result<(), Unmade> {
        if self.stop.load(Ordering::Relaxed) { Err(Unmade::Stopped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;

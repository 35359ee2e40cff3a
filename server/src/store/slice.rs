//! Slices: the journal in pieces that are closed, sorted, and one day unlinked whole.
//!
//! The *open* slice is the end of the journal: blocks in the database, ids in memory (`table`). A closed slice is a file
//! of records in the order of organizations (`records`); its ids, in the order of their hashes, are in a file of their
//! own (`ids`) with a filter in memory (`filter`), so that almost every new id is settled without the disk. Files of ids
//! are merged, so that there are few filters to ask; files of records stay as they are until they are too old.
//!
//! A file counts from the commit of its row on. What has no row is what a start that ended early has left, and goes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};

use super::error::{EngineError, unreadable};
use super::sqlite::Sqlite;

mod file;
mod filter;
mod ids;
mod make;
mod records;
pub(super) mod slicer;
mod sort;
mod table;

pub use file::Damage;
pub use filter::Probe;
pub use ids::IdFile;
pub use records::{Chunk, Records};
pub use table::IdTable;

/// The folder of slices in the data folder.
const FOLDER: &str = "slices";

/// The blocks that a slice holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// When the last was committed, at the latest.
    pub last_at: Time,
}

impl Extent {
    /// The file of the records of these blocks.
    pub fn records_in(self, folder: &Path) -> PathBuf {
        folder.join(FOLDER).join(format!("{}-{}.records", self.first, self.last))
    }

    /// The file of the ids of these blocks.
    pub fn ids_in(self, folder: &Path) -> PathBuf {
        folder.join(FOLDER).join(format!("{}-{}.ids", self.first, self.last))
    }
}

/// A file of a slice cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the slice file {file}: {damage}")]
pub struct SliceError {
    /// Its name in the folder of slices.
    pub file: String,
    /// What is wrong with it.
    pub damage: Damage,
}

impl SliceError {
    fn other_blocks(path: &Path) -> Self {
        Self::of(path, Damage::Malformed("it holds other blocks than the database says"))
    }

    fn of(path: &Path, damage: Damage) -> Self {
        Self { file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), damage }
    }
}

impl From<SliceError> for EngineError {
    fn from(error: SliceError) -> Self {
        unreadable(format!("the slice file {}", error.file), error.damage)
    }
}

/// The files that count.
pub(super) struct Files {
    /// The records of closed slices, oldest first.
    pub(super) records: Vec<Arc<Records>>,
    /// Their ids, oldest first.
    pub(super) ids: Vec<Arc<IdFile>>,
}

impl Files {
    /// Opens all files that have a row, and removes the others.
    ///
    /// # Errors
    /// [`EngineError::Unreadable`] where a file is not there, or is not the one that was written;
    /// [`EngineError::FolderFailed`] where the folder cannot be kept.
    pub(super) fn open(folder: &Path, sqlite: &Sqlite) -> Result<Self, EngineError> {
        let (slices, ids) = (sqlite.slices()?, sqlite.slice_ids()?);
        let counting = slices.iter().map(|extent| extent.records_in(folder));
        let counting = counting.chain(ids.iter().map(|extent| extent.ids_in(folder))).collect();
        tidy(folder, &counting).map_err(EngineError::FolderFailed)?;
        let records = slices.iter().map(|extent| {
            let path = extent.records_in(folder);
            let file = Records::open(&path)?;
            if file.extent() == *extent { Ok(Arc::new(file)) } else { Err(SliceError::other_blocks(&path)) }
        });
        let ids = ids.iter().map(|extent| {
            let path = extent.ids_in(folder);
            let file = IdFile::open(&path)?;
            if file.extent() == *extent { Ok(Arc::new(file)) } else { Err(SliceError::other_blocks(&path)) }
        });
        Ok(Self { records: records.collect::<Result<_, _>>()?, ids: ids.collect::<Result<_, _>>()? })
    }
}

/// Makes the folder of slices, and removes what is there and does not count.
fn tidy(folder: &Path, counting: &HashSet<PathBuf>) -> io::Result<()> {
    let slices = folder.join(FOLDER);
    fs::create_dir_all(&slices)?;
    // The folder must be there after a power cut, too, before a row speaks of a file in it.
    File::open(folder)?.sync_all()?;
    for entry in fs::read_dir(&slices)? {
        let path = entry?.path();
        if !counting.contains(&path) {
            tracing::info!(file = %path.display(), "removing a slice file that an earlier start has left");
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The one of `parts` equal parts of all hashes in which a hash lies, from 0.
const fn scale(hash: u64, parts: usize) -> usize {
    ((hash as u128 * parts as u128) >> 64) as usize
}

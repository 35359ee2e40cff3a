//! The life of slices: the open one closes, files of ids are merged, blocks that are in a file leave the database, and what
//! is too old goes. Each step is one small commit of the loop; the files are made beside it.
//!
//! What if the process ends in between: before the commit of a file's row the blocks are there as before and the file is
//! removed at the next start; after it the file counts, and a block that is in both is read from one of them. Blocks leave
//! only once every row holds them, so that a start finds in the database whatever the rows lack.

use std::ops::RangeInclusive;
use std::sync::Arc;

use metergate_rules::time::Time;

use super::batch::Failure;
use super::checkpoint::stop_after_disk_failure;
use super::error::EngineError;
use super::known::Known;
use super::open::Settings;
use super::slice::slicer::{Job, Made, Slicer};
use super::slice::{Extent, IdFile, Records};
use super::sqlite::SliceChange;
use super::writer::Writer;
use crate::dies_at;
use crate::paced::yield_to_others;

/// Files of ids at most, so many filters are asked for a new id.
const MOST_FILES: usize = 8;
/// Bytes of blocks in the open slice at most, about: a start reads all of them.
const MOST_BYTES: u64 = 512 << 20;
/// Blocks in the open slice at most: half of those whose places fit into an entry of its table.
const MOST_BLOCKS: u64 = 1 << 31;
/// A slice spans one in so many of the time for which records are kept, so that none is kept for much longer.
const SPANS: i64 = 8;
/// Blocks that leave the database in one commit: two for each that comes, more without traffic, and but for the first
/// not more than so many bytes.
const STEP: u64 = 2;
const IDLE_STEP: u64 = 64;
pub(super) const STEP_BYTES: u64 = 1 << 20;

/// What the loop knows of slices.
pub(super) struct Slicing {
    slicer: Slicer,
    /// What has been made and not been committed yet.
    made: Option<Made>,
    /// Of the open slice: when its first block was committed, and the bytes of its blocks.
    since: Option<Time>,
    bytes: u64,
    /// The oldest block in the database.
    oldest: u64,
}

impl Slicing {
    /// At a start: blocks from `oldest` on are in the database, and so much is in the open slice.
    pub(super) const fn new(slicer: Slicer, oldest: u64, (since, bytes): (Option<Time>, u64)) -> Self {
        Self { slicer, made: None, since, bytes, oldest }
    }

    /// A block of so many bytes is in the open slice.
    pub(super) fn grown(&mut self, at: Time, bytes: usize) {
        self.since.get_or_insert(at);
        self.bytes += bytes as u64;
    }

    /// The next blocks to delete, where all up to `sliced_to` are in files, all up to `folded_to` in every row, and the
    /// newest stays.
    pub(super) fn leaving(
        &self,
        sliced_to: u64,
        folded_to: u64,
        newest: u64,
        idle: bool,
    ) -> Option<RangeInclusive<u64>> {
        let last = sliced_to.min(folded_to).min(newest.saturating_sub(1));
        let step = if idle { IDLE_STEP } else { STEP };
        (self.oldest <= last).then(|| self.oldest..=last.min(self.oldest + step - 1))
    }

    /// These blocks have been deleted.
    pub(super) fn left(&mut self, blocks: &RangeInclusive<u64>) {
        self.oldest = blocks.end() + 1;
    }

    /// Whether the open slice is to be closed.
    fn is_full(&self, known: &Known, settings: &Settings, newest: u64, now: Time) -> bool {
        let Some(since) = self.since else { return false };
        known.open().len() >= settings.slice_ids
            || self.bytes >= MOST_BYTES
            || newest - known.open().first() >= MOST_BLOCKS
            || since.plus(settings.keep_records / SPANS) <= now
    }
}

impl Writer {
    /// Takes what the slicer has made, gives it what is to be made next, and lets go what is too old. Whether there may be
    /// more to do at once.
    ///
    /// # Errors
    /// [`Failure`] where a commit failed; it is tried again.
    pub(super) fn tend_slices(&mut self) -> Result<bool, Failure> {
        let made = self.slicing.made.take().or_else(|| self.slicing.slicer.take());
        let taken = made.is_some();
        match made {
            Some(Made::Closed(records, ids)) => self.close_slice(records, ids)?,
            Some(Made::Merged(ids)) => self.merge_ids(ids)?,
            None if !self.slicing.slicer.is_busy() => self.begin_next(),
            None => {}
        }
        let gone = self.forget_oldest()?;
        self.show();
        Ok(taken || gone)
    }

    /// For `/metrics`.
    fn show(&self) {
        let known = &self.ledger.known;
        let filters: usize = known.closed().iter().map(|file| file.bytes_in_memory()).sum();
        metrics::gauge!("metergate_ids_in_memory").set(known.in_memory() as f64);
        metrics::gauge!("metergate_id_files").set(known.closed().len() as f64);
        metrics::gauge!("metergate_id_filter_bytes").set(filters as f64);
        metrics::gauge!("metergate_slices").set(self.ledger.closed.len() as f64);
    }

    fn change_slices(&mut self, change: SliceChange) -> Result<(), EngineError> {
        self.sqlite.change_slices(change).inspect_err(stop_after_disk_failure)
    }

    /// The files of a slice count from now on, and its ids leave memory.
    fn close_slice(&mut self, records: Records, ids: Option<IdFile>) -> Result<(), Failure> {
        let change = SliceChange::Closed(records.extent(), ids.as_ref().map(IdFile::extent));
        if let Err(error) = self.change_slices(change) {
            self.slicing.made = Some(Made::Closed(records, ids));
            return Err(error.into());
        }
        dies_at!("slice-valid");
        let records = Arc::new(records);
        self.ledger.closed.push(Arc::clone(&records));
        let table = self.ledger.known.close(ids.map(Arc::new));
        let blocks = self.recent.write().close(records);
        // A hundred megabytes in small pieces: who waits for a commit does not wait for them to be freed.
        let freeing = std::thread::Builder::new().name("freeing".to_owned()).spawn(move || {
            yield_to_others();
            drop((table, blocks));
        });
        if let Err(error) = freeing {
            tracing::warn!(%error, "no thread to free the memory of a closed slice; the writer did");
        }
        Ok(())
    }

    /// The merged file counts from now on, and those that it is made of no more.
    fn merge_ids(&mut self, merged: IdFile) -> Result<(), Failure> {
        if let Err(error) = self.change_slices(SliceChange::Merged(merged.extent())) {
            self.slicing.made = Some(Made::Merged(merged));
            return Err(error.into());
        }
        dies_at!("slice-merge-valid");
        self.ledger.known.replace(Arc::new(merged)).iter().for_each(|file| file.unlink());
        Ok(())
    }

    /// Begins to close the open slice where it is full; before there are too many files of ids, two of them are merged.
    fn begin_next(&mut self) {
        let (now, newest) = (self.now(), self.ledger.sequence);
        let known = &mut self.ledger.known;
        if !self.slicing.is_full(known, &self.settings, newest, now) {
            return;
        }
        if !known.open().is_empty() && known.closed().len() >= MOST_FILES {
            let pair = known.closed().windows(2).min_by_key(|pair| pair[0].ids() + pair[1].ids());
            if let Some([older, newer]) = pair {
                self.slicing.slicer.give(Job::Merge(Arc::clone(older), Arc::clone(newer)));
            }
            return;
        }
        let extent = Extent { first: known.open().first(), last: newest, last_at: self.ledger.last };
        let ids = known.begin_to_close(newest + 1);
        self.recent.write().begin_to_close();
        (self.slicing.since, self.slicing.bytes) = (None, 0);
        self.slicing.slicer.give(Job::Close(extent, ids));
    }

    /// Lets the oldest files go that have been kept for long enough. Whether there were any.
    pub(super) fn forget_oldest(&mut self) -> Result<bool, Failure> {
        Ok(self.forget_ids()? | self.forget_records()?)
    }

    /// Lets the oldest file of ids go once all of them have been kept for long enough.
    fn forget_ids(&mut self) -> Result<bool, Failure> {
        let Some(oldest) = self.ledger.known.closed().first() else { return Ok(false) };
        let extent = oldest.extent();
        if extent.last_at.plus(self.settings.keeps_ids()) > self.now() {
            return Ok(false);
        }
        self.change_slices(SliceChange::IdsGone(extent))?;
        self.ledger.known.forget_oldest().iter().for_each(|file| file.unlink());
        Ok(true)
    }

    /// Lets the oldest file of records go once all of them have been kept for long enough, and its blocks have left.
    fn forget_records(&mut self) -> Result<bool, Failure> {
        let Some(oldest) = self.ledger.closed.first() else { return Ok(false) };
        let extent = oldest.extent();
        let kept = self.settings.keep_records.max(self.settings.keeps_ids());
        if extent.last_at.plus(kept) > self.now() || self.slicing.oldest <= extent.last.min(self.ledger.sequence - 1) {
            return Ok(false);
        }
        self.change_slices(SliceChange::RecordsGone(extent))?;
        self.recent.write().forget_oldest();
        self.ledger.closed.remove(0).unlink();
        Ok(true)
    }

    /// Up to where the journal is in files.
    pub(super) fn sliced_to(&self) -> u64 {
        self.ledger.closed.last().map_or(0, |slice| slice.extent().last)
    }
}

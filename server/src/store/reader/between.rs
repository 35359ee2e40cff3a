//! An organization's records in the order in which they came.

use std::sync::Arc;

use metergate_rules::id::OrganizationId;
use parking_lot::RwLock;

use super::{ReadError, Recent, View};
use crate::store::block::{Block, Record};
use crate::store::error::{EngineError, unreadable};
use crate::store::rows::Rows;
use crate::store::slice::Records;

impl Recent {
    /// The blocks after `after` up to `to` of an organization that are in no closed slice, in order.
    fn open_between(&self, organization: OrganizationId, after: u64, to: u64) -> Vec<u64> {
        let of = |blocks: &super::recent::Blocks| {
            let blocks = blocks.get(&organization).map_or(&[][..], Vec::as_slice);
            let first = blocks.partition_point(|block| *block <= after);
            blocks[first..blocks.partition_point(|block| *block <= to).max(first)].to_vec()
        };
        let mut blocks = of(&self.closing);
        blocks.extend(of(&self.open));
        blocks
    }

    /// The closed slices that reach beyond `after`, oldest first.
    fn closed_after(&self, after: u64) -> Vec<Arc<Records>> {
        self.closed.iter().filter(|slice| slice.extent().last > after).cloned().collect()
    }

    /// The first block of the oldest closed slice.
    pub(super) fn first_closed(&self) -> Option<u64> {
        self.closed.first().map(|slice| slice.extent().first)
    }
}

/// How many blocks of the open slice have come after `after` for an organization; `None` where a slice has closed since.
pub(in crate::store) fn later_blocks(
    recent: &RwLock<Recent>,
    organization: OrganizationId,
    after: u64,
) -> Option<usize> {
    let recent = recent.read();
    recent.closed_after(after).is_empty().then(|| recent.open_between(organization, after, u64::MAX).len())
}

/// The records of an organization in blocks after `after` up to `to`, block by block, oldest first, until `take` has enough.
/// Whether it could take more. The snapshot of the database was taken before.
fn blocks_between(
    rows: &dyn Rows,
    recent: &RwLock<Recent>,
    organization: OrganizationId,
    (after, to): (u64, u64),
    mut take: impl FnMut(u64, Vec<(u32, Record)>) -> bool,
) -> Result<bool, EngineError> {
    // Together: a slice that closes in between is in one of them.
    let (closed, open) = {
        let recent = recent.read();
        (recent.closed_after(after), recent.open_between(organization, after, to))
    };
    for slice in closed {
        if !slice.between(organization, after, to, &mut take)? {
            return Ok(false);
        }
    }
    for sequence in open {
        let broken = |why: &dyn std::fmt::Display| unreadable(format!("block {sequence}"), why);
        let data = rows.block(rows.journal_of(organization), sequence)?.ok_or_else(|| broken(&"it is not there"))?;
        let records = Block::read(&data).and_then(|block| block.of(organization)).map_err(|error| broken(&error))?;
        if !take(sequence, records) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes all records of each block.
fn all(mut each: impl FnMut(Record)) -> impl FnMut(u64, Vec<(u32, Record)>) -> bool {
    move |_, records| {
        records.into_iter().for_each(|(_, record)| each(record));
        true
    }
}

/// All records of an organization in blocks after `after` up to `to`, oldest first. The snapshot of the database was taken
/// before.
pub(in crate::store) fn records_between(
    rows: &dyn Rows,
    recent: &RwLock<Recent>,
    organization: OrganizationId,
    between: (u64, u64),
    each: impl FnMut(Record),
) -> Result<(), EngineError> {
    blocks_between(rows, recent, organization, between, all(each)).map(drop)
}

impl View<'_> {
    /// The records of an organization in blocks after `after` up to `to`, oldest first.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if they cannot be read.
    pub fn records_between(
        &self,
        organization: OrganizationId,
        between: (u64, u64),
        each: impl FnMut(Record),
    ) -> Result<(), ReadError> {
        self.blocks_between(organization, between, all(each)).map(drop)
    }

    /// The same block by block, each record with its offset, until `take` has enough. Whether it could take more.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if they cannot be read.
    pub fn blocks_between(
        &self,
        organization: OrganizationId,
        between: (u64, u64),
        take: impl FnMut(u64, Vec<(u32, Record)>) -> bool,
    ) -> Result<bool, ReadError> {
        match self.recent {
            Some(recent) => Ok(blocks_between(self.rows, recent, organization, between, take)?),
            None => self.own_blocks_between(organization, between, take),
        }
    }

    /// Organizations after one, in the order of their ids.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if they cannot be read.
    pub fn organizations_after(
        &self,
        after: Option<OrganizationId>,
        most: usize,
    ) -> Result<Vec<OrganizationId>, ReadError> {
        Ok(self.rows.due_times(after, most)?.into_iter().map(|(id, _)| id).collect())
    }

    /// The first block that has not gone for its age, of those in which an organization may stand; the largest number where
    /// all have gone. It says so at once, also where the snapshot is from before.
    pub(in crate::store) fn first_kept(&self, organization: OrganizationId) -> Result<u64, ReadError> {
        let (gone, closed) = self.recent.map_or((0, None), |recent| {
            let recent = recent.read();
            (recent.gone, recent.first_closed())
        });
        let first = match closed {
            Some(first) => first,
            None => self.rows.oldest_block(organization)?.unwrap_or(u64::MAX),
        };
        Ok(first.max(gone + 1))
    }
}

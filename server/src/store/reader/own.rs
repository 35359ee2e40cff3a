//! An organization's records where it has a journal of its own.

use metergate_rules::id::OrganizationId;

use super::{BLOCKS_AT_ONCE, ReadError, View};
use crate::store::block::{Block, Record, Unreadable};
use crate::store::error::{EngineError, unreadable};

impl View<'_> {
    /// The records in blocks up to `sequence`, newest first, until `take` has enough.
    pub(super) fn own_records(
        &self,
        organization: OrganizationId,
        sequence: u64,
        mut take: impl FnMut(u64, u32, Record) -> bool,
    ) -> Result<(), ReadError> {
        let mut newest = sequence;
        while newest > 0 {
            let blocks = self.rows.own_blocks_up_to(organization, newest, BLOCKS_AT_ONCE)?;
            let Some((oldest, _)) = blocks.last() else { return Ok(()) };
            newest = oldest - 1;
            for (sequence, data) in &blocks {
                let records = records_of(*sequence, data, organization)?;
                if !records.into_iter().rev().all(|(offset, record)| take(*sequence, offset, record)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The records in blocks after `after` up to `to`, block by block, oldest first, until `take` has enough. Whether it could
    /// take more.
    pub(super) fn own_blocks_between(
        &self,
        organization: OrganizationId,
        (mut after, to): (u64, u64),
        mut take: impl FnMut(u64, Vec<(u32, Record)>) -> bool,
    ) -> Result<bool, ReadError> {
        while after < to {
            let blocks = self.rows.own_blocks_in(organization, after + 1..=to, BLOCKS_AT_ONCE)?;
            let Some((newest, _)) = blocks.last() else { break };
            after = *newest;
            for (sequence, data) in &blocks {
                if !take(*sequence, records_of(*sequence, data, organization)?) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn records_of(sequence: u64, data: &[u8], organization: OrganizationId) -> Result<Vec<(u32, Record)>, EngineError> {
    let broken = |error: Unreadable| unreadable(format!("block {sequence} of organization {organization}"), error);
    Block::read(data).and_then(|block| block.of(organization)).map_err(broken)
}

//! Where records are, for whoever reads them.

use std::sync::Arc;

use metergate_rules::id::OrganizationId;

use super::BLOCKS_AT_ONCE;
use crate::store::ledger::Map;
use crate::store::slice::Records;

/// Where each organization's records are: in which blocks of the open slice, and in which files.
#[derive(Default)]
pub struct Recent {
    pub(super) open: Blocks,
    /// Of the slice that is closing, until it is closed.
    pub(super) closing: Blocks,
    /// Closed slices, oldest first.
    pub(super) closed: Vec<Arc<Records>>,
    /// The last block of the slice that has gone last.
    pub(super) gone: u64,
}

/// In which blocks each organization stands.
pub(super) type Blocks = Map<OrganizationId, Vec<u64>>;

impl Recent {
    /// With closed slices alone.
    pub(in crate::store) fn after(closed: Vec<Arc<Records>>) -> Self {
        Self { closed, ..Self::default() }
    }

    pub(in crate::store) fn add(&mut self, sequence: u64, organizations: impl IntoIterator<Item = OrganizationId>) {
        for organization in organizations {
            let blocks = self.open.entry(organization).or_default();
            if blocks.last() != Some(&sequence) {
                blocks.push(sequence);
            }
        }
    }

    /// Some blocks of an organization up to `sequence`, newest first; or if there is none, the closed slices, in which
    /// the rest is.
    pub(super) fn up_to(&self, organization: OrganizationId, sequence: u64) -> Result<Vec<u64>, Vec<Arc<Records>>> {
        for blocks in [&self.open, &self.closing] {
            let blocks = blocks.get(&organization).map_or(&[][..], Vec::as_slice);
            let blocks = &blocks[..blocks.partition_point(|block| *block <= sequence)];
            if !blocks.is_empty() {
                return Ok(blocks.iter().rev().take(BLOCKS_AT_ONCE).copied().collect());
            }
        }
        Err(self.closed.clone())
    }

    /// The open slice begins to close, and another begins.
    pub(in crate::store) fn begin_to_close(&mut self) {
        self.closing = std::mem::take(&mut self.open);
    }

    /// The records of the slice that was closing are in a file. What is needed no more is returned: it is large.
    #[must_use]
    pub(in crate::store) fn close(&mut self, records: Arc<Records>) -> impl Send + use<> {
        self.closed.push(records);
        std::mem::take(&mut self.closing)
    }

    /// The oldest slice has gone.
    pub(in crate::store) fn forget_oldest(&mut self) {
        self.gone = self.closed.remove(0).extent().last;
    }
}

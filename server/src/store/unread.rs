//! Accounts that blocks may go beyond the rows of, and at which nobody has looked since the start.
//!
//! A start keeps the blocks that some row may lack, and in which of them each organization stands. An account is made of its
//! row and these when it is needed first: by a decision, by a report (for itself alone), or by the fold as its turn comes.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::id::OrganizationId;

use super::block::{Block, Record, Run, Unreadable};
use super::dirty::DirtyAccount;
use super::error::{EngineError, unreadable};
use super::ledger::is_within;
use super::rows::Rows;

/// All of them. A clone is cheap and stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Unread {
    accounts: OrdMap<OrganizationId, Arc<[Part]>>,
    /// Those of which the fold has found that they cannot be read. They are looked at again when they are needed.
    damaged: OrdSet<OrganizationId>,
    /// Blocks that rows may lack, with their sequence.
    blocks: Arc<Vec<(u64, Box<[u8]>)>>,
    /// The journal's last block.
    last: u64,
}

/// An organization's records in one block.
#[derive(Clone, Copy, Debug)]
struct Part {
    block: u32,
    start: u32,
    length: u32,
    records: u32,
}

/// What a start collects.
#[derive(Default)]
pub(super) struct Unsorted {
    parts: Vec<(OrganizationId, Part)>,
    blocks: Vec<(u64, Box<[u8]>)>,
}

impl Unsorted {
    /// A block that some rows may lack.
    pub(super) fn add(&mut self, sequence: u64, block: &Block<'_>, data: &[u8]) {
        let number = self.blocks.len() as u32;
        let part =
            |run: &Run<'_>, records| Part { block: number, start: run.start, length: run.bytes.len() as u32, records };
        self.parts
            .extend(block.runs().zip(block.counts()).map(|(run, records)| (run.organization, part(&run, records))));
        self.blocks.push((sequence, data.into()));
    }

    /// All of them, of a journal that ends at the block `last`.
    pub(super) fn sorted(mut self, last: u64) -> Unread {
        self.parts.sort_by_key(|(organization, part)| (*organization, part.block));
        let of_one = self.parts.chunk_by(|a, b| a.0 == b.0);
        let accounts =
            of_one.map(|parts| (parts[0].0, parts.iter().map(|(_, part)| *part).collect::<Arc<[Part]>>())).collect();
        Unread { accounts, damaged: OrdSet::new(), blocks: Arc::new(self.blocks), last }
    }
}

impl Unread {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// How many of them cannot be read.
    pub(super) fn damaged(&self) -> usize {
        self.damaged.len()
    }

    /// All of them.
    pub(super) fn organizations(&self) -> impl Iterator<Item = OrganizationId> {
        self.accounts.keys().copied()
    }

    /// The first of them after an organization, but for those that cannot be read.
    pub(super) fn next(&self, after: Option<OrganizationId>) -> Option<OrganizationId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.accounts.range((from, Unbounded)).map(|(id, _)| *id).find(|id| !self.damaged.contains(id))
    }

    /// Whether nobody has looked at it.
    pub(super) fn has(&self, organization: OrganizationId) -> bool {
        self.accounts.contains_key(&organization)
    }

    /// At most so many entries of it are not in its rows.
    pub(super) fn entries(&self, organization: OrganizationId) -> usize {
        self.accounts.get(&organization).map_or(0, |parts| parts.iter().map(|part| part.records as usize).sum())
    }

    /// What the rows of an organization lack, by its row as it is now. `None` where that is nothing.
    pub(super) fn read(
        &self,
        rows: &dyn Rows,
        organization: OrganizationId,
    ) -> Result<Option<DirtyAccount>, EngineError> {
        let Some(parts) = self.accounts.get(&organization) else { return Ok(None) };
        let row = rows.account_row(organization)?;
        let held = row.as_ref().map_or(0, |(held, _)| *held);
        is_within(self.last, organization, held)?;
        let mut lacking = row.map(|(_, account)| DirtyAccount::clean(&Arc::new(account)));
        for part in parts.iter() {
            let (sequence, data) = &self.blocks[part.block as usize];
            if *sequence > held {
                let (from, to) = (part.start as usize, (part.start + part.length) as usize);
                let run = Run { organization, start: part.start, bytes: &data[from..to] };
                let broken = |error: Unreadable| unreadable(format!("block {sequence}"), error);
                let records = run.records().map_err(broken)?;
                take_in(&mut lacking, organization, *sequence, records.iter().map(|(_, record)| record));
            }
        }
        Ok(lacking.filter(|lacking| lacking.sequence > 0))
    }

    /// Somebody has looked at it.
    pub(super) fn forget(&mut self, organization: OrganizationId) {
        self.accounts.remove(&organization);
        self.damaged.remove(&organization);
        if self.accounts.is_empty() {
            self.blocks = Arc::default();
        }
    }

    /// It cannot be read.
    pub(super) fn mark(&mut self, organization: OrganizationId) {
        self.damaged.insert(organization);
    }
}

/// Takes in the records of an organization in a block that its row lacks.
pub(super) fn take_in<'r>(
    lacking: &mut Option<DirtyAccount>,
    organization: OrganizationId,
    sequence: u64,
    mut records: impl Iterator<Item = &'r Record> + Clone,
) {
    let all = records.clone();
    if lacking.is_none() {
        let created = records.next().and_then(|first| apply::create(organization, &first.entry));
        *lacking = created.map(|new| DirtyAccount::clean(&Arc::new(new)));
    }
    if all.clone().any(|record| record.entry.what.deletes()) {
        // Its rows went in the commit of this block.
        *lacking = None;
    }
    let Some(lacking) = lacking else { return };
    let account = Arc::<Account>::make_mut(&mut lacking.account);
    records.for_each(|record| apply::apply(account, &record.entry));
    lacking.take_in(sequence, all);
}

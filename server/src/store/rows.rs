//! What is read from an engine, whichever it is: by the loop while it decides, by reports, by the checks of the audit log.
//!
//! The loop asks inside its transaction and sees what its locks protect; a report asks inside a snapshot. What only one
//! engine has (slices, the write-ahead file, partitions) stays with that engine.

use std::ops::RangeInclusive;

use metergate_rules::account::Account;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationKey, PlanId};
use metergate_rules::notice::OfRefusal;
use metergate_rules::time::{Span, Time};

use super::audit::AuditRow;
use super::block::Place;
use super::error::EngineError;
use super::ledger::Head;
use super::outbox::OutboxRows;
use super::rollup::{RollupKey, Rollups, Slot, ValueKey};
use super::stripe::StripeRows;
use super::totals::Totals;
use super::{Answer, ReceiptKey};
use crate::catalogue::change::ImportRecord;
use crate::catalogue::price::StoredPrices;

mod listing;

pub use listing::{Candidates, Listing};

/// Sets of dimension values of one organization and meter on one day at most; the rest goes into [`OTHER`].
pub(super) const MOST_DIMENSIONS: i64 = 1000;
/// What stands for dimension values beyond the cap. No JSON object is written like it.
pub(super) const OTHER: &str = "other";

/// The days of one meter of one organization that are read.
#[derive(Clone, Copy, Debug)]
pub struct RollupRange {
    /// Whose.
    pub organization: OrganizationId,
    /// Of which meter.
    pub meter: MeterId,
    /// The first day, in days since 1970-01-01.
    pub first: i32,
    /// The last one, which is read too.
    pub last: i32,
    /// Which way.
    pub newest_first: bool,
}

/// Whole days of some meters of one organization.
#[derive(Clone, Debug)]
pub struct MeterDays {
    /// Whose.
    pub organization: OrganizationId,
    /// The meters from one to another.
    pub meters: (MeterId, MeterId),
    /// Days since 1970-01-01.
    pub days: RangeInclusive<i32>,
}

/// Where a chain of the audit log begins, as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// The place of the last entry that was dropped.
    pub sequence: u64,
    /// The place of the entry that says so.
    pub entry: u64,
}

/// How far the writers of an engine that several nodes share had come when a snapshot was taken. Each has a number from its
/// first lock or write on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What the engine's clock said before the snapshot was taken.
    pub now: Time,
    /// All writers with a lower number have ended.
    pub ended: i64,
    /// All that had a number before have a lower one.
    pub begun: i64,
}

/// A rollup's row as it is gone through: its day, its dimension values, its stored day. Whether there is more to see.
pub type EachRollup<'a> = &'a mut dyn FnMut(i32, &str, &[u8]) -> Result<bool, EngineError>;

/// What a meter's day came to, all dimension sets together.
pub type EachDayTotal<'a> = &'a mut dyn FnMut(MeterId, i32, Slot);

/// A rollup's row with its meter and day, its dimension values and its data as it is stored, which may be damaged.
pub type EachRow<'a> = &'a mut dyn FnMut((MeterId, i32), &str, &[u8]) -> Result<(), EngineError>;

/// Reading from an engine. Each method fails with [`EngineError`] where it cannot be read, or is not what was written.
pub trait Rows: OutboxRows + StripeRows {
    /// An organization's account with the last block that is in it.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn account_row(&self, id: OrganizationId) -> Result<Option<(u64, Account)>, EngineError>;

    /// An organization's account.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn account(&self, id: OrganizationId) -> Result<Option<Account>, EngineError> {
        Ok(self.account_row(id)?.map(|(_, account)| account))
    }

    /// The last block that is in an organization's row.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn account_sequence(&self, id: OrganizationId) -> Result<Option<u64>, EngineError>;

    /// The organization of a key.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn organization_id(&self, key: &OrganizationKey) -> Result<Option<OrganizationId>, EngineError>;

    /// How many refusals nodes have counted and handed over of which nobody was told yet. None where there is one node.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn refusals(&self, _organization: OrganizationId, _of: &OfRefusal) -> Result<u64, EngineError> {
        Ok(0)
    }

    /// What all organizations but those for tests used together, as far as the rows go.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn totals(&self) -> Result<Totals, EngineError>;

    /// So many accounts after one, in the order of their ids, each with the time at which something falls due by its row.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn due_times(&self, after: Option<OrganizationId>, most: usize)
    -> Result<Vec<(OrganizationId, Time)>, EngineError>;

    /// So many organizations that a filter may take, by key, each with its key.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn candidates(&self, asked: &Candidates<'_>, most: usize) -> Result<Vec<(OrganizationId, String)>, EngineError>;

    /// So many organizations whose key comes after one, by key.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn keys_after(&self, after: &str, most: usize) -> Result<Vec<(OrganizationId, String)>, EngineError>;

    /// How many organizations are on any of these versions of plans.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be counted.
    fn organizations_on(&self, plans: &[PlanId]) -> Result<u64, EngineError>;

    /// Whose journal has an organization's blocks: its own, or one for all under sixteen zero bytes.
    fn journal_of(&self, organization: OrganizationId) -> OrganizationId;

    /// A block of a journal.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn block(&self, journal: OrganizationId, sequence: u64) -> Result<Option<Vec<u8>>, EngineError>;

    /// The newest block in which an organization may stand; 0 without any.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn newest_block(&self, organization: OrganizationId) -> Result<u64, EngineError>;

    /// The oldest block that the engine itself has of an organization's journal.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn oldest_block(&self, organization: OrganizationId) -> Result<Option<u64>, EngineError>;

    /// So many blocks of an organization's own journal up to one, newest first. A journal for all has none.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn own_blocks_up_to(
        &self,
        _organization: OrganizationId,
        _sequence: u64,
        _most: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, EngineError> {
        Ok(Vec::new())
    }

    /// So many blocks of an organization's own journal in a range, oldest first. A journal for all has none.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn own_blocks_in(
        &self,
        _organization: OrganizationId,
        _range: RangeInclusive<u64>,
        _most: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, EngineError> {
        Ok(Vec::new())
    }

    /// So many blocks of all journals that were committed at a time or later, each with its own time, the earliest first. A
    /// journal for all has none.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn own_blocks_since(&self, _since: Time, _most: usize) -> Result<Vec<(OrganizationId, u64, Time)>, EngineError> {
        Ok(Vec::new())
    }

    /// How far the writers have come; `None` where there is one alone, whose blocks follow each other.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn progress(&self) -> Result<Option<Progress>, EngineError> {
        Ok(None)
    }

    /// The newest place before `before` at which the engine has an id of this hash. One whose ids are in memory and in files
    /// has none.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn candidate(
        &self,
        _organization: OrganizationId,
        _hash: u64,
        _before: Place,
    ) -> Result<Option<Place>, EngineError> {
        Ok(None)
    }

    /// An answer that was kept since a time, with the fingerprint of its request.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn receipt(&self, scope: [u8; 16], receipt: &ReceiptKey, since: Time)
    -> Result<Option<(u64, Answer)>, EngineError>;

    /// Whether a value was seen in `[from.bucket, to)`, with how often it was beside what the rows say, by bucket.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn is_seen(
        &self,
        from: ValueKey,
        to: Time,
        beside: &mut dyn Iterator<Item = (Time, i64)>,
    ) -> Result<bool, EngineError>;

    /// The values that a meter saw in a span and how often, in order of bucket and value.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn each_value(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        span: Span,
        each: &mut dyn FnMut(Time, [u8; 16], i64),
    ) -> Result<(), EngineError>;

    /// What the rows of an organization's rollups lack since the row of its account carries it. Nothing where that is kept in
    /// memory.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn carried(&self, _organization: OrganizationId) -> Result<Rollups, EngineError> {
        Ok(Rollups::default())
    }

    /// Goes through the rows of a range until `each` has enough.
    ///
    /// # Errors
    /// [`EngineError`] if one cannot be read; what `each` fails with.
    fn each_rollup(&self, range: &RollupRange, each: EachRollup<'_>) -> Result<(), EngineError>;

    /// Goes through what meters' days came to, of each meter in order. Answers whether the engine has such totals: one that has
    /// none has only the rows of rollups.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn each_day_total(&self, _asked: &MeterDays, _each: EachDayTotal<'_>) -> Result<bool, EngineError> {
        Ok(false)
    }

    /// The row that a rollup goes into: its own, or beyond the cap the one for all others. `more` is how many sets of the
    /// day are on their way beside those that have a row.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn find_rollup<'k>(&self, key: &'k RollupKey, more: i64) -> Result<(&'k str, Option<Vec<u8>>), EngineError>;

    /// Goes through an organization's rows of some days as they are stored, with what the row of its account carries for them.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read; what `each` fails with.
    fn each_row_of_rollups(
        &self,
        organization: OrganizationId,
        days: RangeInclusive<i32>,
        each: EachRow<'_>,
    ) -> Result<(), EngineError>;

    /// Entries of a chain before a place, newest first.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn audit_before(&self, chain: [u8; 16], before: u64, limit: usize) -> Result<Vec<AuditRow>, EngineError>;

    /// Entries of a chain after a place, oldest first.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn audit_after(&self, chain: [u8; 16], after: u64, limit: usize) -> Result<Vec<AuditRow>, EngineError>;

    /// Where a chain begins, if not at its first entry.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn audit_checkpoint(&self, chain: [u8; 16]) -> Result<Option<StoredCheckpoint>, EngineError>;

    /// One entry of a chain.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn audit_entry(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError>;

    /// The entry by which another one was marked as dealt with, the last time.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn audit_resolution(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError>;

    /// The end of a chain.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn audit_head(&self, chain: [u8; 16]) -> Result<Head, EngineError>;

    /// Goes through so many entries after a place, chain by chain.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read; what `each` fails with.
    fn each_audit_row_after(
        &self,
        after: Option<([u8; 16], u64)>,
        most: usize,
        each: &mut dyn FnMut(AuditRow) -> Result<(), EngineError>,
    ) -> Result<(), EngineError>;

    /// The first chain from this one on.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn audit_chain_from(&self, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError>;

    /// The next chain.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn audit_chain_after(&self, chain: [u8; 16]) -> Result<Option<[u8; 16]>, EngineError>;

    /// Some of the organizations that have no entry at all.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn organizations_without_audit(&self, most: usize) -> Result<Vec<OrganizationId>, EngineError>;

    /// How far an import has come.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn import(&self, source: &str) -> Result<Option<ImportRecord>, EngineError>;

    /// A version of the table of prices; `None` where there is none of that number.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn prices(&self, version: u64) -> Result<Option<StoredPrices>, EngineError>;

    /// A single stored value.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn setting(&self, name: &str) -> Result<Option<String>, EngineError>;

    /// Whether the engine answers at all.
    ///
    /// # Errors
    /// [`EngineError`] if it does not.
    fn answers(&self) -> Result<(), EngineError>;
}

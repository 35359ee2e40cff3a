//! Which accounts' rows a commit brings up to the journal.
//!
//! A commit must append its block; the rows may follow. Each commit also writes the next dirty accounts, in key order,
//! round after round, for about a tenth of the time that a commit takes; more as what the rows lack nears
//! [`MOST_UNFOLDED`], so that a start never has more than that to replay. An account of which something but use changed
//! is written in the commit of its change. Without traffic the rest is written alone.

use std::sync::Arc;

use metergate_rules::id::OrganizationId;

use super::dirty::{Dirty, DirtyAccount};
use super::rollup::carried;

/// Entries of the journal that the rows may lack at most, about.
pub const MOST_UNFOLDED: usize = 5_000_000;
/// The part of a commit's time in which rows are written: one in so many.
const TENTH: i64 = 10;
/// Accounts that are written in one commit while there is no traffic.
const IDLE_STEP: usize = 512;

/// How many accounts a commit may write beside those that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// What fits into a tenth of a commit's time.
    Tenth,
    /// So many, also without traffic: for tests that want rows behind the journal, or not.
    Accounts(usize),
}

impl Pace {
    /// How many bytes of rollups the row of an account carries at most, where several nodes share it.
    pub(super) const fn carried(self) -> usize {
        match self {
            Self::Tenth | Self::Accounts(0) => carried::MOST,
            Self::Accounts(_) => 0,
        }
    }
}

/// Where the rows stand against the journal.
#[derive(Debug)]
pub(super) struct Fold {
    pace: Pace,
    /// Up to this block every entry is in every row.
    folded_to: u64,
    /// The last block when the present round began.
    round: u64,
    /// The last account that was written in it.
    cursor: Option<OrganizationId>,
    /// Nanoseconds that may still be spent on rows.
    credit: i64,
    /// Nanoseconds that an account took lately.
    account_nanos: i64,
}

/// What one commit writes of the fold.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// The accounts, each with everything that its rows lack.
    pub(super) accounts: Vec<Arc<DirtyAccount>>,
    /// Up to where every row is after the commit, if that changes.
    pub(super) folded_to: Option<u64>,
    /// The microseconds that it took to look at accounts for it.
    pub(super) looked: i64,
    cursor: Option<OrganizationId>,
    round: u64,
}

impl Fold {
    pub(super) fn new(pace: Pace, folded_to: u64, sequence: u64) -> Self {
        Self { pace, folded_to, round: sequence, cursor: None, credit: 0, account_nanos: 50_000 }
    }

    /// Up to this block every entry is in every row, and the database says so.
    pub(super) const fn folded_to(&self) -> u64 {
        self.folded_to
    }

    /// Whether every row is up to the journal, and the database says so.
    pub(super) fn is_done(&self, dirty: &Dirty, sequence: u64) -> bool {
        dirty.is_written() && (self.folded_to == sequence || !dirty.is_empty())
    }

    /// How many accounts a step may have beside those that changed, and after which account it begins.
    pub(super) fn next(&self, idle: bool) -> (usize, Option<OrganizationId>) {
        let most = match (self.pace, idle) {
            (Pace::Accounts(most), _) => most,
            (Pace::Tenth, true) => IDLE_STEP,
            (Pace::Tenth, false) => usize::try_from(self.credit / self.account_nanos.max(1)).unwrap_or(0),
        };
        (most, self.cursor)
    }

    /// The step of a commit that will be the journal's block `sequence`, beside what it must write. It ends before the first
    /// account at which nobody has looked.
    pub(super) fn step(&self, dirty: &Dirty, sequence: u64, idle: bool) -> Step {
        let (most, cursor) = self.next(idle);
        let unread = dirty.unread().next(cursor);
        let is_read = |dirty: &&Arc<DirtyAccount>| unread.is_none_or(|unread| dirty.account.id < unread);
        let accounts: Vec<_> = dirty.after(cursor).take_while(is_read).take(most).map(Arc::clone).collect();
        if accounts.len() < most && unread.is_none() {
            // The round is over: whatever was dirty when it began has been written since. Where nothing else is dirty
            // and nothing more happens in this commit, that is everything.
            let folded_to = if idle && accounts.len() == dirty.len() { sequence } else { self.round };
            let is_whole = dirty.unread().damaged() == 0;
            let changed = (folded_to > self.folded_to && is_whole).then_some(folded_to);
            return Step { accounts, folded_to: changed, looked: 0, cursor: None, round: sequence };
        }
        let cursor = accounts.last().map(|dirty| dirty.account.id).or(cursor);
        Step { accounts, folded_to: None, looked: 0, cursor, round: self.round }
    }

    /// A step of these accounts, beside the round.
    pub(super) fn aside(&self, accounts: Vec<Arc<DirtyAccount>>) -> Step {
        Step { accounts, folded_to: None, looked: 0, cursor: self.cursor, round: self.round }
    }

    /// The step is durable. `commit` and `rows` are the microseconds that the whole commit and its rows took, of which
    /// there were `written` accounts.
    pub(super) fn done(&mut self, step: &Step, commit: i64, rows: i64, written: usize, unfolded: usize) {
        (self.cursor, self.round) = (step.cursor, step.round);
        self.folded_to = step.folded_to.unwrap_or(self.folded_to);
        if let Some(each) = (rows * 1000).checked_div(i64::try_from(written).unwrap_or(i64::MAX)) {
            self.account_nanos = (self.account_nanos * 7 + each) / 8;
        }
        let earned = (commit - rows).max(0) * 1000 / TENTH * pressure(unfolded);
        self.credit = (self.credit + earned - rows * 1000).clamp(0, earned.max(self.account_nanos));
    }
}

/// How many times a tenth is spent: once up to half of [`MOST_UNFOLDED`], then ever more.
fn pressure(unfolded: usize) -> i64 {
    let half = MOST_UNFOLDED / 2;
    let beyond = unfolded.saturating_sub(half) * 100 / half;
    1 + i64::try_from(beyond).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dirty::tests::dirty;

    /// Has so many blocks touch accounts, with as many commits; answers the last `folded_to` and what is left.
    fn run(pace: Pace, blocks: u64, touched: impl Fn(u64) -> u8) -> (Fold, Dirty) {
        let (mut fold, mut left) = (Fold::new(pace, 0, 0), Dirty::default());
        for sequence in 1..=blocks {
            let step = fold.step(&left, sequence, false);
            dirty(&mut left, touched(sequence), sequence);
            step.accounts.iter().for_each(|written| left.remove(written.account.id));
            fold.done(&step, 1000, 0, step.accounts.len(), left.entries());
            let oldest = left.all().map(|dirty| dirty.first).min();
            assert!(oldest.is_none_or(|oldest| fold.folded_to < oldest), "{sequence}: {oldest:?} {fold:?}");
        }
        (fold, left)
    }

    #[test]
    fn no_row_lacks_a_block_up_to_where_every_row_is() {
        for accounts in [1, 7, 200] {
            let (fold, left) =
                run(Pace::Accounts(2), 2_000, |sequence| u8::try_from(sequence * 37 % accounts).unwrap());
            assert!(fold.folded_to >= 2_000 - 2 * accounts.max(20), "{accounts}: {fold:?}");
            assert!(left.len() as u64 <= accounts);
        }
    }

    #[test]
    fn one_idle_step_writes_the_rest_and_says_so() {
        let (mut fold, left) = run(Pace::Tenth, 100, |sequence| u8::try_from(sequence).unwrap());
        let step = fold.step(&left, 100, true);
        assert_eq!(step.accounts.len(), left.len());
        fold.done(&step, 1000, 500, step.accounts.len(), 0);
        assert!(fold.is_done(&Dirty::default(), 100));
    }

    #[test]
    fn rows_get_a_tenth_of_a_commits_time_and_more_as_they_fall_behind() {
        #[rustfmt::skip]
        let cases = [ // unfolded entries, microseconds for rows of the next commit of a millisecond
            (0,                           100),
            (MOST_UNFOLDED / 2,           100),
            (MOST_UNFOLDED / 100 * 51,    300),
            (MOST_UNFOLDED,            10_100),
        ];
        for (unfolded, micros) in cases {
            let mut fold = Fold::new(Pace::Tenth, 0, 0);
            fold.done(&Step::default(), 1_000, 0, 0, unfolded);
            assert_eq!(fold.credit / 1_000, micros, "{unfolded}");
        }
    }
}

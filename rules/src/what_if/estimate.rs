//! What would have been refused where only sums are left of what was used: those of each quarter hour.
//!
//! A sum does not say what was asked for at once, what was an event and what a decision, or what was refused then. So it is an
//! estimate, as if all of it had been asked for bit by bit: as much of a quarter hour is admitted as the limits have left. A
//! minute's limit admits fifteen times its maximum in a quarter hour. Credit from then is not known, and gives nothing.

use crate::account::Account;
use crate::apply::apply;
use crate::decide::Problem;
use crate::limits::{Claim, Limits};
use crate::meter::Measure;
use crate::outcome::{Decided, Entry, Reason, Use, What};
use crate::period;
use crate::plan::Enforcement;
use crate::quantity::Quantity;
use crate::time::{MINUTE, Time};
use crate::window::{Window, WindowSet};

use super::Terms;

/// Minutes of a quarter hour.
const MINUTES: i64 = 15;

/// One meter of an organization, under other terms.
#[derive(Debug)]
pub struct Estimate<'a> {
    account: Account,
    terms: Terms<'a>,
    meter: crate::id::MeterId,
}

/// What is estimated of a quarter hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimated {
    /// So much would have been refused.
    pub refused: Quantity,
    /// In about so many calls.
    pub count: u64,
    /// By these limits.
    pub passed: WindowSet,
    /// Why.
    pub reason: Option<Reason>,
    /// So much would have gone beyond a soft limit.
    pub overage: Quantity,
}

impl<'a> Estimate<'a> {
    /// Of an organization as it stands at the earliest time that is known, from another time on. Overrides, extra quota and
    /// cycle are taken to have been the same, locks not to have been there. Periods are counted from the anchor, which is the
    /// start of the subscription where there is one.
    pub fn new(stands: &Account, terms: Terms<'a>, meter: crate::id::MeterId, from: Time) -> Self {
        let mut account = stands.clone();
        account.plan = terms.plan(account.plan);
        account.time = from;
        account.windows.day = period::day(from, &account.profile.zone);
        account.windows.month = period::month(from, &account.profile.zone);
        account.windows.period = account.grid().containing(from);
        (account.trial, account.scheduled, account.clock) = (None, None, None);
        // Its present period would run from one that is long past to its own start.
        account.subscription = None;
        account.overrides.iter_mut().for_each(|one| one.until = None);
        account.meters.clear();
        account.grants.clear();
        account.reservations.clear();
        account.locks.clear();
        Self { account, terms, meter }
    }

    /// When the longest window begins of which something counts at that time, but for the lifetime.
    pub fn begins(stands: &Account, from: Time) -> Time {
        let day = period::day(from, &stands.profile.zone).start;
        day.min(period::month(from, &stands.profile.zone).start).min(stands.grid().containing(from).start)
    }

    /// Counts what was used in a quarter hour before the time that is asked about.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn count(&mut self, quarter: Time, sum: Quantity) -> Result<(), Problem> {
        self.settle(quarter)?;
        self.add(quarter, sum);
        Ok(())
    }

    /// Takes what was used in a quarter hour, in so many calls. They come in order.
    ///
    /// # Errors
    /// [`Problem`] where these terms do not have its plan or the meter.
    pub fn take(&mut self, quarter: Time, sum: Quantity, count: u64) -> Result<Estimated, Problem> {
        self.settle(quarter)?;
        let plan = self.terms.catalogue.plan(self.account.plan).ok_or(Problem::UnknownPlan)?;
        let meter = self.terms.catalogue.meter(self.meter).ok_or(Problem::UnknownMeter)?;
        let limits = Limits::new(&self.account, plan, meter);
        if !plan.other_meters && !limits.is_named() {
            let reason = Some(Reason::NotEntitled);
            return Ok(Estimated { refused: sum, count, reason, ..Estimated::default() });
        }
        let (mut admitted, mut passed, mut soft) = (sum, WindowSet::NONE, Vec::new());
        for standing in Window::ALL.into_iter().filter_map(|window| limits.standing(window, quarter)) {
            let room = match standing.window {
                Window::Minute => Quantity::at_least_zero(standing.base.units().saturating_mul(MINUTES)),
                _ => standing.remaining(),
            };
            match standing.enforcement {
                Enforcement::Hard if room < sum => {
                    (admitted, passed) = (admitted.min(room), passed.with(standing.window))
                }
                Enforcement::Hard => {}
                Enforcement::Soft => soft.push(room),
            }
        }
        let beyond = soft.into_iter().map(|room| Claim { beyond: admitted.minus(room), ..Claim::default() });
        let overage = Claim::largest(beyond).beyond;
        self.add(quarter, admitted);
        let refused = sum.minus(admitted);
        let reason = (!refused.is_zero()).then_some(Reason::QuotaExceeded);
        Ok(Estimated { refused, count: share(count, refused, sum), passed, reason, overage })
    }

    /// Takes what was told late of a quarter hour, in so many facts: all of it is used. What of it goes beyond the limits of these
    /// windows, as `overage`, in about so many of them.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn fact(&mut self, quarter: Time, sum: Quantity, count: u64, windows: WindowSet) -> Result<Estimated, Problem> {
        self.settle(quarter)?;
        let plan = self.terms.catalogue.plan(self.account.plan).ok_or(Problem::UnknownPlan)?;
        let meter = self.terms.catalogue.meter(self.meter).ok_or(Problem::UnknownMeter)?;
        let limits = Limits::new(&self.account, plan, meter);
        let (mut within, mut passed) = (sum, WindowSet::NONE);
        for standing in windows.iter().filter_map(|window| limits.standing(window, quarter)) {
            let room = standing.remaining();
            if room < sum {
                (within, passed) = (within.min(room), passed.with(standing.window));
            }
        }
        self.add(quarter, sum);
        let overage = sum.minus(within);
        Ok(Estimated { count: share(count, overage, sum), passed, overage, ..Estimated::default() })
    }

    fn settle(&mut self, quarter: Time) -> Result<(), Problem> {
        let settled = self.account.at(self.terms.catalogue, quarter)?.account.into_owned();
        self.account = settled;
        Ok(())
    }

    fn add(&mut self, quarter: Time, quantity: Quantity) {
        let used = Use {
            meter: self.meter,
            measure: Measure::Add(quantity),
            // A minute early, so that an hour holds four quarters and not five.
            time: quarter.plus(-MINUTE),
            windows: Window::COUNTED.into_iter().collect(),
            ahead: WindowSet::NONE,
            epochs: [0; 4],
            sliding: true,
            draws: Vec::new(),
            overage: Quantity::ZERO,
            dimensions: String::new(),
            bucket: None,
            follows: None,
        };
        let decided = Decided {
            uses: vec![used],
            refused: Vec::new(),
            verdicts: None,
            properties: String::new(),
            outcome: crate::command::Completion::default(),
        };
        apply(&mut self.account, &Entry { at: quarter, what: What::Decided(decided) });
    }
}

/// So many of a quarter hour's calls, by the share of what they asked for; at least one where anything is refused.
fn share(count: u64, refused: Quantity, sum: Quantity) -> u64 {
    let (count, refused, sum) = (i128::from(count), i128::from(refused.units()), i128::from(sum.units()));
    if sum == 0 { 0 } else { u64::try_from((count * refused + sum - 1) / sum).unwrap_or(u64::MAX) }
}

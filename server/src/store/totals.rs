//! Use of all organizations together by meter and UTC day, for the fleet view.
//!
//! The rows (`fleet_usage`) grow in the commit that writes the rollups of an account, so they lack what those lack. In memory
//! is the whole truth: the rows as a start found them, what they lacked, and what every commit did since. What a deleted
//! organization used stays in it; but what its rows lacked when it was deleted only until the next start.

use std::collections::BTreeMap;

use metergate_rules::account::Account;
use metergate_rules::id::MeterId;
use metergate_rules::outcome::Entry;

use super::rollup::{Derived, Slot, day_of, slot};

/// What one meter did on one day, counted in days since 1970-01-01.
pub type OfDay = (MeterId, i32);

/// Count, sum and highest peak by meter and day. Levels do not add up, and are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<OfDay, Slot>);

impl Totals {
    /// Adds what one meter did on one day.
    pub fn add(&mut self, of: OfDay, slot: &Slot) {
        self.0.entry(of).or_default().merge(&Slot { last: None, ..*slot });
    }

    /// Adds what an entry says was used. Organizations for tests count nowhere.
    pub(super) fn add_entry(&mut self, account: &Account, entry: &Entry) {
        if account.profile.test {
            return;
        }
        for used in entry.what.uses() {
            self.add((used.meter, day_of(used.time)), &slot(used));
        }
    }

    /// Adds what the rollups of an account lack.
    pub(super) fn add_derived(&mut self, account: &Account, derived: &Derived) {
        if account.profile.test {
            return;
        }
        for (key, day) in derived.rollups.each() {
            day.slots().for_each(|(_, slot)| self.add((key.meter, key.day), slot));
        }
    }

    /// By meter, then by day.
    pub fn iter(&self) -> impl Iterator<Item = (OfDay, &Slot)> {
        self.0.iter().map(|(of, slot)| (*of, slot))
    }

    /// The days of one meter from `first` to `last`, in order.
    pub fn of(&self, meter: MeterId, first: i32, last: i32) -> impl Iterator<Item = (i32, &Slot)> {
        self.0.range((meter, first)..=(meter, last)).map(|((_, day), slot)| (*day, slot))
    }
}

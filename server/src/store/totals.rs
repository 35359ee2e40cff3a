//! Use of all organizations together by meter and UTC day, for the fleet view.
//!
//! The rows (`fleet_usage`) grow in the commit that writes the rollups of an account, so they lack what those lack. What they
//! say stands in memory beside that ([`super::dirty::Dirty`]); both are added up when somebody asks, so that a commit which
//! writes no rows does nothing for it. What a deleted organization used stays in it: the commit of its deletion adds what
//! its rows lacked.

use imbl::OrdMap;
use metergate_rules::account::Account;
use metergate_rules::id::MeterId;

use super::rollup::{Derived, Slot};

/// What one meter did on one day, counted in days since 1970-01-01.
pub type OfDay = (MeterId, i32);

/// Count, sum and highest peak by meter and day. Levels do not add up, and are left out. A clone is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(OrdMap<OfDay, Slot>);

impl Totals {
    /// Adds what one meter did on one day.
    pub fn add(&mut self, of: OfDay, slot: &Slot) {
        self.0.entry(of).or_default().merge(&Slot { last: None, ..*slot });
    }

    /// Adds what others are.
    pub(super) fn add_all(&mut self, others: &Self) {
        others.iter().for_each(|(of, slot)| self.add(of, slot));
    }

    /// Adds what the rollups of an account lack. Organizations for tests count nowhere.
    pub(super) fn add_derived(&mut self, account: &Account, derived: &Derived) {
        if account.profile.test {
            return;
        }
        for (key, day) in derived.rollups.each() {
            self.add((key.meter, key.day), &day.all());
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

    /// What one meter did on one day.
    pub fn get(&self, of: OfDay) -> Slot {
        self.0.get(&of).copied().unwrap_or_default()
    }
}

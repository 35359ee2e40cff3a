//! What counts where, from the list of all that was done, and what grants have given.

use std::collections::BTreeSet;

use metergate_rules::id::MeterId;
use metergate_rules::time::{HOUR, MINUTE};
use metergate_rules::window::Window;

use super::{Done, Draws, Kind, Model, Reset};
use crate::kit::{BYTES, PEAK, USERS};

/// Reports are kept in quarter hours.
pub(super) const QUARTER: i64 = 15 * MINUTE;

/// One window of one meter, counted anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) used: i64,
    /// How much of it came from which grant, in order.
    draws: Draws,
    /// The values that count once, each as often as an event has it.
    pub(super) values: Vec<i64>,
}

impl Tally {
    /// What came from a grant.
    pub(super) fn draw(&self, grant: usize) -> i64 {
        self.draws.iter().find(|(of, _)| *of == grant).map_or(0, |(_, n)| *n)
    }

    pub(super) fn drawn(&self) -> i64 {
        self.draws.iter().map(|(_, n)| n).sum()
    }

    pub(super) fn draws(&self) -> &[(usize, i64)] {
        &self.draws
    }

    fn add(&mut self, done: &Done) {
        match done.meter {
            PEAK => self.used = self.used.max(done.n),
            USERS => {
                self.add_value(done);
                if matches!(done.kind, Kind::Void(_)) && self.values.contains(&done.n) {
                    // Somebody else has brought it, too: nothing has left.
                    return;
                }
            }
            _ => self.used = (self.used + done.n).max(0),
        }
        done.gave.iter().for_each(|(grant, n)| self.note(*grant, *n));
        // No more came from grants than was used: what was drawn last goes first.
        while self.drawn() > self.used {
            let (grant, _) = *self.draws.last().unwrap();
            self.note(grant, -1);
        }
    }

    fn add_value(&mut self, done: &Done) {
        match done.kind {
            Kind::Void(_) => {
                let place = self.values.iter().position(|value| *value == done.n).unwrap();
                self.values.remove(place);
            }
            _ => self.values.push(done.n),
        }
        let distinct: BTreeSet<i64> = self.values.iter().copied().collect();
        self.used = i64::try_from(distinct.len()).unwrap();
    }

    fn note(&mut self, grant: usize, n: i64) {
        match self.draws.iter_mut().find(|(of, _)| *of == grant) {
            Some((_, drawn)) => *drawn += n,
            None => self.draws.push((grant, n)),
        }
        self.draws.retain(|(_, drawn)| *drawn > 0);
    }
}

impl Model {
    /// Whether something counts in a window now. `nth` is its place among all that was done.
    pub(super) fn counts(&self, nth: usize, done: &Done, window: Window) -> bool {
        if let Kind::Void(of) = done.kind {
            return window.sliding_length().is_none() && self.counts(of, &self.done[of], window);
        }
        let (from, until) = self.range(window);
        let was_reset = |reset: &Reset| {
            let concerns = reset.meter == done.meter && reset.windows.contains(&window) && from <= reset.at;
            concerns && (nth < reset.done || done.kind != Kind::Settled && done.time < reset.at)
        };
        let slides = done.kind == Kind::Decision && ![PEAK, BYTES, USERS].contains(&done.meter);
        let is_in = match window {
            Window::Minute | Window::Hour => slides && self.still_slides(done.at, window),
            _ => from <= done.time && done.time < until,
        };
        is_in && !self.resets.iter().any(was_reset)
    }

    /// Until the sub-bucket of what happened then lies wholly outside.
    fn still_slides(&self, at: i64, window: Window) -> bool {
        let length = if window == Window::Minute { MINUTE } else { HOUR };
        (at.div_euclid(length / 60) + 1) * (length / 60) > self.now - length
    }

    /// A window of a meter now.
    pub(super) fn tally(&self, meter: MeterId, window: Window) -> Tally {
        let mut tally = self.tally_before(meter, window, self.done.len());
        match meter {
            BYTES => tally.used = self.level().map_or(0, |(_, n)| n),
            _ => tally.used += self.slid(meter, window),
        }
        tally
    }

    /// The same without what was done from the `end`th on, and without what reservations left behind.
    pub(super) fn tally_before(&self, meter: MeterId, window: Window, end: usize) -> Tally {
        let mut tally = Tally::default();
        for (nth, done) in self.done[..end].iter().enumerate().filter(|(_, done)| done.meter == meter) {
            if self.counts(nth, done, window) {
                tally.add(done);
            }
            let mut parts = nth + 1 - done.parts..=nth;
            if !done.lost.is_empty() && parts.any(|part| self.counts(part, &self.done[part], window)) {
                done.lost.iter().for_each(|(grant, n)| tally.note(*grant, -n));
            }
        }
        tally
    }

    /// What reservations that are over count in minutes and hours.
    fn slid(&self, meter: MeterId, window: Window) -> i64 {
        if window.sliding_length().is_none() {
            return 0;
        }
        let over = self.holds.iter().filter(|hold| hold.meter == meter).filter_map(|hold| hold.over);
        let was_reset = |resets: usize| {
            self.resets[resets..].iter().any(|reset| reset.meter == meter && reset.windows.contains(&window))
        };
        over.filter(|over| self.still_slides(over.at, window) && !was_reset(over.resets)).map(|over| over.slides).sum()
    }

    /// The latest level, and of when it is.
    pub(crate) fn level(&self) -> Option<(i64, i64)> {
        let levels = self.done.iter().enumerate().filter(|(_, done)| done.meter == BYTES);
        levels.max_by_key(|(nth, done)| (done.time, *nth)).map(|(_, done)| (done.time, done.n))
    }

    /// What a window holds.
    pub(crate) fn used(&self, meter: MeterId, window: Window) -> i64 {
        self.tally(meter, window).used
    }

    /// What a grant has given so far.
    pub(crate) fn given(&self, credit: usize) -> i64 {
        self.done.iter().flat_map(|done| &done.gave).filter(|(from, _)| *from == credit).map(|(_, n)| n).sum()
    }

    /// What a grant can still give.
    pub(crate) fn available(&self, nth: usize) -> i64 {
        let credit = &self.credits[nth];
        let open = credit.starts <= self.now && !self.is_over(nth);
        if open { credit.amount - self.given(nth) - self.held_of(nth) } else { 0 }
    }

    /// Whether nothing returns to a grant any more.
    pub(super) fn is_over(&self, nth: usize) -> bool {
        let credit = &self.credits[nth];
        credit.ended || credit.ends.is_some_and(|end| end <= self.now)
    }

    /// What reports hold of a meter in a quarter hour.
    pub(super) fn reported(&self, meter: MeterId, quarter: i64) -> i64 {
        let in_it = |done: &&Done| done.meter == meter && done.time.div_euclid(QUARTER) * QUARTER == quarter;
        self.done.iter().filter(in_it).map(|done| done.n).sum()
    }
}

//! Corrections: an amount more or less, and the void of what was told. Nothing is taken from the list: each is one more thing
//! on it.

use std::cmp::Reverse;

use metergate_rules::decide::Problem;
use metergate_rules::id::MeterId;
use metergate_rules::quantity::InvalidQuantity;
use metergate_rules::window::Window;

use super::tally::QUARTER;
use super::{Answer, Done, Draws, Kind, Model, Rule, Told, days};
use crate::kit::{API, BYTES, CALLS, COST, OTHER, PEAK, TOKENS, USERS, q};

impl Model {
    pub(super) fn adjust(&mut self, meter: MeterId, units: i64, after: Option<i64>) -> Answer {
        let time = self.now + after.unwrap_or(0);
        let adds_up = [API, CALLS, OTHER, TOKENS, COST].contains(&meter);
        match units {
            _ if time > self.now => Answer::Fails(vec![Problem::FutureAdjustment]),
            0 if adds_up => Answer::Fails(vec![InvalidQuantity::Zero.into()]),
            1.. if adds_up => {
                let done = Done { n: units, ..self.done(meter, units, time, Kind::Fact) };
                Answer::Adjusted { overage: self.fact(done) }
            }
            _ if adds_up => {
                let (from, until) = if after.is_some() { self.calendar.day(time) } else { (i64::MIN, i64::MAX) };
                self.less(meter, -units, time, (from, until.min(self.now + 1)))
            }
            0.. if meter == BYTES => {
                let stands = self.level().is_some_and(|(since, n)| n == units && since <= time);
                if !stands {
                    let done = self.done(meter, units, time, Kind::Fact);
                    self.done.push(done);
                }
                Answer::Changed(!stands)
            }
            _ if meter == BYTES => Answer::Fails(vec![InvalidQuantity::Negative.into()]),
            _ => Answer::Fails(vec![Problem::NotAdjustable]),
        }
    }

    /// Takes so much from the quarter hours that have something: from the time backwards, then from what lies after it.
    fn less(&mut self, meter: MeterId, size: i64, time: i64, (from, until): (i64, i64)) -> Answer {
        let quarters =
            self.done.iter().filter(|done| done.meter == meter).map(|done| done.time.div_euclid(QUARTER) * QUARTER);
        let mut quarters: Vec<i64> = quarters.filter(|quarter| from <= *quarter && *quarter < until).collect();
        quarters.sort_by_key(|quarter| (*quarter > time, Reverse(*quarter)));
        quarters.dedup();
        let (mut parts, mut left) = (Vec::new(), size);
        for quarter in quarters {
            let n = self.reported(meter, quarter).clamp(0, left);
            if n == 0 {
                continue;
            }
            left -= n;
            let is_in = quarter <= time && time < quarter + QUARTER;
            let at = if is_in { time } else { (quarter + QUARTER - 1).min(self.now) };
            parts.push(Done { n: -n, ..self.done(meter, -n, at, Kind::Fact) });
        }
        if left > 0 {
            self.reach("an adjustment would take too much", true);
            let decimals = if meter == COST { 9 } else { 0 };
            return Answer::Fails(vec![Problem::AdjustsTooMuch(q(size - left).display(decimals))]);
        }
        self.reach("an adjustment takes from several quarter hours", parts.len() > 1);
        if let Some(rule) = self.rules(meter).iter().find(|rule| rule.is_period) {
            self.give_back(meter, rule, &mut parts);
        }
        self.done.extend(parts);
        Answer::Adjusted { overage: 0 }
    }

    /// What leaves the window that grants lift returns to them once all that went beyond the limit is gone: to the one that is
    /// drawn last first.
    fn give_back(&mut self, meter: MeterId, rule: &Rule, parts: &mut [Done]) {
        let counts = |part: &Done| self.counts(self.done.len(), part, rule.window);
        let taken: i64 = parts.iter().filter(|part| counts(part)).map(|part| -part.n).sum();
        let Some(first) = parts.iter().position(counts) else { return };
        let tally = self.tally(meter, rule.window);
        let beyond = (tally.used - tally.drawn() - rule.base).max(0);
        let leaves = self.last_of(tally.draws(), taken.min(tally.used) - beyond);
        let (lost, returns) = self.split(leaves);
        self.reach("an adjustment returns credit", !returns.is_empty());
        self.reach("an adjustment loses credit", !lost.is_empty());
        parts[first].gave = returns.into_iter().map(|(grant, n)| (grant, -n)).collect();
        let count = parts.len();
        let last = parts.last_mut().unwrap();
        (last.lost, last.parts) = (lost, count);
    }

    /// So much of what was drawn, one unit after another, each from the grant that is drawn last.
    fn last_of(&self, draws: &[(usize, i64)], most: i64) -> Draws {
        let mut draws = draws.to_vec();
        draws.sort_by_key(|(grant, _)| Reverse(self.order(*grant)));
        let mut left = most.max(0);
        for (_, n) in &mut draws {
            *n = (*n).min(left);
            left -= *n;
        }
        draws.retain(|(_, n)| *n > 0);
        draws
    }

    /// Nothing returns to a grant that has ended.
    fn split(&self, leaves: Draws) -> (Draws, Draws) {
        leaves.into_iter().partition(|(grant, _)| self.is_over(*grant))
    }

    /// Where the `nth` stands of what can be void, from the newest backwards, and round again.
    fn voidable(&self, nth: usize) -> usize {
        self.told.len() - 1 - nth % self.told.len()
    }

    /// The same as its place among all that was answered.
    pub(crate) fn place_of(&self, nth: usize) -> usize {
        self.told[self.voidable(nth)].nth
    }

    pub(super) fn undo(&mut self, nth: usize) -> Answer {
        let place = self.voidable(nth);
        let Told { at, done, is_void, .. } = self.told[place].clone();
        let is_old = at + days(366) <= self.now;
        if is_void && is_old {
            return Answer::Fails(vec![Problem::AlreadyVoid, Problem::UnknownEvent]);
        } else if is_void || is_old {
            self.reach("a second void", is_void);
            return Answer::Fails(vec![if is_void { Problem::AlreadyVoid } else { Problem::UnknownEvent }]);
        } else if self.done[done.clone()].iter().any(|done| [PEAK, BYTES].contains(&done.meter)) {
            return Answer::Fails(vec![Problem::NotVoidable]);
        }
        self.told[place].is_void = true;
        self.reach(
            "a void of tokens that were priced",
            self.done[done.clone()].iter().any(|it| it.follows && it.n > 0),
        );
        for of in done {
            self.undo_one(of);
        }
        Answer::Changed(true)
    }

    fn undo_one(&mut self, of: usize) {
        let was = self.done[of].clone();
        let lifted = Window::PERIOD.into_iter().find(|window| self.limit(was.meter, *window).is_some());
        let lifted = lifted.unwrap_or(Window::BillingPeriod);
        let n = match was.meter {
            USERS => was.n,
            _ => -was.n.min(self.reported(was.meter, was.time.div_euclid(QUARTER) * QUARTER).max(0)),
        };
        let leaves = if was.meter == USERS { self.value_returns(of, lifted) } else { self.returns(of, lifted) };
        let (lost, returns) = self.split(leaves);
        self.reach("a void in a closed period", was.time < self.range(Window::BillingPeriod).0);
        self.reach("a void of what was counted before a reset", !self.counts(of, &was, Window::Lifetime));
        self.reach("a void of what a correction had taken", was.meter != USERS && -n < was.n);
        self.reach("a void of a settled reservation", was.kind == Kind::Settled);
        self.reach("a void returns credit", !returns.is_empty());
        self.reach("a void returns credit to a closed period", !returns.is_empty() && !self.counts(of, &was, lifted));
        let gave = returns.into_iter().map(|(grant, n)| (grant, -n)).collect();
        let done = self.done(was.meter, n, was.time, Kind::Void(of));
        self.done.push(Done { n, gave, lost, ..done });
    }

    /// What it drew, in reverse, as far as its window still has it from that grant; where that no longer counts it, as far as
    /// the grant gave it elsewhere.
    fn returns(&self, of: usize, lifted: Window) -> Draws {
        let (was, tally) = (&self.done[of], self.tally(self.done[of].meter, lifted));
        let is_open = self.counts(of, was, lifted);
        let most = |grant: usize| if is_open { tally.draw(grant) } else { self.given(grant) - tally.draw(grant) };
        let returns = was.gave.iter().rev().map(|(grant, n)| (*grant, (*n).min(most(*grant)).max(0)));
        returns.filter(|(_, n)| *n > 0).collect()
    }

    /// A value gives back one unit when it leaves, and none while another event has it.
    fn value_returns(&mut self, of: usize, lifted: Window) -> Draws {
        let was = self.done[of].clone();
        let tally = self.tally(USERS, lifted);
        let is_in = self.counts(of, &was, lifted);
        let leaves = is_in && tally.values.iter().filter(|value| **value == was.n).count() == 1;
        let was_new = is_in && !self.tally_before(USERS, lifted, of).values.contains(&was.n);
        self.reach("a void of a value that another event has", is_in && !leaves);
        let rules = self.rules(USERS);
        match rules.iter().find(|rule| rule.is_period) {
            Some(rule) if leaves => {
                let beyond = (tally.used - tally.drawn() - rule.base).max(0);
                self.last_of(tally.draws(), 1 - beyond)
            }
            None if leaves => self.returns(of, lifted),
            _ if !was_new => self.returns_elsewhere(of, &tally),
            _ => Vec::new(),
        }
    }

    /// What it drew where it did not count as new in this window.
    fn returns_elsewhere(&self, of: usize, tally: &super::tally::Tally) -> Draws {
        let gave = self.done[of].gave.iter().rev();
        let returns = gave.map(|(grant, n)| (*grant, (*n).min(self.given(*grant) - tally.draw(*grant)).max(0)));
        returns.filter(|(_, n)| *n > 0).collect()
    }
}

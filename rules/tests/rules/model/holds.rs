//! Reservations: made, extended, settled, given back, or lapsed by time.

use metergate_rules::decide::Problem;
use metergate_rules::id::MeterId;
use metergate_rules::window::Window;

use super::{Answer, Done, Draws, Kind, Model, Rule, Verdict};

/// Quantity that is held, or was.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) meter: MeterId,
    pub(crate) n: i64,
    at: i64,
    pub(crate) ends: i64,
    /// How much of which grant it holds.
    pub(crate) of_grants: Draws,
    overage: i64,
    pub(super) over: Option<Over>,
}

/// The end of a reservation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    pub(super) at: i64,
    /// How many resets there had been.
    pub(super) resets: usize,
    /// What minutes and hours go on counting.
    pub(super) slides: i64,
}

impl Model {
    /// The number of the `nth` reservation counted from the newest; one that was never given where there is none.
    pub(crate) fn hold_number(&self, nth: usize) -> usize {
        self.holds.len().checked_sub(nth).filter(|number| *number > 0).unwrap_or(self.holds.len() + 1)
    }

    /// Those that hold, with their numbers.
    pub(crate) fn open_holds(&self) -> impl Iterator<Item = (usize, &Hold)> {
        (1..).zip(&self.holds).filter(|(_, hold)| hold.over.is_none())
    }

    fn holding(&self, meter: MeterId, window: Window) -> impl Iterator<Item = &Hold> {
        let (from, until) = self.range(window);
        let open = self.open_holds().map(|(_, hold)| hold);
        open.filter(move |hold| hold.meter == meter && from <= hold.at && hold.at < until)
    }

    /// What is held in a window.
    pub(crate) fn held(&self, meter: MeterId, window: Window) -> i64 {
        self.holding(meter, window).map(|hold| hold.n).sum()
    }

    /// The part of it that grants hold.
    pub(super) fn held_of_grants(&self, meter: MeterId, window: Window) -> i64 {
        self.holding(meter, window).flat_map(|hold| &hold.of_grants).map(|(_, n)| n).sum()
    }

    /// What is held of a grant.
    pub(crate) fn held_of(&self, grant: usize) -> i64 {
        let held = self.open_holds().flat_map(|(_, hold)| &hold.of_grants);
        held.filter(|(of, _)| *of == grant).map(|(_, n)| n).sum()
    }

    /// Ends what lapses by now.
    pub(super) fn lapse(&mut self) {
        for nth in 0..self.holds.len() {
            let Hold { n, ends, .. } = self.holds[nth];
            if ends <= self.now && self.holds[nth].over.is_none() {
                self.holds[nth].over = Some(Over { at: ends, resets: self.resets.len(), slides: n });
                self.reach("a reservation lapsed", true);
            }
        }
    }

    pub(super) fn hold(&mut self, meter: MeterId, n: i64, ttl: i64) -> Answer {
        let done = self.done(meter, n, self.now, Kind::Decision);
        let mut verdict = self.weigh(&done);
        if let Some(reason) = verdict.reason {
            self.reached.insert(reason.as_str());
            self.reach("a reservation was refused", true);
            return Answer::Decided(vec![Verdict { overage: 0, ..verdict }]);
        }
        let of_grants = self.draw(meter, self.credit_taken(&done));
        self.reach("a reservation holds of grants", !of_grants.is_empty());
        let (at, ends, overage) = (self.now, self.now + ttl, verdict.overage);
        self.holds.push(Hold { meter, n: done.n, at, ends, of_grants, overage, over: None });
        verdict.limits = self.all_shown(meter);
        Answer::Decided(vec![verdict])
    }

    pub(super) fn extend(&mut self, nth: usize, ttl: i64) -> Answer {
        self.change_hold(nth, |model, place| {
            model.holds[place].ends = model.holds[place].ends.max(model.now + ttl);
            0
        })
    }

    pub(super) fn release(&mut self, nth: usize) -> Answer {
        self.change_hold(nth, |model, place| {
            let slides = model.holds[place].n;
            model.holds[place].over = Some(Over { at: model.now, resets: model.resets.len(), slides });
            0
        })
    }

    /// The true quantity counts as of when it was held.
    pub(super) fn commit(&mut self, nth: usize, n: i64) -> Answer {
        self.change_hold(nth, |model, place| {
            let hold = model.holds[place].clone();
            let (of_grants, overage) = model.settles(place, n);
            let gave = model.draw_with(&hold, of_grants);
            let over = Over { at: model.now, resets: model.resets.len(), slides: n.max(hold.n) };
            model.holds[place].over = Some(over);
            let done = Done { n, gave, ..model.done(hold.meter, n, hold.at, Kind::Settled) };
            model.reach_settled(&hold, n, overage);
            model.tell(vec![done]);
            overage
        })
    }

    fn reach_settled(&mut self, hold: &Hold, n: i64, overage: i64) {
        self.reach("a reservation came to less", n < hold.n);
        self.reach("a reservation came to more", n > hold.n && overage == 0);
        self.reach("a reservation came to more than there was", overage > 0);
        self.reach("a reservation settled in a closed period", hold.at < self.range(Window::BillingPeriod).0);
        let was_reset = |reset: &super::Reset| reset.meter == hold.meter && hold.at < reset.at;
        self.reach("a reservation settled after a reset", self.resets.iter().any(was_reset));
        let ended = hold.of_grants.iter().any(|(grant, _)| self.is_over(*grant));
        self.reach("a reservation settled from a grant that had ended", ended && n > 0);
    }

    /// Changes one that holds; the answer shows where its meter stands then. `change` answers what goes beyond limits.
    fn change_hold(&mut self, nth: usize, change: impl FnOnce(&mut Self, usize) -> i64) -> Answer {
        let number = self.hold_number(nth);
        let Some(hold) = self.holds.get(number - 1) else { return Answer::Fails(vec![Problem::UnknownReservation]) };
        if hold.over.is_some() {
            return Answer::Fails(vec![Problem::ReservationOver(None)]);
        }
        let meter = hold.meter;
        let overage = change(self, number - 1);
        Answer::Decided(vec![Verdict { reason: None, overage, limits: self.all_shown(meter), cost: None }])
    }

    /// What the true quantity takes from grants and what goes beyond. What was held is nobody else's; beyond that it has what
    /// is free now, in minutes and hours as in the windows in which it began. Of windows that are over it has what it held: of grants, and beyond the limit.
    fn settles(&self, place: usize, n: i64) -> (i64, i64) {
        let hold = &self.holds[place];
        let mut without = self.clone();
        without.holds.remove(place);
        let held_of_grants: i64 = hold.of_grants.iter().map(|(_, n)| n).sum();
        let from_ended: i64 = hold.of_grants.iter().filter(|(nth, _)| self.is_over(*nth)).map(|(_, n)| n).sum();
        let takes = |rule: &Rule| {
            let (from, until) = self.range(rule.window);
            let is_open = rule.window.sliding_length().is_some() || (from <= hold.at && hold.at < until);
            let of_base = (hold.n - hold.overage - if rule.is_period { held_of_grants } else { 0 }).max(0);
            let (base, credit) = match (is_open, rule.is_period) {
                (true, true) => {
                    let credit = without.credit(hold.meter);
                    let free = without.shown(hold.meter, rule).remaining - credit;
                    (free.max(of_base), credit + from_ended)
                }
                (true, false) => (without.shown(hold.meter, rule).remaining.max(of_base), 0),
                (false, true) => {
                    let of_grants = (n - of_base).clamp(0, held_of_grants);
                    return (of_grants, (n - of_base - of_grants).clamp(0, hold.overage));
                }
                (false, false) => return (0, 0),
            };
            let of_grants = (n - base).clamp(0, credit);
            (of_grants, (n - base - of_grants).max(0))
        };
        let taken: Vec<_> = self.rules(hold.meter).iter().map(takes).collect();
        (taken.iter().map(|it| it.0).max().unwrap_or(0), taken.iter().map(|it| it.1).max().unwrap_or(0))
    }

    /// So much of grants: first of what it holds.
    fn draw_with(&self, hold: &Hold, units: i64) -> Draws {
        let (mut gave, mut left): (Draws, i64) = (Vec::new(), units);
        for (grant, n) in &hold.of_grants {
            let taken = left.min(*n);
            left -= taken;
            gave.push((*grant, taken));
        }
        for (grant, n) in self.draw(hold.meter, left) {
            match gave.iter_mut().find(|(of, _)| *of == grant) {
                Some((_, taken)) => *taken += n,
                None => gave.push((grant, n)),
            }
        }
        gave.retain(|(_, n)| *n > 0);
        gave
    }
}

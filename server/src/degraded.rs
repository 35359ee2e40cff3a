//! What callers get where a meter cannot be decided (D13): as its plan says, counted, and never more than that.

use std::collections::HashMap;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::plan::Degraded;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{MINUTE, Time};
use metergate_rules::window::Sliding;
use parking_lot::Mutex;

use crate::clock;

/// Organizations and meters whose safe quantities are counted. Beyond that, calls are denied: what is not counted may not pass.
const MOST: usize = 100_000;

/// What was allowed on this node without a decision.
#[derive(Default)]
pub struct Degradation(Mutex<HashMap<(OrganizationId, MeterId), Sliding>>);

impl Degradation {
    /// Whether so much may pass undecided. What may is counted, here and in `/metrics`.
    pub fn allows(&self, organization: OrganizationId, meter: MeterId, policy: Degraded, quantity: Quantity) -> bool {
        self.answer(policy, |most, now| self.takes((organization, meter), most, quantity, now))
    }

    /// The same for a check, which takes nothing of what is safe.
    pub fn would_allow(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        policy: Degraded,
        quantity: Quantity,
    ) -> bool {
        self.answer(policy, |most, now| self.fits((organization, meter), most, quantity, now))
    }

    fn answer(&self, policy: Degraded, is_safe: impl FnOnce(Quantity, Time) -> bool) -> bool {
        let allowed = match policy {
            Degraded::Deny => crate::faults::planted("fail-open"),
            Degraded::Allow => true,
            Degraded::Safe(most) => is_safe(most, Time::from_micros(clock::boot())),
        };
        count(if allowed { "allowed" } else { "denied" });
        allowed
    }

    /// Counts what nobody's policy lets pass.
    pub fn denies(&self) {
        count("denied");
    }

    /// Whether there is so much of what is safe in any minute.
    fn fits(&self, of: (OrganizationId, MeterId), most: Quantity, quantity: Quantity, now: Time) -> bool {
        let taken = self.0.lock();
        let used = taken.get(&of).map_or(Quantity::ZERO, |taken| taken.used(MINUTE, now));
        quantity <= most.minus(used)
    }

    /// Takes so much of what is safe in any minute, if there is so much.
    fn takes(&self, of: (OrganizationId, MeterId), most: Quantity, quantity: Quantity, now: Time) -> bool {
        let mut taken = self.0.lock();
        if taken.len() >= MOST && !taken.contains_key(&of) {
            taken.retain(|_, taken| !taken.used(MINUTE, now).is_zero());
            if taken.len() >= MOST {
                return false;
            }
        }
        let taken = taken.entry(of).or_default();
        let fits = quantity <= most.minus(taken.used(MINUTE, now));
        if fits {
            taken.add(MINUTE, now, quantity);
        }
        fits
    }
}

fn count(answer: &'static str) {
    metrics::counter!("metergate_degraded_decisions_total", "answer" => answer).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use metergate_rules::time::SECOND;

    const ACME: OrganizationId = OrganizationId([1; 16]);
    const GLOBEX: OrganizationId = OrganizationId([2; 16]);

    fn q(units: i64) -> Quantity {
        Quantity::new(units).unwrap()
    }

    #[test]
    fn a_safe_quantity_is_for_each_organization_and_meter_and_any_minute() {
        let degradation = Degradation::default();
        let takes = |organization, meter, quantity, seconds| {
            let now = Time::from_micros(1_000 * MINUTE + seconds * SECOND);
            degradation.takes((organization, MeterId(meter)), q(10), q(quantity), now)
        };
        #[rustfmt::skip]
        let rows = [
            (ACME, 1, 6, 30, true), (ACME, 1, 5, 30, false), (ACME, 1, 4, 40, true), (ACME, 1, 1, 59, false),
            (ACME, 2, 10, 59, true), (GLOBEX, 1, 11, 59, false), (GLOBEX, 1, 10, 59, true),
            (ACME, 1, 1, 89, false), (ACME, 1, 6, 91, true), (ACME, 1, 1, 92, false),
        ];
        for (organization, meter, quantity, seconds, taken) in rows {
            assert_eq!(takes(organization, meter, quantity, seconds), taken, "{meter}: {quantity} at {seconds} s");
        }
    }

    #[test]
    fn a_check_takes_nothing_and_is_told_what_is_left() {
        let (degradation, safe) = (Degradation::default(), Degraded::Safe(q(10)));
        let would = |quantity| degradation.would_allow(ACME, MeterId(1), safe, q(quantity));
        assert_eq!([10, 10, 11].map(would), [true, true, false]);
        assert!(degradation.allows(ACME, MeterId(1), safe, q(7)));
        assert_eq!([3, 3, 4].map(would), [true, true, false]);
        assert!(degradation.would_allow(ACME, MeterId(2), safe, q(10)), "another meter has its own");
    }

    #[test]
    fn what_is_not_counted_does_not_pass() {
        let (degradation, now) = (Degradation::default(), Time::from_micros(1_000 * MINUTE));
        let of = |i: usize| (OrganizationId((i as u128).to_be_bytes()), MeterId(1));
        let all = (0..MOST).all(|i| degradation.takes(of(i), q(1), q(1), now));
        assert!(all && !degradation.takes(of(MOST), q(1), q(1), now));
        assert!(degradation.takes(of(MOST), q(1), q(1), now.plus(2 * MINUTE)), "those of long ago are forgotten");
        assert_eq!(degradation.0.lock().len(), 1);
    }

    #[test]
    fn policies_are_what_they_say() {
        let degradation = Degradation::default();
        let allows = |policy| degradation.allows(ACME, MeterId(1), policy, q(3));
        assert_eq!(
            [Degraded::Deny, Degraded::Allow, Degraded::Safe(q(2)), Degraded::Safe(q(3))].map(allows),
            [false, true, false, true]
        );
    }
}

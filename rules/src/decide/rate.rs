//! Decisions on minutes and hours that are counted elsewhere than in the account: on meters of which nothing is recorded.
//!
//! The other place counts use in the same sub-buckets as [`crate::window::Sliding`], admits under the same limits and says
//! what it found; what that means for the caller is decided here.

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::catalogue::Catalogue;
use crate::command::Item;
use crate::id::MeterId;
use crate::limits::{Claim, InForce, Limits, Standing};
use crate::meter::Measure;
use crate::outcome::{LimitState, Reason, Verdict};
use crate::plan::{Degraded, Enforcement, Max, RefusalStatus};
use crate::quantity::{InvalidQuantity, Quantity};
use crate::time::Time;
use crate::window::Window;

use super::Problem;
use super::consume::lock_reason;

/// The other place may count in floating point, which is exact up to 2⁵³: half of that for a limit, half for what is asked.
const MOST: i64 = 1 << 52;

/// What is asked of a meter whose minutes and hours are counted elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// The meter.
    pub meter: MeterId,
    /// How much is asked for.
    pub quantity: Quantity,
    /// What the caller gets where the other place cannot be asked.
    pub policy: Degraded,
    /// Why it is refused whatever was used.
    reason: Option<Reason>,
    limits: Vec<(Window, Quantity, InForce)>,
}

/// What the other place found of one window, before it counted what was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// What had been used.
    pub used: Quantity,
    /// When the oldest of that is free again; `None` where nothing was used.
    pub next_free: Option<Time>,
    /// When so much is free that what was asked fits; `None` where it fits, or never will.
    pub fits_at: Option<Time>,
}

/// One limit that the other place has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Minute or hour.
    pub window: Window,
    /// The window's length in microseconds.
    pub length: i64,
    /// The most that may be used; `None` where more is allowed as overage.
    pub most: Option<Quantity>,
}

impl Rate {
    /// What is asked, where it is counted elsewhere: on a meter that adds up, of which nothing is recorded, and that has
    /// minute and hour limits and no other. An organization with a clock of its own is always counted in its account.
    ///
    /// # Errors
    /// [`Problem::UnknownMeter`], [`Problem::UnknownPlan`]; [`Problem::InvalidQuantity`] above 2⁵² of the smallest unit.
    pub fn of(account: &Account, item: &Item, catalogue: &Catalogue) -> Result<Option<Self>, Problem> {
        let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
        let meter = catalogue.meter(item.meter).ok_or(Problem::UnknownMeter)?;
        let Measure::Add(quantity) = item.measure else { return Ok(None) };
        if meter.record || account.clock.is_some() {
            return Ok(None);
        }
        let in_force = Limits::new(account, plan, meter);
        let limit = |window| {
            let limit = in_force.in_force(window)?;
            let Max::Units(max) = limit.max else { return None };
            Some((window, max, limit))
        };
        let limits: Vec<_> = Window::ALL.into_iter().filter_map(limit).collect();
        let slides =
            |(window, max, _): &(Window, Quantity, InForce)| window.sliding_length().is_some() && max.units() <= MOST;
        if limits.is_empty() || !limits.iter().all(slides) {
            return Ok(None);
        }
        if quantity.units() > MOST {
            return Err(InvalidQuantity::TooLarge.into());
        }
        let (meter, policy) = (meter.id, plan.degraded(meter.id));
        Ok(Some(Self { meter, quantity, policy, reason: lock_reason(account), limits }))
    }

    /// Whether it is refused whatever was used: then nothing must be counted.
    pub const fn is_refused(&self) -> bool {
        self.reason.is_some()
    }

    /// The limits to be kept, shortest window first.
    pub fn bounds(&self) -> impl ExactSizeIterator<Item = Bound> + '_ {
        self.limits.iter().map(|(window, max, limit)| Bound {
            window: *window,
            length: window.sliding_length().unwrap_or(i64::MAX),
            most: (limit.enforcement == Enforcement::Hard).then_some(*max),
        })
    }

    /// The answer, given what was found for each of the [bounds](Self::bounds) at `now`. `in_earnest`: what was allowed has
    /// been counted.
    pub fn verdict(&self, found: &[Counted], now: Time, in_earnest: bool) -> Verdict {
        let weights: Vec<Weight> =
            self.limits.iter().zip(found).map(|(limit, found)| self.weigh(*limit, *found)).collect();
        let exceeded = weights.iter().any(|weight| weight.violated);
        let reason = self.reason.or(exceeded.then_some(Reason::QuotaExceeded));
        let taken = if reason.is_none() && in_earnest { self.quantity } else { Quantity::ZERO };
        let pays = |weight: &Weight| weight.violated && weight.standing.status == RefusalStatus::PaymentRequired;
        let is_about_quota = reason == Some(Reason::QuotaExceeded);
        let overage = Claim::largest(weights.iter().map(|weight| weight.standing.claim(taken))).beyond;
        Verdict {
            meter: self.meter,
            reason,
            overage,
            limits: weights.iter().map(|weight| weight.state(taken, now)).collect(),
            retry_at: if is_about_quota { retry_at(&weights, now) } else { None },
            status: match is_about_quota && weights.iter().any(pays) {
                true => RefusalStatus::PaymentRequired,
                false => RefusalStatus::TooManyRequests,
            },
            cost: None,
        }
    }

    fn weigh(&self, (window, base, limit): (Window, Quantity, InForce), found: Counted) -> Weight {
        let standing = Standing {
            window,
            enforcement: limit.enforcement,
            status: limit.status,
            base,
            used: found.used,
            drawn: Quantity::ZERO,
            held: Quantity::ZERO,
            held_drawn: Quantity::ZERO,
            available: Quantity::ZERO,
        };
        let beyond = !standing.claim(self.quantity).beyond.is_zero();
        Weight { standing, found, violated: beyond && limit.enforcement == Enforcement::Hard }
    }
}

/// One limit against what is asked.
struct Weight {
    standing: Standing,
    found: Counted,
    violated: bool,
}

impl Weight {
    fn state(&self, taken: Quantity, now: Time) -> LimitState {
        let standing = Standing { used: self.standing.used.saturating_add(taken), ..self.standing };
        let bucket = standing.window.sliding_length().unwrap_or(0) / 60;
        let in_use = !standing.used.is_zero();
        LimitState {
            window: standing.window,
            enforcement: standing.enforcement,
            limit: standing.limit(),
            used: standing.used,
            held: Quantity::ZERO,
            remaining: standing.remaining(),
            resets_at: self.found.next_free.or_else(|| in_use.then(|| now.floor(bucket).plus(61 * bucket))),
            violated: self.violated,
        }
    }
}

/// When every violated limit has freed enough; `None` if one never does.
fn retry_at(weights: &[Weight], now: Time) -> Option<Time> {
    let violated = weights.iter().filter(|weight| weight.violated);
    violated.map(|weight| weight.found.fits_at).try_fold(now, |latest, fits| Some(latest.max(fits?)))
}

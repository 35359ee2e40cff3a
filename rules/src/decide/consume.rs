//! The answer to "may this organization use so much now?" (D1–D10).

use crate::account::{Account, LockCause, MeterUse, OpenWindows};
use crate::catalogue::Catalogue;
use crate::command::{Consume, Item};
use crate::grant;
use crate::limits::{Claim, Limits, Standing};
use crate::meter::{Measure, Meter};
use crate::outcome::{Decided, LimitState, Outcome, Reason, Reply, Use, Verdict, What};
use crate::plan::{Enforcement, Plan, RefusalStatus};
use crate::quantity::Quantity;
use crate::time::Time;
use crate::window::{Window, WindowSet};

use super::{Problem, entry, tally};

/// Decides all items together: all or nothing.
pub(super) fn consume(
    account: &Account,
    asked: &Consume,
    seen: &[WindowSet],
    with_receipt: bool,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Outcome, Problem> {
    let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
    refuse_meter_twice(&asked.items)?;
    let mut weighed = Vec::with_capacity(asked.items.len());
    for (i, item) in asked.items.iter().enumerate() {
        let meter = catalogue.meter(item.meter).ok_or(Problem::UnknownMeter)?;
        let seen = seen.get(i).copied().unwrap_or_default();
        weighed.push(Weighed::new(account, plan, meter, item, seen, now)?);
    }
    let allowed = weighed.iter().all(|w| w.reason.is_none());
    let verdicts: Vec<Verdict> = weighed.iter().map(|w| w.verdict(allowed, now)).collect();
    let uses = if allowed { weighed.iter().map(|w| w.used(account, now)).collect() } else { Vec::new() };
    let kept = with_receipt.then(|| verdicts.clone());
    let decided = Decided { uses, verdicts: kept, properties: asked.properties.clone(), outcome: asked.outcome };
    let entries = if allowed || with_receipt { vec![entry(now, What::Decided(decided))] } else { Vec::new() };
    Ok(Outcome { entries, reply: Reply::Decided(verdicts), audit: Vec::new() })
}

fn refuse_meter_twice(items: &[Item]) -> Result<(), Problem> {
    let twice = items.iter().enumerate().any(|(i, item)| items[..i].iter().any(|other| other.meter == item.meter));
    if twice { Err(Problem::MeterTwice) } else { Ok(()) }
}

/// One limit against what is asked.
struct Weight {
    standing: Standing,
    claim: Claim,
    asked: Quantity,
}

impl Weight {
    const fn violated(&self) -> bool {
        matches!(self.standing.enforcement, Enforcement::Hard) && !self.claim.beyond.is_zero()
    }
}

/// One item held against all limits of its meter.
struct Weighed<'a> {
    meter: &'a Meter,
    item: &'a Item,
    used: Option<&'a MeterUse>,
    seen: WindowSet,
    windows: OpenWindows,
    weights: Vec<Weight>,
    reason: Option<Reason>,
}

impl<'a> Weighed<'a> {
    fn new(
        account: &'a Account,
        plan: &Plan,
        meter: &'a Meter,
        item: &'a Item,
        seen: WindowSet,
        now: Time,
    ) -> Result<Self, Problem> {
        let limits = Limits::new(account, plan, meter);
        let used = account.meter(meter.id);
        tally::check_range(used, item.measure)?;
        let weigh = |window| {
            let standing = limits.standing(window, now)?;
            let asked = tally::added(used, item.measure, window, seen);
            let from = if matches!(item.measure, Measure::Level(_)) { Quantity::ZERO } else { standing.used };
            Some(Weight { standing, claim: Standing { used: from, ..standing }.claim(asked), asked })
        };
        let weights: Vec<Weight> = Window::ALL.into_iter().filter_map(weigh).collect();
        let entitled = plan.other_meters || limits.is_named();
        let exceeded = weights.iter().any(Weight::violated);
        let reason = lock_reason(account)
            .or((!entitled).then_some(Reason::NotEntitled))
            .or(exceeded.then_some(Reason::QuotaExceeded));
        Ok(Self { meter, item, used, seen, windows: account.windows, weights, reason })
    }

    /// The answer; `used` and `remaining` are those after the decision.
    fn verdict(&self, allowed: bool, now: Time) -> Verdict {
        let overage = self.weights.iter().map(|w| w.claim.beyond).max().unwrap_or_default();
        let exceeded = self.reason == Some(Reason::QuotaExceeded);
        let pays = self.weights.iter().any(|w| w.violated() && w.standing.status == RefusalStatus::PaymentRequired);
        Verdict {
            meter: self.meter.id,
            reason: self.reason,
            overage: if allowed { overage } else { Quantity::ZERO },
            limits: self.weights.iter().map(|w| self.state(w, allowed, now)).collect(),
            retry_at: if exceeded { self.retry_at(now) } else { None },
            status: if exceeded && pays { RefusalStatus::PaymentRequired } else { RefusalStatus::TooManyRequests },
        }
    }

    fn state(&self, weight: &Weight, allowed: bool, now: Time) -> LimitState {
        let standing = if allowed { self.standing_after(weight) } else { weight.standing };
        LimitState {
            window: standing.window,
            enforcement: standing.enforcement,
            limit: standing.limit(),
            used: standing.used,
            held: Quantity::ZERO,
            remaining: standing.remaining(),
            resets_at: self.resets_at(standing.window, !standing.used.is_zero(), now),
            violated: weight.violated(),
        }
    }

    fn standing_after(&self, weight: &Weight) -> Standing {
        let before = weight.standing;
        let level = matches!(self.item.measure, Measure::Level(_));
        let drawn = self.drawn_from_grants();
        let lifted = self.drawn_in(before.window);
        Standing {
            used: if level { weight.asked } else { before.used.saturating_add(weight.asked) },
            drawn: if lifted { before.drawn.saturating_add(drawn) } else { before.drawn },
            available: if lifted { before.available.minus(drawn) } else { before.available },
            ..before
        }
    }

    /// What comes from grants: only the period limit draws them, so only its claim has any.
    fn drawn_from_grants(&self) -> Quantity {
        if !self.meter.aggregation.draws_grants() {
            return Quantity::ZERO;
        }
        self.weights.iter().map(|w| w.claim.from_grants).max().unwrap_or_default()
    }

    fn drawn_in(&self, window: Window) -> bool {
        self.weights.iter().any(|w| w.standing.window == window && !w.claim.from_grants.is_zero())
    }

    fn resets_at(&self, window: Window, in_use: bool, now: Time) -> Option<Time> {
        let Some(length) = window.sliding_length() else { return self.window_end(window) };
        let frees = self.used.and_then(|used| used.sliding(window)).and_then(|used| used.next_free(length, now));
        frees.or_else(|| in_use.then(|| now.floor(length / 60).plus(length + length / 60)))
    }

    fn window_end(&self, window: Window) -> Option<Time> {
        match window {
            Window::Lifetime => None,
            _ => Some(self.windows.get(window).end),
        }
    }

    /// When every violated limit has freed enough; `None` if one never does.
    fn retry_at(&self, now: Time) -> Option<Time> {
        let violated = self.weights.iter().filter(|w| w.violated());
        violated.map(|w| self.frees_at(w, now)).try_fold(now, |latest, frees| Some(latest.max(frees?)))
    }

    fn frees_at(&self, weight: &Weight, now: Time) -> Option<Time> {
        let never = weight.asked > weight.standing.base || matches!(self.item.measure, Measure::Level(_));
        if never {
            return None;
        }
        let window = weight.standing.window;
        let Some(length) = window.sliding_length() else { return self.window_end(window) };
        let target = weight.standing.base.minus(weight.asked);
        self.used.and_then(|used| used.sliding(window)).and_then(|used| used.falls_to(length, now, target))
    }

    fn used(&self, account: &Account, now: Time) -> Use {
        let draws = grant::draw(&account.grants, self.meter.id, self.drawn_from_grants(), now);
        let overage = self.weights.iter().map(|w| w.claim.beyond).max().unwrap_or_default();
        super::record::used(account, self.item, now, self.seen, draws, overage, true)
    }
}

/// The reason that the strongest lock gives.
fn lock_reason(account: &Account) -> Option<Reason> {
    let reason = |cause| match cause {
        LockCause::Operator => Reason::OrganizationLocked,
        LockCause::Trial => Reason::TrialExpired,
        LockCause::Billing => Reason::SubscriptionInactive,
    };
    account.locks.iter().map(|lock| reason(lock.cause)).min()
}

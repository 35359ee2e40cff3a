//! The answer to "may this organization use so much now?" (D1–D10).

use crate::account::{Account, LockCause, MeterUse};
use crate::catalogue::Catalogue;
use crate::command::{Consume, Item};
use crate::id::MeterId;
use crate::limits::{Claim, Limits, Standing};
use crate::meter::Meter;
use crate::notice::{Notice, triggered};
use crate::outcome::{Asked, Decided, LimitState, Outcome, Reason, Reply, Use, Verdict, What};
use crate::plan::{Enforcement, Plan, RefusalStatus};
use crate::quantity::Quantity;
use crate::time::Time;
use crate::window::{Window, WindowSet};

use super::cost::Costed;
use super::tally::Touch;
use super::{Problem, entry, noticed, refuse_meter_twice};

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
    let costed = Costed::of(asked.llm.as_deref(), &asked.items, plan, catalogue, now)?;
    let costed = match &costed {
        Some(costed) => Some((costed, costed.weighed(account, plan, catalogue, now)?)),
        None => None,
    };
    let affordable = costed.as_ref().is_none_or(|(_, w)| !w.is_exceeded());
    let allowed = affordable && weighed.iter().all(|w| w.reason.is_none());
    let taken = Taken::Used.only_if(allowed);
    let answered = weighed.iter().zip(&asked.items).map(|(w, item)| w.verdict(item.meter, taken, now));
    let mut verdicts: Vec<Verdict> = answered.collect();
    if let Some((costed, w)) = &costed {
        costed.tell(&mut verdicts, w, taken, now);
    }
    let written = |w: &Weighed<'_>| w.touch.written(w.claim(), &account.grants, now, true);
    let cost = costed.iter().map(|(costed, w)| costed.follow(written(w)));
    let uses = if allowed { weighed.iter().map(written).chain(cost).collect() } else { Vec::new() };
    let kept = with_receipt.then(|| verdicts.clone());
    let cost = costed.iter().map(|(costed, _)| costed.asked());
    let refused = if allowed || !with_receipt { Vec::new() } else { refused(&asked.items, seen).chain(cost).collect() };
    let (properties, outcome) = (asked.properties.clone(), asked.outcome);
    let decided = Decided { uses, refused, verdicts: kept, properties, outcome };
    let all = weighed.iter().chain(costed.iter().map(|(_, w)| w));
    let notices = set_off(account, all, &decided.uses, &verdicts, now);
    let mut entries = if allowed || with_receipt { vec![entry(now, What::Decided(decided))] } else { Vec::new() };
    entries.extend(noticed(notices, now));
    Ok(Outcome { entries, reply: Reply::Decided(verdicts), audit: Vec::new() })
}

/// What was weighed, for whoever weighs it again.
fn refused(items: &[Item], seen: &[WindowSet]) -> impl Iterator<Item = Asked> {
    items.iter().enumerate().map(|(i, item)| {
        let seen = seen.get(i).copied().unwrap_or_default();
        Asked { item: item.clone(), seen, follows: None }
    })
}

/// What others are told of a decision that used this, or of a refusal.
fn set_off<'w>(
    account: &Account,
    weighed: impl Iterator<Item = &'w Weighed<'w>>,
    uses: &[Use],
    verdicts: &[Verdict],
    now: Time,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    if uses.is_empty() {
        // A limit that came down to what was used already is told of by what it refuses: nothing is used any more.
        weighed.for_each(|weighed| weighed.notice(Taken::Nothing, &mut notices));
        triggered::of_refusals(account, verdicts, now, &mut notices);
        return notices;
    }
    for (weighed, used) in weighed.zip(uses) {
        weighed.notice(Taken::Used, &mut notices);
        triggered::of_draws(&account.grants, &used.draws, &mut notices);
    }
    notices
}

/// What becomes of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is used.
    Used,
    /// It is held.
    Held,
    /// It was refused, or was not asked for in earnest.
    Nothing,
}

impl Taken {
    pub(super) const fn only_if(self, allowed: bool) -> Self {
        if allowed { self } else { Self::Nothing }
    }
}

/// One limit against what is asked.
struct Weight {
    standing: Standing,
    claim: Claim,
    violated: bool,
}

/// One item held against all limits of its meter.
pub(super) struct Weighed<'a> {
    account: &'a Account,
    limits: Limits<'a>,
    used: Option<&'a MeterUse>,
    touch: Touch<'a>,
    weights: Vec<Weight>,
    reason: Option<Reason>,
}

impl<'a> Weighed<'a> {
    pub(super) fn new(
        account: &'a Account,
        plan: &'a Plan,
        meter: &'a Meter,
        item: &'a Item,
        seen: WindowSet,
        now: Time,
    ) -> Result<Self, Problem> {
        let limits = Limits::new(account, plan, meter);
        let touch = Touch::new(account, item, seen, now)?;
        let weigh = |window| {
            let standing = limits.standing(window, now)?;
            let violated = standing.enforcement == Enforcement::Hard && touch.passes(&standing);
            Some(Weight { standing, claim: touch.claim(&standing), violated })
        };
        let weights: Vec<Weight> = Window::ALL.into_iter().filter_map(weigh).collect();
        let entitled = plan.other_meters || limits.is_named();
        let exceeded = weights.iter().any(|w| w.violated);
        let reason = lock_reason(account)
            .or((!entitled).then_some(Reason::NotEntitled))
            .or(exceeded.then_some(Reason::QuotaExceeded));
        Ok(Self { account, limits, used: account.meter(meter.id), touch, weights, reason })
    }

    pub(super) const fn is_allowed(&self) -> bool {
        self.reason.is_none()
    }

    /// Whether a hard limit would be passed.
    pub(super) fn is_exceeded(&self) -> bool {
        self.weights.iter().any(|w| w.violated)
    }

    /// Whether paying helps, by one of the limits that would be passed.
    pub(super) fn pays(&self) -> bool {
        self.weights.iter().any(|w| w.violated && w.standing.status == RefusalStatus::PaymentRequired)
    }

    pub(super) fn claim(&self) -> Claim {
        Claim::largest(self.weights.iter().map(|w| w.claim))
    }

    /// What the limits set off once it is taken.
    pub(super) fn notice(&self, taken: Taken, notices: &mut Vec<Notice>) {
        for weight in &self.weights {
            triggered::of_limit(&self.limits, self.used, &self.standing_after(weight, taken), notices);
        }
    }

    /// The answer; `used` and `remaining` are those after the decision.
    pub(super) fn verdict(&self, meter: MeterId, taken: Taken, now: Time) -> Verdict {
        let exceeded = self.reason == Some(Reason::QuotaExceeded);
        Verdict {
            meter,
            reason: self.reason,
            overage: if taken == Taken::Nothing { Quantity::ZERO } else { self.claim().beyond },
            limits: self.weights.iter().map(|w| self.state(w, taken, now)).collect(),
            retry_at: if exceeded { self.retry_at(now) } else { None },
            status: if exceeded && self.pays() {
                RefusalStatus::PaymentRequired
            } else {
                RefusalStatus::TooManyRequests
            },
            cost: None,
        }
    }

    fn state(&self, weight: &Weight, taken: Taken, now: Time) -> LimitState {
        let standing = self.standing_after(weight, taken);
        LimitState {
            window: standing.window,
            enforcement: standing.enforcement,
            limit: standing.limit(),
            used: standing.used,
            held: standing.held,
            remaining: standing.remaining(),
            resets_at: self.resets_at(standing.window, !standing.used.is_zero(), now),
            violated: weight.violated,
        }
    }

    fn standing_after(&self, weight: &Weight, taken: Taken) -> Standing {
        let before = weight.standing;
        let drawn = weight.claim.from_grants;
        let available = before.available.minus(drawn);
        match taken {
            Taken::Nothing => before,
            Taken::Used => self.touch.standing_after(&before, weight.claim),
            Taken::Held => {
                let held = before.held.saturating_add(self.touch.added(before.window));
                Standing { held, held_drawn: before.held_drawn.saturating_add(drawn), available, ..before }
            }
        }
    }

    fn resets_at(&self, window: Window, in_use: bool, now: Time) -> Option<Time> {
        let Some(length) = window.sliding_length() else { return self.ends_at(window) };
        let frees = self.used.and_then(|used| used.sliding(window)).and_then(|used| used.next_free(length, now));
        frees.or_else(|| in_use.then(|| now.floor(length / 60).plus(length + length / 60)))
    }

    /// When a counted window begins anew. Levels are carried over and a lifetime lasts: time frees nothing there.
    fn ends_at(&self, window: Window) -> Option<Time> {
        if self.touch.is_level() || window == Window::Lifetime {
            None
        } else {
            Some(self.account.windows.get(window).end)
        }
    }

    /// When every violated limit has freed enough; `None` if one never does.
    pub(super) fn retry_at(&self, now: Time) -> Option<Time> {
        let violated = self.weights.iter().filter(|w| w.violated);
        violated.map(|w| self.frees_at(w, now)).try_fold(now, |latest, frees| Some(latest.max(frees?)))
    }

    /// When the window is over or has slid on, or when enough reservations have lapsed, whichever comes first.
    fn frees_at(&self, weight: &Weight, now: Time) -> Option<Time> {
        let (window, alone) = (weight.standing.window, self.touch.alone());
        let lapsed = self.lapsed(weight);
        let Some(length) = window.sliding_length() else {
            let end = self.ends_at(window).filter(|end| {
                let then = self.limits.standing(window, *end);
                then.is_some_and(|then| alone <= then.base.saturating_add(then.available))
            });
            return end.into_iter().chain(lapsed).min();
        };
        let target = weight.standing.base.minus(weight.standing.held).minus(alone);
        if alone > weight.standing.base.minus(weight.standing.held) {
            return lapsed.map(|lapsed| lapsed.plus(length + length / 60));
        }
        self.used.and_then(|used| used.sliding(window)).and_then(|used| used.falls_to(length, now, target))
    }

    /// When all reservations in a window have lapsed, where that frees enough.
    fn lapsed(&self, weight: &Weight) -> Option<Time> {
        let standing = weight.standing;
        let free = Standing { held: Quantity::ZERO, held_drawn: Quantity::ZERO, ..standing };
        let frees = !standing.held.is_zero()
            && match standing.window.sliding_length() {
                Some(_) => self.touch.alone() <= standing.base,
                None => self.touch.claim(&free).beyond <= standing.held_drawn,
            };
        let held = self.account.held_in(self.limits.meter().id, standing.window);
        if frees { held.map(|held| held.ends_at).max() } else { None }
    }
}

/// The reason that the strongest lock gives.
pub(super) fn lock_reason(account: &Account) -> Option<Reason> {
    let reason = |cause| match cause {
        LockCause::Operator => Reason::OrganizationLocked,
        LockCause::Trial => Reason::TrialExpired,
        LockCause::Billing => Reason::SubscriptionInactive,
    };
    account.locks.iter().map(|lock| reason(lock.cause)).min()
}

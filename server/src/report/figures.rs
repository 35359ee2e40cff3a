//! The figures of one meter in one window, and how they follow from each other (D6).

use metergate_rules::grant;
use metergate_rules::limits::{InForce, Limits, use_in};
use metergate_rules::meter::Meter;
use metergate_rules::plan::Max;
use metergate_rules::quantity::Quantity;
use metergate_rules::reservation::Reservation;
use metergate_rules::time::{Span, Time};
use metergate_rules::window::Window;

use super::{Current, Report};

/// What one meter used in one window, and what of it is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) window: Window,
    /// The window's bounds; of a sliding one the interval that ends now.
    pub(super) span: Span,
    /// The last reset in it: what was used before it does not count.
    pub(super) reset_at: Option<Time>,
    /// When more becomes free, if time frees any.
    pub(super) resets_at: Option<Time>,
    /// Override or plan; `None` where neither says anything about this window.
    pub(super) in_force: Option<InForce>,
    /// Whether extra quota and grants lift this limit: it is the meter's period limit.
    pub(super) lifted: bool,
    /// Extra quota; zero unless lifted.
    pub(super) extra: Quantity,
    /// All use.
    pub(super) used: Quantity,
    /// The part of it that came from grants; zero unless lifted.
    pub(super) drawn: Quantity,
    /// What reservations hold.
    pub(super) held: Quantity,
    /// The part of it that grants hold; zero unless lifted.
    pub(super) held_drawn: Quantity,
    /// What grants can still give; zero unless lifted.
    pub(super) available: Quantity,
}

impl Figures {
    pub(super) fn of(current: &Current<'_>, meter: &Meter, window: Window) -> Self {
        let (account, now) = (&current.account, current.now);
        let limits = Limits::new(account, current.plan, meter);
        let used = account.meter(meter.id);
        let counter = used.and_then(|used| used.counter(window));
        let lifted = limits.period_window().unwrap_or(Window::BillingPeriod) == window;
        let only_lifted = |quantity: Quantity| if lifted { quantity } else { Quantity::ZERO };
        let open = account.windows.get(window);
        let sliding = window.sliding_length();
        let frees = |length| used.and_then(|used| used.sliding(window)?.next_free(length, now));
        Self {
            window,
            span: sliding.map_or(open, |length| Span { start: now.plus(-length), end: now }),
            reset_at: counter.and_then(|counter| counter.reset_at),
            resets_at: match sliding {
                Some(length) => frees(length),
                None => Some(open.end).filter(|_| window != Window::Lifetime),
            },
            in_force: limits.in_force(window),
            lifted,
            extra: only_lifted(account.extra_of(meter.id)),
            used: use_in(used, meter, window, now),
            drawn: only_lifted(counter.map_or(Quantity::ZERO, metergate_rules::account::Counter::drawn)),
            held: limits.held(window, |held| held.quantity),
            held_drawn: only_lifted(limits.held(window, Reservation::from_grants)),
            available: only_lifted(grant::available(&account.grants, meter.id, now)),
        }
    }

    /// The figures of the period limit's window; of the billing period where the meter has no such limit.
    pub(super) fn of_period(current: &Current<'_>, meter: &Meter) -> Self {
        let limits = Limits::new(&current.account, current.plan, meter);
        Self::of(current, meter, limits.period_window().unwrap_or(Window::BillingPeriod))
    }

    /// The figures of every window that has a limit, shortest first.
    pub(super) fn limited(current: &Current<'_>, meter: &Meter) -> Vec<Self> {
        let all = Window::ALL.into_iter().map(|window| Self::of(current, meter, window));
        all.filter(|figures| figures.in_force.is_some()).collect()
    }

    /// Override or plan, before extra quota; `None` without limit.
    pub(super) fn max(&self) -> Option<Quantity> {
        match self.in_force?.max {
            Max::Units(max) => Some(max),
            Max::Unlimited => None,
        }
    }

    /// Override or plan, plus extra quota.
    pub(super) fn base(&self) -> Option<Quantity> {
        self.max().map(|max| max.saturating_add(self.extra))
    }

    /// What grants gave since the counter began, hold, and can still give.
    pub(super) const fn granted(&self) -> Quantity {
        self.drawn.saturating_add(self.held_drawn).saturating_add(self.available)
    }

    /// The limit to show.
    pub(super) fn limit(&self) -> Option<Quantity> {
        self.base().map(|base| base.saturating_add(self.granted()))
    }

    /// The use that came from the base.
    pub(super) const fn base_use(&self) -> Quantity {
        self.used.minus(self.drawn)
    }

    /// What may still be used.
    pub(super) fn remaining(&self) -> Option<Quantity> {
        let held = self.held.minus(self.held_drawn);
        self.base().map(|base| base.minus(self.base_use()).minus(held).saturating_add(self.available))
    }

    /// What was used beyond the limit.
    pub(super) fn overage(&self) -> Quantity {
        self.base().map_or(Quantity::ZERO, |base| self.base_use().minus(base))
    }

    /// Whether the limit in force says that there is none.
    pub(super) fn is_unlimited(&self) -> bool {
        self.in_force.is_some_and(|in_force| in_force.max == Max::Unlimited)
    }
}

impl Report<'_> {
    /// The meters that the plan or an override names, that extra quota or a grant lifts, or that have been used; by key.
    /// Deleted ones count no more.
    pub(super) fn meters_of(&self, current: &Current<'_>) -> Vec<&Meter> {
        let account = &current.account;
        let concerns = |meter: &Meter| {
            Limits::new(account, current.plan, meter).is_named()
                || account.meter(meter.id).is_some()
                || !account.extra_of(meter.id).is_zero()
                || account.grants.iter().any(|grant| grant.meter == meter.id)
        };
        let living = |meter: &&Meter| self.catalogue.meter(meter.key.as_str()).is_some_and(|m| m.id == meter.id);
        let all = self.catalogue.rules.meters().into_iter().map(|meter| &**meter);
        all.filter(living).filter(|meter| concerns(meter)).collect()
    }

    /// Whether the plan lets the organization use a meter at all.
    pub(super) fn is_entitled(current: &Current<'_>, meter: &Meter) -> bool {
        current.plan.other_meters || Limits::new(&current.account, current.plan, meter).is_named()
    }
}

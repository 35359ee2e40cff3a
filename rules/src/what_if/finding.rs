//! What a replay finds of each call and fact.

use crate::command::Item;
use crate::id::MeterId;
use crate::meter::Measure;
use crate::outcome::{Asked, Entry, LimitState, Reason, Use, Verdict};
use crate::quantity::Quantity;
use crate::reservation::Reservation;
use crate::time::Time;
use crate::window::WindowSet;

/// What kind of thing was asked or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A decision.
    Decision,
    /// A reservation.
    Reservation,
    /// Something that had happened: an event, or the true quantity of a reservation. It is never refused.
    Fact,
}

/// One call or fact, as it was and as it would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// When.
    pub at: Time,
    /// What it was.
    pub kind: Kind,
    /// Whether it was allowed.
    pub was_allowed: bool,
    /// Whether it would have been.
    pub is_allowed: bool,
    /// Of each of its meters.
    pub parts: Vec<Part>,
    /// Whether it ends a reservation that would have been refused, so that it would not have been.
    pub is_undone: bool,
}

/// One meter of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The meter.
    pub meter: MeterId,
    /// What was asked for, or told.
    pub measure: Measure,
    /// How it was.
    pub was: Fate,
    /// How it would have been.
    pub is: Fate,
}

/// What became of one meter's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Why it was refused; none also where another meter's part was, with which it stands or falls.
    pub reason: Option<Reason>,
    /// The hard limits that stood in its way.
    pub passed: WindowSet,
    /// What went beyond a limit.
    pub overage: Quantity,
}

impl Fate {
    /// What became of one of several by the answers about all.
    pub(super) fn of(verdicts: &[Verdict], asked: &Asked) -> Self {
        let passed = |limits: &[LimitState]| -> WindowSet {
            limits.iter().filter(|limit| limit.violated).map(|limit| limit.window).collect()
        };
        let about = asked.follows.unwrap_or(asked.item.meter);
        let Some(verdict) = verdicts.iter().find(|verdict| verdict.meter == about) else { return Self::default() };
        match (asked.follows, &verdict.cost) {
            (None, _) => Self { reason: verdict.reason, passed: passed(&verdict.limits), overage: verdict.overage },
            (Some(_), Some(cost)) => {
                let passed = passed(&cost.limits);
                let reason = (!passed.is_empty()).then_some(Reason::QuotaExceeded);
                Self { reason, passed, overage: cost.overage }
            }
            (Some(_), None) => Self::default(),
        }
    }

    pub(super) fn beyond(overage: Quantity) -> Self {
        Self { overage, ..Self::default() }
    }
}

/// What was held for what tokens cost, as it is asked for again; nothing where that was not said.
pub(super) fn asked_of_cost(held: &Reservation) -> Vec<Asked> {
    let asked = |cost: &Reservation| {
        let (measure, dimensions) = (Measure::Add(cost.quantity), String::new());
        let item = Item { meter: cost.meter, measure, dimensions };
        Asked { item, seen: WindowSet::NONE, follows: Some(held.meter) }
    };
    held.cost.as_deref().map(asked).into_iter().collect()
}

/// That what they cost stands in the way of a reservation. How much that is counts where it was committed.
pub(super) fn refused_by_cost(verdict: &Verdict) -> Option<Part> {
    let cost = verdict.cost.as_deref()?;
    let passed: WindowSet = cost.limits.iter().filter(|limit| limit.violated).map(|limit| limit.window).collect();
    let is = Fate { reason: Some(Reason::QuotaExceeded), passed, overage: Quantity::ZERO };
    (!passed.is_empty()).then_some(Part {
        meter: cost.meter,
        measure: Measure::Add(Quantity::ZERO),
        was: Fate::default(),
        is,
    })
}

/// Something that happened, with what it did then and what it would have done.
pub(super) fn fact(at: Time, was: &[Use], entries: &[Entry]) -> Finding {
    let is: Vec<&Use> = entries.iter().flat_map(|entry| entry.what.uses()).collect();
    let part = |used: &Use| Part {
        meter: used.meter,
        measure: used.measure,
        was: Fate::beyond(used.overage),
        is: Fate::beyond(is.iter().find(|one| one.meter == used.meter).map_or(Quantity::ZERO, |one| one.overage)),
    };
    let parts = was.iter().map(part).collect();
    Finding { at, kind: Kind::Fact, was_allowed: true, is_allowed: true, parts, is_undone: false }
}

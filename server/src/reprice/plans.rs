//! On which plan an organization was when it used something: of that was the markup.

use metergate_rules::account::Account;
use metergate_rules::id::PlanId;
use metergate_rules::outcome::{Change, Effect, What};
use metergate_rules::price::Markup;
use metergate_rules::time::{Span, Time};

use super::scan::AHEAD;
use crate::catalogue::Snapshot;
use crate::store::reader::{ReadError, View};

/// Changes of the markup that an account keeps of one time at most: of more a void gives back what was charged at first.
const MOST_MARKUPS: usize = 500;

/// Of a record in the journal: its block, and where it stands in that.
type Place = (u64, u32);
/// The markup at first, and from which places on which other, in order.
type Markups = (Markup, Vec<(Place, Markup)>);

/// On which plan the organization was, by places in its journal: of that was the markup.
pub(super) struct Plans {
    /// From the newest to the oldest: from which place on.
    changes: Vec<(Place, PlanId)>,
    /// Before all those.
    first: PlanId,
}

impl Plans {
    pub(super) const fn one(plan: PlanId) -> Self {
        Self { changes: Vec::new(), first: plan }
    }

    /// Looks them up, unless all plans have the same markup. And from when on they are known, where the records of those before
    /// a change have gone.
    pub(super) fn of(
        view: &View<'_>,
        account: &Account,
        snapshot: &Snapshot,
        span: Span,
    ) -> Result<(Self, Option<Time>), ReadError> {
        let mut markups = snapshot.stored.plans.keys().filter_map(|id| snapshot.rules.plan(*id)).map(|p| p.llm_markup);
        let first = markups.next().unwrap_or_default();
        let mut plans = Self::one(account.plan);
        if markups.all(|other| other == first) {
            return Ok((plans, None));
        }
        let (mut told_from, mut is_whole) = (None, false);
        view.records(account.id, u64::MAX, |sequence, offset, record| {
            let Some(plan) = plan_after(&record.entry.what) else { return true };
            plans.changes.push(((sequence, offset), plan));
            plans.first = plan;
            told_from = Some(record.entry.at);
            let is_first =
                matches!(&record.entry.what, What::Changed(change) if matches!(**change, Change::Created { .. }));
            is_whole = is_first || record.entry.at.plus(AHEAD) < span.start;
            !is_whole
        })?;
        Ok((plans, told_from.filter(|_| !is_whole)))
    }

    pub(super) fn markup(&self, place: Place, snapshot: &Snapshot) -> Markup {
        let since = self.changes.iter().find(|(from, _)| *from <= place);
        let plan = since.map_or(self.first, |(_, plan)| *plan);
        of_plan(plan, snapshot)
    }

    /// The markup at first, and from which places on which other, in order; `None` where there are too many to be kept.
    pub(super) fn markups(&self, snapshot: &Snapshot) -> Option<Markups> {
        let first = of_plan(self.first, snapshot);
        let (mut last, mut markups) = (first, Vec::new());
        for (place, plan) in self.changes.iter().rev() {
            let markup = of_plan(*plan, snapshot);
            if markup != last {
                markups.push((*place, markup));
                last = markup;
            }
        }
        (markups.len() <= MOST_MARKUPS).then_some((first, markups))
    }
}

fn of_plan(plan: PlanId, snapshot: &Snapshot) -> Markup {
    snapshot.rules.plan(plan).map_or(Markup::NONE, |plan| plan.llm_markup)
}

/// The plan from an entry on, where that says it.
fn plan_after(what: &What) -> Option<PlanId> {
    match what {
        What::Due(Effect::PlanChanged(state)) => Some(state.plan),
        What::Due(Effect::TrialEnded { plan, .. }) => *plan,
        What::Image(account) => Some(account.plan),
        What::Changed(change) => match &**change {
            Change::Created { plan, .. } => Some(*plan),
            Change::Plan(state) => Some(state.plan),
            Change::Subscribed(after) => Some(after.plan),
            _ => None,
        },
        _ => None,
    }
}

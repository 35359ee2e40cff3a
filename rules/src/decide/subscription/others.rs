//! Other subscriptions of an organization that hold beside the one that rules: the best of them takes over where that ends, in
//! whatever order they were told of.

use crate::audit::Fields;
use crate::catalogue::Catalogue;
use crate::id::SubscriptionId;
use crate::subscription::{MOST_OTHERS, PricedItem, Reported, Snapshot, State, Subscription};
use crate::time::Span;

use super::{paid_for, plan_of};

/// Keeps one as it was told last: not what is told late of an older period, nor one that has ended or never began.
pub(super) fn remember(of: &mut Subscription, told: &Snapshot) {
    if of.ended.contains(&told.id) || of.id.as_ref() == Some(&told.id) {
        return;
    }
    let Some(status) = told.status else { return };
    let start =
        |one: &Snapshot| one.items.iter().filter_map(|item| item.period).chain(one.period).map(|p| p.start).max();
    match of.others.iter().position(|other| other.id == told.id) {
        Some(at) if !told.is_current && start(told) < start(&of.others[at]) => {}
        Some(at) if !status.is_live() => drop(of.others.remove(at)),
        Some(at) => of.others[at] = Snapshot { is_current: false, ..told.clone() },
        None if status.is_live() && of.id.is_some() => {
            of.others.push(Snapshot { is_current: false, ..told.clone() });
            // The youngest are the best.
            of.others.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
            let over = of.others.len().saturating_sub(MOST_OTHERS);
            of.others.drain(..over);
        }
        None => {}
    }
}

/// The one that takes over: with a plan before without one, then the youngest.
pub(super) fn best(of: &Subscription, catalogue: &Catalogue) -> Option<Snapshot> {
    let has_plan = |one: &Snapshot| paid_for(one, catalogue).0.is_some_and(|item| plan_of(item, catalogue).is_some());
    let order = |one: &&Snapshot| (has_plan(one), one.created, one.id.clone());
    of.others.iter().max_by_key(order).cloned()
}

/// The one that rules, as it is known, while it holds.
pub(super) fn ruling(of: &Subscription) -> Option<Snapshot> {
    let (id, state) = (of.id.as_ref()?, of.state.as_ref()?);
    state.status.is_live().then(|| snapshot(of, id, state))
}

/// What is known of a subscription, as if it were told.
pub(super) fn snapshot(of: &Subscription, id: &SubscriptionId, state: &State) -> Snapshot {
    let items = state.price.iter().map(|price| PricedItem { price: price.clone(), period: state.period });
    Snapshot {
        id: id.clone(),
        customer: of.customer.clone(),
        created: state.created,
        status: Some(state.status),
        items: items.collect(),
        period: state.period,
        cancel_at: state.cancel_at,
        trial_end: state.trial_end,
        is_current: false,
    }
}

/// How the audit log tells of them, where there are any.
pub(super) fn fields(of: &Subscription) -> Fields {
    if of.others.is_empty() {
        return Fields::default();
    }
    Fields::default().with("otherSubscriptions", of.others.iter().map(shown).collect::<Vec<_>>())
}

/// All that is remembered of one which may be told otherwise, so that no entry of the log says the same before and after.
fn shown(one: &Snapshot) -> String {
    let mut told = vec![one.id.to_string(), one.status.map_or("", Reported::as_str).to_owned()];
    let period = |period: Span| format!("paid from {} until {}", period.start, period.end);
    for item in &one.items {
        told.push(item.price.to_string());
        told.extend(item.period.map(period));
    }
    told.extend(one.period.map(period));
    told.extend(one.cancel_at.map(|at| format!("canceled at {at}")));
    told.extend(one.trial_end.map(|end| format!("trial until {end}")));
    told.join(" ")
}

//! What one call sets of several meters: extra quota (O3), and period limits with or without a plan (O4).

use std::sync::Arc;

use super::super::Problem;
use super::{Told, change_plan};
use crate::account::{Account, ExtraQuota, Override};
use crate::audit::Fields;
use crate::catalogue::Catalogue;
use crate::command::PeriodLimit;
use crate::id::{MeterId, PlanId};
use crate::limits::Limits;
use crate::meter::Meter;
use crate::outcome::Change;
use crate::plan::{Enforcement, Max, Plan};
use crate::quantity::{InvalidQuantity, Quantity};
use crate::time::Time;
use crate::window::Window;

pub(super) fn set_extra(account: &Account, new: &[ExtraQuota], catalogue: &Catalogue) -> Result<Option<Told>, Problem> {
    let meters = named(new.iter().map(|extra| extra.meter), catalogue)?;
    if new.iter().all(|extra| account.extra_of(extra.meter) == extra.quantity) {
        return Ok(None);
    }
    let before = extra_fields(&meters, new.iter().map(|extra| account.extra_of(extra.meter)));
    let after = extra_fields(&meters, new.iter().map(|extra| extra.quantity));
    let change = match *new {
        [ExtraQuota { meter, quantity }] => Change::Extra { meter, quantity },
        _ => Change::Extras(new.to_vec()),
    };
    Ok(Some(Told { change, action: "quota.grant", category: "quota", before, after }))
}

/// The meters of a call that names each once.
fn named(ids: impl Iterator<Item = MeterId>, catalogue: &Catalogue) -> Result<Vec<&Arc<Meter>>, Problem> {
    let mut meters: Vec<&Arc<Meter>> = Vec::new();
    for id in ids {
        if meters.iter().any(|meter| meter.id == id) {
            return Err(Problem::MeterTwice);
        }
        meters.push(catalogue.meter(id).ok_or(Problem::UnknownMeter)?);
    }
    Ok(meters)
}

fn extra_fields(meters: &[&Arc<Meter>], extra: impl Iterator<Item = Quantity>) -> Fields {
    let told = meters.iter().zip(extra).map(|(meter, extra)| (meter, extra.display(meter.decimals)));
    match meters {
        [meter] => told.fold(Fields::default().with("meter", meter.key.as_str()), |fields, (_, extra)| {
            fields.with("extra", extra)
        }),
        _ => told.fold(Fields::default(), |fields, (meter, extra)| fields.with(&format!("{}.extra", meter.key), extra)),
    }
}

/// A plan, where one is given, pulls its limits: what was set before is gone, and what this call sets is set on top of it.
pub(super) fn set_limits(
    account: &Account,
    plan: Option<PlanId>,
    limits: &[PeriodLimit],
    catalogue: &Catalogue,
    now: Time,
) -> Result<Option<Told>, Problem> {
    let meters = named(limits.iter().map(|limit| limit.meter), catalogue)?;
    let before = in_force(account, &meters, catalogue);
    let id = plan.unwrap_or(account.plan);
    let pulled = catalogue.plan(id).ok_or(Problem::UnknownPlan)?;
    let kept = if plan.is_some() { Vec::new() } else { account.overrides.clone() };
    let mut changed = Account { plan: id, overrides: kept, ..account.clone() };
    for (limit, meter) in limits.iter().zip(&meters) {
        set_limit(&mut changed, pulled, meter, limit.max)?;
    }
    let (after, overrides) = (in_force(&changed, &meters, catalogue), changed.overrides);
    let told = match plan {
        Some(plan) => change_plan(account, plan, overrides, catalogue, now)?,
        None => overridden(account, overrides),
    };
    Ok(told.map(|told| Told { before: told.before.and(before), after: told.after.and(after), ..told }))
}

/// The period limit of a meter, in the window in which it has one, else of the billing period.
fn set_limit(account: &mut Account, plan: &Plan, meter: &Meter, max: Max) -> Result<(), Problem> {
    if max == Max::Units(Quantity::ZERO) {
        return Err(InvalidQuantity::Zero.into());
    }
    let limits = Limits::new(account, plan, meter);
    let window = limits.period_window().unwrap_or(Window::BillingPeriod);
    let enforcement = limits.in_force(window).map_or(Enforcement::Hard, |limit| limit.enforcement);
    let new = Override { meter: meter.id, window, max, enforcement, until: None };
    match account.overrides.iter_mut().find(|old| old.meter == meter.id && old.window == window) {
        Some(old) => *old = new,
        None => account.overrides.push(new),
    }
    Ok(())
}

fn overridden(account: &Account, overrides: Vec<Override>) -> Option<Told> {
    if overrides == account.overrides {
        return None;
    }
    let change = Change::Overrides(overrides);
    Some(Told {
        change,
        action: "limit.change",
        category: "quota",
        before: Fields::default(),
        after: Fields::default(),
    })
}

/// The period limits of some meters by `meter.window`, null where there is none, and which of them an override set.
fn in_force(account: &Account, meters: &[&Arc<Meter>], catalogue: &Catalogue) -> Fields {
    let Some(plan) = catalogue.plan(account.plan).filter(|_| !meters.is_empty()) else { return Fields::default() };
    let (mut fields, mut set) = (Fields::default(), Vec::new());
    for meter in meters {
        let limits = Limits::new(account, plan, meter);
        let window = limits.period_window().unwrap_or(Window::BillingPeriod);
        let name = format!("{}.{}", meter.key, window.as_str());
        let limit = limits.in_force(window);
        let max = limit.and_then(|limit| match limit.max {
            Max::Units(max) => Some(max.display(meter.decimals)),
            Max::Unlimited => None,
        });
        fields = fields.with(&name, max);
        set.extend(limit.filter(|limit| limit.overridden).map(|_| name));
    }
    fields.with("overridden", set)
}

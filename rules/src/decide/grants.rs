//! Giving credit and taking back what is left of it (O3).

use crate::account::Account;
use crate::audit::{Draft, Fields};
use crate::catalogue::Catalogue;
use crate::command::NewGrant;
use crate::grant::{Ended, Grant};
use crate::id::GrantId;
use crate::meter::Meter;
use crate::notice::OfGrant;
use crate::outcome::{Change, Outcome, Reply, What};
use crate::quantity::{InvalidQuantity, Quantity};
use crate::time::Time;

use super::{Problem, entry};

pub(super) fn give(account: &Account, new: &NewGrant, catalogue: &Catalogue, now: Time) -> Result<Outcome, Problem> {
    let meter = catalogue.meter(new.meter).ok_or(Problem::UnknownMeter)?;
    let starts_at = new.starts_at.unwrap_or(now);
    if !meter.aggregation.draws_grants() {
        return Err(Problem::NotGrantable);
    } else if new.amount.is_zero() {
        return Err(InvalidQuantity::Zero.into());
    } else if new.expires_at.is_some_and(|end| end <= now || end <= starts_at) {
        return Err(Problem::EndsTooEarly);
    }
    check_total(account, new)?;
    let last = account.grants.last().map_or(0, |grant| grant.id.0);
    let id = GrantId(last.checked_add(1).ok_or(Problem::Inconsistent("too many grants"))?);
    let grant = Grant {
        id,
        meter: new.meter,
        amount: new.amount,
        used: Quantity::ZERO,
        held: Quantity::ZERO,
        priority: new.priority,
        starts_at,
        expires_at: new.expires_at,
        created_at: now,
        ended: None,
        reason: new.reason.clone(),
        told: OfGrant::default(),
    };
    let audit = draft("credit.grant", now, Fields::default(), described(&grant, meter));
    let entries = vec![entry(now, What::Changed(Box::new(Change::Granted(grant))))];
    Ok(Outcome { entries, reply: Reply::Granted(id), audit: vec![audit] })
}

/// All grants of a meter together stay within what a quantity can be.
fn check_total(account: &Account, new: &NewGrant) -> Result<(), InvalidQuantity> {
    let amounts = account.grants.iter().filter(|grant| grant.meter == new.meter).map(|grant| grant.amount);
    let total = amounts.into_iter().try_fold(new.amount, Quantity::checked_add);
    total.map(|_| ()).ok_or(InvalidQuantity::TooLarge)
}

pub(super) fn void(account: &Account, id: GrantId, catalogue: &Catalogue, now: Time) -> Result<Outcome, Problem> {
    let grant = account.grants.iter().find(|grant| grant.id == id).ok_or(Problem::UnknownGrant)?;
    if grant.ended.is_some() {
        return Ok(Outcome { entries: Vec::new(), reply: Reply::Done, audit: Vec::new() });
    }
    let meter = catalogue.meter(grant.meter).ok_or(Problem::UnknownMeter)?;
    let voided = Grant { ended: Some(Ended::Voided(now)), ..grant.clone() };
    let audit = draft("credit.void", now, described(grant, meter), described(&voided, meter));
    let entries = vec![entry(now, What::Changed(Box::new(Change::GrantVoided(id))))];
    Ok(Outcome { entries, reply: Reply::Done, audit: vec![audit] })
}

fn draft(action: &'static str, at: Time, before: Fields, after: Fields) -> Draft {
    Draft::new(at, action, "quota", before, after)
}

fn described(grant: &Grant, meter: &Meter) -> Fields {
    let voided_at = match grant.ended {
        Some(Ended::Voided(at)) => Some(at),
        _ => None,
    };
    let remaining = if grant.ended.is_some() { Quantity::ZERO } else { grant.left() };
    Fields::default()
        .with("grant", grant.id.0)
        .with("meter", meter.key.as_str())
        .with("amount", grant.amount.display(meter.decimals))
        .with("remaining", remaining.display(meter.decimals))
        .with("priority", i64::from(grant.priority))
        .with("startsAt", grant.starts_at)
        .with("expiresAt", grant.expires_at)
        .with("voidedAt", voided_at)
}

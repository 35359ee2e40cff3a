//! Reservations: hold, extend, commit, release (D5).

use crate::account::Account;
use crate::apply;
use crate::catalogue::Catalogue;
use crate::command::{Commit, Item, Reserve};
use crate::grant::{self, Draw};
use crate::id::ReservationId;
use crate::limits::{Claim, Limits};
use crate::meter::{Measure, Meter};
use crate::notice::triggered;
use crate::outcome::{Hold, Outcome, Reply, Reserved, Settled, Use, Verdict, What};
use crate::plan::{Plan, RefusalStatus};
use crate::quantity::Quantity;
use crate::reservation::{LONGEST, MOST_DIMENSION_BYTES, MOST_OPEN, Reservation, SHORTEST, State};
use crate::time::Time;
use crate::window::{Window, WindowSet};

use super::consume::{Taken, Weighed};
use super::cost::Costed;
use super::{Problem, entry, noticed};

impl Reserve {
    /// Whether it makes sense of whatever organization.
    ///
    /// # Errors
    /// [`Problem::NotReservable`] of what does not add up, [`Problem::InvalidTtl`].
    pub fn check(&self) -> Result<Quantity, Problem> {
        let Measure::Add(quantity) = self.item.measure else { return Err(Problem::NotReservable) };
        check_ttl(self.ttl).map(|()| quantity)
    }
}

fn check_ttl(ttl: i64) -> Result<(), Problem> {
    if (SHORTEST..=LONGEST).contains(&ttl) { Ok(()) } else { Err(Problem::InvalidTtl) }
}

/// Holds so much of one meter if every limit has it; of tokens with what they are to cost.
pub(super) fn hold(account: &Account, asked: &Reserve, catalogue: &Catalogue, now: Time) -> Result<Outcome, Problem> {
    let (plan, meter) = terms(account, &asked.item, catalogue)?;
    let (quantity, ends_at) = (asked.check()?, now.plus(asked.ttl));
    let weighed = Weighed::new(account, plan, meter, &asked.item, WindowSet::NONE, now)?;
    let costed = Costed::held(asked.llm.as_deref(), meter, plan, catalogue, now)?;
    let costed = match &costed {
        Some(costed) => Some((costed, costed.weighed(account, plan, catalogue, now)?)),
        None => None,
    };
    let allowed = weighed.is_allowed() && costed.as_ref().is_none_or(|(_, cost)| !cost.is_exceeded());
    let mut verdict = weighed.verdict(meter.id, Taken::Held.only_if(allowed), now);
    if let Some((costed, cost)) = &costed {
        let taken = Taken::Held.only_if(allowed && costed.holds());
        costed.tell(std::slice::from_mut(&mut verdict), cost, taken, now);
    }
    let costed = costed.filter(|(costed, _)| costed.holds());
    let all = || std::iter::once(&weighed).chain(costed.iter().map(|(_, cost)| cost));
    let mut notices = Vec::new();
    if !allowed {
        all().for_each(|weighed| weighed.notice(Taken::Nothing, &mut notices));
        triggered::of_refusals(account, std::slice::from_ref(&verdict), now, &mut notices);
        return Ok(answered(noticed(notices, now).collect(), None, State::Held, quantity, verdict));
    } else if account.reservations.len() >= MOST_OPEN || would_be_too_much(account, &asked.item.dimensions) {
        return Err(Problem::TooManyReservations);
    }
    let id = ReservationId(account.reserved.checked_add(1).ok_or(Problem::Inconsistent("too many reservations"))?);
    let part = |weighed: &Weighed<'_>, meter, quantity| Reservation {
        id,
        meter,
        quantity,
        draws: grant::draw(&account.grants, meter, weighed.claim().from_grants, now),
        overage: weighed.claim().beyond,
        at: now,
        ends_at,
        dimensions: String::new(),
        cost: None,
    };
    let cost = costed.as_ref().map(|(costed, cost)| Box::new(part(cost, costed.item.meter, costed.cost.charged())));
    let dimensions = asked.item.dimensions.clone();
    let reservation = Reservation { dimensions, cost, ..part(&weighed, meter.id, quantity) };
    let properties = asked.properties.clone();
    let made = What::Reservation(Box::new(Hold::Made { reservation: reservation.clone(), properties }));
    all().for_each(|weighed| weighed.notice(Taken::Held, &mut notices));
    let entries = std::iter::once(entry(now, made)).chain(noticed(notices, now)).collect();
    Ok(answered(entries, Some(reservation), State::Held, quantity, verdict))
}

fn would_be_too_much(account: &Account, dimensions: &str) -> bool {
    let held = account.reservations.iter().map(|held| held.dimensions.len()).sum::<usize>();
    held + dimensions.len() > MOST_DIMENSION_BYTES
}

/// Holds on for so long from now, and no shorter than it would have.
pub(super) fn extend(
    account: &Account,
    id: ReservationId,
    ttl: i64,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Outcome, Problem> {
    let held = find(account, id)?;
    check_ttl(ttl)?;
    let ends_at = now.plus(ttl).max(held.ends_at);
    let verdict = verdict_now(account, held, catalogue, Quantity::ZERO, now)?;
    let mut reservation = held.clone();
    reservation.hold_until(ends_at);
    let entries = match ends_at == held.ends_at {
        true => Vec::new(),
        false => vec![entry(now, What::Reservation(Box::new(Hold::Extended { id, ends_at })))],
    };
    Ok(answered(entries, Some(reservation), State::Held, held.quantity, verdict))
}

/// Gives back what is held.
pub(super) fn release(
    account: &Account,
    id: ReservationId,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Outcome, Problem> {
    let held = find(account, id)?;
    let released = entry(now, What::Reservation(Box::new(Hold::Released(id))));
    let verdict = verdict_after(account, held, &released, catalogue, Quantity::ZERO, now)?;
    Ok(answered(vec![released], Some(held.clone()), State::Released, held.quantity, verdict))
}

/// Records the true quantity, in the windows in which it was held. What exceeds the hold takes what is free, the rest is
/// overage, but in a window that is closed, of which the account knows no more than what was held; neither a lock nor the
/// end of a grant stops it. What its tokens cost in truth takes the place of what was held for that, or is a fact where nothing was.
pub(super) fn commit(account: &Account, asked: &Commit, catalogue: &Catalogue, now: Time) -> Result<Outcome, Problem> {
    let id = asked.id;
    let held = find(account, id)?;
    let meter = catalogue.meter(held.meter).ok_or(Problem::UnknownMeter)?;
    let quantity = Quantity::parse(&asked.quantity, meter.decimals)?;
    let used = settled(account, held, quantity, catalogue, now)?;
    let overage = used.overage;
    let (mut uses, mut notices) = (vec![used], Vec::new());
    let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
    let costed = Costed::of(asked.llm.as_deref(), &[], plan, catalogue, held.at)?;
    if let Some(costed) = &costed {
        uses.push(match &held.cost {
            Some(part) => {
                let used = settled(account, part, costed.cost.charged(), catalogue, now)?;
                costed.follow(Use { dimensions: costed.item.dimensions.clone(), ..used })
            }
            None => costed.fact(account, plan, catalogue, (held.at, now), &mut notices)?,
        });
    }
    let beyond = uses.last().map_or(Quantity::ZERO, |cost| cost.overage);
    let (properties, calls) = (asked.properties.clone(), asked.calls.clone());
    let done = Settled { id, uses, properties, outcome: asked.outcome, calls };
    let done = entry(now, What::Reservation(Box::new(Hold::Settled(done))));
    let mut after = account.clone();
    apply::apply(&mut after, &done);
    let mut verdict = verdict_now(&after, held, catalogue, overage, now)?;
    if let Some(costed) = &costed {
        costed.tell_recorded(&mut verdict, &after, plan, catalogue, beyond, now)?;
    }
    let mut set_off = Vec::new();
    for used in done.what.uses().iter().filter(|used| held.on(used.meter).is_some()) {
        let meter = catalogue.meter(used.meter).ok_or(Problem::UnknownMeter)?;
        triggered::of_meter(&after, plan, meter, used.windows, now, &mut set_off);
        triggered::of_draws(&account.grants, &used.draws, &mut set_off);
    }
    set_off.extend(notices);
    let entries = std::iter::once(done).chain(noticed(set_off, now)).collect();
    Ok(answered(entries, Some(held.clone()), State::Committed, quantity, verdict))
}

/// What the true quantity of what is held of one meter does.
fn settled(
    account: &Account,
    held: &Reservation,
    quantity: Quantity,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Use, Problem> {
    let (claim, windows) = claim(account, held, quantity, catalogue, now)?;
    let used = account.meter(held.meter);
    if used.is_some_and(|used| used.counters.iter().any(|counter| counter.used.checked_add(quantity).is_none())) {
        return Err(crate::quantity::InvalidQuantity::TooLarge.into());
    }
    Ok(Use {
        meter: held.meter,
        measure: Measure::Add(quantity),
        time: held.at,
        windows,
        ahead: WindowSet::NONE,
        epochs: used.map_or([0; 4], crate::account::MeterUse::epochs),
        sliding: false,
        draws: draws(account, held, claim.from_grants, now),
        overage: claim.beyond,
        dimensions: held.dimensions.clone(),
        bucket: None,
        follows: None,
    })
}

/// What the true quantity takes: of the base what is free or was held, then from grants. And the windows that are still those
/// in which it was held.
fn claim(
    account: &Account,
    held: &Reservation,
    quantity: Quantity,
    catalogue: &Catalogue,
    now: Time,
) -> Result<(Claim, WindowSet), Problem> {
    let item = Item { meter: held.meter, measure: Measure::Add(quantity), dimensions: String::new() };
    let (plan, meter) = terms(account, &item, catalogue)?;
    let windows: WindowSet =
        Window::COUNTED.into_iter().filter(|window| account.windows.get(*window).contains(held.at)).collect();
    let mut without = account.clone();
    apply::forget(&mut without, held.id);
    let limits = Limits::new(&without, plan, meter);
    let lifted = limits.period_window();
    let of_window = |window| {
        let standing = limits.standing(window, now)?;
        let is_lifted = Some(window) == lifted;
        let within = held.quantity.minus(held.overage);
        let of_base = if is_lifted { within.minus(held.from_grants()) } else { within };
        let of_grants = if is_lifted { closed(account, held, now) } else { Quantity::ZERO };
        let beyond_base = quantity.minus(standing.free_base().max(of_base));
        let from_grants = beyond_base.min(standing.available.saturating_add(of_grants));
        Some(Claim { from_grants, beyond: beyond_base.minus(from_grants) })
    };
    // A minute or an hour has it until its length after its end, so it lies in both now.
    let sliding = [Window::Minute, Window::Hour];
    let mut claim = Claim::largest(sliding.into_iter().chain(windows.iter()).filter_map(of_window));
    if lifted.is_some_and(|window| !windows.has(window) && limits.standing(window, now).is_some()) {
        let need = quantity.minus(held.quantity.minus(held.overage).minus(held.from_grants()));
        let from_grants = need.min(held.from_grants());
        let beyond = need.minus(from_grants).min(held.overage);
        claim = Claim::largest([claim, Claim { from_grants, beyond }]);
    }
    Ok((claim, windows))
}

/// What it holds of grants that give nothing any more to others.
fn closed(account: &Account, held: &Reservation, now: Time) -> Quantity {
    let is_open = |draw: &&Draw| account.grants.iter().any(|grant| grant.id == draw.grant && grant.is_open(now));
    held.draws.iter().filter(|draw| !is_open(draw)).fold(Quantity::ZERO, |sum, draw| sum.saturating_add(draw.quantity))
}

/// First from what it holds, then from what is free.
fn draws(account: &Account, held: &Reservation, need: Quantity, now: Time) -> Vec<Draw> {
    let (mut draws, mut left) = (Vec::new(), need);
    for draw in &held.draws {
        let quantity = draw.quantity.min(left);
        left = left.minus(quantity);
        if !quantity.is_zero() {
            draws.push(Draw { quantity, ..*draw });
        }
    }
    for more in grant::draw(&account.grants, held.meter, left, now) {
        match draws.iter_mut().find(|draw| draw.grant == more.grant) {
            Some(draw) => draw.quantity = draw.quantity.saturating_add(more.quantity),
            None => draws.push(more),
        }
    }
    draws
}

fn find(account: &Account, id: ReservationId) -> Result<&Reservation, Problem> {
    let open = account.reservations.iter().find(|reservation| reservation.id == id);
    let was_made = (1..=account.reserved).contains(&id.0);
    open.ok_or(if was_made { Problem::ReservationOver(None) } else { Problem::UnknownReservation })
}

fn terms<'c>(account: &Account, item: &Item, catalogue: &'c Catalogue) -> Result<(&'c Plan, &'c Meter), Problem> {
    let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
    Ok((plan, catalogue.meter(item.meter).ok_or(Problem::UnknownMeter)?))
}

/// Where the meter stands after an entry.
fn verdict_after(
    account: &Account,
    held: &Reservation,
    entry: &crate::outcome::Entry,
    catalogue: &Catalogue,
    overage: Quantity,
    now: Time,
) -> Result<Verdict, Problem> {
    let mut after = account.clone();
    apply::apply(&mut after, entry);
    verdict_now(&after, held, catalogue, overage, now)
}

/// Where the meter stands: no limit is in the way of what only changes a reservation.
fn verdict_now(
    account: &Account,
    held: &Reservation,
    catalogue: &Catalogue,
    overage: Quantity,
    now: Time,
) -> Result<Verdict, Problem> {
    let item = Item { meter: held.meter, measure: Measure::Add(Quantity::ZERO), dimensions: String::new() };
    let (plan, meter) = terms(account, &item, catalogue)?;
    let weighed = Weighed::new(account, plan, meter, &item, WindowSet::NONE, now)?;
    let verdict = weighed.verdict(held.meter, Taken::Nothing, now);
    Ok(Verdict { reason: None, overage, retry_at: None, status: RefusalStatus::default(), ..verdict })
}

fn answered(
    entries: Vec<crate::outcome::Entry>,
    reservation: Option<Reservation>,
    state: State,
    quantity: Quantity,
    verdict: Verdict,
) -> Outcome {
    let is_made =
        entries.iter().any(|entry| matches!(&entry.what, What::Reservation(h) if matches!(**h, Hold::Made { .. })));
    let reply = Reply::Reserved(Box::new(Reserved { reservation, is_made, state, quantity, verdict }));
    Outcome { entries, reply, audit: Vec::new() }
}

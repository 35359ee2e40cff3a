//! `conservation`: the journal folded from scratch is what the rows say, and the figures in it add up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use metergate::store::block::Record;
use metergate::store::rollup::{Day, Derived, RollupKey, Slot};
use metergate::store::totals::Totals;
use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::grant::{Draw, Ended, Grant};
use metergate_rules::id::{GrantId, MeterId, OrganizationId};
use metergate_rules::meter::Measure;
use metergate_rules::outcome::{Effect, Hold, Settled, Use, What};
use metergate_rules::window::Window;

use super::image::Image;
use super::journal::{Journal, added, uses};
use super::{Held, equal, holds};

const NAME: &str = "conservation";
/// The row for dimension values beyond the cap.
const OTHER: &str = "other";

/// Checks one snapshot of a data folder; the store may be at work meanwhile.
pub(crate) fn conservation(folder: &Path) -> Held {
    conservation_of(&Image::of_folder(folder))
}

/// Checks what is stored.
pub(crate) fn conservation_of(image: &Image) -> Held {
    let Image { journal, rows, folded_to, rollups: stored, days, values, totals: all, .. } = image;
    let fold = Fold::of(journal, rows, *folded_to);
    equal(NAME, "organizations with a row", &rows.keys().collect::<Vec<_>>(), &fold.accounts.keys().collect())?;
    for (id, (held, row)) in rows {
        equal(NAME, format!("the row of organization {id} against the fold of its blocks"), row, &fold.accounts[id])?;
        adds_up(row, &journal.up_to((*held).max(*folded_to), *id).collect::<Vec<_>>())?;
    }
    rollups(&fold.derived, stored)?;
    days.as_ref().map_or(Ok(()), |days| day_totals(days, stored))?;
    let living = totals(rows, stored);
    if image.has_deleted() {
        // What deleted organizations used stays in it.
        let all: BTreeMap<_, i64> = all.iter().map(|(of, slot)| (of, slot.count)).collect();
        let less = living.iter().find(|(of, slot)| all.get(of).is_none_or(|count| *count < slot.count));
        holds(NAME, less.is_none(), || format!("use of all organizations: {all:?} is less than {living:?}"))?;
    } else {
        equal(NAME, "use of all organizations", all, &living)?;
    }
    equal(NAME, "values of uniqueCount", values, &fold.derived.values)
}

/// The journal applied from its beginning, of each organization as far as its row goes. Up to `folded_to` every block
/// is in every row.
struct Fold {
    accounts: BTreeMap<OrganizationId, Account>,
    derived: Derived,
}

impl Fold {
    fn of(journal: &Journal, rows: &BTreeMap<OrganizationId, (u64, Account)>, folded_to: u64) -> Self {
        let (mut accounts, mut derived) = (BTreeMap::new(), Derived::default());
        let last = journal.records.iter().filter(|(_, _, record)| record.entry.what.deletes());
        let deleted: BTreeSet<OrganizationId> = last.map(|(_, id, _)| *id).collect();
        for (sequence, id, record) in journal.records.iter().filter(|(_, id, _)| !deleted.contains(id)) {
            let held = rows.get(id).map_or(0, |(held, _)| *held);
            if held.max(folded_to) < *sequence {
                continue;
            }
            match accounts.get_mut(id) {
                Some(account) => apply::apply(account, &record.entry),
                None => {
                    let created = apply::create(*id, &record.entry);
                    accounts.insert(*id, created.expect("an organization begins with its creation"));
                }
            }
            derived.add(*id, &record.entry);
        }
        Self { accounts, derived }
    }
}

/// The account that the whole journal makes.
pub(crate) fn folded(journal: &Journal, id: OrganizationId) -> Account {
    let mut records = journal.of_organization(id);
    let created = records.next().and_then(|record| apply::create(id, &record.entry));
    let mut account = created.expect("an organization begins with its creation");
    records.for_each(|record| apply::apply(&mut account, &record.entry));
    account
}

/// Each day comes to what its rollups come to.
fn day_totals(days: &BTreeMap<(OrganizationId, MeterId, i32), Slot>, stored: &BTreeMap<RollupKey, Day>) -> Held {
    let mut expected: BTreeMap<_, Slot> = BTreeMap::new();
    for (key, day) in stored {
        expected.entry((key.organization, key.meter, key.day)).or_default().merge(&day.all());
    }
    equal(NAME, "days with a total", &days.keys().collect::<Vec<_>>(), &expected.keys().collect())?;
    let different = days.iter().find(|(of, total)| !total.is_like(&expected[of]));
    holds(NAME, different.is_none(), || format!("the total of a day is not what its rollups come to: {different:?}"))
}

/// What the rollups of all organizations but those for tests come to, by meter and day.
fn totals(rows: &BTreeMap<OrganizationId, (u64, Account)>, stored: &BTreeMap<RollupKey, Day>) -> Totals {
    let mut totals = Totals::default();
    for (key, day) in stored.iter().filter(|(key, _)| !rows[&key.organization].1.profile.test) {
        day.slots().for_each(|(_, slot)| totals.add((key.meter, key.day), slot));
    }
    totals
}

/// Each set of dimension values has its own row, or beyond the cap is part of the row for all others.
fn rollups(fold: &Derived, stored: &BTreeMap<RollupKey, Day>) -> Held {
    let mut others: BTreeMap<RollupKey, Day> = BTreeMap::new();
    let folded = fold.rollups.clone().sorted();
    for (key, day) in &folded {
        match stored.get(key) {
            Some(row) => equal(NAME, format!("the rollup {key:?}"), row, day)?,
            None => {
                let other = RollupKey { dimensions: OTHER.to_owned(), ..key.clone() };
                others.entry(other).or_default().merge(day);
            }
        }
    }
    let extra = stored.iter().filter(|(key, _)| !folded.contains_key(key));
    let extra: BTreeMap<_, _> = extra.map(|(key, day)| (key.clone(), day.clone())).collect();
    equal(NAME, "rollups that no set of dimension values has", &extra, &others)
}

/// Recomputes counters and grants from the uses alone, without the rules' fold.
fn adds_up(account: &Account, records: &[&Record]) -> Held {
    for counted in &account.meters {
        for window in Window::COUNTED {
            counter(account, counted.meter, window, records)?;
        }
    }
    account.grants.iter().try_for_each(|grant| credit(grant, records))
}

fn counter(account: &Account, meter: MeterId, window: Window, records: &[&Record]) -> Held {
    let Some(counter) = account.meter(meter).and_then(|used| used.counter(window)) else { return Ok(()) };
    let place = Window::COUNTED.iter().position(|other| *other == window).unwrap();
    let of_meter: Vec<_> = records.iter().flat_map(|record| uses(record)).filter(|one| one.meter == meter).collect();
    let adds =
        |one: &&Use| matches!(one.measure, Measure::Add(_) | Measure::Value(_) | Measure::Adjust(_) | Measure::Void(_));
    // What came early for a window is carried into it; nothing here recomputes that.
    if !of_meter.iter().all(adds) || of_meter.iter().any(|one| one.ahead.has(window)) {
        return Ok(());
    }
    let (mut used, mut drawn) = (0, 0);
    for one in of_meter.iter().filter(|one| one.windows.has(window) && one.epochs[place] == counter.epoch) {
        // Below zero nothing falls: what a correction takes off may have counted before a reset.
        used = (used + i128::from(added(one))).max(0);
        drawn += i128::from(drawn_by(one));
    }
    let what = format!("{} of meter {} of organization {}", window.as_str(), meter.0, account.id);
    equal(NAME, format!("used in the {what}"), &i128::from(counter.used.units()), &used)?;
    if of_meter.iter().any(|one| one.measure.is_less()) {
        // Which grants have ended by then is for the rules' own tests.
        return holds(NAME, counter.drawn() <= counter.used, || format!("more drawn than used in the {what}"));
    }
    equal(NAME, format!("drawn from grants in the {what}"), &i128::from(counter.drawn().units()), &drawn)
}

/// What a use drew from grants; below zero where it returned something.
fn drawn_by(used: &Use) -> i64 {
    let drawn: i64 = used.draws.iter().map(|draw| draw.quantity.units()).sum();
    if used.measure.is_less() { -drawn } else { drawn }
}

/// Granted = used + what can still be drawn + expired + voided.
fn credit(grant: &Grant, records: &[&Record]) -> Held {
    let drawn: i64 = records.iter().flat_map(|record| uses(record)).map(|used| drawn_from(used, grant.id)).sum();
    let what = format!("grant {}", grant.id.0);
    equal(NAME, format!("drawn from {what}"), &grant.used.units(), &drawn)?;
    holds(NAME, grant.used <= grant.amount, || format!("{what} gave {drawn} of {}", grant.amount.units()))?;
    expired(grant, records)
}

/// What is lost when it expires is what was neither used nor held by then. What was held can still be used; what of that comes
/// back is gone, too.
fn expired(grant: &Grant, records: &[&Record]) -> Held {
    let (mut drawn, mut held) = (0, BTreeMap::new());
    let (mut lost, mut should) = (Vec::new(), Vec::new());
    for record in records {
        drawn += uses(record).iter().map(|used| drawn_from(used, grant.id)).sum::<i64>();
        match &record.entry.what {
            What::Reservation(hold) => match &**hold {
                Hold::Made { reservation, .. } => {
                    let parts = reservation.parts().map(|part| part_of(&part.draws, grant.id));
                    held.insert(reservation.id, parts.sum());
                }
                Hold::Settled(Settled { id, .. }) | Hold::Released(id) => {
                    held.remove(id);
                }
                Hold::Extended { .. } => {}
            },
            What::Due(Effect::ReservationLapsed(id)) => {
                held.remove(id);
            }
            What::Due(Effect::GrantExpired { grant: id, lost: left }) if *id == grant.id => {
                lost.push(left.units());
                should.push(grant.amount.units() - drawn - held.values().sum::<i64>());
            }
            _ => {}
        }
    }
    equal(NAME, format!("expired of grant {}", grant.id.0), &lost, &should)?;
    let has_expired = matches!(grant.ended, Some(Ended::Expired(_)));
    equal(NAME, format!("how often grant {} expired", grant.id.0), &lost.len(), &usize::from(has_expired))
}

/// The same of one grant.
fn drawn_from(used: &Use, id: GrantId) -> i64 {
    if used.measure.is_less() { -part_of(&used.draws, id) } else { part_of(&used.draws, id) }
}

/// What of these comes from a grant.
fn part_of(draws: &[Draw], id: GrantId) -> i64 {
    draws.iter().filter(|draw| draw.grant == id).map(|draw| draw.quantity.units()).sum()
}

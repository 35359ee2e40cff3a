//! `clock`: the time of an organization never runs back, nobody's time moves another's, and what falls due takes effect at
//! its own time, before anything later.

use std::collections::BTreeMap;
use std::path::Path;

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::id::OrganizationId;
use metergate_rules::notice::Notice;
use metergate_rules::outcome::{Change, Effect, Entry, What};
use metergate_rules::time::{DAY, HOUR, SECOND, Time};

use super::image::Image;
use super::{Held, Violation, holds};

const NAME: &str = "clock";

/// Checks one snapshot of a data folder; the store may be at work meanwhile.
pub(crate) fn clock(folder: &Path) -> Held {
    clock_of(&Image::of_folder(folder))
}

/// Checks what is stored.
pub(crate) fn clock_of(image: &Image) -> Held {
    let journal = &image.journal;
    let back = journal.committed.values().zip(journal.committed.values().skip(1)).find(|(one, next)| next < one);
    holds(NAME, back.is_none(), || format!("a commit lies before the one before it: {back:?}"))?;
    let mut accounts: BTreeMap<OrganizationId, Account> = BTreeMap::new();
    for (sequence, id, record) in &journal.records {
        let entry = &record.entry;
        let Some(account) = accounts.get_mut(id) else {
            let created = apply::create(*id, entry);
            accounts.insert(*id, created.expect("an organization begins with its creation"));
            continue;
        };
        in_time(account, entry, journal.committed.get(sequence).copied()).map_err(|detail| Violation {
            invariant: NAME,
            detail: format!("organization {id}, block {sequence}: {detail}: {entry:?}"),
        })?;
        apply::apply(account, entry);
    }
    Ok(())
}

/// Whether an entry may be the next of an account, in a block that was committed then.
fn in_time(account: &Account, entry: &Entry, committed: Option<Time>) -> Result<(), String> {
    let must = |holds: bool, detail: &str| if holds { Ok(()) } else { Err(detail.to_owned()) };
    must(account.time <= entry.at, "its time ran back")?;
    if account.clock.is_none()
        && !matches!(&entry.what, What::Changed(change) if matches!(**change, Change::Clock { .. }))
    {
        must(committed.is_none_or(|at| entry.at <= at), "it has no clock of its own, and lies after its commit")?;
    }
    if let What::Image(image) = &entry.what {
        must(**image == *account, "an image is not what stood")?;
    }
    if let What::Noticed(notice) = &entry.what
        && let Some(at) = told_at(account, notice)
    {
        must(account.next_due() <= entry.at, "nothing was to be told")?;
        return must(at.max(account.time) == entry.at, "it was told at another time than its own");
    }
    let What::Due(effect) = &entry.what else {
        must(entry.at < account.next_due(), "something had fallen due before")?;
        let moves = matches!(&entry.what, What::Changed(change) if matches!(**change, Change::Clock { .. }));
        let shows = account.clock.is_none_or(|clock| entry.at == clock.max(account.time));
        return must(moves || shows, "its own clock showed another time");
    };
    must(account.next_due() <= entry.at, "nothing was due")?;
    must(due_at(account, effect) == Some(entry.at), "it took effect at another time than its own")
}

/// When something is told that is told before another, or of an hour that is over; nothing of what follows from use.
fn told_at(account: &Account, notice: &Notice) -> Option<Time> {
    let before = |end: Time, days: u8| end.plus(-i64::from(days) * DAY);
    match notice {
        Notice::TrialEnding { ends_at, days } => Some(before(*ends_at, *days)),
        Notice::GrantExpiring { grant, days } => {
            let end = account.grants.iter().find(|it| it.id == *grant)?.expires_at?;
            Some(before(end, *days))
        }
        // Some seconds after its hour.
        Notice::RefusedInHour { of, .. } => Some(of.hour.plus(HOUR + 10 * SECOND)),
        _ => None,
    }
}

/// When an effect falls due. Days and months in which nothing happened are left out, so any later one may be the next.
fn due_at(account: &Account, effect: &Effect) -> Option<Time> {
    match effect {
        Effect::DayBegan(day) => (account.windows.day.end <= day.start).then_some(day.start),
        Effect::MonthBegan(month) => (account.windows.month.end <= month.start).then_some(month.start),
        Effect::PeriodBegan(period) => (account.windows.period.end == period.start).then_some(period.start),
        Effect::TrialEnded { .. } => account.trial.filter(|trial| !trial.over).map(|trial| trial.ends_at),
        Effect::OverrideEnded { meter, window } => account.override_of(*meter, *window).and_then(|o| o.until),
        Effect::GrantExpired { grant, .. } => account.grants.iter().find(|it| it.id == *grant)?.expires_at,
        Effect::ReservationLapsed(id) => account.reservations.iter().find(|it| it.id == *id).map(|it| it.ends_at),
        Effect::PlanChanged(_) => account.scheduled.map(|scheduled| scheduled.at),
        Effect::GraceEnded(_) => account.subscribed_as().and_then(|state| state.grace_ends),
    }
}

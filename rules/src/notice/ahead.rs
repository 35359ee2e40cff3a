//! What is told when a time comes: before a trial or a grant ends, and after an hour in which something was refused.

use super::{Notice, OfRefusal};
use crate::account::Account;
use crate::grant::Grant;
use crate::time::{DAY, Time};

/// So many days of exactly 24 hours before an end it is told.
const DAYS: [u8; 2] = [7, 1];

/// When it is told next that something ends, and how many days before that is. What lies before `since` is not told. Of what
/// passed untold, since the end was not known then, only the last is told, and at once.
fn next(ends_at: Time, told: Option<u8>, since: Time, now: Time) -> Option<(Time, u8)> {
    let is_left = |days: &u8| told.is_none_or(|told| *days < told);
    let marks = DAYS.into_iter().filter(is_left).map(|days| (ends_at.plus(-i64::from(days) * DAY), days));
    let mut marks = marks.filter(|(at, _)| since < *at);
    let first = marks.next()?;
    let (at, days) = marks.filter(|_| first.0 < now).take_while(|(at, _)| *at <= now).last().unwrap_or(first);
    Some((at.max(now), days))
}

/// The next notice of the end of the trial, with its time.
pub(crate) fn of_trial(account: &Account) -> Option<(Time, Notice)> {
    let (at, days) = next_of_trial(account)?;
    Some((at, Notice::TrialEnding { ends_at: account.trial?.ends_at, days }))
}

fn next_of_trial(account: &Account) -> Option<(Time, u8)> {
    let ends_at = account.trial.filter(|trial| !trial.over)?.ends_at;
    let told = account.trial_told.filter(|told| told.ends_at == ends_at).map(|told| told.days);
    next(ends_at, told, Time::MIN, account.time)
}

/// The next notice of the end of a grant, with its time. Who hears of a new grant hears of its end, too: what lies before it was
/// given is not told.
pub(crate) fn of_grant(account: &Account, grant: &Grant) -> Option<(Time, Notice)> {
    let (at, days) = next_of_grant(account, grant)?;
    Some((at, Notice::GrantExpiring { grant: grant.id, days }))
}

fn next_of_grant(account: &Account, grant: &Grant) -> Option<(Time, u8)> {
    let ends_at = grant.expires_at.filter(|_| grant.ended.is_none() && grant.used < grant.amount)?;
    next(ends_at, grant.told.expiring, grant.created_at, account.time)
}

/// What is told of an hour that is over, with its time.
pub(crate) fn of_refusal(told: &OfRefusal) -> (Time, Notice) {
    (told.told_at(), Notice::RefusedInHour { of: *told, count: 1 })
}

/// The earliest time at which something is told before another, or of an hour that is over; [`Time::MAX`] where nothing is.
pub(crate) fn earliest(account: &Account) -> Time {
    let of_grants = account.grants.iter().filter_map(|grant| next_of_grant(account, grant));
    let ends = next_of_trial(account).into_iter().chain(of_grants).map(|(at, _)| at);
    ends.chain(account.refusals.iter().map(OfRefusal::told_at)).fold(Time::MAX, Time::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_seven_days_and_one_day_before_and_at_once_where_it_was_not_known_then() {
        let day = |days: i64| Time::from_micros(days * DAY);
        #[rustfmt::skip]
        let cases = [ // ends at, told, since, now: when, days
            (30, None,    0,  0,  Some((23, 7))),
            (30, None,    0,  23, Some((23, 7))),       // due, and in order
            (30, Some(7), 0,  23, Some((29, 1))),
            (30, Some(1), 0,  29, None),
            (30, None,    0,  25, Some((25, 7))),       // set when the seventh day had passed
            (30, None,    0,  29, Some((29, 1))),       // on the last day only the last is told
            (3,  None,    -9, 0,  Some((0, 7))),
            (3,  None,    0,  0,  Some((2, 1))),        // what lies before it began is not told
            (7,  None,    0,  0,  Some((6, 1))),
            (1,  None,    0,  0,  None),
        ];
        for (ends_at, told, since, now, expected) in cases {
            let next = next(day(ends_at), told, day(since), day(now));
            assert_eq!(next, expected.map(|(at, days)| (day(at), days)), "{ends_at} {told:?} {since} {now}");
        }
    }
}

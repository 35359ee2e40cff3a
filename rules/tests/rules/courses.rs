//! Trials and billing periods as other terms have them, in a replay (O10).

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::catalogue::Catalogue;
use metergate_rules::id::PlanId;
use metergate_rules::notice::OfMaximum;
use metergate_rules::outcome::{Entry, Hold, Reason, What};
use metergate_rules::plan::{Cycle, Plan, TrialEnd};
use metergate_rules::time::{DAY, Time};
use metergate_rules::what_if::{Finding, Moved, Replay, Terms, needed_from};

use crate::kit::{World, meters, plan, time, trial};

/// Plan 1 as it is, with this version 9 of it in its place.
pub(crate) fn followed(world: &World, other: Plan) -> (Catalogue, Moved) {
    let plans = world.catalogue.plans().into_iter().map(|plan| (**plan).clone());
    let key = "plan-1".parse().unwrap();
    let newest = Plan { id: PlanId(9), key: "plan-1".parse().unwrap(), version: 2, ..other };
    (Catalogue::new(meters(), plans.chain([newest]).collect()), Moved::Followers(HashMap::from([(key, PlanId(9))])))
}

fn is_event(entry: &Entry) -> bool {
    match &entry.what {
        What::Decided(_) | What::Recorded(_) => true,
        What::Reservation(hold) => matches!(**hold, Hold::Settled(_)),
        _ => false,
    }
}

/// What happened from a time on, under these terms, and how the organization stands then.
pub(crate) fn in_course(world: &World, terms: &Terms<'_>, from: Time) -> (Vec<Finding>, Account) {
    let mut account = apply::create(world.account.id, &world.entries[0]).unwrap();
    let (mut replay, mut found, mut events) = (None::<Replay<'_>>, Vec::new(), 0);
    for entry in &world.entries[1..] {
        events += u32::from(is_event(entry));
        let place = (1, if is_event(entry) { events } else { u32::MAX });
        let begins = terms.begins(&account, from);
        if replay.is_none() && begins <= entry.at {
            let begun = Replay::in_course(account.clone(), terms.clone(), &world.account.voided, begins);
            replay = Some(begun);
        }
        match &mut replay {
            None => apply::apply(&mut account, entry),
            Some(replay) => found.extend(replay.take(place, entry).unwrap().filter(|found| from <= found.at)),
        }
    }
    (found, replay.map_or(account, Replay::into_account))
}

/// `ok`, or why it would have been refused, of each call.
fn fates(found: &[Finding]) -> String {
    let fate = |found: &Finding| match found.parts[0].is.reason {
        None => "ok".to_owned(),
        Some(Reason::QuotaExceeded) => "quota".to_owned(),
        Some(reason) => reason.as_str().to_owned(),
    };
    found.iter().map(fate).collect::<Vec<_>>().join(" ")
}

/// One call on days 2, 6, 10, 16 and 40 after the creation.
const DAYS: &str = "wait 2d; api 1; wait 4d; api 1; wait 4d; api 1; wait 6d; api 1; wait 24d; api 1";

#[test]
fn a_trial_is_as_long_as_the_terms_have_it_and_ends_as_they_say() {
    let lock = || trial(14, TrialEnd::Lock);
    let expired = "trial-expired";
    let all_ok = "ok ok ok ok ok".to_owned();
    #[rustfmt::skip]
    let cases = [ // the trial that was, another one, what would have been
        (lock(), trial(5, TrialEnd::Lock),          format!("ok {expired} {expired} {expired} {expired}")),
        (lock(), trial(20, TrialEnd::Lock),         format!("ok ok ok ok {expired}")),
        (lock(), trial(5, TrialEnd::Continue),      all_ok.clone()),
        (lock(), None,                              all_ok.clone()),
        (None,   trial(7, TrialEnd::Lock),          format!("ok ok {expired} {expired} {expired}")),
        (trial(14, TrialEnd::Continue), trial(9, TrialEnd::Lock), format!("ok ok {expired} {expired} {expired}")),
        (trial(3, TrialEnd::Plan("plan-2".parse().unwrap())), trial(12, TrialEnd::Lock), format!("ok ok ok {expired} {expired}")),
        (lock(), trial(9, TrialEnd::Plan("plan-2".parse().unwrap())), "ok ok quota quota ok".to_owned()),
    ];
    for (was, is, expected) in cases {
        let own = Plan { trial: was.clone(), ..plan(1, "") };
        let mut world = World::new([own, plan(2, "api.period=1")]);
        // Somebody who is refused asks under an id, so that it stands in the journal.
        world.play(DAYS);
        let (catalogue, moved) = followed(&world, Plan { trial: is.clone(), ..plan(1, "") });
        let terms = Terms { catalogue: &catalogue, moved: &moved };
        let created = world.account.profile.created_at;
        let (found, _) = in_course(&world, &terms, created);
        assert_eq!(fates(&found), expected, "{was:?} to {is:?}");
        // From the fourth day on: what came before has happened.
        if !matches!(was.as_ref().map(|was| &was.on_end), Some(TrialEnd::Plan(_)) | None) {
            let (found, _) = in_course(&world, &terms, created.plus(4 * DAY));
            let rest = expected.split_once(' ').unwrap().1;
            assert_eq!(fates(&found), rest, "{was:?} to {is:?}, from the fourth day on");
        }
    }
}

#[test]
fn a_trial_that_somebody_has_extended_ends_when_it_did() {
    let own = Plan { trial: trial(14, TrialEnd::Lock), ..plan(1, "") };
    let mut world = World::new([own]);
    world.play("wait 1d; trial +20d; wait 18d; api 1; wait 4d; api 1");
    let (catalogue, moved) = followed(&world, Plan { trial: trial(5, TrialEnd::Lock), ..plan(1, "") });
    let terms = Terms { catalogue: &catalogue, moved: &moved };
    for days in [0, 3] {
        let (found, _) = in_course(&world, &terms, world.account.profile.created_at.plus(days * DAY));
        assert_eq!(fates(&found), "ok trial-expired", "{days}");
    }
}

#[test]
fn periods_begin_where_the_terms_have_them_begin() {
    // Created on 22 November at 11:06; so much on these days.
    let script = "clock 2026-11-25T00:00:00Z; api 6; users 1; clock 2026-12-03T00:00:00Z; api 6; users 1; \
                  clock 2026-12-20T00:00:00Z; api 6; clock 2026-12-23T00:00:00Z; api 6; clock 2027-01-02T00:00:00Z; api 6";
    let mut world = World::new([plan(1, "")]);
    world.play(script);
    let limits = "api.period=12 users.period=1";
    let under = |cycle, from: &str| {
        let (catalogue, moved) = followed(&world, Plan { cycle, ..plan(1, limits) });
        let terms = Terms { catalogue: &catalogue, moved: &moved };
        let (found, account) = in_course(&world, &terms, time(from));
        (fates(&found), account.windows.period.start)
    };
    let november = "2026-11-22T11:06:00Z";
    assert_eq!(under(Cycle::SignUp, november), ("ok ok ok ok quota ok ok".to_owned(), time("2026-12-22T11:06:00Z")));
    let months = ("ok ok ok ok ok quota ok".to_owned(), time("2027-01-01T00:00:00Z"));
    assert_eq!(under(Cycle::FirstOfMonth, november), months);
    // What came before in the period that would have been open counts.
    for (from, fates) in [("2026-12-10T00:00:00Z", "ok quota ok"), ("2026-12-22T00:00:00Z", "quota ok")] {
        assert_eq!(under(Cycle::FirstOfMonth, from), (fates.to_owned(), months.1), "{from}");
    }
    let first = |cycle| Plan { cycle, ..plan(1, "") };
    let mut world = World::new([first(Cycle::FirstOfMonth)]);
    world.play(script);
    let (catalogue, moved) = followed(&world, Plan { cycle: Cycle::SignUp, ..plan(1, limits) });
    let terms = Terms { catalogue: &catalogue, moved: &moved };
    let (found, account) = in_course(&world, &terms, time("2026-12-10T00:00:00Z"));
    assert_eq!((fates(&found).as_str(), account.windows.period.start), ("quota ok ok", time("2026-12-22T11:06:00Z")));
    assert_eq!(needed_from(&world.account, time("2026-12-10T00:00:00Z")), time(november));
}

#[test]
fn a_cycle_that_somebody_has_moved_stays_where_it_is() {
    let mut world = World::new([plan(1, "")]);
    world.play("cycle 2026-11-10; clock 2026-12-09T00:00:00Z; api 6; clock 2026-12-11T00:00:00Z; api 6");
    let (catalogue, moved) = followed(&world, Plan { cycle: Cycle::FirstOfMonth, ..plan(1, "api.period=6") });
    let terms = Terms { catalogue: &catalogue, moved: &moved };
    for from in ["2026-11-22T11:06:00Z", "2026-12-08T00:00:00Z"] {
        let (found, account) = in_course(&world, &terms, time(from));
        assert_eq!(
            (fates(&found).as_str(), account.windows.period.start),
            ("ok ok", time("2026-12-10T00:00:00Z")),
            "{from}"
        );
    }
}

/// Limits that such histories reach.
const TIGHT: &str = "api.minute=9 api.day=14 api.period=25 calls.day=3 peak.period=8 bytes.day=8 users.period=4";

/// Steps of which random histories are made.
#[rustfmt::skip]
const STEPS: [&str; 40] = [
    "api 3", "api 7", "api 1", "calls 1", "peak 5", "bytes 9", "users 1", "users 2", "users 3", "api 2 + calls 1", "event api 4",
    "event users 2 @-20h", "event api 2 @-30h", "event api 1 @+2m", "grant api 6", "grant api 5 until=+2d", "override api.day=9 until=+1d",
    "reserve api 6 1h", "reserve api 3 20m", "commit 1 4", "release 2", "reset", "reset * day month", "adjust api -2", "adjust api 3",
    "undo 1", "undo 2", "lock operator", "unlock", "wait 10m", "wait 5h", "wait 1d", "wait 20d", "plan 2", "plan 1", "plan 2 later",
    "zone Europe/Berlin", "cycle 2026-11-10", "trial +9d", "plan 1 fresh",
];

/// How often something was changed, and how often a counter began while nothing happened, says nothing of how it stands; nor does
/// what was told of a counter before it began.
fn standing(account: &Account) -> Account {
    let mut standing = Account { changes: 0, ..account.clone() };
    let epoch = |of: &OfMaximum| account.meter(of.meter)?.counter(of.window).map(|counter| counter.epoch);
    standing.maxima.retain(|of| epoch(of) == Some(of.epoch));
    standing.maxima.iter_mut().for_each(|of| of.epoch = 0);
    for used in &mut standing.meters {
        Arc::make_mut(used).counters.iter_mut().for_each(|counter| counter.epoch = 0);
    }
    standing
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What time brings about by itself is what it brought about, under the terms that were in force.
    #[test]
    fn under_the_same_terms_the_course_of_things_is_as_it_was(
        steps in prop::collection::vec(0..STEPS.len(), 1..60),
        locks in any::<bool>(),
    ) {
        let end = if locks { TrialEnd::Lock } else { TrialEnd::Plan("plan-2".parse().unwrap()) };
        let one = Plan { trial: trial(3, end), ..plan(1, TIGHT) };
        let mut world = World::new([one, Plan { cycle: Cycle::FirstOfMonth, ..plan(2, "api.day=30!soft users.month=2") }]);
        let script: Vec<&str> = steps.into_iter().map(|step| STEPS[step]).collect();
        world.play(&format!("api 1; event users 1; {}", script.join("; ")));
        let moved = Moved::Followers(HashMap::new());
        let terms = Terms { catalogue: &world.catalogue, moved: &moved };
        let (found, account) = in_course(&world, &terms, world.account.profile.created_at);
        for found in found {
            prop_assert_eq!(found.was_allowed, found.is_allowed, "{:?}", found);
        }
        let (was, is) = (standing(&world.account), standing(&account));
        prop_assert_eq!(is, was);
    }
}

//! Past entries decided anew under other terms (O10).

use std::collections::HashMap;

use proptest::prelude::*;

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::catalogue::Catalogue;
use metergate_rules::id::PlanId;
use metergate_rules::outcome::{Entry, Hold, Reason, What};
use metergate_rules::plan::Plan;
use metergate_rules::time::{DAY, HOUR, MINUTE};
use metergate_rules::what_if::{Estimate, Fate, Finding, Kind, Moved, Replay, Terms};

use crate::kit::show::name;
use crate::kit::{API, World, meters, plan, q, time};

/// The plans of a world and one more.
pub(crate) fn with(world: &World, other: Plan) -> Catalogue {
    let plans = world.catalogue.plans().into_iter().map(|plan| (**plan).clone());
    Catalogue::new(meters(), plans.chain([other]).collect())
}

/// All that happened after the creation, under these terms; the account afterwards.
pub(crate) fn replay(world: &World, terms: Terms<'_>) -> (Vec<Finding>, Account) {
    let created = apply::create(world.account.id, &world.entries[0]).unwrap();
    let mut replay = Replay::new(created, terms, &world.account.voided);
    let (mut found, mut events) = (Vec::new(), 0);
    for entry in &world.entries[1..] {
        events += u32::from(is_event(entry));
        // As the void of the kit names them.
        let place = (1, if is_event(entry) { events } else { u32::MAX });
        found.extend(replay.take(place, entry).unwrap());
    }
    (found, replay.into_account())
}

fn is_event(entry: &Entry) -> bool {
    match &entry.what {
        What::Decided(_) | What::Recorded(_) => true,
        What::Reservation(hold) => matches!(**hold, Hold::Settled(_)),
        _ => false,
    }
}

/// What would have been on a plan of these limits.
fn under(world: &World, limits: &str) -> Vec<Finding> {
    let catalogue = with(world, plan(9, limits));
    replay(world, Terms { catalogue: &catalogue, moved: &Moved::To(PlanId(9)) }).0
}

fn shown(found: &Finding) -> String {
    let why = |fate: &Fate| match fate.reason {
        Some(Reason::QuotaExceeded) => fate.passed.iter().map(|window| format!(" {}", name(window))).collect(),
        Some(reason) => format!(" {}", reason.as_str()),
        None => String::new(),
    };
    let whys = |fate: fn(&metergate_rules::what_if::Part) -> Fate| {
        found.parts.iter().map(|part| why(&fate(part))).collect::<String>()
    };
    let over: i64 = found.parts.iter().map(|part| part.is.overage.units()).sum();
    let over = if over == 0 { String::new() } else { format!(" over {over}") };
    match (found.kind, found.was_allowed, found.is_allowed) {
        (Kind::Fact, ..) => format!("fact{over}"),
        (_, true, true) => format!("ok{over}"),
        (_, true, false) => format!("refused{}", whys(|part| part.is)),
        (_, false, false) => format!("still{}", whys(|part| part.is)),
        (_, false, true) => format!("allowed, was{}", whys(|part| part.was)),
    }
}

#[test]
fn calls_are_decided_anew_and_facts_counted_anew() {
    #[rustfmt::skip]
    let cases = [ // the plan then, what happened, the other plan, what would have been
        ("api.day=10", "api 4; api 4; api 4", "api.day=7",  "ok; refused day; still day"),
        ("api.day=10", "api 4; api 4; api 4", "api.day=12", "ok; ok; allowed, was day"),
        ("api.day=10", "api 4; api 4; api 4", "api.day=10", "ok; ok; still day"),
        ("api.day=10", "api 8; api 8; api 2", "api.day=5",  "refused day; still day; ok"),
        ("",           "api 6; wait 30s; api 6; wait 40s; api 6", "api.minute=10", "ok; refused minute; ok"),
        ("",           "api 6; wait 30m; api 6; wait 40m; api 6", "api.hour=10",   "ok; refused hour; ok"),
        ("",           "api 6; wait 1s; api 6",                   "api.minute=10 api.day=9", "ok; refused minute day"),
        ("",           "grant api 5; api 8; api 8; api 1",        "api.period=4",  "ok; refused period; ok"),
        ("",           "extra api 5; api 8; api 2",               "api.period=4",  "ok; refused period"),
        ("",           "override api.period=50; api 8",           "api.period=4",  "ok"),
        ("",           "api 3; reset; api 3",                     "api.period=4",  "ok; ok"),
        ("",           "api 8; clock 2026-12-23T00:00:00Z; api 8", "api.period=10", "ok; ok"),
        ("",           "api 4; api 4",                            "api.day=5!soft", "ok; ok over 3"),
        ("",           "event api 4; event api 4; api 1",         "api.day=5",     "fact; fact over 3; refused day"),
        ("",           "event api 4 @-2d; api 5",                 "api.day=5",     "fact; ok"),
        ("",           "api 3 + calls 1; calls 1; api 1",         "api.day=2 calls.day=1", "refused day; ok; ok"),
        ("",           "users 1; users 2; users 1; users 2",      "users.day=1",   "ok; refused day; ok; refused day"),
        ("users.day=1", "users 1; users 2; users 2; users 1",     "users.day=2",   "ok; allowed, was day; allowed, was day; ok"),
        ("",           "users 1; users 2; wait 24h; users 2; users 1", "users.day=1", "ok; refused day; ok; refused day"),
        ("",           "users 2; event users 2; event users 1; users 1; users 3", "users.day=2", "ok; fact; fact; ok; refused day"),
        ("",           "bytes 60; bytes 20; bytes 70",            "bytes.period=50", "refused period; ok; refused period"),
        ("",           "peak 60; peak 20",                        "peak.day=50",   "refused day; ok"),
        ("",           "reserve api 60 1h; commit 1 50; api 30",  "api.period=40", "refused period; fact; ok"),
        ("",           "reserve api 30 1h; commit 1 50; api 1",   "api.period=40", "ok; fact over 10; refused period"),
        ("",           "reserve api 30 1h; api 20; release 1; api 20", "api.period=40", "ok; refused period; ok"),
        ("",           "reserve api 60 1h; reserve api 9 1h; extend 1 2h; wait 90m; release 1; commit 2 3; api 40", "api.period=40", "refused period; ok; ok"),
        ("",           "api 3; api 8; undo 2; api 3",             "api.day=5",     "ok; refused day; refused day"),
        ("",           "api 3; undo 1; api 3",                    "api.day=5",     "ok; ok"),
        ("",           "grant api 5; api 8; undo 1; api 8",       "api.period=4",  "ok; ok"),
        ("",           "grant api 5; event api 8; undo 1; api 9", "api.period=4",  "fact; ok"),
        ("",           "grant api 5; reserve api 8 1h; commit 1 8; undo 1; api 9", "api.period=4", "ok; fact; ok"),
        ("",           "grant api 5; api 8; adjust api -6; api 7", "api.period=4", "ok; ok"),
        ("",           "grant api 5; api 9; undo 1; api 8; undo 2; api 9", "api.period=4", "ok; ok; ok"),
        ("api.period=2", "grant api 9; api 8; undo 1; api 9; api 3", "api.period=9", "ok; ok; allowed, was period"),
        ("",           "grant api 5 until=+1d; api 8; wait 25h; undo 1; api 5", "api.period=4", "ok; refused period"),
        ("api.period=2", "grant api 5 until=+1d; api 7; wait 25h; api 3", "api.period=20", "ok; allowed, was period"),
        ("",           "api 3; adjust api 2; api 1",              "api.day=5",     "ok; refused day"),
        ("",           "api 3; adjust api -2; api 4",             "api.day=5",     "ok; ok"),
        ("api.day=10", "lock operator; api 1; unlock; api 20",    "api.day=1",     "still organization-locked; still day"),
    ];
    for (then, script, other, expected) in cases {
        let mut world = World::new([plan(1, then)]);
        world.play(script);
        let found: Vec<String> = under(&world, other).iter().map(shown).collect();
        assert_eq!(found.join("; "), expected, "{script} under {other}");
    }
}

#[test]
fn what_was_refused_says_how_much_was_asked_for() {
    let mut world = World::new([plan(1, "api.day=10 calls.day=9")]);
    world.play("api 40 + calls 1; users 7");
    let found = under(&world, "api.day=5 users.day=0");
    let measures: Vec<_> = found.iter().flat_map(|found| found.parts.iter().map(|part| part.measure)).collect();
    assert_eq!(
        measures,
        [world.measure(API, 40), world.measure(crate::kit::CALLS, 1), world.measure(crate::kit::USERS, 7)]
    );
}

#[test]
fn a_meter_that_the_other_plan_does_not_name_may_not_be_in_it() {
    let mut world = World::new([plan(1, "")]);
    world.play("api 1; calls 1; event calls 1");
    let catalogue = with(&world, Plan { other_meters: false, ..plan(9, "api.day=5") });
    let (found, _) = replay(&world, Terms { catalogue: &catalogue, moved: &Moved::To(PlanId(9)) });
    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), ["ok", "refused not-entitled", "fact"]);
}

#[test]
fn whoever_is_on_another_plan_keeps_to_its_limits() {
    let mut world = World::new([plan(1, ""), plan(2, "")]);
    world.play("api 5; plan 2; api 5; plan 1; api 5; plan 2 later; clock 2026-12-23T00:00:00Z; api 5");
    let catalogue = with(&world, plan(9, "api.day=1"));
    let moved = Moved::Followers(HashMap::from([("plan-1".parse().unwrap(), PlanId(9))]));
    let (found, account) = replay(&world, Terms { catalogue: &catalogue, moved: &moved });
    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), ["refused day", "ok", "refused day", "ok"]);
    assert_eq!(account.plan, PlanId(2));
}

/// Limits that such histories reach.
const TIGHT: &str =
    "api.minute=9 api.day=14 api.period=25 calls.day=3 peak.period=8 bytes.day=8 users.day=3 users.period=4";

/// Steps of which random histories are made.
#[rustfmt::skip]
const STEPS: [&str; 52] = [
    "api 3", "api 7", "api 1", "calls 1", "peak 5", "peak 9", "bytes 9", "bytes 4", "users 1", "users 2", "users 3",
    "api 2 + calls 1", "users 4 + api 1", "event api 4", "event users 2 @-20h", "event users 5", "event api 2 @-30h",
    "event api 1 @+2m", "event bytes 3", "event peak 20", "grant api 6", "grant api 5 until=+2d", "grant users 3 prio=1",
    "void 1", "extra api 4", "override api.day=9 until=+1d", "override users.day=3", "clear users.day", "reserve api 6 1h",
    "reserve api 3 20m", "commit 1 4", "commit 2 9", "commit 3 2", "release 1", "release 2", "extend 1 2h", "reset", "reset api",
    "reset * day month", "adjust api -2", "adjust api 3", "undo 1", "undo 2", "lock operator", "unlock", "wait 20s", "wait 10m",
    "wait 5h", "wait 1d", "wait 20d", "plan 2", "zone Europe/Berlin",
];

/// What is tried at random reaches what it is about.
#[test]
fn under_the_same_terms_a_long_history_is_as_it_was() {
    let mut world = World::new([plan(1, TIGHT), plan(2, "api.day=30!soft users.month=2 api.life=60")]);
    for _ in 0..3 {
        world.play(&format!("api 1; reserve api 2 1h; event users 1; {}; plan 1", STEPS.join("; ")));
    }
    let terms = Terms { catalogue: &world.catalogue, moved: &Moved::Followers(HashMap::new()) };
    let (found, account) = replay(&world, terms);
    assert!(found.iter().all(|found| found.was_allowed == found.is_allowed));
    assert_eq!(account, world.account);
    let count = |wanted: fn(&Finding) -> bool| found.iter().filter(|found| wanted(found)).count();
    assert!(count(|found| !found.was_allowed) > 5 && count(|found| found.was_allowed) > 20);
    assert!(count(|found| found.kind == Kind::Reservation) > 0, "nothing was reserved");
    assert!(!account.voided.is_empty(), "nothing was void");
    assert!(count(|found| found.parts.iter().any(|part| !part.is.overage.is_zero())) > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// The terms that were in force refuse exactly what was refused, and the organization stands as it does.
    #[test]
    fn under_the_same_terms_everything_is_as_it_was(steps in prop::collection::vec(0..STEPS.len(), 1..60)) {
        let mut world = World::new([plan(1, TIGHT), plan(2, "api.day=30!soft users.month=2 api.life=60")]);
        let script: Vec<&str> = steps.into_iter().map(|step| STEPS[step]).collect();
        world.play(&format!("api 1; event users 1; {}", script.join("; ")));
        let terms = Terms { catalogue: &world.catalogue, moved: &Moved::Followers(HashMap::new()) };
        let (found, account) = replay(&world, terms);
        for found in found {
            prop_assert_eq!(found.was_allowed, found.is_allowed, "{:?}", found);
            let is_reservation = found.kind == Kind::Reservation;
            prop_assert!(is_reservation || found.parts.iter().all(|part| part.was == part.is), "{:?}", found);
        }
        prop_assert_eq!(&account, &world.account);
    }

    /// With tighter limits more is refused in all, and never more admitted than a limit has.
    #[test]
    fn a_lower_limit_is_kept(quantities in prop::collection::vec((1..9_i64, 0..30_i64), 1..60), limit in 5..40_i64) {
        let mut world = World::new([plan(1, "api.day=50")]);
        for (quantity, minutes) in quantities {
            world.now = world.now.plus(minutes * MINUTE);
            world.consume(API, quantity);
        }
        let catalogue = with(&world, plan(9, &format!("api.day={limit} api.hour={limit}")));
        let (found, account) = replay(&world, Terms { catalogue: &catalogue, moved: &Moved::To(PlanId(9)) });
        prop_assert!(found.iter().all(|found| found.kind == Kind::Decision));
        let used = account.meter(API).map_or(0, |used| used.counters[0].used.units());
        prop_assert!(used <= limit, "{} of {}", used, limit);
    }
}

#[test]
fn sums_of_quarter_hours_are_admitted_as_far_as_the_limits_go() {
    #[rustfmt::skip]
    let cases = [ // the other plan, quarter hours from the begin with sum and calls, what is refused of each
        ("api.day=10",        vec![(0, 6, 6), (1, 6, 3), (2, 1, 1)],         "0/0; 2/1; 1/1"),
        ("api.day=10!soft",   vec![(0, 6, 6), (1, 6, 3)],                    "0/0; 0/0 over 2"),
        ("api.minute=1",      vec![(0, 15, 15), (1, 45, 9)],                 "0/0; 30/6"),
        ("api.hour=10",       vec![(0, 6, 1), (1, 6, 1), (3, 6, 1), (4, 6, 1)], "0/0; 2/1; 6/1; 0/0"),
        ("api.period=10",     vec![(0, 6, 1), (96, 6, 1)],                   "0/0; 2/1"),
        ("calls.day=1",       vec![(0, 99, 99)],                             "0/0"),
        ("api.day=inf",       vec![(0, 99, 99), (1, 0, 0)],                  "0/0; 0/0"),
    ];
    for (limits, quarters, expected) in cases {
        let world = World::at("2026-11-22T00:00:00Z", "UTC", [plan(1, "")]);
        let catalogue = with(&world, plan(9, limits));
        let moved = Moved::To(PlanId(9));
        let mut estimate =
            Estimate::new(&world.account, Terms { catalogue: &catalogue, moved: &moved }, API, world.now);
        let found = quarters.iter().map(|(quarter, sum, calls)| {
            let found = estimate.take(world.now.plus(quarter * 15 * MINUTE), q(*sum), *calls).unwrap();
            let over = if found.overage.is_zero() { String::new() } else { format!(" over {}", found.overage.units()) };
            format!("{}/{}{over}", found.refused.units(), found.count)
        });
        assert_eq!(found.collect::<Vec<_>>().join("; "), expected, "{limits}");
    }
}

#[test]
fn an_estimate_begins_with_what_counted_in_the_windows_that_were_open() {
    let world = World::at("2026-11-10T11:06:00Z", "Europe/Berlin", [plan(1, "")]);
    let from = time("2026-11-25T12:00:00Z");
    assert_eq!(Estimate::begins(&world.account, from), time("2026-10-31T23:00:00Z"), "the month's first day there");
    let catalogue = with(&world, plan(9, "api.period=10 api.day=100"));
    let moved = Moved::To(PlanId(9));
    let terms = Terms { catalogue: &catalogue, moved: &moved };
    let mut estimate = Estimate::new(&world.account, terms, API, Estimate::begins(&world.account, from));
    estimate.count(from.plus(-20 * DAY), q(50)).unwrap();
    estimate.count(from.plus(-HOUR), q(7)).unwrap();
    let found = estimate.take(from, q(5), 5).unwrap();
    assert_eq!((found.refused, found.count), (q(2), 2), "the first was in the period before");
}

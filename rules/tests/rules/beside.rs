//! A replay says what would have happened (O10): the same steps, taken under the other terms from the beginning, come out alike.

use std::collections::HashMap;

use proptest::prelude::*;

use metergate_rules::account::Account;
use metergate_rules::id::{GrantId, MeterId, PlanId};
use metergate_rules::outcome::{Use, What};
use metergate_rules::what_if::{Finding, Kind, Moved, Terms};
use metergate_rules::window::Window;

use crate::kit::{API, World, plan};
use crate::what_if::{replay, with};

/// Other limits than none.
const OTHERS: [&str; 6] = [
    "api.day=8 api.period=12 calls.day=1 users.day=1",
    "api.period=9 users.period=2",
    "api.period=60 users.period=9 bytes.day=3",
    "api.minute=4 api.month=7!soft users.month=2",
    "api.day=40!soft peak.day=6",
    "",
];

fn overage(uses: &[Use]) -> i64 {
    uses.iter().map(|used| used.overage.units()).sum()
}

/// Whether each call and each event was allowed, and how much of it went beyond a limit.
fn happened(world: &World) -> Vec<(bool, i64)> {
    let of = |what: &What| match what {
        What::Decided(decided) => Some((decided.refused.is_empty(), overage(&decided.uses))),
        What::Recorded(recorded) => Some((true, overage(&recorded.uses))),
        _ => None,
    };
    world.entries.iter().filter_map(|entry| of(&entry.what)).collect()
}

/// The same as a replay says it would have been.
fn would_have(found: &Finding) -> (bool, i64) {
    let over = found.parts.iter().map(|part| part.is.overage.units()).sum();
    let is_allowed = found.kind == Kind::Fact || found.is_allowed;
    (is_allowed, if is_allowed { over } else { 0 })
}

/// What the counters of meters and the grants hold.
type Holding = (Vec<(MeterId, Vec<i64>)>, Vec<(GrantId, i64)>);

/// That in the end.
fn held(account: &Account) -> Holding {
    let counters = account
        .meters
        .iter()
        .map(|used| (used.meter, used.counters.iter().map(|counter| counter.used.units()).collect::<Vec<_>>()));
    let used = counters.filter(|(_, used)| used.iter().any(|units| *units != 0)).collect();
    (used, account.grants.iter().map(|grant| (grant.id, grant.used.units())).collect())
}

/// What a script comes to under other limits than none, and what a replay says of it: of each call and event, and in the end.
fn both(script: &str, other: &str) -> [(Vec<(bool, i64)>, Holding); 2] {
    let two = || plan(2, "api.day=30!soft users.month=2 api.life=60");
    let script = format!("{script}; touch");
    let mut world = World::new([plan(1, ""), two()]);
    world.play(&script);
    let mut beside = World::new([plan(1, other), two()]);
    beside.play(&script);
    let catalogue = with(&world, plan(9, other));
    let moved = Moved::Followers(HashMap::from([("plan-1".parse().unwrap(), PlanId(9))]));
    let (found, account) = replay(&world, Terms { catalogue: &catalogue, moved: &moved });
    let found = found.iter().map(would_have).collect();
    [(found, held(&account)), (happened(&beside), held(&beside.account))]
}

#[test]
fn what_is_taken_back_returns_to_the_grants_that_would_have_given_it() {
    for script in [
        "grant api 6; api 12; undo 3; api 12",
        "grant api 6; grant api 5 until=+2d; api 12; wait 20d; undo 3; api 7",
        "grant users 3 prio=1; users 2; users 3; users 4; undo 4; users 5; users 6",
        "grant users 2; users 2; users 3; users 4; undo 3; undo 4; users 5; users 6; users 7",
        "grant users 1 until=+2d; users 2; users 3; wait 3d; undo 3; users 4; users 5",
        "grant users 3; event users 2; event users 3; event users 4; undo 5; undo 2; users 5; users 6",
        "grant api 6; api 7; void 1; undo 3; api 7",
        "grant api 6; event api 4; event api 4; undo 3; undo 4; api 12",
        "extra api 4; api 12; reset api; undo 3; api 12",
    ] {
        for other in OTHERS {
            let [would_have, happened] = both(&format!("api 1; event users 1; {script}"), other);
            assert_eq!(would_have, happened, "{script} under {other}");
        }
    }
}

#[test]
fn a_reset_sets_to_zero_what_would_have_been_counted() {
    for script in [
        // Of what had counted nothing then, and of what was not asked for.
        "lock operator; api 5; users 2; unlock; reset; api 8; api 8",
        "api 5; users 2; reset users; api 8; users 3; users 4",
        "api 5; calls 1; reset api; reset calls; api 8; calls 1",
        "api 5; wait 1d; api 3; reset * day; api 8; reset api day month; api 8",
        "event api 9 @-30h; reset; event api 9 @-30h; api 8; api 8",
        "api 12; users 2; reset; event users 3; users 4; users 2; reset; users 2; users 4",
    ] {
        for other in OTHERS {
            let [would_have, happened] = both(&format!("api 1; event users 1; {script}"), other);
            assert_eq!(would_have, happened, "{script} under {other}");
        }
    }
    // Whatever was refused then and would have been used is set to zero, too.
    let mut world = World::new([plan(1, "api.period=4")]);
    world.play("calls 1; api 5; reset; api 5; touch");
    let catalogue = with(&world, plan(9, "api.period=8"));
    let moved = Moved::Followers(HashMap::from([("plan-1".parse().unwrap(), PlanId(9))]));
    let (found, account) = replay(&world, Terms { catalogue: &catalogue, moved: &moved });
    assert!(found.iter().all(|found| found.is_allowed));
    assert_eq!(account.meter(API).unwrap().counter(Window::BillingPeriod).unwrap().used.units(), 5);
}

/// Steps of which random histories are made. A value (`#`) is brought once.
#[rustfmt::skip]
const STEPS: [&str; 32] = [
    "api 3", "api 7", "api 1", "calls 1", "peak 5", "peak 9", "bytes 9", "bytes 4", "users #", "users #", "event users #",
    "event users #", "users # + api 1", "api 2 + calls 1", "event api 4", "event api 2", "event api 1 @+2m", "event bytes 3",
    "event peak 20", "grant api 6", "grant api 5 until=+2d", "grant users 3 prio=1", "void 1", "extra api 4", "adjust api 3",
    "lock operator", "unlock", "wait 20s", "wait 10m", "wait 5h", "wait 1d", "wait 20d",
];

/// What else may happen where everything that is asked for is allowed then: a reset that finds nothing to set to zero is not on record,
/// nor what is void of what was refused. For the same reason nothing is told after a reset of what happened before it.
const WHERE_ALL_PASSES: [&str; 9] = [
    "reset",
    "reset api",
    "reset users",
    "reset * day month",
    "reset api minute hour",
    "undo 1",
    "undo 2",
    "undo 3",
    "undo 4",
];

/// And what else where something may be refused then that would have passed.
const WHERE_NOT: [&str; 8] = [
    "override api.day=9 until=+1d",
    "override users.day=3",
    "clear users.day",
    "plan 2",
    "plan 1",
    "zone Europe/Berlin",
    "event users # @-20h",
    "event api 2 @-30h",
];

/// The steps of these numbers, behind four things that can be void.
fn script(others: &[&str], numbers: &[usize]) -> String {
    let step = |(i, number): (usize, &usize)| {
        let step = match number.checked_sub(STEPS.len()) {
            None => STEPS[*number],
            Some(other) => others[other % others.len()],
        };
        step.replace('#', &(100 + i).to_string())
    };
    let steps: Vec<String> = numbers.iter().enumerate().map(step).collect();
    format!("api 1; event users 90; users 91; event api 2; {}", steps.join("; "))
}

/// Every other step or so is one of the others.
fn numbers() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..STEPS.len() * 3 / 2, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Resets and voids among it.
    #[test]
    fn a_replay_under_other_terms_is_as_what_happens_under_them(numbers in numbers(), other in 0..OTHERS.len()) {
        let [would_have, happened] = both(&script(&WHERE_ALL_PASSES, &numbers), OTHERS[other]);
        prop_assert_eq!(would_have, happened);
    }

    /// Overrides and moves to other plans among it.
    #[test]
    fn what_was_refused_then_is_as_what_happens_under_other_terms(numbers in numbers(), other in 0..OTHERS.len()) {
        let [would_have, happened] = both(&script(&WHERE_NOT, &numbers), OTHERS[other]);
        prop_assert_eq!(would_have, happened);
    }
}

//! A replay says what would have happened (O10): the same steps, taken under the other terms from the beginning, come out alike.

use std::collections::HashMap;

use metergate_rules::account::Account;
use metergate_rules::id::{GrantId, MeterId, PlanId};
use metergate_rules::outcome::{Use, What};
use metergate_rules::what_if::{Finding, Kind, Moved, Terms};

use crate::kit::{World, plan};
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

#[test]
fn what_is_taken_back_returns_to_the_grants_that_would_have_given_it() {
    for script in [
        "grant api 6; api 12; undo 3; api 12",
        "grant api 6; grant api 5 until=+2d; api 12; wait 20d; undo 3; api 7",
        "grant users 3 prio=1; users 2; users 3; users 4; undo 4; users 5; users 6",
        "grant api 6; api 7; void 1; undo 3; api 7",
        "grant api 6; event api 4; event api 4; undo 3; undo 4; api 12",
        "extra api 4; api 12; reset api; undo 3; api 12",
    ] {
        for other in OTHERS {
            let script = format!("api 1; event users 1; {script}; touch");
            let mut world = World::new([plan(1, "")]);
            world.play(&script);
            let mut beside = World::new([plan(1, other)]);
            beside.play(&script);
            let catalogue = with(&world, plan(9, other));
            let moved = Moved::Followers(HashMap::from([("plan-1".parse().unwrap(), PlanId(9))]));
            let (found, account) = replay(&world, Terms { catalogue: &catalogue, moved: &moved });
            let found: Vec<_> = found.iter().map(would_have).collect();
            assert_eq!(found, happened(&beside), "{script} under {other}");
            assert_eq!(held(&account), held(&beside.account), "{script} under {other}");
        }
    }
}

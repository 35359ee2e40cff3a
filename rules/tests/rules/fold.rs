//! The fold reads nothing but the entries, and they survive being written down.

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::outcome::Entry;
use metergate_rules::plan::{Plan, TrialEnd};

use crate::kit::{World, plan, trial};

const SCRIPT: &str = "grant api 5 until=+40d; grant users 2 prio=-3; api 7; users 1; users 2; event users 3 @-2h; \
    event bytes 4 @-100d; peak 9; event peak 12 @+3m; api 1 + calls 1; extra api 3; override api.day=20 until=+2d; \
    override calls.hour=1; calls 1; calls 1; lock billing; api 1; unlock; wait 3d; api 9; reset; api 4; void 2; \
    zone Asia/Kathmandu; wait 40d; api 2; plan 2; wait 400d; api 1; clear calls.hour; calls 1; lock operator; api 1";

fn world() -> World {
    let first =
        Plan { trial: trial(30, TrialEnd::Lock), ..plan(1, "api.minute=9 api.period=8 users.period=2 peak.day=20") };
    World::new([first, plan(2, "api.month=5 users.day=1!soft")])
}

fn fold(entries: &[Entry], id: metergate_rules::id::OrganizationId) -> Account {
    let mut account = apply::create(id, &entries[0]).unwrap();
    entries[1..].iter().for_each(|entry| apply::apply(&mut account, entry));
    account
}

fn through_json<T: Serialize + DeserializeOwned>(it: &T) -> T {
    serde_json::from_str(&serde_json::to_string(it).unwrap()).unwrap()
}

fn through_postcard<T: Serialize + DeserializeOwned>(it: &T) -> T {
    postcard::from_bytes(&postcard::to_stdvec(it).unwrap()).unwrap()
}

fn assert_round_trips(world: &World) {
    assert_eq!(through_json(&world.entries), world.entries);
    assert_eq!(through_postcard(&world.entries), world.entries);
    assert_eq!(through_json(&world.account), world.account);
    assert_eq!(through_postcard(&world.account), world.account);
    assert_eq!(fold(&through_postcard(&world.entries), world.account.id), world.account);
}

#[test]
fn entries_and_accounts_survive_being_written_down_and_fold_to_the_same_account() {
    let mut world = world();
    world.play(SCRIPT);
    assert!(world.entries.len() > 40, "the script reaches every kind of entry");
    assert_round_trips(&world);
}

#[test]
fn an_account_goes_on_from_what_was_written_down_as_if_it_had_not_been() {
    let steps: Vec<&str> = SCRIPT.split(';').collect();
    let (mut one, mut other) = (world(), world());
    for step in steps {
        let answer = one.play(step);
        other.account = through_postcard(&other.account);
        assert_eq!(other.play(step), answer, "{step}");
    }
    assert_eq!(one.account, other.account);
}

#[test]
fn only_a_creation_makes_an_account() {
    let mut world = world();
    world.play(SCRIPT);
    assert!(world.entries[1..].iter().all(|entry| apply::create(world.account.id, entry).is_none()));
}

#[test]
fn what_grants_were_given_is_available_used_expired_or_taken_back() {
    let mut world = world();
    world.play(SCRIPT);
    for grant in &world.settled().grants {
        let lost = if grant.ended.is_some() {
            grant.amount.minus(grant.used)
        } else {
            metergate_rules::quantity::Quantity::ZERO
        };
        let sum = grant.available(world.now).units() + grant.used.units() + lost.units();
        assert_eq!(sum, grant.amount.units(), "{grant:?}");
    }
    let drawn = world.entries.iter().flat_map(crate::kit::uses).flat_map(|used| &used.draws);
    let drawn: i64 = drawn.map(|draw| draw.quantity.units()).sum();
    let used: i64 = world.account.grants.iter().map(|grant| grant.used.units()).sum();
    assert_eq!(drawn, used, "every draw is in an entry");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_happens_survives_being_written_down(
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..40)
    ) {
        let steps: Vec<&str> = SCRIPT.split(';').collect();
        let mut world = world();
        for at in order {
            world.play(steps[at.index(steps.len())]);
        }
        assert_round_trips(&world);
    }
}

//! A subscription beside a trial of Metergate's own, and beside another subscription.

use metergate_rules::plan::{Plan, TrialEnd};
use metergate_rules::subscription::{Reported, Snapshot};
use metergate_rules::time::DAY;

use super::{APRIL, MARCH, is_told, plans, snapshot, state, world};
use crate::kit::{World, time, trial};

/// Plan 2 has a trial that ends in a lock, and organizations sign up for it.
fn tried() -> World {
    let mut plans = plans();
    plans.rotate_left(1);
    plans[0] = Plan { trial: trial(14, TrialEnd::Lock), ..plans[0].clone() };
    World::at(super::NOW, "UTC", plans)
}

#[test]
fn a_subscription_that_holds_ends_the_trial_and_its_lock_whichever_came_first() {
    // The price of the plan that is tried, and one that no plan has.
    for price in [2, 9] {
        for (status, expected) in [("active", "Active 2 []"), ("past_due", "PastDue 2 []"), ("trialing", "Trial 2 []")]
        {
            for days in [13, 15] {
                let mut world = tried();
                world.now = world.now.plus(days * DAY);
                assert_eq!(state(&world), if days < 14 { "Trial 2 []" } else { "Trial 2 [Trial]" });
                is_told(&mut world, snapshot("sub_1", status, price, MARCH));
                assert_eq!(state(&world), expected, "{status} after {days} days");
                world.now = world.now.plus(3 * DAY);
                assert!(world.play("api 1").starts_with("ok"), "{status} after {days} days");
                assert_eq!(state(&world), expected, "{status} after {days} days, later");
            }
        }
    }
}

#[test]
fn one_that_stops_lifts_no_lock_of_a_trial_and_none_lifts_an_operators() {
    let mut world = tried();
    world.now = world.now.plus(15 * DAY);
    is_told(&mut world, snapshot("sub_1", "unpaid", 2, MARCH));
    assert_eq!(state(&world), "PastDue 2 [Trial Billing]");
    world.play("lock operator");
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    assert_eq!(state(&world), "Active 2 [Operator]");
}

fn made(id: &str, status: &str, price: u32, created: &str) -> Snapshot {
    Snapshot { created: time(created), is_current: false, ..snapshot(id, status, price, MARCH) }
}

/// All orders of these.
fn orders(of: &[Snapshot]) -> Vec<Vec<Snapshot>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let first = |at: usize| {
        let rest: Vec<Snapshot> = [&of[..at], &of[at + 1..]].concat();
        orders(&rest).into_iter().map(move |rest| [vec![of[at].clone()], rest].concat())
    };
    (0..of.len()).flat_map(first).collect()
}

#[test]
fn where_one_ends_another_that_holds_takes_over_in_whatever_order_they_are_told_of() {
    let older = made("sub_b", "active", 2, "2026-03-05T00:00:00Z");
    let younger = made("sub_a", "active", 3, "2026-03-06T00:00:00Z");
    let unpriced = made("sub_c", "active", 9, "2026-03-07T00:00:00Z");
    let over = Snapshot { status: Reported::from_name("canceled"), ..younger.clone() };
    for told in orders(&[older.clone(), younger.clone(), unpriced.clone(), over.clone()]) {
        let mut world = world();
        for snapshot in &told {
            is_told(&mut world, snapshot.clone());
        }
        let order: Vec<_> = told.iter().map(|one| format!("{} {:?}", one.id, one.status)).collect();
        assert_eq!(state(&world), "Active 2 []", "{order:?}");
        is_told(&mut world, Snapshot { status: over.status, ..older.clone() });
        assert_eq!(world.account.subscription.as_ref().unwrap().id, Some(unpriced.id.clone()), "{order:?}");
        is_told(&mut world, Snapshot { status: over.status, ..unpriced.clone() });
        assert!(state(&world).starts_with("Canceled 1 "), "{order:?}: {}", state(&world));
        assert!(world.account.subscription.as_ref().unwrap().others.is_empty(), "{order:?}");
        assert!(!is_told(&mut world, older.clone()), "it has ended");
    }
}

#[test]
fn another_one_is_taken_over_as_it_was_told_last() {
    let older = made("sub_b", "active", 2, "2026-03-05T00:00:00Z");
    let younger = made("sub_a", "active", 3, "2026-03-06T00:00:00Z");
    let mut world = world();
    is_told(&mut world, older.clone());
    is_told(&mut world, younger.clone());
    assert_eq!(state(&world), "Active 3 []");
    assert!(is_told(&mut world, Snapshot { status: Reported::from_name("unpaid"), ..older.clone() }));
    let renewed = Snapshot { items: snapshot("sub_b", "past_due", 2, APRIL).items, ..older.clone() };
    assert!(is_told(&mut world, renewed));
    assert!(!is_told(&mut world, older.clone()), "an older period is late");
    is_told(&mut world, Snapshot { status: Reported::from_name("canceled"), ..younger });
    assert_eq!(state(&world), "Active 2 []");
    assert_eq!(world.account.subscribed_as().unwrap().period, Some(super::span(APRIL)));
}

//! Days of grace and the plan after a subscription as other terms have them, in a replay (O10).

use std::collections::HashMap;

use metergate_rules::catalogue::Catalogue;
use metergate_rules::id::PlanId;
use metergate_rules::plan::Plan;
use metergate_rules::what_if::{Moved, Terms};

use super::{MARCH, is_told, snapshot, world};
use crate::courses::in_course;
use crate::kit::{World, meters, plan, time};

/// Version 9 of plan 2 takes its place.
fn under(world: &World, other: Plan, from: &str) -> String {
    let plans = world.catalogue.plans().into_iter().map(|plan| (**plan).clone());
    let key = || "plan-2".parse().unwrap();
    let newest = Plan { id: PlanId(9), key: key(), version: 2, stripe_prices: plan(2, "").stripe_prices, ..other };
    let catalogue = Catalogue::new(meters(), plans.chain([newest]).collect());
    let moved = Moved::Followers(HashMap::from([(key(), PlanId(9))]));
    let (found, _) = in_course(world, &Terms { catalogue: &catalogue, moved: &moved }, time(from));
    let fate = |why: Option<metergate_rules::outcome::Reason>| why.map_or("ok", |why| why.as_str());
    found.iter().map(|found| fate(found.parts[0].is.reason)).collect::<Vec<_>>().join(" ")
}

fn with_grace(days: u16) -> Plan {
    Plan { grace_days: days, fallback: "plan-1".parse().unwrap(), ..plan(2, "api.period=50") }
}

#[test]
fn a_missing_payment_stops_when_the_days_of_grace_of_the_terms_are_over() {
    let mut world = world();
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    world.now = time("2026-03-12T00:00:00Z");
    is_told(&mut world, snapshot("sub_1", "past_due", 2, MARCH));
    // On the 14th, within the seven days that were, after them, and after the payment.
    world.play("clock 2026-03-14T00:00:00Z; api 1; clock 2026-03-20T00:00:00Z; api 1; clock 2026-03-22T00:00:00Z");
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    world.play("api 1");
    let stopped = "subscription-inactive";
    for (days, expected) in [
        (7, format!("ok {stopped} ok")),
        (2, format!("{stopped} {stopped} ok")),
        (0, format!("{stopped} {stopped} ok")),
        (30, "ok ok ok".to_owned()),
    ] {
        assert_eq!(under(&world, with_grace(days), "2026-03-10T00:00:00Z"), expected, "{days} days");
        // It was missing already when the range begins.
        assert_eq!(under(&world, with_grace(days), "2026-03-13T00:00:00Z"), expected, "{days} days, from the 13th");
        let later = expected.split_once(' ').unwrap().1;
        assert_eq!(under(&world, with_grace(days), "2026-03-19T12:00:00Z"), later, "{days} days, from the 19th");
    }
}

#[test]
fn whoever_had_a_subscription_falls_back_to_the_plan_of_the_terms() {
    let mut world = world();
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    world.play("clock 2026-03-14T00:00:00Z; api 4");
    is_told(&mut world, snapshot("sub_1", "canceled", 2, MARCH));
    // Plan 1, to which it fell back, has 5 in a period, plan 3 has 500.
    world.play("api 4; clock 2026-03-16T00:00:00Z; api 4");
    let other = |fallback: &str| Plan { fallback: fallback.parse().unwrap(), ..with_grace(7) };
    for from in ["2026-03-10T00:00:00Z", "2026-03-13T00:00:00Z"] {
        let (same, more) = (under(&world, other("plan-1"), from), under(&world, other("plan-3"), from));
        assert_eq!((same.as_str(), more.as_str()), ("ok quota-exceeded quota-exceeded", "ok ok ok"), "{from}");
    }
    assert_eq!(under(&world, other("plan-3"), "2026-03-15T00:00:00Z"), "ok", "it had fallen back before");
}

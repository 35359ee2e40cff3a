//! The largest and the smallest numbers everywhere: no panic, no wrap, no sign flip.

use proptest::prelude::*;

use metergate_rules::decide::Problem;
use metergate_rules::outcome::Reply;
use metergate_rules::quantity::InvalidQuantity;

use crate::kit::script::table;
use crate::kit::{World, plan};

const TOO_LARGE: &str = "invalid quantity: too large: above 9223372036854775807 of the meter's smallest unit, \
                         alone or with what was counted before";
const MAX: i64 = i64::MAX;

#[test]
fn the_largest_quantity_can_be_used_once() {
    let full = format!("ok life {MAX}/{MAX}");
    #[rustfmt::skip]
    table(&[
        ("api.life=MAX", "api MAX; api 1; api MAX; api 0; event api 1; event api MAX",
            &format!("{full}; {TOO_LARGE}; {TOO_LARGE}; {full}; {TOO_LARGE}; {TOO_LARGE}")),
        ("api.life=MAX", "event api MAX; reset * life; api MAX", &format!("done; done; {TOO_LARGE}")), // the period holds it
        ("api.life=MAX", "event api MAX; reset * life period month day; api MAX", &format!("done; done; {full}")),
        ("api.life=MAX", "clock 2026-11-22T23:59:00Z; event api MAX @+2m; api 1", &format!("done; {TOO_LARGE}")),
        ("peak.life=MAX", "peak MAX; peak MAX", &format!("{full}; {full}")),
        ("bytes.life=MAX", "bytes MAX; bytes MAX", &format!("{full}; {full}")),
    ]);
}

#[test]
fn limits_at_the_largest_quantity_add_up() {
    #[rustfmt::skip]
    table(&[
        ("api.period=MAX", "extra api MAX; grant api 5; api 10", &format!("done; grant 1; ok period 10/{MAX}")),
        ("api.period=5", "extra api MAX; api 10", &format!("done; ok period 10/{MAX}")),
        ("api.period=5", "grant api MAX; grant api 1; api 10; api MAX",
            &format!("grant 1; {TOO_LARGE}; ok period 10/{MAX}; {TOO_LARGE}")),
        ("api.period=5", "grant api MAX; void 1; grant api 1", &format!("grant 1; done; {TOO_LARGE}")), // given in all
        ("api.minute=MAX api.hour=MAX", "api MAX; reset * day month period life; api MAX",
            &format!("ok minute {MAX}/{MAX}, hour {MAX}/{MAX}; done; quota-exceeded minute {MAX}/{MAX}, hour {MAX}/{MAX}")),
        ("api.minute=5!soft", "api MAX; reset * day month period life; api MAX",
            &format!("ok minute {MAX}/5 left 0 over {}; done; ok minute {MAX}/5 left 0 over {MAX}", MAX - 5)),
    ]);
}

/// Numbers at which something could wrap.
fn edge() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(1), Just(MAX), Just(MAX - 1), Just(MAX / 2), Just(MAX / 2 + 1), 0..100_i64]
}

fn step() -> impl Strategy<Value = String> {
    let meter = || prop::sample::select(vec!["api", "calls", "peak", "bytes", "users"]);
    let window = || prop::sample::select(vec!["minute", "hour", "day", "month", "period", "life"]);
    prop_oneof![
        8 => (meter(), edge()).prop_map(|(meter, n)| format!("{meter} {n}")),
        4 => (meter(), edge()).prop_map(|(meter, n)| format!("event {meter} {n} @-1h")),
        2 => (meter(), edge()).prop_map(|(meter, n)| format!("event {meter} {n} @+4m")),
        2 => (meter(), edge(), any::<i32>()).prop_map(|(meter, n, prio)| format!("grant {meter} {n} prio={prio}")),
        2 => (meter(), edge()).prop_map(|(meter, n)| format!("extra {meter} {n}")),
        2 => (meter(), window(), edge()).prop_map(|(meter, window, n)| format!("override {meter}.{window}={n}!soft")),
        2 => (meter(), window()).prop_map(|(meter, window)| format!("reset {meter} {window}")),
        2 => (0..MAX).prop_map(|us| format!("wait {}us", us >> (us % 40))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_numbers_are_answered_or_refused_as_invalid(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new([plan(1, "api.minute=MAX api.day=9 api.period=MAX users.life=1 peak.day=MAX bytes.day=5")]);
        for step in &steps {
            world.play(step);
        }
        for grant in &world.account.grants {
            prop_assert!(grant.used <= grant.amount, "{:?}", grant);
        }
        for used in &world.account.meters {
            prop_assert!(used.counters.iter().all(|counter| counter.drawn() <= counter.used), "{:?}", used);
        }
    }
}

#[test]
fn a_quantity_out_of_range_is_a_problem_of_its_own_and_changes_nothing() {
    let mut world = World::new([plan(1, "api.day=5")]);
    world.play("api 1");
    let before = world.account.clone();
    let command = world.consumption(&[(crate::kit::API, MAX)]);
    assert_eq!(world.run(&command), Err(Problem::InvalidQuantity(InvalidQuantity::TooLarge)));
    assert_eq!(world.account, before);
    assert!(matches!(world.run(&world.consumption(&[(crate::kit::API, 1)])), Ok(Reply::Decided(_))));
}

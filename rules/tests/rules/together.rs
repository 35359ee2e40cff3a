//! Several meters in one decision: all or nothing (D1).

use metergate_rules::decide::Problem;
use metergate_rules::outcome::Reply;

use crate::kit::script::table;
use crate::kit::{API, CALLS, World, plan, uses};

#[test]
fn what_is_asked_together_is_used_together_or_not_at_all() {
    #[rustfmt::skip]
    table(&[
        ("api.day=5 calls.day=1", "api 3 + calls 1; api 2 + calls 1; api 2",
            "ok day 3/5 & ok day 1/1; ok day 3/5 & quota-exceeded day 1/1; ok day 5/5"),
        ("api.period=2 calls.day=1", "grant api 5; api 4 + calls 1; api 3 + calls 1; api 3",
            "grant 1; ok period 4/7 & ok day 1/1; ok period 4/7 & quota-exceeded day 1/1; ok period 7/7"),
        ("users.day=1 bytes.life=5", "users 1 + bytes 6; users 2; bytes 5", "ok day 0/1 & quota-exceeded life 0/5; \
            ok day 1/1; ok life 5/5"),
        ("api.day=2!soft calls.day=1", "api 4 + calls 1; api 1 + calls 1",
            "ok day 4/2 left 0 over 2 & ok day 1/1; ok day 4/2 left 0 & quota-exceeded day 1/1"),
        ("", "lock operator; api 1 + calls 1", "done; organization-locked & organization-locked"),
    ]);
}

#[test]
fn a_refusal_together_uses_nothing_and_is_kept_under_its_id() {
    let mut world = World::new([plan(1, "api.day=5 calls.day=1")]);
    world.play("calls 1");
    let before = (world.account.meter(API).cloned(), world.account.meter(CALLS).cloned());
    let outcome = world.ask(&world.consumption(&[(API, 1), (CALLS, 1)])).unwrap();
    let Reply::Decided(verdicts) = &outcome.reply else { panic!("not decided") };
    let metergate_rules::outcome::What::Decided(kept) = &outcome.entries[0].what else { panic!("not kept") };
    assert_eq!(kept.verdicts.as_ref(), Some(verdicts));
    assert!(uses(&outcome.entries[0]).is_empty());
    world.play("api 1 + calls 1");
    assert_eq!(before, (world.account.meter(API).cloned(), world.account.meter(CALLS).cloned()));
}

#[test]
fn a_meter_stands_only_once_in_a_decision_or_an_event() {
    let world = World::new([plan(1, "")]);
    assert_eq!(world.ask(&world.consumption(&[(API, 1), (CALLS, 1), (API, 1)])), Err(Problem::MeterTwice));
    let metergate_rules::command::Command::Record(mut event) = world.event(API, 1, None) else { panic!("no event") };
    event.items.push(world.item(API, 2));
    assert_eq!(world.ask(&metergate_rules::command::Command::Record(event)), Err(Problem::MeterTwice));
}

#[test]
fn one_decision_may_name_many_meters() {
    let mut world = World::new([plan(1, "api.day=1 calls.day=1 peak.day=1 bytes.day=1 users.day=1 other.day=1")]);
    let all = "api 1 + calls 1 + peak 1 + bytes 1 + users 1 + other 1";
    assert_eq!(world.play(all), ["ok day 1/1"; 6].join(" & "));
}

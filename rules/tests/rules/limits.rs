//! Limits: every window at once, soft, unlimited, extra quota, overrides (D1, D3, D6, D7, D9).

use metergate_rules::account::LockCause;
use metergate_rules::command::Command;
use metergate_rules::meter::{Aggregation, Meter};
use metergate_rules::outcome::Reason;
use metergate_rules::plan::{Plan, RefusalStatus};

use crate::kit::script::table;
use crate::kit::{API, OTHER, World, plan, time};

#[test]
fn a_use_must_fit_every_window_at_once() {
    #[rustfmt::skip]
    table(&[
        ("api.day=5", "api 5; api 1; api 0", "ok day 5/5; quota-exceeded day 5/5; ok day 5/5"),
        ("api.day=5", "api 3; api 3; api 2", "ok day 3/5; quota-exceeded day 3/5; ok day 5/5"),
        ("api.minute=3 api.day=5 api.life=4", "api 3; api 1; wait 61s; api 1; wait 61s; api 1",
            "ok minute 3/3, day 3/5, life 3/4; \
             quota-exceeded minute 3/3, day 3/5, life 3/4; \
             ok minute 1/3, day 4/5, life 4/4; \
             quota-exceeded minute 0/3, day 4/5, life 4/4"),
        ("calls.day=2", "calls 9; calls 9; calls 9", "ok day 1/2; ok day 2/2; quota-exceeded day 2/2"),
        ("peak.month=10", "peak 7; peak 3; peak 10; peak 11", "ok month 7/10; ok month 7/10; ok month 10/10; \
             quota-exceeded month 10/10"),
        ("bytes.period=10", "bytes 9; bytes 11; bytes 4; bytes 10", "ok period 9/10; quota-exceeded period 9/10; \
             ok period 4/10; ok period 10/10"),
        ("users.day=2", "users 1; users 2; users 1; users 3", "ok day 1/2; ok day 2/2; ok day 2/2; \
             quota-exceeded day 2/2"),
    ]);
}

#[test]
fn soft_limits_allow_and_count_what_lies_beyond() {
    #[rustfmt::skip]
    table(&[
        ("api.day=5!soft", "api 4; api 3; api 2",
            "ok day 4/5; ok day 7/5 left 0 over 2; ok day 9/5 left 0 over 2"),
        ("api.day=5!soft api.period=8", "api 7; api 2; api 1",
            "ok day 7/5 left 0, period 7/8 over 2; \
             quota-exceeded day 7/5 left 0, period 7/8; \
             ok day 8/5 left 0, period 8/8 over 1"),
        ("api.period=5!soft", "grant api 2; api 8", "grant 1; ok period 8/7 left 0 over 1"), // grants first (D7)
        ("peak.day=5!soft", "peak 7; peak 6; peak 8",
            "ok day 7/5 left 0 over 2; ok day 7/5 left 0; ok day 8/5 left 0 over 1"),
        ("bytes.day=5!soft", "bytes 7; bytes 6", "ok day 7/5 left 0 over 2; ok day 6/5 left 0 over 1"),
        ("users.day=1!soft", "users 1; users 2; users 2", "ok day 1/1; ok day 2/1 left 0 over 1; ok day 2/1 left 0"),
    ]);
}

#[test]
fn unlimited_never_refuses_and_still_counts() {
    #[rustfmt::skip]
    table(&[
        ("api.period=inf", "api 1000; override api.period=1200; api 300; api 200",
            "ok; done; quota-exceeded period 1000/1200; ok period 1200/1200"),
        ("api.period=inf api.day=3", "api 4; api 3", "quota-exceeded day 0/3; ok day 3/3"),
        // An unlimited billing period is the period limit: extra quota does not lift the month.
        ("api.period=inf api.month=3", "extra api 5; api 4", "done; quota-exceeded month 0/3"),
    ]);
}

#[test]
fn meters_that_the_plan_does_not_name_count_without_limit_or_are_not_entitled() {
    let open = plan(1, "api.day=5");
    let closed = Plan { other_meters: false, ..plan(1, "api.day=5") };
    let cases = [
        (open, "other 9", "ok"),
        (closed.clone(), "other 9", "not-entitled"),
        (closed.clone(), "api 9", "quota-exceeded day 0/5"),
        (closed.clone(), "override other.month=5; other 3; other 3", "done; ok month 3/5; quota-exceeded month 3/5"),
        (
            closed.clone(),
            "override other.month=inf; other 3; clear other.month; other 3",
            "done; ok; done; not-entitled",
        ),
        (closed, "event other 9; override other.day=5; other 1", "done; done; quota-exceeded day 9/5 left 0"),
    ];
    for (plan, script, answers) in cases {
        assert_eq!(World::new([plan]).play(script), answers, "{script}");
    }
}

#[test]
fn extra_quota_lifts_the_period_limit_alone_and_is_set_not_added() {
    #[rustfmt::skip]
    table(&[
        ("api.period=5", "extra api 2; extra api 3; api 8; api 1",
            "done; done; ok period 8/8; quota-exceeded period 8/8"),
        ("api.day=5 api.month=5 api.life=9", "extra api 3; api 5; api 1",
            "done; ok day 5/5, month 5/8, life 5/9; quota-exceeded day 5/5, month 5/8, life 5/9"),
        ("api.life=5", "extra api 3; api 8", "done; ok life 8/8"),
        ("api.minute=5", "extra api 3; api 6", "done; quota-exceeded minute 0/5"),
        ("api.period=5", "extra api 3; api 8; extra api 0; api 1; extra api 4; api 1",
            "done; ok period 8/8; done; quota-exceeded period 8/5 left 0; done; ok period 9/9"),
        ("peak.period=5", "extra peak 3; peak 8; peak 9", "done; ok period 8/8; quota-exceeded period 8/8"),
        ("bytes.period=5", "extra bytes 3; bytes 8; bytes 9", "done; ok period 8/8; quota-exceeded period 8/8"),
    ]);
}

#[test]
fn an_override_stands_in_place_of_the_plans_limit_until_its_end() {
    #[rustfmt::skip]
    table(&[
        ("api.day=5", "override api.day=2; api 3; clear api.day; api 3",
            "done; quota-exceeded day 0/2; done; ok day 3/5"),
        ("api.period=5", "override api.period=9 until=+1h; api 9; wait 3599s; api 0; wait 1s; api 0; api 1",
            "done; ok period 9/9; ok period 9/9; ok period 9/5 left 0; quota-exceeded period 9/5 left 0"),
        ("api.day=5", "override api.day=2!soft; api 3", "done; ok day 3/2 left 0 over 1"),
        // An override makes the window the period limit.
        ("api.month=5", "override api.period=3; extra api 1; api 5; api 4",
            "done; done; quota-exceeded month 0/5, period 0/4; ok month 4/5, period 4/4"),
    ]);
}

#[test]
fn a_limit_lowered_below_use_admits_nothing_more_and_remaining_is_never_negative() {
    #[rustfmt::skip]
    table(&[
        ("api.period=10", "api 8; override api.period=5; api 1; grant api 3; api 4; api 3; api 1",
            "ok period 8/10; done; quota-exceeded period 8/5 left 0; grant 1; \
             quota-exceeded period 8/8 left 3; ok period 11/8 left 0; quota-exceeded period 11/8 left 0"),
        ("api.period=10", "grant api 4; api 12; override api.period=5; api 1; clear api.period; api 2; api 1",
            "grant 1; ok period 12/14; done; ok period 13/9 left 1; done; \
             quota-exceeded period 13/14; ok period 14/14"),
        ("peak.day=10", "peak 8; override peak.day=5; peak 6; peak 5", "ok day 8/10; done; \
             quota-exceeded day 8/5 left 0; ok day 8/5 left 0"),
        ("bytes.day=10", "bytes 8; override bytes.day=5; bytes 6; bytes 5", "ok day 8/10; done; \
             quota-exceeded day 8/5 left 0; ok day 5/5"),
        ("users.day=2", "users 1; users 2; override users.day=1; users 2; users 3",
            "ok day 1/2; ok day 2/2; done; ok day 2/1 left 0; quota-exceeded day 2/1 left 0"),
    ]);
}

#[test]
fn reasons_have_an_order() {
    let mut world = World::new([Plan { other_meters: false, ..plan(1, "api.day=1") }]);
    let locks = [LockCause::Billing, LockCause::Trial, LockCause::Operator];
    let reasons = [Reason::SubscriptionInactive, Reason::TrialExpired, Reason::OrganizationLocked];
    assert_eq!(world.consume(API, 2).reason, Some(Reason::QuotaExceeded));
    assert_eq!(world.consume(OTHER, 2).reason, Some(Reason::NotEntitled));
    for (cause, reason) in locks.into_iter().zip(reasons) {
        world.run(&Command::Lock { cause, reason: None }).unwrap();
        for meter in [API, OTHER] {
            let verdict = world.consume(meter, 2);
            assert_eq!((verdict.reason, verdict.retry_at), (Some(reason), None), "waiting does not lift a lock");
        }
    }
    world.run(&Command::Unlock).unwrap();
    assert_eq!(world.consume(API, 1).reason, None, "an operator's unlock lifts every lock");
}

#[test]
fn a_refusal_has_the_status_that_the_violated_limit_says() {
    use RefusalStatus::{PaymentRequired, TooManyRequests};
    let cases = [("api 4", TooManyRequests), ("api 6", PaymentRequired), ("api 3", TooManyRequests)];
    for (asked, status) in cases {
        let world = World::new([plan(1, "api.day=3 api.period=5!402")]);
        let outcome = world.ask(&world.command(&asked.split(' ').collect::<Vec<_>>())).unwrap();
        let metergate_rules::outcome::Reply::Decided(verdicts) = outcome.reply else { panic!("not decided") };
        assert_eq!(verdicts[0].status, status, "{asked}");
    }
}

#[test]
fn waiting_is_advised_where_it_cures() {
    #[rustfmt::skip]
    let cases = [ // limits, before, asked, again
        ("api.day=5", "api 5", ("api", 3), Some("2026-11-23T00:00:00Z")),
        ("api.day=5", "api 5", ("api", 6), None),                          // more than the limit itself
        ("api.day=5 api.month=5", "api 5", ("api", 3), Some("2026-12-01T00:00:00Z")), // the last of them
        ("api.day=5 api.life=5", "api 5", ("api", 3), None),               // a lifetime lasts
        ("api.period=5", "api 5", ("api", 3), Some("2026-12-22T11:06:00Z")),
        ("api.period=5", "grant api 4; api 6", ("api", 8), Some("2026-12-22T11:06:00Z")), // 5 and 3 of the grant
        ("api.period=5", "grant api 4; api 6", ("api", 9), None),
        ("api.period=5", "grant api 4 until=+2d; api 6", ("api", 8), None), // the grant is gone by then
        ("bytes.period=5", "bytes 5", ("bytes", 6), None),
        ("peak.period=5", "peak 4", ("peak", 6), None),                    // not in the next period either
        ("users.day=1", "users 1", ("users", 2), Some("2026-11-23T00:00:00Z")),
        ("api.minute=5", "api 5", ("api", 6), None),
    ];
    for (limits, before, (meter, quantity), again) in cases {
        let mut world = World::new([plan(1, limits)]);
        world.play(before);
        let verdict = world.consume(crate::kit::meter_named(meter), quantity);
        assert_eq!(verdict.reason, Some(Reason::QuotaExceeded), "{limits}: {before}; {meter} {quantity}");
        assert_eq!(verdict.retry_at, again.map(time), "{limits}: {before}; {meter} {quantity}");
        let Some(again) = verdict.retry_at else { continue };
        world.now = again;
        assert_eq!(world.consume(crate::kit::meter_named(meter), quantity).reason, None, "{limits}: at {again}");
    }
}

#[test]
fn a_level_is_not_freed_by_time() {
    let mut world = World::new([plan(1, "bytes.period=5 api.period=5")]);
    assert_eq!(world.consume(crate::kit::BYTES, 3).limits[0].resets_at, None);
    assert_eq!(world.consume(API, 3).limits[0].resets_at, Some(world.account.windows.period.end));
}

#[test]
fn only_what_adds_up_slides() {
    for Meter { aggregation, key, .. } in crate::kit::meters() {
        let mut world = World::new([plan(1, &format!("{key}.minute=1 {key}.day=9"))]);
        let rate = matches!(aggregation, Aggregation::Sum | Aggregation::Count);
        let answer = if rate { "minute 1/1, day 1/9" } else { "day 1/9" };
        assert_eq!(world.play(&format!("{key} 1")), format!("ok {answer}"), "{key}");
        let refused = world.play(&format!("override {key}.hour=3")) != "done";
        assert_eq!(refused, !rate, "{key}: an hour limit needs a rate");
    }
}

#[test]
fn a_limit_is_positive_or_unlimited() {
    table(&[(
        "",
        "override api.day=0; override api.day=1; override api.day=inf",
        "invalid quantity: must be above zero; done; done",
    )]);
}

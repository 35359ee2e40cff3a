//! Grants: order, partial draws, expiry, future start, void (D6, O3).

use metergate_rules::decide::Problem;
use metergate_rules::grant::Ended;

use crate::kit::script::table;
use crate::kit::{World, plan, show, time};

#[test]
fn grants_are_used_after_the_base_by_priority_then_expiry_then_age() {
    let cases = [
        ("grant api 5; api 10", "0/5"),
        ("grant api 5; api 12", "2/5"),
        ("grant api 5 prio=1; grant api 5; api 12", "0/5 2/5"),
        ("grant api 5; grant api 5 until=+9d; grant api 5 until=+5d; api 17", "0/5 2/5 5/5"),
        ("grant api 2; grant api 2; grant api 2; api 13", "2/2 1/2 0/2"),
        ("grant api 2; api 11; api 1; api 1", "2/2"),
        ("grant api 2; grant api 5 from=+1h; api 13", "0/2 0/5"), // all or nothing
        ("grant api 2; grant api 5 from=+1h; wait 1h; api 13", "2/2 1/5"),
        ("grant calls 5; api 11", "0/5"), // another meter's
    ];
    for (script, grants) in cases {
        let mut world = World::new([plan(1, "api.period=10")]);
        world.play(script);
        assert_eq!(show::grants(&world), grants, "{script}");
    }
}

#[test]
fn the_limit_shown_holds_what_grants_gave_and_can_still_give() {
    #[rustfmt::skip]
    table(&[
        ("api.period=10", "grant api 5; api 3; api 9; api 3; api 1",
            "grant 1; ok period 3/15; ok period 12/15; ok period 15/15; quota-exceeded period 15/15"),
        // A grant that expires takes its remainder along; what was used stays used.
        ("api.period=10", "grant api 5 until=+1h; api 12; wait 3599s; api 0; wait 1s; api 0; api 1",
            "grant 1; ok period 12/15; ok period 12/15; ok period 12/12; quota-exceeded period 12/12"),
        ("api.period=10", "grant api 5; api 12; void 1; api 0; void 1; grant api 1; api 1",
            "grant 1; ok period 12/15; done; ok period 12/12; done; grant 2; ok period 13/13"),
        ("api.period=10", "grant api 5 from=+1h; api 11; wait 1h; api 11",
            "grant 1; quota-exceeded period 0/10; ok period 11/15"),
        // Kept over periods; what it gave in the last one is no longer shown.
        ("api.period=10", "grant api 5; api 12; clock 2026-12-22T11:06:00Z; api 12; api 2",
            "grant 1; ok period 12/15; ok period 12/13; quota-exceeded period 12/13"),
        // A reset keeps what grants have given.
        ("api.period=10", "grant api 5; api 12; reset; api 0; api 13; api 1",
            "grant 1; ok period 12/15; done; ok period 0/13; ok period 13/13; quota-exceeded period 13/13"),
        ("users.period=1", "grant users 1; users 1; users 2; users 2; users 3",
            "grant 1; ok period 1/2; ok period 2/2; ok period 2/2; quota-exceeded period 2/2"),
    ]);
}

#[test]
fn grants_lift_the_period_limit_never_shorter_ones() {
    #[rustfmt::skip]
    table(&[
        ("api.minute=3 api.day=4 api.month=5", "grant api 9; api 4; api 3; wait 2m; api 2; clock 2026-11-23T00:00:00Z; api 3",
            "grant 1; quota-exceeded minute 0/3, day 0/4, month 0/14; ok minute 3/3, day 3/4, month 3/14; \
             quota-exceeded minute 0/3, day 3/4, month 3/14; ok minute 3/3, day 3/4, month 6/14"),
        ("api.life=2", "grant api 1; api 3", "grant 1; ok life 3/3"),
        ("api.period=inf", "grant api 9; api 4", "grant 1; ok"),
    ]);
}

#[test]
fn without_a_limit_nothing_is_drawn() {
    let mut world = World::new([plan(1, "calls.minute=9 calls.day=9")]);
    world.play("grant api 5; api 100; grant calls 5; calls 1");
    assert_eq!(show::grants(&world), "0/5 0/5");
}

#[test]
fn when_another_window_becomes_the_period_limit_it_knows_what_grants_gave() {
    let mut world = World::new([plan(1, "api.period=10 api.life=100"), plan(2, "api.life=12")]);
    let answers = world.play("grant api 5; api 13; plan 2; api 3; api 1");
    assert_eq!(answers, "grant 1; ok period 13/15, life 13/100; done; ok life 16/17; ok life 17/17");
    assert_eq!(show::grants(&world), "5/5", "the base is used first: it had room for two");
}

#[test]
fn an_event_draws_grants_too_and_what_they_lack_is_overage() {
    let mut world = World::new([plan(1, "api.period=10")]);
    world.play("grant api 5; event api 12; event api 6");
    assert_eq!(show::grants(&world), "5/5");
    assert_eq!(world.play("api 1"), "quota-exceeded period 18/15 left 0");
}

#[test]
fn a_grant_ends_once() {
    let mut world = World::new([plan(1, "api.period=1")]);
    world.play("grant api 5 until=+1h; grant api 5; void 2; wait 2h; void 1; void 2; api 0");
    let ends: Vec<_> = world.account.grants.iter().map(|grant| grant.ended).collect();
    let expired = time("2026-11-22T12:06:00Z");
    assert_eq!(ends, [Some(Ended::Expired(expired)), Some(Ended::Voided(time(crate::kit::BEGIN)))]);
    let actions: Vec<_> = world.audit.iter().map(|draft| &*draft.action).collect();
    assert_eq!(actions, ["organization.create", "credit.grant", "credit.grant", "credit.void"]);
}

#[test]
fn a_grant_that_makes_no_sense_is_no_grant() {
    #[rustfmt::skip]
    table(&[
        ("", "grant api 0; grant api 1 until=-1s; grant api 1 until=2026-11-22T11:06:00Z",
            "invalid quantity: must be above zero; the end must lie in the future and after the start; \
             the end must lie in the future and after the start"),
        ("", "grant api 1 from=+2h until=+1h", "the end must lie in the future and after the start"),
    ]);
    let world = World::new([plan(1, "")]);
    for meter in ["peak", "bytes"] {
        let command = world.command(&["grant", meter, "5"]);
        assert_eq!(world.ask(&command), Err(Problem::NotGrantable), "{meter} is not used up");
    }
    assert_eq!(world.ask(&world.command(&["void", "1"])), Err(Problem::UnknownGrant));
}

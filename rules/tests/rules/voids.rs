//! Voids: an event gives back exactly what it used, where that still counts (M6).

use metergate_rules::audit::Object;

use crate::kit::script::table;
use crate::kit::{World, plan, q, show};

#[test]
fn an_event_gives_back_what_it_used_where_it_still_counts() {
    #[rustfmt::skip]
    table(&[
        ("api.day=10 api.period=10", "api 4; api 3; undo 1; api 0", "ok day 4/10, period 4/10; ok day 7/10, period 7/10; done; ok day 3/10, period 3/10"),
        ("api.day=10 api.period=10", "event api 4 @-10s; wait 1d; api 3; undo 1; api 0",
            "done; ok day 3/10, period 3/10; done; ok day 3/10, period 3/10"), // from before the sign-up
        ("api.day=10 api.period=10", "api 4; wait 1d; api 3; undo 1; api 0",
            "ok day 4/10, period 4/10; ok day 3/10, period 7/10; done; ok day 3/10, period 3/10"),
        // From before a reset it no longer touches the counter.
        ("api.day=10 api.period=10", "api 4; wait 1h; reset; api 3; undo 1; api 0",
            "ok day 4/10, period 4/10; done; ok day 7/10, period 3/10; done; ok day 3/10, period 3/10"),
        // What corrections took is not given back twice.
        ("api.period=10", "api 4; wait 1h; api 3; adjust api -6; undo 1; api 0",
            "ok period 4/10; ok period 7/10; done; done; ok period 0/10"),
        // What came early for a day leaves it, before and after it has begun.
        ("api.day=10", "clock 2026-11-22T23:58:00Z; event api 4 @+4m; undo 1; wait 5m; api 0", "done; done; ok day 0/10"),
        ("api.day=10", "clock 2026-11-22T23:58:00Z; event api 4 @+4m; wait 5m; undo 1; api 0", "done; done; ok day 0/10"),
        ("api.day=10", "clock 2026-11-22T23:58:00Z; event api 4 @+4m; wait 5m; reset api day; api 1; undo 1; api 0",
            "done; done; ok day 1/10; done; ok day 1/10"),
        // Both meters of a decision together; minutes slide on.
        ("api.period=10 calls.period=3", "api 4 + calls 1; undo 1; api 0 + calls 1", "ok period 4/10 & ok period 1/3; done; ok period 0/10 & ok period 1/3"),
        ("api.minute=5", "api 4; undo 1; api 2", "ok minute 4/5; done; quota-exceeded minute 4/5"),
        ("api.period=10", "reserve api 5 60s; commit 1 7; undo 1; api 0", "held 1: ok period 0+5/10; committed 1: ok period 7/10; done; ok period 0/10"),
        ("peak.period=5", "peak 3; undo 1",
            "ok period 3/5; an event on a max or last meter cannot be void: record the true level, which takes the place of a last one, and a max starts anew at its next window or a reset"),
        ("peak.period=5", "peak 5; wait 1h; reset; peak 3", "ok period 5/5; done; ok period 3/5"),
    ]);
}

#[test]
fn what_it_drew_returns_to_the_grants_unless_they_have_ended() {
    let cases = [
        ("grant api 3; grant api 3; api 10; api 5; undo 2", "0/3 0/3"),
        // What it used of the base is base again; the others' credit stays used.
        ("grant api 3; grant api 3; api 10; api 5; undo 1", "3/3 2/3"),
        ("grant api 3 until=+1h; grant api 3; api 10; api 5; wait 1h; undo 2", "3/3 0/3"),
        ("grant api 3; api 12; void 1; undo 1", "2/3"),
        // Credit is kept over periods, so it returns from closed ones too, and not twice.
        ("grant api 5; api 12; clock 2026-12-23T00:00:00Z; api 13; undo 1", "3/5"),
        ("grant api 5; api 12; adjust api -2; clock 2026-12-23T00:00:00Z; api 13; undo 1", "3/5"),
        ("grant api 5; api 15; adjust api -4; undo 1", "0/5"),
    ];
    for (script, grants) in cases {
        let mut world = World::new([plan(1, "api.period=10")]);
        world.play(script);
        assert_eq!(show::grants(&world), grants, "{script}");
        let given: i64 = world.account.grants.iter().map(|grant| grant.used.units()).sum();
        assert!(world.account.grants.iter().all(|grant| grant.used <= grant.amount) && given >= 0, "{script}");
    }
    #[rustfmt::skip]
    table(&[
        ("api.period=10", "grant api 3; api 10; api 3; undo 1; api 0", "grant 1; ok period 10/13; ok period 13/13; done; ok period 3/13"),
        // The credit had an end: what came from it is gone, and the base as it was.
        ("api.period=10", "grant api 3 until=+1h; api 10; api 3; wait 1h; undo 2; api 0",
            "grant 1; ok period 10/13; ok period 13/13; done; ok period 10/10"),
    ]);
}

#[test]
fn an_event_is_void_once() {
    let mut world = World::new([plan(1, "api.period=10")]);
    assert_eq!(
        world.play("api 4; api 3; undo 1; undo 1; api 0"),
        "ok period 4/10; ok period 7/10; done; the event is void already; ok period 3/10"
    );
    let told = world.audit.last().unwrap();
    let used = |object: &Object| match object {
        Object::Fields(fields) => fields.0.iter().find(|(name, _)| name == "used").map(|(_, value)| value.clone()),
        Object::Text(_) => None,
    };
    let [seven, three] = [7, 3].map(|units| Some(q(units).display(0).into()));
    assert_eq!((&*told.action, used(&told.before), used(&told.after)), ("usage.void", seven, three));
}

/// Also while nothing limits the meter.
#[test]
fn a_value_gives_back_what_it_drew_whatever_the_limit_is_by_then() {
    for limit in ["users.period=1", "users.period=inf"] {
        let mut world = World::new([plan(1, "users.period=1")]);
        world.play(&format!("grant users 1; users 1; users 2; override {limit}; undo 2"));
        assert_eq!(show::grants(&world), "0/1", "{limit}");
    }
}

/// A value counts as long as one event has it.
#[test]
fn a_void_takes_away_only_the_last_of_a_value() {
    #[rustfmt::skip]
    table(&[
        ("users.day=5 users.period=5", "users 1; users 1; users 2; undo 1; users 2; undo 2; users 2",
            "ok day 1/5, period 1/5; ok day 1/5, period 1/5; ok day 2/5, period 2/5; done; ok day 2/5, period 2/5; done; ok day 1/5, period 1/5"),
        ("users.day=5 users.period=5", "users 1; wait 1d; users 1; undo 1; users 1; undo 2; undo 3; users 2",
            "ok day 1/5, period 1/5; ok day 1/5, period 1/5; done; ok day 1/5, period 1/5; done; done; ok day 1/5, period 1/5"),
        ("users.period=5", "users 1; wait 1h; reset; users 2; undo 1; users 2", "ok period 1/5; done; ok period 1/5; done; ok period 1/5"),
        // At the very time of the reset, as where one commit has both.
        ("users.period=5", "users 1; reset; users 2; undo 1; users 3", "ok period 1/5; done; ok period 1/5; done; ok period 2/5"),
    ]);
    let mut world = World::new([plan(1, "users.period=1")]);
    world.play("grant users 1; users 1; users 2; users 2; undo 2");
    assert_eq!(show::grants(&world), "1/1", "another event still has the value");
    world.play("undo 3");
    assert_eq!(show::grants(&world), "0/1");
}

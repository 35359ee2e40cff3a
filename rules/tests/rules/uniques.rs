//! `uniqueCount`: each value once in each window, exactly (M7).

use metergate_rules::time::MINUTE;
use metergate_rules::window::Window;

use crate::kit::{USERS, World, plan};

/// What each counted window holds: day, month, period, lifetime.
fn counted(world: &World) -> [i64; 4] {
    Window::COUNTED.map(|window| world.used(USERS, window))
}

#[test]
fn a_value_counts_once_in_each_window() {
    #[rustfmt::skip]
    let cases = [
        ("users 1; users 1; users 2",                                             [2, 2, 2, 2]),
        ("users 1; wait 24h; users 1",                                            [1, 1, 1, 1]),
        ("users 1; wait 24h; users 2",                                            [1, 2, 2, 2]),
        ("users 1; clock 2026-12-01T00:00:00Z; users 1",                          [1, 1, 1, 1]),
        ("users 1; clock 2026-12-22T11:06:00Z; users 1; users 2",                 [2, 2, 2, 2]),
        ("event users 1; users 1; event users 1 @-1h; event users 1 @-24h",       [1, 1, 1, 1]),
        ("event users 1 @-24h; event users 1 @-12h; users 2",                     [1, 2, 1, 2]),
        ("users 1; clock 2026-11-24T00:00:00Z; event users 1 @-1h; users 1",      [1, 1, 1, 1]),
    ];
    for (script, expected) in cases {
        let mut world = World::new([plan(1, "users.day=9")]);
        world.play(script);
        assert_eq!(counted(&world), expected, "{script}");
    }
}

#[test]
fn a_period_that_begins_within_a_quarter_hour_has_its_own_values() {
    // The period begins at 11:06; the quarter hour at 11:00.
    #[rustfmt::skip]
    let cases = [ // what happens around the boundary, the new period's count
        ("clock 2026-12-22T11:05:59Z; users 1; wait 1s; users 1; users 1",          1),
        ("clock 2026-12-22T11:06:00Z; event users 1 @-1s; users 1; event users 1",  1),
        ("clock 2026-12-22T11:06:00Z; users 1; event users 1 @-1s; event users 2 @-1s", 1),
        ("clock 2026-12-22T11:05:00Z; event users 1 @+2m; users 1; wait 1m; users 1; wait 2m; users 1", 1),
        ("clock 2026-12-22T11:05:00Z; event users 1 @+2m; event users 1 @+3m; event users 2 @+1m; wait 1m; users 1; users 2", 2),
        ("clock 2026-12-22T11:05:00Z; event users 1 @+59s; wait 2m; users 1",       1),
    ];
    for (script, expected) in cases {
        let mut world = World::new([plan(1, "users.period=9")]);
        world.play(script);
        assert_eq!(world.used(USERS, Window::BillingPeriod), expected, "{script}");
    }
}

#[test]
fn a_value_that_lies_ahead_is_still_new_in_the_open_window() {
    let mut world = World::new([plan(1, "users.day=9 users.period=9")]);
    world.play("clock 2026-12-22T11:05:00Z; event users 1 @+2m");
    assert_eq!(counted(&world), [1, 1, 0, 1]);
    world.play("users 1");
    assert_eq!(counted(&world), [1, 1, 1, 1], "used in the old period too");
    world.play("wait 1m; touch");
    assert_eq!(counted(&world), [1, 1, 1, 1], "and in the new one by the event");
}

#[test]
fn after_a_reset_a_value_is_new_again() {
    #[rustfmt::skip]
    let cases = [
        ("users 1; wait 1m; reset users; users 1",                            [1, 1, 1, 1]),
        ("users 1; wait 1m; reset users; users 2",                            [2, 1, 1, 2]),
        ("users 1; wait 1m; reset users; event users 2 @-30s; users 2",       [2, 1, 1, 2]),
        ("users 1; wait 1m; reset users; wait 1m; users 1; wait 1m; reset users; users 1; users 3", [2, 2, 2, 2]),
        ("users 1; users 2; wait 1m; reset users day; users 1",               [1, 2, 2, 2]),
        ("users 1; wait 1m; reset users life; users 1; event users 1 @-1m",   [1, 1, 1, 1]),
    ];
    for (script, expected) in cases {
        let mut world = World::new([plan(1, "users.day=9")]);
        world.play(script);
        assert_eq!(counted(&world), expected, "{script}");
    }
}

#[test]
fn a_refused_value_is_not_remembered() {
    let mut world = World::new([plan(1, "users.day=1 api.day=1")]);
    let answers = world.play("users 1; users 2; users 3 + api 2; override users.day=2; users 2; users 3");
    assert!(answers.ends_with("done; ok day 2/2; quota-exceeded day 2/2"), "{answers}");
}

#[test]
fn the_bucket_of_a_value_lies_in_every_window_in_which_it_counts_and_in_no_other() {
    for phase in 0..90 {
        let mut world = World::new([plan(1, "users.day=9")]);
        world.play("users 9; wait 2m; reset users day");
        world.now = world.now.plus(phase * MINUTE - 10 * MINUTE);
        world.now = world.now.max(world.account.time);
        let at = world.now.plus((phase % 20 - 15) * MINUTE);
        world.run(&world.event(USERS, 1, Some(at))).unwrap();
        let used = world.last_use();
        let (bucket, counter) = (used.bucket.unwrap(), world.account.meter(USERS).unwrap());
        for window in used.windows.iter() {
            let reset = counter.counter(window).unwrap().reset_at;
            let begins = world.account.windows.get(window).start.max(reset.unwrap_or(bucket));
            assert!(begins <= bucket && bucket <= at, "{window:?}: {bucket} for {at}, from {begins}");
        }
    }
}

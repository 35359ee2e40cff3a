//! Events: facts, late, on time and ahead (M5, M7).

use metergate_rules::account::Level;
use metergate_rules::apply;
use metergate_rules::command::NewOrganization;
use metergate_rules::decide::{self, Problem};
use metergate_rules::id::PlanId;
use metergate_rules::meter::Measure;
use metergate_rules::plan::{Cycle, Plan, TrialEnd};
use metergate_rules::time::Time;
use metergate_rules::window::Window;

use crate::kit::script::table;
use crate::kit::{API, BYTES, PEAK, World, new_organization, plan, q, time, trial};

/// What each counted window holds: day, month, period, lifetime.
fn counted(world: &World) -> [i64; 4] {
    Window::COUNTED.map(|window| world.used(API, window))
}

#[test]
fn a_late_event_counts_only_in_the_windows_that_contain_its_time() {
    #[rustfmt::skip]
    let cases = [ // now, late by; day, month, period from the 20th, lifetime
        ("2026-12-05T13:00:00Z", "0s",  [1, 1, 1, 1]),
        ("2026-12-05T13:00:00Z", "13h", [1, 1, 1, 1]), // the day's first instant
        ("2026-12-05T13:00:00Z", "14h", [0, 1, 1, 1]),
        ("2026-12-05T13:00:00Z", "10d", [0, 0, 1, 1]),
        ("2026-12-05T13:00:00Z", "20d", [0, 0, 0, 1]), // a closed period
        ("2026-11-22T13:00:00Z", "3d",  [0, 1, 0, 1]), // a closed period of the open month
        ("2026-11-22T13:00:00Z", "9000d", [0, 0, 0, 1]),
    ];
    for (now, late, expected) in cases {
        let mut world = World::at("2026-10-20T12:00:00Z", "UTC", [plan(1, "api.day=5")]);
        world.play(&format!("clock {now}; event api 1 @-{late}"));
        assert_eq!(counted(&world), expected, "{late} before {now}");
    }
}

#[test]
fn an_event_from_a_closed_period_never_touches_the_open_ones_quota() {
    let mut world = World::new([plan(1, "api.period=5")]);
    world.play("grant api 3; api 4; clock 2026-12-23T00:00:00Z; event api 100 @2026-12-22T11:05:59.999999Z");
    assert_eq!(world.play("api 5; api 3; api 1"), "ok period 5/8; ok period 8/8; quota-exceeded period 8/8");
}

#[test]
fn an_event_up_to_five_minutes_ahead_counts_in_the_next_window() {
    for ahead in ["+5m", "+299s", "+60s"] {
        let mut world = World::new([plan(1, "api.day=9 api.period=9")]);
        world.play(&format!("clock 2026-11-22T23:59:00Z; event api 2 @{ahead}; api 1"));
        assert_eq!(counted(&world), [1, 3, 3, 3], "{ahead}: it has not counted today");
        world.play("clock 2026-11-23T00:00:00Z; api 1");
        assert_eq!(counted(&world), [3, 4, 4, 4], "{ahead}");
        world.play("clock 2026-11-24T00:00:00Z; api 1");
        assert_eq!(counted(&world), [1, 5, 5, 5], "{ahead}: it counts once");
    }
}

#[test]
fn what_lies_ahead_counts_in_no_window_that_was_skipped() {
    let mut world = World::new([plan(1, "api.day=9 api.month=9 api.period=9")]);
    world.play("clock 2026-11-30T23:59:00Z; event api 2 @+2m; clock 2027-02-02T00:00:00Z; touch");
    assert_eq!(counted(&world), [0, 0, 0, 2]);
    let mut world = World::new([plan(1, "api.period=9")]);
    world.play("clock 2026-12-22T11:05:00Z; event api 2 @+2m; event api 3");
    assert_eq!(counted(&world), [5, 5, 3, 5]);
    assert_eq!(world.play("clock 2026-12-22T11:06:00Z; api 0"), "ok period 2/9");
}

#[test]
fn a_reset_keeps_what_lies_ahead_of_the_window() {
    let mut world = World::new([plan(1, "api.day=9")]);
    world.play("clock 2026-11-22T23:59:00Z; event api 2 @+2m; api 1; reset api day; wait 1m");
    assert_eq!(counted(&world), [2, 3, 3, 3]);
}

#[test]
fn more_than_five_minutes_ahead_is_refused() {
    let world = World::new([plan(1, "")]);
    let ahead = |micros: i64| world.ask(&world.event(API, 1, Some(world.now.plus(micros)))).map(|_| ());
    assert_eq!(ahead(300_000_000), Ok(()));
    assert_eq!(ahead(300_000_001), Err(Problem::FutureEvent));
    assert_eq!(world.ask(&world.event(API, 1, Some(Time::MAX))), Err(Problem::FutureEvent));
}

#[test]
fn events_are_recorded_beyond_every_limit_and_lock_and_then_nothing_more_is_admitted() {
    #[rustfmt::skip]
    table(&[
        ("api.day=5", "event api 9; api 1; api 0", "done; quota-exceeded day 9/5 left 0; ok day 9/5 left 0"),
        ("api.day=5", "lock operator; event api 3; unlock; api 3; api 2", "done; done; done; quota-exceeded day 3/5; ok day 5/5"),
        ("peak.day=5", "event peak 9; peak 8; peak 5", "done; quota-exceeded day 9/5 left 0; ok day 9/5 left 0"),
        ("bytes.day=5", "event bytes 9; bytes 8; bytes 5", "done; quota-exceeded day 9/5 left 0; ok day 5/5"),
    ]);
}

#[test]
fn overage_is_what_a_fact_adds_beyond_the_limits() {
    #[rustfmt::skip]
    let cases = [ // limits, before, event, overage
        ("api.period=5", "api 4", "event api 3", 2),
        ("api.period=5", "event api 9", "event api 3", 3),
        ("api.day=3 api.period=5", "api 2", "event api 4", 3),          // the tighter of them
        ("api.day=3 api.period=5", "api 2", "event api 4 @-12h", 0),    // yesterday, before the period
        ("api.period=5", "grant api 3; api 4; clock 2026-12-23T00:00:00Z", "event api 9 @2026-12-20T00:00:00Z", 0), // a closed one
        ("api.minute=1", "api 1", "event api 4", 0),
        ("peak.day=5", "event peak 7", "event peak 9", 2),
        ("bytes.day=5", "event bytes 7", "event bytes 6", 1),
        ("bytes.day=5", "event bytes 3", "event bytes 9 @-1h", 0),      // not the latest
        ("api.period=5", "grant api 2", "event api 8", 1),
    ];
    for (limits, before, event, overage) in cases {
        let mut world = World::new([plan(1, limits)]);
        world.play(&format!("{before}; {event}"));
        assert_eq!(world.last_use().overage, q(overage), "{limits}: {before}; {event}");
    }
}

#[test]
fn a_level_is_that_of_the_latest_event_not_of_the_latest_arrival() {
    let mut world = World::new([plan(1, "bytes.day=50 bytes.period=50")]);
    world.play("event bytes 7 @-1h; event bytes 9 @-2h; event bytes 3 @-100d");
    assert_eq!(world.used(BYTES, Window::Day), 7);
    world.play("event bytes 8 @-1h; event bytes 20 @+4m");
    let ahead = Level { value: q(20), time: world.now.plus(240_000_000) };
    assert_eq!(world.account.meter(BYTES).unwrap().level, Some(ahead), "of two at one time the later arrival");
    let told = "a decision before the latest event answers with the level that stands";
    assert_eq!(world.play("bytes 5"), "ok day 20/50, period 20/50", "{told}");
    assert_eq!(world.play("wait 4m; bytes 5"), "ok day 5/50, period 5/50");
    world.play("clock 2027-03-01T00:00:00Z");
    assert_eq!(world.used(BYTES, Window::BillingPeriod), 5, "carried into the next period");
}

#[test]
fn a_peak_is_one_of_its_window() {
    let mut world = World::new([plan(1, "peak.day=50 peak.period=50")]);
    world.play("event peak 7; event peak 9 @-1h; event peak 5");
    let peaks = |world: &World| [Window::Day, Window::BillingPeriod].map(|window| world.used(PEAK, window));
    assert_eq!(peaks(&world), [9, 7], "an hour ago the period had not begun");
    world.play("clock 2026-11-23T12:00:00Z; event peak 3; event peak 8 @-20h");
    assert_eq!(peaks(&world), [3, 8]);
    world.play("clock 2026-11-23T23:58:00Z; event peak 40 @+3m; event peak 30 @+4m; clock 2026-11-24T00:00:00Z");
    assert_eq!(peaks(&world), [40, 40]);
}

#[test]
fn an_event_without_a_time_happens_now_and_keeps_what_arrived() {
    let mut world = World::new([plan(1, "")]);
    world.play("wait 1h; event api 3");
    let used = world.last_use();
    assert_eq!((used.time, used.measure, used.sliding), (time("2026-11-22T12:06:00Z"), Measure::Add(q(3)), false));
}

#[test]
fn an_event_before_a_reset_no_longer_touches_the_counter() {
    let mut world = World::new([plan(1, "api.period=9")]);
    world.play("api 5; wait 10m; reset; event api 2 @-1s; event api 1 @-0s");
    assert_eq!(counted(&world), [8, 1, 1, 8]);
}

/// An organization that a report of use creates, at `now`.
fn used_first(plan: Plan, first: &str, now: &str) -> World {
    let mut world = World::at(now, "UTC", [plan]);
    let new = NewOrganization { first_used: Some(time(first)), ..new_organization("UTC", PlanId(1)) };
    let created = decide::create(&new, &world.catalogue, world.now).unwrap();
    world.account = apply::create(world.account.id, &created.entries[0]).unwrap();
    world.entries = created.entries;
    world
}

#[test]
fn the_use_that_creates_an_organization_lies_in_its_open_period_wherever_that_reaches_so_far_back() {
    #[rustfmt::skip]
    let cases = [ // first used, the open period; created 2026-11-22T11:06:02
        ("2026-11-22T11:06:02Z",        "2026-11-22T11:06:02Z",        "2026-12-22T11:06:02Z"),
        ("2026-11-22T11:06:00.500Z",    "2026-11-22T11:06:00.500Z",    "2026-12-22T11:06:00.500Z"),
        ("2026-10-31T23:00:00Z",        "2026-10-31T23:00:00Z",        "2026-11-30T23:00:00Z"),
        ("2026-10-22T11:06:02.000001Z", "2026-10-22T11:06:02.000001Z", "2026-11-22T11:06:02.000001Z"),
        ("2026-10-22T11:06:02Z",        "2026-11-22T11:06:02Z",        "2026-12-22T11:06:02Z"), // its month has just ended
        ("2024-01-31T00:00:00Z",        "2026-10-31T00:00:00Z",        "2026-11-30T00:00:00Z"), // a backfill
        ("2026-11-22T11:10:00Z",        "2026-11-22T11:06:02Z",        "2026-12-22T11:06:02Z"), // a clock that runs ahead
    ];
    let now = "2026-11-22T11:06:02Z";
    for (first, start, end) in cases {
        let world = used_first(Plan { trial: trial(30, TrialEnd::Continue), ..plan(1, "api.period=9") }, first, now);
        let open = world.account.windows.period;
        assert_eq!((open.start, open.end), (time(start), time(end)), "{first}");
        assert_eq!(world.account.profile.created_at, time(now), "{first}: it is created when that is told");
        assert_eq!(world.account.trial.map(|trial| trial.ends_at), Some(time("2026-12-22T11:06:02Z")), "{first}");
    }
}

#[test]
fn what_is_reported_seconds_later_counts_against_the_first_period() {
    let mut world = used_first(plan(1, "api.period=9"), "2026-11-22T11:06:00Z", "2026-11-22T11:06:02Z");
    world.play("event api 3 @-2s; event api 4 @-1s; event api 100 @-3s");
    assert_eq!(world.play("api 2; api 1"), "ok period 9/9; quota-exceeded period 9/9");
    let month = Plan { cycle: Cycle::FirstOfMonth, ..plan(1, "api.period=9") };
    let mut world = used_first(month, "2026-10-31T23:59:59Z", "2026-11-01T00:00:01Z");
    assert_eq!(world.account.windows.period.start, time("2026-11-01T00:00:00Z"));
    world.play("event api 3 @-2s; event api 4 @-1s");
    assert_eq!(world.play("api 5"), "ok period 9/9", "October's does not count in November");
}

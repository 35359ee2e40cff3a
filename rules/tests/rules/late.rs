//! What is told only after windows in which it had happened were closed, under other terms (O10, M5).

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::catalogue::Catalogue;
use metergate_rules::id::PlanId;
use metergate_rules::time::{DAY, MINUTE};
use metergate_rules::what_if::{Estimate, Late, Moved, Replay, Terms};
use metergate_rules::window::{Window, WindowSet};

use crate::kit::show::name;
use crate::kit::{API, World, meters, plan, q, time};

fn catalogue(world: &World, limits: &str) -> Catalogue {
    let plans = world.catalogue.plans().into_iter().map(|plan| (**plan).clone());
    Catalogue::new(meters(), plans.chain([plan(9, limits)]).collect())
}

/// All that is told late, by the organization as it stands in the end.
fn told_late(world: &World, limits: &str) -> Vec<Late> {
    let (catalogue, moved) = (catalogue(world, limits), Moved::To(PlanId(9)));
    let terms = Terms { catalogue: &catalogue, moved: &moved };
    let created: Account = apply::create(world.account.id, &world.entries[0]).unwrap();
    let mut replay = Replay::new(created, terms.clone(), &world.account.voided);
    let mut late = Vec::new();
    for (offset, entry) in (0..).zip(&world.entries[1..]) {
        late.extend(terms.late(entry, &world.account, replay.was_open()));
        replay.take((1, offset), entry).unwrap();
    }
    late
}

#[test]
fn what_happened_in_a_closed_window_with_a_limit_is_late_for_it() {
    #[rustfmt::skip]
    let cases = [ // the plan that is asked about, what happened, the closed windows of what is late
        ("api.day=5",                          "event api 4 @-2d",                        "day"),
        ("api.day=5!soft",                     "event api 4 @-2d",                        "day"),
        ("api.day=5 api.month=9 api.period=7", "event api 4 @-2d",                        "day period"),
        ("api.day=5 api.month=9 api.period=7", "event api 4 @-40d; event api 2",          "day month period"),
        ("api.day=inf api.minute=1 api.life=3", "event api 4 @-2d",                       ""),
        ("api.day=5",                          "event api 4 @-1h; api 3",                 ""),
        ("calls.day=5",                        "event api 4 @-2d",                        ""),
        ("calls.day=5",                        "override api.day=3; event api 4 @-2d",    "day"),
        ("users.day=5 bytes.period=9 peak.day=4", "event users 4 @-2d; event peak 2 @-2d; event bytes 1 @-2d", "day, day, period"),
        ("api.day=5",                          "wait 24h; adjust api 3 @-24h",            "day"),
        ("api.day=5",                          "api 3; wait 24h; adjust api -1 @-24h; undo 1", ""),
        ("api.day=5",                          "reserve api 3 20h; wait 14h; commit 1 3", ""),
    ];
    for (limits, script, expected) in cases {
        let mut world = World::new([plan(1, "")]);
        world.play(script);
        let closed = |late: &Late| late.closed.iter().map(name).collect::<Vec<_>>().join(" ");
        let found: Vec<String> = told_late(&world, limits).iter().map(closed).collect();
        assert_eq!(found.join(", "), expected, "{script} under {limits}");
    }
}

#[test]
fn what_is_told_late_is_all_used_and_what_finds_no_room_in_its_time_is_beyond() {
    let world = World::at("2026-11-22T00:00:00Z", "UTC", [plan(1, "")]);
    let catalogue = catalogue(&world, "api.day=10 api.period=25!soft api.minute=1");
    let moved = Moved::To(PlanId(9));
    let mut estimate = Estimate::new(&world.account, Terms { catalogue: &catalogue, moved: &moved }, API, world.now);
    let (day, period) = (WindowSet::NONE.with(Window::Day), WindowSet::NONE.with(Window::BillingPeriod));
    let both = day.with(Window::BillingPeriod);
    #[rustfmt::skip]
    let cases = [ // minutes from the begin, what was told in time, what was told late in how many facts, beyond which limits
        (0,            8, 1, 1, both,   "0/0"),
        (15,           0, 4, 4, both,   "3/3 day"),
        (30,           0, 6, 2, period, "0/0"),
        (24 * 60,      0, 9, 3, both,   "3/1 period"),
        (24 * 60 + 15, 0, 2, 1, day,    "1/1 day"),
        (40 * 24 * 60, 0, 9, 1, both,   "0/0"),
    ];
    for (minutes, in_time, late, facts, windows, expected) in cases {
        let quarter = world.now.plus(minutes * MINUTE);
        estimate.count(quarter, q(in_time)).unwrap();
        let found = estimate.fact(quarter, q(late), facts, windows).unwrap();
        let passed: String = found.passed.iter().map(|window| format!(" {}", name(window))).collect();
        assert_eq!(format!("{}/{}{passed}", found.overage.units(), found.count), expected, "after {minutes} minutes");
        assert!(found.refused.is_zero() && found.reason.is_none(), "a fact is never refused");
    }
}

#[test]
fn what_lies_before_the_creation_is_judged_by_the_periods_that_would_have_been() {
    let world = World::at("2026-11-10T11:06:00Z", "Europe/Berlin", [plan(1, "")]);
    let catalogue = catalogue(&world, "api.period=10");
    let moved = Moved::To(PlanId(9));
    let first = time("2023-11-10T11:00:00Z");
    let begin = Estimate::begins(&world.account, first);
    assert_eq!(begin, time("2023-10-10T10:06:00Z"), "in summer time");
    let terms = Terms { catalogue: &catalogue, moved: &moved };
    let mut estimate = Estimate::new(&world.account, terms, API, begin);
    let period = WindowSet::NONE.with(Window::BillingPeriod);
    let mut beyond = |at, sum| estimate.fact(at, q(sum), 1, period).unwrap().overage.units();
    assert_eq!(beyond(first, 12), 2);
    assert_eq!(beyond(first.plus(15 * MINUTE), 9), 0, "another period has begun");
    assert_eq!(beyond(first.plus(29 * DAY), 2), 1);
}

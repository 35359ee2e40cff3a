//! Days, months and periods: calendar windows in the organization's zone, with no job having to run (D8, P1, P2).

use metergate_rules::outcome::{Effect, What};
use metergate_rules::period::{self, Zone};
use metergate_rules::plan::{Cycle, Plan};
use metergate_rules::time::{HOUR, Span};
use metergate_rules::window::Window;

use crate::kit::script::table;
use crate::kit::{API, World, plan, time};

#[test]
fn a_new_window_starts_at_zero_at_its_very_first_instant() {
    let cases = [
        // limit, begin, zone, the last instant of the window, the first of the next
        ("api.day=1", "2026-11-22T11:06:00Z", "UTC", "2026-11-22T23:59:59.999999Z", "2026-11-23T00:00:00Z"),
        ("api.month=1", "2026-11-22T11:06:00Z", "UTC", "2026-11-30T23:59:59.999999Z", "2026-12-01T00:00:00Z"),
        ("api.period=1", "2026-11-22T11:06:00Z", "UTC", "2026-12-22T11:05:59.999999Z", "2026-12-22T11:06:00Z"),
        ("api.period=1", "2027-01-31T12:00:00Z", "UTC", "2027-02-28T11:59:59.999999Z", "2027-02-28T12:00:00Z"),
        ("api.day=1", "2026-11-22T11:06:00Z", "Asia/Kolkata", "2026-11-22T18:29:59.999999Z", "2026-11-22T18:30:00Z"),
        ("api.month=1", "2026-11-22T11:06:00Z", "Asia/Tokyo", "2026-11-30T14:59:59.999999Z", "2026-11-30T15:00:00Z"),
        // Days of 23 and 25 hours, and one that begins at one o'clock.
        ("api.day=1", "2026-03-28T23:00:00Z", "Europe/Berlin", "2026-03-29T21:59:59.999999Z", "2026-03-29T22:00:00Z"),
        ("api.day=1", "2026-10-24T22:00:00Z", "Europe/Berlin", "2026-10-25T22:59:59.999999Z", "2026-10-25T23:00:00Z"),
        (
            "api.day=1",
            "2018-11-03T12:00:00Z",
            "America/Sao_Paulo",
            "2018-11-04T02:59:59.999999Z",
            "2018-11-04T03:00:00Z",
        ),
        (
            "api.day=1",
            "2026-04-04T12:00:00Z",
            "Australia/Lord_Howe",
            "2026-04-04T12:59:59.999999Z",
            "2026-04-04T13:00:00Z",
        ),
        (
            "api.period=1",
            "2026-02-28T23:00:00Z",
            "Europe/Berlin",
            "2026-03-31T21:59:59.999999Z",
            "2026-03-31T22:00:00Z",
        ),
    ];
    for (limit, begin, zone, last, first) in cases {
        let mut world = World::at(begin, zone, [plan(1, limit)]);
        let answers = world.play(&format!("api 1; clock {last}; api 1; clock {first}; api 1; api 1"));
        let reasons: Vec<&str> = answers.split("; ").map(|answer| answer.split(' ').next().unwrap()).collect();
        assert_eq!(reasons, ["ok", "quota-exceeded", "ok", "quota-exceeded"], "{limit} from {begin} in {zone}");
    }
}

#[test]
fn a_lifetime_lasts() {
    table(&[(
        "api.life=2",
        "api 1; clock 2199-01-01T00:00:00Z; api 1; api 1",
        "ok life 1/2; ok life 2/2; quota-exceeded life 2/2",
    )]);
}

#[test]
fn every_period_is_an_entry_of_its_own_and_they_tile() {
    let mut world = World::at("2027-01-31T12:00:00Z", "Europe/Berlin", [plan(1, "api.period=5")]);
    world.play("api 5; clock 2028-06-15T00:00:00Z; touch");
    let began = world.entries.iter().filter_map(|entry| match &entry.what {
        What::Due(Effect::PeriodBegan(span)) => Some((entry.at, *span)),
        _ => None,
    });
    let periods: Vec<_> = began.collect();
    assert_eq!(periods.len(), 16);
    let first = Span { start: time("2027-01-31T12:00:00Z"), end: time("2027-02-28T12:00:00Z") };
    assert_eq!(periods[0].1.start, first.end);
    for pair in periods.windows(2) {
        assert_eq!(pair[0].1.end, pair[1].1.start);
    }
    assert!(periods.iter().all(|(at, span)| *at == span.start), "an effect has its due time");
    assert_eq!(world.entries.iter().filter(|e| matches!(e.what, What::Due(Effect::DayBegan(_)))).count(), 1);
}

#[test]
fn what_fell_due_is_told_in_order_of_its_due_times() {
    let mut world = World::new([plan(1, "api.period=5")]);
    world.play("grant api 5 until=+9d; override api.day=3 until=+3d; api 1; clock 2027-03-05T00:00:00Z; api 1");
    let times: Vec<_> = world.entries.iter().map(|entry| entry.at).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(world.account.next_due(), time("2027-03-06T00:00:00Z"));
    assert_eq!(world.account.next_notable(), time("2027-03-22T11:06:00Z"));
}

#[test]
fn racing_callers_at_a_boundary_make_one_new_period() {
    let mut world = World::new([plan(1, "api.period=5")]);
    world.play("api 5; clock 2026-12-22T11:06:00Z; api 2; api 2; touch; api 2");
    let began = |entry: &&metergate_rules::outcome::Entry| matches!(entry.what, What::Due(Effect::PeriodBegan(_)));
    assert_eq!(world.entries.iter().filter(began).count(), 1);
    assert_eq!(world.used(API, Window::BillingPeriod), 4, "what came after it is not wiped");
}

#[test]
fn a_cycle_from_the_first_counts_the_month_in_the_zone() {
    let first = Plan { cycle: Cycle::FirstOfMonth, ..plan(1, "api.period=5") };
    let mut world = World::at("2026-11-22T11:06:00Z", "Europe/Berlin", [first]);
    let period = world.account.windows.period;
    assert_eq!((period.start, period.end), (time("2026-10-31T23:00:00Z"), time("2026-11-30T23:00:00Z")));
    assert_eq!(world.play("api 5; clock 2026-11-30T23:00:00Z; api 5"), "ok period 5/5; ok period 5/5");
}

#[test]
fn a_change_of_zone_carries_day_and_month_counters_over() {
    let mut world = World::new([plan(1, "api.day=5 api.month=9 users.day=5")]);
    let answers = world.play(
        "api 3; users 1; zone Asia/Tokyo; api 3; api 2; users 1; users 2; \
         clock 2026-11-22T14:59:59Z; api 1; clock 2026-11-22T15:00:00Z; api 1; users 1",
    );
    let expected = "ok day 3/5, month 3/9; ok day 1/5; done; quota-exceeded day 3/5, month 3/9; ok day 5/5, month 5/9; \
                    ok day 1/5; ok day 2/5; quota-exceeded day 5/5, month 5/9; ok day 1/5, month 6/9; ok day 1/5";
    assert_eq!(answers, expected);
}

#[test]
fn open_windows_contain_now_after_any_change_of_zone() {
    let zones = ["Pacific/Kiritimati", "Etc/GMT+12", "Europe/Berlin", "America/St_Johns", "UTC"];
    let mut world = World::new([plan(1, "users.day=9 users.month=9")]);
    for i in 0..60 {
        let zone = zones[i % zones.len()];
        world.play(&format!("users {}; zone {zone}; wait 7h", i % 4));
        let (account, named) = (world.settled(), Zone::new(zone).unwrap());
        for window in Window::COUNTED {
            assert!(account.windows.get(window).contains(world.now), "{window:?} in {zone}");
        }
        assert_eq!(
            account.windows.day.end,
            period::day(world.now, &named).end,
            "the day ends where the new zone's does"
        );
        assert_eq!(account.windows.month.end, period::month(world.now, &named).end);
        assert!(world.used(crate::kit::USERS, Window::Day) <= 4, "a value counts once");
    }
    assert_eq!(world.profile().zone.name(), zones[59 % zones.len()]);
}

#[test]
fn settling_twice_changes_nothing_more() {
    let mut world = World::new([plan(1, "api.period=5")]);
    world.play("api 1; clock 2027-11-22T11:06:00Z");
    let once = world.settled();
    assert!(once.at(&world.catalogue, world.now).unwrap().entries.is_empty());
    assert!(once.next_due() > world.now && once.next_due().since(world.now) <= 24 * HOUR);
}

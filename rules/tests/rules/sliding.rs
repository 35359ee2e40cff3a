//! Minutes and hours: sixty sub-buckets that slide (D8).

use proptest::prelude::*;

use metergate_rules::outcome::Reason;
use metergate_rules::time::{HOUR, MINUTE, SECOND, Time};
use metergate_rules::window::Window;

use crate::kit::script::table;
use crate::kit::{API, World, plan, time};

/// Decisions at these times, a microsecond-exact series: what was admitted when.
fn admitted(limits: &str, series: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut world = World::new([plan(1, limits)]);
    let mut now = world.now;
    let mut admitted = Vec::new();
    for (step, quantity) in series {
        now = now.plus(*step);
        world.now = now;
        if world.consume(API, *quantity).reason.is_none() {
            admitted.push((now.micros(), *quantity));
        }
    }
    admitted
}

/// The most that was admitted in any half-open interval of a length: one that ends just after a decision is as full as
/// any other.
fn fullest(admitted: &[(i64, i64)], length: i64) -> i64 {
    let until = |end: i64| admitted.iter().filter(move |(at, _)| end - length < *at && *at <= end);
    admitted.iter().map(|(end, _)| until(*end).map(|(_, quantity)| quantity).sum()).max().unwrap_or(0)
}

#[test]
fn no_interval_of_a_minute_admits_more_than_the_limit_whatever_the_phase() {
    // Greedy callers, at steps that drift through every phase of the buckets and of the minute.
    for step in [1, SECOND / 3, SECOND - 1, SECOND, SECOND + 1, 7 * SECOND / 2, 59 * SECOND, 61 * SECOND] {
        let series: Vec<(i64, i64)> = (0..400).map(|i| (step, 1 + i % 3)).collect();
        let admitted = admitted("api.minute=10", &series);
        assert!(fullest(&admitted, MINUTE) <= 10, "every {step} µs: {}", fullest(&admitted, MINUTE));
        assert!(fullest(&admitted, MINUTE) >= 8 || step > 6 * SECOND, "every {step} µs: too little");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_interval_admits_more_than_the_limit(
        series in prop::collection::vec((prop_oneof![0..SECOND, 0..20 * SECOND, 55 * SECOND..65 * SECOND], 0..6_i64), 1..120)
    ) {
        let admitted = admitted("api.minute=10 api.hour=40", &series);
        prop_assert!(fullest(&admitted, MINUTE) <= 10);
        prop_assert!(fullest(&admitted, HOUR) <= 40);
    }

    #[test]
    fn asking_again_at_the_advised_time_succeeds_and_no_microsecond_earlier(
        series in prop::collection::vec((0..40 * SECOND, 1..6_i64), 1..60), asked in 1..11_i64
    ) {
        let mut world = World::new([plan(1, "api.minute=10 api.hour=40")]);
        for (step, quantity) in series {
            world.now = world.now.plus(step);
            world.consume(API, quantity);
        }
        let verdict = world.consume(API, asked);
        if verdict.reason == Some(Reason::QuotaExceeded) {
            let again = verdict.retry_at.unwrap();
            world.now = again.plus(-1);
            prop_assert_eq!(world.consume(API, asked).reason, Some(Reason::QuotaExceeded));
            world.now = again;
            prop_assert_eq!(world.consume(API, asked).reason, None);
        }
    }
}

#[test]
fn use_is_freed_at_most_a_sixtieth_late() {
    for (window, length) in [(Window::Minute, MINUTE), (Window::Hour, HOUR)] {
        for phase in [0, 1, length / 60 - 1, length / 7] {
            let mut world = World::new([plan(1, &format!("api.{}=1", window.as_str()))]);
            let begin = world.now.plus(phase);
            world.now = begin;
            world.consume(API, 1);
            let again = world.consume(API, 1).retry_at.unwrap();
            let late = again.since(begin) - length;
            assert!((0..=length / 60).contains(&late), "{window:?} from {phase}: {late} µs late");
        }
    }
}

#[test]
fn a_minute_and_an_hour_count_each_for_itself() {
    #[rustfmt::skip]
    table(&[
        ("api.minute=2 api.hour=3", "api 2; wait 61s; api 2; api 1; wait 61s; api 1; wait 59m; api 1",
            "ok minute 2/2, hour 2/3; quota-exceeded minute 0/2, hour 2/3; ok minute 1/2, hour 3/3; \
             quota-exceeded minute 0/2, hour 3/3; ok minute 1/2, hour 2/3"),
        ("calls.minute=2", "calls 5; calls 5; calls 5; wait 61s; calls 5",
            "ok minute 1/2; ok minute 2/2; quota-exceeded minute 2/2; ok minute 1/2"),
        ("api.minute=2!soft", "api 3; api 1", "ok minute 3/2 left 0 over 1; ok minute 4/2 left 0 over 1"),
    ]);
}

#[test]
fn events_count_no_minute_and_no_hour() {
    table(&[("api.minute=2 api.day=9", "event api 5; api 2", "done; ok minute 2/2, day 7/9")]);
}

#[test]
fn refused_decisions_take_nothing_from_the_minute() {
    table(&[(
        "api.minute=2",
        "api 3; api 3; api 2",
        "quota-exceeded minute 0/2; quota-exceeded minute 0/2; ok minute 2/2",
    )]);
}

#[test]
fn the_time_of_reset_is_when_the_oldest_use_is_freed() {
    let mut world = World::at("2026-11-22T11:06:00.5Z", "UTC", [plan(1, "api.minute=9")]);
    let resets = |world: &mut World, quantity| world.consume(API, quantity).limits[0].resets_at;
    assert_eq!(resets(&mut world, 0), None, "nothing is used");
    assert_eq!(resets(&mut world, 1), Some(time("2026-11-22T11:07:01Z")));
    world.play("wait 10s");
    assert_eq!(resets(&mut world, 1), Some(time("2026-11-22T11:07:01Z")));
    world.play("wait 51s");
    assert_eq!(resets(&mut world, 1), Some(time("2026-11-22T11:07:11Z")));
}

#[test]
fn a_clock_that_steps_back_frees_nothing_and_counts_all() {
    let mut world = World::at("2026-11-22T23:59:59Z", "UTC", [plan(1, "api.minute=4 api.day=4")]);
    world.play("api 1; wait 2s; api 2; clock 2026-11-22T23:59:58Z");
    let verdict = world.consume(API, 2);
    assert_eq!(verdict.reason, Some(Reason::QuotaExceeded));
    assert_eq!(world.consume(API, 1).reason, None);
    assert_eq!(world.entries.last().map(|entry| entry.at), Some(time("2026-11-23T00:00:01Z")), "time never runs back");
    assert_eq!((world.used(API, Window::Minute), world.used(API, Window::Day)), (4, 3));
    assert!(world.entries.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert_eq!(world.account.time, time("2026-11-23T00:00:01Z"));
}

#[test]
fn times_at_either_end_of_what_a_time_can_be_are_counted_too() {
    for end in [Time::MIN, Time::MAX] {
        let mut world =
            World::at(&end.to_string(), "UTC", [plan(1, "api.minute=5 api.day=5 api.month=5 api.period=5")]);
        assert_eq!(world.play("api 5"), "ok minute 5/5, day 5/5, month 5/5, period 5/5", "{end}");
        assert_eq!(world.consume(API, 1).reason, Some(Reason::QuotaExceeded), "{end}");
    }
    let mut world = World::new([plan(1, "api.period=5")]);
    assert_eq!(
        world.play("api 5; clock 2200-01-01T00:00:00Z; api 5; api 1"),
        "ok period 5/5; ok period 5/5; quota-exceeded period 5/5"
    );
}

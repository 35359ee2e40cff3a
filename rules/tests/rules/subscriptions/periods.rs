//! Whose billing periods are: the subscription's while it is live, then months from its last one's end (P2).

use std::collections::HashMap;
use std::sync::Arc;

use metergate_rules::command::{Command, CycleStart};
use metergate_rules::decide::Problem;
use metergate_rules::id::PriceId;
use metergate_rules::outcome::{Effect, What};
use metergate_rules::period::Zone;
use metergate_rules::subscription::{News, PricedItem, Snapshot, end_of};
use metergate_rules::time::{DAY, Time};
use metergate_rules::what_if::{Estimate, Moved, Terms};
use metergate_rules::window::Window;

use super::{APRIL, MARCH, is_told, plans, snapshot, span, world};
use crate::kit::{API, World, meter_named, q, time};

#[test]
fn periods_are_the_subscriptions_and_tile_with_those_before_and_after() {
    let mut world = world();
    let opened = world.account.windows.period.start;
    assert_eq!(world.play("api 3"), "ok period 3/5");
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    let open = world.account.windows.period;
    assert_eq!((open.start, open.end), (opened, time("2026-04-05T00:00:00Z")), "its stored start stays");
    assert_eq!(world.account.shown_period(), span(MARCH));
    assert_eq!(world.used(meter_named("api"), Window::BillingPeriod), 3, "only dates move");
    // A renewal that nobody has told of yet.
    world.now = time("2026-04-05T00:00:00Z");
    assert_eq!(world.settled().windows.period, span(APRIL));
    assert_eq!(world.used(meter_named("api"), Window::BillingPeriod), 0);
    assert!(is_told(&mut world, snapshot("sub_1", "active", 2, APRIL)), "the subscription itself has changed");
    assert_eq!(world.account.windows.period, span(APRIL));
    assert_eq!(world.account.shown_start, None);
    // Its end: the open period runs to its stored end, then months from there.
    is_told(&mut world, snapshot("sub_1", "canceled", 2, APRIL));
    assert_eq!(world.account.windows.period, span(APRIL));
    world.now = time("2026-07-01T00:00:00Z");
    world.run(&Command::Touch).unwrap();
    let mut end = time("2026-04-05T00:00:00Z");
    for entry in &world.entries {
        if let What::Due(Effect::PeriodBegan(period)) = &entry.what {
            assert_eq!(period.start, end, "no gap, no overlap");
            end = period.end;
        }
    }
    assert_eq!(world.account.windows.period, span("2026-06-05T00:00:00Z/2026-07-05T00:00:00Z"));
}

#[test]
fn a_year_is_cut_into_months_and_its_resets_are_foreseen() {
    let mut world = World::at("2026-01-31T10:00:00Z", "Europe/Berlin", plans());
    is_told(&mut world, snapshot("sub_1", "active", 2, "2026-01-31T00:00:00Z/2027-01-31T00:00:00Z"));
    let foreseen: Vec<Time> = world.account.resets().take(14).collect();
    assert_eq!(foreseen[0], time("2026-02-28T00:00:00Z"));
    assert_eq!(foreseen[1], time("2026-03-30T23:00:00Z"), "the 31st again, in summer time");
    assert!(foreseen.contains(&time("2027-01-31T00:00:00Z")), "a piece ends with the year");
    for next in foreseen {
        assert_eq!(world.settled().windows.period.end, next);
        world.now = next;
    }
}

#[test]
fn a_period_ends_with_its_piece_or_goes_on_as_before() {
    let utc = Zone::utc();
    #[rustfmt::skip]
    let cases = [ // the subscription's period, start, end
        (MARCH,                                         "2026-03-05T00:00:00Z", "2026-04-05T00:00:00Z"),
        (MARCH,                                         "2026-02-01T00:00:00Z", "2026-03-05T00:00:00Z"), // it is yet to come
        (MARCH,                                         "2026-04-05T00:00:00Z", "2026-05-05T00:00:00Z"),
        ("2026-03-05T00:00:00Z/2026-03-12T00:00:00Z", "2026-03-12T00:00:00Z", "2026-03-19T00:00:00Z"), // a week
        ("2026-03-05T00:00:00Z/2026-04-04T00:00:00Z", "2026-04-04T00:00:00Z", "2026-05-05T00:00:00Z"), // thirty days
        ("2026-03-05T00:00:00Z/2026-03-06T00:00:00Z", "2026-03-06T00:00:00Z", "2026-03-07T00:00:00Z"), // a day
        ("2026-03-05T00:00:00Z/2026-03-05T01:00:00Z", "2026-03-05T01:00:00Z", "2026-04-05T00:00:00Z"), // a stub
        ("2026-03-05T00:00:00Z/2026-03-05T00:00:01Z", "2026-04-05T00:00:00Z", "2026-05-05T00:00:00Z"),
        ("2026-01-31T00:00:00Z/2026-04-30T00:00:00Z", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("2026-01-31T00:00:00Z/2026-04-30T00:00:00Z", "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z"),
        // A start that is off the grid by hours.
        ("2026-01-31T00:00:00Z/2026-04-30T00:00:00Z", "2026-02-27T23:00:00Z", "2026-03-31T00:00:00Z"),
    ];
    for (subscription, start, end) in cases {
        assert_eq!(end_of(span(subscription), &utc, time(start)), time(end), "{subscription} from {start}");
    }
}

#[test]
fn while_a_subscription_rules_the_dates_nobody_else_moves_them() {
    let mut world = world();
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    for by_member in [true, false] {
        let start = CycleStart::Instant(world.now.plus(-DAY));
        let moved = world.run(&Command::MoveCycle { start, by_member });
        assert_eq!(moved, Err(Problem::CycleOwnedBySubscription));
    }
    is_told(&mut world, snapshot("sub_1", "canceled", 2, MARCH));
    let start = CycleStart::Instant(world.now.plus(-DAY));
    assert!(world.run(&Command::MoveCycle { start, by_member: false }).is_ok());
}

#[test]
fn both_places_of_the_period_are_read() {
    let of = |items: Vec<(u32, Option<&str>)>, period: Option<&str>| {
        let items = items.into_iter().map(|(price, period)| PricedItem {
            price: PriceId::new(&format!("price-{price}")).unwrap(),
            period: period.map(span),
        });
        let items = items.collect();
        Snapshot { items, period: period.map(span), ..snapshot("sub_1", "active", 2, MARCH) }
    };
    let week = "2026-03-09T00:00:00Z/2026-03-16T00:00:00Z";
    #[rustfmt::skip]
    let cases = [
        (of(vec![(2, Some(MARCH))], None),                       MARCH), // since API 2025-03-31
        (of(vec![(2, None)], Some(MARCH)),                       MARCH), // before it
        (of(vec![(9, Some(week)), (2, Some(MARCH))], None),      MARCH), // the item whose price a plan has
        (of(vec![(9, Some(MARCH)), (8, Some(week))], None),      week),  // the one that ends first
        (of(vec![], Some(MARCH)),                                MARCH),
    ];
    for (told, period) in cases {
        let mut world = world();
        let shown = format!("{told:?}");
        is_told(&mut world, told);
        assert_eq!(world.account.ruling_period(), Some(span(period)), "{shown}");
    }
}

/// The period that is paid for says nothing of a time long before it but on which day periods begin.
#[test]
fn an_estimate_of_a_time_before_the_subscription_goes_by_months() {
    let mut world = world();
    is_told(&mut world, snapshot("sub_1", "active", 2, MARCH));
    let (account, moved) = (world.settled(), Moved::Followers(HashMap::new()));
    assert!(account.ruling_period().is_some());
    let terms = Terms { catalogue: &world.catalogue, moved: &moved };
    let mut estimate = Estimate::new(&account, terms, API, time("2025-11-08T00:00:00Z"));
    let mut refused = |at: &str, sum| estimate.take(time(at), q(sum), 1).unwrap().refused;
    for month in ["2025-11-20T00:00:00Z", "2025-12-20T00:00:00Z", "2026-01-20T00:00:00Z", "2026-02-20T00:00:00Z"] {
        assert_eq!(refused(month, 40), q(0), "{month}");
    }
    assert_eq!(refused("2026-02-21T00:00:00Z", 15), q(5), "of 50 in a month");
}

#[test]
fn a_clock_is_moved_over_no_more_periods_than_one_step_can_take() {
    let mut world = world();
    Arc::make_mut(&mut world.account.profile).test = true;
    let daily = snapshot("sub_1", "active", 2, "2026-03-05T00:00:00Z/2026-03-06T00:00:00Z");
    world.run(&Command::SetSubscription(Box::new(News::Told(daily)))).unwrap();
    let begin = world.now;
    assert_eq!(world.run(&Command::SetClock(begin.plus(4200 * DAY))), Err(Problem::TooMuchDue));
    world.run(&Command::SetClock(begin.plus(2000 * DAY))).unwrap();
    world.run(&Command::SetClock(begin.plus(4200 * DAY))).unwrap();
    let open = world.account.windows.period;
    assert_eq!(open.end.since(open.start), DAY);
}

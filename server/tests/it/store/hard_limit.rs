//! `hard_limit`: no decision admits beyond a limit, whatever the interleaving.

use metergate::store::Request;
use metergate_rules::command::Command;
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::time::{HOUR, MINUTE, SECOND};
use metergate_rules::window::Window;

use super::asks::{LARGE, ask, make, meter, quantity, tell};
use super::kit::{Kit, allowed};
use super::random_work::Random;
use crate::invariant::most_in_any;

#[test]
fn calls_at_once_are_admitted_to_the_limit_exactly() {
    let kit = Kit::new();
    kit.made(&make(Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false }));
    let answers = kit.each_alone(vec![&ask("calls", 1); 1500]);
    assert_eq!(allowed(&answers), 1000);
    assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 1000);
    kit.check().unwrap();
}

#[test]
fn requests_of_one_batch_are_admitted_to_the_limit_exactly() {
    let kit = Kit::new();
    let answers = kit.in_one_batch((0..50).map(|_| Request::from(&ask("calls", 3))).collect());
    assert_eq!(allowed(&answers), 3, "9 of 10; no other 3 fit");
    assert!(kit.allows(&ask("calls", 1)) && !kit.allows(&ask("calls", 1)));
    kit.check().unwrap();
}

#[test]
fn several_limits_are_all_or_nothing() {
    let kit = Kit::new();
    let together = |calls, tokens| ask("calls", calls).and("tokens", tokens).and("hits", 1);
    assert!(kit.allows(&together(4, 4)));
    for (calls, tokens) in [(7, 1), (1, 17), (7, 17)] {
        assert!(!kit.allows(&together(calls, tokens)), "{calls} calls, {tokens} tokens");
    }
    let answers = kit.each_alone(vec![together(2, 1); 20].iter());
    assert_eq!(allowed(&answers), 3);
    let used = ["calls", "tokens", "hits"].map(|name| kit.used("acme", name, Window::Lifetime));
    assert_eq!(used, [10, 7, 4], "what was refused used nothing anywhere");
    kit.check().unwrap();
}

#[test]
fn no_interval_of_a_minute_or_an_hour_admits_more_than_its_limit() {
    let mut random = Random::new("no_interval_of_a_minute_or_an_hour_admits_more_than_its_limit");
    let mut kit = Kit::new();
    let (mut time, mut refused) = (kit.now(), 0);
    for _ in 0..120 {
        time = time.plus(random.below(40 * SECOND));
        kit.reopen_at(time);
        let asks: Vec<_> = (0..8).map(|_| ask("tokens", 1 + random.below(6))).collect();
        let answers = kit.each_alone(asks.iter());
        refused += answers.len() - allowed(&answers);
    }
    let decisions = kit.journal().decisions(kit.account("acme").id, meter("tokens"));
    let (minute, hour) = (most_in_any(MINUTE, &decisions), most_in_any(HOUR, &decisions));
    assert!(minute <= 20 && hour <= 60, "{minute} in a minute, {hour} in an hour");
    assert!(refused > 100 && minute >= 18 && hour >= 55, "the limits were reached: {refused}, {minute}, {hour}");
    kit.check().unwrap();
}

#[test]
fn use_of_a_minute_is_free_again_a_second_after_the_minute() {
    let mut kit = Kit::new();
    let all = kit.decide(&ask("tokens", 20)).unwrap();
    assert_eq!(all.verdicts[0].reason, None);
    let begin = all.at;
    // Opening takes a while.
    kit.reopen_at(begin.plus(MINUTE - 20 * SECOND));
    assert!(!kit.allows(&ask("tokens", 1)));
    kit.reopen_at(begin.plus(MINUTE + 2 * SECOND));
    assert!(kit.allows(&ask("tokens", 20)));
}

#[test]
fn facts_are_counted_beyond_a_limit_and_then_nothing_more_is_admitted() {
    let kit = Kit::new();
    assert!(kit.records(&tell("calls", 25, "e")));
    assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 25);
    let refusal = kit.decide(&ask("calls", 1)).unwrap();
    let state = &refusal.verdicts[0].limits[0];
    assert_eq!((state.used.units(), state.limit.units(), state.remaining.units()), (25, 10, 0));
    kit.check().unwrap();
}

#[test]
fn a_limit_that_is_lowered_below_use_admits_nothing_more() {
    let kit = Kit::new();
    assert!(kit.allows(&ask("calls", 6)));
    let lower = make(Command::SetOverride {
        meter: meter("calls"),
        window: Window::BillingPeriod,
        max: Max::Units(quantity(4)),
        enforcement: Enforcement::Hard,
        until: None,
    });
    let mut answers = kit.in_one_batch(vec![(&ask("calls", 2)).into(), (&lower).into(), (&ask("calls", 1)).into()]);
    answers.remove(1).unwrap();
    assert_eq!([allowed(&answers[..1]), allowed(&answers[1..])], [1, 0]);
    let refusal = kit.decide(&ask("calls", 1)).unwrap();
    assert!(refusal.verdicts[0].limits[0].remaining.is_zero());
}

#[test]
fn a_level_a_peak_and_distinct_values_stay_within_their_limits() {
    let kit = Kit::new();
    #[rustfmt::skip]
    let rows = [ // meter, quantity or value, allowed
        ("storage", 100, true), ("storage", 101, false), ("storage", 1, true), ("storage", 100, true),
        ("peak", 50, true), ("peak", 51, false), ("peak", 3, true),
        ("users", 1, true), ("users", 2, true), ("users", 1, true), ("users", 3, true), ("users", 4, false), ("users", 2, true),
    ];
    for (name, quantity, allowed) in rows {
        assert_eq!(kit.allows(&ask(name, quantity)), allowed, "{quantity} on {name}");
    }
    let other = Kit::new();
    let answers = other.in_one_batch((0..40).map(|value| Request::from(&ask("users", value % 20))).collect());
    assert_eq!(allowed(&answers), 6, "three values, each twice, in one batch");
    other.check().unwrap();
}

#[test]
fn a_soft_limit_admits_and_counts_what_is_beyond() {
    let kit = Kit::new();
    assert!(kit.allows(&ask("credits", 4_000)));
    let beyond = kit.decide(&ask("credits", 3_500)).unwrap();
    assert_eq!((beyond.verdicts[0].reason, beyond.verdicts[0].overage.units()), (None, 2_500));
    assert_eq!(kit.used("acme", "credits", Window::Lifetime), 7_500);
}

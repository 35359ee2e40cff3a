//! `reset_once`: a boundary makes one new period and a reset happens once; use after it stays.

use metergate::store::Request;
use metergate_rules::command::Command;
use metergate_rules::outcome::{Change, Effect, What};
use metergate_rules::time::{MINUTE, SECOND, Time};
use metergate_rules::window::{Window, WindowSet};

use super::asks::{ask, make, tell};
use super::kit::{Kit, decided};

fn periods_begun(kit: &Kit) -> usize {
    let began = |what: &What| matches!(what, What::Due(Effect::PeriodBegan(_)));
    let id = kit.account("acme").id;
    kit.journal().of_organization(id).filter(|record| began(&record.entry.what)).count()
}

#[test]
fn callers_who_race_over_a_boundary_make_one_period_and_lose_no_use() {
    let mut kit = Kit::new();
    assert!(kit.allows(&ask("calls", 9)));
    let end = kit.account("acme").windows.period.end;
    // Opening takes a while, and the clock goes on meanwhile: on a busy machine perhaps beyond the boundary.
    let is_before = |kit: &mut Kit| {
        kit.reopen_at(end.plus(-4 * SECOND));
        kit.now() < end.plus(-2 * SECOND)
    };
    assert!((0..20).any(|_| is_before(&mut kit)), "it takes longer to open than the boundary is away");
    kit.wait_until("the boundary is near", |kit| kit.now() > end.plus(-SECOND / 2));
    let (mut before, mut after) = (0, 0);
    for round in 0.. {
        let calls = (0..30).map(|i| ask("calls", 1).id(&format!("{round}-{i}"))).collect::<Vec<_>>();
        for answer in kit.each_alone(calls.iter()) {
            let decided = decided(answer.unwrap());
            let counter = if decided.at < end { &mut before } else { &mut after };
            *counter += usize::from(decided.verdicts[0].reason.is_none());
        }
        if after >= 10 {
            break;
        }
        assert!(round < 100_000, "the boundary does not come");
    }
    assert_eq!((before, after), (1, 10), "one was left before it, ten are there after it");
    assert_eq!(periods_begun(&kit), 1);
    assert_eq!(kit.account("acme").windows.period.start, end);
    kit.reopen_at(end.plus(MINUTE));
    assert!(!kit.allows(&ask("calls", 1)), "use after the boundary is not wiped by a restart");
    assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 10);
    kit.check().unwrap();
}

#[test]
fn periods_in_which_nothing_happened_begin_one_after_the_other() {
    let mut kit = Kit::new();
    assert!(kit.allows(&ask("calls", 9)));
    kit.reopen_at("2026-08-01T00:00:00Z".parse().unwrap());
    assert!(kit.allows(&ask("calls", 10)));
    assert_eq!(periods_begun(&kit), 4, "in April, May, June, July");
    let period = kit.account("acme").windows.period;
    assert_eq!(period.start.to_string()[..10], *"2026-07-10");
    kit.check().unwrap();
}

#[test]
fn a_reset_that_is_repeated_wipes_nothing_more() {
    let mut kit = Kit::new();
    let windows = WindowSet::NONE.with(Window::BillingPeriod);
    let reset = make(Command::Reset { meters: None, windows }).under("reset-1");
    assert!(kit.allows(&ask("calls", 10)));
    let requests: Vec<Request> =
        vec![(&reset).into(), (&ask("calls", 4)).into(), (&reset).into(), (&ask("calls", 4)).into(), (&reset).into()];
    assert!(kit.in_one_batch(requests).iter().all(Result::is_ok));
    kit.each_alone(vec![&reset; 20]).into_iter().for_each(|answer| drop(answer.unwrap()));
    kit.reopen();
    assert!(kit.made(&reset).1, "made before");
    assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 8);
    assert_eq!(kit.used("acme", "calls", Window::Lifetime), 18, "the reset was of the period");
    assert_eq!(kit.reported("acme", "calls").sum, 18, "reports keep what happened");
    let resets = |what: &What| matches!(what, What::Changed(change) if matches!(**change, Change::Reset { .. }));
    assert_eq!(kit.journal().records.iter().filter(|(_, _, record)| resets(&record.entry.what)).count(), 1);
    kit.check().unwrap();
}

#[test]
fn the_first_period_of_an_organization_that_old_events_create_is_counted_from_the_earliest_of_the_call() {
    let mut kit = Kit::creating();
    let time = |text: &str| text.parse::<Time>().unwrap();
    #[rustfmt::skip]
    let cases = [ // when the events of one call were, in this order; the open period at 2026-03-10T08:00:00Z; what it has of them
        ("one",     vec!["2026-03-10T07:59:58Z"],                         ["2026-03-10T07:59:58Z", "2026-04-10T07:59:58Z"], 1),
        ("several", vec!["2026-03-05T10:00:00Z", "2026-03-01T09:00:00Z"], ["2026-03-01T09:00:00Z", "2026-04-01T09:00:00Z"], 2),
        ("old",     vec!["2026-03-01T00:00:00Z", "2025-12-20T12:00:00Z"], ["2026-02-20T12:00:00Z", "2026-03-20T12:00:00Z"], 1),
    ];
    for (key, times, ..) in &cases {
        let event = |(i, at): (usize, &&str)| tell("calls", 1, &format!("{key}-{i}")).of(key).at(time(at));
        let events: Vec<Request> = times.iter().enumerate().map(event).map(|tell| (&tell).into()).collect();
        assert!(kit.in_one_batch(events).iter().all(Result::is_ok), "{key}");
        // Whatever is told later is of an organization that is there.
        assert!(kit.records(&tell("calls", 1, "later").of(key).at(time("2025-11-01T00:00:00Z"))));
    }
    kit.reopen();
    for (key, _, [start, end], used) in cases {
        let period = kit.account(key).windows.period;
        assert_eq!((period.start, period.end), (time(start), time(end)), "{key}");
        assert_eq!(kit.used(key, "calls", Window::BillingPeriod), used, "{key}");
    }
    kit.check().unwrap();
}

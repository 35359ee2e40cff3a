//! `reset_once`: a boundary makes one new period and a reset happens once; use after it stays.

use metergate::store::Request;
use metergate_rules::command::Command;
use metergate_rules::outcome::{Change, Effect, What};
use metergate_rules::time::{MINUTE, SECOND};
use metergate_rules::window::{Window, WindowSet};

use super::asks::{ask, make};
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

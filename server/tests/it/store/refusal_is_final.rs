//! `refusal_is_final`: what was refused under an id stays refused under it.

use metergate::store::Request;
use metergate_rules::command::{Command, NewGrant};
use metergate_rules::time::HOUR;
use metergate_rules::window::{Window, WindowSet};

use super::asks::{Ask, LARGE, ask, make, meter, quantity};
use super::kit::{Kit, allowed};

/// The changes after which 8 more calls would fit.
fn reliefs() -> Vec<Command> {
    let grant = NewGrant {
        meter: meter("calls"),
        amount: quantity(20),
        priority: 0,
        starts_at: None,
        expires_at: None,
        reason: String::new(),
    };
    vec![
        Command::extra(meter("calls"), quantity(20)),
        Command::Reset { meters: None, windows: WindowSet::NONE.with(Window::BillingPeriod) },
        Command::Grant(grant),
        Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false },
    ]
}

fn refused() -> (Ask, Ask) {
    (ask("calls", 8).id("refused"), ask("calls", 8).id("new"))
}

#[test]
fn a_refused_id_stays_refused_after_quota_frees_up_and_a_new_one_passes() {
    for relief in reliefs() {
        let mut kit = Kit::new();
        let (refused, new) = refused();
        assert!(kit.allows(&ask("calls", 8)) && !kit.allows(&refused));
        kit.made(&make(relief.clone()));
        assert!(!kit.allows(&refused), "after {relief:?}");
        kit.reopen();
        assert!(!kit.allows(&refused), "after {relief:?} and a restart");
        assert!(kit.allows(&new), "a new id, after {relief:?}");
        assert!(!kit.allows(&refused) && kit.allows(&new), "and again, after {relief:?}");
        kit.check().unwrap();
    }
}

#[test]
fn a_refusal_is_final_within_the_batch_that_frees_the_quota() {
    for relief in reliefs() {
        let kit = Kit::new();
        let (refused, new) = refused();
        assert!(kit.allows(&ask("calls", 8)));
        let relief = make(relief);
        let requests: Vec<Request> = vec![(&refused).into(), (&relief).into(), (&refused).into(), (&new).into()];
        let mut answers = kit.in_one_batch(requests);
        answers.remove(1).unwrap();
        assert_eq!([0, 1, 2].map(|i| allowed(&answers[i..=i])), [0, 0, 1], "{relief:?}");
    }
}

#[test]
fn a_refusal_by_a_minute_is_final_when_the_minute_is_over() {
    let mut kit = Kit::new();
    let refused = ask("tokens", 15).id("refused");
    assert!(kit.allows(&ask("tokens", 15)) && !kit.allows(&refused));
    kit.reopen_at(kit.now().plus(HOUR));
    assert!(!kit.allows(&refused));
    assert!(kit.allows(&ask("tokens", 15)));
}

#[test]
fn a_refusal_without_an_id_is_not_kept() {
    let kit = Kit::new();
    let before = kit.journal().records.len();
    for _ in 0..100 {
        assert!(!kit.allows(&ask("calls", 11)));
    }
    // Of the first in an hour others are told, and an hour may begin meanwhile.
    let told = kit.journal().records.len() - before;
    assert!((1..=2).contains(&told), "callers who hammer cost no disk: {told} records");
}

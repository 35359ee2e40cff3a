//! `idempotent`: an id has one effect and one answer, whoever repeats it, whenever.

use metergate::store::{DecidedReceipt, Receipt, Request, StoreError};
use metergate_rules::command::Command;
use metergate_rules::time::{DAY, HOUR, MINUTE};
use metergate_rules::window::Window;

use super::asks::{ask, make, meter, quantity, tell};
use super::kit::{Kit, decided};

/// What the caller is told, apart from whether it was told before.
fn told(receipt: &DecidedReceipt) -> DecidedReceipt {
    DecidedReceipt { replayed: false, ..receipt.clone() }
}

#[test]
fn an_id_in_one_batch_counts_once_and_has_one_answer() {
    let kit = Kit::new();
    for ask in [ask("calls", 3).id("a"), ask("calls", 4).id("b").by_header(), ask("calls", 4).and("tokens", 1).id("c")]
    {
        let answers = kit.in_one_batch((0..5).map(|_| Request::from(&ask)).collect());
        let answers: Vec<_> = answers.into_iter().map(|answer| decided(answer.unwrap())).collect();
        let replayed: Vec<_> = answers.iter().map(|answer| answer.replayed).collect();
        assert_eq!(replayed, [false, true, true, true, true]);
        for answer in &answers {
            assert_eq!(told(answer), told(&answers[0]), "{ask:?}");
        }
    }
    assert_eq!(kit.used("acme", "calls", Window::Lifetime), 7, "3 and 4; 4 more are beyond the limit");
    kit.check().unwrap();
}

#[test]
fn concurrent_calls_with_one_id_have_one_effect_and_one_answer() {
    let kit = Kit::new();
    let ask = ask("calls", 3).id("a");
    let answers = kit.each_alone((0..200).map(|_| &ask));
    let answers: Vec<_> = answers.into_iter().map(|answer| decided(answer.unwrap())).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| told(answer) == told(&answers[0])));
    assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 3);
    assert_eq!(kit.reported("acme", "calls").sum, 3);
    kit.check().unwrap();
}

#[test]
fn a_repetition_after_a_restart_gets_the_first_answer() {
    let mut kit = Kit::new();
    let asks = [ask("calls", 8).id("a"), ask("calls", 8).id("b"), ask("calls", 1).and("hits", 1).id("a")];
    let first: Vec<_> = asks.iter().map(|ask| kit.decide(ask).unwrap()).collect();
    for _ in 0..2 {
        kit.reopen();
        for (ask, first) in asks.iter().zip(&first) {
            let again = kit.decide(ask).unwrap();
            assert_eq!((told(&again), again.replayed), (told(first), true), "{ask:?}");
        }
    }
    assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 9);
}

#[test]
fn another_body_under_an_id_is_a_mismatch_and_counts_nothing() {
    let mut kit = Kit::new();
    let (first, other) = (ask("calls", 3).id("a"), ask("calls", 4).id("a"));
    let answers = kit.in_one_batch(vec![(&first).into(), (&other).into()]);
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(StoreError::Mismatch), "in one batch");
    assert_eq!(kit.send(&other), Err(StoreError::Mismatch), "later");
    kit.reopen();
    assert_eq!(kit.send(&other), Err(StoreError::Mismatch), "after a restart");
    assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 3);
    assert!(kit.decide(&first).unwrap().replayed, "the first body still gets its answer");
}

#[test]
fn each_kind_of_id_of_each_organization_and_meter_is_a_space_of_its_own() {
    let mut kit = Kit::new();
    kit.made(&super::asks::create("other"));
    let asks = [
        ask("calls", 1).id("x"),
        ask("hits", 1).id("x"),
        ask("calls", 1).of("other").id("x"),
        ask("calls", 1).and("hits", 1).id("x"),
        ask("calls", 1).id("x").by_header(),
    ];
    let tells = [tell("calls", 1, "x"), tell("calls", 1, "x").from("/elsewhere"), tell("calls", 1, "x").of("other")];
    for fresh in [true, false, false] {
        for ask in &asks {
            assert_eq!(kit.decide(ask).unwrap().replayed, !fresh, "{ask:?}");
        }
        for tell in &tells {
            assert_eq!(kit.records(tell), fresh, "{tell:?}");
        }
        kit.reopen();
    }
    assert_eq!(kit.used("acme", "calls", Window::Lifetime), 5);
    assert_eq!(kit.used("other", "calls", Window::Lifetime), 2);
    kit.check().unwrap();
}

#[test]
fn an_event_counts_once_in_a_batch_later_and_after_a_restart() {
    let mut kit = Kit::new();
    let event = tell("tokens", 7, "e");
    let answers = kit.in_one_batch((0..3).map(|_| Request::from(&event)).collect());
    let duplicates = [false, true, true].map(|duplicate| Ok(Receipt::Recorded { duplicate }));
    assert_eq!(answers, duplicates);
    assert!(kit.each_alone(vec![&event; 50]).iter().all(|answer| *answer == duplicates[1]));
    kit.reopen();
    assert!(!kit.records(&event));
    assert!(!kit.records(&tell("tokens", 8, "e")), "the id decides, not the quantity");
    assert_eq!((kit.used("acme", "tokens", Window::Lifetime), kit.reported("acme", "tokens").count), (7, 1));
}

#[test]
fn ids_are_forgotten_when_their_time_is_up_and_not_before() {
    let mut kit = Kit::new();
    let (small, large) = (ask("calls", 3).id("small"), ask("calls", 30).id("large"));
    let event = tell("tokens", 1, "e");
    let first = kit.now();
    assert!(kit.allows(&small) && !kit.allows(&large) && kit.records(&event));
    // A repetition does not keep the id for longer; a new use of it does.
    for (after, small_known, large_known) in [
        (23 * HOUR, true, true),
        (24 * HOUR + MINUTE, true, false),
        (35 * DAY - HOUR, true, false),
        (35 * DAY + HOUR, false, true),
    ] {
        kit.reopen_at(first.plus(after));
        assert_eq!(kit.decide(&small).unwrap().replayed, small_known, "allowed, after {} h", after / HOUR);
        assert_eq!(kit.decide(&large).unwrap().replayed, large_known, "refused, after {} h", after / HOUR);
        assert_eq!(kit.records(&event), !small_known, "an event, after {} h", after / HOUR);
    }
    kit.reopen();
    assert!(kit.decide(&small).unwrap().replayed, "of two uses of an id the later is known after a restart");
    kit.check().unwrap();
}

#[test]
fn a_repetition_gets_its_answer_though_everything_else_has_changed() {
    let mut kit = Kit::new();
    let ask = ask("calls", 3).id("a");
    let first = kit.decide(&ask).unwrap();
    kit.made(&make(Command::Lock { cause: metergate_rules::account::LockCause::Operator, reason: None }));
    kit.made(&make(Command::extra(meter("calls"), quantity(5))));
    for _ in 0..2 {
        let again = kit.decide(&ask).unwrap();
        assert_eq!((told(&again), again.replayed), (told(&first), true));
        kit.reopen();
    }
}

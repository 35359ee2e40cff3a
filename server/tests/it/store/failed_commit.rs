//! A commit that fails has not happened: not its changes, not its ids, not what was decided on top of them.

use std::collections::BTreeMap;

use metergate::catalogue::change::TeamCommand;
use metergate::catalogue::spec::MeterSpec;
use metergate::store::{Request, StoreError};
use metergate_rules::command::Command;
use metergate_rules::id::MeterKey;
use metergate_rules::window::Window;

use super::asks::{ask, create, make, meter, quantity, tell};
use super::kit::{Kit, allowed};
use super::random_work::{Random, work};

/// Commits fail while this lives.
struct Failing;

impl Failing {
    fn commits() -> Self {
        fail::cfg("commit-fails", "return").unwrap();
        Self
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        fail::remove("commit-fails");
    }
}

fn requests() -> Vec<Request> {
    vec![
        (&ask("calls", 4).id("decision")).into(),
        (&ask("calls", 1).and("tokens", 1).id("together")).into(),
        (&ask("calls", 2)).into(),
        (&tell("tokens", 5, "event")).into(),
        (&make(Command::extra(meter("calls"), quantity(3))).under("change")).into(),
        (&create("newcomer").under("creation")).into(),
        (&ask("calls", 1).of("newcomer").id("first")).into(),
    ]
}

#[test]
fn nothing_of_a_failed_commit_is_there_and_its_retry_counts_once() {
    for restart in [false, true] {
        let mut kit = Kit::alone();
        let (account, audit, journal) = (kit.account("acme"), kit.audit("acme"), kit.journal().records.len());
        let failing = Failing::commits();
        for _ in 0..3 {
            assert_eq!(kit.at_once(vec![requests()]), [Err(StoreError::Unavailable)]);
            for answer in kit.each_alone(requests()).iter().take(6) {
                assert_eq!(*answer, Err(StoreError::Unavailable));
            }
        }
        drop(failing);
        assert_eq!(kit.account("acme"), account);
        assert_eq!((kit.audit("acme"), kit.journal().records.len()), (audit, journal));
        assert!(!kit.exists("newcomer"));
        if restart {
            kit.reopen();
        }
        for round in 0..3 {
            let answers = kit.in_one_batch(requests());
            assert!(answers.iter().all(Result::is_ok), "round {round}: {answers:?}");
            let expected = 4 + 1 + 2 * (round + 1);
            assert_eq!(kit.used("acme", "calls", Window::Lifetime), expected.min(13), "round {round}");
            assert_eq!(kit.used("acme", "tokens", Window::Lifetime), 6, "round {round}");
            assert_eq!(kit.used("newcomer", "calls", Window::Lifetime), 1, "round {round}");
        }
        assert_eq!([kit.audit("acme").len(), kit.audit("newcomer").len()], [2, 1]);
        kit.check().unwrap();
    }
}

#[test]
fn the_durable_image_stays_so_that_a_limit_is_neither_passed_nor_lost() {
    let kit = Kit::alone();
    assert!(kit.allows(&ask("calls", 4)));
    let failing = Failing::commits();
    for _ in 0..20 {
        assert_eq!(kit.send(&ask("calls", 3)), Err(StoreError::Unavailable));
    }
    drop(failing);
    let answers = kit.each_alone(vec![&ask("calls", 1); 20]);
    assert_eq!(allowed(&answers), 6);
    kit.check().unwrap();
}

#[test]
fn a_catalogue_that_could_not_be_written_is_not_in_force() {
    let mut kit = Kit::alone();
    let spec: MeterSpec = serde_json::from_str(r#"{"aggregation": "sum"}"#).unwrap();
    let put = || TeamCommand::PutMeter(MeterKey::new("new").unwrap(), spec.clone());
    let failing = Failing::commits();
    assert_eq!(kit.change_team(put()), Err(StoreError::Unavailable));
    drop(failing);
    kit.apply_catalogue().unwrap();
    kit.reopen();
    kit.apply_catalogue().unwrap();
    kit.change_team(put()).unwrap();
    kit.check().unwrap();
}

#[test]
fn a_mixture_of_failed_and_good_commits_counts_what_was_acknowledged() {
    let mut random = Random::new("a_mixture_of_failed_and_good_commits_counts_what_was_acknowledged");
    let mut kit = Kit::alone();
    work(&mut kit, &mut random, 20);
    kit.made(&create("counted"));
    let (mut acknowledged, mut unknown) = (BTreeMap::new(), Vec::new());
    for round in 0..60 {
        let failing = (random.below(2) == 0).then(Failing::commits);
        let asks: Vec<_> = (0..10).map(|i| ask("hits", 1).of("counted").id(&format!("{round}-{i}"))).collect();
        for (ask, answer) in asks.iter().zip(kit.each_alone(asks.iter())) {
            match answer {
                Ok(_) => drop(acknowledged.insert(ask.id.clone(), ())),
                Err(StoreError::Unavailable) => unknown.push(ask.clone()),
                Err(error) => panic!("{error}"),
            }
        }
        drop(failing);
        let seen = usize::try_from(kit.used("counted", "hits", Window::Lifetime)).unwrap();
        assert_eq!(seen, acknowledged.len(), "round {round}");
        if random.below(10) == 0 {
            kit.reopen();
        }
    }
    assert!(acknowledged.len() > 50 && unknown.len() > 50, "both happened");
    kit.each_alone(unknown.iter()).into_iter().for_each(|answer| drop(answer.unwrap()));
    assert_eq!(kit.used("counted", "hits", Window::Lifetime), 600);
    kit.check().unwrap();
}

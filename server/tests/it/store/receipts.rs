//! Changes under an idempotency key: made once, answered alike.

use metergate::store::{Request, StoreError};
use metergate_rules::command::{Command, NewGrant, ProfileChange};
use metergate_rules::id::OrganizationKey;
use metergate_rules::time::DAY;

use super::asks::{ask, create, make, meter, quantity};
use super::kit::{Kit, start};

fn grant(units: i64) -> Command {
    Command::Grant(NewGrant {
        meter: meter("calls"),
        amount: quantity(units),
        priority: 0,
        starts_at: None,
        expires_at: None,
        reason: String::new(),
    })
}

fn rename_key(key: &str) -> Command {
    Command::Update(ProfileChange { key: Some(OrganizationKey::new(key).unwrap()), ..ProfileChange::default() })
}

#[test]
fn a_change_under_a_key_is_made_once_and_answered_alike() {
    let mut kit = Kit::new();
    let grant = make(grant(5)).under("k");
    let answers = kit.in_one_batch((0..4).map(|_| Request::from(&grant)).collect());
    assert!(answers.iter().all(Result::is_ok), "in one batch");
    let first = kit.made(&grant);
    assert_eq!(first, ("2 grant 1".to_owned(), true));
    assert!(kit.each_alone(vec![&grant; 30]).iter().all(Result::is_ok), "at once");
    kit.made(&make(Command::extra(meter("calls"), quantity(1))));
    kit.reopen();
    assert_eq!(kit.made(&grant), first, "after a restart, though the organization has changed since");
    assert_eq!(kit.account("acme").grants.len(), 1);
    kit.check().unwrap();
}

#[test]
fn another_body_under_a_key_is_a_mismatch() {
    let mut kit = Kit::new();
    kit.made(&make(grant(5)).under("k"));
    for _ in 0..2 {
        assert_eq!(kit.send(&make(grant(6)).under("k")), Err(StoreError::Mismatch));
        kit.reopen();
    }
    assert_eq!(kit.account("acme").grants.len(), 1);
}

#[test]
fn keys_of_another_route_or_organization_are_apart() {
    let kit = Kit::new();
    kit.made(&create("other").under("k"));
    let changes =
        [make(grant(5)).under("k"), make(grant(5)).on("POST /grants", "k"), make(grant(5)).of("other").under("k")];
    for change in &changes {
        assert!(!kit.made(change).1, "{change:?}");
    }
    assert!(kit.made(&create("other").under("k")).1);
    assert_eq!([kit.account("acme").grants.len(), kit.account("other").grants.len()], [2, 1]);
    assert!(!kit.allows(&ask("calls", 100).id("k")), "the ids of decisions are apart from them");
}

#[test]
fn a_change_that_was_refused_keeps_no_key() {
    let kit = Kit::new();
    assert!(matches!(kit.send(&make(grant(0)).under("k")), Err(StoreError::Problem(_))));
    assert!(!kit.made(&make(grant(5)).under("k")).1, "the key is free for what makes sense");
}

#[test]
fn a_change_that_is_made_only_of_a_version_is_made_of_no_other() {
    let kit = Kit::new();
    let changes = kit.account("acme").changes;
    assert_eq!(kit.send(&make(grant(5)).only_if(changes + 1)), Err(StoreError::Changed));
    kit.made(&make(grant(5)).only_if(changes));
    assert_eq!(kit.send(&make(grant(5)).only_if(changes)), Err(StoreError::Changed));
    assert_eq!(kit.account("acme").grants.len(), 1);
}

#[test]
fn a_key_that_an_organization_leaves_can_be_taken_in_the_same_batch() {
    // Several times, since the order of the rows is not that of the requests.
    for _ in 0..8 {
        let mut kit = Kit::new();
        let rename = make(rename_key("renamed"));
        let requests: Vec<Request> = vec![(&rename).into(), (&create("acme")).into(), (&ask("calls", 1)).into()];
        assert!(kit.in_one_batch(requests).iter().all(Result::is_ok));
        kit.reopen();
        assert_eq!(kit.account("renamed").meters.len(), 0, "the use is the new organization's");
        assert_eq!(kit.account("acme").meters.len(), 1);
        kit.check().unwrap();
    }
}

#[test]
fn a_key_that_is_taken_is_refused() {
    let kit = Kit::new();
    kit.made(&create("other"));
    assert_eq!(kit.send(&create("acme")), Err(StoreError::OrganizationKeyTaken));
    assert_eq!(kit.send(&make(rename_key("other"))), Err(StoreError::OrganizationKeyTaken));
    let answers = kit.each_alone(vec![&create("third"); 20]);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    kit.check().unwrap();
}

#[test]
fn answers_go_once_they_are_not_given_again() {
    let mut kit = Kit::new();
    kit.made(&make(grant(5)).under("old"));
    kit.reopen_at(start().plus(20 * DAY));
    kit.made(&make(grant(5)).under("new"));
    kit.reopen_at(start().plus(34 * DAY));
    assert!(kit.made(&make(grant(5)).under("old")).1, "as long as ids are kept it is known");
    kit.reopen_at(start().plus(36 * DAY));
    kit.wait_until("the older one is gone", |kit| kit.count("receipts") == 1);
    assert!(!kit.made(&make(grant(5)).under("old")).1 && kit.made(&make(grant(5)).under("new")).1);
}

//! Rollups that the row of an account carries: whoever reads them has them, whichever node wrote them, and they come into the
//! rows once they are more than it may carry.

use metergate::store::{Pace, Request};
use metergate_rules::time::MINUTE;

use super::asks::{ask, tell};
use super::kit::{Kit, allowed};
use super::nodes::each_on;

/// Quarter hours of use, each once.
fn quarters(kit: &Kit, numbers: std::ops::Range<i64>) -> Vec<Request> {
    let time = |number: i64| kit.now().plus(-number * 15 * MINUTE);
    numbers.map(|number| Request::from(&tell("hits", 1, &format!("q{number}")).at(time(number)))).collect()
}

#[test]
fn what_an_account_carries_is_reported_whichever_node_wrote_it_and_after_a_start() {
    let mut kit = Kit::new();
    let another = kit.another();
    let nodes = [kit.open(), &another];
    let asks: Vec<_> = (0..40).map(|number| ask("hits", 1).id(&format!("d{number}"))).collect();
    assert_eq!(allowed(&each_on(&kit, &nodes, &asks)), 40);
    assert_eq!(kit.count("rollups"), 0, "the account carries all of it");
    let told = kit.reported("acme", "hits");
    assert_eq!(told.count, 40);
    kit.check().unwrap();
    drop(another);
    kit.reopen();
    assert_eq!(kit.reported("acme", "hits"), told);
    assert!(kit.allows(&ask("hits", 1)));
    assert_eq!(kit.reported("acme", "hits").count, 41);
    kit.check().unwrap();
}

#[test]
fn more_than_it_may_carry_comes_into_the_rows_with_all_of_before() {
    let kit = Kit::new();
    let (mut told, mut rows) = (0, Vec::new());
    for part in 0..10 {
        let events = quarters(&kit, part * 10..part * 10 + 10);
        assert!(kit.in_one_batch(events).iter().all(Result::is_ok));
        told += 10;
        assert_eq!(kit.reported("acme", "hits").count, told, "after part {part}");
        rows.push(kit.count("rollups"));
    }
    assert!(rows[0] == 0 && rows[9] > 0, "{rows:?}");
    assert_eq!(kit.aggregate().wrong, 0);
    kit.check().unwrap();
}

#[test]
fn rows_made_again_have_what_was_carried_once() {
    let mut kit = Kit::with_rows(Pace::Accounts(1));
    assert!(kit.in_one_batch(quarters(&kit, 0..10)).iter().all(Result::is_ok));
    kit.set_pace(Pace::Tenth);
    kit.reopen();
    assert!(kit.in_one_batch(quarters(&kit, 10..20)).iter().all(Result::is_ok));
    assert!(kit.allows(&ask("tokens", 3)));
    let whole = kit.rollups();
    kit.sql("DELETE FROM rollups");
    assert!(kit.aggregate().rebuilt > 0);
    assert_eq!(kit.rollups(), whole);
    assert_eq!((kit.reported("acme", "hits").count, kit.reported("acme", "tokens").sum), (20, 3));
    assert!(kit.in_one_batch(quarters(&kit, 20..30)).iter().all(Result::is_ok));
    assert_eq!(kit.reported("acme", "hits").count, 30);
    kit.check().unwrap();
}

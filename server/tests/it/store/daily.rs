//! Rollups compared with the records once a day, by themselves: what is wrong is made right, what is right is left, and nobody
//! begins anew what was done.

use std::collections::BTreeMap;

use metergate::aggregate::{Aggregated, Pace};
use metergate::store::Job;
use metergate::store::remade::Step;
use metergate::store::rollup::{Day, RollupKey, day_of};
use metergate::sweep::{Daily, Shift};
use metergate_rules::time::{DAY, HOUR, MINUTE};

use super::ENGINE;
use super::aggregate::{AT_ONCE, is_at, rollups, write, wrong};
use super::asks::{create, meter, tell};
use super::engine::Engine;
use super::kit::{Kit, LONG, blob, closed};
use super::random_work::{Random, work};

/// A block at a time.
const DAILY: Daily = Daily { every: DAY, keep_records: 90 * DAY, pace: Pace { micros: 0, rests: 0 }, shift: MINUTE };

fn shift(kit: &Kit, daily: Daily) -> Shift {
    kit.compare_on(kit.open(), daily)
}

/// A pass to its end.
fn passed(kit: &Kit) -> Aggregated {
    match shift(kit, DAILY) {
        Shift::Ended(done, 0) => done,
        other => panic!("{other:?}"),
    }
}

/// Use of today and of two days before, each event in a block of its own.
fn used(kit: &Kit) -> BTreeMap<RollupKey, Day> {
    for day in 0..3 {
        let time = kit.now().plus(-day * DAY);
        for number in 1..5 {
            let id = format!("e{day}-{number}");
            assert!(kit.records(&tell("tokens", number, &id).at(time)));
            assert!(kit.records(&tell("hits", number, &id).from("/hits").at(time)));
        }
    }
    kit.rows_are_written();
    rollups(kit)
}

/// The rows of a meter so many days ago.
fn of_day(kit: &Kit, rows: &BTreeMap<RollupKey, Day>, name: &str, ago: i32) -> Vec<RollupKey> {
    let (meter, day) = (meter(name), day_of(kit.now()) - ago);
    let found: Vec<_> = rows.keys().filter(|key| (key.meter, key.day) == (meter, day)).cloned().collect();
    assert!(!found.is_empty(), "there is use of {name} {ago} days ago");
    found
}

/// Goes on a day later.
fn next_day(kit: &mut Kit) {
    kit.reopen_at(kit.now().plus(DAY + HOUR));
}

#[test]
fn wrong_rows_are_made_right_without_a_call_and_the_next_pass_changes_nothing() {
    let mut kit = Kit::with_rows(AT_ONCE);
    let before = used(&kit);
    let done = passed(&kit);
    assert_eq!((done.organizations, done.wrong, done.rebuilt), (1, 0, 0), "what is right is left");
    next_day(&mut kit);
    let at = |name: &str, ago: i32| of_day(&kit, &before, name, ago);
    // What was today is yesterday now.
    write(&kit, &at("tokens", 1)[0], &wrong());
    kit.sql(&format!("DELETE FROM rollups WHERE {}", is_at(&at("tokens", 2)[1])));
    write(&kit, &RollupKey { dimensions: r#"{"model":"never"}"#.to_owned(), ..at("tokens", 3)[0].clone() }, &wrong());
    let mut wrong_days = 3;
    if ENGINE == Engine::Embedded {
        let totals = format!("day_totals WHERE meter = {}", meter("hits").0);
        kit.sql(&format!("DELETE FROM {totals}"));
        wrong_days += 3;
    }
    let done = passed(&kit);
    assert_eq!((done.wrong, done.rebuilt), (wrong_days, 9), "all sets of a day are written together");
    assert!(rollups(&kit) == before, "every row is what it was");
    kit.check().unwrap();
    next_day(&mut kit);
    let done = passed(&kit);
    assert_eq!((done.wrong, done.rebuilt, done.kept), (0, 0, 0));
    assert!(rollups(&kit) == before, "the second pass changes nothing");
    kit.check().unwrap();
}

#[test]
fn a_day_that_is_not_over_is_looked_at_on_the_next() {
    let mut kit = Kit::with_rows(AT_ONCE);
    let before = used(&kit);
    let today = of_day(&kit, &before, "hits", 0).remove(0);
    write(&kit, &today, &wrong());
    assert_eq!(passed(&kit).wrong, 0);
    assert_eq!(rollups(&kit)[&today], wrong());
    next_day(&mut kit);
    assert_eq!(passed(&kit).wrong, 1);
    assert!(rollups(&kit) == before);
}

#[test]
fn whatever_happens_to_organizations_nothing_of_it_is_taken_for_wrong() {
    let mut random = Random::new("whatever_happens_to_organizations_nothing_of_it_is_taken_for_wrong");
    let mut kit = Kit::with_slices(40, LONG);
    for _ in 0..3 {
        work(&mut kit, &mut random, 60);
        next_day(&mut kit);
        assert_eq!(passed(&kit).wrong, 0);
        kit.wait_until("all rows are right", |kit| {
            let done = kit.aggregate();
            assert_eq!((done.wrong, done.rebuilt), (0, 0), "of all days, also where rows were behind");
            done.rows == rollups(kit).len() as u64
        });
    }
}

/// A store of which records have gone, with its rows.
fn without_records(kit: &mut Kit) -> BTreeMap<RollupKey, Day> {
    let before = used(kit);
    closed(kit, 2);
    kit.reopen_at(kit.now().plus(60 * DAY));
    kit.wait_until("records have gone", |kit| {
        let done = kit.aggregate();
        assert_eq!((done.wrong, done.rebuilt), (0, 0), "what is left makes no row wrong");
        done.kept > 0
    });
    before
}

#[test]
fn what_can_no_longer_be_made_again_whole_is_left_as_it_is() {
    let mut kit = Kit::with_slices(5, 40);
    kit.set_pace(AT_ONCE);
    kit.reopen();
    let mut before = without_records(&mut kit);
    assert!(rollups(&kit) == before, "no row went with its records");
    assert!(kit.records(&tell("hits", 1, "new")));
    kit.rows_are_written();
    let oldest = before.keys().min_by_key(|key| key.day).unwrap().clone();
    write(&kit, &oldest, &wrong());
    before.insert(oldest, wrong());
    next_day(&mut kit);
    let Shift::Ended(done, 0) = shift(&kit, Daily { keep_records: 3650 * DAY, ..DAILY }) else { panic!("it ends") };
    assert!(done.rebuilt == 0 && done.kept > 0, "{done:?}");
    let mut after = rollups(&kit);
    after.retain(|key, _| before.contains_key(key));
    assert!(after == before, "also where it is wrong: nobody can say what it was");
}

#[test]
fn where_records_go_before_they_are_read_it_begins_anew() {
    let mut kit = Kit::with_slices(5, 40);
    let id = kit.account("acme").id;
    let compare =
        |kit: &Kit, so_far| kit.read(move |view, _| view.compare(id, &(i32::MIN..=i32::MAX), so_far, 0)).unwrap();
    let Step::More(Some(begun)) = compare(&kit, None) else { panic!("a block is read at a time") };
    without_records(&mut kit);
    assert!(matches!(compare(&kit, Some(begun)), Step::More(None)), "what has gone between is missed");
}

#[test]
fn a_pass_goes_on_where_it_was_and_one_that_has_ended_is_not_done_again() {
    let mut kit = Kit::new();
    ["b", "c"].into_iter().for_each(|key| drop(kit.made(&create(key))));
    let one = Daily { shift: 0, ..DAILY };
    for _ in 0..3 {
        assert_eq!(shift(&kit, one), Shift::GoesOn);
        kit.reopen();
    }
    let Shift::Ended(done, 0) = shift(&kit, one) else { panic!("all are done") };
    assert_eq!(done.organizations, 3, "each once");
    let ended = kit.now();
    kit.reopen_at(ended.plus(HOUR));
    let Shift::Rests(until) = shift(&kit, one) else { panic!("it is not due") };
    assert!(until <= ended.plus(DAY) && until > ended.plus(DAY - HOUR), "{until}");
    kit.reopen_at(ended.plus(DAY));
    assert_eq!(shift(&kit, one), Shift::GoesOn);
}

#[test]
fn one_node_does_it_at_a_time() {
    let kit = Kit::new();
    if ENGINE == Engine::Embedded {
        return;
    }
    let another = kit.another();
    let turn = kit.runtime.block_on(kit.open().store.turn(Job::Rollups)).unwrap();
    assert_eq!(kit.compare_on(&another, DAILY), Shift::Elsewhere);
    let sweeps = kit.runtime.block_on(another.store.turn(Job::Sweep)).unwrap();
    assert!(turn.is_some() && sweeps.is_some(), "what falls due does not wait for it");
    drop(turn);
    assert!(matches!(kit.compare_on(&another, DAILY), Shift::Ended(..)));
    assert!(matches!(shift(&kit, DAILY), Shift::Rests(_)), "what one has done no other does again");
}

#[test]
fn an_organization_that_cannot_be_read_holds_up_no_other() {
    let kit = Kit::new();
    kit.made(&create("damaged"));
    let id = kit.account("damaged").id;
    kit.wait_until("the rows are at the journal", |kit| kit.count("accounts") == 2);
    kit.tamper("accounts", &format!("data = {}", blob(&[0; 9])), id, "");
    let Shift::Ended(done, failed) = shift(&kit, DAILY) else { panic!("it ends") };
    assert_eq!((done.organizations, failed), (2, 1), "both were gone through");
}

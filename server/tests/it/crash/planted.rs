//! The tests of the tests: with a bug planted the check of its invariant must turn red.

use super::history::{Act, Operation, Told};
use super::lives;
use super::process::{Faults, Server};
use super::run::Run;
use super::storm::storm;
use crate::invariant::{Held, clock, conservation, reservation, stored};
use metergate::store::sqlite::Sqlite;

/// A server with a bug.
pub(super) fn with_bug(run: &Run, bug: &'static str, fail_points: &str) -> Server {
    run.start(&Faults { fail_points: fail_points.to_owned(), planted: Some(bug) })
}

#[track_caller]
pub(super) fn is_red(held: Held, invariant: &str, detail: &str) {
    let violation = held.expect_err("the planted bug was not seen");
    assert_eq!(violation.invariant, invariant, "{violation}");
    assert!(violation.detail.contains(detail), "{violation}");
}

/// One caller asks for these, one after the other, and notes the answers.
pub(super) fn ask(run: &Run, server: &Server, operations: impl IntoIterator<Item = Operation>) {
    let mut client = server.client();
    for operation in operations {
        run.ask(&mut client, operation).expect("the server answers");
    }
}

pub(super) fn consume(id: &str, meter: &'static str, quantity: i64) -> Operation {
    let act = Act::Consume { meter, quantity };
    Operation { organization: "acme".to_owned(), act, id: Some(id.to_owned()), answers: Vec::new() }
}

pub(super) fn events(id: &str) -> Operation {
    let told = |i| Told { id: format!("{id}-{i}"), quantity: 2, time: None };
    let act = Act::Events { meter: "calls", events: (0..3).map(told).collect() };
    Operation { organization: "acme".to_owned(), act, id: None, answers: Vec::new() }
}

#[test]
fn durable_ack_sees_answers_that_leave_before_they_are_durable() {
    let run = Run::new("durable_ack_sees_answers_that_leave_before_they_are_durable");
    let server = run.start(&Faults::default());
    ask(&run, &server, [consume("a", "calls", 1)]);
    server.kill();
    // The commit waits, the answer does not: whoever has it can kill the server before it is durable.
    let server = with_bug(&run, "answer-before-fsync", "answered-early=sleep(20000)");
    ask(&run, &server, [consume("b", "calls", 5)]);
    server.kill();
    let server = run.start(&Faults::default());
    let detail = "calls of acme: acknowledged 6, counted 1, attempted 6";
    is_red(run.check(&run.read(&server)), "durable_ack", detail);
}

#[test]
fn hard_limit_sees_a_check_that_is_apart_from_its_increment() {
    let run = Run::new("hard_limit_sees_a_check_that_is_apart_from_its_increment");
    let server = with_bug(&run, "check-then-increment", "");
    is_red(storm(&run, &server), "hard_limit", "tight of storm: told ");
}

#[test]
fn refusal_is_final_sees_refusals_that_are_not_recorded() {
    let run = Run::new("refusal_is_final_sees_refusals_that_are_not_recorded");
    let server = with_bug(&run, "refusal-not-recorded", "");
    ask(&run, &server, [consume("a", "tight", 20), consume("b", "tight", 20)]);
    is_red(run.lift(&server), "refusal_is_final", r#"id: Some("b")"#);
}

/// Two servers, one after the other, count on the rows that the first left behind the journal.
fn over_two_servers(run: &Run, bug: &'static str) -> Server {
    let server = with_bug(run, bug, "");
    let asks = |name: &'static str| (0..40).map(move |i| consume(&format!("{name}-{i}"), "calls", 1));
    ask(run, &server, asks("first"));
    server.kill();
    let server = with_bug(run, bug, "");
    ask(run, &server, asks("second"));
    server
}

#[test]
fn durable_ack_sees_an_account_that_is_loaded_from_a_row_behind_the_journal() {
    let run = Run::new("durable_ack_sees_an_account_that_is_loaded_from_a_row_behind_the_journal");
    let server = over_two_servers(&run, "reload-behind-row");
    let held = run.check(&run.read(&server));
    is_red(held, "durable_ack", "calls of acme: acknowledged 80, counted ");
}

#[test]
fn conservation_sees_rows_that_are_not_written_with_their_account() {
    let run = Run::new("conservation_sees_rows_that_are_not_written_with_their_account");
    over_two_servers(&run, "derived-left-behind").stop();
    is_red(conservation(&run.data()), "conservation", "rollup");
}

#[test]
fn durable_ack_sees_ids_that_a_failed_commit_has_left_behind() {
    let run = Run::new("durable_ack_sees_ids_that_a_failed_commit_has_left_behind");
    for (bug, counted) in [(None, 12), (Some("failed-ids-kept"), 6)] {
        let fail_points = "commit-fails=1*off->1*return->off".to_owned();
        let server = run.start(&Faults { fail_points, planted: bug });
        let (first, second) = (format!("{bug:?}-first"), format!("{bug:?}-second"));
        ask(&run, &server, [events(&first), events(&second)]);
        assert!(run.history.get(run.history.len() - 1).is_unknown(), "its commit failed");
        run.repeat(&server, Operation::is_unknown);
        let held = run.check(&run.read(&server));
        match bug {
            None => held.unwrap_or_else(|violation| panic!("{violation}")),
            Some(_) => is_red(held, "durable_ack", &format!("acknowledged 24, counted {}", 12 + counted)),
        }
        server.kill();
    }
}

fn of_acme(id: &str, act: Act) -> Operation {
    Operation { organization: "acme".to_owned(), act, id: Some(id.to_owned()), answers: Vec::new() }
}

#[test]
fn reservation_sees_one_that_goes_on_after_its_commit() {
    for bug in [None, Some("reservation-outlives-commit")] {
        let run = Run::new("reservation_sees_one_that_goes_on_after_its_commit");
        let server = run.start(&Faults { planted: bug, ..Faults::default() });
        ask(&run, &server, [of_acme("r", Act::Reserve { meter: "booked", quantity: 5, seconds: 600 })]);
        let made = run.history.get(0).reservation().expect("it holds");
        let commit = |id| of_acme(id, Act::Commit { meter: "booked", reservation: made.clone(), quantity: 4 });
        ask(&run, &server, [commit("a"), commit("b"), of_acme("c", Act::Release { reservation: made.clone() })]);
        let told = lives::agree(&server, &run.history.all());
        server.stop();
        match bug {
            None => told.and_then(|()| stored(&run.data())).unwrap_or_else(|violation| panic!("{violation}")),
            Some(_) => {
                is_red(told, "reservation", "was ended more than once");
                is_red(reservation(&run.data()), "reservation", "1 is committed though it does not hold");
            }
        }
    }
}

#[test]
fn clock_sees_what_takes_effect_when_somebody_looks() {
    for bug in [None, Some("late-effects")] {
        let run = Run::new("clock_sees_what_takes_effect_when_somebody_looks");
        let server = run.start(&Faults { planted: bug, ..Faults::default() });
        ask(&run, &server, [of_acme("r", Act::Reserve { meter: "booked", quantity: 5, seconds: 1 })]);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        ask(&run, &server, [consume("a", "booked", 1)]);
        server.stop();
        match bug {
            None => stored(&run.data()).unwrap_or_else(|violation| panic!("{violation}")),
            Some(_) => is_red(clock(&run.data()), "clock", "it took effect at another time than its own"),
        }
    }
}

#[test]
fn clock_sees_time_that_runs_back() {
    let run = Run::new("clock_sees_time_that_runs_back");
    let server = with_bug(&run, "clock-runs-back", "");
    ask(&run, &server, (0..4).map(|i| consume(&format!("c{i}"), "calls", 1)));
    server.stop();
    is_red(clock(&run.data()), "clock", "a commit lies before the one before it");
}

/// No bug: a hash proves nothing, so it may be as bad as it likes.
#[test]
fn ids_whose_hashes_collide_all_count_once() {
    let mut run = Run::new("ids_whose_hashes_collide_all_count_once");
    for _ in 0..2 {
        let server = with_bug(&run, "ids-collide", "");
        run.work(server, 200, Server::kill);
    }
    let server = with_bug(&run, "ids-collide", "");
    run.repeat(&server, |_| true);
    run.check(&run.read(&server)).unwrap_or_else(|violation| panic!("{violation}"));
    server.kill();
    assert!(Sqlite::open_to_read(&run.data()).unwrap().slice_ids().unwrap().len() > 2, "ids are in files");
    conservation(&run.data()).unwrap_or_else(|violation| panic!("{violation}"));
}

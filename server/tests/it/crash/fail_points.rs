//! `kill -9` at each point of a commit and of a start.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::http::Call;
use super::process::{Faults, Server, was_killed};
use super::random_kills::throw_away_rows;
use super::run::Run;
use crate::invariant::{stored, told};
use metergate::store::sqlite::Sqlite;
use serde_json::json;

/// Only a server with the bug `answer-before-fsync` comes by; `planted` sees to it.
const ONLY_PLANTED: &str = "answered-early";
/// Answers after which a point must have been reached.
const MOST: usize = 3000;

/// Every `dies_at!("…")` in the sources, so that a new one is tried without a word here.
pub(super) fn points() -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    collect(Path::new("src"), &mut points);
    assert!(points.remove(ONLY_PLANTED) && points.len() >= 10, "only {points:?} were found");
    points
}

fn collect(folder: &Path, points: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), points);
        } else {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let found = text.split("dies_at!(\"").skip(1).filter_map(|rest| rest.split_once('"'));
            points.extend(found.map(|(name, _)| name.to_owned()));
        }
    }
}

/// After each: what is on disk holds, and what the next server says.
fn check(run: &Run, point: &str) {
    let held = stored(&run.data()).and_then(|()| {
        let server = run.start(&Faults::default());
        let held = run.check(&run.read(&server));
        server.kill();
        held
    });
    held.unwrap_or_else(|violation| panic!("after {point}: {violation}"));
}

/// A server that dies at a point once so many have passed it.
///
/// What a start finds behind the journal, or due, it writes within milliseconds, whether or not anybody has asked: on a busy
/// machine it dies of that before it answers. That is a kill like the others; another is started when a healthy one has
/// written what there was.
fn dying(run: &Run, point: &str, passes: usize) -> Server {
    let faults = Faults { fail_points: format!("{point}={passes}*off->return"), planted: None };
    for _ in 0..50 {
        match Server::start(run.folder(), &faults) {
            Ok(server) => return server,
            Err(status) => assert!(was_killed(status), "at {point} it died of {status}"),
        }
        check(run, point);
        run.start(&Faults::default()).stop();
    }
    panic!("no server comes by {point} alive")
}

#[test]
fn a_server_killed_at_each_point_of_a_commit_loses_and_doubles_nothing() {
    let mut run = Run::new("a_server_killed_at_each_point_of_a_commit_loses_and_doubles_nothing");
    for point in points().iter().filter(|point| point.starts_with("commit-") || point.starts_with("checkpoint-")) {
        // A checkpoint comes once in hundreds of commits.
        let passes: &[usize] = if point.starts_with("checkpoint-") { &[0] } else { &[0, 5, 30] };
        let mut answers = 0;
        for &passes in passes {
            let server = dying(&run, point, passes);
            answers += run.work(server, MOST, |server| {
                let status = server.died_by_itself();
                assert!(status.is_some_and(was_killed), "{point} was not reached");
            });
            check(&run, point);
        }
        assert!(answers > 0, "{point} always came before anybody was answered");
    }
    let reached = run.finish().unwrap_or_else(|violation| panic!("{violation}"));
    assert!(reached.crash_between_append_and_answer > 0 && reached.unknown > 0, "{reached:?}");
}

#[test]
fn a_message_is_there_exactly_when_its_entry_is_wherever_a_commit_is_killed() {
    let test = "a_message_is_there_exactly_when_its_entry_is_wherever_a_commit_is_killed";
    let mut run = Run::to_prepare(test, tempfile::tempdir().unwrap(), None);
    fs::create_dir(run.data()).unwrap();
    let server = run.start(&Faults::default());
    // Nobody is there. It wants everything, before there is anything.
    let endpoint = Call::json("POST", "/v1/webhook-endpoints", json!({"url": "https://nobody.invalid/hook"}));
    assert_eq!(server.client().call(&endpoint).unwrap().status, 201);
    run.prepare(&server);
    server.kill();
    let (mut answers, mut messages) = (0, 0);
    for point in points().iter().filter(|point| point.starts_with("commit-")) {
        for passes in [0, 50] {
            let server = dying(&run, point, passes);
            answers += run.work(server, MOST, |server| {
                assert!(server.died_by_itself().is_some_and(was_killed), "{point} was not reached");
            });
            messages = told(&run.data()).unwrap_or_else(|violation| panic!("after {point}: {violation}"));
        }
    }
    assert!(answers > 100 && messages > 5, "{answers} answers, {messages} messages");
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
    told(&run.data()).unwrap_or_else(|violation| panic!("at the end: {violation}"));
}

#[test]
fn a_server_killed_at_each_step_of_a_slice_loses_and_doubles_nothing() {
    let mut run = Run::new("a_server_killed_at_each_step_of_a_slice_loses_and_doubles_nothing");
    // So that there are files to be merged.
    let server = run.start(&Faults::default());
    run.work(server, MOST, Server::kill);
    for point in points().iter().filter(|point| point.starts_with("slice-")) {
        for passes in [0, 4] {
            let faults = Faults { fail_points: format!("{point}={passes}*off->return"), planted: None };
            // A slice that is full at the start closes at once, maybe before anybody is answered.
            match Server::start(run.folder(), &faults) {
                Ok(server) => drop(run.work(server, MOST, |server| {
                    assert!(server.died_by_itself().is_some_and(was_killed), "{point} was not reached");
                })),
                Err(status) => assert!(was_killed(status), "at {point} it died of {status}"),
            }
            check(&run, point);
        }
    }
    let files = Sqlite::open_to_read(&run.data()).unwrap().slice_ids().unwrap();
    assert!(files.len() >= 8 && files.len() < 10, "{files:?}");
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn a_server_killed_while_it_writes_rows_without_traffic_loses_and_doubles_nothing() {
    let mut run = Run::new("a_server_killed_while_it_writes_rows_without_traffic_loses_and_doubles_nothing");
    for point in points().iter().filter(|point| point.starts_with("idle-")) {
        run.start(&Faults::default()).stop();
        let server = dying(&run, point, 0);
        run.work(server, 150, |server| assert!(was_killed(server.died()), "{point} was not reached"));
        check(&run, point);
    }
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn a_server_killed_at_each_point_of_a_start_starts_the_next_time() {
    let mut run = Run::new("a_server_killed_at_each_point_of_a_start_starts_the_next_time");
    for point in points().iter().filter(|point| point.starts_with("start-")) {
        let server = run.start(&Faults::default());
        run.work(server, 150, Server::kill);
        throw_away_rows(&run);
        for _ in 0..2 {
            let faults = Faults { fail_points: format!("{point}=return"), planted: None };
            let died = Server::start(run.folder(), &faults).err().unwrap_or_else(|| panic!("{point} was not reached"));
            assert!(was_killed(died), "at {point} it died of {died}");
        }
        run.start(&Faults::default()).kill();
        check(&run, point);
    }
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

//! `backup_restore`: what is backed up while callers work becomes a store that has everything that was acknowledged before,
//! and nothing that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use metergate::backup::Manifest;
use metergate::store::Key;
use metergate::store::sqlite::{self, Sqlite};
use metergate_rules::outcome::What;
use serde_json::json;

use super::checks::{Counted, between, places};
use super::fail_points::points;
use super::final_phase::counter;
use super::history::{Act, Answer, History, Operation};
use super::http::Call;
use super::process::{Faults, Server, program, was_killed};
use super::run::Run;
use super::workload::{answer, call};
use crate::invariant::{Held, Journal, equal, holds, stored};

const NAME: &str = "backup_restore";
/// What the copying waits for on its way, so that commits come in between.
const SLOWLY: &str = "backup-snapshot=sleep(20);backup-step=sleep(20);backup-copied=sleep(20)";

/// A backup with what was known before it was begun and after it had ended.
struct Made {
    folder: PathBuf,
    before: Vec<Operation>,
    after: Vec<Operation>,
    /// Whether the store went on while it was copied.
    went_on: bool,
}

/// Has a server back itself up, and waits for it.
fn back_up(data: &Path, history: &History, server: &Server, name: &str) -> Made {
    let before = history.all();
    let mut client = server.client();
    let begun = client.call(&Call::json("POST", "/v1/backups", json!({"name": name}))).unwrap();
    assert_eq!(begun.status, 202, "{begun:?}");
    let path = format!("/v1/jobs/{}", begun.value()["id"].as_str().unwrap());
    let job = (0..3000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        let job = client.call(&Call::get(&path)).unwrap().value();
        (job["state"] != "running").then_some(job)
    });
    let job = job.expect("it ends");
    assert_eq!(job["state"], "done", "{job}");
    let folder = data.join("backups").join(name);
    let last = last_block(data);
    let went_on = Manifest::read(&folder).unwrap().counts.last_block < last;
    Made { folder, before, after: history.all(), went_on }
}

fn last_block(data: &Path) -> u64 {
    let sqlite = Sqlite::open_to_read(data).unwrap();
    let last: i64 = sqlite.connection().query_row("SELECT max(sequence) FROM blocks", [], |row| row.get(0)).unwrap();
    last.unsigned_abs()
}

/// `metergate restore` into the `data` below a folder.
fn restore(from: &Path, folder: &Path, fail_points: &str) -> Output {
    fs::create_dir_all(folder).unwrap();
    let mut command = program(folder);
    command.args(["restore", "--from"]).arg(from).env("FAILPOINTS", fail_points);
    output(&mut command)
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Restores a backup into a folder of its own and holds the store against what was known.
fn check(made: &Made, folder: &Path) -> Held {
    succeeds(&restore(&made.folder, folder, ""));
    let data = folder.join("data");
    stored(&data)?;
    asked_for(&made.after, &data)?;
    let server = Server::start(folder, &Faults::default()).expect("a server starts on it");
    let mut client = server.client();
    let counted: Counted = places(&made.after).into_iter().map(|at| (at.clone(), counter(&mut client, &at))).collect();
    between(NAME, &made.before, &made.after, &counted)?;
    for operation in made.before.iter().filter(|one| one.is_repeatable()) {
        let Some(first) = operation.first_answer() else { continue };
        let again = answer(operation, &client.call(&call(operation)).unwrap());
        equal(NAME, format!("repeated on what was restored, {operation:?}"), &told_again(first), &again)?;
    }
    server.stop();
    stored(&data)
}

/// The answer that a repetition gets.
fn told_again(first: &Answer) -> Answer {
    match first.clone() {
        Answer::Unknown => Answer::Unknown,
        Answer::Decided { allowed, body, .. } => Answer::Decided { allowed, replayed: true, body },
        Answer::Recorded { accepted, duplicates } => {
            Answer::Recorded { accepted: 0, duplicates: accepted + duplicates }
        }
        Answer::Made { body, .. } => Answer::Made { replayed: true, body },
        failed @ Answer::Failed { .. } => failed,
    }
}

/// Every id in the journal is one that somebody has sent.
fn asked_for(attempted: &[Operation], data: &Path) -> Held {
    let mut sent: BTreeSet<&str> = attempted.iter().filter_map(|one| one.id.as_deref()).collect();
    for operation in attempted {
        if let Act::Events { events, .. } = &operation.act {
            sent.extend(events.iter().map(|event| event.id.as_str()));
        }
    }
    for (block, _, record) in &Journal::of(data).records {
        let id = match (&record.entry.what, &record.key) {
            (What::Recorded(recorded), _) => recorded.event.id.as_str(),
            (_, Some(Key::Decision(_, id))) => id.as_str(),
            _ => continue,
        };
        holds(NAME, sent.contains(id), || format!("block {block} has {id}, which nobody had sent"))?;
    }
    Ok(())
}

#[test]
fn a_backup_under_load_becomes_a_store_with_all_that_was_acknowledged_before() {
    let mut run = Run::new("a_backup_under_load_becomes_a_store_with_all_that_was_acknowledged_before");
    let (data, mut backups) = (run.data(), Vec::new());
    for round in 0..3 {
        let server = run.start(&Faults { fail_points: SLOWLY.to_owned(), planted: None });
        run.work_watched(server, 150, |history, server| {
            for number in 0..2 {
                backups.push(back_up(&data, history, &server, &format!("b{round}-{number}")));
            }
            server.kill();
        });
    }
    assert!(backups.iter().any(|made| made.went_on), "no commit came in between: nothing was proved");
    assert!(backups.iter().all(|made| made.before.iter().any(|one| one.is_repeatable() && one.happened())));
    for (number, made) in backups.iter().enumerate() {
        let held = check(made, &run.folder().join(format!("restored-{number}")));
        held.unwrap_or_else(|violation| panic!("{}: {violation}", made.folder.display()));
    }
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn backup_restore_sees_a_copy_of_the_database_file_alone() {
    for (bug, red) in [(None, false), (Some("backup-without-wal"), true)] {
        let mut run = Run::new("backup_restore_sees_a_copy_of_the_database_file_alone");
        // The database file has everything so far; what comes then is in the write-ahead file.
        let server = run.start(&Faults::default());
        run.work(server, 50, Server::stop);
        let data = run.data();
        let database = rusqlite::Connection::open(data.join(sqlite::FILE)).unwrap();
        database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(database);
        let mut made = None;
        let server = run.start(&Faults { fail_points: String::new(), planted: bug });
        run.work_watched(server, 50, |history, server| {
            made = Some(back_up(&data, history, &server, "b"));
            server.kill();
        });
        let held = check(&made.unwrap(), &run.folder().join("restored"));
        match held {
            Ok(()) => assert!(!red, "the planted bug was not seen"),
            Err(violation) => assert!(red && violation.invariant == NAME, "{violation}"),
        }
    }
}

/// The points at which one of these can be killed.
fn points_of(what: &str) -> impl Iterator<Item = String> {
    let points: Vec<_> = points().into_iter().filter(|point| point.starts_with(what)).collect();
    assert!(points.len() >= 4, "only {points:?} were found");
    points.into_iter()
}

/// What stands in a folder, with what begins with a dot.
fn listed(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path())).collect()
}

#[test]
fn a_server_killed_at_each_point_of_a_backup_leaves_a_whole_one_or_none() {
    let mut run = Run::new("a_server_killed_at_each_point_of_a_backup_leaves_a_whole_one_or_none");
    let data = run.data();
    for (number, point) in points_of("backup-").enumerate() {
        let fail_points = format!("{point}=return");
        let server = run.start(&Faults { fail_points, planted: None });
        run.work_watched(server, 60, |_, server| {
            // The answer may come before the backup's thread has come to the point.
            let _ = server.client().call(&Call::json("POST", "/v1/backups", json!({"name": "b"})));
            assert!(was_killed(server.died()), "{point} was not reached");
        });
        let whole = listed(&data.join("backups")).remove("b");
        assert_eq!(whole.is_some(), point == "backup-named", "after {point}");
        for (name, folder) in listed(&data.join("backups")).iter().filter(|(name, _)| name.starts_with('.')) {
            let output = restore(folder, &run.folder().join(format!("half-{number}")), "");
            let is_whole = point == "backup-unnamed";
            assert_eq!(output.status.success(), is_whole, "{name} after {point}");
            assert_eq!(run.folder().join(format!("half-{number}/data")).exists(), is_whole);
        }
        if let Some(whole) = whole {
            fs::remove_dir_all(whole).unwrap();
        }
        // The next server removes what is left of it, and makes one of that name.
        let server = run.start(&Faults::default());
        assert!(listed(&data.join("backups")).is_empty(), "after {point}");
        let made = back_up(&data, &run.history, &server, "b");
        server.kill();
        check(&made, &run.folder().join(format!("after-{number}"))).unwrap_or_else(|violation| panic!("{violation}"));
        fs::remove_dir_all(made.folder).unwrap();
    }
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn a_restore_killed_at_each_point_leaves_a_whole_store_or_none_and_can_be_repeated() {
    let mut run = Run::new("a_restore_killed_at_each_point_leaves_a_whole_store_or_none_and_can_be_repeated");
    let (data, mut made) = (run.data(), None);
    let server = run.start(&Faults::default());
    run.work_watched(server, 100, |history, server| {
        made = Some(back_up(&data, history, &server, "b"));
        server.kill();
    });
    let made = made.unwrap();
    for point in points_of("restore-") {
        let folder = run.folder().join(&point);
        let killed = restore(&made.folder, &folder, &format!("{point}=return"));
        assert!(was_killed(killed.status), "{point} was not reached: {killed:?}");
        if point == "restore-in-force" {
            let refused = restore(&made.folder, &folder, "");
            assert!(String::from_utf8_lossy(&refused.stderr).contains("is not empty"), "{refused:?}");
            Server::start(&folder, &Faults::default()).expect("it is whole").stop();
            continue;
        }
        let refused = Server::start(&folder, &Faults::default()).err().expect("there is no store yet");
        assert_eq!(refused.code(), Some(1), "after {point}");
        check(&made, &folder).unwrap_or_else(|violation| panic!("after {point}: {violation}"));
    }
}

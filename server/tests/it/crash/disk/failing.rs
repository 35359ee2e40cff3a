//! The first, the second, the third … write or sync of a store's files fails, until none does. The process says so and
//! ends: what is on disk then, only a new start can tell. Nothing was acknowledged that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use metergate::store::sqlite::FILE;
use serde_json::json;

use crate::crash::history::{Act, Operation, Told};
use crate::crash::http::Call;
use crate::crash::planted::is_red;
use crate::crash::process::{Faults, Server, was_killed};
use crate::crash::run::Run;
use crate::crash::workload::MOVED;
use crate::invariant::{Held, equal, stored};

use super::recovers;
use super::strace::{Strace, Syscall};

/// How a store is found by a server whose calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Empty,
    /// With a schema, but without a catalogue.
    Schema,
    /// With the write-ahead file of a server that was killed.
    Killed,
}

const SYNCS: &str = "fsync,fdatasync";
const WRITES: &str = "write,pwrite64";
/// A write-ahead file of so many bytes is copied into the database: a script comes to some of it.
const CHECKPOINTS: &str = "checkpoint-at=return(40000)";
/// `EX_IOERR`.
const DISK_FAILED: i32 = 74;
/// No script makes more calls than this.
const MOST: usize = 2000;
/// So many calls more are tried until each thing that is asked for has met a fault.
const MORE: usize = 200;
/// Of many writes, the first so many are all tried, and then some.
const ALL_TRIED: usize = 20;
const SAMPLED: usize = 25;

/// Operations in a script.
const SCRIPT: usize = 8;

/// One of each kind, each a commit of its own. What is the team's comes last.
fn script(number: usize) -> Vec<Operation> {
    let organization = format!("script-{}", number % 3);
    let moved = MOVED[number / SCRIPT % 2].to_owned();
    let told = |i| Told { id: format!("{number}-{i}"), quantity: 2, time: None };
    let consume = |meter| Act::Consume { meter, quantity: 3 };
    let acts = [
        (&organization, "use", consume("calls")),
        (&organization, "", consume("pings")),
        (&organization, "events", Act::Events { meter: "calls", events: (0..3).map(told).collect() }),
        (&organization, "tight", consume("tight")),
        (&moved, "extra", Act::Extra { meter: "moving", quantity: 10 }),
        (&moved, "grant", Act::Grant { meter: "moving", amount: 5 }),
        (&moved, "moving", consume("moving")),
        (&moved, "reset", Act::Reset),
    ];
    let operation = |(organization, id, act): (&String, &str, Act)| {
        let id = (!id.is_empty() && id != "events").then(|| format!("{id}-{number}"));
        Operation { organization: organization.clone(), act, id, answers: Vec::new() }
    };
    let operations: [Operation; SCRIPT] = acts.map(operation);
    operations.to_vec()
}

/// Where a call failed, and what it was made for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    asked: String,
    failed: Syscall,
}

/// A server whose nth call fails: in every thread from its start on, or in one thread once it runs. It is asked for a
/// script, then it is stopped. What it called, and where it was hit.
fn try_with(run: &Run, thread: Option<&str>, calls: &str, nth: usize) -> (Vec<Syscall>, Option<Hit>) {
    let strace = Strace::of(run).failing(calls, "EIO", nth).with_fail_points(CHECKPOINTS);
    let (said, mut beside) = (run.log().len(), None);
    let started = thread.map_or_else(
        || strace.try_start(),
        |thread| {
            let (server, attached) = strace.start_beside(run, thread);
            beside = Some(attached);
            Ok(server)
        },
    );
    let (asked, status) = match started {
        Err(status) => ("start".to_owned(), status),
        Ok(server) => {
            let asked = ask(run, &server);
            (asked.unwrap_or_else(|| "stop".to_owned()), server.end())
        }
    };
    let mut made = strace.calls();
    if let Some(thread) = thread {
        made.iter_mut().for_each(|call| thread.clone_into(&mut call.thread));
    }
    let said = run.log().split_off(said);
    let failed = made.iter().find(|call| call.failed).cloned();
    nothing_follows_a_failed_sync(&made).unwrap_or_else(|violation| panic!("{calls} {nth}, {asked}: {violation}"));
    match &failed {
        Some(failed) => says_what_happened(failed, status, &said),
        None => {
            assert!(status.success() && asked == "stop", "without a fault it ended with {status} at {asked}: {said}")
        }
    }
    let hit = failed.map(|failed| Hit { asked, failed });
    (made, hit)
}

/// Asks for all of a script, and for a meter. The kind of the first thing that was not acknowledged; `between` if the
/// server ended while it wrote rows without traffic, or made a checkpoint.
fn ask(run: &Run, server: &Server) -> Option<String> {
    let (mut client, number) = (server.client(), run.history.len());
    for operation in script(number) {
        let kind = operation.id.as_deref().and_then(|id| id.split('-').next()).unwrap_or("recorded").to_owned();
        if run.ask(&mut client, operation).is_ok_and(|response| response.status != 503) {
            match client.call(&Call::get("/v1/organizations?limit=1")) {
                Ok(read) => assert_eq!(read.status, 200, "reads go on: {read:?}"),
                Err(_) => return Some("between".to_owned()),
            }
            continue;
        }
        return Some(kind);
    }
    let meter = client.call(&Call::json("PUT", &format!("/v1/meters/m{number}"), json!({"aggregation": "sum"})));
    (!meter.is_ok_and(|response| response.status == 201)).then(|| "team".to_owned())
}

/// How many of these calls one thread made at most: they are counted for each thread.
fn most_of_a_thread(made: &[Syscall], calls: &str) -> usize {
    let mut counted = BTreeMap::new();
    made.iter()
        .filter(|call| calls.contains(&call.name))
        .for_each(|call| *counted.entry(&call.thread).or_default() += 1);
    counted.into_values().max().unwrap_or_default()
}

/// SQLite does not look whether the folder was synced; a start does. Where a new database cannot be given its journal mode,
/// SQLite says that it has another, and not why.
fn says_what_happened(failed: &Syscall, status: ExitStatus, said: &str) {
    let ended = status.code() == Some(DISK_FAILED) && said.contains("the disk");
    let overlooked = failed.file == "folder" && status.success();
    let without_mode = status.code() == Some(1) && said.contains("or does its disk fail?");
    assert!(
        ended || overlooked || (without_mode && failed.thread == "metergate"),
        "after {failed:?} the server ended with {status} and said: {said}"
    );
}

/// A write-ahead file of which a sync failed is never appended to. (Where the sync of a checkpoint failed, the writer may
/// be in the middle of a commit. That ends with a sync of its own, which tells of the same failure: the system reports it
/// to every descriptor of a file once.)
fn nothing_follows_a_failed_sync(made: &[Syscall]) -> Held {
    let is_sync = |call: &&Syscall| call.failed && call.file == "wal" && SYNCS.contains(call.name.as_str());
    let Some(failed) = made.iter().find(is_sync) else { return Ok(()) };
    let after = made.iter().skip_while(|call| !is_sync(call)).skip(1).filter(|call| call.thread == failed.thread);
    let appended = after.filter(|call| call.file == "wal" && WRITES.contains(call.name.as_str())).count();
    equal("durable_ack", "writes to a write-ahead file after its sync failed", &appended, &0)
}

/// Whether such a call has failed.
fn has(hits: &BTreeSet<Hit>, thread: &str, name: &str, file: &str) -> bool {
    hits.iter().any(|hit| {
        let Syscall { thread: t, name: n, file: f, .. } = &hit.failed;
        (t.as_str(), n.as_str(), *f) == (thread, name, file)
    })
}

fn reached(hits: &BTreeSet<Hit>, thread: &str, name: &str, file: &str) {
    assert!(has(hits, thread, name, file), "no {name} of {file} by {thread} ever failed: {hits:#?}");
}

/// Whether something failed at each of these.
fn met(hits: &BTreeSet<Hit>, asked: &[&str]) -> bool {
    asked.iter().all(|asked| hits.iter().any(|hit| hit.asked == *asked))
}

/// The kinds of a script that can fail.
const ASKED: [&str; 9] = ["use", "recorded", "tight", "extra", "grant", "moving", "reset", "team", "stop"];

#[test]
fn a_server_whose_nth_sync_fails_ends_and_has_lost_nothing() {
    let mut run = Run::new("a_server_whose_nth_sync_fails_ends_and_has_lost_nothing");
    run.start(&Faults::default()).stop();
    let enough = |hits: &BTreeSet<Hit>| met(hits, &ASKED) && has(hits, "writer", "fsync", "main");
    let hits = one_by_one(&mut run, None, SYNCS, enough);
    assert!(enough(&hits), "something was never hit: {hits:#?}");
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn durable_ack_sees_a_server_that_goes_on_after_a_failed_sync() {
    let run = Run::new("durable_ack_sees_a_server_that_goes_on_after_a_failed_sync");
    run.start(&Faults::default()).stop();
    let strace = Strace::of(&run).failing(SYNCS, "EIO", 2).with_bug("goes-on-after-failed-sync");
    let (server, attached) = strace.start_beside(&run, "writer");
    // The first thing that is not acknowledged met the fault; what is asked for after it is appended all the same.
    assert!(ask(&run, &server).is_some(), "nothing failed");
    ask(&run, &server);
    server.kill();
    drop(attached);
    is_red(
        nothing_follows_a_failed_sync(&strace.calls()),
        "durable_ack",
        "writes to a write-ahead file after its sync",
    );
}

#[test]
fn a_server_whose_nth_call_for_a_checkpoint_fails_ends_and_has_lost_nothing() {
    let mut run = Run::new("a_server_whose_nth_call_for_a_checkpoint_fails_ends_and_has_lost_nothing");
    run.start(&Faults::default()).stop();
    for (calls, name, files) in [(SYNCS, "fsync", &["wal", "main"][..]), (WRITES, "pwrite64", &["main"])] {
        let enough = |hits: &BTreeSet<Hit>| files.iter().all(|file| has(hits, "checkpoint", name, file));
        let hits = one_by_one(&mut run, Some("checkpoint"), calls, enough);
        assert!(enough(&hits), "no {name} by the checkpoint of {files:?} ever failed: {hits:#?}");
    }
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

/// The first, the second … until none fails. Rows that are written without traffic and checkpoints come between at their
/// own time, so not everything may have met the fault then, and others make more calls than that one: more calls fail, as far
/// as any run came, until there are enough.
fn one_by_one(
    run: &mut Run,
    thread: Option<&str>,
    calls: &str,
    enough: impl Fn(&BTreeSet<Hit>) -> bool,
) -> BTreeSet<Hit> {
    let (mut hits, mut first, mut more, mut furthest) = (BTreeSet::new(), 1, 0, 0);
    while more < MORE {
        let nth = if more == 0 { first } else { one_of(run, first.max(furthest)) };
        let (made, hit) = try_with(run, thread, calls, nth);
        furthest = furthest.max(most_of_a_thread(&made, calls));
        recovers(run);
        match hit {
            Some(hit) => drop(hits.insert(hit)),
            None if more == 0 => more = 1,
            None => {}
        }
        match more {
            0 => first += 1,
            _ if enough(&hits) => break,
            _ => more += 1,
        }
    }
    hits
}

#[test]
fn a_server_whose_nth_write_fails_ends_and_has_lost_nothing() {
    let mut run = Run::new("a_server_whose_nth_write_fails_ends_and_has_lost_nothing");
    run.start(&Faults::default()).stop();
    let (made, _) = try_with(&run, None, WRITES, MOST);
    let all = made.iter().filter(|call| call.thread == "writer" && WRITES.contains(call.name.as_str())).count();
    let (mut hits, sampled) = (BTreeSet::new(), some_of(&mut run, all));
    // Rows that are written without traffic come when they come, so none of these may be one of the few that go into the
    // database itself: then more fail.
    let more: Vec<_> = (0..MORE).map(|_| one_of(&mut run, all)).collect();
    let sure = sampled.len();
    for (tried, nth) in sampled.into_iter().chain(more).enumerate() {
        if tried >= sure && has(&hits, "writer", "pwrite64", "main") {
            break;
        }
        let (_, hit) = try_with(&run, None, WRITES, nth);
        recovers(&run);
        hits.extend(hit);
    }
    let (_, beyond) = try_with(&run, None, WRITES, 2 * all);
    assert_eq!(beyond, None, "no script makes so many writes");
    reached(&hits, "writer", "pwrite64", "wal");
    reached(&hits, "writer", "pwrite64", "main");
    let kinds: BTreeSet<_> = hits.iter().map(|hit| hit.asked.as_str()).collect();
    assert!(kinds.len() > 5, "faults met only {kinds:?}");
    run.finish().unwrap_or_else(|violation| panic!("{violation}"));
}

/// Any of them, counted from 1.
fn one_of(run: &mut Run, all: usize) -> usize {
    1 + usize::try_from(run.random.below(i64::try_from(all).unwrap())).unwrap()
}

/// The first ones, every so many of the others, and the last.
fn some_of(run: &mut Run, all: usize) -> BTreeSet<usize> {
    let every = (all / SAMPLED).max(1);
    let phase = usize::try_from(run.random.below(i64::try_from(every).unwrap())).unwrap();
    let sampled = (ALL_TRIED + phase..all).step_by(every);
    (1..=ALL_TRIED.min(all)).chain(sampled).chain([all]).collect()
}

#[test]
fn a_start_whose_nth_write_or_sync_fails_says_so_and_the_next_one_succeeds() {
    let mut run = Run::new("a_start_whose_nth_write_or_sync_fails_says_so_and_the_next_one_succeeds");
    let server = run.start(&Faults::default());
    run.work(server, 40, Server::kill);
    let (left, schema) = (run.folder().join("left"), run.folder().join("schema"));
    copy(&run.data(), &left);
    begun(&run);
    copy(&run.data(), &schema);
    let mut hits = BTreeSet::new();
    let all = [Found::Empty, Found::Schema, Found::Killed];
    for (found, calls) in all.into_iter().flat_map(|found| [(found, SYNCS), (found, WRITES)]) {
        let put = |run: &Run| {
            fs::remove_dir_all(run.data()).unwrap();
            match found {
                Found::Empty => fs::create_dir(run.data()).unwrap(),
                Found::Schema => copy(&schema, &run.data()),
                Found::Killed => copy(&left, &run.data()),
            }
        };
        put(&run);
        let all = start_with(&run, calls, MOST).0;
        for nth in some_of(&mut run, all) {
            put(&run);
            hits.extend(start_with(&run, calls, nth).1);
            starts_again(&run, found);
        }
    }
    for file in ["main", "wal", "journal", "folder"] {
        reached(&hits, "metergate", "fsync", file);
    }
    for file in ["main", "wal", "journal"] {
        reached(&hits, "metergate", "pwrite64", file);
    }
    reached(&hits, "writer", "fsync", "wal");
}

/// Leaves a store in which nothing but the schema is.
fn begun(run: &Run) {
    fs::remove_dir_all(run.data()).unwrap();
    fs::create_dir(run.data()).unwrap();
    let dies = Faults { fail_points: "start-replayed=return".to_owned(), planted: None };
    assert!(Server::start(run.folder(), &dies).is_err_and(was_killed), "it dies before it has a catalogue");
    // The last to close a database copies its write-ahead file into it.
    rusqlite::Connection::open(run.data().join(FILE)).and_then(|c| c.execute_batch("SELECT * FROM meters")).unwrap();
}

/// A start whose nth call fails. How many such calls a thread made at most, and where it was hit.
fn start_with(run: &Run, calls: &str, nth: usize) -> (usize, Option<Hit>) {
    let strace = Strace::of(run).with_folder().failing(calls, "EIO", nth);
    let said = run.log().len();
    let status = match strace.try_start() {
        Err(status) => Some(status),
        Ok(server) if run.log()[said..].contains("the disk") => Some(server.died()),
        // A server that runs is killed, so that its end writes nothing.
        Ok(server) => server.kill_unless_ended(),
    };
    let made = strace.calls();
    nothing_follows_a_failed_sync(&made).unwrap_or_else(|violation| panic!("{calls} {nth}: {violation}"));
    let failed = made.iter().find(|call| call.failed).cloned();
    match (&failed, status) {
        // It served already, and was killed before it could say so.
        (Some(failed), None) if failed.thread != "metergate" => {}
        (Some(failed), status) => {
            says_what_happened(failed, status.unwrap_or_default(), &run.log()[said..]);
        }
        (None, status) => assert_eq!(status, None, "without a fault: {}", &run.log()[said..]),
    }
    let hit = failed.map(|failed| Hit { asked: "start".to_owned(), failed });
    (most_of_a_thread(&made, calls), hit)
}

fn starts_again(run: &Run, found: Found) {
    let server = run.start(&Faults::default());
    if found == Found::Killed {
        run.check(&run.read(&server)).unwrap_or_else(|violation| panic!("{violation}"));
    }
    server.kill();
    stored(&run.data()).unwrap_or_else(|violation| panic!("{violation}"));
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

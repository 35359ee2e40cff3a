//! Files of closed slices that are not what was written, or cannot be written. Nothing is ever told from them, the log names
//! the file, and whatever does not need it goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metergate::store::sqlite::Sqlite;
use serde_json::json;

use crate::crash::history::{Act, Operation};
use crate::crash::http::Call;
use crate::crash::process::{Faults, Server, until};
use crate::crash::run::Run;

use super::left::{Left, flip};
use super::recovers;
use super::strace::{Strace, Syscall};

/// A changed byte is tried in each of so many equal parts of a file, and one in so many of its last bytes, which say what it
/// is and where in it everything is.
const PARTS: usize = 14;
const LAST: usize = 64;
const ONE_IN: usize = 11;
/// Lengths at which a file is cut.
const CUTS: usize = 5;
/// Meanwhile what failed has been tried again.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file of each kind, and its bytes.
fn files(left: &mut Left) -> [(PathBuf, Vec<u8>); 2] {
    let folder = left.run.folder().join("left/slices");
    ["records", "ids"].map(|ending| {
        let all = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = all.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
        all.sort();
        let path = left.run.random.one_of(&all);
        (Path::new("slices").join(path.file_name().unwrap()), fs::read(path).unwrap())
    })
}

/// A start with other bytes in a file, or without it. Whether anything was refused.
fn start(left: &Left, file: &Path, bytes: Option<&[u8]>, what: &str) -> bool {
    left.put_back(file, bytes);
    let before = left.run.log().len();
    let name = file.file_name().unwrap().to_str().unwrap();
    let refused = match Server::start(left.run.folder(), &Faults::default()) {
        Err(status) => {
            assert_eq!(status.code(), Some(1), "{what}");
            true
        }
        Ok(server) => {
            assert_eq!(left.figures(&server), Ok(0), "{what}: figures need no slice");
            let told = left.repeated(&server).and_then(|refused| Ok(refused + left.listed(&server)?));
            let refused = told.unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
            let ask = json!({"organization": "another", "meter": "calls", "quantity": 1});
            let new = server.client().call(&Call::json("POST", "/v1/consume", ask)).unwrap();
            assert_eq!(new.status, 200, "{what}: {new:?}");
            server.kill();
            refused > 0
        }
    };
    let said = left.run.log().split_off(before);
    assert!(!refused || said.contains(name), "{what}: the file is not named: {said}");
    refused
}

#[test]
fn a_byte_of_a_slice_that_changed_is_refused_by_name_and_all_else_goes_on() {
    let mut left = Left::by("a_byte_of_a_slice_that_changed_is_refused_by_name_and_all_else_goes_on");
    let (mut tried, mut refused) = (0, 0);
    for (file, whole) in files(&mut left) {
        let part = whole.len() / PARTS;
        let mut places: Vec<usize> = (0..PARTS).map(|number| number * part + below(&mut left, part)).collect();
        places.extend((whole.len() - LAST + below(&mut left, ONE_IN)..whole.len()).step_by(ONE_IN));
        for at in places {
            let mut changed = whole.clone();
            flip(&mut changed, at);
            let what = format!("byte {at} of {} of {}", whole.len(), file.display());
            tried += 1;
            refused += usize::from(start(&left, &file, Some(&changed), &what));
        }
    }
    println!("of {tried} changed bytes {refused} were refused");
    // Only what nobody asked for was not: every byte that is read is under a checksum.
    assert!(2 * refused > tried, "{refused} of {tried}");
}

#[test]
fn a_slice_that_is_cut_short_or_gone_is_refused_by_name() {
    let mut left = Left::by("a_slice_that_is_cut_short_or_gone_is_refused_by_name");
    for (file, whole) in files(&mut left) {
        let mut lengths = vec![0, whole.len() - 1];
        lengths.extend((0..CUTS).map(|_| below(&mut left, whole.len())));
        for length in lengths {
            let what = format!("{} cut at {length}", file.display());
            assert!(start(&left, &file, Some(&whole[..length]), &what), "{what}: it started");
        }
        let longer = [&whole[..], &[0; 24]].concat();
        assert!(start(&left, &file, Some(&longer), "longer"), "a longer file is not the one that was written");
        assert!(start(&left, &file, None, "missing"), "{} is missing, and it started", file.display());
    }
}

fn below(left: &mut Left, most: usize) -> usize {
    usize::try_from(left.run.random.below(i64::try_from(most).unwrap())).unwrap()
}

/// Decisions that fill a slice.
fn fill(run: &Run, server: &Server) {
    let mut client = server.client();
    for _ in 0..60 {
        let (organization, id) = ("slices".to_owned(), Some(format!("slice-{}", run.history.len())));
        let act = Act::Consume { meter: "calls", quantity: 1 };
        let response = run.ask(&mut client, Operation { organization, act, id, answers: Vec::new() });
        assert_eq!(response.expect("the server goes on").status, 200);
    }
}

fn closed(run: &Run) -> usize {
    Sqlite::open_to_read(&run.data()).unwrap().slices().unwrap().len()
}

/// A server whose slicer's nth such call fails. What failed.
fn fail(run: &Run, calls: &str, nth: usize) -> Option<Syscall> {
    let (before, said) = (closed(run), run.log().len());
    let strace = Strace::of_slices(run).failing(calls, "EIO", nth);
    let (server, attached) = strace.start_beside(run, "slicer");
    fill(run, &server);
    until(PATIENCE, || (closed(run) > before).then_some(())).expect("the slice is closed in the end");
    run.check(&run.read(&server)).unwrap_or_else(|violation| panic!("{calls} {nth}: {violation}"));
    server.kill();
    drop(attached);
    let failed = strace.calls().into_iter().find(|call| call.failed);
    if failed.is_some() {
        let said = run.log().split_off(said);
        let names = said.lines().any(|line| line.contains("cannot be written") && line.contains("slice file "));
        assert!(names && said.contains("it is tried again"), "{failed:?}: the file is not named: {said}");
    }
    recovers(run);
    failed
}

/// What is made anew is whole: the ids stay in memory and the blocks in the database until it is.
#[test]
fn a_slice_of_which_a_write_or_sync_fails_is_made_again_and_nothing_is_lost() {
    let run = Run::new("a_slice_of_which_a_write_or_sync_fails_is_made_again_and_nothing_is_lost");
    let mut hits = Vec::new();
    // The records and their name, the ids and theirs.
    for (calls, most) in [("fsync,fdatasync", 4), ("write,pwrite64", 2)] {
        hits.extend((1..=most).filter_map(|nth| fail(&run, calls, nth)).map(|hit| (hit.name, hit.file)));
    }
    for reached in [("fsync", "slice"), ("fsync", "slices"), ("write", "slice")] {
        assert!(
            hits.iter().any(|(name, file)| (name.as_str(), *file) == reached),
            "no {reached:?} ever failed: {hits:?}"
        );
    }
}

//! The write-ahead file, cut short or changed. SQLite reads it up to the first bad frame; only a commit that may be
//! unfinished may be left out so.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;

use metergate::store::sqlite::FILE;

use crate::crash::planted::is_red;
use crate::crash::process::{Faults, Server};
use crate::crash::run::Run;
use crate::invariant::{Journal, stored};

use super::failing::copy;

const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;
/// Changes of each kind.
const CHANGES: usize = 8;

/// What a server that was killed has left, and how its write-ahead file is made up.
struct Left {
    run: Run,
    wal: Vec<u8>,
    /// The frames that end a commit, from 0.
    commits: Vec<usize>,
    /// Blocks in the journal.
    blocks: BTreeSet<u64>,
}

impl Left {
    fn by(test: &str) -> Self {
        let mut run = Run::new(test);
        let server = run.start(&Faults::default());
        run.work(server, 60, Server::kill);
        copy(&run.data(), &run.folder().join("left"));
        let wal = fs::read(wal(&run)).unwrap();
        let frames = wal[HEADER..].chunks_exact(FRAME);
        let is_commit = |(_, frame): &(usize, &[u8])| frame[8..16] == wal[16..24] && frame[4..8] != [0; 4];
        let commits: Vec<usize> = frames.enumerate().filter(is_commit).map(|(number, _)| number).collect();
        assert!(commits.len() > 10, "only {} commits are in the write-ahead file", commits.len());
        let blocks = blocks(&run);
        Self { run, wal, commits, blocks }
    }

    /// Puts back what was left, with another write-ahead file.
    fn with(&self, changed: &[u8]) {
        fs::remove_dir_all(self.run.data()).unwrap();
        copy(&self.run.folder().join("left"), &self.run.data());
        fs::write(wal(&self.run), changed).unwrap();
    }

    fn random(&mut self, below: usize) -> usize {
        usize::try_from(self.run.random.below(i64::try_from(below).unwrap())).unwrap()
    }

    /// A start on what is left now: refused with these words, or which of the blocks are there then. What has fallen due
    /// meanwhile is in blocks behind them.
    fn start(&self, planted: Option<&'static str>) -> Result<BTreeSet<u64>, (ExitStatus, String)> {
        let said = self.run.log().len();
        let faults = Faults { planted, ..Faults::default() };
        match Server::start(self.run.folder(), &faults) {
            Err(status) => Err((status, self.run.log().split_off(said))),
            Ok(server) => {
                server.kill();
                let held = stored(&self.run.data());
                held.unwrap_or_else(|violation| panic!("{violation}"));
                Ok(blocks(&self.run).into_iter().filter(|block| Some(block) <= self.blocks.last()).collect())
            }
        }
    }
}

fn wal(run: &Run) -> PathBuf {
    run.data().join(format!("{FILE}-wal"))
}

fn blocks(run: &Run) -> BTreeSet<u64> {
    Journal::of(&run.data()).records.iter().map(|(sequence, _, _)| *sequence).collect()
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

#[test]
fn of_a_write_ahead_file_that_is_cut_short_everything_before_the_cut_is_there() {
    let mut left = Left::by("of_a_write_ahead_file_that_is_cut_short_everything_before_the_cut_is_there");
    let mut shortest = left.blocks.len();
    for _ in 0..CHANGES {
        let cut = left.random(left.wal.len());
        left.with(&left.wal[..cut]);
        let found = left.start(None).unwrap_or_else(|(status, said)| panic!("cut at {cut}: {status}: {said}"));
        let whole = cut.saturating_sub(HEADER) / FRAME;
        let lost = left.commits.iter().filter(|end| **end >= whole).count();
        let missing: BTreeSet<_> = left.blocks.difference(&found).collect();
        assert!(found.is_subset(&left.blocks) && missing.len() <= lost, "cut at {cut}: {missing:?} are missing");
        shortest = shortest.min(found.len());
    }
    assert!(shortest < left.blocks.len(), "no cut took a commit");
}

#[test]
fn of_a_last_commit_that_was_torn_or_changed_nothing_is_there_and_all_else_is() {
    let mut left = Left::by("of_a_last_commit_that_was_torn_or_changed_nothing_is_there_and_all_else_is");
    let [.., before, last] = left.commits[..] else { unreachable!("there are more than ten") };
    // Where the kill came amid the next commit, frames of it stand behind: they show that this one was acknowledged.
    left.wal.truncate(HEADER + (last + 1) * FRAME);
    for _ in 0..CHANGES {
        let at = HEADER + (before + 1) * FRAME + left.random((last - before) * FRAME);
        left.with(&flipped(&left.wal, at));
        let found = left.start(None).unwrap_or_else(|(status, said)| panic!("byte {at}: {status}: {said}"));
        assert!(left.blocks.difference(&found).count() <= 1, "byte {at}: {found:?}");
    }
}

#[test]
fn what_stands_behind_the_last_commit_is_nothing() {
    let mut left = Left::by("what_stands_behind_the_last_commit_is_nothing");
    let end = HEADER + (left.commits.last().unwrap() + 1) * FRAME;
    for _ in 0..CHANGES {
        let length = left.random(3 * FRAME);
        let rest: Vec<u8> = (0..length).map(|_| u8::try_from(left.random(256)).unwrap()).collect();
        left.with(&[&left.wal[..end], &rest].concat());
        assert_eq!(left.start(None), Ok(left.blocks.clone()), "{length} bytes more");
    }
}

#[test]
fn a_write_ahead_file_that_was_changed_where_it_was_acknowledged_is_refused() {
    let mut left = Left::by("a_write_ahead_file_that_was_changed_where_it_was_acknowledged_is_refused");
    // The last commit may be torn, and the one before it can only be told from it by its own last frame.
    let acknowledged = left.commits[left.commits.len() - 3] + 1;
    let mut changed: Vec<(usize, usize)> = Vec::new();
    for _ in 0..3 * CHANGES {
        let frame = left.random(acknowledged);
        changed.push((HEADER + frame * FRAME + left.random(FRAME), frame + 1));
    }
    for (at, frame) in changed {
        left.with(&flipped(&left.wal, at));
        let (status, said) = left.start(None).expect_err("what was acknowledged would be lost");
        assert_eq!(status.code(), Some(1), "byte {at}: {said}");
        assert!(said.contains(&format!("frame {frame} is damaged")) && said.contains("restore a backup"), "{said}");
    }
    for at in [0, 9, 17, 25] {
        left.with(&flipped(&left.wal, at));
        let (_, said) = left.start(None).expect_err("what was acknowledged would be lost");
        assert!(said.contains("its header is damaged"), "byte {at}: {said}");
    }
}

#[test]
fn durable_ack_sees_a_damaged_write_ahead_file_that_is_read_as_far_as_it_goes() {
    let left = Left::by("durable_ack_sees_a_damaged_write_ahead_file_that_is_read_as_far_as_it_goes");
    left.with(&flipped(&left.wal, HEADER + 24 + left.commits[2] * FRAME));
    let server = left.run.start(&Faults { planted: Some("damaged-write-ahead-file-read"), ..Faults::default() });
    is_red(left.run.check(&left.run.read(&server)), "durable_ack", "acknowledged ");
}

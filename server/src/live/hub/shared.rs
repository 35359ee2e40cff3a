//! Following journals that are apart, each organization's own, of an engine that several nodes share.
//!
//! Blocks of different journals become visible in another order than that of their times: a block may be seen later than one of
//! a later time. So each turn looks again at all blocks since the *horizon*, a time before which nothing can become visible
//! any more: once all writers have ended that had a number when the engine's clock said so, nothing older is to come but of
//! those that had read their time and had no number yet, as who creates an organization; and a turn of a node is short. Within
//! a journal blocks become visible in order.

use std::collections::{HashMap, VecDeque};

use metergate_rules::id::OrganizationId;
use metergate_rules::time::{SECOND, Time};

use super::{Found, Read, Turn};
use crate::live::item::Cursor;
use crate::live::wanted::Interest;
use crate::report::Report;
use crate::store::reader::ReadError;
use crate::store::rows::Progress;

/// Blocks that are looked at in a turn at most.
pub(in crate::live) const MOST_BLOCKS: usize = 50_000;
/// A writer that takes longer than this, in microseconds, does not hold the horizon back.
const FARTHEST: i64 = 60 * SECOND;
/// More than a node has for a turn from reading its time on, in microseconds.
const TURN: i64 = 4 * SECOND;
/// The first horizon lies so long, in microseconds, before the thread began: what is told is what came after that.
const BEFORE: i64 = 10 * SECOND;

/// How far such journals have been read.
#[derive(Clone, Debug)]
pub(super) struct Apart {
    /// Nothing from before this becomes visible any more.
    horizon: Time,
    /// The last block of each journal since then, and its time.
    seen: HashMap<OrganizationId, (u64, Time)>,
    /// When the engine was asked, and which writers had begun.
    asked: VecDeque<(Time, i64)>,
}

impl Apart {
    /// Moves the horizon up to the last question before which every writer has ended.
    fn move_on(&mut self, progress: Progress) {
        self.asked.push_back((progress.now, progress.begun));
        while let Some((at, begun)) = self.asked.front()
            && (*begun <= progress.ended || *at < progress.now.plus(-FARTHEST))
        {
            self.horizon = self.horizon.max(at.plus(-TURN));
            self.asked.pop_front();
        }
        let horizon = self.horizon;
        self.seen.retain(|_, (_, at)| *at >= horizon);
    }
}

/// Notes what is there already.
pub(super) fn begin(report: &Report<'_>, progress: Progress) -> Result<Turn, ReadError> {
    let mut apart = Apart { horizon: progress.now.plus(-BEFORE), seen: HashMap::new(), asked: VecDeque::new() };
    for (organization, sequence, at) in report.view.rows().own_blocks_since(apart.horizon, MOST_BLOCKS)? {
        let last = apart.seen.entry(organization).or_insert((sequence, at));
        *last = (last.0.max(sequence), last.1.max(at));
    }
    apart.move_on(progress);
    let reached = Cursor::Since(apart.horizon);
    Ok(Turn { read: Read::Apart(Box::new(apart)), found: Some(Vec::new()), before: reached, reached })
}

/// What has become visible since the last turn.
pub(super) fn turn(
    mut apart: Apart,
    report: &Report<'_>,
    interest: &Interest,
    progress: Progress,
) -> Result<Turn, ReadError> {
    let (rows, before) = (report.view.rows(), Cursor::Since(apart.horizon));
    let listed = rows.own_blocks_since(apart.horizon, MOST_BLOCKS)?;
    let (mut found, mut is_whole) = (Found::default(), listed.len() < MOST_BLOCKS);
    for (organization, sequence, at) in listed {
        if apart.seen.get(&organization).is_some_and(|(last, _)| sequence <= *last) {
            continue;
        }
        apart.seen.insert(organization, (sequence, at));
        if is_whole
            && interest.has(organization)
            && let Some(data) = rows.block(rows.journal_of(organization), sequence)?
        {
            found.take(report, interest, sequence, &data)?;
            is_whole = !found.is_full();
        }
    }
    apart.move_on(progress);
    let reached = Cursor::Since(apart.horizon);
    Ok(Turn { read: Read::Apart(Box::new(apart)), found: is_whole.then_some(found.items), before, reached })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_waits_for_writers_that_had_begun_but_not_for_ever() {
        let (at, organization) = (|seconds: i64| Time::from_micros(seconds * SECOND), OrganizationId([1; 16]));
        let seen = HashMap::from([(organization, (7, at(-2)))]);
        let mut apart = Apart { horizon: at(-10), seen, asked: VecDeque::new() };
        let mut step = |now, ended, begun| {
            apart.move_on(Progress { now: at(now), ended, begun });
            (apart.horizon, apart.seen.len())
        };
        assert_eq!(step(1, 10, 12), (at(-10), 1), "10 and 11 go on");
        assert_eq!(step(2, 11, 15), (at(-10), 1));
        assert_eq!(step(3, 12, 15), (at(1 - 4), 1), "all have ended that had begun at 1 s");
        assert_eq!(step(4, 15, 15), (at(4 - 4), 0), "and now all others");
        assert_eq!(step(5, 15, 16), (at(0), 0));
        assert_eq!(step(65, 15, 40), (at(0), 0));
        assert_eq!(step(66, 15, 41), (at(5 - 4), 0), "after a minute nobody is waited for");
    }
}

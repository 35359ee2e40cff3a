//! What a stream that goes on has missed, read from the journals.

use std::collections::HashMap;

use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::time::{MINUTE, Time};

use super::ALL;
use super::hub::{Found, MOST_BLOCKS};
use super::item::{Cursor, Item, Place, items_of};
use super::wanted::Interest;
use crate::report::Report;
use crate::store::StoreError;
use crate::store::reader::ReadError;

/// How long ago a stream over journals that are apart may have ended, in microseconds.
const LONGEST: i64 = 15 * MINUTE;

/// What was missed.
#[derive(Debug)]
pub struct Behind {
    /// In order.
    pub items: Vec<Item>,
    /// Whether that is all; it is nothing where there is more than can be sent again.
    pub is_whole: bool,
    /// How far the stream is then.
    pub reached: Cursor,
    /// Over journals that are apart: the last block of each that was read.
    pub seen: HashMap<OrganizationId, u64>,
}

impl Behind {
    fn nothing(reached: Cursor, is_whole: bool) -> Self {
        Self { items: Vec::new(), is_whole, reached, seen: HashMap::new() }
    }
}

/// What happened after `cursor`, or nothing without one. `one` is the organization that the stream is about if it is one alone,
/// `reached` how far everything has been told to who follow.
///
/// # Errors
/// [`ReadError::Store`] with 422 where the cursor is of another kind of stream.
pub fn behind(
    report: &Report<'_>,
    (interest, one): (&Interest, Option<OrganizationId>),
    reached: Cursor,
    cursor: Option<Cursor>,
) -> Result<Behind, ReadError> {
    let rows = report.view.rows();
    if let Some(one) = one {
        let newest = Cursor::At(Place::end_of(rows.newest_block(one)?));
        return match cursor {
            None => Ok(Behind::nothing(newest, true)),
            Some(Cursor::At(place)) => of_one(report, one, place, newest),
            Some(Cursor::Since(_)) => foreign(),
        };
    }
    match (reached, cursor) {
        (Cursor::Since(_), None) => Ok(Behind::nothing(reached, true)),
        (Cursor::Since(_), Some(Cursor::Since(since))) => of_several_apart(report, interest, since, reached),
        (Cursor::At(_), None) => Ok(Behind::nothing(Cursor::At(Place::end_of(rows.newest_block(ALL)?)), true)),
        (Cursor::At(_), Some(Cursor::At(place))) => of_journal(report, interest, place),
        _ => foreign(),
    }
}

fn foreign<T>() -> Result<T, ReadError> {
    let detail = "Last-Event-ID: this is not the id of an event of this stream; leave it out to begin now".to_owned();
    Err(StoreError::Catalogue { code: "invalid-query", status: 422, detail }.into())
}

/// One organization's journal is read from its end back to the place.
fn of_one(report: &Report<'_>, one: OrganizationId, after: Place, newest: Cursor) -> Result<Behind, ReadError> {
    let account = report.view.account(report.scope, &OrganizationRef::Id(one))?;
    let (mut found, mut failed, mut reached) = (Found::default(), None, newest);
    report.view.records(one, u64::MAX, |sequence, offset, record| {
        if (sequence, offset) < (after.sequence, after.offset) {
            return false;
        }
        if let Cursor::At(place) = &mut reached {
            *place = (*place).max(Place::end_of(sequence));
        }
        match items_of(report, &account, (sequence, offset), &record) {
            // From the end back, and so in each record.
            Ok(items) => found.put(items.into_iter().rev().filter(|item| item.place > after).collect()),
            Err(error) => failed = Some(error),
        }
        failed.is_none() && !found.is_full()
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    } else if found.is_full() {
        return Ok(Behind::nothing(reached, false));
    }
    found.items.reverse();
    Ok(Behind { items: found.items, is_whole: true, reached, seen: HashMap::new() })
}

/// The journal that all have together is read on from the place, as long as its blocks are in the database.
fn of_journal(report: &Report<'_>, interest: &Interest, after: Place) -> Result<Behind, ReadError> {
    let (rows, mut found) = (report.view.rows(), Found::default());
    let newest = rows.newest_block(ALL)?;
    let reached = Cursor::At(Place::end_of(newest));
    // Behind the end of a block nothing of it is missing, whether it is still there or not.
    let first = after.sequence + u64::from(after == Place::end_of(after.sequence));
    if newest.saturating_sub(first) > MOST_BLOCKS as u64 {
        return Ok(Behind::nothing(reached, false));
    }
    for sequence in first..=newest {
        let Some(data) = rows.block(rows.journal_of(ALL), sequence)? else {
            return Ok(Behind::nothing(reached, false));
        };
        found.take(report, interest, sequence, &data)?;
        if found.is_full() {
            return Ok(Behind::nothing(reached, false));
        }
    }
    found.items.retain(|item| item.place > after);
    Ok(Behind { items: found.items, is_whole: true, reached, seen: HashMap::new() })
}

/// Of journals that are apart all blocks since a time are read.
fn of_several_apart(
    report: &Report<'_>,
    interest: &Interest,
    since: Time,
    reached: Cursor,
) -> Result<Behind, ReadError> {
    let rows = report.view.rows();
    let now = rows.progress()?.map_or(report.now, |progress| progress.now);
    if since < now.plus(-LONGEST) {
        return Ok(Behind::nothing(reached, false));
    }
    let listed = rows.own_blocks_since(since, MOST_BLOCKS)?;
    let mut behind = Behind::nothing(reached, listed.len() < MOST_BLOCKS);
    let mut found = Found::default();
    for (organization, sequence, _) in listed.into_iter().filter(|(organization, ..)| interest.has(*organization)) {
        let last = behind.seen.entry(organization).or_insert(sequence);
        *last = sequence.max(*last);
        if behind.is_whole
            && let Some(data) = rows.block(rows.journal_of(organization), sequence)?
        {
            found.take(report, interest, sequence, &data)?;
            behind.is_whole = !found.is_full();
        }
    }
    if behind.is_whole {
        behind.items = found.items;
    }
    Ok(behind)
}

//! An event on its way to those who follow, and how one is named so that a stream can go on behind it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use serde::Serialize;
use utoipa::ToSchema;

use crate::report::Report;
use crate::report::events::EventBody;
use crate::store::StoreError;
use crate::store::block::Record;

/// An event as it happens.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveEventBody {
    /// The organization's key.
    pub organization: String,
    /// The event.
    #[serde(flatten)]
    pub event: EventBody,
}

/// Where an event stands in its journal: block, offset in it, and its number among the events of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The block.
    pub sequence: u64,
    /// The record's offset in it.
    pub offset: u32,
    /// The number.
    pub item: u16,
}

impl Place {
    /// Behind everything in a block.
    pub const fn end_of(sequence: u64) -> Self {
        Self { sequence, offset: u32::MAX, item: u16::MAX }
    }
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// To this place of its journal.
    At(Place),
    /// Over journals that are apart: everything that was recorded before this time was told, and perhaps more.
    Since(Time),
}

impl Cursor {
    /// Nothing was told.
    pub const BEGINNING: Self = Self::At(Place { sequence: 0, offset: 0, item: 0 });
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(Place { sequence, offset, item }) => write!(f, "{sequence}-{offset}-{item}"),
            Self::Since(time) => write!(f, "t{}", time.micros()),
        }
    }
}

/// The text names no place of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("This is not the id of an event of this stream")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if let Some(micros) = text.strip_prefix('t') {
            return micros.parse().map(|micros| Self::Since(Time::from_micros(micros))).map_err(|_| InvalidCursor);
        }
        let parts: Vec<&str> = text.split('-').collect();
        let [sequence, offset, item] = parts[..] else { return Err(InvalidCursor) };
        match (sequence.parse(), offset.parse(), item.parse()) {
            (Ok(sequence), Ok(offset), Ok(item)) => Ok(Self::At(Place { sequence, offset, item })),
            _ => Err(InvalidCursor),
        }
    }
}

/// An event on its way.
#[derive(Debug)]
pub struct Item {
    /// Whose.
    pub organization: OrganizationId,
    /// Where it stands in the journal.
    pub place: Place,
    /// The keys of the meters that count it.
    pub meters: Vec<String>,
    /// It, as JSON in one line.
    pub json: String,
}

/// The events of a record.
///
/// # Errors
/// [`StoreError::Internal`] where one cannot be written.
pub(super) fn items_of(
    report: &Report<'_>,
    account: &Account,
    (sequence, offset): (u64, u32),
    record: &Record,
) -> Result<Vec<Item>, StoreError> {
    let events = report.events_in((account.id, &Arc::clone(&account.voided)), (sequence, offset), record);
    let organization = account.profile.key.as_str();
    let write = |(item, event): (u16, EventBody)| {
        let meters = event.uses.iter().map(|used| used.meter.clone()).collect();
        let body = LiveEventBody { organization: organization.to_owned(), event };
        let json = serde_json::to_string(&body).map_err(|error| {
            tracing::error!(%error, "an event cannot be written");
            StoreError::Internal
        })?;
        // Only between tokens: within a text both are escaped.
        let json = json.replace(['\n', '\r'], " ");
        Ok(Item { organization: account.id, place: Place { sequence, offset, item }, meters, json })
    };
    (0..).zip(events).map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        let at = Cursor::At(Place { sequence: u64::MAX, offset: 7, item: u16::MAX });
        for cursor in [at, Cursor::BEGINNING, Cursor::Since(Time::from_micros(-5))] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", "t", "1-2", "1-2-3-4", "1-2-70000", "-1-2-3", "t1.5", "x1-2-3", "1-2-"] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad}");
        }
    }

    #[test]
    fn places_are_in_the_order_of_the_journal() {
        let place = |sequence, offset, item| Place { sequence, offset, item };
        let mut places = [place(2, 0, 0), place(1, 9, 1), place(1, 9, 0), Place::end_of(1), place(1, 10, 0)];
        places.sort_unstable();
        assert_eq!(places, [place(1, 9, 0), place(1, 9, 1), place(1, 10, 0), Place::end_of(1), place(2, 0, 0)]);
    }
}

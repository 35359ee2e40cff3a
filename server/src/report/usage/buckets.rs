//! The buckets of a report: spans of a zone's calendar that tile the time asked for.

use metergate_rules::period::{self, Zone};
use metergate_rules::time::{DAY, Span, Time};

use super::{Granularity, MOST_ROWS, too_many};
use crate::store::reader::ReadError;

/// Buckets in order, without gaps; the first and the last are cut to the time asked for.
pub(super) struct Buckets {
    starts: Vec<Time>,
    end: Time,
}

impl Buckets {
    /// # Errors
    /// If there are more than [`MOST_ROWS`].
    pub(super) fn new(asked: Span, granularity: Granularity, zone: &Zone) -> Result<Self, ReadError> {
        let (mut starts, mut start) = (Vec::new(), asked.start);
        while start < asked.end {
            if starts.len() == MOST_ROWS {
                return too_many("more");
            }
            starts.push(start);
            start = match granularity {
                Granularity::Hour => period::hour(start, zone).end,
                Granularity::Day => period::day(start, zone).end,
                Granularity::Month => period::month(start, zone).end,
                Granularity::Total => asked.end,
            };
        }
        Ok(Self { starts, end: asked.end })
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// All of the time asked for.
    pub(super) fn all(&self) -> Span {
        Span { start: self.starts.first().copied().unwrap_or(self.end), end: self.end }
    }

    pub(super) fn span(&self, bucket: usize) -> Span {
        Span { start: self.starts[bucket], end: self.end_of(bucket) }
    }

    fn end_of(&self, bucket: usize) -> Time {
        self.starts.get(bucket + 1).copied().unwrap_or(self.end)
    }

    /// The bucket that contains `time`, which is in [`Buckets::all`], looked for from a bucket not after it.
    pub(super) fn find(&self, time: Time, from: usize) -> usize {
        let mut bucket = from;
        while bucket + 1 < self.starts.len() && self.starts[bucket + 1] <= time {
            bucket += 1;
        }
        bucket
    }

    /// How many buckets begin at or before `time`.
    pub(super) fn begun(&self, time: Time) -> usize {
        self.starts.partition_point(|start| *start <= time)
    }

    /// The UTC days whose rollups lie in the time asked for, the last included.
    pub(super) fn days(&self) -> (i32, i32) {
        let Span { start, end } = self.all();
        let day = |time: Time| i32::try_from(time.micros().div_euclid(DAY)).unwrap_or_default();
        (day(start), day(end.plus(-1)))
    }
}

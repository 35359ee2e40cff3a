//! The buckets of a report: spans of a zone's calendar that tile the time asked for.

use std::cell::OnceCell;
use std::sync::Arc;

use metergate_rules::period::{self, Zone};
use metergate_rules::time::{DAY, Span, Time};
use serde::{Serialize, Serializer};

use super::{Granularity, MOST_ROWS, too_many};
use crate::store::reader::ReadError;

/// Buckets in order, without gaps; the first and the last are cut to the time asked for.
pub(super) struct Buckets {
    starts: Vec<Time>,
    end: Time,
    /// The texts of the starts and the end, as far as they were asked for.
    texts: Vec<OnceCell<Arc<str>>>,
}

/// Where a bucket begins or ends, on the wire. Every organization and meter has the same buckets, so each text is made once.
#[derive(Clone, Debug)]
pub struct Edge(pub Time, Arc<str>);

impl Serialize for Edge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.1)
    }
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
        let texts = vec![OnceCell::new(); starts.len() + 1];
        Ok(Self { starts, end: asked.end, texts })
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

    /// Where a bucket begins and ends.
    pub(super) fn edges(&self, bucket: usize) -> [Edge; 2] {
        let edge = |at: usize, time: Time| {
            let text = self.texts[at].get_or_init(|| time.to_string().into());
            Edge(time, Arc::clone(text))
        };
        let Span { start, end } = self.span(bucket);
        [edge(bucket, start), edge(bucket + 1, end)]
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

    /// The UTC days that are cut: parts of them lie in different buckets, or outside of the time asked for. In order, each once.
    pub(super) fn cut_days(&self) -> Vec<i32> {
        let edges = self.starts.iter().chain([&self.end]).filter(|edge| edge.micros().rem_euclid(DAY) != 0);
        let mut days: Vec<i32> = edges.map(|edge| day(*edge)).collect();
        days.dedup();
        days
    }

    /// The UTC days whose rollups lie in the time asked for, the last included.
    pub(super) fn days(&self) -> (i32, i32) {
        let Span { start, end } = self.all();
        (day(start), day(end.plus(-1)))
    }
}

fn day(time: Time) -> i32 {
    i32::try_from(time.micros().div_euclid(DAY)).unwrap_or_default()
}

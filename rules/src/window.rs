//! Windows in which limits count.

use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;
use crate::time::{HOUR, MINUTE, Time};

/// The window of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Window {
    /// The last 60 seconds, sliding.
    Minute,
    /// The last 60 minutes, sliding.
    Hour,
    /// The calendar day in the organization's zone.
    Day,
    /// The calendar month in the organization's zone.
    Month,
    /// The organization's billing period.
    BillingPeriod,
    /// For ever.
    Lifetime,
}

impl Window {
    /// Every window, shortest first.
    pub const ALL: [Self; 6] = [Self::Minute, Self::Hour, Self::Day, Self::Month, Self::BillingPeriod, Self::Lifetime];
    /// The windows with a counter that begins and ends: all but the sliding ones.
    pub const COUNTED: [Self; 4] = [Self::Day, Self::Month, Self::BillingPeriod, Self::Lifetime];
    /// The windows whose limit extra quota and grants lift: the first of these that has a limit.
    pub const PERIOD: [Self; 3] = [Self::BillingPeriod, Self::Month, Self::Lifetime];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::BillingPeriod => "billingPeriod",
            Self::Lifetime => "lifetime",
        }
    }

    /// The window of that name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.as_str() == name)
    }

    /// The length of a sliding window in microseconds.
    pub const fn sliding_length(self) -> Option<i64> {
        match self {
            Self::Minute => Some(MINUTE),
            Self::Hour => Some(HOUR),
            _ => None,
        }
    }
}

/// Some of the windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WindowSet(u8);

impl WindowSet {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// This set and `window`.
    #[must_use]
    pub const fn with(self, window: Window) -> Self {
        Self(self.0 | 1 << window as u8)
    }

    /// Whether `window` is in the set.
    pub const fn has(self, window: Window) -> bool {
        self.0 & (1 << window as u8) != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in this set but not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The windows of the set, shortest first.
    pub fn iter(self) -> impl Iterator<Item = Window> {
        Window::ALL.into_iter().filter(move |window| self.has(*window))
    }
}

impl FromIterator<Window> for WindowSet {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        windows.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Sub-buckets in a sliding window. Use is freed at most a sixtieth of the window late.
const BUCKETS: i64 = 60;

/// What was used in one sub-bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    /// Counted in bucket widths since 1970.
    index: i64,
    used: Quantity,
}

/// Use in a window that slides in sixty sub-buckets.
///
/// A bucket counts until it lies wholly outside the window, so that in no interval of the window's length more than the
/// limit is admitted. (Two weighted buckets guess; GCRA admits nearly twice the limit.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sliding(Vec<Bucket>);

impl Sliding {
    /// The use that still counts at `now` in a window of `length` microseconds.
    pub fn used(&self, length: i64, now: Time) -> Quantity {
        let oldest = index(length, now) - BUCKETS;
        let counted = self.0.iter().filter(|bucket| bucket.index >= oldest);
        counted.fold(Quantity::ZERO, |sum, bucket| sum.saturating_add(bucket.used))
    }

    /// Counts `used` at `now`, which is never before the last use, and forgets what has slid out.
    pub fn add(&mut self, length: i64, now: Time, used: Quantity) {
        let current = index(length, now);
        let gone = self.0.partition_point(|bucket| bucket.index < current - BUCKETS);
        self.0.drain(..gone);
        match self.0.last_mut() {
            Some(last) if last.index >= current => last.used = last.used.saturating_add(used),
            _ => self.0.push(Bucket { index: current, used }),
        }
    }

    /// When use has fallen to `target` or less if nothing more is used; `None` if it has already.
    pub fn falls_to(&self, length: i64, now: Time, target: Quantity) -> Option<Time> {
        let mut used = self.used(length, now);
        let oldest = index(length, now) - BUCKETS;
        let mut frees = None;
        for bucket in self.0.iter().filter(|bucket| bucket.index >= oldest) {
            if used <= target {
                break;
            }
            used = used.minus(bucket.used);
            frees = Some(Time::from_micros((bucket.index + BUCKETS + 1) * (length / BUCKETS)));
        }
        frees
    }

    /// When the oldest use that counts is freed; `None` if nothing is used.
    pub fn next_free(&self, length: i64, now: Time) -> Option<Time> {
        let used = self.used(length, now);
        if used.is_zero() { None } else { self.falls_to(length, now, Quantity::at_least_zero(used.units() - 1)) }
    }
}

const fn index(length: i64, now: Time) -> i64 {
    now.micros().div_euclid(length / BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    fn q(units: i64) -> Quantity {
        Quantity::new(units).unwrap()
    }

    #[test]
    fn use_slides_out_of_a_minute_at_most_a_second_late() {
        let mut minute = Sliding::default();
        let at = |millis: i64| Time::from_micros(1_000 * MINUTE + millis * 1000);
        minute.add(MINUTE, at(500), q(3));
        minute.add(MINUTE, at(900), q(1));
        minute.add(MINUTE, at(30_000), q(2));
        let cases = [(30_000, 6), (60_499, 6), (60_999, 6), (61_000, 2), (90_999, 2), (91_000, 0)];
        for (millis, used) in cases {
            assert_eq!(minute.used(MINUTE, at(millis)), q(used), "at {millis} ms");
        }
        assert_eq!(minute.next_free(MINUTE, at(30_000)), Some(at(61_000)));
        assert_eq!(minute.falls_to(MINUTE, at(30_000), q(6)), None);
        assert_eq!(minute.falls_to(MINUTE, at(30_000), q(1)), Some(at(91_000)));
        minute.add(MINUTE, at(95_000), q(1));
        assert_eq!(minute.0.len(), 1, "what slid out is forgotten");
        assert_eq!(SECOND * 60, MINUTE);
    }

    #[test]
    fn a_set_of_windows_lists_them_shortest_first() {
        let set: WindowSet = [Window::Lifetime, Window::Day].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Window::Day, Window::Lifetime]);
        assert!(set.has(Window::Day) && !set.has(Window::Month) && !set.is_empty());
        assert_eq!(set.without(set), WindowSet::NONE);
    }

    #[test]
    fn windows_are_named_as_on_the_wire() {
        for window in Window::ALL {
            assert_eq!(Window::from_name(window.as_str()), Some(window));
        }
        assert_eq!(Window::from_name("week"), None);
    }
}

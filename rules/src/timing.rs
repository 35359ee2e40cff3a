//! How long things took (M8): durations by meter, in bins so narrow that a percentile is at most 1 % off.

use serde::{Deserialize, Serialize};

use crate::command::Completion;
use crate::id::MeterId;
use crate::outcome::{Change, Hold, Use, What};
use crate::time::Time;

/// How many calls one record stands for, where it stands for several: how long they took and how they ended (M8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// How many they are.
    pub count: u32,
    /// How many took how long: milliseconds, each with a number. Those of earlier records can be among them.
    pub durations: Vec<(u32, u32)>,
    /// How many ended how: a status, each with a number.
    pub statuses: Vec<(u16, u32)>,
}

impl Calls {
    /// Calls that one record can stand for, and durations and statuses that it can tell.
    pub const MOST: u32 = 1_000_000;
    /// Different durations that one record can tell: more than there are bins.
    pub const MOST_DURATIONS: usize = 1_000;
    /// Different statuses that one record can tell.
    pub const MOST_STATUSES: usize = 100;

    /// Whether that many can be told at once.
    pub fn is_within_bounds(&self) -> bool {
        let of = |numbers: &mut dyn Iterator<Item = u32>| numbers.map(u64::from).sum::<u64>() <= u64::from(Self::MOST);
        self.count <= Self::MOST
            && self.durations.len() <= Self::MOST_DURATIONS
            && self.statuses.len() <= Self::MOST_STATUSES
            && of(&mut self.durations.iter().map(|(_, number)| *number))
            && of(&mut self.statuses.iter().map(|(_, number)| *number))
    }
}

/// A duration on each of some meters, at the time of what took so long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// Milliseconds.
    pub duration_ms: u32,
    /// The meters that counted it, each with the time of its use.
    pub of: Vec<(MeterId, Time)>,
}

impl Timed {
    /// Of what was used; `None` where it is not known how long that took. What something cost took no time of its own.
    pub fn of(outcome: Completion, uses: &[Use]) -> Option<Self> {
        let duration_ms = outcome.duration_ms?;
        let own = uses.iter().filter(|used| used.follows.is_none());
        Some(Self { duration_ms, of: own.map(|used| (used.meter, used.time)).collect() })
    }
}

impl What {
    /// The calls that it stands for, where it says so.
    pub fn calls(&self) -> Option<&Calls> {
        match self {
            Self::Recorded(recorded) => recorded.event.calls.as_deref(),
            Self::Reservation(hold) => match &**hold {
                Hold::Settled(settled) => settled.calls.as_deref(),
                Hold::Made { .. } | Hold::Extended { .. } | Hold::Released(_) => None,
            },
            _ => None,
        }
    }

    /// The calls that go with it, where what is void stood for several.
    pub fn calls_gone(&self) -> Option<&Calls> {
        match self {
            Self::Changed(change) => match &**change {
                Change::Corrected(correction) => correction.calls.as_deref(),
                _ => None,
            },
            _ => None,
        }
    }

    /// The durations that come with it, and those that go with it.
    pub fn timed(&self) -> (Option<Timed>, Option<Timed>) {
        match self {
            Self::Decided(decided) => (Timed::of(decided.outcome, &decided.uses), None),
            Self::Recorded(recorded) => (Timed::of(recorded.event.outcome, &recorded.uses), None),
            Self::Reservation(hold) => match &**hold {
                Hold::Settled(settled) => (Timed::of(settled.outcome, &settled.uses), None),
                Hold::Made { .. } | Hold::Extended { .. } | Hold::Released(_) => (None, None),
            },
            Self::Completed(completed) => (completed.timed.clone(), None),
            Self::Changed(change) => match &**change {
                Change::Corrected(correction) => (None, correction.untimed.clone()),
                _ => (None, None),
            },
            Self::Due(_) | Self::Image(_) | Self::Noticed(_) => (None, None),
        }
    }
}

/// Durations from `low` to before `low + width` milliseconds, which are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bin {
    /// The shortest.
    pub low: u32,
}

/// The bins there are: of every duration that a `u32` has.
const BINS: usize = 951;
const LOWS: [u32; BINS] = lows();

/// Each bin begins where the one before ends.
const fn lows() -> [u32; BINS] {
    let (mut lows, mut place) = ([0; BINS], 1);
    while place < BINS {
        lows[place] = lows[place - 1] + width(lows[place - 1]);
        place += 1;
    }
    lows
}

/// Half of what is more than one millisecond in it is at most 1 % of its shortest.
const fn width(low: u32) -> u32 {
    low / 50 + 1
}

impl Bin {
    /// That of a duration in milliseconds.
    pub fn of(duration_ms: u32) -> Self {
        let after = LOWS.partition_point(|low| *low <= duration_ms);
        Self { low: LOWS[after.saturating_sub(1)] }
    }

    /// What stands for all of its durations: their middle, in half milliseconds.
    pub fn middle_in_halves(self) -> i64 {
        2 * i64::from(self.low) + i64::from(width(self.low)) - 1
    }
}

/// The bin in which so many percent of all durations have been reached, by the nearest rank; `bins` are in order, each with
/// how many are in it.
pub fn percentile(mut bins: impl Iterator<Item = (Bin, u64)> + Clone, percent: u64) -> Option<Bin> {
    let count: u64 = bins.clone().map(|(_, count)| count).sum();
    let rank = (u128::from(count) * u128::from(percent)).div_ceil(100).max(1);
    let mut passed = 0;
    bins.find_map(|(bin, count)| {
        passed += u128::from(count);
        (count > 0 && passed >= rank).then_some(bin)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_a_bin_whose_middle_is_at_most_a_hundredth_off() {
        let mut tried = 0_u32;
        let near = LOWS.iter().flat_map(|low| [low.saturating_sub(1), *low, low.saturating_add(1)]);
        for duration in near.chain(0..20_000).chain([u32::MAX]) {
            let bin = Bin::of(duration);
            assert!(bin.low <= duration && duration - bin.low < width(bin.low), "{duration}: {bin:?}");
            let off = (bin.middle_in_halves() - 2 * i64::from(duration)).abs();
            assert!(100 * off <= 2 * i64::from(duration), "{duration}: {off} halves");
            tried += 1;
        }
        assert!(tried > 20_000 && u64::from(LOWS[BINS - 1]) + u64::from(width(LOWS[BINS - 1])) > u64::from(u32::MAX));
    }

    #[test]
    fn a_percentile_is_the_duration_at_its_rank() {
        let mut state = 7_u64;
        for size in [1_usize, 2, 3, 99, 100, 101, 1_000] {
            let mut durations = Vec::new();
            for _ in 0..size {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                durations.push(u32::try_from(state >> 45).unwrap());
            }
            durations.sort_unstable();
            let mut bins = std::collections::BTreeMap::new();
            durations.iter().for_each(|duration| *bins.entry(Bin::of(*duration)).or_insert(0) += 1);
            for percent in [50, 90, 95, 99, 100] {
                let rank = (size * percent).div_ceil(100).max(1);
                let found = percentile(bins.iter().map(|(bin, count)| (*bin, *count)), u64::try_from(percent).unwrap());
                assert_eq!(found, Some(Bin::of(durations[rank - 1])), "{percent} % of {size}");
            }
        }
        assert_eq!(percentile(std::iter::empty(), 50), None);
    }
}

//! How long things took (M8): of each bucket the number, the mean and percentiles, which are at most 1 % off.

use std::collections::BTreeMap;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::timing::{Bin, percentile};
use serde::Serialize;
use utoipa::ToSchema;

use super::buckets::Buckets;
use super::series::{Held, Slots};
use crate::http::number::Number;
use crate::store::reader::{ReadError, View};
use crate::store::rollup::durations_of;
use crate::store::rows::RollupRange;

/// How long what was used took, of events and decisions that say so, in milliseconds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DurationsBody {
    /// How many say how long they took.
    pub count: u64,
    /// Their mean, to a thousandth.
    pub mean: Number,
    /// Half took no longer.
    pub p50: Number,
    /// 90 % took no longer.
    pub p90: Number,
    /// 95 % took no longer.
    pub p95: Number,
    /// 99 % took no longer.
    pub p99: Number,
}

/// The durations of one bucket.
#[derive(Debug, Default)]
pub(super) struct Durations {
    bins: BTreeMap<Bin, i64>,
    sum: i64,
}

impl Durations {
    /// The figures; `None` where nothing says how long it took, or what did is void. `text`: as strings.
    pub(super) fn body(&self, text: bool) -> Option<DurationsBody> {
        let bins = self.bins.iter().filter_map(|(bin, count)| Some((*bin, u64::try_from(*count).ok()?)));
        let count: u64 = bins.clone().map(|(_, count)| count).sum();
        let of = |percent| {
            let middle = percentile(bins.clone(), percent)?.middle_in_halves();
            Some(Number { units: i128::from(middle) * 5, decimals: 1, text })
        };
        let mean = (i128::from(self.sum) * 1000).checked_div(i128::from(count))?;
        let mean = Number { units: mean, decimals: 3, text };
        Some(DurationsBody { count, mean, p50: of(50)?, p90: of(90)?, p95: of(95)?, p99: of(99)? })
    }
}

/// The durations of a meter by bucket.
pub(super) fn read(
    view: &View<'_>,
    organization: OrganizationId,
    meter: MeterId,
    buckets: &Buckets,
) -> Result<BTreeMap<usize, Durations>, ReadError> {
    let (first, last) = buckets.days();
    let range = RollupRange { organization, meter: durations_of(meter), first, last, newest_first: false };
    let mut found: BTreeMap<usize, Durations> = BTreeMap::new();
    let mut add = |bin: &str, slots: &Slots<'_>| {
        let Ok(low) = bin.parse::<u32>() else { return Ok(()) };
        let mut bucket = buckets.begun(slots.start).saturating_sub(1);
        slots.each(|time, slot| {
            if buckets.all().contains(time) {
                bucket = buckets.find(time, bucket);
                let durations = found.entry(bucket).or_default();
                *durations.bins.entry(Bin { low }).or_default() += slot.count;
                durations.sum = durations.sum.saturating_add(slot.sum);
            }
        })
    };
    view.each_rollup(&range, |day, bin, data| add(bin, &Slots::new(day, Held::Row(data))).map(|()| true))?;
    for (day, bin, slots) in view.lacking_rollups(&range)? {
        add(&bin, &Slots::new(day, Held::Lacking(&slots)))?;
    }
    Ok(found)
}

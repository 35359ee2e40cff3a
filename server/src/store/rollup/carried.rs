//! Use that the row of an account carries until it is added to the rows of rollups.
//!
//! On PostgreSQL a commit writes the row of every account that it changes, since another node may be next. A few bytes more in it
//! cost a fraction of another row, and they are as durable, under the same lock and version. So the rows of rollups lack at
//! most what the row of their account carries, and whoever reads them adds that.

use metergate_rules::id::{MeterId, OrganizationId};
use serde::{Deserialize, Serialize};

use super::{Day, RollupKey, Rollups};

/// Bytes that a row carries at most, about. More would make the rows of accounts so long that PostgreSQL compresses them.
pub(in crate::store) const MOST: usize = 512;
/// Bytes of a rollup beside its dimension values, and of one of its quarter hours, about.
const ROLLUP: usize = 8;
const QUARTER: usize = 8;

/// Rollups as an account's row carries them, each once: meter, day, dimension values, and what is to be added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Carried(Vec<(MeterId, i32, String, Day)>);

impl Carried {
    /// Whether the rows of rollups lack nothing.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an account's row carries after a commit that adds `more`, and what that commit adds to the rows of rollups: nothing,
    /// or all, where it is more than so many bytes.
    pub(in crate::store) fn after(&self, organization: OrganizationId, more: Rollups, most: usize) -> (Self, Rollups) {
        if more.len() * ROLLUP <= most {
            let carried = self.with(&more);
            if carried.bytes() <= most {
                return (carried, Rollups::default());
            }
        }
        let mut due = self.rollups(organization);
        due.extend(more);
        (Self::default(), due)
    }

    /// As they are added to the rows of an organization.
    pub(in crate::store) fn rollups(&self, organization: OrganizationId) -> Rollups {
        let of = |(meter, day, dimensions, slots): &(MeterId, i32, String, Day)| {
            let key = RollupKey { organization, meter: *meter, day: *day, dimensions: dimensions.clone() };
            (key, slots.clone())
        };
        Rollups(self.0.iter().map(of).collect())
    }

    fn with(&self, more: &Rollups) -> Self {
        let mut carried = self.clone();
        for (key, slots) in more.each() {
            let is_it = |(meter, day, dimensions, _): &&mut (MeterId, i32, String, Day)| {
                (*meter, *day, &**dimensions) == (key.meter, key.day, &*key.dimensions)
            };
            match carried.0.iter_mut().find(is_it) {
                Some((.., known)) => known.merge(slots),
                None => carried.0.push((key.meter, key.day, key.dimensions.clone(), slots.clone())),
            }
        }
        carried
    }

    fn bytes(&self) -> usize {
        let of = |(_, _, dimensions, slots): &(MeterId, i32, String, Day)| {
            ROLLUP + dimensions.len() + QUARTER * slots.slots().count()
        };
        self.0.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rollup::Slot;

    const OWNER: OrganizationId = OrganizationId([7; 16]);

    fn used(meter: u32, day: i32, dimensions: &str, quarter: u8) -> Rollups {
        let key = RollupKey { organization: OWNER, meter: MeterId(meter), day, dimensions: dimensions.to_owned() };
        let mut rollups = Rollups::default();
        rollups.add(key, quarter, &Slot { count: 1, sum: 5, ..Slot::default() });
        rollups
    }

    #[test]
    fn what_is_carried_and_what_is_written_come_to_all_that_was_added() {
        let (mut carried, mut written, mut all) = (Carried::default(), Rollups::default(), Rollups::default());
        let mut commits = 0;
        for i in 0..400_u32 {
            let more = || used(i % 3, 20_000 + (i % 2).cast_signed(), ["", "{}"][i as usize % 2], (i / 5) as u8);
            let (after, due) = carried.after(OWNER, more(), MOST);
            assert!(after.bytes() <= MOST && (due.is_empty() || after.is_empty()));
            commits += usize::from(!due.is_empty());
            carried = after;
            written.extend(due);
            all.extend(more());
        }
        assert!((1..40).contains(&commits), "{commits} of 400 commits wrote rows");
        let stored = postcard::to_allocvec(&carried).unwrap();
        assert_eq!(postcard::from_bytes::<Carried>(&stored).unwrap(), carried);
        written.extend(carried.rollups(OWNER));
        assert_eq!(written.sorted(), all.sorted());
    }

    #[test]
    fn much_at_once_is_written_at_once_with_what_was_carried_before_it() {
        let (carried, due) = Carried::default().after(OWNER, used(1, 20_000, "", 3), MOST);
        assert!(due.is_empty() && !carried.is_empty());
        let long = "x".repeat(MOST);
        let (after, due) = carried.after(OWNER, used(1, 20_000, &long, 3), MOST);
        assert_eq!((after, due.sorted().len()), (Carried::default(), 2));
        let (after, due) = carried.after(OWNER, Rollups::default(), MOST);
        assert_eq!((after, due.len()), (carried, 0));
    }

    #[test]
    fn nothing_is_carried_where_nothing_may_be() {
        let (carried, due) = Carried::default().after(OWNER, used(1, 20_000, "", 3), 0);
        assert_eq!((carried, due.len()), (Carried::default(), 1));
    }
}

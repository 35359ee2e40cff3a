//! Rows of rollups as this connection wrote them last, so that a commit that adds to them need not read them.
//!
//! A row is written in one transaction with its account, whose version rises with every write of either. So it is what is stored
//! as long as the account's row, once it is held, has the version that they were written with.

use std::collections::HashMap;

use metergate_rules::id::{MeterId, OrganizationId};

use super::rollups::Written;
use crate::store::ledger::Map;
use crate::store::rollup::RollupKey;

/// Rows that are kept in all, of a few hundred bytes each. Beyond that all are forgotten: they are a read away.
const MOST: usize = 50_000;
/// Rows that are kept of one organization.
const MOST_OF_ONE: usize = 16;

/// The rows that are kept.
#[derive(Default)]
pub(super) struct Kept {
    organizations: Map<OrganizationId, OfOne>,
    rows: usize,
}

#[derive(Default)]
struct OfOne {
    /// The version of the account with which these are what is stored.
    version: i64,
    rows: Vec<Row>,
}

struct Row {
    meter: MeterId,
    day: i32,
    dimensions: String,
    data: Vec<u8>,
}

impl Row {
    fn is(&self, meter: MeterId, day: i32, dimensions: &str) -> bool {
        (self.meter, self.day, &*self.dimensions) == (meter, day, dimensions)
    }
}

impl Kept {
    /// What is stored for a rollup, where that is known, of an account that is held and has this version.
    pub(super) fn find(&self, key: &RollupKey, version: i64) -> Option<&[u8]> {
        let own = self.organizations.get(&key.organization).filter(|own| own.version == version)?;
        let row = own.rows.iter().find(|row| row.is(key.meter, key.day, &key.dimensions))?;
        Some(&row.data)
    }

    /// The rows of an organization are not what was written last.
    pub(super) fn forget(&mut self, organization: OrganizationId) {
        let gone = self.organizations.remove(&organization);
        self.rows -= gone.map_or(0, |own| own.rows.len());
    }

    /// What a commit wrote is stored from now on. `locked` are the versions that the accounts in it had before.
    pub(super) fn take_in(&mut self, locked: &HashMap<OrganizationId, i64>, written: Written) {
        for (organization, version) in locked {
            let Some(own) = self.organizations.get_mut(organization) else { continue };
            if own.version != *version {
                self.rows -= own.rows.len();
                own.rows.clear();
            }
            own.version = version + 1;
        }
        for (organization, row) in written.into_rows() {
            // Without its account nothing says until when a row is what it was.
            let Some(version) = locked.get(&organization) else { continue };
            let own = self.organizations.entry(organization).or_default();
            own.version = version + 1;
            self.rows += own.put(row);
        }
        if self.rows > MOST {
            *self = Self::default();
        }
    }
}

impl OfOne {
    /// Keeps a row in the place of what it was, or of the one that was kept first. How many more there are then.
    fn put(&mut self, row: Row) -> usize {
        if let Some(known) = self.rows.iter_mut().find(|known| known.is(row.meter, row.day, &row.dimensions)) {
            known.data = row.data;
            return 0;
        }
        let is_full = self.rows.len() >= MOST_OF_ONE;
        if is_full {
            self.rows.remove(0);
        }
        self.rows.push(row);
        usize::from(!is_full)
    }
}

impl Written {
    fn into_rows(self) -> impl Iterator<Item = (OrganizationId, Row)> {
        let places = self.organizations.into_iter().zip(self.meters).zip(self.days);
        places.zip(self.dimensions).zip(self.data).map(|((((organization, meter), day), dimensions), data)| {
            let meter = MeterId(u32::try_from(meter).unwrap_or(u32::MAX));
            (OrganizationId(organization.into_bytes()), Row { meter, day, dimensions, data })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rollup::{Day, RollupRow, Slot};

    fn key(organization: u8, meter: u32) -> RollupKey {
        let organization = OrganizationId([organization; 16]);
        RollupKey { organization, meter: MeterId(meter), day: 20_000, dimensions: String::new() }
    }

    /// A commit on accounts of these versions that writes rows, each with a count.
    fn commit(kept: &mut Kept, locked: &[(u8, i64)], rows: &[(u8, u32, i64)]) {
        let locked = locked.iter().map(|(organization, version)| (OrganizationId([*organization; 16]), *version));
        let mut written = Written::default();
        for (organization, meter, count) in rows {
            let RollupKey { organization, meter, day, dimensions } = key(*organization, *meter);
            let row = RollupRow { organization, meter, day, dimensions: &dimensions };
            written.push(&row, &day_of(*count)).unwrap();
        }
        kept.take_in(&locked.collect(), written);
    }

    fn day_of(count: i64) -> Day {
        let mut day = Day::default();
        day.add(3, &Slot { count, ..Slot::default() });
        day
    }

    /// What is known of a row at a version of its account.
    fn found(kept: &Kept, organization: u8, meter: u32, version: i64) -> Option<i64> {
        let key = key(organization, meter);
        let row = RollupRow { organization: key.organization, meter: key.meter, day: key.day, dimensions: "" };
        let data = kept.find(&key, version)?;
        Some(Day::read(row.unseal(data).unwrap()).unwrap().all().count)
    }

    #[test]
    fn a_row_is_known_at_the_version_that_it_was_written_with_alone() {
        let mut kept = Kept::default();
        commit(&mut kept, &[(1, 7), (2, 0)], &[(1, 1, 5), (2, 1, 6)]);
        assert_eq!((found(&kept, 1, 1, 8), found(&kept, 2, 1, 1)), (Some(5), Some(6)));
        assert_eq!((found(&kept, 1, 1, 7), found(&kept, 1, 1, 9), found(&kept, 1, 2, 8)), (None, None, None));
        commit(&mut kept, &[(1, 8)], &[]);
        assert_eq!(found(&kept, 1, 1, 9), Some(5), "a commit without rows leaves them as they are");
        commit(&mut kept, &[(1, 9)], &[(1, 2, 1), (1, 1, 7)]);
        assert_eq!((found(&kept, 1, 1, 10), found(&kept, 1, 2, 10)), (Some(7), Some(1)));
    }

    #[test]
    fn what_another_node_has_changed_is_not_known_any_more() {
        let mut kept = Kept::default();
        commit(&mut kept, &[(1, 7)], &[(1, 1, 5), (1, 2, 5)]);
        commit(&mut kept, &[(1, 11)], &[(1, 2, 9)]);
        assert_eq!((found(&kept, 1, 1, 12), found(&kept, 1, 2, 12)), (None, Some(9)));
        assert_eq!(kept.rows, 1);
        kept.forget(OrganizationId([1; 16]));
        commit(&mut kept, &[(1, 12)], &[]);
        assert_eq!((found(&kept, 1, 2, 13), kept.rows), (None, 0));
    }

    #[test]
    fn as_many_are_kept_as_there_is_room_for() {
        let mut kept = Kept::default();
        let meters = u32::try_from(MOST_OF_ONE).unwrap() + 3;
        for meter in 0..meters {
            commit(&mut kept, &[(1, i64::from(meter))], &[(1, meter, 1)]);
        }
        let version = i64::from(meters);
        assert_eq!((found(&kept, 1, 2, version), found(&kept, 1, 3, version)), (None, Some(1)));
        assert_eq!(kept.rows, MOST_OF_ONE);
        kept.rows = MOST;
        commit(&mut kept, &[(2, 0)], &[(2, 1, 1)]);
        assert_eq!((kept.rows, kept.organizations.len()), (0, 0));
    }
}

//! The journal of a data folder, read beside the store.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use metergate::store::block::{Block, Record};
use metergate::store::slice::{Records, SliceError};
use metergate::store::sqlite::Sqlite;
use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::meter::Measure;
use metergate_rules::outcome::{Use, What};
use metergate_rules::time::Time;

/// Every record of every block, in order.
#[derive(Default)]
pub(crate) struct Journal {
    /// Block, organization, record.
    pub(crate) records: Vec<(u64, OrganizationId, Record)>,
    /// When the blocks were committed that are still in the database.
    pub(super) committed: BTreeMap<u64, Time>,
}

impl Journal {
    /// Reads the journal of a data folder as it is on disk now.
    pub(crate) fn of(folder: &Path) -> Self {
        let sqlite = Sqlite::open_to_read(folder).expect("the store can be read");
        let snapshot = sqlite.connection().unchecked_transaction().unwrap();
        let journal = Self::in_snapshot(folder, &sqlite);
        snapshot.rollback().unwrap();
        journal
    }

    /// Reads what the snapshot of a connection has: slices, then the blocks that are in none. They must follow each other
    /// without a gap, from the first on.
    pub(crate) fn in_snapshot(folder: &Path, sqlite: &Sqlite) -> Self {
        let (mut records, mut committed, mut next) = (Vec::new(), BTreeMap::new(), 1);
        for extent in sqlite.slices().unwrap() {
            assert_eq!(extent.first, next, "a gap in the journal");
            let file = Records::open(&extent.records_in(folder)).expect("a slice can be read");
            let start = records.len();
            let each = |sequence, organization, of_block: Vec<(u32, Record)>| {
                assert!((extent.first..=extent.last).contains(&sequence));
                records.extend(of_block.into_iter().map(|(_, record)| (sequence, organization, record)));
                Ok::<_, SliceError>(())
            };
            file.each(each).expect("a slice can be read");
            records[start..].sort_by_key(|(sequence, ..)| *sequence);
            next = extent.last + 1;
        }
        let sql = "SELECT sequence, at, data FROM blocks WHERE sequence >= ? ORDER BY sequence";
        let mut query = sqlite.connection().prepare(sql).unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?));
        for row in query.query_map([next.cast_signed()], read).unwrap() {
            let (sequence, at, data) = row.unwrap();
            let sequence = sequence.unsigned_abs();
            committed.insert(sequence, Time::from_micros(at));
            assert_eq!(sequence, next, "a gap in the journal");
            let all = Block::read(&data).and_then(|block| block.all()).expect("a block can be read");
            records.extend(all.into_iter().map(|(organization, _, record)| (sequence, organization, record)));
            next += 1;
        }
        Self { records, committed }
    }

    /// The records of one organization.
    pub(crate) fn of_organization(&self, id: OrganizationId) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |(_, organization, _)| *organization == id).map(|(_, _, record)| record)
    }

    /// The records of one organization in blocks up to `sequence`.
    pub(super) fn up_to(&self, sequence: u64, id: OrganizationId) -> impl Iterator<Item = &Record> {
        let of_it =
            self.records.iter().filter(move |(block, organization, _)| *block <= sequence && *organization == id);
        of_it.map(|(_, _, record)| record)
    }

    /// What decisions added to a meter of an organization, with their times.
    pub(crate) fn decisions(&self, organization: OrganizationId, meter: MeterId) -> Vec<(Time, i64)> {
        let uses = self.of_organization(organization).flat_map(|record| match &record.entry.what {
            What::Decided(decided) => decided.uses.as_slice(),
            _ => &[],
        });
        uses.filter(|used| used.meter == meter).map(|used| (used.time, added(used))).collect()
    }
}

/// What an entry did to meters.
pub(super) fn uses(record: &Record) -> &[Use] {
    record.entry.what.uses()
}

/// What a use added to what adds up.
pub(super) fn added(used: &Use) -> i64 {
    match used.measure {
        Measure::Add(quantity) => quantity.units(),
        Measure::Value(_) => 1,
        Measure::Peak(_) | Measure::Level(_) => 0,
        Measure::Adjust(units) => units,
        Measure::Void(quantity) => -quantity.units(),
        Measure::VoidValue(_) => -1,
    }
}

/// The most that was admitted in any interval of `length` microseconds, open at one end.
pub(crate) fn most_in_any(length: i64, decisions: &[(Time, i64)]) -> i64 {
    let (mut within, mut sum, mut most) = (VecDeque::new(), 0, 0);
    for (time, quantity) in decisions {
        within.push_back((*time, *quantity));
        sum += quantity;
        while within.front().is_some_and(|(first, _)| time.since(*first) >= length) {
            sum -= within.pop_front().map_or(0, |(_, quantity)| quantity);
        }
        most = most.max(sum);
    }
    most
}

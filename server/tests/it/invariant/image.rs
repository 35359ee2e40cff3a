//! What is stored, read at one snapshot: of a data folder as it is on disk, or of a store through its reader.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use metergate::store::Store;
use metergate::store::audit::{AuditRow, TEAM};
use metergate::store::block::Block;
use metergate::store::error::EngineError;
use metergate::store::reader::View;
use metergate::store::rollup::{Day, RollupKey, RollupRow, Slot, ValueKey};
use metergate::store::rows::{MeterDays, Rows};
use metergate::store::sqlite::Sqlite;
use metergate::store::totals::Totals;
use metergate_rules::account::Account;
use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::meter::ValueHash;
use metergate_rules::time::{Span, Time};
use tokio::runtime::Runtime;

use super::journal::Journal;
use super::{Held, equal};

/// Organizations, blocks and entries that are read at once.
const STEP: usize = 1000;

/// All of it.
pub(crate) struct Image {
    pub(crate) journal: Journal,
    pub(crate) rows: BTreeMap<OrganizationId, (u64, Account)>,
    /// Up to this block every row holds every block, whatever it says.
    pub(super) folded_to: u64,
    pub(crate) rollups: BTreeMap<RollupKey, Day>,
    /// What each day came to, where the engine keeps that.
    pub(super) days: Option<BTreeMap<(OrganizationId, MeterId, i32), Slot>>,
    pub(super) values: BTreeMap<ValueKey, i64>,
    pub(super) totals: Totals,
    pub(super) chains: BTreeMap<[u8; 16], Vec<AuditRow>>,
}

impl Image {
    /// Of a data folder; the store may be at work meanwhile.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let sqlite = Sqlite::open_to_read(folder).expect("the store can be read");
        let snapshot = sqlite.connection().unchecked_transaction().unwrap();
        let journal = Journal::in_snapshot(folder, &sqlite);
        let folded_to = sqlite.setting("folded_to").unwrap().map_or(0, |text| text.parse().expect("a sequence"));
        // What is left of deleted organizations goes little by little, and nobody reads it.
        let leaving = leaving(&sqlite);
        let (mut rollups, mut values) = (stored_rollups(&sqlite), stored_values(&sqlite));
        rollups.retain(|key, _| !leaving.contains(&key.organization));
        values.retain(|key, _| !leaving.contains(&key.organization));
        let (rows, totals) = (account_rows(&sqlite), sqlite.totals().unwrap());
        let chains = chains(&sqlite);
        let mut days = Some(BTreeMap::new());
        rows.keys().try_for_each(|id| take_in_days(&mut days, &sqlite, *id)).expect("the totals of days can be read");
        snapshot.rollback().unwrap();
        Self { journal, rows, folded_to, rollups, days, values, totals, chains }
    }

    /// Of a store whose rows are never behind.
    pub(crate) fn of_store(store: &Store, runtime: &Runtime) -> Self {
        let image = Self::of_moved_store(store, runtime);
        let mut last: BTreeMap<OrganizationId, u64> = BTreeMap::new();
        for (sequence, id, _) in &image.journal.records {
            let before = last.insert(*id, *sequence).unwrap_or(0);
            assert!((before..=before + 1).contains(sequence), "a gap in the journal of {id}");
        }
        image
    }

    /// Of one into which another was moved: journals have gaps where other organizations had all of a block.
    pub(crate) fn of_moved_store(store: &Store, runtime: &Runtime) -> Self {
        let totals = runtime.block_on(store.reader().totals()).unwrap();
        let meters: Vec<MeterId> = store.catalogue().stored.meters.keys().copied().collect();
        let read = move |view: &View<'_>| Ok(Self { totals, ..Self::in_view(view, &meters)? });
        runtime.block_on(store.reader().read(read)).expect("the store can be read")
    }

    fn in_view(view: &View<'_>, meters: &[MeterId]) -> Result<Self, EngineError> {
        let mut image = Self {
            journal: Journal::default(),
            rows: BTreeMap::new(),
            folded_to: 0,
            rollups: BTreeMap::new(),
            days: None,
            values: BTreeMap::new(),
            totals: Totals::default(),
            chains: BTreeMap::new(),
        };
        let mut after = None;
        loop {
            let some = view.rows().due_times(after, STEP)?;
            for (id, _) in &some {
                image.take_in(view, *id, meters)?;
            }
            after = some.last().map(|(id, _)| *id);
            if some.len() < STEP {
                break;
            }
        }
        let mut chain = view.rows().audit_chain_from(TEAM)?;
        while let Some(name) = chain {
            image.chains.insert(name, view.rows().audit_after(name, 0, usize::MAX)?);
            chain = view.rows().audit_chain_after(name)?;
        }
        Ok(image)
    }

    fn take_in(&mut self, view: &View<'_>, id: OrganizationId, meters: &[MeterId]) -> Result<(), EngineError> {
        let rows = view.rows();
        self.rows.insert(id, rows.account_row(id)?.expect("the row is there"));
        let mut next = 1;
        loop {
            let blocks = rows.own_blocks_in(id, next..=u64::MAX, STEP)?;
            for (sequence, data) in &blocks {
                let records = Block::read(data).and_then(|block| block.of(id)).expect("a block can be read");
                self.journal.records.extend(records.into_iter().map(|(_, record)| (*sequence, id, record)));
                next = sequence + 1;
            }
            if blocks.len() < STEP {
                break;
            }
        }
        rows.each_row_of_rollups(id, i32::MIN..=i32::MAX, &mut |(meter, day), dimensions, data| {
            let key = RollupKey { organization: id, meter, day, dimensions: dimensions.to_owned() };
            let found = RollupRow { organization: id, meter, day, dimensions };
            self.rollups.insert(key, Day::read(found.unseal(data).expect("a rollup is what was written")).unwrap());
            Ok(())
        })?;
        let span = Span { start: Time::MIN, end: Time::MAX };
        for meter in meters {
            rows.each_value(id, *meter, span, &mut |bucket, value, count| {
                let key = ValueKey { organization: id, meter: *meter, value: ValueHash(value), bucket };
                self.values.insert(key, count);
            })?;
        }
        Ok(())
    }

    /// Whether all that is about organizations which are there is the same, wherever it is stored.
    pub(crate) fn same_as(&self, other: &Self) -> Held {
        let journal = |image: &Self| {
            let mut records = image.journal.records.clone();
            records.retain(|(_, id, _)| self.rows.contains_key(id));
            records.sort_by_key(|(sequence, id, _)| (*id, *sequence));
            records
        };
        equal("moved", "accounts", &self.rows, &other.rows)?;
        equal("moved", "journals", &journal(self), &journal(other))?;
        equal("moved", "rollups", &self.rollups, &other.rollups)?;
        equal("moved", "distinct values", &self.values, &other.values)?;
        equal("moved", "use of all together", &self.totals, &other.totals)?;
        equal("moved", "the audit log", &self.chains, &other.chains)
    }

    /// Whether an organization has ever been deleted.
    pub(super) fn has_deleted(&self) -> bool {
        let of_team = self.chains.get(&TEAM).into_iter().flatten();
        let told = of_team.filter(|row| row.action == "organization.delete").count() > 0;
        told || self.journal.records.iter().any(|(_, _, record)| record.entry.what.deletes())
    }
}

fn take_in_days(
    days: &mut Option<BTreeMap<(OrganizationId, MeterId, i32), Slot>>,
    rows: &dyn Rows,
    organization: OrganizationId,
) -> Result<(), EngineError> {
    let all = MeterDays { organization, meters: (MeterId(0), MeterId(u32::MAX)), days: i32::MIN..=i32::MAX };
    let mut own = BTreeMap::new();
    let are_kept = rows.each_day_total(&all, &mut |meter, day, total| {
        assert_eq!(own.insert((organization, meter, day), total), None, "a day has one total");
    })?;
    if let Some(days) = days.as_mut().filter(|_| are_kept) {
        days.extend(own)
    } else {
        *days = None
    }
    Ok(())
}

fn account_rows(sqlite: &Sqlite) -> BTreeMap<OrganizationId, (u64, Account)> {
    let mut query = sqlite.connection().prepare("SELECT id, sequence FROM accounts").unwrap();
    let rows = query.query_map([], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?))).unwrap();
    let read = |row: rusqlite::Result<([u8; 16], i64)>| {
        let (id, sequence) = row.unwrap();
        let account = sqlite.account(OrganizationId(id)).unwrap().expect("the row is there");
        (OrganizationId(id), (sequence.unsigned_abs(), account))
    };
    rows.map(read).collect()
}

/// Every rollup that has a row.
pub(crate) fn stored_rollups(sqlite: &Sqlite) -> BTreeMap<RollupKey, Day> {
    let sql = "SELECT organization, meter, day, dimensions, data FROM rollups";
    let mut query = sqlite.connection().prepare(sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let key = RollupKey {
            organization: OrganizationId(row.get(0)?),
            meter: MeterId(row.get(1)?),
            day: row.get(2)?,
            dimensions: row.get(3)?,
        };
        let found =
            RollupRow { organization: key.organization, meter: key.meter, day: key.day, dimensions: &key.dimensions };
        let data = row.get::<_, Vec<u8>>(4)?;
        let day = Day::read(found.unseal(&data).expect("a rollup is what was written")).expect("a rollup can be read");
        Ok((key, day))
    };
    query.query_map([], read).unwrap().map(Result::unwrap).collect()
}

/// Deleted organizations of which rows may be left.
fn leaving(sqlite: &Sqlite) -> BTreeSet<OrganizationId> {
    let mut query = sqlite.connection().prepare("SELECT organization FROM deletions").unwrap();
    let rows = query.query_map([], |row| row.get(0).map(OrganizationId)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn stored_values(sqlite: &Sqlite) -> BTreeMap<ValueKey, i64> {
    let sql = "SELECT organization, meter, value, bucket, count FROM unique_values";
    let mut query = sqlite.connection().prepare(sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let key = ValueKey {
            organization: OrganizationId(row.get(0)?),
            meter: MeterId(row.get(1)?),
            value: ValueHash(row.get(2)?),
            bucket: Time::from_micros(row.get(3)?),
        };
        Ok((key, row.get(4)?))
    };
    query.query_map([], read).unwrap().map(Result::unwrap).collect()
}

fn chains(sqlite: &Sqlite) -> BTreeMap<[u8; 16], Vec<AuditRow>> {
    let mut query = sqlite.connection().prepare("SELECT DISTINCT chain FROM audit").unwrap();
    let chains = query.query_map([], |row| row.get::<_, [u8; 16]>(0)).unwrap().map(Result::unwrap);
    let rows = |chain| {
        let mut rows = sqlite.audit_before(chain, u64::MAX, usize::MAX).unwrap();
        rows.reverse();
        (chain, rows)
    };
    chains.map(rows).collect()
}

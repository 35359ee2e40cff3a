//! What the suite reads: as readers do, or as an operator finds it.

use std::collections::BTreeMap;
use std::time::Duration;

use metergate::catalogue::Snapshot;
use metergate::store::audit::{AuditRow, chain_of};
use metergate::store::error::EngineError;
use metergate::store::examine::examine;
use metergate::store::reader::{ReadError, View};
use metergate::store::rollup::{Day, RollupKey, Slot};
use metergate::store::rows::{RollupRange, Rows};
use metergate::store::sqlite::Sqlite;
use metergate::store::totals::Totals;
use metergate::store::{Scope, StoreError};
use metergate_rules::account::Account;
use metergate_rules::id::OrganizationId;
use metergate_rules::window::Window;

use super::super::ENGINE;
use super::super::asks::{meter, organization};
use super::super::engine::Engine;
use super::Kit;
use crate::invariant::{Held, Image, Journal, all_hold, stored_rollups};

/// How often a test looks, every 10 ms, whether the store has done something.
const PATIENCE: u32 = 3000;

impl Kit {
    /// The account as readers see it.
    pub(in super::super) fn account(&self, key: &str) -> Account {
        let key = organization(key);
        let read = self.open().store.reader().read(move |view| view.account(Scope::Team, &key));
        self.runtime.block_on(read).expect("the organization can be read")
    }

    pub(in super::super) fn exists(&self, key: &str) -> bool {
        let key = organization(key);
        let read = self.open().store.reader().read(move |view| view.account(Scope::Team, &key));
        match self.runtime.block_on(read) {
            Ok(_) => true,
            Err(StoreError::UnknownOrganization) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// What is counted in a window.
    pub(in super::super) fn used(&self, key: &str, name: &str, window: Window) -> i64 {
        let account = self.account(key);
        account.meter(meter(name)).and_then(|used| used.counter(window)).map_or(0, |counter| counter.used.units())
    }

    /// What reports say of a meter over all time.
    pub(in super::super) fn reported(&self, key: &str, name: &str) -> Slot {
        let (id, number) = (self.account(key).id, meter(name));
        let read = move |view: &metergate::store::reader::View<'_>| {
            let mut total = Slot::default();
            let (first, last) = (i32::MIN, i32::MAX);
            let range = RollupRange { organization: id, meter: number, first, last, newest_first: false };
            view.each_rollup(&range, |_, _, data| {
                total.merge(&Day::total(data).unwrap());
                Ok(true)
            })?;
            for (_, _, day) in view.lacking_rollups(&range)? {
                day.slots().for_each(|(_, slot)| total.merge(slot));
            }
            Ok(total)
        };
        self.runtime.block_on(self.open().store.reader().read(read)).unwrap()
    }

    /// Reads what is stored as readers do.
    pub(in super::super) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>, &Snapshot) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = &self.open().store;
        let catalogue = store.catalogue();
        self.runtime.block_on(store.reader().read(move |view| read(view, &catalogue)))
    }

    /// Reads rows as readers do.
    pub(in super::super) fn of_rows<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Rows) -> Result<T, EngineError> + Send + 'static,
    ) -> T {
        self.read(move |view, _| Ok(read(view.rows())?)).unwrap()
    }

    /// What all organizations together used, as the fleet view says it.
    pub(in super::super) fn used_by_all(&self) -> Totals {
        self.runtime.block_on(self.open().store.reader().totals()).unwrap()
    }

    /// How many rows a table has.
    pub(in super::super) fn count(&self, table: &str) -> u64 {
        if let Some(database) = &self.database {
            return database.number(&format!("SELECT count(*) FROM metergate.{table}")).unsigned_abs();
        }
        let sql = format!("SELECT count(*) FROM {table}");
        self.database().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    }

    /// The journal's newest block, which stays when the slices have taken the others; of journals of their own their sum.
    pub(in super::super) fn last_block(&self) -> u64 {
        if let Some(database) = &self.database {
            return database.number("SELECT sum(sequence)::bigint FROM metergate.accounts").unsigned_abs();
        }
        let newest = "SELECT max(sequence) FROM blocks";
        self.database().query_row(newest, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    }

    /// Waits until it is so: the store does some things beside what it is asked.
    pub(in super::super) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE {
            if holds(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("after {PATIENCE} looks it still is not so: {what}");
    }

    /// An organization's entries in the audit log, oldest first.
    pub(in super::super) fn audit(&self, key: &str) -> Vec<AuditRow> {
        self.chain(chain_of(self.account(key).id))
    }

    /// The entries of a chain, oldest first.
    pub(in super::super) fn chain(&self, chain: [u8; 16]) -> Vec<AuditRow> {
        self.read(move |view, _| Ok(view.rows().audit_after(chain, 0, usize::MAX)?)).unwrap()
    }

    pub(in super::super) fn journal(&self) -> Journal {
        self.image().journal
    }

    /// All that is stored: of the embedded store also while it is closed.
    pub(in super::super) fn image(&self) -> Image {
        match (ENGINE, self.open.as_ref()) {
            (Engine::Embedded, _) => Image::of_folder(self.folder()),
            (Engine::Postgres, Some(open)) => Image::of_store(&open.store, &self.runtime),
            (Engine::Postgres, None) => {
                let again = self.another_at(super::start());
                Image::of_store(&again.store, &self.runtime)
            }
        }
    }

    /// Every rollup that has a row, of the embedded store also while it is closed.
    pub(in super::super) fn rollups(&self) -> BTreeMap<RollupKey, Day> {
        match ENGINE {
            Engine::Embedded => stored_rollups(&Sqlite::open_to_read(self.folder()).unwrap()),
            // Records that have gone for their age leave a gap.
            Engine::Postgres => match &self.open {
                Some(open) => Image::of_moved_store(&open.store, &self.runtime).rollups,
                None => self.image().rollups,
            },
        }
    }

    /// Has the database do something behind the store's back.
    pub(in super::super) fn sql(&self, sql: &str) {
        match &self.database {
            Some(database) => database.run(&format!("SET search_path = metergate; {sql}")),
            None => self.database().execute_batch(sql).unwrap(),
        }
    }

    /// The invariants that can be seen in what is stored.
    pub(in super::super) fn check(&self) -> Held {
        all_hold(&self.image())
    }

    /// How many rows of a table are an organization's.
    pub(in super::super) fn count_of(&self, table: &str, id: OrganizationId) -> u64 {
        self.count(&format!("{table} WHERE {}", is_of(table, id)))
    }

    /// Changes what is stored of an organization behind the store's back.
    pub(in super::super) fn tamper(&self, table: &str, set: &str, id: OrganizationId, and: &str) {
        self.sql(&format!("UPDATE {table} SET {set} WHERE {} {and}", is_of(table, id)));
    }

    /// What is wrong with the closed store, as far as its engine can say.
    pub(in super::super) fn examined(&self) -> Vec<String> {
        match ENGINE {
            Engine::Embedded => examine(self.folder(), &|| true).unwrap().findings,
            Engine::Postgres => Vec::new(),
        }
    }

    /// Waits until the rows hold all that was acknowledged.
    pub(in super::super) fn rows_are_written(&self) {
        if ENGINE == Engine::Embedded {
            self.wait_until("the rows are up to the journal", |kit| {
                Sqlite::open_to_read(kit.folder()).unwrap().totals().unwrap() == kit.used_by_all()
            });
        }
    }
}

/// Bytes in SQL.
pub(in super::super) fn blob(bytes: &[u8]) -> String {
    match ENGINE {
        Engine::Embedded => format!("x'{}'", metergate::hex::hex(bytes)),
        Engine::Postgres => format!("decode('{}', 'hex')", metergate::hex::hex(bytes)),
    }
}

/// The condition by which rows of a table are an organization's.
pub(in super::super) fn is_of(table: &str, id: OrganizationId) -> String {
    let column = match table {
        "audit" | "audit_checkpoints" => "chain",
        "receipts" => "scope",
        "accounts" | "organizations" => "id",
        _ => "organization",
    };
    let column = if ENGINE == Engine::Postgres { "organization" } else { column };
    format!("{column} = {}", named(id))
}

/// An organization in SQL.
pub(in super::super) fn named(id: OrganizationId) -> String {
    if ENGINE == Engine::Postgres { format!("'{id}'") } else { blob(id.bytes()) }
}

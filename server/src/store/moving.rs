//! Moving an embedded store into an empty PostgreSQL: in one transaction, so that all of it is there or nothing, and it is tried
//! again as if it had never been tried.
//!
//! First the store is opened once, so that every row is up to the journal. Each organization's part of each block becomes a block
//! of its own journal with the same number, in which its records have the same offsets: so the places of decisions, which
//! callers may know, stay what they were. Before the commit all that was written is counted, every chain of the audit log is
//! gone through, and its end compared.
//!
//! It needs the memory of a start, and after that of some rows at a time and sixteen bytes an organization.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::meter::ValueHash;
use metergate_rules::time::{Span, Time};
use serde::Serialize;

use super::audit::chain_of;
use super::block::{Block, Place, Run, pack_alone};
use super::error::{EngineError, unreadable};
use super::examine::examine;
use super::known::{Id, IdHasher};
use super::open::{Settings, Store};
use super::postgres::moving::{Blocks, Days, Ids, Links, Receipt};
use super::postgres::write::Changed;
use super::postgres::{self, Postgres};
use super::rollup::{RollupRow, ValueKey};
use super::slice::Files;
use super::sqlite::Sqlite;
use super::totals::Totals;
use crate::clock::Clock;
use crate::config::Secret;

mod outbox;
mod team;
mod verify;

/// Bytes of blocks that are written at a time.
const BYTES: usize = 1 << 20;
/// Rows of anything that are written at a time.
const ROWS: usize = 1000;
/// Settings that are the installation's.
const SETTINGS: [&str; 4] = ["values_key", "audit_key", "ids_key", "admin_key_hash"];
/// How often it is looked whether every row is up to the journal, and how often at most: for two hours.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 72_000;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Organizations.
    pub organizations: u64,
    /// Parts of blocks of the journal.
    pub blocks: u64,
    /// Ids of decisions and events that are still known.
    pub ids: u64,
    /// Rows that reports are made of.
    pub rollups: u64,
    /// Rows of distinct values.
    pub values: u64,
    /// Chains of the audit log.
    pub audit_chains: u64,
    /// Their entries.
    pub audit_entries: u64,
    /// Answers that are kept under idempotency keys.
    pub answers: u64,
    /// Users, members, sessions and what else is people's.
    pub people: u64,
    /// Messages to webhook endpoints, sent or not.
    pub messages: u64,
}

/// Moves the store of a folder, which nobody else uses, into the database of a URL. `watch` hears what is being done, and how
/// many of so many organizations are.
///
/// # Errors
/// [`EngineError`]; nothing stands in the database then.
pub fn move_store(
    settings: &Settings,
    url: &Secret,
    clock: Clock,
    watch: &dyn Fn(&'static str, u64, u64),
) -> Result<Moved, EngineError> {
    watch("bringing every row up to the journal", 0, 0);
    settle(settings, clock)?;
    let sqlite = Sqlite::open_to_read(&settings.folder)?;
    let address = postgres::address(url.expose())?;
    let known_since = clock.now().plus(-settings.keeps_ids());
    let target = Postgres::begin_moving(&address, known_since, clock.now())?;
    let key = sqlite.setting("ids_key")?.ok_or_else(|| unreadable("the setting ids_key", "it is missing"))?;
    let key = u128::from_str_radix(&key, 16).map_err(|error| unreadable("ids_key", error))?;
    let mut moving = Moving {
        organizations: organizations(&sqlite)?,
        last: sqlite.last_block()?.0,
        hasher: IdHasher::new(&key.to_be_bytes()),
        known_since,
        blocks: Blocks::default(),
        ids: Ids::default(),
        moved: Moved::default(),
        sqlite: &sqlite,
        target: &target,
        watch,
    };
    moving.team(clock.now())?;
    moving.journal(&settings.folder)?;
    moving.accounts()?;
    moving.audit()?;
    moving.answers()?;
    moving.outbox()?;
    moving.verify()?;
    let moved = moving.moved;
    target.commit()?;
    Ok(moved)
}

/// Opens the store and lets it go on until every row is up to the journal, and nothing is left of what was deleted. One that
/// is damaged never comes to that, and is not moved.
fn settle(settings: &Settings, clock: Clock) -> Result<(), EngineError> {
    let settings = Settings { database: None, ..settings.clone() };
    let store = Store::open(settings.clone(), clock)?;
    if let Some(finding) = examine(&settings.folder, &|| true)?.findings.first() {
        return Err(EngineError::Unusable(format!("the data folder is damaged, and nothing was moved: {finding}")));
    }
    for _ in 0..LOOKS {
        let sqlite = Sqlite::open_to_read(&settings.folder)?;
        let folded_to = sqlite.setting("folded_to")?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let is_done = folded_to == sqlite.last_block()?.0;
        if is_done && sqlite.deletions()?.is_empty() && sqlite.cut_chains()?.is_empty() {
            store.close();
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    Err(EngineError::Unusable("the rows of the data folder do not come up to its journal".to_owned()))
}

fn organizations(sqlite: &Sqlite) -> Result<Vec<OrganizationId>, EngineError> {
    let mut query = sqlite.connection().prepare("SELECT id FROM accounts ORDER BY id")?;
    let rows = query.query_map([], |row| row.get(0).map(OrganizationId))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

struct Moving<'a> {
    sqlite: &'a Sqlite,
    target: &'a Postgres,
    watch: &'a dyn Fn(&'static str, u64, u64),
    /// In order. Nothing is moved of those that are deleted.
    organizations: Vec<OrganizationId>,
    /// The journal's last block.
    last: u64,
    hasher: IdHasher,
    /// Ids from before are not known any more.
    known_since: Time,
    blocks: Blocks,
    ids: Ids,
    moved: Moved,
}

impl Moving<'_> {
    fn journal(&mut self, folder: &Path) -> Result<(), EngineError> {
        let files = Files::open(folder, self.sqlite)?;
        let mut sliced_to = 0;
        for slice in &files.records {
            sliced_to = slice.extent().last;
            let at = slice.extent().last_at;
            slice.each_run(|sequence, run| self.run(sequence, at, run))?;
        }
        let sqlite = self.sqlite;
        sqlite.each_block_after(sliced_to, |sequence, at, data| {
            let broken = |error| unreadable(format!("block {sequence}"), error);
            let block = Block::read(data).map_err(broken)?;
            block.runs().try_for_each(|run| self.run(sequence, at, &run))
        })?;
        self.write_journal()
    }

    /// What happened to one organization in one block.
    fn run(&mut self, sequence: u64, at: Time, run: &Run<'_>) -> Result<(), EngineError> {
        let organization = run.organization;
        if self.organizations.binary_search(&organization).is_err() {
            return Ok(());
        }
        let broken = |error| unreadable(format!("block {sequence}"), error);
        if at >= self.known_since {
            for (offset, record) in run.records().map_err(broken)? {
                if let Some(id) = Id::of(&record) {
                    let hash = self.hasher.hash(organization, id);
                    self.ids.push(organization, hash, Place { sequence, offset }, at);
                    self.moved.ids += 1;
                }
            }
        }
        self.blocks.push(organization, sequence, at, pack_alone(run).map_err(broken)?);
        self.moved.blocks += 1;
        if self.blocks.bytes() < BYTES && self.ids.len() < ROWS {
            return Ok(());
        }
        (self.watch)("blocks of the journal", sequence, self.last);
        self.write_journal()
    }

    fn write_journal(&mut self) -> Result<(), EngineError> {
        self.target.put_blocks(&std::mem::take(&mut self.blocks))?;
        self.target.put_ids(&std::mem::take(&mut self.ids))
    }

    /// Accounts, and what was derived for them.
    fn accounts(&mut self) -> Result<(), EngineError> {
        let meters: Vec<_> = self.sqlite.stored()?.meters.into_keys().collect();
        let (mut changed, mut days, mut values) = (Vec::new(), Days::default(), BTreeMap::new());
        let (sqlite, target) = (self.sqlite, self.target);
        let organizations = std::mem::take(&mut self.organizations);
        for &id in &organizations {
            let found = sqlite.account_row(id)?;
            let (sequence, account) =
                found.ok_or_else(|| unreadable(format!("organization {id}"), "it is not there"))?;
            let (account, head) = (Arc::new(account), sqlite.audit_head(chain_of(id))?);
            changed.push(Changed {
                account,
                carried: Arc::default(),
                seen: None,
                sequence,
                head,
                block: None,
                listed: true,
            });
            sqlite.each_row_of_rollups(id, i32::MIN..=i32::MAX, |(meter, day), dimensions, data| {
                let row = RollupRow { organization: id, meter, day, dimensions };
                row.unseal(data).map_err(|error| unreadable(format!("a rollup of organization {id}"), error))?;
                days.push(id, meter.0, day, dimensions, data);
                self.moved.rollups += 1;
                if days.len() >= ROWS { target.put_days(&std::mem::take(&mut days)) } else { Ok(()) }
            })?;
            meters.iter().try_for_each(|meter| self.values(id, *meter, &mut values))?;
            self.moved.organizations += 1;
            if changed.len() >= ROWS / 4 {
                target.put_accounts(std::mem::take(&mut changed))?;
                (self.watch)("organizations", self.moved.organizations, organizations.len() as u64);
            }
        }
        self.put_values(values)?;
        target.put_days(&days)?;
        target.put_accounts(changed)
    }

    /// The values that a meter of an organization saw.
    fn values(&mut self, id: OrganizationId, meter: MeterId, values: &mut Values) -> Result<(), EngineError> {
        let (sqlite, mut written) = (self.sqlite, Ok(()));
        sqlite.each_value(id, meter, Span { start: Time::MIN, end: Time::MAX }, |bucket, value, count| {
            values.insert(ValueKey { organization: id, meter, value: ValueHash(value), bucket }, count);
            if values.len() >= ROWS && written.is_ok() {
                written = self.put_values(std::mem::take(values));
            }
        })?;
        written
    }

    fn put_values(&mut self, values: Values) -> Result<(), EngineError> {
        self.moved.values += values.len() as u64;
        self.target.put_derived(values, Totals::default())
    }

    fn audit(&mut self) -> Result<(), EngineError> {
        let all: i64 = self.sqlite.connection().query_row("SELECT count(at) FROM audit", [], |row| row.get(0))?;
        let (mut after, mut rows) = (None, Vec::new());
        loop {
            self.sqlite.each_audit_row_after(after, ROWS, |row| {
                rows.push(row);
                Ok::<_, EngineError>(())
            })?;
            let Some(last) = rows.last() else { break };
            after = Some((last.chain, last.sequence));
            self.moved.audit_entries += rows.len() as u64;
            self.target.put_audit(&rows)?;
            rows.clear();
            (self.watch)("entries of the audit log", self.moved.audit_entries, all.unsigned_abs());
        }
        let links = [
            (Links::Resolutions, "SELECT chain, sequence, resolution FROM audit_resolutions"),
            (Links::Checkpoints, "SELECT chain, sequence, entry FROM audit_checkpoints"),
        ];
        for (kind, sql) in links {
            let mut query = self.sqlite.connection().prepare(sql)?;
            let mut rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            loop {
                let some: Vec<_> = rows.by_ref().take(ROWS).collect::<rusqlite::Result<_>>()?;
                if some.is_empty() {
                    break;
                }
                self.target.put_links(kind, &some)?;
            }
        }
        Ok(())
    }

    fn answers(&mut self) -> Result<(), EngineError> {
        let sql = "SELECT scope, route, key, at, fingerprint, status, body, about FROM receipts";
        let mut query = self.sqlite.connection().prepare(sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            self.target.put_receipt(Receipt {
                scope: row.get(0)?,
                route: row.get(1)?,
                key: row.get(2)?,
                at: row.get(3)?,
                fingerprint: row.get(4)?,
                status: row.get(5)?,
                body: row.get(6)?,
                about: row.get(7)?,
            });
            self.moved.answers += 1;
            if self.moved.answers.is_multiple_of(ROWS as u64) {
                self.target.flush()?;
            }
        }
        self.target.flush()
    }
}

/// Rows of distinct values that wait to be written.
type Values = BTreeMap<ValueKey, i64>;

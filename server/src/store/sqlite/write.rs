//! Writing a commit: the block, and in the same transaction the rows that follow from it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::due::status_name;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use rusqlite::{Transaction, TransactionBehavior};

use super::audit::write_audit;
use super::deletion::delete;
use super::derived::find_rollup;
use super::messages::write_message;
use super::outbox::{delete_endpoint, write_endpoint, write_resent};
use super::people::write_person;
use super::prices::write_prices;
use super::rows::{TEAM_SETTINGS, write_catalogue_checksum};
use super::stripe::write_stripe;
use super::totals::write_totals;
use super::values::write_values;
use super::{EngineError, Sqlite, day_totals, settings, unreadable};
use crate::catalogue::change::TeamRow;
use crate::clock::boot;
use crate::dies_at;
use crate::faults::planted;
use crate::people::PersonRow;
use crate::store::KeptAnswer;
use crate::store::audit::AuditRow;
use crate::store::dirty::DirtyAccount;
use crate::store::message::MessageRow;
use crate::store::receipt::ReceiptRow;
use crate::store::rollup::{Day, Derived, RollupKey, RollupRow};
use crate::store::seal::seal;
use crate::store::stripe::StripeRow;
use crate::store::totals::Totals;

/// Everything that one commit writes.
pub(in crate::store) struct Commit<'a> {
    /// Its place in the journal.
    pub(in crate::store) sequence: u64,
    /// Its time.
    pub(in crate::store) at: Time,
    /// Its block; a commit of the team's things, or of the fold alone, has none.
    pub(in crate::store) block: Option<&'a [u8]>,
    /// Accounts whose rows it brings up to the journal, with all rows derived for them.
    pub(in crate::store) fold: &'a [Arc<DirtyAccount>],
    /// Up to where every row is after it, if that changes.
    pub(in crate::store) folded_to: Option<u64>,
    /// Blocks that are in a slice and in every row, and go.
    pub(in crate::store) sliced: Option<RangeInclusive<u64>>,
    /// What the audit log keeps.
    pub(in crate::store) audit: &'a [AuditRow],
    /// Answers to keep.
    pub(in crate::store) receipts: &'a [KeptAnswer],
    /// What is the team's.
    pub(in crate::store) team: &'a [TeamRow],
    /// People.
    pub(in crate::store) people: &'a [PersonRow],
    /// What webhook endpoints are told.
    pub(in crate::store) messages: &'a [MessageRow],
    /// What Stripe told.
    pub(in crate::store) stripe: &'a [StripeRow],
    /// The organization that it deletes.
    pub(in crate::store) deleted: Option<OrganizationId>,
    /// What the rows of that one lack, if they lack anything.
    pub(in crate::store) deleted_lacking: Option<&'a DirtyAccount>,
}

impl Commit<'_> {
    /// About how many bytes it adds to the write-ahead file: the block, and a page or two a row.
    pub(in crate::store) fn bytes(&self) -> usize {
        let fold = self.fold.iter().map(|dirty| 2 + 4 * dirty.derived.rollups.len() + dirty.derived.values.len());
        let messages = self.messages.iter().map(|message| 2 + 2 * message.endpoints.len()).sum::<usize>();
        let rows = 2
            + messages
            + 2 * usize::from(self.sliced.is_some())
            + fold.sum::<usize>()
            + 2 * (self.audit.len() + self.receipts.len() + self.team.len() + self.people.len());
        self.block.map_or(0, <[u8]>::len) + rows * 4096
    }
}

impl Sqlite {
    /// Writes a commit. On disk when it returns; nothing of it is there when it fails. Answers the microseconds that the
    /// fold took, and what it added to use of all organizations together.
    pub(in crate::store) fn write(&mut self, commit: &Commit<'_>) -> Result<(i64, Totals), EngineError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        dies_at!("commit-begun");
        if let Some(block) = commit.block {
            let sql = "INSERT INTO blocks (sequence, at, data) VALUES (?, ?, ?)";
            let row = (commit.sequence.cast_signed(), commit.at.micros(), block);
            transaction.prepare_cached(sql)?.execute(row)?;
        }
        dies_at!("commit-block-written");
        if let Some(sliced) = &commit.sliced {
            let sql = "DELETE FROM blocks WHERE sequence BETWEEN ? AND ?";
            transaction.prepare_cached(sql)?.execute((sliced.start().cast_signed(), sliced.end().cast_signed()))?;
            dies_at!("slice-blocks-deleted");
        }
        write_changes(&transaction, commit)?;
        let began = boot();
        let totals = fold(&transaction, commit)?;
        let took = boot() - began;
        if let Some(organization) = commit.deleted {
            delete(&transaction, organization, commit.at)?;
            dies_at!("deletion-written");
        }
        dies_at!("commit-folded");
        let is_change = !commit.audit.is_empty() || !commit.team.is_empty() || !commit.people.is_empty();
        if commit.block.is_some() || is_change || !commit.stripe.is_empty() {
            fail_here()?;
        }
        transaction.commit()?;
        dies_at!("commit-durable");
        Ok((took, totals))
    }
}

/// Where the tests make a commit fail that is not of rows alone.
fn fail_here() -> Result<(), EngineError> {
    fail::fail_point!("commit-fails", |_| Err(EngineError::Unusable("a planted failure".to_owned())));
    Ok(())
}

fn write_changes(transaction: &Transaction<'_>, commit: &Commit<'_>) -> Result<(), EngineError> {
    for row in commit.audit {
        write_audit(transaction, row)?;
    }
    for kept in commit.receipts {
        let sql = "INSERT OR REPLACE INTO receipts (scope, route, key, at, fingerprint, status, body, about)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        let row = ReceiptRow::keeping(kept, commit.at);
        let (fingerprint, about) = (row.fingerprint.cast_signed(), kept.about.map(|organization| organization.0));
        let (at, status, body) = (row.at.micros(), row.answer.status, row.sealed());
        let row = (row.scope, &row.route, &row.key, at, fingerprint, status, body, about);
        transaction.prepare_cached(sql)?.execute(row)?;
    }
    commit.people.iter().try_for_each(|row| write_person(transaction, row))?;
    commit.messages.iter().try_for_each(|row| write_message(transaction, row, commit.at))?;
    commit.stripe.iter().try_for_each(|row| write_stripe(transaction, row))?;
    commit.team.iter().try_for_each(|row| write_team(transaction, row, commit.at))?;
    // Rows of others have checksums of their own.
    let of_catalogue = |row: &TeamRow| {
        use TeamRow::{Endpoint, EndpointGone, Import, Prices, Resent, Settings};
        !matches!(row, Import(_) | Settings(_) | Endpoint(_) | EndpointGone(_) | Resent(_) | Prices(_))
    };
    if commit.team.iter().any(of_catalogue) { write_catalogue_checksum(transaction) } else { Ok(()) }
}

fn write_team(transaction: &Transaction<'_>, row: &TeamRow, at: Time) -> Result<(), EngineError> {
    match row {
        TeamRow::Meter(entry) => {
            let sql = "INSERT OR REPLACE INTO meters (id, key, spec, created_at, deleted_at) VALUES (?, ?, ?, ?, ?)";
            let spec = definition(&entry.spec)?;
            let deleted = entry.deleted_at.map(Time::micros);
            let values = (entry.id.0, entry.key.as_str(), spec, entry.created_at.micros(), deleted);
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        TeamRow::Plan(entry) => {
            let sql = "INSERT INTO plans (id, key, version, spec, created_at, deleted_at) VALUES (?, ?, ?, ?, ?, ?)
                       ON CONFLICT (id) DO UPDATE SET deleted_at = excluded.deleted_at";
            let (key, spec) = (entry.key.as_str(), definition(&entry.spec)?);
            let deleted = entry.deleted_at.map(Time::micros);
            let values = (entry.id.0, key, entry.version, spec, entry.created_at.micros(), deleted);
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        TeamRow::Key(key) => {
            let sql = "INSERT OR REPLACE INTO api_keys
                       (id, hash, name, scopes, organization, created_at, created_by, replaces, expires_at, revoked_at)
                       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
            let scopes = key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",");
            let organization = key.organization.map(|id| id.0);
            let (expires, revoked) = (key.expires_at.map(Time::micros), key.revoked_at.map(Time::micros));
            let (created, by, replaces) = (key.created_at.micros(), &key.created_by, &key.replaces);
            let values = (&key.id, key.hash, &key.name, scopes, organization, created, by, replaces, expires, revoked);
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        TeamRow::KeyGone(id) => {
            transaction.prepare_cached("DELETE FROM api_keys WHERE id = ?")?.execute([id])?;
        }
        TeamRow::Prices(table) => write_prices(transaction, table, at)?,
        TeamRow::Settings(settings) => settings::set(transaction, TEAM_SETTINGS, &definition(settings)?)?,
        TeamRow::Endpoint(row) => write_endpoint(transaction, row)?,
        TeamRow::EndpointGone(id) => delete_endpoint(transaction, id)?,
        TeamRow::Resent(resent) => write_resent(transaction, resent)?,
        TeamRow::Import(record) => {
            let sql = "INSERT OR REPLACE INTO imports (source, rows_done, digest, updated_at) VALUES (?, ?, ?, ?)";
            let values = (&record.source, record.rows_done.cast_signed(), &record.digest, at.micros());
            transaction.prepare_cached(sql)?.execute(values)?;
        }
    }
    Ok(())
}

fn definition<S: serde::Serialize>(spec: &S) -> Result<String, EngineError> {
    serde_json::to_string(spec).map_err(|error| unreadable("a definition", error))
}

/// The fold: accounts with all their derived rows, and how far the journal is in every row. Answers what it added to use of
/// all organizations together.
fn fold(transaction: &Transaction<'_>, commit: &Commit<'_>) -> Result<Totals, EngineError> {
    write_organizations(transaction, commit.fold)?;
    let mut totals = Totals::default();
    for dirty in commit.fold {
        write_account(transaction, &dirty.account, dirty.sequence)?;
        dies_at!("commit-account-written");
        if planted("derived-left-behind") {
            continue;
        }
        write_derived(transaction, &dirty.derived)?;
        totals.add_derived(&dirty.account, &dirty.derived);
        dies_at!("commit-derived-written");
    }
    commit.deleted_lacking.iter().for_each(|dirty| totals.add_derived(&dirty.account, &dirty.derived));
    write_totals(transaction, &totals)?;
    if let Some(folded_to) = commit.folded_to {
        settings::set(transaction, "folded_to", &folded_to.to_string())?;
    }
    Ok(totals)
}

fn write_account(transaction: &Transaction<'_>, account: &Account, sequence: u64) -> Result<(), EngineError> {
    let content = postcard::to_allocvec(account).map_err(|e| unreadable("an account", e))?;
    let data = seal(&[account.id.bytes(), &sequence.cast_signed().to_le_bytes()], &content);
    let sql = "INSERT INTO accounts (id, sequence, next_due, data) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (id) DO UPDATE SET sequence = ?2, next_due = ?3, data = ?4";
    let row = (account.id.bytes(), sequence.cast_signed(), account.next_notable().micros(), data);
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn write_derived(transaction: &Transaction<'_>, derived: &Derived) -> Result<(), EngineError> {
    let rollups = derived.rollups.clone().sorted();
    rollups.iter().try_for_each(|(key, day)| write_rollup(transaction, key, day))?;
    day_totals::add(transaction, &rollups)?;
    write_values(transaction, &derived.values)
}

/// All old rows go first: one organization may take the key that another leaves in the same commit.
fn write_organizations(transaction: &Transaction<'_>, fold: &[Arc<DirtyAccount>]) -> Result<(), EngineError> {
    let changed = || fold.iter().filter(|dirty| dirty.changed).map(|dirty| &dirty.account);
    for account in changed() {
        transaction.prepare_cached("DELETE FROM organizations WHERE id = ?")?.execute([account.id.bytes()])?;
    }
    changed().try_for_each(|account| write_organization(transaction, account))
}

fn write_organization(transaction: &Transaction<'_>, account: &Account) -> Result<(), EngineError> {
    let sql = "INSERT INTO organizations (id, key, name, plan, status, locked, created_at, subscription, customer)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let profile = &account.profile;
    let row = (
        account.id.bytes(),
        profile.key.as_str(),
        &profile.name,
        account.plan.0,
        status_name(account.status),
        !account.locks.is_empty(),
        profile.created_at.micros(),
        account.subscription.as_ref().and_then(|known| Some(known.id.as_ref()?.as_str())),
        account.subscription.as_ref().and_then(|known| Some(known.customer.as_ref()?.as_str())),
    );
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn write_rollup(transaction: &Transaction<'_>, key: &RollupKey, day: &Day) -> Result<(), EngineError> {
    let (dimensions, stored) = find_rollup(transaction, key, 0)?;
    let row = RollupRow { organization: key.organization, meter: key.meter, day: key.day, dimensions };
    let broken = |error| unreadable(format!("a rollup of organization {}", key.organization), error);
    let mut merged = match &stored {
        Some(data) => Day::read(row.unseal(data).map_err(broken)?).map_err(|error| broken(error.into()))?,
        None => Day::default(),
    };
    merged.merge(day);
    let data = row.seal(&merged).map_err(broken)?;
    let sql = "INSERT OR REPLACE INTO rollups (organization, meter, day, dimensions, data) VALUES (?, ?, ?, ?, ?)";
    let row = (key.organization.bytes(), key.meter.0, key.day, dimensions, data);
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

//! The rows of accounts: those that a commit writes, and several at once for who reads many.

use std::collections::{BTreeSet, HashMap};

use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationRef};
use uuid::Uuid;

use super::lock::{closed, opened};
use super::write::Changed;
use super::{Owned, Postgres, SCHEMA, at, organization_at, uuid};
use crate::faults::planted;
use crate::store::error::EngineError;

/// What there is of an organization that somebody names: nothing where nobody has that key; else its account, if it has one.
pub(in crate::store) type Named = Option<Result<Option<Account>, EngineError>>;

/// The rows are found by their keys whatever the planner thinks of a list: else the wall is asked about every row. A program that
/// has become too old since it looked writes nothing.
const UPDATE_ACCOUNTS: &str = "
    UPDATE accounts a SET version = a.version + 1, sequence = k.sequence, next_due = k.due, audit_sequence = k.audit_end,
        audit_hash = k.hash, data = k.data
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[])
        AS k(organization, seen, sequence, due, audit_end, hash, data)
    WHERE a.organization = ANY($1::uuid[]) AND a.organization = k.organization AND a.version = k.seen
        AND (SELECT coalesce(max(oldest), 0) FROM schema_version) <= $8::integer";
pub(super) const INSERT_ACCOUNTS: &str = "
    INSERT INTO accounts (organization, version, sequence, next_due, audit_sequence, audit_hash, data)
    SELECT k.organization, k.seen + 1, k.sequence, k.due, k.audit_end, k.hash, k.data
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[])
        AS k(organization, seen, sequence, due, audit_end, hash, data)";

/// Of accounts those that have these versions: how many there are.
const SAME: &str = "
    SELECT FROM accounts a JOIN unnest($1::uuid[], $2::bigint[]) AS k(organization, version)
    ON k.organization = a.organization WHERE a.organization = ANY($1::uuid[]) AND a.version = k.version";

/// Values in columns, for `unnest`.
#[derive(Default)]
pub(super) struct Accounts {
    pub(super) ids: Vec<Uuid>,
    seen: Vec<i64>,
    sequences: Vec<i64>,
    due: Vec<i64>,
    ends: Vec<i64>,
    hashes: Vec<Vec<u8>>,
    data: Vec<Vec<u8>>,
}

impl Accounts {
    pub(super) fn push(&mut self, changed: &Changed) -> Result<(), EngineError> {
        self.ids.push(uuid(changed.account.id));
        self.seen.push(changed.seen.unwrap_or(0));
        self.sequences.push(changed.sequence.cast_signed());
        self.due.push(changed.account.next_notable().micros());
        self.ends.push(changed.head.sequence.cast_signed());
        self.hashes.push(changed.head.hash.to_vec());
        self.data.push(closed(&changed.account, &changed.carried, changed.version())?);
        Ok(())
    }

    pub(super) fn into_values(self) -> Vec<Owned> {
        let Self { ids, seen, sequences, due, ends, hashes, data } = self;
        owned![ids, seen, sequences, due, ends, hashes, data]
    }
}

impl Postgres {
    /// Accounts that were there before, if all have the version on which was decided. They go first: who decides on the same at
    /// the same time, without a lock, is in nobody's way with anything else.
    pub(super) fn write_old(&self, changed: &[Changed]) -> Result<(), EngineError> {
        let mut old = Accounts::default();
        changed.iter().filter(|changed| changed.seen.is_some()).try_for_each(|changed| old.push(changed))?;
        let count = old.ids.len();
        let values = || old.into_values().into_iter().chain([Box::new(SCHEMA.cast_signed()) as Owned]).collect();
        match count {
            0 => {}
            _ if planted("lock-not-taken") => self.later(UPDATE_ACCOUNTS, values()),
            count => self.later_exactly(count, UPDATE_ACCOUNTS, values()),
        }
        Ok(())
    }

    /// Makes sure, with what goes out next, that accounts that were not locked still have the versions on which was decided.
    pub(in crate::store) fn are_same(&self, trusted: &[(OrganizationId, i64)]) {
        if trusted.is_empty() || planted("lock-not-taken") || planted("trusted-unseen") {
            return;
        }
        self.name(trusted.iter().map(|(id, _)| *id));
        let (ids, versions): (Vec<Uuid>, Vec<i64>) = trusted.iter().map(|(id, version)| (uuid(*id), *version)).unzip();
        self.later_exactly(trusted.len(), SAME, owned![ids, versions]);
    }

    /// The accounts of those who are named so, in their order. One that cannot be read spoils no other.
    pub(in crate::store) fn accounts_named(&self, named: &[OrganizationRef]) -> Result<Vec<Named>, EngineError> {
        let keys = named.iter().filter_map(|one| match one {
            OrganizationRef::Key(key) => Some(key.as_str()),
            OrganizationRef::Id(_) => None,
        });
        let keys: Vec<&str> = keys.collect();
        let found = if keys.is_empty() { Vec::new() } else { self.organizations_of(&keys)? };
        let found: HashMap<String, OrganizationId> = found.into_iter().collect();
        let id_of = |one: &OrganizationRef| match one {
            OrganizationRef::Id(id) => Some(*id),
            OrganizationRef::Key(key) => found.get(key.as_str()).copied(),
        };
        let ids: Vec<Option<OrganizationId>> = named.iter().map(id_of).collect();
        let asked: BTreeSet<OrganizationId> = ids.iter().flatten().copied().collect();
        let asked_ids: Vec<Uuid> = asked.iter().map(|id| uuid(*id)).collect();
        self.name(asked);
        let sql = "SELECT organization, version, data FROM accounts WHERE organization = ANY($1)";
        let rows = self.together(&[(sql, vec![&asked_ids])])?.pop().unwrap_or_default();
        let mut accounts = HashMap::new();
        for row in &rows {
            accounts.insert(organization_at(row, 0)?, (at::<i64>(row, 1)?, at::<&[u8]>(row, 2)?));
        }
        let account = |id: OrganizationId| {
            let (version, data) = accounts.get(&id)?;
            Some(opened(id, *version, data).map(|(account, _)| account))
        };
        Ok(ids.into_iter().map(|id| Some(account(id?).transpose())).collect())
    }
}

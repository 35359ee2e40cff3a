//! Accounts of several at once, for who reads many.

use std::collections::{BTreeSet, HashMap};

use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationRef};
use uuid::Uuid;

use super::lock::opened;
use super::{Postgres, at, organization_at, uuid};
use crate::store::error::EngineError;

/// What there is of an organization that somebody names: nothing where nobody has that key; else its account, if it has one.
pub(in crate::store) type Named = Option<Result<Option<Account>, EngineError>>;

impl Postgres {
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

//! Accounts one after another, for whoever looks at all of them, and what all of them used.

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationRef};

use super::{ReadError, Reader, Source, View, agreed, waited};
use crate::store::postgres::accounts::Named;
use crate::store::totals::Totals;
use crate::store::{Scope, StoreError};

/// What there is of each organization that was asked for.
type Accounts = Vec<Result<Account, StoreError>>;

impl Reader {
    /// What all organizations but those for tests used together, with all that was acknowledged before.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where a start could not read it.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        if let Source::Embedded(embedded) = &self.source {
            // Of a clone: no commit waits until it is added up.
            let dirty = embedded.dirty.read().clone();
            if dirty.unread().len() == 0 {
                return dirty.totals().ok_or(StoreError::Damaged);
            }
        }
        self.read(|view| view.totals()).await
    }

    /// The accounts of several organizations, in their order, read together. One that cannot be read spoils no other.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the engine cannot be read.
    pub async fn accounts(&self, named: Vec<OrganizationRef>) -> Result<Accounts, StoreError> {
        let Source::Postgres(pool) = &self.source else {
            let each = move |view: &View<'_>| {
                let account = |one| view.account(Scope::Team, one).map_err(ReadError::told);
                Ok(named.iter().map(account).collect())
            };
            return self.read(each).await;
        };
        let pool = Arc::clone(pool);
        let read = move || {
            let found = pool.read(|session| Ok::<_, ReadError>(session.accounts_named(&named)?))?;
            let account = |(one, found): (&OrganizationRef, Named)| match found {
                Some(found) => found.map_err(ReadError::from).and_then(|found| agreed(one, found)),
                None => Err(StoreError::UnknownOrganization.into()),
            };
            Ok(named.iter().zip(found).map(|asked| account(asked).map_err(ReadError::told)).collect())
        };
        waited(read).await
    }
}

impl View<'_> {
    /// What all used together, by the rows of this snapshot and what they lack.
    fn totals(&self) -> Result<Totals, ReadError> {
        let (mut totals, unread) = (self.rows.totals()?, self.dirty.unread());
        for organization in unread.organizations() {
            let lacking = unread.read(self.rows, organization)?;
            lacking.iter().for_each(|dirty| totals.add_derived(&dirty.account, &dirty.derived));
        }
        for dirty in self.dirty.all() {
            let lacking = self.lacking(dirty.account.id)?;
            lacking.iter().for_each(|dirty| totals.add_derived(&dirty.account, &dirty.derived));
        }
        Ok(totals)
    }

    /// Goes through so many accounts after one, in the order of their ids, and answers where to go on. One that cannot be
    /// read holds up no other.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if none can be read.
    pub fn each_account(
        &self,
        after: Option<OrganizationId>,
        most: usize,
        mut each: impl FnMut(OrganizationId, Result<Arc<Account>, ReadError>),
    ) -> Result<Option<OrganizationId>, ReadError> {
        let ids = self.organizations_after(after, most)?;
        ids.iter().for_each(|id| each(*id, self.some_account(*id)));
        Ok(ids.last().filter(|_| ids.len() == most).copied())
    }

    /// An account as it was when this snapshot was taken, or a little later.
    ///
    /// # Errors
    /// [`ReadError`] if there is none, or it cannot be read.
    pub fn some_account(&self, id: OrganizationId) -> Result<Arc<Account>, ReadError> {
        match self.dirty(id)? {
            // A newer row would be no truer than this: together with its row it was all there was, a moment ago.
            Some(dirty) => Ok(Arc::clone(&dirty.account)),
            None => Ok(Arc::new(self.rows.account(id)?.ok_or(StoreError::UnknownOrganization)?)),
        }
    }
}

//! Accounts one after another, for whoever looks at all of them, and what all of them used.

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::OrganizationId;

use super::{ReadError, Reader, Source, View};
use crate::store::StoreError;
use crate::store::totals::Totals;

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

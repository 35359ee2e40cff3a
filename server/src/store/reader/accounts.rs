//! Accounts one after another, for whoever looks at all of them.

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::OrganizationId;

use super::{ReadError, View};
use crate::store::StoreError;

impl View<'_> {
    /// Goes through so many accounts after one, in the order of their ids, and answers where to go on. One that cannot be
    /// read holds up no other.
    ///
    /// # Errors
    /// [`ReadError::Sqlite`] if none can be read.
    pub fn each_account(
        &self,
        after: Option<OrganizationId>,
        most: usize,
        mut each: impl FnMut(OrganizationId, Result<Arc<Account>, ReadError>),
    ) -> Result<Option<OrganizationId>, ReadError> {
        let ids = self.sqlite.account_ids(after, most)?;
        ids.iter().for_each(|id| each(*id, self.some_account(*id)));
        Ok(ids.last().filter(|_| ids.len() == most).copied())
    }

    /// An account as it was when this snapshot was taken, or a little later.
    ///
    /// # Errors
    /// [`ReadError`] if there is none, or it cannot be read.
    pub fn some_account(&self, id: OrganizationId) -> Result<Arc<Account>, ReadError> {
        match self.dirty.get(id) {
            // A newer row would be no truer than this: together with its row it was all there was, a moment ago.
            Some(dirty) => Ok(Arc::clone(&dirty.account)),
            None => Ok(Arc::new(self.sqlite.account(id)?.ok_or(StoreError::UnknownOrganization)?)),
        }
    }
}

//! What callers are told where PostgreSQL could not be asked: decisions come with the account as it was last seen, so that the
//! policies of their meters can answer.

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::OrganizationRef;

use super::Shared;
use crate::store::batch::Failure;
use crate::store::error::EngineError;
use crate::store::inbox::Call;
use crate::store::{Answers, Request, StoreError, Work};

impl Shared {
    /// The answers to a call that failed.
    pub(super) fn unanswered(&self, call: &Call, failure: &Failure) -> Answers {
        // Of a commit whose end is not known nobody can say that nothing happened: only the same id tells.
        let decides = |requests: &[Request]| requests.iter().any(|request| matches!(request, Request::Consume(_)));
        let requests = match (failure, &call.work) {
            (Failure::Store(EngineError::Unreachable(_)), Work::Requests(requests)) if decides(requests) => requests,
            _ => return Err(StoreError::from(failure)),
        };
        let told = |request: &Request| match request {
            Request::Consume(asked) => Err(StoreError::Unreached(self.last_seen(&asked.organization))),
            Request::Record(_) | Request::Change(_) => Err(StoreError::from(failure)),
        };
        Ok(requests.iter().map(told).collect())
    }

    fn last_seen(&self, organization: &OrganizationRef) -> Option<Arc<Account>> {
        let id = match organization {
            OrganizationRef::Id(id) => id,
            OrganizationRef::Key(key) => self.memory.names.get(key)?,
        };
        self.memory.accounts.get(id).map(|cached| Arc::clone(&cached.account))
    }
}

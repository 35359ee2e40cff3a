//! Accounts that were read a moment ago, so that what is counted in Redis costs the store nothing.
//!
//! So a lock, a plan or an override acts on such a meter within [`FRESH`]. Where the store cannot be read, an account serves for
//! [`STALE`]: its limits are what they were.

use std::collections::HashMap;
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::OrganizationRef;
use metergate_rules::time::{MINUTE, SECOND};
use parking_lot::Mutex;

use crate::clock;

/// How long an account is believed, in microseconds.
pub const FRESH: i64 = SECOND;
/// How long it is believed where no newer one can be had, in microseconds.
pub const STALE: i64 = 5 * MINUTE;
/// Accounts that are kept. Beyond that all are forgotten: they are a read away.
const MOST: usize = 10_000;

/// Accounts by how callers name them.
#[derive(Default)]
pub struct Accounts(Mutex<HashMap<OrganizationRef, (Arc<Account>, i64)>>);

impl Accounts {
    /// An account that is at most so many microseconds old.
    pub fn get(&self, organization: &OrganizationRef, age: i64) -> Option<Arc<Account>> {
        let accounts = self.0.lock();
        let (account, read_at) = accounts.get(organization)?;
        (clock::boot() - read_at <= age).then(|| Arc::clone(account))
    }

    /// Keeps an account that was read at a time of the boot clock.
    pub fn put(&self, organization: OrganizationRef, account: Arc<Account>, read_at: i64) {
        let mut accounts = self.0.lock();
        if accounts.len() >= MOST && !accounts.contains_key(&organization) {
            accounts.clear();
        }
        accounts.insert(organization, (account, read_at));
    }

    /// The organization is not what it was.
    pub fn forget(&self, organization: &OrganizationRef) {
        self.0.lock().remove(organization);
    }
}

//! Accounts that were read a moment ago, so that what is counted in Redis costs the store nothing.
//!
//! So a lock, a plan or an override acts on such a meter within [`FRESH`]. Where the store cannot be read, an account serves for
//! [`STALE`]: its limits are what they were. Those that are asked for again and again are read anew together, before they are
//! [`FRESH`] no more: each by itself would cost more than a decision.

use std::collections::HashMap;
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::time::{MINUTE, SECOND};
use parking_lot::Mutex;

use crate::clock;

/// How long an account is believed, in microseconds.
pub const FRESH: i64 = SECOND;
/// How long it is believed where no newer one can be had, in microseconds.
pub const STALE: i64 = 5 * MINUTE;
/// Accounts that are kept. Beyond that all are forgotten: they are a read away.
const MOST: usize = 10_000;
/// From which age on an account is read anew while it is asked for, and how old those are that are read with it, in microseconds.
const AHEAD: i64 = FRESH / 2;
const BESIDE: i64 = FRESH / 4;
/// Accounts that are read at once.
const AT_ONCE: usize = 1_000;

/// Accounts by how callers name them.
#[derive(Default)]
pub struct Accounts(Mutex<HashMap<OrganizationRef, Kept>>);

struct Kept {
    account: Arc<Account>,
    /// When it was read, in microseconds since boot.
    read_at: i64,
    /// Whether somebody has asked for it since.
    is_asked: bool,
    /// Whether somebody is reading it anew, or has tried.
    is_taken: bool,
}

impl Accounts {
    /// An account that is at most so many microseconds old.
    pub fn get(&self, organization: &OrganizationRef, age: i64) -> Option<Arc<Account>> {
        let mut accounts = self.0.lock();
        let kept = accounts.get_mut(organization)?;
        kept.is_asked = true;
        (clock::boot() - kept.read_at <= age).then(|| Arc::clone(&kept.account))
    }

    /// Where this account is about to be too old: it and those that will be soon and were asked for as well, for whoever asks
    /// first. If he cannot read them, each is read by whoever needs it.
    pub fn take_due(&self, organization: &OrganizationRef) -> Vec<(OrganizationRef, OrganizationId)> {
        let (mut accounts, now) = (self.0.lock(), clock::boot());
        let is_due = |kept: &Kept, age: i64| !kept.is_taken && kept.is_asked && now - kept.read_at > age;
        if !accounts.get(organization).is_some_and(|kept| is_due(kept, AHEAD)) {
            return Vec::new();
        }
        let due = accounts.iter_mut().filter(|(_, kept)| is_due(kept, BESIDE)).take(AT_ONCE);
        due.map(|(named, kept)| {
            kept.is_taken = true;
            (named.clone(), kept.account.id)
        })
        .collect()
    }

    /// Keeps what was read anew of those that were taken. Who has another key by now, or is gone, is forgotten.
    pub fn put_again(&self, taken: Vec<(OrganizationRef, OrganizationId)>, read: Vec<Arc<Account>>, read_at: i64) {
        let read: HashMap<OrganizationId, Arc<Account>> =
            read.into_iter().map(|account| (account.id, account)).collect();
        for (named, id) in taken {
            let is_his = |account: &&Arc<Account>| match &named {
                OrganizationRef::Id(_) => true,
                OrganizationRef::Key(key) => account.profile.key == *key,
            };
            match read.get(&id).filter(is_his) {
                Some(account) => self.put(named, Arc::clone(account), read_at),
                None => self.forget(&named),
            }
        }
    }

    /// Keeps an account that was read at a time of the boot clock.
    pub fn put(&self, organization: OrganizationRef, account: Arc<Account>, read_at: i64) {
        let mut accounts = self.0.lock();
        if accounts.len() >= MOST && !accounts.contains_key(&organization) {
            accounts.clear();
        }
        let kept = Kept { account, read_at, is_asked: false, is_taken: false };
        accounts.insert(organization, kept);
    }

    /// The organization is not what it was.
    pub fn forget(&self, organization: &OrganizationRef) {
        self.0.lock().remove(organization);
    }
}

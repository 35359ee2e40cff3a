//! Accounts that were read a moment ago, so that what is counted in Redis costs the store nothing.
//!
//! So a lock, a plan or an override acts on such a meter within [`FRESH`]. Where the store cannot be read, an account serves for
//! [`STALE`]: its limits are what they were. Whoever needs the same account waits for the same read; and where reading has just
//! failed nobody waits, but one in a while finds out whether the store can be read again.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use metergate_rules::account::Account;
use metergate_rules::id::OrganizationRef;
use metergate_rules::time::{MINUTE, SECOND};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock;
use crate::store::StoreError;

/// How long an account is believed, in microseconds.
pub const FRESH: i64 = SECOND;
/// How long it is believed where no newer one can be had, in microseconds.
pub const STALE: i64 = 5 * MINUTE;
/// Accounts that are kept. Beyond that all are forgotten: they are a read away.
const MOST: usize = 10_000;
/// How long nobody reads after that has failed, in microseconds.
const PAUSE: i64 = SECOND;
/// Reading has not failed since it succeeded.
const NEVER: i64 = 0;

/// What came of reading an account.
pub type Read = Result<Arc<Account>, StoreError>;

/// A read that is under way.
#[derive(Clone)]
pub struct Reading(watch::Receiver<Option<Read>>);

impl Reading {
    /// What came of it, if it comes in time.
    pub async fn within(mut self, patience: Duration) -> Option<Read> {
        let read = tokio::time::timeout(patience, self.0.wait_for(Option::is_some)).await;
        read.ok()?.ok()?.clone()
    }
}

/// Accounts by how callers name them.
#[derive(Default)]
pub struct Accounts {
    kept: Mutex<HashMap<OrganizationRef, (Arc<Account>, i64)>>,
    under_way: Mutex<HashMap<OrganizationRef, Reading>>,
    /// When reading failed last, since boot, or was tried again after that.
    failed: AtomicI64,
}

impl Accounts {
    /// An account that is at most so many microseconds old.
    pub fn get(&self, organization: &OrganizationRef, age: i64) -> Option<Arc<Account>> {
        let accounts = self.kept.lock();
        let (account, read_at) = accounts.get(organization)?;
        (clock::boot() - read_at <= age).then(|| Arc::clone(account))
    }

    /// Keeps an account that was read at a time of the boot clock.
    pub fn put(&self, organization: OrganizationRef, account: Arc<Account>, read_at: i64) {
        let mut accounts = self.kept.lock();
        if accounts.len() >= MOST && !accounts.contains_key(&organization) {
            accounts.clear();
        }
        accounts.insert(organization, (account, read_at));
    }

    /// The organization is not what it was.
    pub fn forget(&self, organization: &OrganizationRef) {
        self.kept.lock().remove(organization);
    }

    /// The read of this account that is under way, else one that begins; it goes on where nobody waits for it any more. `None`
    /// where reading has failed a moment ago.
    pub fn read<F>(self: &Arc<Self>, organization: &OrganizationRef, read: impl FnOnce() -> F) -> Option<Reading>
    where
        F: Future<Output = Result<Account, StoreError>> + Send + 'static,
    {
        let mut under_way = self.under_way.lock();
        // One whose core has ended never comes to an end.
        if let Some(reading) = under_way.get(organization).filter(|reading| reading.0.has_changed().is_ok()) {
            return Some(reading.clone());
        }
        if !self.may_read() {
            return None;
        }
        let (told, reading) = watch::channel(None);
        let reading = Reading(reading);
        under_way.insert(organization.clone(), reading.clone());
        let (accounts, organization, read_at, read) = (Arc::clone(self), organization.clone(), clock::boot(), read());
        tokio::spawn(async move {
            let read = read.await.map(Arc::new);
            accounts.take_in(organization, &read, read_at);
            // Those who waited may have given up.
            let _ = told.send(Some(read));
        });
        Some(reading)
    }

    /// Whether it is likely that an account can be read: of those who come a while after a failure one finds out.
    fn may_read(&self) -> bool {
        let (failed, now) = (self.failed.load(Ordering::Relaxed), clock::boot());
        failed == NEVER
            || (now - failed > PAUSE
                && self.failed.compare_exchange(failed, now, Ordering::Relaxed, Ordering::Relaxed).is_ok())
    }

    fn take_in(&self, organization: OrganizationRef, read: &Read, read_at: i64) {
        match read {
            Err(StoreError::Unavailable | StoreError::Unreached) => self.failed.store(clock::boot(), Ordering::Relaxed),
            Err(_) => {
                self.failed.store(NEVER, Ordering::Relaxed);
                self.forget(&organization);
            }
            Ok(account) => {
                self.failed.store(NEVER, Ordering::Relaxed);
                self.put(organization.clone(), Arc::clone(account), read_at);
            }
        }
        self.under_way.lock().remove(&organization);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn one_reads_for_all_and_after_a_failure_nobody_does_for_a_while() {
        let (accounts, reads) = (Arc::new(Accounts::default()), Arc::new(AtomicUsize::new(0)));
        let [acme, globex] = ["acme", "globex"].map(|key| OrganizationRef::Key(key.parse().unwrap()));
        let (open, opened) = watch::channel(false);
        let read = || {
            let (mut opened, reads) = (opened.clone(), Arc::clone(&reads));
            async move {
                reads.fetch_add(1, Ordering::Relaxed);
                opened.wait_for(|opened| *opened).await.unwrap();
                Err(StoreError::Unavailable)
            }
        };
        let (first, second) = (accounts.read(&acme, read).unwrap(), accounts.read(&acme, read).unwrap());
        let other = accounts.read(&globex, read).unwrap();
        assert_eq!(first.within(SOON).await, None, "it is under way");
        assert_eq!(reads.load(Ordering::Relaxed), 2, "one for each organization");
        open.send(true).unwrap();
        let long = Duration::from_secs(5);
        assert_eq!(second.within(long).await, Some(Err(StoreError::Unavailable)));
        assert_eq!(other.within(long).await, Some(Err(StoreError::Unavailable)));
        assert!(accounts.read(&acme, read).is_none(), "it has failed a moment ago");
        accounts.failed.store(clock::boot() - PAUSE - 1, Ordering::Relaxed);
        let again = accounts.read(&acme, read).unwrap();
        assert!(accounts.read(&globex, read).is_none(), "one finds out for all");
        assert_eq!(again.within(long).await, Some(Err(StoreError::Unavailable)));
        accounts.take_in(acme.clone(), &Err(StoreError::UnknownOrganization), clock::boot());
        assert!(accounts.read(&globex, read).is_some(), "the store has answered");
    }
}

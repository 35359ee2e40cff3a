//! Accounts that were read a moment ago, so that what is counted in Redis costs the store nothing.
//!
//! So a lock, a plan or an override acts on such a meter within [`FRESH`]. Where the store cannot be read, an account serves for
//! [`STALE`]: its limits are what they were. Whoever needs the same account waits for the same read, and those that are needed
//! while others are read are read together next: so many cost the store little more than one. Where reading has just failed
//! nobody waits, but one in a while finds out whether the store can be read again.

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
/// Accounts that are read together.
const AT_ONCE: usize = 256;
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

/// What a read of several comes to: of each in their order, or why none can be had.
pub type Found = Result<Vec<Result<Account, StoreError>>, StoreError>;

/// Accounts by how callers name them.
#[derive(Default)]
pub struct Accounts {
    kept: Mutex<HashMap<OrganizationRef, (Arc<Account>, i64)>>,
    under_way: Mutex<UnderWay>,
    /// When reading failed last, since boot, or was tried again after that.
    failed: AtomicI64,
}

/// An organization, and where it is told what came of reading its account.
type Asked = (OrganizationRef, watch::Sender<Option<Read>>);

#[derive(Default)]
struct UnderWay {
    readings: HashMap<OrganizationRef, Reading>,
    /// Those that are read next.
    next: Vec<Asked>,
    /// Whether somebody reads, and goes on while there are more.
    is_going_on: bool,
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

    /// The read of this account that is under way, else one that begins, together with others where some are read already; it
    /// goes on where nobody waits for it any more. `None` where reading has failed a moment ago.
    pub fn read<F>(
        self: &Arc<Self>,
        organization: &OrganizationRef,
        read: impl Fn(Vec<OrganizationRef>) -> F + Send + 'static,
    ) -> Option<Reading>
    where
        F: Future<Output = Found> + Send + 'static,
    {
        let mut under_way = self.under_way.lock();
        // One whose core has ended never comes to an end.
        let known = under_way.readings.get(organization).filter(|reading| reading.0.has_changed().is_ok());
        if let Some(reading) = known {
            return Some(reading.clone());
        }
        if !self.may_read() {
            return None;
        }
        let (told, reading) = watch::channel(None);
        let reading = Reading(reading);
        under_way.readings.insert(organization.clone(), reading.clone());
        under_way.next.push((organization.clone(), told));
        let is_going_on = std::mem::replace(&mut under_way.is_going_on, true);
        // A core that is ending takes back at once what it is given, for which it needs the lock.
        drop(under_way);
        if !is_going_on {
            tokio::spawn(Reads { accounts: Arc::clone(self), is_over: false }.go_on(read));
        }
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
        self.under_way.lock().readings.remove(&organization);
    }
}

/// Whoever reads for all.
struct Reads {
    accounts: Arc<Accounts>,
    is_over: bool,
}

impl Reads {
    /// Reads those that are waited for, and then those that have come meanwhile, until there are none.
    async fn go_on<F>(mut self, read: impl Fn(Vec<OrganizationRef>) -> F + Send)
    where
        F: Future<Output = Found> + Send,
    {
        while let Some(asked) = self.next() {
            let (named, told): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            let read_at = clock::boot();
            match read(named.clone()).await {
                Ok(found) => {
                    let found = found.into_iter().map(|account| account.map(Arc::new));
                    named.into_iter().zip(told).zip(found).for_each(|(asked, found)| self.tell(asked, found, read_at));
                }
                Err(error) => {
                    // Those that have come meanwhile would only wait for the same.
                    let more = std::mem::take(&mut self.accounts.under_way.lock().next);
                    let all = named.into_iter().zip(told).chain(more);
                    all.for_each(|asked| self.tell(asked, Err(error.clone()), read_at));
                }
            }
        }
    }

    /// Those that are read next; `None` where nobody waits, and so the next who comes reads.
    fn next(&mut self) -> Option<Vec<Asked>> {
        let mut under_way = self.accounts.under_way.lock();
        if under_way.next.is_empty() {
            under_way.is_going_on = false;
            self.is_over = true;
            return None;
        }
        let some = under_way.next.len().min(AT_ONCE);
        Some(under_way.next.drain(..some).collect())
    }

    fn tell(&self, (organization, told): Asked, read: Read, read_at: i64) {
        self.accounts.take_in(organization, &read, read_at);
        // Those who waited may have given up.
        let _ = told.send(Some(read));
    }
}

impl Drop for Reads {
    /// Its core has ended in between: those who wait hear that nothing comes, and the next who comes reads.
    fn drop(&mut self) {
        if !self.is_over {
            let mut under_way = self.accounts.under_way.lock();
            under_way.next.clear();
            under_way.is_going_on = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    type Rows = Arc<Mutex<Vec<Vec<OrganizationRef>>>>;
    type Finding = std::pin::Pin<Box<dyn Future<Output = Found> + Send>>;

    fn unknown() -> Read {
        Err(StoreError::UnknownOrganization)
    }

    /// Who reads notes what is asked, and answers so once it is opened.
    fn reader(
        asked: &Rows,
        opened: &watch::Receiver<bool>,
        answer: fn() -> Read,
    ) -> impl Fn(Vec<OrganizationRef>) -> Finding + Send + 'static {
        let (asked, opened) = (Arc::clone(asked), opened.clone());
        move |named| {
            let mut opened = opened.clone();
            asked.lock().push(named.clone());
            Box::pin(async move {
                opened.wait_for(|opened| *opened).await.unwrap();
                match answer() {
                    Err(StoreError::Unavailable) => Err(StoreError::Unavailable),
                    answer => Ok(named.iter().map(|_| answer.clone().map(|account| (*account).clone())).collect()),
                }
            })
        }
    }

    fn named(key: &str) -> OrganizationRef {
        OrganizationRef::Key(key.parse().unwrap())
    }

    #[tokio::test]
    async fn those_that_are_needed_while_others_are_read_are_read_together_next() {
        let (accounts, asked) = (Arc::new(Accounts::default()), Rows::default());
        let (open, opened) = watch::channel(false);
        let ask = |key: &str| accounts.read(&named(key), reader(&asked, &opened, unknown)).unwrap();
        let first = ask("first");
        tokio::task::yield_now().await;
        let many: Vec<String> = (0..AT_ONCE + 2).map(|number| format!("other-{number}")).collect();
        let readings: Vec<_> = many.iter().chain(&many).map(|key| ask(key)).collect();
        assert_eq!(first.within(SOON).await, None, "it is under way");
        open.send(true).unwrap();
        for reading in readings {
            assert_eq!(reading.within(Duration::from_secs(5)).await, Some(unknown()));
        }
        let sizes: Vec<usize> = asked.lock().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, AT_ONCE, 2]);
        assert_eq!(ask("first").within(Duration::from_secs(5)).await, Some(unknown()), "the next who comes reads");
    }

    #[test]
    fn whoever_waits_for_a_core_that_has_ended_hears_so_and_the_next_who_comes_reads() {
        let (accounts, asked) = (Arc::new(Accounts::default()), Rows::default());
        let (open, opened) = watch::channel(false);
        let core = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let ask = |key: &str| accounts.read(&named(key), reader(&asked, &opened, unknown)).unwrap();
        let ended = core();
        let left = ended.block_on(async {
            let left = [ask("first"), ask("second")];
            tokio::task::yield_now().await;
            left
        });
        drop(ended);
        open.send(true).unwrap();
        core().block_on(async {
            for reading in left {
                assert_eq!(reading.within(Duration::from_secs(5)).await, None);
            }
            for key in ["second", "first"] {
                assert_eq!(ask(key).within(Duration::from_secs(5)).await, Some(unknown()));
            }
        });
    }

    #[tokio::test]
    async fn one_reads_for_all_and_after_a_failure_nobody_does_for_a_while() {
        let (accounts, asked) = (Arc::new(Accounts::default()), Rows::default());
        let [acme, globex] = ["acme", "globex"].map(named);
        let (open, opened) = watch::channel(false);
        let read = || reader(&asked, &opened, || Err(StoreError::Unavailable));
        let (first, second) = (accounts.read(&acme, read()).unwrap(), accounts.read(&acme, read()).unwrap());
        tokio::task::yield_now().await;
        let other = accounts.read(&globex, read()).unwrap();
        assert_eq!(first.within(SOON).await, None, "it is under way");
        open.send(true).unwrap();
        let long = Duration::from_secs(5);
        assert_eq!(second.within(long).await, Some(Err(StoreError::Unavailable)));
        assert_eq!(other.within(long).await, Some(Err(StoreError::Unavailable)));
        assert_eq!(*asked.lock(), [vec![acme.clone()]], "the other would only have waited for the same");
        assert!(accounts.read(&acme, read()).is_none(), "it has failed a moment ago");
        accounts.failed.store(clock::boot() - PAUSE - 1, Ordering::Relaxed);
        let again = accounts.read(&acme, read()).unwrap();
        assert!(accounts.read(&globex, read()).is_none(), "one finds out for all");
        assert_eq!(again.within(long).await, Some(Err(StoreError::Unavailable)));
        accounts.take_in(acme.clone(), &Err(StoreError::UnknownOrganization), clock::boot());
        assert!(accounts.read(&globex, read()).is_some(), "the store has answered");
    }
}

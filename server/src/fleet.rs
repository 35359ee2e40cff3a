//! The fleet view: what all organizations together look like (O9), in memory while somebody asks.
//!
//! The first question starts a thread. It goes through all accounts in small steps with rests and keeps a [`Summary`] of
//! each; afterwards it looks again at those that commits changed and those on which something fell due, and makes an
//! [`Overview`] of all about once a second. When nobody has asked for some minutes it ends, and everything is dropped.
//! Nothing is ever written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::time::{SECOND, Time};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::catalogue::Snapshot;
use crate::clock::boot;
use crate::store::reader::{ReadError, View};
use crate::store::{Store, StoreError};

mod overview;
mod summary;

pub use overview::{MOST_LISTED, Overview, Top};
pub use summary::{Summary, Tight};

/// Accounts that are read in one snapshot.
const STEP: usize = 500;
/// The thread rests so many times as long as it worked.
const RESTS: u32 = 3;
/// From one overview to the next.
const EVERY: Duration = Duration::from_secs(1);
/// While a scan goes on, of its time at most one part in so many goes into overviews of how far it has come.
const SHARE: i64 = 20;
/// So long after a scan the next begins, in microseconds, where other nodes change organizations that none of this one's
/// commits tells of.
const AGAIN: i64 = 3 * SECOND;
/// After so many microseconds without a question everything is dropped.
const FORGOTTEN: i64 = 180 * SECOND;
/// For so long a question waits for an overview with every organization in it.
const PATIENCE: Duration = Duration::from_secs(1);

type Seen = watch::Receiver<Option<Arc<Overview>>>;

/// The view, if somebody asks.
#[derive(Default)]
pub struct Fleet {
    watching: Mutex<Option<Watching>>,
}

struct Watching {
    asked: Arc<AtomicI64>,
    seen: Seen,
    thread: JoinHandle<()>,
}

impl Fleet {
    /// The newest overview. The first question waits a moment for one of all organizations; where they are many it says how
    /// far it has come.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where there is no thread for it, or the store cannot be read.
    pub async fn overview(
        self: &Arc<Self>,
        store: &Arc<Store>,
        stop: watch::Receiver<bool>,
    ) -> Result<Arc<Overview>, StoreError> {
        let mut seen = self.watch(store, stop)?;
        let whole = seen.wait_for(|seen| seen.as_ref().is_some_and(|overview| overview.complete));
        if let Ok(Ok(seen)) = tokio::time::timeout(PATIENCE, whole).await {
            return seen.clone().ok_or(StoreError::Unavailable);
        }
        seen.borrow().clone().ok_or(StoreError::Unavailable)
    }

    fn watch(self: &Arc<Self>, store: &Arc<Store>, stop: watch::Receiver<bool>) -> Result<Seen, StoreError> {
        let mut watching = self.watching.lock();
        if let Some(watching) = watching.as_ref().filter(|watching| !watching.thread.is_finished()) {
            watching.asked.store(boot(), Ordering::Relaxed);
            return Ok(watching.seen.clone());
        }
        let (show, seen) = watch::channel(None);
        let asked = Arc::new(AtomicI64::new(boot()));
        let (store, asking) = (Arc::clone(store), Arc::clone(&asked));
        let failed = |error: std::io::Error| {
            tracing::error!(%error, "the fleet view cannot start");
            StoreError::Unavailable
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let run = move || runtime.block_on(keep(&store, &asking, &show, stop));
        let thread = std::thread::Builder::new().name("fleet".to_owned()).spawn(run).map_err(failed)?;
        *watching = Some(Watching { asked, seen: seen.clone(), thread });
        Ok(seen)
    }

    /// Waits for the thread, once it has been told to stop.
    pub fn stop(&self) {
        if let Some(watching) = self.watching.lock().take()
            && watching.thread.join().is_err()
        {
            tracing::error!("the fleet view panicked");
        }
    }
}

/// Keeps the view until it is told to stop or nobody asks any more.
async fn keep(
    store: &Arc<Store>,
    asked: &AtomicI64,
    show: &watch::Sender<Option<Arc<Overview>>>,
    mut stop: watch::Receiver<bool>,
) {
    store.feed().watch();
    let mut kept = Kept::default();
    while !*stop.borrow() && boot() - asked.load(Ordering::Relaxed) < FORGOTTEN {
        let began = boot();
        let step = kept.step(store).await;
        let worked = Duration::from_micros((boot() - began).unsigned_abs());
        let rest = match step {
            Ok(None) => worked * RESTS,
            Ok(Some(overview)) => {
                let complete = overview.complete;
                show.send_replace(Some(Arc::new(overview)));
                // What all used is added up from every account that the rows lack something of: after a kill these may be many.
                (worked * RESTS).max(if complete { EVERY } else { Duration::ZERO })
            }
            Err(error) => {
                tracing::warn!(%error, "the fleet view could not be brought up to date");
                EVERY
            }
        };
        // Whoever could tell has gone when this fails, and so has the server.
        if let Ok(Err(_)) = tokio::time::timeout(rest, stop.changed()).await {
            break;
        }
    }
    store.feed().unwatch();
}

/// What the thread has.
#[derive(Default)]
struct Kept {
    organizations: HashMap<OrganizationId, Summary, foldhash::quality::RandomState>,
    /// Those whose account cannot be read.
    unreadable: HashSet<OrganizationId>,
    /// How far the scan is; nothing before its beginning.
    scanned: Option<OrganizationId>,
    complete: bool,
    /// Where other nodes change organizations too, all are looked at again: which of them have been, and when the last scan
    /// ended, since boot.
    again: Option<HashSet<OrganizationId>>,
    scanned_at: i64,
    /// Those that have to be looked at again.
    stale: Vec<OrganizationId>,
    /// The meters that there were: without one of them every summary may be another.
    meters: Vec<MeterId>,
    /// When an overview was made last, and how many microseconds that took.
    shown: i64,
    cost: i64,
}

impl Kept {
    /// Goes a step on. An overview where it is time for one.
    async fn step(&mut self, store: &Arc<Store>) -> Result<Option<Overview>, StoreError> {
        let (now, catalogue) = (store.now(), store.catalogue());
        self.begin_anew_without_meters(&catalogue);
        // What has been acknowledged by `now` has been told before.
        self.stale.extend(store.feed().take());
        if self.complete {
            self.stale.extend(self.organizations.iter().filter(|(_, one)| one.due <= now).map(|(id, _)| *id));
        }
        while !self.stale.is_empty() {
            let some = self.stale.split_off(self.stale.len().saturating_sub(STEP));
            let seen = Arc::clone(&catalogue);
            let read = store.reader().read(move |view| Ok(look_at(view, &some, &seen, now))).await?;
            self.put(read);
        }
        if self.complete && self.again.is_none() && store.is_shared() && boot() - self.scanned_at > AGAIN {
            self.again = Some(HashSet::new());
        }
        if !self.complete || self.again.is_some() {
            self.scan(store, &catalogue, now).await?;
        }
        if self.pause().is_some_and(|pause| boot() - self.shown < pause) {
            return Ok(None);
        }
        let began = boot();
        let mut overview =
            Overview::new(now, self.complete, self.unreadable.len() as u64, store.reader().totals().await.ok());
        overview.take_in(&self.organizations);
        overview.refused_most(store.feed().refusals(now), &self.organizations);
        (self.shown, self.cost) = (boot(), boot() - began);
        Ok(Some(overview))
    }

    /// While a scan goes on, how many microseconds of it lie between overviews at least: of a first one so many that they do
    /// not hold it up, of a later one so few that none is too old.
    fn pause(&self) -> Option<i64> {
        let share = SECOND.max(self.cost.saturating_mul(SHARE));
        match (self.complete, &self.again) {
            (false, _) => Some(share),
            (true, Some(_)) => Some(share.min(AGAIN)),
            (true, None) => None,
        }
    }

    /// Where a meter has gone, its use and its limits have.
    fn begin_anew_without_meters(&mut self, catalogue: &Snapshot) {
        let meters: Vec<MeterId> = summary::living(catalogue).map(|meter| meter.id).collect();
        if self.meters.iter().any(|meter| !meters.contains(meter)) {
            *self = Self::default();
        }
        self.meters = meters;
    }

    async fn scan(&mut self, store: &Arc<Store>, catalogue: &Arc<Snapshot>, now: Time) -> Result<(), StoreError> {
        let (after, catalogue) = (self.scanned, Arc::clone(catalogue));
        let read = move |view: &View<'_>| {
            let mut seen = Vec::new();
            let next = view.each_account(after, STEP, |id, account| seen.push(summed(id, account, &catalogue, now)))?;
            Ok((next, seen))
        };
        let (next, seen) = store.reader().read(read).await?;
        if let Some(again) = &mut self.again {
            again.extend(seen.iter().map(|(id, _)| *id));
        }
        self.put(seen);
        self.scanned = next;
        if next.is_none() {
            if let Some(there) = self.again.take() {
                self.organizations.retain(|id, _| there.contains(id));
                self.unreadable.retain(|id| there.contains(id));
            }
            (self.complete, self.scanned_at) = (true, boot());
        }
        Ok(())
    }

    fn put(&mut self, seen: Vec<Looked>) {
        for (id, summary) in seen {
            match summary {
                Ok(summary) => {
                    self.unreadable.remove(&id);
                    self.organizations.insert(id, summary);
                }
                // It was deleted: a commit tells of that as of any change.
                Err(ReadError::Store(StoreError::UnknownOrganization)) => self.forget(id),
                Err(error) => {
                    tracing::error!(%error, organization = %id, "an organization is not in the fleet view");
                    self.organizations.remove(&id);
                    self.unreadable.insert(id);
                }
            }
        }
    }

    fn forget(&mut self, id: OrganizationId) {
        self.organizations.remove(&id);
        self.unreadable.remove(&id);
    }
}

type Looked = (OrganizationId, Result<Summary, ReadError>);

fn look_at(view: &View<'_>, some: &[OrganizationId], catalogue: &Snapshot, now: Time) -> Vec<Looked> {
    some.iter().map(|id| summed(*id, view.some_account(*id), catalogue, now)).collect()
}

fn summed(
    id: OrganizationId,
    account: Result<Arc<metergate_rules::account::Account>, ReadError>,
    catalogue: &Snapshot,
    now: Time,
) -> Looked {
    (id, account.and_then(|account| Ok(Summary::of(&account, catalogue, now)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_meanwhile_holds_up_no_scan() {
        const MINUTE: i64 = 60 * SECOND;
        #[rustfmt::skip]
        let cases = [ // whether all was gone through, whether that goes on again, what an overview cost, the pause after it
            (false, false, 0,          Some(SECOND)),
            (false, false, SECOND / 2, Some(10 * SECOND)),
            (false, false, 3 * SECOND, Some(MINUTE)),     // of a million organizations: a twentieth of the time
            (true,  true,  0,          Some(SECOND)),
            (true,  true,  3 * SECOND, Some(AGAIN)),      // none is too old
            (true,  false, 3 * SECOND, None),
        ];
        for (complete, again, cost, expected) in cases {
            let again = again.then(HashSet::new);
            let kept = Kept { complete, again, cost, ..Kept::default() };
            assert_eq!(kept.pause(), expected, "{complete} {cost}");
        }
    }
}

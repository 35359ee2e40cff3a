//! Events as they happen (M11). While somebody follows them a thread reads what commits add to the journals, once for all who
//! follow; each takes what is theirs. What they missed meanwhile they read from the journals themselves.
//!
//! On the embedded store commits wake the thread. PostgreSQL is asked twice a second, so that commits of other nodes are seen
//! too. The thread reads only what somebody wants; where nobody follows there is none, and a commit looks at one number.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use metergate_rules::id::OrganizationId;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};

use crate::store::{Store, StoreError};

mod behind;
mod hub;
mod item;
mod wanted;

pub use behind::{Behind, behind};
pub use item::{Cursor, Item, LiveEventBody, Place};
pub use wanted::Interest;

use wanted::Wanted;

/// Streams of one credential at most.
pub const MOST_OF_ONE: usize = 16;
/// Streams of all at most.
pub const MOST_OF_ALL: usize = 512;
/// News that wait for those who follow slowly; each has at most [`hub::MOST_ITEMS`].
const WAITING: usize = 32;
/// How long a new follower waits until the thread reads for it.
const PATIENCE: Duration = Duration::from_secs(4);

/// What has happened, in order.
#[derive(Debug)]
pub enum News {
    /// Some events, or none; and how far all has been told with them.
    Items {
        /// The events.
        items: Vec<Item>,
        /// How far everything had been told before these, by which one of them is named where places are not one journal's.
        before: Cursor,
        /// How far everything has been told with them.
        reached: Cursor,
    },
    /// More happened at once than can be told live.
    Missed,
}

/// Those who follow, and the thread that reads for them.
#[derive(Default)]
pub struct Live {
    hub: Arc<Mutex<Option<Hub>>>,
    open: Arc<Mutex<HashMap<Arc<str>, usize>>>,
}

/// How far the thread has come, and for which state of what is wanted.
type Reached = watch::Receiver<Option<(Cursor, u64)>>;

/// The thread and how to reach it.
struct Hub {
    news: broadcast::Sender<Arc<News>>,
    wanted: Arc<Wanted>,
    wake: Arc<Notify>,
    reached: Reached,
    thread: JoinHandle<()>,
}

/// Too many follow events at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// With this credential.
    OfOne,
    /// Altogether.
    OfAll,
}

/// One of those who may follow; the place is free again when it is dropped.
pub struct Admission {
    open: Arc<Mutex<HashMap<Arc<str>, usize>>>,
    who: Arc<str>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.who);
            }
        }
    }
}

/// Somebody who follows.
pub struct Subscription {
    news: broadcast::Receiver<Arc<News>>,
    wanted: Arc<Wanted>,
    interest: Interest,
    /// How far everything had been told before this began.
    pub reached: Cursor,
}

impl Subscription {
    /// What happened next.
    ///
    /// # Errors
    /// Where too much has happened since the last time, or the thread has ended.
    pub async fn next(&mut self) -> Result<Arc<News>, broadcast::error::RecvError> {
        self.news.recv().await
    }

    /// What it is about.
    pub const fn interest(&self) -> &Interest {
        &self.interest
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.wanted.release(&self.interest);
    }
}

impl Live {
    /// A place among those who follow.
    ///
    /// # Errors
    /// [`TooMany`] where none is free.
    pub fn admit(&self, who: Arc<str>) -> Result<Admission, TooMany> {
        let mut open = self.open.lock();
        if open.values().sum::<usize>() >= MOST_OF_ALL {
            return Err(TooMany::OfAll);
        }
        let count = open.entry(Arc::clone(&who)).or_default();
        if *count >= MOST_OF_ONE {
            return Err(TooMany::OfOne);
        }
        *count += 1;
        Ok(Admission { open: Arc::clone(&self.open), who })
    }

    /// Follows what happens from now on. Everything after [`Subscription::reached`] will be told, and perhaps some of before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where there is no thread for it, or the store cannot be read.
    pub async fn follow(
        &self,
        store: &Arc<Store>,
        interest: Interest,
        stop: watch::Receiver<bool>,
    ) -> Result<Subscription, StoreError> {
        let (mut subscription, mut reached, version) = self.subscribe(store, interest, stop)?;
        let reads_for_it = reached.wait_for(|reached| reached.is_some_and(|(_, of)| of >= version));
        match tokio::time::timeout(PATIENCE, reads_for_it).await {
            Ok(Ok(seen)) => subscription.reached = seen.map_or(Cursor::BEGINNING, |(cursor, _)| cursor),
            Ok(Err(_)) | Err(_) => return Err(StoreError::Unavailable),
        }
        Ok(subscription)
    }

    /// A subscription for which the thread reads from some state of what is wanted on.
    fn subscribe(
        &self,
        store: &Arc<Store>,
        interest: Interest,
        stop: watch::Receiver<bool>,
    ) -> Result<(Subscription, Reached, u64), StoreError> {
        let mut slot = self.hub.lock();
        if slot.as_ref().is_none_or(|hub| hub.thread.is_finished()) {
            *slot = Some(self.start(store, stop)?);
        }
        let Some(hub) = slot.as_ref() else { return Err(StoreError::Unavailable) };
        let (news, version, wanted) = (hub.news.subscribe(), hub.wanted.want(&interest), Arc::clone(&hub.wanted));
        hub.wake.notify_one();
        let subscription = Subscription { news, wanted, interest, reached: Cursor::BEGINNING };
        Ok((subscription, hub.reached.clone(), version))
    }

    fn start(&self, store: &Arc<Store>, stop: watch::Receiver<bool>) -> Result<Hub, StoreError> {
        let failed = |error: std::io::Error| {
            tracing::error!(%error, "events cannot be followed");
            StoreError::Unavailable
        };
        let (news, (show, reached)) = (broadcast::Sender::new(WAITING), watch::channel(None));
        let (wanted, wake) = (Arc::<Wanted>::default(), Arc::<Notify>::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let keeping = hub::Keeping {
            store: Arc::clone(store),
            slot: Arc::clone(&self.hub),
            news: news.clone(),
            wanted: Arc::clone(&wanted),
            wake: Arc::clone(&wake),
            show,
        };
        let run = move || runtime.block_on(keeping.run(stop));
        let thread = std::thread::Builder::new().name("events".to_owned()).spawn(run).map_err(failed)?;
        Ok(Hub { news, wanted, wake, reached, thread })
    }

    /// Waits for the thread, once it has been told to stop.
    pub fn stop(&self) {
        let hub = self.hub.lock().take();
        if let Some(hub) = hub
            && hub.thread.join().is_err()
        {
            tracing::error!("the thread that follows events panicked");
        }
    }
}

/// Whose the journal of all organizations is.
const ALL: OrganizationId = OrganizationId([0; 16]);

/// A number that is another whenever anything was recorded or changed meanwhile, on any node. Where the engine counts more than
/// that, it may be another without.
///
/// # Errors
/// [`StoreError`] where the store cannot be asked.
pub async fn mark(store: &Store) -> Result<u64, StoreError> {
    let number = store.reader().read(|view| {
        let rows = view.rows();
        Ok(match rows.progress()? {
            Some(progress) => progress.begun.unsigned_abs(),
            None => rows.newest_block(ALL)?,
        })
    });
    number.await
}

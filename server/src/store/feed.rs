//! What the loop tells the fleet view, which organizations changed while it is watching, and who was refused; and those who
//! follow events, that there are more.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metergate_rules::id::OrganizationId;
use metergate_rules::time::{HOUR, Time};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ledger::Map;
use super::message::MessageRow;

/// Hours for which refusals are counted.
const HOURS: i64 = 24;
/// Organizations whose refusals are counted in one hour; those that come after them do not stand in the list.
const MOST_REFUSED: usize = 16_384;

/// Told by the writer, after each commit and before its answers leave.
#[derive(Default)]
pub struct Feed {
    /// The organizations that changed, each once; nothing while nobody watches.
    changed: Mutex<Option<HashSet<OrganizationId, foldhash::quality::RandomState>>>,
    refusals: Mutex<Refusals>,
    /// How many follow the journal, and what wakes them.
    followers: AtomicUsize,
    grown: Notify,
    /// Wakes who sends messages.
    messages: Notify,
}

/// How often organizations were refused, by hour. In memory only: a refusal without id leaves no trace in the journal.
#[derive(Debug, Default)]
struct Refusals {
    since: Time,
    hours: VecDeque<(i64, Map<OrganizationId, u32>)>,
}

impl Refusals {
    fn count(&mut self, refused: &[OrganizationId], now: Time) {
        let hour = now.micros().div_euclid(HOUR);
        if self.hours.back().is_none_or(|(last, _)| *last < hour) {
            self.hours.push_back((hour, Map::default()));
            self.forget(hour);
        }
        let Some((_, counts)) = self.hours.back_mut() else { return };
        for organization in refused {
            if let Some(count) = counts.get_mut(organization) {
                *count = count.saturating_add(1);
            } else if counts.len() < MOST_REFUSED {
                counts.insert(*organization, 1);
            }
        }
    }

    /// Hours that are past, whether something was refused in them or not.
    fn forget(&mut self, hour: i64) {
        while self.hours.front().is_some_and(|(first, _)| *first <= hour - HOURS) {
            self.hours.pop_front();
        }
        self.since = self.since.max(Time::from_micros((hour - HOURS + 1) * HOUR));
    }
}

impl Feed {
    /// Refusals are counted from this time on.
    pub(super) fn new(since: Time) -> Self {
        Self { refusals: Mutex::new(Refusals { since, hours: VecDeque::new() }), ..Self::default() }
    }

    /// What a commit changed, or deleted.
    pub(super) fn tell(&self, organizations: impl Iterator<Item = OrganizationId>) {
        if let Some(changed) = &mut *self.changed.lock() {
            changed.extend(organizations);
        }
        if self.followers.load(Ordering::Relaxed) > 0 {
            self.grown.notify_one();
        }
    }

    /// A commit wrote messages to webhook endpoints.
    pub(super) fn tell_messages(&self, messages: &[MessageRow]) {
        if !messages.is_empty() {
            self.messages.notify_one();
        }
    }

    /// Waits until a commit of this node has written messages, if none has since this was waited for last. For one who waits.
    pub async fn messages(&self) {
        self.messages.notified().await;
    }

    /// From now on commits wake who waits for [`Following::grown`], until it is dropped. One at a time is woken.
    pub fn follow(self: &Arc<Self>) -> Following {
        self.followers.fetch_add(1, Ordering::Relaxed);
        Following(Arc::clone(self))
    }

    /// Something was refused to each of these.
    pub(crate) fn refused(&self, organizations: &[OrganizationId], now: Time) {
        if !organizations.is_empty() {
            self.refusals.lock().count(organizations, now);
        }
    }

    /// From now on the organizations that change are noted.
    pub fn watch(&self) {
        *self.changed.lock() = Some(HashSet::default());
    }

    /// Nothing is noted any more.
    pub fn unwatch(&self) {
        *self.changed.lock() = None;
    }

    /// Those that have changed since the last time, in no order.
    pub fn take(&self) -> Vec<OrganizationId> {
        self.changed.lock().as_mut().map(std::mem::take).into_iter().flatten().collect()
    }

    /// How often organizations were refused something in the last 24 hours, or since the start if that was later; and
    /// since when that is.
    pub fn refusals(&self, now: Time) -> (Time, HashMap<OrganizationId, u64>) {
        let mut refusals = self.refusals.lock();
        refusals.forget(now.micros().div_euclid(HOUR));
        let mut all: HashMap<OrganizationId, u64> = HashMap::new();
        for (organization, count) in refusals.hours.iter().flat_map(|(_, counts)| counts) {
            *all.entry(*organization).or_default() += u64::from(*count);
        }
        (refusals.since, all)
    }
}

/// Somebody who follows the journal.
pub struct Following(Arc<Feed>);

impl Following {
    /// Returns once there has been a commit since it returned last.
    pub async fn grown(&self) {
        self.0.grown.notified().await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

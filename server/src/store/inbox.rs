//! The way in and out of the writer: calls wait in one inbox; a commit's answers come back to each port as one vector
//! with one wake-up, so that a decision costs neither a channel nor a wake-up of its own.
//!
//! Where several writers share a record each has a lane of its own in it: calls about one organization go to one of them, and
//! upkeep, which may take long, to one that decides nothing.

use std::future::Future;
use std::hash::BuildHasher as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use metergate_rules::time::SECOND;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::{Answers, Request, StoreError, Work};
use crate::clock::boot;
use claim::Claim;
use slots::{Slot, Slots};

mod claim;
mod slots;

/// Calls that may wait in a lane at most. Beyond it callers hear at once that the store is busy.
const MOST_WAITING: usize = 100_000;
/// Where a caller's patience has an end, it is looked so often, in microseconds, whose has.
const LOOK: i64 = SECOND / 10;

/// A call that waits for the writer.
pub(super) struct Call {
    /// What to do.
    pub(super) work: Work,
    /// When it came in, in microseconds since boot; 0 where nobody's patience has an end.
    pub(super) since: i64,
    /// How often it was put off.
    pub(super) put_off: u32,
    /// Where its caller's patience has an end.
    claim: Option<Arc<Claim>>,
    port: Arc<Mailbox>,
    slot: usize,
}

impl Call {
    /// From here on something of it may happen. Whether it may: its caller has not given it up.
    pub(super) fn begin(&self) -> bool {
        self.claim.as_ref().is_none_or(|claim| claim.begin())
    }

    /// Whether its caller's patience has an end.
    pub(super) const fn is_in_a_hurry(&self) -> bool {
        self.claim.is_some()
    }

    /// What was begun of it has surely not happened.
    pub(super) fn leave(&self) {
        self.claim.iter().for_each(|claim| claim.leave());
    }

    /// It will not be begun any more. What its caller hears.
    pub(super) fn end(&self) -> StoreError {
        let is_open = self.claim.as_ref().is_some_and(|claim| claim.give_up());
        if is_open { StoreError::Unreached } else { StoreError::Unavailable }
    }

    /// Where its answer goes; the mailbox is told to wake its port by [`Mailbox::deliver`].
    pub(super) fn address(&self) -> (&Arc<Mailbox>, usize) {
        (&self.port, self.slot)
    }
}

/// What came of waiting.
pub(super) enum Taken {
    /// Calls.
    Calls,
    /// None in time.
    Nothing,
    /// The inbox is closed and empty.
    Closed,
}

/// What waits for the writers.
pub(super) struct Inbox {
    /// One for each writer. What names no organization goes to the first, upkeep to the last, and nothing else where there are
    /// several.
    lanes: Box<[Lane]>,
    by: foldhash::fast::RandomState,
    /// How long a caller waits at most, in microseconds, whatever the writer is held up by; without an end where it depends
    /// on nobody else.
    patience: Option<i64>,
}

#[derive(Default)]
struct Lane {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Default)]
struct Waiting {
    calls: Vec<Call>,
    closed: bool,
    woken: bool,
}

impl Inbox {
    /// One for a single writer, with all the time of its own.
    pub(super) fn new() -> Self {
        Self { lanes: [Lane::default()].into(), by: <_>::default(), patience: None }
    }

    /// One for so many writers that decide, and one that does the upkeep. Callers wait for so many microseconds at most; then
    /// they hear that nothing of their call has happened, or that this is not known.
    pub(super) fn with_patience(deciding: usize, patience: i64) -> Self {
        let lanes = (0..=deciding.max(1)).map(|_| Lane::default()).collect();
        Self { lanes, by: <_>::default(), patience: Some(patience) }
    }

    /// Takes all that waits in a lane, once something does, for as long as `patience` says or until it is woken.
    pub(super) fn take(&self, lane: usize, calls: &mut Vec<Call>, patience: Duration) -> Taken {
        let Lane { waiting, ready } = &self.lanes[lane];
        let mut waiting = waiting.lock();
        while waiting.calls.is_empty() {
            if waiting.closed {
                return Taken::Closed;
            }
            if std::mem::take(&mut waiting.woken) || ready.wait_for(&mut waiting, patience).timed_out() {
                return Taken::Nothing;
            }
        }
        std::mem::swap(&mut waiting.calls, calls);
        Taken::Calls
    }

    /// Has the writers look after what they do without calls.
    pub(super) fn wake(&self) {
        self.each_lane(|waiting| waiting.woken = true);
    }

    /// Has the first writer look after what it does without calls.
    pub(super) fn wake_first(&self) {
        if let Some(Lane { waiting, ready }) = self.lanes.first() {
            waiting.lock().woken = true;
            ready.notify_all();
        }
    }

    /// Lets nothing more in. What waits is still answered.
    pub(super) fn close(&self) {
        self.each_lane(|waiting| waiting.closed = true);
    }

    fn each_lane(&self, tell: impl Fn(&mut Waiting)) {
        for lane in &self.lanes {
            tell(&mut lane.waiting.lock());
            lane.ready.notify_all();
        }
    }

    /// The lane of the organization that a call names first.
    fn lane_of(&self, work: &Work) -> &Lane {
        let upkeep = self.lanes.len() - 1;
        let lane = match work {
            Work::Requests(requests) if upkeep > 1 => {
                let organization = requests.first().map(Request::organization);
                organization.map_or(0, |organization| (self.by.hash_one(organization) % upkeep as u64) as usize)
            }
            work if is_upkeep(work) => upkeep,
            _ => 0,
        };
        &self.lanes[lane]
    }

    fn put(&self, call: Call) -> Result<(), StoreError> {
        let Lane { waiting, ready } = self.lane_of(&call.work);
        let mut waiting = waiting.lock();
        if waiting.closed || waiting.calls.len() >= MOST_WAITING {
            return Err(StoreError::Unavailable);
        }
        waiting.calls.push(call);
        if waiting.calls.len() == 1 {
            ready.notify_one();
        }
        Ok(())
    }
}

/// Where the answers for one port arrive.
#[derive(Default)]
pub(super) struct Mailbox {
    arrived: Mutex<Vec<(usize, Answers)>>,
    notify: Notify,
}

impl Mailbox {
    /// Hands over answers and wakes the port once.
    pub(super) fn deliver(&self, answers: &mut Vec<(usize, Answers)>) {
        self.arrived.lock().append(answers);
        self.notify.notify_one();
    }
}

/// One core's door to the store. Cheap to clone; its answers come only while [`Port::receive`] runs.
#[derive(Clone)]
pub struct Port {
    inbox: Arc<Inbox>,
    mailbox: Arc<Mailbox>,
    slots: Arc<Mutex<Slots>>,
}

impl Port {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, mailbox: Arc::default(), slots: Arc::default() }
    }

    /// Hands arrived answers to those who wait for them, for ever. Runs as a task of the port's own runtime.
    pub async fn receive(self) {
        let (mut arrived, mut looked) = (Vec::new(), boot());
        loop {
            self.arrival().await;
            std::mem::swap(&mut *self.mailbox.arrived.lock(), &mut arrived);
            for (slot, answers) in arrived.drain(..) {
                let waker = self.slots.lock().answer(slot, answers);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            // One lane may be held up while another answers.
            if self.inbox.patience.is_some() && boot() - looked >= LOOK {
                looked = boot();
                let wakers = self.slots.lock().end_patience(looked);
                wakers.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Waits until answers have arrived, where somebody's patience may end not for long.
    async fn arrival(&self) {
        let arrival = self.mailbox.notify.notified();
        match self.inbox.patience {
            None => arrival.await,
            Some(_) => _ = tokio::time::timeout(Duration::from_micros(LOOK.unsigned_abs()), arrival).await,
        }
    }

    /// Has the writer do `work`, in one commit with whatever else waits. Durable when it returns.
    pub(super) fn call(&self, work: Work) -> impl Future<Output = Answers> + Send + use<> {
        let since = self.inbox.patience.map_or(0, |_| boot());
        let patience = self.inbox.patience.filter(|_| !is_upkeep(&work));
        let until = patience.map_or(i64::MAX, |patience| since + patience);
        let claim = patience.map(|_| Arc::<Claim>::default());
        let slot = self.slots.lock().reserve(until, claim.clone());
        let call = Call { work, since, put_off: 0, claim, port: Arc::clone(&self.mailbox), slot };
        let refused = self.inbox.put(call).err();
        if refused.is_some() {
            self.slots.lock().release(slot);
        }
        Answer { slots: Arc::clone(&self.slots), slot, done: refused.is_some(), refused }
    }
}

/// Upkeep may take long, and has nobody who waits for it in a hurry.
const fn is_upkeep(work: &Work) -> bool {
    matches!(work, Work::Replace(_) | Work::Retain | Work::Keep(..) | Work::Cut(_) | Work::Outbox(_))
}

struct Answer {
    slots: Arc<Mutex<Slots>>,
    slot: usize,
    refused: Option<StoreError>,
    done: bool,
}

impl Future for Answer {
    type Output = Answers;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answers> {
        if let Some(error) = self.refused.take() {
            return Poll::Ready(Err(error));
        }
        let slots = Arc::clone(&self.slots);
        let mut slots = slots.lock();
        if let Slot::Waiting(.., waker) = &mut slots.slots[self.slot] {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.done = true;
        match std::mem::replace(&mut slots.slots[self.slot], Slot::Abandoned) {
            Slot::Answered(answers) => {
                slots.release(self.slot);
                Poll::Ready(answers)
            }
            // The slot is free once the answer has come that nobody waits for any more.
            Slot::Late(true) => Poll::Ready(Err(StoreError::Unreached)),
            _ => Poll::Ready(Err(StoreError::Unavailable)),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut slots = self.slots.lock();
        match slots.slots[self.slot] {
            Slot::Answered(_) => slots.release(self.slot),
            _ => slots.slots[self.slot] = Slot::Abandoned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What somebody hears whose patience ends, with what the writer has done by then.
    fn late(done: fn(&Call)) -> (Answers, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let inbox = Arc::new(Inbox::with_patience(1, 200_000));
        let port = Port::new(Arc::clone(&inbox));
        runtime.spawn(port.clone().receive());
        let answers = port.call(Work::Requests(Vec::new()));
        let mut calls = Vec::new();
        assert!(matches!(inbox.take(0, &mut calls, Duration::ZERO), Taken::Calls));
        done(&calls[0]);
        (runtime.block_on(answers), calls[0].begin())
    }

    #[test]
    fn whoever_hears_that_nothing_has_happened_can_rely_on_it() {
        let begun = |call: &Call| assert!(call.begin());
        let left = |call: &Call| {
            assert!(call.begin());
            call.leave();
        };
        assert_eq!(late(|_| {}), (Err(StoreError::Unreached), false));
        assert_eq!(late(left), (Err(StoreError::Unreached), false));
        assert_eq!(late(begun), (Err(StoreError::Unavailable), true));
    }

    /// As from a lane that works, while another is held up.
    #[test]
    fn answers_that_arrive_for_others_prolong_nobodys_patience() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let inbox = Arc::new(Inbox::with_patience(1, 300_000));
        let port = Port::new(Arc::clone(&inbox));
        runtime.spawn(port.clone().receive());
        let waits = runtime.spawn(port.call(Work::Requests(Vec::new())));
        let (mailbox, mut calls) = (Arc::clone(&port.mailbox), Vec::new());
        assert!(matches!(inbox.take(0, &mut calls, Duration::ZERO), Taken::Calls));
        let others = runtime.spawn(async move {
            loop {
                mailbox.deliver(&mut Vec::new());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let told = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), waits).await });
        others.abort();
        assert_eq!(told.expect("it does not wait for ever").unwrap(), Err(StoreError::Unreached));
    }

    #[test]
    fn who_waits_for_too_long_is_told_so_and_the_slot_is_free_once_the_answer_comes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let inbox = Arc::new(Inbox::with_patience(1, 1_000));
        let port = Port::new(Arc::clone(&inbox));
        runtime.spawn(port.clone().receive());
        let mut upkeep = Box::pin(port.call(Work::Retain));
        let requests = runtime.block_on(async {
            tokio::select! {
                biased;
                _ = &mut upkeep => panic!("nobody is in a hurry for it"),
                answers = port.call(Work::Requests(Vec::new())) => answers,
            }
        });
        assert_eq!(requests, Err(StoreError::Unreached));
        // Nor does it stand before a decision.
        let [decided, kept] = [0, 1].map(|lane| {
            let mut calls = Vec::new();
            assert!(matches!(inbox.take(lane, &mut calls, Duration::ZERO), Taken::Calls));
            calls
        });
        assert_eq!((decided.len(), kept.len(), port.slots.lock().free.len()), (1, 1, 0));
        let deliver = |call: &Call, answers| call.address().0.deliver(&mut vec![(call.address().1, answers)]);
        deliver(&decided[0], Ok(Vec::new()));
        deliver(&kept[0], Ok(Vec::new()));
        assert_eq!(runtime.block_on(upkeep), Ok(Vec::new()));
        assert_eq!(port.slots.lock().free.len(), 2);
    }
}

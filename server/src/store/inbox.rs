//! The way in and out of the writer: calls wait in one inbox; a commit's answers come back to each port as one vector
//! with one wake-up, so that a decision costs neither a channel nor a wake-up of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::{Answers, StoreError, Work};

/// Calls that may wait at most. Beyond it callers hear at once that the store is busy.
const MOST_WAITING: usize = 100_000;

/// A call that waits for the writer.
pub(super) struct Call {
    /// What to do.
    pub(super) work: Work,
    /// How often it was put off, and since when that is, since boot.
    pub(super) put_off: (u32, i64),
    port: Arc<Mailbox>,
    slot: usize,
}

impl Call {
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

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Inbox {
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
    /// Takes all that waits, once something does, for as long as `patience` says or until it is woken.
    pub(super) fn take(&self, calls: &mut Vec<Call>, patience: Duration) -> Taken {
        let mut waiting = self.waiting.lock();
        while waiting.calls.is_empty() {
            if waiting.closed {
                return Taken::Closed;
            }
            if std::mem::take(&mut waiting.woken) || self.ready.wait_for(&mut waiting, patience).timed_out() {
                return Taken::Nothing;
            }
        }
        std::mem::swap(&mut waiting.calls, calls);
        Taken::Calls
    }

    /// Has the writer look after what it does without calls.
    pub(super) fn wake(&self) {
        self.waiting.lock().woken = true;
        self.ready.notify_all();
    }

    /// Lets nothing more in. What waits is still answered.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.ready.notify_all();
    }

    fn put(&self, call: Call) -> Result<(), StoreError> {
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.calls.len() >= MOST_WAITING {
            return Err(StoreError::Unavailable);
        }
        waiting.calls.push(call);
        if waiting.calls.len() == 1 {
            self.ready.notify_one();
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

/// The answer that a caller waits for.
enum Slot {
    Free,
    Waiting(Option<Waker>),
    Answered(Answers),
    /// Its caller went away; the answer is dropped when it comes.
    Abandoned,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl Slots {
    fn reserve(&mut self) -> usize {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(Slot::Free);
        }
        self.slots[slot] = Slot::Waiting(None);
        slot
    }

    fn release(&mut self, slot: usize) {
        self.slots[slot] = Slot::Free;
        self.free.push(slot);
    }

    fn answer(&mut self, slot: usize, answers: Answers) -> Option<Waker> {
        match std::mem::replace(&mut self.slots[slot], Slot::Answered(answers)) {
            Slot::Waiting(waker) => waker,
            _ => {
                self.release(slot);
                None
            }
        }
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
        let mut arrived = Vec::new();
        loop {
            self.mailbox.notify.notified().await;
            std::mem::swap(&mut *self.mailbox.arrived.lock(), &mut arrived);
            for (slot, answers) in arrived.drain(..) {
                let waker = self.slots.lock().answer(slot, answers);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }

    /// Has the writer do `work`, in one commit with whatever else waits. Durable when it returns.
    pub(super) fn call(&self, work: Work) -> impl Future<Output = Answers> + Send + use<> {
        let slot = self.slots.lock().reserve();
        let call = Call { work, put_off: (0, 0), port: Arc::clone(&self.mailbox), slot };
        let refused = self.inbox.put(call).err();
        if refused.is_some() {
            self.slots.lock().release(slot);
        }
        Answer { slots: Arc::clone(&self.slots), slot, done: refused.is_some(), refused }
    }
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
        match std::mem::replace(&mut slots.slots[self.slot], Slot::Waiting(None)) {
            Slot::Answered(answers) => {
                slots.release(self.slot);
                self.done = true;
                Poll::Ready(answers)
            }
            _ => {
                slots.slots[self.slot] = Slot::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
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

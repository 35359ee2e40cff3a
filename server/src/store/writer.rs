//! The writer: one thread that takes what waits, decides it, commits it, and answers.

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metergate_rules::time::{SECOND, Time};
use parking_lot::RwLock;

use super::alone::{Alone, Force, decide_alone, unwritten};
use super::batch::{Batch, Failure, Pending, Stop};
use super::block::{self, Place};
use super::checkpoint::{Checkpointer, stop_after_disk_failure};
use super::decided::Decided;
use super::error::{EngineError, unreadable};
use super::fold::{Fold, Step};
use super::inbox::{Call, Inbox, Mailbox, Taken};
use super::ledger::Ledger;
use super::open::Settings;
use super::reader::Recent;
use super::slicing::{STEP_BYTES, Slicing};
use super::sqlite::{Commit, Sqlite};
use super::{Answers, DecidedReceipt, Receipt, Request, StoreError, Work};
use crate::catalogue::Snapshot;
use crate::clock::{Clock, boot};
use crate::dies_at;
use crate::faults::planted;
use crate::people::People;

/// Requests in one commit at most.
pub(super) const MOST_REQUESTS: usize = 16_384;
/// Bytes of events and properties in one commit: a call that reaches it is the commit's last.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// How long the loop waits for calls before it writes rows without them.
const IDLE: Duration = Duration::from_millis(20);
/// How long it waits for calls when there is nothing else to do: what time alone makes due is looked at so often.
const ASLEEP: Duration = Duration::from_secs(600);
/// How long it waits after something has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// While there are calls, a step that forgets something comes so often, in microseconds.
const FORGET_EVERY: i64 = SECOND / 5;

/// What the writer's thread has.
pub(super) struct Writer {
    pub(super) sqlite: Sqlite,
    pub(super) ledger: Ledger,
    pub(super) fold: Fold,
    pub(super) slicing: Slicing,
    pub(super) checkpointer: Checkpointer,
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) catalogue: Arc<ArcSwap<Snapshot>>,
    pub(super) people: Arc<ArcSwap<People>>,
    pub(super) recent: Arc<RwLock<Recent>>,
    pub(super) inbox: Arc<Inbox>,
    /// Whether the last commit found no room on the disk.
    pub(super) disk_full: bool,
    /// When the last step was made that forgets something, since boot.
    pub(super) forgot: i64,
    /// When it is looked again whether kept answers are old enough to go, since boot.
    pub(super) answers_due: i64,
}

impl Writer {
    pub(super) fn run(mut self) {
        let (mut calls, mut patience) = (Vec::new(), IDLE);
        loop {
            match self.inbox.take(0, &mut calls, patience) {
                Taken::Calls => {
                    self.answer_all(calls.drain(..));
                    patience = IDLE;
                }
                Taken::Nothing => {
                    patience = match self.without_calls() {
                        Ok(true) => Duration::ZERO,
                        Ok(false) => ASLEEP,
                        Err(_) => AFTER_FAILURE,
                    }
                }
                Taken::Closed => return self.finish(),
            }
        }
    }

    /// Whether every row is up to the journal, and no block in the database that need not be there.
    fn is_done(&self) -> bool {
        self.fold.is_done(&self.ledger.dirty.read(), self.ledger.sequence)
            && self.leaving(self.ledger.sequence, true).is_none()
    }

    /// The blocks that leave the database with a commit after which `newest` is the newest.
    fn leaving(&self, newest: u64, idle: bool) -> Option<RangeInclusive<u64>> {
        self.slicing.leaving(self.sliced_to(), self.fold.folded_to(), newest, idle)
    }

    /// Whether there was something to do.
    fn without_calls(&mut self) -> Result<bool, Failure> {
        let tended = self.tend()? | self.forget()?;
        if self.is_done() {
            return Ok(tended);
        }
        self.write_rows(true).map(|()| true)
    }

    /// Between two commits.
    fn tend(&mut self) -> Result<bool, Failure> {
        self.checkpointer.finish(&self.sqlite);
        let tended = self.tend_slices();
        match &tended {
            Ok(true) => self.has_room(),
            Ok(false) => {}
            Err(failure) => self.tell(failure, "slices could not be tended"),
        }
        tended
    }

    /// Something was written.
    fn has_room(&mut self) {
        if std::mem::take(&mut self.disk_full) {
            tracing::info!("the disk has room again");
        }
    }

    fn answer_all(&mut self, calls: impl Iterator<Item = Call>) {
        let mut waiting = calls.peekable();
        while waiting.peek().is_some() {
            let (alone, batch) = next_batch(&mut waiting, MOST_REQUESTS);
            match alone {
                Some(call) => self.answer_alone(&call),
                None => self.answer(&batch),
            }
            // What failed is tried again at the next turn.
            let _ = self.tend();
            if boot() - self.forgot > FORGET_EVERY {
                let _ = self.forget();
            }
        }
    }

    /// Tells the log why a commit failed. A full disk fails every one until somebody makes room: only the first is told.
    pub(super) fn tell(&mut self, failure: &Failure, what: &str) {
        let full = matches!(failure, Failure::Store(EngineError::Full(_)));
        if !full || !std::mem::replace(&mut self.disk_full, true) {
            tracing::error!(%failure, "{what}");
        }
    }

    /// One time for the batch, never behind the last commit's.
    pub(super) fn now(&self) -> Time {
        if planted("clock-runs-back") && self.ledger.sequence % 2 == 1 {
            return self.clock.now().plus(-SECOND);
        }
        self.clock.now().max(self.ledger.last)
    }

    fn answer_alone(&mut self, call: &Call) {
        let change = || match &call.work {
            Work::Replace(remade) => self.replace(remade),
            Work::Retain => self.retain(),
            Work::Keep(name, value) => self.keep(name, value),
            Work::Outbox(work) => self.keep_outbox(work),
            work => self.change(work),
        };
        let answer = catch_unwind(AssertUnwindSafe(change)).unwrap_or(Err(StoreError::Internal));
        deliver(vec![(call, Ok(vec![answer]))]);
    }

    /// Decides what stands alone in its commit, writes it, and puts it in force.
    fn change(&mut self, work: &Work) -> Result<Receipt, StoreError> {
        let now = self.now();
        let batch = Batch::new(&mut self.ledger, &self.sqlite, &self.settings, now);
        let now = match decide_alone(work, batch).map_err(Stop::into_error)? {
            Alone::Before(answer) => return Ok(Receipt::Answered { answer, replayed: true }),
            Alone::Now(now) => *now,
        };
        self.commit(now.decided).map_err(|failure| {
            self.tell(&failure, unwritten(work));
            StoreError::from(&failure)
        })?;
        if matches!(work, Work::Cut(_)) {
            dies_at!("audit-cut");
        }
        self.put_in_force(now.force);
        if matches!(work, Work::Deletion(_)) {
            dies_at!("deletion-unanswered");
        }
        Ok(now.receipt)
    }

    /// What a commit changed holds from now on.
    pub(super) fn put_in_force(&mut self, force: Force) {
        let Force { catalogue, people, cut } = force;
        if let Some(people) = people.map(Arc::new) {
            self.ledger.people = Arc::clone(&people);
            self.people.store(people);
        }
        if let Some(snapshot) = catalogue.map(Arc::new) {
            self.ledger.catalogue = Arc::clone(&snapshot);
            self.catalogue.store(snapshot);
        }
        self.ledger.cut.extend(cut);
    }

    /// Decides and commits calls together. Where one of them brings the batch down, it is split until that one stands
    /// alone.
    fn answer(&mut self, calls: &[Call]) {
        let attempted = catch_unwind(AssertUnwindSafe(|| self.attempt(calls))).unwrap_or(Err(Failure::Panicked));
        match attempted {
            Ok(answers) => deliver(calls.iter().zip(answers.into_iter().map(Ok)).collect()),
            Err(Failure::Panicked) if calls.len() > 1 => {
                let (first, second) = calls.split_at(calls.len() / 2);
                self.answer(first);
                self.answer(second);
            }
            Err(failure) => {
                self.tell(&failure, "a commit failed; nothing of it was acknowledged");
                let error = StoreError::from(&failure);
                deliver(calls.iter().map(|call| (call, Err(error.clone()))).collect());
            }
        }
    }

    fn attempt(&mut self, calls: &[Call]) -> Result<Vec<Vec<Result<Receipt, StoreError>>>, Failure> {
        let now = self.now();
        let mut batch = Batch::new(&mut self.ledger, &self.sqlite, &self.settings, now);
        let mut pending: Vec<Vec<Pending>> = Vec::with_capacity(calls.len());
        for call in calls {
            let Work::Requests(requests) = &call.work else { continue };
            pending.push(batch.decide(requests)?);
        }
        let mut decided = Decided::of(batch);
        let (refused, tally) = (std::mem::take(&mut decided.refused), std::mem::take(&mut decided.tally));
        if planted("answer-before-fsync") {
            let early = pending.iter().map(|call| call.iter().map(early).collect());
            deliver(calls.iter().zip(early.map(Ok)).collect());
            dies_at!("answered-early");
        }
        let offsets = self.commit(decided)?;
        self.ledger.feed.refused(&refused, now);
        self.ledger.refusals.take_in(tally, now);
        let sequence = self.ledger.sequence;
        dies_at!("commit-unanswered");
        if planted("answer-before-fsync") {
            return Ok(Vec::new());
        }
        let place = |record: usize| Place { sequence, offset: offsets[record] };
        let answer = |pending| match pending {
            Pending::Ready(answer) => answer,
            Pending::Placed(receipt, record) => {
                Ok(Receipt::Decided(DecidedReceipt { place: Some(place(record)), ..receipt }))
            }
        };
        Ok(pending.into_iter().map(|call| call.into_iter().map(answer).collect()).collect())
    }

    /// Writes what was decided, and with it the next rows that are behind.
    pub(super) fn commit(&mut self, decided: Decided) -> Result<Vec<u32>, Failure> {
        if decided.is_empty() {
            return Ok(Vec::new());
        }
        let sequence = self.ledger.sequence + u64::from(!decided.records.is_empty());
        let step = self.next_step(sequence, false);
        self.commit_with(decided, step)
    }

    /// Writes what was decided and a step of the fold, and only then makes it the durable image.
    pub(super) fn commit_with(&mut self, decided: Decided, mut step: Step) -> Result<Vec<u32>, Failure> {
        let began = boot();
        let has_block = !decided.records.is_empty();
        let sequence = self.ledger.sequence + u64::from(has_block);
        let order = block::order(&decided.records);
        let (data, offsets) =
            block::pack(&decided.records, &order, decided.ids()).map_err(|e| unreadable("a new block", e))?;
        decided.bring_up(&mut step.accounts, &self.ledger.dirty.read(), sequence, &order);
        if planted("failed-ids-kept") {
            decided.remember(&mut self.ledger, sequence, &offsets);
        }
        // What its rows lack stands in no other commit.
        let last = decided.deleted.and_then(|organization| self.ledger.dirty.read().get(organization).cloned());
        let leaving = self.leaving(sequence, decided.is_empty());
        let sliced = leaving.map(|blocks| self.sqlite.first_of(blocks, STEP_BYTES)).transpose()?;
        let commit = Commit {
            sequence,
            at: decided.now,
            block: has_block.then_some(&*data),
            fold: &step.accounts,
            folded_to: step.folded_to,
            sliced,
            audit: &decided.audit,
            receipts: &decided.receipts,
            team: &decided.team,
            people: &decided.people,
            messages: &decided.messages,
            stripe: &decided.stripe,
            deleted: decided.deleted,
            deleted_lacking: last.as_deref(),
        };
        let (bytes, sliced) = (commit.bytes(), commit.sliced.clone());
        let (rows, totals) = self.sqlite.write(&commit).inspect_err(stop_after_disk_failure)?;
        self.has_room();
        decided.remember(&mut self.ledger, sequence, &offsets);
        sliced.iter().for_each(|blocks| self.slicing.left(blocks));
        if has_block {
            self.slicing.grown(decided.now, data.len());
            self.recent.write().add(sequence, decided.organizations(&order));
        }
        decided.become_durable(&mut self.ledger, sequence, &order, &step, &totals);
        self.checkpointer.grown(bytes);
        let unfolded = self.ledger.dirty.read().entries();
        let rows = rows + step.looked;
        self.fold.done(&step, boot() - began + step.looked, rows, step.accounts.len(), unfolded);
        Ok(offsets)
    }
}

fn early(pending: &Pending) -> Result<Receipt, StoreError> {
    match pending {
        Pending::Ready(answer) => answer.clone(),
        Pending::Placed(receipt, _) => Ok(Receipt::Decided(receipt.clone())),
    }
}

/// The next calls that are decided together, until they have so many requests; what is the team's, or of people, stands alone.
pub(super) fn next_batch(
    waiting: &mut std::iter::Peekable<impl Iterator<Item = Call>>,
    most: usize,
) -> (Option<Call>, Vec<Call>) {
    let (mut batch, mut requests, mut bytes) = (Vec::new(), 0, 0);
    while let Some(call) = waiting.peek() {
        match &call.work {
            Work::Requests(more) if requests < most && bytes < MOST_BYTES => {
                requests += more.len();
                bytes += more.iter().map(Request::bytes).sum::<usize>();
            }
            Work::Requests(_) => break,
            _ if batch.is_empty() => return (waiting.next(), batch),
            _ => break,
        }
        batch.extend(waiting.next());
    }
    (None, batch)
}

/// Answers for one port, by slot.
type Letters = Vec<(usize, Answers)>;

/// Hands each port its answers as one vector with one wake-up.
pub(super) fn deliver(answers: Vec<(&Call, Answers)>) {
    let mut ports: Vec<(&Arc<Mailbox>, Letters)> = Vec::new();
    for (call, answer) in answers {
        let (mailbox, slot) = call.address();
        match ports.iter_mut().find(|(port, _)| Arc::ptr_eq(port, mailbox)) {
            Some((_, answers)) => answers.push((slot, answer)),
            None => ports.push((mailbox, vec![(slot, answer)])),
        }
    }
    for (mailbox, mut answers) in ports {
        mailbox.deliver(&mut answers);
    }
}

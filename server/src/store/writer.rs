//! The writer: one thread that takes what waits, decides it, commits it, and answers.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arc_swap::ArcSwap;
use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationKey};
use metergate_rules::time::Time;
use parking_lot::RwLock;

use super::audit::AuditRow;
use super::batch::{Batch, Failure, Pending};
use super::block::{self, Place, Record};
use super::inbox::{Call, Inbox, Mailbox};
use super::known::Id;
use super::ledger::{Head, Ledger, Map};
use super::open::Settings;
use super::reader::Recent;
use super::rollup::Derived;
use super::sqlite::{Commit, Sqlite, unreadable};
use super::{Answer, Answers, DISK_FAILED, DecidedReceipt, Receipt, ReceiptKey, Request, StoreError, Work};
use crate::catalogue::Snapshot;
use crate::catalogue::change::TeamRow;
use crate::clock::Clock;
use crate::dies_at;
use crate::faults::planted;

/// Requests in one commit at most.
const MOST_REQUESTS: usize = 16_384;
/// Bytes of events and properties in one commit: a call that reaches it is the commit's last.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// What the writer's thread has.
pub(super) struct Writer {
    pub(super) sqlite: Sqlite,
    pub(super) ledger: Ledger,
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) catalogue: Arc<ArcSwap<Snapshot>>,
    pub(super) recent: Arc<RwLock<Recent>>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) disk_failed: bool,
    pub(super) disk_full: bool,
}

impl Writer {
    pub(super) fn run(mut self) {
        let mut calls = Vec::new();
        while self.inbox.take(&mut calls).is_some() {
            let mut waiting = calls.drain(..).peekable();
            while waiting.peek().is_some() {
                let (team, batch) = next_batch(&mut waiting);
                match team {
                    Some(call) => self.answer_team(&call),
                    None => self.answer(&batch),
                }
                self.stop_after_disk_failure();
            }
        }
    }

    /// After a failed write or sync SQLite would go on appending to a write-ahead file of which nobody knows what is on
    /// disk. The process ends instead; the next start reads what there is.
    fn stop_after_disk_failure(&self) {
        if self.disk_failed && !planted("goes-on-after-failed-sync") {
            tracing::error!("the disk failed: stopping, since what was written last is unknown until the next start");
            std::process::exit(i32::from(DISK_FAILED));
        }
    }

    /// One time for the batch, never behind the last commit's.
    pub(super) fn now(&self) -> Time {
        self.clock.now().max(self.ledger.last)
    }

    fn answer_team(&mut self, call: &Call) {
        let Work::Team(request) = &call.work else { return };
        let answer = catch_unwind(AssertUnwindSafe(|| self.change_team(request))).unwrap_or(Err(StoreError::Internal));
        deliver(vec![(call, Ok(vec![answer]))]);
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
                let error = StoreError::from(&failure);
                // A full disk fails every commit until somebody makes room: the log hears of the first.
                if error != StoreError::DiskFull || !std::mem::replace(&mut self.disk_full, true) {
                    tracing::error!(%failure, calls = calls.len(), "a commit failed; nothing of it was acknowledged");
                }
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
            pending.push(requests.iter().map(|request| batch.decide(request)).collect::<Result<_, _>>()?);
        }
        let decided = Decided::of(batch);
        if planted("answer-before-fsync") {
            let early = pending.iter().map(|call| call.iter().map(early).collect());
            deliver(calls.iter().zip(early.map(Ok)).collect());
            dies_at!("answered-early");
        }
        let offsets = self.commit(decided)?;
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

    /// Writes what was decided, and only then makes it the durable image.
    pub(super) fn commit(&mut self, decided: Decided) -> Result<Vec<u32>, Failure> {
        if decided.is_empty() {
            return Ok(Vec::new());
        }
        let has_block = !decided.records.is_empty();
        let sequence = self.ledger.sequence + u64::from(has_block);
        let (data, offsets) = block::pack(&decided.records).map_err(|e| unreadable("a new block", e))?;
        let accounts = decided.working.values().map(|a| (&**a, decided.changed.contains(&a.id))).collect();
        if planted("failed-ids-kept") {
            decided.remember(&mut self.ledger, sequence, &offsets);
        }
        let commit = Commit {
            sequence,
            at: decided.now,
            block: has_block.then_some(&*data),
            accounts,
            derived: &decided.derived,
            audit: &decided.audit,
            receipts: &decided.receipts,
            team: &decided.team,
        };
        if let Err(error) = self.sqlite.write(&commit) {
            self.disk_failed = error.is_disk_failure();
            return Err(error.into());
        }
        if std::mem::take(&mut self.disk_full) {
            tracing::info!("the disk has room again");
        }
        decided.remember(&mut self.ledger, sequence, &offsets);
        if has_block {
            self.recent.write().add(sequence, decided.records.iter().map(|(organization, _)| *organization));
        }
        decided.become_durable(&mut self.ledger, sequence);
        Ok(offsets)
    }
}

/// What a batch decided, apart from the durable image that it was decided on.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) now: Time,
    working: Map<OrganizationId, Arc<Account>>,
    changed: HashSet<OrganizationId>,
    keys: Map<OrganizationKey, Option<OrganizationId>>,
    records: Vec<(OrganizationId, Record)>,
    ids: Vec<(usize, u32)>,
    derived: Derived,
    pub(super) audit: Vec<AuditRow>,
    pub(super) heads: Map<[u8; 16], Head>,
    pub(super) receipts: Vec<([u8; 16], ReceiptKey, Answer)>,
    pub(super) team: Vec<TeamRow>,
}

impl Decided {
    pub(super) fn of(batch: Batch<'_>) -> Self {
        let Batch { now, working, changed, keys, records, ids, derived, audit, heads, receipts, .. } = batch;
        Self { now, working, changed, keys, records, ids, derived, audit, heads, receipts, team: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.audit.is_empty() && self.receipts.is_empty() && self.team.is_empty()
    }

    fn remember(&self, ledger: &mut Ledger, sequence: u64, offsets: &[u32]) {
        for (index, attempt) in &self.ids {
            let (organization, record) = &self.records[*index];
            if let Some(id) = Id::of(record) {
                let place = Place { sequence, offset: offsets[*index] };
                ledger.known.insert(*organization, id, *attempt, place);
            }
        }
    }

    fn become_durable(self, ledger: &mut Ledger, sequence: u64) {
        ledger.sequence = sequence;
        ledger.last = self.now;
        ledger.accounts.extend(self.working);
        ledger.heads.extend(self.heads);
        for (key, organization) in self.keys {
            match organization {
                Some(organization) => ledger.keys.insert(key, organization),
                None => ledger.keys.remove(&key),
            };
        }
    }
}

fn early(pending: &Pending) -> Result<Receipt, StoreError> {
    match pending {
        Pending::Ready(answer) => answer.clone(),
        Pending::Placed(receipt, _) => Ok(Receipt::Decided(receipt.clone())),
    }
}

/// The next calls that are decided together; what is the team's stands alone.
fn next_batch(waiting: &mut std::iter::Peekable<impl Iterator<Item = Call>>) -> (Option<Call>, Vec<Call>) {
    let (mut batch, mut requests, mut bytes) = (Vec::new(), 0, 0);
    while let Some(call) = waiting.peek() {
        match &call.work {
            Work::Team(_) if batch.is_empty() => return (waiting.next(), batch),
            Work::Requests(more) if requests < MOST_REQUESTS && bytes < MOST_BYTES => {
                requests += more.len();
                bytes += more.iter().map(Request::bytes).sum::<usize>();
            }
            _ => break,
        }
        batch.extend(waiting.next());
    }
    (None, batch)
}

/// Answers for one port, by slot.
type Letters = Vec<(usize, Answers)>;

/// Hands each port its answers as one vector with one wake-up.
fn deliver(answers: Vec<(&Call, Answers)>) {
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

//! The loop over PostgreSQL: the same batches as over the embedded store, each in one transaction under the locks of its
//! accounts, so that any number of nodes decide one after the other about one organization and beside each other about many.
//!
//! A turn: what waits is taken, the organizations that it names are looked up and their rows locked, those that another node
//! holds are put off with whoever asks for them, the time is read behind the locks, the rest is decided, written and
//! committed, and answers leave. What a decision touched beside what was locked is locked in the next try.
//!
//! Accounts stay in memory with the version of their row. One is decided on only while its row is locked and has that version or,
//! where nobody else comes to it (`others.rs`), if the row has that version still when the commit is written (`team.rs`: the team's row, too).
//!
//! A node runs several such loops, lanes, each with a connection and a memory of its own, as several nodes would: one decides
//! while PostgreSQL works for the other. Calls about one organization go to one lane. One more does the upkeep alone.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use metergate_rules::id::{OrganizationId, OrganizationKey};
use metergate_rules::time::SECOND;
use parking_lot::Mutex;

use super::alone::{Force, unwritten};
use super::batch::Failure;
use super::error::EngineError;
use super::inbox::{Call, Inbox, Taken};
use super::ledger::Ledger;
use super::open::{Given, Outdating, Settings};
use super::postgres::listen::Listening;
use super::postgres::{Address, Postgres};
use super::writer::{deliver, next_batch};
use super::{StoreError, Work};
use crate::clock::{Clock, boot};

mod alone;
mod commit;
mod given;
mod handing;
pub(super) mod news;
mod open;
mod others;
mod pace;
mod remembered;
mod shown;
mod team;
mod tend;
mod turn;

pub(super) use remembered::Remembered;

/// How long a caller waits at most, in microseconds. Whoever has no answer by then hears that the call was not begun, nor will
/// be, or that it is not known what came of it, however PostgreSQL behaves.
const DEADLINE: i64 = 5 * SECOND;
/// How often a turn is tried when another node was in the way, how long it rests in between, and for how many microseconds
/// it is tried at most: those who wait for a lock hold up all others.
const TRIES: u32 = 8;
const REST: Duration = Duration::from_millis(3);
const TRYING: i64 = 400_000;
/// How often something that was put off is looked at again.
const AGAIN: Duration = Duration::from_millis(2);
/// After so many times a row that others hold is waited for, so that nobody is passed over for ever.
const PATIENT: u32 = 10;
/// How long those that are tried one by one hold up the others at a time, in microseconds.
const APART: i64 = 50_000;
/// How long nobody waits for a lock again after that was in vain, in microseconds, so that others are answered meanwhile.
const IN_VAIN: i64 = SECOND / 2;
/// The use of all together is added up in so many parts, so that few add to the same.
const PARTS: usize = 64;
/// How long nobody tries to connect again after that has failed, in microseconds.
const UNREACHABLE: i64 = SECOND / 5;

/// What the loop's thread has.
pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) session: Option<Postgres>,
    pub(super) ledger: Ledger,
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    /// How far PostgreSQL's clock, as the tests shift it, is ahead of the node's, in microseconds.
    pub(super) ahead: Arc<AtomicI64>,
    /// Which of the node's loops it is.
    lane: usize,
    role: tend::Role,
    shown: Arc<shown::Shown>,
    pub(super) inbox: Arc<Inbox>,
    given: Arc<Given>,
    /// Why the database must not be used any more, once that is so.
    outdated: Outdating,
    memory: Memory,
    /// Calls for organizations that another node held.
    put_off: Vec<Call>,
    /// Calls that are tried one by one, since somebody was in the way of all with which they were tried.
    apart: VecDeque<Call>,
    /// When a lock was waited for in vain, since boot.
    waited: Option<i64>,
    /// When connecting failed last, since boot.
    failed: Option<i64>,
    /// Whether the log knows that PostgreSQL cannot be asked.
    is_told: bool,
    pace: pace::Pace,
    tending: tend::Tending,
    /// Of the first: by this it hears at once that others have changed something of the team's.
    listening: Option<Listening>,
}

/// What is known of the rows; none of it counts until it was compared under a lock.
#[derive(Default)]
struct Memory {
    remembered: Arc<Mutex<Remembered>>,
    /// Of the names those that a turn is about.
    used: Vec<(OrganizationKey, OrganizationId)>,
    team: team::Team,
    /// Organizations that the last try touched without a lock.
    also: BTreeSet<OrganizationId>,
    /// Whether it touched the team's chain without one.
    also_team: bool,
    others: others::Others,
    /// The part of the use of all together that this node adds to.
    part: i16,
}

impl Shared {
    pub(super) fn run(mut self) {
        let mut calls = Vec::new();
        let mut patience = Duration::ZERO;
        loop {
            self.hand_over(false);
            let is_idle = self.put_off.is_empty() && self.apart.is_empty();
            let waits = if is_idle { patience } else { AGAIN };
            match self.inbox.take(self.lane, &mut calls, waits) {
                Taken::Calls => {}
                Taken::Nothing if is_idle => {
                    patience = if self.tend() { Duration::ZERO } else { tend::idle() };
                    continue;
                }
                Taken::Nothing => {}
                Taken::Closed if is_idle => {
                    drop(self.listening.take());
                    return self.hand_over(true);
                }
                Taken::Closed => std::thread::sleep(AGAIN),
            }
            patience = tend::idle();
            let waiting = std::mem::take(&mut self.put_off).into_iter().chain(calls.drain(..));
            self.answer_all(waiting.collect());
            self.answer_apart();
            self.tend_between();
        }
    }

    fn answer_all(&mut self, calls: Vec<Call>) {
        // What nobody waits for any more is not begun.
        let (late, calls): (Vec<_>, Vec<_>) = calls.into_iter().partition(is_late);
        deliver(late.iter().map(|call| (call, Err(call.end()))).collect());
        let mut waiting = calls.into_iter().peekable();
        while waiting.peek().is_some() {
            let (alone, batch) = next_batch(&mut waiting, self.pace.most());
            match alone {
                Some(call) => self.answer_alone(call, TRIES),
                None => self.answer(batch),
            }
        }
    }

    /// Those that are tried one by one, until somebody is in the way of one of them again.
    fn answer_apart(&mut self) {
        let began = boot();
        while !self.has_waited_in_vain()
            && boot() - began < APART
            && let Some(call) = self.apart.pop_front()
        {
            let others = self.apart.len();
            match &call.work {
                _ if is_late(&call) => deliver(vec![(&call, Err(call.end()))]),
                Work::Requests(_) => {
                    let contended = self.answer_together(vec![call], true);
                    self.apart.extend(contended);
                }
                _ => self.answer_alone(call, 2),
            }
            if self.apart.len() > others {
                self.waited = Some(boot());
            }
        }
    }

    fn answer_alone(&mut self, call: Call, tries: u32) {
        if !call.begin() {
            return deliver(vec![(&call, Err(StoreError::Unreached))]);
        }
        let changed = self.again(tries, |shared| shared.change(&call.work));
        let answer = match changed {
            Ok(turn::Turn::Done(receipt)) => receipt,
            Ok(turn::Turn::PutOff) => {
                call.leave();
                return self.put_off(call);
            }
            Err(Failure::Store(EngineError::Contended(_))) => {
                call.leave();
                return self.apart.push_back(call);
            }
            Err(failure) => {
                self.tell(&failure, unwritten(&call.work));
                Err(StoreError::from(&failure))
            }
        };
        deliver(vec![(&call, Ok(vec![answer]))]);
    }

    /// Decides and commits calls. Those that have been passed over often wait for the locks, apart from the others.
    fn answer(&mut self, calls: Vec<Call>) {
        let may_wait = !self.has_waited_in_vain();
        let (patient, calls): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| may_wait && call.put_off >= PATIENT);
        for call in self.answer_together(patient, true) {
            self.waited = Some(boot());
            self.put_off(call);
        }
        let contended = self.answer_together(calls, false);
        self.apart.extend(contended);
    }

    /// Decides and commits calls together. Where one of them brings the batch down, it is split until that one stands alone.
    /// Answers all of them where somebody was in their way.
    fn answer_together(&mut self, mut calls: Vec<Call>, waits: bool) -> Vec<Call> {
        if calls.is_empty() {
            return calls;
        }
        let began = boot();
        let attempted = self.again(if waits { 2 } else { TRIES }, |shared| shared.decide(&calls, waits));
        match attempted {
            Ok(answers) => {
                let decided = calls.iter().zip(&answers).filter(|(_, answer)| matches!(answer, turn::Turn::Done(_)));
                let requests = decided.map(|(call, _)| call.work.requests()).sum();
                self.pace.done(requests, boot() - began);
                let (mut answered, mut put_off) = (Vec::new(), Vec::new());
                for (call, answers) in calls.into_iter().zip(answers) {
                    match answers {
                        turn::Turn::Done(answers) => answered.push((call, answers)),
                        turn::Turn::PutOff => put_off.push(call),
                    }
                }
                deliver(answered.iter_mut().map(|(call, answers)| (&*call, Ok(std::mem::take(answers)))).collect());
                put_off.into_iter().for_each(|call| self.put_off(call));
                Vec::new()
            }
            Err(Failure::Store(EngineError::Contended(_))) => calls,
            Err(failure) if is_of_one(&failure) && calls.len() > 1 => {
                let second = calls.split_off(calls.len() / 2);
                let mut contended = self.answer_together(calls, waits);
                contended.extend(self.answer_together(second, waits));
                contended
            }
            Err(failure) => {
                self.tell(&failure, "a commit failed; nothing of it was acknowledged");
                deliver(calls.iter().map(|call| (call, Err(StoreError::from(&failure)))).collect());
                Vec::new()
            }
        }
    }

    /// Whether a lock was waited for in vain a moment ago.
    fn has_waited_in_vain(&self) -> bool {
        self.waited.is_some_and(|waited| boot() - waited < IN_VAIN)
    }

    /// Tries a turn again where another node was in the way, or the connection had ended before it began.
    fn again<T>(&mut self, most: u32, mut turn: impl FnMut(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        let (mut tries, began) = (0, boot());
        loop {
            let tried = catch_unwind(AssertUnwindSafe(|| turn(self))).unwrap_or(Err(Failure::Panicked));
            let failure = match tried {
                Ok(done) => {
                    self.memory.also.clear();
                    self.memory.also_team = false;
                    return Ok(done);
                }
                Err(failure) => failure,
            };
            self.leave(&failure);
            tries += 1;
            if matches!(&failure, Failure::Store(EngineError::Contended(_))) {
                // Perhaps another node that stopped holds the part of the use of all to which this one adds.
                self.memory.part = (self.memory.part + 7) % PARTS as i16;
            }
            match &failure {
                Failure::Store(EngineError::Contended(_)) if tries < most && boot() - began < TRYING => {
                    std::thread::sleep(REST * (tries - 1));
                }
                Failure::Store(EngineError::Unreachable(_)) if tries == 1 && !self.is_away() => {}
                Failure::Store(EngineError::Outrun) if tries < most => {}
                _ => {
                    self.memory.also.clear();
                    self.memory.also_team = false;
                    return Err(failure);
                }
            }
        }
    }

    /// Leaves the transaction of a turn that failed: nothing of it has happened, as far as that can be known.
    fn leave(&mut self, failure: &Failure) {
        let Some(session) = self.session.take() else { return };
        self.pace.failed(session.is_silent());
        if session.is_silent() {
            self.failed = Some(boot());
        }
        if !is_lost(failure) && !session.is_broken() {
            session.roll_back();
            self.end_if_pooled(failure, &session);
            if !session.is_broken() {
                self.session = Some(session);
            }
        }
    }

    /// Stops where a pooler lends the sessions of PostgreSQL to others. What such a session does not know of this connection
    /// (its role, say) is an error that should not be.
    fn end_if_pooled(&self, failure: &Failure, session: &Postgres) {
        let found = match failure {
            Failure::Store(EngineError::Pooled) => Some(EngineError::Pooled),
            Failure::Store(EngineError::Postgres(_)) => session.keeps_its_mark().err(),
            _ => None,
        };
        if let Some(why @ EngineError::Pooled) = found {
            self.outdated.send_replace(Some(why.to_string()));
        }
    }

    /// The connection, made anew where it has ended. None any more once the database must not be used.
    fn connected(&mut self) -> Result<Postgres, EngineError> {
        if let Some(why) = &*self.outdated.borrow() {
            return Err(EngineError::Unusable(why.clone()));
        }
        if let Some(session) = self.session.take().filter(|session| !session.is_broken()) {
            return Ok(session);
        }
        if self.is_away() {
            return Err(EngineError::Unreachable("it did not answer a moment ago".to_owned()));
        }
        let session = Postgres::connect_to_decide(&self.address).inspect_err(|_| self.failed = Some(boot()))?;
        self.failed = None;
        self.tending.looks_again();
        self.memory.team.doubt();
        self.memory.remembered.lock().doubt();
        if std::mem::take(&mut self.is_told) {
            tracing::info!("PostgreSQL answers again");
        }
        Ok(session)
    }

    /// Whether PostgreSQL did not answer a moment ago.
    fn is_away(&self) -> bool {
        self.failed.is_some_and(|failed| boot() - failed < UNREACHABLE)
    }

    /// Tells the log why something failed. Without PostgreSQL everything does: only the first is told.
    fn tell(&mut self, failure: &Failure, what: &str) {
        let is_out = matches!(failure, Failure::Store(EngineError::Unreachable(_)));
        if !is_out || !std::mem::replace(&mut self.is_told, true) {
            tracing::error!(%failure, "{what}");
        }
    }

    /// A call waits until another node has let go.
    fn put_off(&mut self, mut call: Call) {
        call.put_off += 1;
        self.put_off.push(call);
    }

    /// What a commit changed holds from now on.
    fn put_in_force(&mut self, force: Force) {
        let (catalogue, people) = self.memory.team.epochs.unwrap_or_default();
        if let Some(everybody) = force.people.map(Arc::new) {
            self.shown.show_people(people, &everybody);
            self.ledger.people = everybody;
        }
        if let Some(snapshot) = force.catalogue.map(Arc::new) {
            self.shown.show_catalogue(catalogue, &snapshot);
            self.ledger.catalogue = snapshot;
        }
    }
}

/// Whether nobody can say what came of a turn that failed so.
const fn is_lost(failure: &Failure) -> bool {
    matches!(failure, Failure::Panicked | Failure::Store(EngineError::Unknown(_)))
}

/// Whether one of those who are asked about together may be the cause: a defect, a value that the server refuses, damage.
const fn is_of_one(failure: &Failure) -> bool {
    let Failure::Store(error) = failure else { return matches!(failure, Failure::Panicked) };
    matches!(error, EngineError::Refused(_) | EngineError::Unreadable { .. } | EngineError::ServerDamaged(_))
}

/// Whether its caller has waited for too long. Upkeep waits for other upkeep, of which each step may take its time.
fn is_late(call: &Call) -> bool {
    boot() - call.since > if call.is_in_a_hurry() { DEADLINE } else { 12 * DEADLINE }
}

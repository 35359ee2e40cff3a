//! One turn of the loop: what calls name is locked or trusted, they are decided, and what was decided is written (`commit.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;

use super::{Shared, is_lost, is_of_one};
use crate::catalogue::Snapshot;
use crate::clock::boot;
use crate::store::audit::TEAM;
use crate::store::batch::{Batch, Failure, Pending};
use crate::store::decided::Decided;
use crate::store::error::{EngineError, unreadable};
use crate::store::inbox::Call;
use crate::store::postgres::lock::{Believed, Epochs, Locked, Locking, TeamRow};
use crate::store::postgres::{self, BEGIN, Postgres};
use crate::store::{DecidedReceipt, Receipt, StoreError, Work};

/// Rows that others hold are waited for so long, in milliseconds, while nobody else is answered.
pub(super) const SHORTLY: &str = "SET LOCAL lock_timeout = 50";

/// What came of a turn for somebody.
pub(super) enum Turn<T> {
    /// This.
    Done(T),
    /// Another node holds what they ask for.
    PutOff,
}

/// The answers to the requests of a call.
pub(super) type Answered = Vec<Result<Receipt, StoreError>>;

/// What a turn holds.
pub(super) struct Held {
    pub(super) now: Time,
    /// Versions and last blocks of the accounts that are locked or trusted.
    pub(super) locked: BTreeMap<OrganizationId, (i64, u64)>,
    /// Accounts that are not locked: whether they have these versions still is seen at the end.
    pub(super) trusted: Vec<(OrganizationId, i64)>,
    /// Those that another node holds.
    pub(super) skipped: BTreeSet<OrganizationId>,
    /// What is believed without a look: that is looked at in the end.
    pub(super) believed: Option<Believed>,
}

impl Shared {
    /// Decides and commits calls together. What others hold is put off, or waited for.
    pub(super) fn decide(&mut self, calls: &[Call], waits: bool) -> Result<Vec<Turn<Answered>>, Failure> {
        let session = self.connected()?;
        self.pace.begin(calls.iter().map(|call| call.work.requests()).sum());
        // From here on something of them may happen. Whoever has given up by now was told that it will not.
        let begun: Vec<bool> = calls.iter().map(Call::begin).collect();
        let locking = if waits { Locking::Waits } else { self.locking() };
        let done = self.decide_on(&session, (calls, &begun), locking);
        self.session = Some(session);
        let done = self.look_for_others(locking, done);
        let is_open = |turn: usize| match &done {
            Ok(turns) => matches!(turns[turn], Turn::PutOff),
            Err(failure) => !is_lost(failure),
        };
        calls.iter().enumerate().filter(|(turn, _)| is_open(*turn)).for_each(|(_, call)| call.leave());
        done
    }

    fn decide_on(
        &mut self,
        session: &Postgres,
        (calls, begun): (&[Call], &[bool]),
        locking: Locking,
    ) -> Result<Vec<Turn<Answered>>, Failure> {
        session.begin(BEGIN);
        let named = self.named(session, calls)?;
        let all: BTreeSet<_> = named.iter().flatten().copied().chain(self.memory.also.iter().copied()).collect();
        if locking == Locking::Waits {
            session.later(SHORTLY, Vec::new());
        }
        let how = if self.memory.also_team { TeamRow::Locked } else { TeamRow::Seen };
        let sought = self.sought(calls);
        let held = self.hold(session, (&all, &sought), how, locking)?;
        if self.memory.also.iter().any(|id| held.skipped.contains(id)) {
            return Err(EngineError::Contended("another node holds what is touched".to_owned()).into());
        }
        let is_held = |ids: &Vec<OrganizationId>| ids.iter().all(|id| !held.skipped.contains(id));
        let mut batch = Batch::new(&mut self.ledger, session, &self.settings, held.now);
        let mut pending: Vec<Turn<Vec<Pending>>> = Vec::with_capacity(calls.len());
        for ((call, begun), ids) in calls.iter().zip(begun).zip(&named) {
            let Work::Requests(requests) = &call.work else { return Err(Failure::Panicked) };
            pending.push(if !begun {
                Turn::Done(requests.iter().map(|_| Pending::Ready(Err(StoreError::Unreached))).collect())
            } else if is_held(ids) {
                Turn::Done(batch.decide(requests)?)
            } else {
                Turn::PutOff
            });
        }
        let mut decided = Decided::of(batch);
        let (refused, tally) = (std::mem::take(&mut decided.refused), std::mem::take(&mut decided.tally));
        session.take_refusals(&tally);
        let places = self.commit(session, &held, decided).inspect_err(|failure| {
            if is_lost(failure) {
                // They may have been told. Rather none than the same twice: a count is never too large.
                self.ledger.refusals.forget_told(&tally);
            }
        })?;
        self.ledger.feed.refused(&refused, held.now);
        self.ledger.refusals.take_in(tally, held.now);
        let answer = |pending| match pending {
            Pending::Ready(answer) => self.with_version(answer, &held),
            Pending::Placed(receipt, record) => {
                Ok(Receipt::Decided(DecidedReceipt { place: Some(places[record]), ..receipt }))
            }
        };
        let answered = |pending| match pending {
            Turn::Done(pending) => Turn::Done(Vec::into_iter(pending).map(answer).collect()),
            Turn::PutOff => Turn::PutOff,
        };
        Ok(pending.into_iter().map(answered).collect())
    }

    /// What was touched without a lock in the last try is locked in this one.
    fn locking(&self) -> Locking {
        let is_again = self.memory.also_team || !self.memory.also.is_empty();
        if is_again { Locking::Skips } else { self.memory.others.locking() }
    }

    /// Somebody else holds what was to be locked, or has changed what was trusted. A fault that was found on accounts that were
    /// trusted may be none: it is looked at again under locks. After a failure nothing that was held is sure any more.
    fn look_for_others<T>(
        &mut self,
        locking: Locking,
        done: Result<Vec<Turn<T>>, Failure>,
    ) -> Result<Vec<Turn<T>>, Failure> {
        let trusted = locking == Locking::Trusts && self.locking() == locking;
        let (is_met, done) = match done {
            Ok(turns) => (turns.iter().any(|turn| matches!(turn, Turn::PutOff)), Ok(turns)),
            Err(failure) if trusted && is_of_one(&failure) => {
                (true, Err(EngineError::Contended(failure.to_string()).into()))
            }
            Err(failure) => (trusted && matches!(failure, Failure::Store(EngineError::Contended(_))), Err(failure)),
        };
        if is_met {
            self.memory.others.met(trusted);
        }
        if let Err(Failure::Store(EngineError::Outrun)) = &done {
            self.memory.team.ask();
        }
        if done.is_err() {
            self.memory.remembered.lock().doubt_of(self.ledger.accounts.keys());
        }
        done
    }

    /// Locks accounts or trusts them, reads what holds behind the locks, and makes it the image on which is decided.
    pub(super) fn hold(
        &mut self,
        session: &Postgres,
        (ids, sought): (&BTreeSet<OrganizationId>, &[(OrganizationId, u64)]),
        how: TeamRow,
        locking: Locking,
    ) -> Result<Held, EngineError> {
        // Whoever changes the team's row takes it first: then nobody who holds it waits for an account.
        let before = if how == TeamRow::Locked { Some(session.epochs(how)?) } else { None };
        let (trusted, wanted) = self.memory.remembered.lock().versions(ids, locking == Locking::Trusts);
        let asks = how != TeamRow::Seen || locking != Locking::Trusts || !wanted.is_empty() || !sought.is_empty();
        if !asks
            && !trusted.is_empty()
            && let Some(believed) = self.memory.team.believed()
        {
            return self.hold_unasked(session, trusted, believed);
        }
        let seen = if how == TeamRow::Locked { TeamRow::Seen } else { how };
        let asked = boot();
        let (mut locked, epochs) = session.take((&wanted, &trusted), locking, seen, sought)?;
        self.memory.team.said(epochs.now, asked);
        let versions = versions_of(&trusted);
        locked.extend(trusted);
        self.admit(epochs.oldest)?;
        self.load(session, before.unwrap_or(epochs))?;
        let held_ids: BTreeSet<_> = locked.iter().map(|locked| locked.organization).collect();
        let missing: Vec<_> = ids.difference(&held_ids).copied().collect();
        let skipped: BTreeSet<_> =
            if missing.is_empty() { Vec::new() } else { session.existing(&missing)? }.into_iter().collect();
        self.take_in(locked, &missing, &skipped)?;
        let now = self.time(epochs.now);
        let locked = self.memory.remembered.lock().places(&held_ids);
        if how == TeamRow::Locked {
            self.ledger.heads.insert(TEAM, epochs.head);
        }
        Ok(Held { now, locked, skipped, trusted: versions, believed: None })
    }

    /// The same of accounts that are all trusted, where nothing else is to be asked: PostgreSQL hears of the turn when that is written.
    fn hold_unasked(
        &mut self,
        session: &Postgres,
        trusted: Vec<Locked>,
        believed: Believed,
    ) -> Result<Held, EngineError> {
        session.trusts(&trusted);
        let ids = trusted.iter().map(|trusted| trusted.organization).collect();
        let versions = versions_of(&trusted);
        self.take_in(trusted, &[], &BTreeSet::new())?;
        let locked = self.memory.remembered.lock().places(&ids);
        let now = self.time(believed.now);
        Ok(Held { now, locked, skipped: BTreeSet::new(), trusted: versions, believed: Some(believed) })
    }

    /// Stops where a newer program has changed the schema so that this one must not use it any more.
    fn admit(&self, oldest: u32) -> Result<(), EngineError> {
        postgres::admit(oldest).inspect_err(|why| _ = self.outdated.send_replace(Some(why.to_string())))
    }

    /// What PostgreSQL's clock says is the node's time from now on.
    pub(super) fn time(&self, said: Time) -> Time {
        let now = said.plus(self.clock.shift());
        self.ahead.store(now.since(self.clock.now()), Ordering::Relaxed);
        now
    }

    /// Reads what is the team's, where another node has changed it.
    fn load(&mut self, session: &Postgres, epochs: Epochs) -> Result<(), EngineError> {
        if self.memory.team.epochs == Some((epochs.catalogue, epochs.people)) {
            return Ok(());
        }
        // Nobody changes it while it is read.
        let Epochs { catalogue, people, people_kept, .. } = session.epochs(TeamRow::Held)?;
        let highest = (self.memory.team.highest.0.max(catalogue), self.memory.team.highest.1.max(people));
        let has_gone_back = highest != (catalogue, people);
        if has_gone_back {
            tracing::error!("PostgreSQL knows less than it did: a standby or a backup has taken its place");
            self.memory.team.doubt();
        }
        let (known_catalogue, known_people) = self.memory.team.epochs.unzip();
        let snapshot = if known_catalogue == Some(catalogue) { None } else { Some(self.snapshot(session)?) };
        let everybody = if known_people == Some(people) {
            None
        } else {
            let changed = known_people.filter(|known| *known >= people_kept);
            let now =
                changed.map_or_else(|| session.people(), |known| session.people_since(known, &self.ledger.people));
            Some(Arc::new(now?))
        };
        if has_gone_back {
            self.shown.begin_anew();
        }
        if let Some(snapshot) = snapshot {
            self.shown.show_catalogue(catalogue, &snapshot);
            self.ledger.catalogue = snapshot;
        }
        if let Some(everybody) = everybody {
            self.shown.show_people(people, &everybody);
            self.ledger.people = everybody;
        }
        self.memory.team.highest = (catalogue, people);
        self.memory.team.epochs = Some((catalogue, people));
        Ok(())
    }

    fn snapshot(&self, session: &Postgres) -> Result<Arc<Snapshot>, EngineError> {
        let mut stored = session.stored()?;
        stored.prices.prices = stored.prices.prices.or_known(&self.ledger.catalogue.stored.prices.prices);
        Ok(Arc::new(Snapshot::new(stored).map_err(|error| unreadable("the catalogue", error))?))
    }
}

fn versions_of(accounts: &[Locked]) -> Vec<(OrganizationId, i64)> {
    accounts.iter().map(|account| (account.organization, account.version)).collect()
}

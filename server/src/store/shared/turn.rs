//! One turn of the loop: what calls name is locked, they are decided, and what was decided is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::outcome::{Change, What};
use metergate_rules::time::Time;

use super::{Cached, MOST_CACHED, Memory, Shared};
use crate::catalogue::Snapshot;
use crate::store::audit::{TEAM, chain_of};
use crate::store::batch::{Batch, Failure, Pending};
use crate::store::block::{self, Place};
use crate::store::decided::Decided;
use crate::store::dirty::DirtyAccount;
use crate::store::error::{EngineError, unreadable};
use crate::store::inbox::Call;
use crate::store::known::Id;
use crate::store::ledger::Head;
use crate::store::postgres::lock::{Epochs, Locked, TeamRow};
use crate::store::postgres::write::{Changed, Commit};
use crate::store::postgres::{BEGIN, Postgres};
use crate::store::rollup::Rollups;
use crate::store::totals::Totals;
use crate::store::{DecidedReceipt, Receipt, Request, StoreError, Work};

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
    /// Versions and last blocks of the accounts that are locked.
    pub(super) locked: BTreeMap<OrganizationId, (i64, u64)>,
    /// Those that another node holds.
    pub(super) skipped: BTreeSet<OrganizationId>,
}

impl Shared {
    /// Decides and commits calls together. What others hold is put off, or waited for.
    pub(super) fn decide(&mut self, calls: &[Call], waits: bool) -> Result<Vec<Turn<Answered>>, Failure> {
        let session = self.connected()?;
        let done = self.decide_on(&session, calls, waits);
        self.session = Some(session);
        done
    }

    fn decide_on(&mut self, session: &Postgres, calls: &[Call], waits: bool) -> Result<Vec<Turn<Answered>>, Failure> {
        session.begin(BEGIN);
        let named = self.named(session, calls)?;
        let all: BTreeSet<_> = named.iter().flatten().copied().chain(self.memory.also.iter().copied()).collect();
        if waits {
            session.later(SHORTLY, Vec::new());
        }
        let how = if self.memory.also_team { TeamRow::Locked } else { TeamRow::Seen };
        let sought = self.sought(calls);
        let held = self.hold(session, (&all, &sought), how, waits)?;
        if self.memory.also.iter().any(|id| held.skipped.contains(id)) {
            return Err(EngineError::Contended("another node holds what is touched".to_owned()).into());
        }
        let is_held = |ids: &Vec<OrganizationId>| ids.iter().all(|id| !held.skipped.contains(id));
        let mut batch = Batch::new(&mut self.ledger, session, &self.settings, held.now);
        let mut pending: Vec<Turn<Vec<Pending>>> = Vec::with_capacity(calls.len());
        for (call, ids) in calls.iter().zip(&named) {
            let Work::Requests(requests) = &call.work else { return Err(Failure::Panicked) };
            pending.push(if is_held(ids) {
                Turn::Done(requests.iter().map(|request| batch.decide(request)).collect::<Result<_, _>>()?)
            } else {
                Turn::PutOff
            });
        }
        let mut decided = Decided::of(batch);
        let refused = std::mem::take(&mut decided.refused);
        let places = self.commit(session, &held, decided)?;
        self.ledger.feed.refused(&refused, held.now);
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

    /// Which organizations each call names, as far as they exist.
    fn named(&mut self, session: &Postgres, calls: &[Call]) -> Result<Vec<Vec<OrganizationId>>, EngineError> {
        let keys = calls.iter().flat_map(references).filter_map(|reference| match reference {
            OrganizationRef::Key(key) => Some(key),
            OrganizationRef::Id(_) => None,
        });
        let mut unknown: Vec<&str> =
            keys.filter(|key| !self.memory.names.contains_key(*key)).map(|key| key.as_str()).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            for (key, id) in session.organizations_of(&unknown)? {
                if let Ok(key) = metergate_rules::id::OrganizationKey::new(&key) {
                    self.memory.names.insert(key, id);
                }
            }
        }
        let Memory { names, used, .. } = &mut self.memory;
        used.clear();
        let mut found = |reference: &OrganizationRef| match reference {
            OrganizationRef::Id(id) => Some(*id),
            OrganizationRef::Key(key) => {
                let id = names.get(key).copied()?;
                used.push((key.clone(), id));
                Some(id)
            }
        };
        Ok(calls.iter().map(|call| references(call).filter_map(&mut found).collect()).collect())
    }

    /// Locks accounts, reads what holds behind the locks, and makes it the image on which is decided.
    pub(super) fn hold(
        &mut self,
        session: &Postgres,
        (ids, sought): (&BTreeSet<OrganizationId>, &[(OrganizationId, u64)]),
        how: TeamRow,
        waits: bool,
    ) -> Result<Held, EngineError> {
        // Whoever changes the team's row takes it first: then nobody who holds it waits for an account.
        let before = if how == TeamRow::Locked { Some(session.epochs(how)?) } else { None };
        let accounts = &self.memory.accounts;
        let wanted: Vec<_> = ids.iter().map(|id| (*id, accounts.get(id).map(|cached| cached.version))).collect();
        let seen = if how == TeamRow::Locked { TeamRow::Seen } else { how };
        let (locked, epochs) = session.take(&wanted, waits, seen, sought)?;
        self.load(session, before.unwrap_or(epochs))?;
        let held_ids: BTreeSet<_> = locked.iter().map(|locked| locked.organization).collect();
        let missing: Vec<_> = ids.difference(&held_ids).copied().collect();
        let skipped: BTreeSet<_> =
            if missing.is_empty() { Vec::new() } else { session.existing(&missing)? }.into_iter().collect();
        self.take_in(locked, &missing, &skipped)?;
        let now = self.time(epochs.now);
        let locked = held_ids.iter().filter_map(|id| {
            let cached = self.memory.accounts.get(id)?;
            Some((*id, (cached.version, cached.sequence)))
        });
        let locked = locked.collect();
        if how == TeamRow::Locked {
            self.ledger.heads.insert(TEAM, epochs.head);
        }
        Ok(Held { now, locked, skipped })
    }

    /// What PostgreSQL's clock says is the node's time from now on.
    pub(super) fn time(&self, said: Time) -> Time {
        let now = said.plus(self.clock.shift());
        self.ahead.store(now.since(self.clock.now()), Ordering::Relaxed);
        now
    }

    /// Reads what is the team's, where another node has changed it.
    fn load(&mut self, session: &Postgres, epochs: Epochs) -> Result<(), EngineError> {
        if self.memory.epochs == Some((epochs.catalogue, epochs.people)) {
            return Ok(());
        }
        // Nobody changes it while it is read.
        let Epochs { catalogue, people, people_kept, .. } = session.epochs(TeamRow::Held)?;
        let (known_catalogue, known_people) = self.memory.epochs.unzip();
        if known_catalogue != Some(catalogue) {
            let snapshot = Snapshot::new(session.stored()?).map_err(|error| unreadable("the catalogue", error))?;
            self.ledger.catalogue = Arc::new(snapshot);
            self.catalogue.store(Arc::clone(&self.ledger.catalogue));
        }
        if known_people != Some(people) {
            let changed = known_people.filter(|known| *known >= people_kept);
            let now =
                changed.map_or_else(|| session.people(), |known| session.people_since(known, &self.ledger.people));
            self.ledger.people = Arc::new(now?);
            self.people.store(Arc::clone(&self.ledger.people));
        }
        self.memory.epochs = Some((catalogue, people));
        Ok(())
    }

    /// What is locked becomes the image on which is decided, and nothing else.
    fn take_in(
        &mut self,
        locked: Vec<Locked>,
        missing: &[OrganizationId],
        skipped: &BTreeSet<OrganizationId>,
    ) -> Result<(), EngineError> {
        let (ledger, memory) = (&mut self.ledger, &mut self.memory);
        ledger.accounts.clear();
        ledger.heads.clear();
        ledger.keys.clear();
        for Locked { organization, version, sequence, head, account } in locked {
            let account = match (account, memory.accounts.get(&organization)) {
                (Some(account), _) => Arc::new(account),
                (None, Some(cached)) => Arc::clone(&cached.account),
                (None, None) => return Err(unreadable("an account", "it came without its data")),
            };
            ledger.heads.insert(chain_of(organization), head);
            ledger.keys.insert(account.profile.key.clone(), organization);
            ledger.accounts.insert(organization, Arc::clone(&account));
            memory.accounts.insert(organization, Cached { version, sequence, account });
        }
        // An organization may have another key by now, or be gone; then the key may be another's.
        for gone in missing.iter().filter(|id| !skipped.contains(id)) {
            memory.accounts.remove(gone);
        }
        let mut is_stale = false;
        for (key, id) in std::mem::take(&mut memory.used) {
            let holds = ledger.accounts.get(&id).map_or(skipped.contains(&id), |account| account.profile.key == key);
            if !holds {
                memory.names.remove(&key);
                is_stale = true;
            }
        }
        let told = || EngineError::Contended("an organization has another key by now".to_owned());
        if is_stale { Err(told()) } else { Ok(()) }
    }

    /// The ids of all requests, as they are looked up.
    fn sought(&self, calls: &[Call]) -> Vec<(OrganizationId, u64)> {
        let mut sought = BTreeSet::new();
        for call in calls {
            let Work::Requests(requests) = &call.work else { continue };
            for request in requests {
                let (organization, id) = match request {
                    Request::Consume(asked) => (&asked.organization, asked.key.as_ref().map(Id::Key)),
                    Request::Record(asked) => (&asked.organization, Some(asked.id())),
                    Request::Change(_) => continue,
                };
                let organization = match organization {
                    OrganizationRef::Id(id) => Some(*id),
                    OrganizationRef::Key(key) => self.memory.names.get(key).copied(),
                };
                if let (Some(organization), Some(id)) = (organization, id) {
                    sought.insert((organization, self.ledger.known.hash(organization, id)));
                }
            }
        }
        sought.into_iter().collect()
    }

    /// Writes what was decided, and only then makes it what is known. The place of each record.
    pub(super) fn commit(&mut self, session: &Postgres, held: &Held, decided: Decided) -> Result<Vec<Place>, Failure> {
        if decided.is_empty() {
            session.roll_back();
            return Ok(Vec::new());
        }
        let order = block::order(&decided.records);
        let (mut commit, places) = self.made_of(&decided, &order, held)?;
        let is_team = decided.heads.contains_key(&TEAM);
        let touched = commit.changed.iter().filter(|changed| changed.seen.is_none()).map(|changed| changed.account.id);
        let deleted = decided.deleted.filter(|id| !held.locked.contains_key(id));
        // What was asked for and is not there after all has a chain and no account: one that was deleted.
        let noted = decided.heads.keys().map(|chain| OrganizationId(*chain)).filter(|id| {
            id.0 != TEAM
                && !held.locked.contains_key(id)
                && decided.deleted != Some(*id)
                && !self.memory.also.contains(id)
        });
        let unlocked: Vec<_> = touched.chain(noted).filter(|id| is_old(&decided, *id)).chain(deleted).collect();
        if !unlocked.is_empty() || (is_team && !self.ledger.heads.contains_key(&TEAM)) {
            self.memory.also.extend(unlocked);
            self.memory.also_team |= is_team;
            return Err(EngineError::Contended("it touches what it has not locked".to_owned()).into());
        }
        commit.team_head = decided.heads.get(&TEAM).copied();
        if let Some(epochs) = session.write(&commit)? {
            self.memory.epochs = Some(epochs);
        }
        for Changed { account, seen, sequence, .. } in &commit.changed {
            let version = seen.unwrap_or(0) + 1;
            let cached = Cached { version, sequence: *sequence, account: Arc::clone(account) };
            self.memory.accounts.insert(account.id, cached);
            if seen.is_none() {
                self.memory.names.insert(account.profile.key.clone(), account.id);
            }
        }
        self.tell_given(&decided, held);
        if let Some(organization) = decided.deleted {
            self.memory.accounts.remove(&organization);
            self.memory.names.retain(|_, id| *id != organization);
        }
        self.ledger.feed.tell(decided.organizations(&order));
        if self.memory.accounts.len() > MOST_CACHED {
            self.memory.accounts.clear();
            self.memory.names.clear();
        }
        Ok(places)
    }

    /// What a commit writes of what was decided.
    fn made_of<'d>(
        &self,
        decided: &'d Decided,
        order: &[usize],
        held: &Held,
    ) -> Result<(Commit<'d>, Vec<Place>), EngineError> {
        let mut places = vec![Place { sequence: 0, offset: 0 }; decided.records.len()];
        let mut commit = self.commit_of(decided, held);
        let mut derived = Rollups::default();
        let mut totals = Totals::default();
        for (account, group) in decided.each(order) {
            let (seen, last) = held.locked.get(&account.id).copied().unzip();
            let sequence = last.unwrap_or(0) + 1;
            let (block, offsets) =
                block::pack_some(&decided.records, group).map_err(|error| unreadable("a new block", error))?;
            let mut dirty = DirtyAccount::clean(account);
            dirty.take_in(sequence, group.iter().map(|i| &decided.records[*i].1));
            group.iter().zip(offsets).for_each(|(i, offset)| places[*i] = Place { sequence, offset });
            totals.add_derived(account, &dirty.derived);
            commit.values.extend(dirty.derived.values);
            derived.extend(dirty.derived.rollups);
            let listed = dirty.changed || decided.has_changed(account.id);
            let head = self.head_of(decided, account.id);
            let (account, block) = (Arc::clone(account), Some(block));
            commit.changed.push(Changed { account, seen, sequence, head, block, listed });
        }
        self.add_noted(decided, held, &mut commit);
        let id = |(index, hash): &(usize, u64)| (decided.records[*index].0, *hash, places[*index]);
        commit.ids = decided.ids().iter().map(id).filter(|(id, ..)| Some(*id) != decided.deleted).collect();
        commit.rollups = derived.sorted();
        commit.totals = (self.memory.part, totals);
        Ok((commit, places))
    }

    fn commit_of<'d>(&self, decided: &'d Decided, held: &Held) -> Commit<'d> {
        Commit {
            at: held.now,
            forgotten: held.now.plus(-self.settings.keep_ids),
            changed: Vec::new(),
            ids: Vec::new(),
            rollups: BTreeMap::new(),
            values: BTreeMap::new(),
            totals: (self.memory.part, Totals::default()),
            audit: &decided.audit,
            receipts: &decided.receipts,
            team: &decided.team,
            people: &decided.people,
            team_head: None,
            deleted: decided.deleted,
        }
    }

    /// Organizations of which nothing but the audit log says something new.
    fn add_noted(&self, decided: &Decided, held: &Held, commit: &mut Commit<'_>) {
        let with_records: BTreeSet<_> = commit.changed.iter().map(|changed| changed.account.id).collect();
        for chain in decided.heads.keys().filter(|chain| **chain != TEAM) {
            let id = OrganizationId(*chain);
            if with_records.contains(&id) || decided.deleted == Some(id) {
                continue;
            }
            // One that was never there, or is not any more, has a chain and no account.
            let Some(account) = self.ledger.accounts.get(&id).map(Arc::clone) else { continue };
            let (seen, last) = held.locked.get(&id).copied().unzip();
            let (sequence, head) = (last.unwrap_or(0), self.head_of(decided, id));
            commit.changed.push(Changed { account, seen, sequence, head, block: None, listed: false });
        }
    }

    /// The end of an organization's chain after what was decided.
    fn head_of(&self, decided: &Decided, id: OrganizationId) -> Head {
        let chain = chain_of(id);
        let known = decided.heads.get(&chain).or_else(|| self.ledger.heads.get(&chain));
        known.copied().unwrap_or(Head::EMPTY)
    }
}

/// Whether an organization was there before.
fn is_old(decided: &Decided, id: OrganizationId) -> bool {
    let first = decided.records.iter().find(|(owner, _)| *owner == id).map(|(_, record)| &record.entry.what);
    !first.is_some_and(|what| matches!(what, What::Changed(change) if matches!(**change, Change::Created { .. })))
}

/// The organizations that a call names.
fn references(call: &Call) -> impl Iterator<Item = &OrganizationRef> {
    let requests = match &call.work {
        Work::Requests(requests) => requests.as_slice(),
        _ => &[],
    };
    requests.iter().map(|request| match request {
        Request::Consume(asked) => &asked.organization,
        Request::Record(asked) => &asked.organization,
        Request::Change(asked) => &asked.organization,
    })
}

//! What a turn has decided, made rows of, written, and then made what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metergate_rules::id::OrganizationId;
use metergate_rules::outcome::{Change, What};

use super::Shared;
use super::turn::Held;
use crate::clock::boot;
use crate::store::audit::{TEAM, chain_of};
use crate::store::batch::Failure;
use crate::store::block::{self, Place};
use crate::store::decided::Decided;
use crate::store::dirty::DirtyAccount;
use crate::store::error::{EngineError, unreadable};
use crate::store::ledger::Head;
use crate::store::postgres::Postgres;
use crate::store::postgres::write::{Changed, Commit};
use crate::store::rollup::{Carried, Rollups};
use crate::store::totals::Totals;

impl Shared {
    /// Writes what was decided, and only then makes it what is known. The place of each record.
    pub(super) fn commit(&mut self, session: &Postgres, held: &Held, decided: Decided) -> Result<Vec<Place>, Failure> {
        if decided.is_empty() {
            self.are_still(session, held)?;
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
        let written: BTreeSet<_> = commit.changed.iter().map(|changed| changed.account.id).collect();
        commit.trusted.extend(held.trusted.iter().filter(|(id, _)| !written.contains(id)));
        commit.team_head = decided.heads.get(&TEAM).copied();
        self.write(session, &commit)?;
        self.memory.remembered.lock().committed(&commit.changed, decided.deleted);
        self.tell_given(&decided, held);
        self.ledger.feed.tell(decided.organizations(&order));
        self.ledger.feed.tell_messages(&decided.messages);
        Ok(places)
    }

    /// What was decided on is as it was believed to be, where that is all there is to say.
    fn are_still(&mut self, session: &Postgres, held: &Held) -> Result<(), EngineError> {
        if held.believed.is_some() {
            let (trusted, believed) = (held.trusted.clone(), held.believed);
            let looked = self.write(session, &Commit { at: held.now, trusted, believed, ..Commit::default() });
            return looked.map_err(|error| match error {
                // There was nothing that could be durable.
                EngineError::Unknown(why) => EngineError::Unreachable(why),
                error => error,
            });
        }
        if !held.trusted.is_empty() {
            session.are_same(&held.trusted);
            session.together(&[])?;
        }
        session.roll_back();
        Ok(())
    }

    fn write(&mut self, session: &Postgres, commit: &Commit<'_>) -> Result<(), EngineError> {
        let asked = boot();
        let told = session.write(commit)?;
        if let Some(epochs) = told.epochs {
            self.memory.team.epochs = Some(epochs);
            self.memory.team.highest = epochs;
        }
        if let Some(now) = told.now {
            self.memory.team.said(now, asked);
        }
        Ok(())
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
        let most = self.settings.pace.carried();
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
            let (carried, due) = self.carried(account.id).after(account.id, dirty.derived.rollups, most);
            derived.extend(due);
            let listed = dirty.changed || decided.has_changed(account.id);
            let head = self.head_of(decided, account.id);
            let (account, carried, block) = (Arc::clone(account), Arc::new(carried), Some(block));
            commit.changed.push(Changed { account, carried, seen, sequence, head, block, listed });
        }
        self.add_noted(decided, held, &mut commit);
        commit.changed.sort_unstable_by_key(|changed| changed.account.id);
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
            trusted: Vec::new(),
            ids: Vec::new(),
            rollups: BTreeMap::new(),
            values: BTreeMap::new(),
            totals: (self.memory.part, Totals::default()),
            audit: &decided.audit,
            receipts: &decided.receipts,
            team: &decided.team,
            people: &decided.people,
            messages: &decided.messages,
            stripe: &decided.stripe,
            team_head: None,
            deleted: decided.deleted,
            believed: held.believed,
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
            let carried = self.carried(id);
            commit.changed.push(Changed { account, carried, seen, sequence, head, block: None, listed: false });
        }
    }

    /// What the row of an account that is locked carries.
    fn carried(&self, id: OrganizationId) -> Arc<Carried> {
        self.ledger.carried.get(&id).map(Arc::clone).unwrap_or_default()
    }

    /// The end of an organization's chain after what was decided.
    pub(super) fn head_of(&self, decided: &Decided, id: OrganizationId) -> Head {
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

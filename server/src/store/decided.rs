//! What a batch decided: what a commit writes, and then makes the durable image.

use std::collections::HashSet;
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationKey};
use metergate_rules::time::Time;

use super::KeptAnswer;
use super::audit::AuditRow;
use super::batch::Batch;
use super::block::{Place, Record};
use super::dirty::{Dirty, DirtyAccount};
use super::fold::Step;
use super::ledger::{Head, Ledger, Map};
use super::message::MessageRow;
use super::refusals::Tally;
use super::stripe::StripeRow;
use super::totals::Totals;
use crate::catalogue::change::TeamRow;
use crate::people::PersonRow;

/// What a batch decided, apart from the durable image that it was decided on.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) now: Time,
    working: Map<OrganizationId, Arc<Account>>,
    changed: HashSet<OrganizationId>,
    keys: Map<OrganizationKey, Option<OrganizationId>>,
    pub(super) records: Vec<(OrganizationId, Record)>,
    ids: Vec<(usize, u64)>,
    pub(super) audit: Vec<AuditRow>,
    pub(super) heads: Map<[u8; 16], Head>,
    pub(super) receipts: Vec<KeptAnswer>,
    pub(super) team: Vec<TeamRow>,
    pub(super) people: Vec<PersonRow>,
    pub(super) stripe: Vec<StripeRow>,
    pub(super) refused: Vec<OrganizationId>,
    pub(super) tally: Vec<Tally>,
    pub(super) messages: Vec<MessageRow>,
    /// The organization that it deletes, whose account is not among those that it changed.
    pub(super) deleted: Option<OrganizationId>,
}

impl Decided {
    pub(super) fn of(batch: Batch<'_>) -> Self {
        let Batch {
            now,
            working,
            changed,
            keys,
            records,
            ids,
            audit,
            heads,
            receipts,
            refused,
            stripe,
            tally,
            messages,
            ..
        } = batch;
        let (team, people) = (Vec::new(), Vec::new());
        let deleted = None;
        Self {
            now,
            working,
            changed,
            keys,
            records,
            ids,
            audit,
            heads,
            receipts,
            team,
            people,
            refused,
            tally,
            messages,
            deleted,
            stripe,
        }
    }

    /// The same where the batch deleted this organization: nothing of its account is left.
    pub(super) fn deleting(mut self, organization: OrganizationId) -> Self {
        self.working.remove(&organization);
        self.changed.remove(&organization);
        self.messages.retain(|message| message.organization != organization);
        self.deleted = Some(organization);
        self
    }

    /// Nothing, at a time.
    pub(super) fn nothing(now: Time) -> Self {
        Self { now, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        let of_organizations = self.records.is_empty() && self.audit.is_empty() && self.receipts.is_empty();
        of_organizations
            && self.team.is_empty()
            && self.people.is_empty()
            && self.stripe.is_empty()
            && self.messages.is_empty()
    }

    pub(super) fn remember(&self, ledger: &mut Ledger, sequence: u64, offsets: &[u32]) {
        for (index, hash) in &self.ids {
            ledger.known.insert(*hash, Place { sequence, offset: offsets[*index] });
        }
    }

    /// The organizations that it did something to, in order.
    pub(super) fn organizations(&self, order: &[usize]) -> impl Iterator<Item = OrganizationId> {
        order.chunk_by(|a, b| self.records[*a].0 == self.records[*b].0).map(|group| self.records[group[0]].0)
    }

    /// What it did to organizations that are still there, by id: the account after it, and which records are its own.
    pub(super) fn each<'a>(&'a self, order: &'a [usize]) -> impl Iterator<Item = (&'a Arc<Account>, &'a [usize])> {
        self.by_account(order).map(|(account, OfOne(_, group))| (account, group))
    }

    /// Whether something but use changed.
    pub(super) fn has_changed(&self, organization: OrganizationId) -> bool {
        self.changed.contains(&organization)
    }

    /// The records that were made under an id, with its hash.
    pub(super) fn ids(&self) -> &[(usize, u64)] {
        &self.ids
    }

    /// What it did, by organization.
    fn by_account<'a>(&'a self, order: &'a [usize]) -> impl Iterator<Item = (&'a Arc<Account>, OfOne<'a>)> {
        let groups = order.chunk_by(|a, b| self.records[*a].0 == self.records[*b].0);
        groups.filter_map(|group| Some((self.working.get(&self.records[*group.first()?].0)?, OfOne(self, group))))
    }

    /// Brings the accounts of a step to what they are after this, and adds those of which something but use changed.
    pub(super) fn bring_up(&self, step: &mut Vec<Arc<DirtyAccount>>, dirty: &Dirty, sequence: u64, order: &[usize]) {
        for (account, records) in self.by_account(order) {
            let chosen = step.binary_search_by_key(&account.id, |dirty| dirty.account.id);
            let place = match chosen {
                Ok(place) => place,
                Err(place) if self.changed.contains(&account.id) => {
                    let before = dirty.get(account.id).map(Arc::clone);
                    step.insert(place, before.unwrap_or_else(|| Arc::new(DirtyAccount::clean(account))));
                    place
                }
                Err(_) => continue,
            };
            let dirty = Arc::make_mut(&mut step[place]);
            dirty.account = Arc::clone(account);
            dirty.take_in(sequence, records.iter());
        }
        step.retain(|dirty| Some(dirty.account.id) != self.deleted);
    }

    /// `totals` is what the commit added to the rows of use of all organizations together.
    pub(super) fn become_durable(
        self,
        ledger: &mut Ledger,
        sequence: u64,
        order: &[usize],
        step: &Step,
        totals: &Totals,
    ) {
        ledger.sequence = sequence;
        ledger.last = self.now;
        {
            let mut dirty = ledger.dirty.write();
            for (account, records) in self.by_account(order) {
                dirty.advance(account, sequence, records.iter());
            }
            step.accounts.iter().for_each(|written| dirty.remove(written.account.id));
            self.deleted.iter().for_each(|organization| dirty.remove(*organization));
            dirty.add_totals(totals);
        }
        if let Some(organization) = self.deleted {
            ledger.accounts.remove(&organization);
            ledger.deleted.push_back(organization);
        }
        ledger.feed.tell(self.organizations(order));
        ledger.feed.tell_messages(&self.messages);
        ledger.accounts.extend(self.working);
        ledger.bound(step.accounts.iter().map(|written| written.account.id));
        ledger.heads.extend(self.heads);
        for (key, organization) in self.keys {
            match organization {
                Some(organization) => ledger.keys.insert(key, organization),
                None => ledger.keys.remove(&key),
            };
        }
    }
}

/// The records of one organization in a batch.
struct OfOne<'a>(&'a Decided, &'a [usize]);

impl<'a> OfOne<'a> {
    fn iter(&self) -> impl Iterator<Item = &'a Record> + use<'a> {
        let records = &self.0.records;
        self.1.iter().map(move |i| &records[*i].1)
    }
}

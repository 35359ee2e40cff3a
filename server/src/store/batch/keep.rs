//! Deciding on top of what the batch has decided so far, and making it happen there.

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::apply::{self, apply};
use metergate_rules::audit::{Draft, Fields, Object};
use metergate_rules::command::{Command, Item, NewOrganization};
use metergate_rules::decide::{Problem, Question, create, decide, questions, time_of};
use metergate_rules::due::Settled;
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::notice::may_tell;
use metergate_rules::outcome::{Entry, Hold, Outcome, What};
use metergate_rules::time::Time;
use metergate_rules::window::WindowSet;

use super::told::tell;
use super::{Batch, Stop};
use crate::catalogue::first_use::first_use;
use crate::faults::planted;
use crate::store::audit::{AuditRow, chain_of};
use crate::store::block::{Place, Record};
use crate::store::dirty::is_change;
use crate::store::error::EngineError;
use crate::store::known::Id;
use crate::store::rollup::ValueKey;
use crate::store::{Caller, Key, Request, Scope, StoreError};

/// What a command asks to be decided. Who asks may have found the meter before it was deleted; facts count all the same.
fn asked_anew(command: &Command) -> &[Item] {
    match command {
        Command::Consume(consume) => &consume.items,
        Command::Reserve(reserve) => std::slice::from_ref(&reserve.item),
        _ => &[],
    }
}

impl Batch<'_> {
    /// Settles the account, asks the rules, and takes what fell due into the outcome.
    pub(in crate::store) fn run(
        &mut self,
        organization: OrganizationId,
        command: &Command,
        with_receipt: bool,
    ) -> Result<(Time, Outcome), Stop> {
        let account = if planted("check-then-increment") {
            self.ledger.account(self.rows, organization)?.map_or_else(|| self.account(organization), Ok)?
        } else {
            self.account(organization)?
        };
        let now = time_of(&account, command, self.now);
        let catalogue = Arc::clone(&self.ledger.catalogue);
        if asked_anew(command).iter().any(|item| catalogue.rules.is_deleted(item.meter)) {
            return Err(StoreError::Problem(Problem::UnknownMeter).into());
        }
        let Settled { account, mut entries, audit } = account.at(&catalogue.rules, now)?;
        let seen = self.seen(&account, questions(&account, command))?;
        let mut outcome = decide(&account, command, &seen, with_receipt, &catalogue.rules, now)?;
        self.write_audit(organization, &audit, "system", "")?;
        let (rows, tally) = (self.rows, &mut self.tally);
        self.ledger.refusals.tell(tally, organization, &mut entries, |of| rows.refusals(organization, of))?;
        outcome.entries.splice(0..0, entries);
        Ok((now, outcome))
    }

    /// In which windows the command's values have been seen.
    pub(super) fn seen(&self, account: &Account, questions: Vec<Question>) -> Result<Vec<WindowSet>, EngineError> {
        let mut seen = Vec::new();
        for Question { item, meter, value, spans, except } in questions {
            seen.resize(item + 1, WindowSet::NONE);
            for (window, span) in spans {
                let from = ValueKey { organization: account.id, meter, value, bucket: span.start };
                let gone = except.filter(|bucket| span.contains(*bucket)).map(|bucket| (bucket, -1));
                let beside = self.values.counts(from, span.end).chain(gone);
                if self.ledger.has_value(self.rows, from, span.end, beside)? {
                    seen[item] = seen[item].with(window);
                }
            }
        }
        Ok(seen)
    }

    /// Makes entries happen: in the account, in what reports read, in the block.
    pub(in crate::store) fn keep(
        &mut self,
        organization: OrganizationId,
        entries: Vec<Entry>,
        key: Option<Key>,
        fingerprint: u64,
    ) -> Result<(), Stop> {
        if entries.is_empty() {
            return Ok(());
        }
        let first = self.records.len();
        let account = self.account(organization)?;
        let working = self.working.entry(organization).or_insert(account);
        let account = Arc::make_mut(working);
        if entries.iter().any(|entry| entry.what.begins_period()) && !account.profile.test {
            let entry = Entry { at: account.time, what: What::Image(Box::new(account.clone())) };
            self.records.push((organization, Record { key: None, fingerprint: 0, entry }));
        }
        for entry in entries {
            let entry = if planted("late-effects") { late(entry, self.now) } else { entry };
            let before = planted("reservation-outlives-commit").then(|| account.reservations.clone());
            let is_heard = self.settings.mails || !self.ledger.catalogue.stored.endpoints.is_empty();
            let is_told = is_heard && may_tell(&entry.what);
            let untold = is_told.then(|| account.clone());
            apply(account, &entry);
            if let Some(untold) = untold {
                let mailed = self.settings.mails.then_some(&*self.ledger.people);
                let by = (&*self.ledger.catalogue, mailed);
                tell(&mut self.messages, (&entry, &untold, &*account), by, self.now);
            }
            if let (Some(before), What::Reservation(_)) = (before, &entry.what)
                && !entry.what.uses().is_empty()
            {
                account.reservations = before;
            }
            self.values.add_values(organization, &entry);
            if is_change(&entry) {
                self.changed.insert(organization);
            }
            let (key, fingerprint) = match &entry.what {
                What::Decided(_) | What::Recorded(_) => (key.clone(), fingerprint),
                What::Reservation(hold) => (made_under(hold), 0),
                What::Completed(completed) => {
                    let place = Place { sequence: completed.sequence, offset: completed.offset };
                    (Some(Key::Completed(place, completed.step)), 0)
                }
                _ => (None, 0),
            };
            self.records.push((organization, Record { key, fingerprint, entry }));
        }
        let last = self.last_record(first).and_then(|last| self.records[last].1.key.as_ref());
        if let Some(made @ (Key::Reservation(_) | Key::Ended(_) | Key::Completed(..))) = last {
            self.remember(self.ledger.known.hash(organization, Id::Key(made)));
        }
        Ok(())
    }

    /// The account as it is after what was decided so far.
    pub(in crate::store) fn account(&mut self, organization: OrganizationId) -> Result<Arc<Account>, Stop> {
        if let Some(account) = self.working.get(&organization) {
            return Ok(Arc::clone(account));
        }
        let account = self.ledger.account(self.rows, organization)?;
        account.ok_or_else(|| StoreError::UnknownOrganization.into())
    }

    /// The organization of a reference, whether or not the caller may reach it.
    pub(in crate::store) fn resolve(
        &mut self,
        organization: &OrganizationRef,
    ) -> Result<Option<OrganizationId>, EngineError> {
        if let OrganizationRef::Key(key) = organization
            && let Some(known) = self.keys.get(key)
        {
            return Ok(*known);
        }
        if let OrganizationRef::Id(id) = organization
            && self.working.contains_key(id)
        {
            return Ok(Some(*id));
        }
        self.ledger.resolve(self.rows, organization)
    }

    /// The organization of a use; created where it is unknown and the setting allows it.
    pub(super) fn find_or_create(
        &mut self,
        caller: &Caller,
        organization: &OrganizationRef,
    ) -> Result<OrganizationId, Stop> {
        match (self.resolve(organization)?, organization) {
            (Some(id), _) => {
                caller.scope.admits(id, &self.ledger.people)?;
                Ok(id)
            }
            (None, OrganizationRef::Key(key)) if self.settings.create_organizations && caller.scope == Scope::Team => {
                let new = first_use(key, &self.ledger.catalogue, self.first_used(organization))?;
                let before = (self.records.len(), self.audit.len());
                let organization = self.create(caller, &new, "first use", Fields::default())?;
                self.created = Some((organization, before.0, before.1));
                Ok(organization)
            }
            _ => Err(StoreError::UnknownOrganization.into()),
        }
    }

    /// When it was first used of what this call reports: events of one call need not be in order.
    fn first_used(&self, organization: &OrganizationRef) -> Option<Time> {
        let times = self.call.iter().filter_map(|request| match request {
            Request::Record(record) if record.organization == *organization => record.event.time,
            _ => None,
        });
        times.min()
    }

    /// Whoever asks for what cannot be has not used anything: the organization that was created for it is not there.
    pub(super) fn undo_creation(&mut self) {
        let Some((organization, records, audit)) = self.created.take() else { return };
        if let Some(account) = self.working.remove(&organization) {
            self.keys.remove(&account.profile.key);
        }
        self.changed.remove(&organization);
        self.untell_named(organization);
        self.heads.remove(&chain_of(organization));
        self.messages.retain(|message| message.organization != organization);
        self.records.truncate(records);
        self.audit.truncate(audit);
    }

    /// Creates an organization. `owner` is added to what its entry in the audit log says.
    pub(in crate::store) fn create(
        &mut self,
        caller: &Caller,
        new: &NewOrganization,
        reason: &str,
        owner: Fields,
    ) -> Result<OrganizationId, Stop> {
        let organization = new_organization_id(self.now);
        let catalogue = Arc::clone(&self.ledger.catalogue);
        let mut outcome = create(new, &catalogue.rules, self.now)?;
        if let Some(Draft { after: Object::Fields(after), .. }) = outcome.audit.first_mut() {
            after.0.extend(owner.0);
        }
        self.write_audit(organization, &outcome.audit, &caller.actor, reason)?;
        let created = outcome.entries.first().and_then(|entry| apply::create(organization, entry));
        self.working.insert(organization, Arc::new(created.ok_or(StoreError::Internal)?));
        self.changed.insert(organization);
        self.keys.insert(new.profile.key.clone(), Some(organization));
        self.tell_named(organization, &new.profile.key);
        let made = outcome.entries.into_iter().map(|entry| (organization, Record { key: None, fingerprint: 0, entry }));
        self.records.extend(made);
        Ok(organization)
    }

    pub(in crate::store) fn write_audit(
        &mut self,
        organization: OrganizationId,
        drafts: &[Draft],
        actor: &str,
        reason: &str,
    ) -> Result<(), EngineError> {
        for draft in drafts {
            self.append_audit(chain_of(organization), draft, actor, reason)?;
        }
        Ok(())
    }

    /// Appends an entry to a chain.
    pub(in crate::store) fn append_audit(
        &mut self,
        chain: [u8; 16],
        draft: &Draft,
        actor: &str,
        reason: &str,
    ) -> Result<(), EngineError> {
        let head = match self.heads.get(&chain) {
            Some(head) => *head,
            None => self.ledger.head(self.rows, chain)?,
        };
        let row = AuditRow::after(head, chain, draft, actor, reason);
        self.heads.insert(chain, row.head());
        self.audit.push(row);
        Ok(())
    }
}

/// The id under which a reservation is found again, or its end.
fn made_under(hold: &Hold) -> Option<Key> {
    match hold {
        Hold::Made { reservation, .. } => Some(Key::Reservation(reservation.id)),
        Hold::Settled(settled) => Some(Key::Ended(settled.id)),
        Hold::Released(id) => Some(Key::Ended(*id)),
        Hold::Extended { .. } => None,
    }
}

/// A UUID of version 7.
fn new_organization_id(now: Time) -> OrganizationId {
    let millis = u64::try_from(now.micros() / 1000).unwrap_or_default();
    OrganizationId(uuid::Builder::from_unix_timestamp_millis(millis, &crate::random::bytes()).into_uuid().into_bytes())
}

/// What fell due, as of when somebody looked.
fn late(entry: Entry, now: Time) -> Entry {
    match entry.what {
        What::Due(_) => Entry { at: now, ..entry },
        _ => entry,
    }
}

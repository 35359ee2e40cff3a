//! Accounts whose rows are behind the journal: what their rows lack, in memory, for the loop and for every reader.
//!
//! A reader takes this first and its snapshot of the database after it ([`super::reader`]). What is here then tells the
//! whole truth about an account together with its rows: a row that holds the account's last block as it stood here was
//! written meanwhile, with all rows derived for it, and is alone the truth.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use metergate_rules::account::Account;
use metergate_rules::id::OrganizationId;
use metergate_rules::outcome::{Change, Effect, Entry, What};

use super::block::Record;
use super::rollup::Derived;
use super::totals::Totals;
use super::unread::Unread;

/// One account whose rows are behind.
#[derive(Clone, Debug)]
pub struct DirtyAccount {
    /// The account as it is after its last block.
    pub account: Arc<Account>,
    /// The first block that its row lacks.
    pub first: u64,
    /// Its last block. A row with this sequence or a later one lacks nothing of what is here.
    pub sequence: u64,
    /// What the rows that reports read lack.
    pub derived: Derived,
    /// Entries of the journal that the rows lack.
    pub entries: usize,
    /// Whether they change what organizations are listed by.
    pub changed: bool,
}

/// All accounts whose rows are behind, in order of organization, so that neighbours are written together and share
/// pages. A clone is cheap and stays as it is: writing goes on beside it.
#[derive(Clone, Debug, Default)]
pub struct Dirty {
    accounts: OrdMap<OrganizationId, Arc<DirtyAccount>>,
    /// Those whose rows may be behind, as a start has found.
    unread: Unread,
    entries: usize,
    /// What the rows say that all organizations used together; nothing where a start could not read it.
    written: Option<Totals>,
}

impl Dirty {
    /// What the rows of an organization lack, if they lack anything. Of one that is [`Dirty::unread`] that is not known yet.
    pub fn get(&self, organization: OrganizationId) -> Option<&Arc<DirtyAccount>> {
        self.accounts.get(&organization)
    }

    /// Those at which nobody has looked since the start.
    pub const fn unread(&self) -> &Unread {
        &self.unread
    }

    /// A start has found these.
    pub(super) fn begin_unread(&mut self, unread: Unread) {
        self.entries += unread.organizations().map(|organization| unread.entries(organization)).sum::<usize>();
        self.unread = unread;
    }

    /// An account has been looked at, and its rows lack this.
    pub(super) fn looked_at(&mut self, organization: OrganizationId, lacking: Option<DirtyAccount>) {
        self.entries -= self.unread.entries(organization);
        self.unread.forget(organization);
        lacking.into_iter().for_each(|lacking| self.insert(lacking));
    }

    /// An account cannot be looked at.
    pub(super) fn mark_damaged(&mut self, organization: OrganizationId) {
        self.unread.mark(organization);
    }

    /// How many accounts there are, with those at which nobody has looked.
    pub fn len(&self) -> usize {
        self.accounts.len() + self.unread.len()
    }

    /// Whether every row is up to the journal.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing is left to be written, but for accounts that cannot be read.
    pub(super) fn is_written(&self) -> bool {
        self.len() == self.unread.damaged()
    }

    /// Entries of the journal that are not in the rows.
    pub const fn entries(&self) -> usize {
        self.entries
    }

    /// What all organizations but those for tests used together; nothing where a start could not read what the rows say.
    /// Of those at which nobody has looked it has what their rows have.
    pub fn totals(&self) -> Option<Totals> {
        let mut totals = self.written.clone()?;
        self.all().for_each(|dirty| totals.add_derived(&dirty.account, &dirty.derived));
        Some(totals)
    }

    /// This is what the rows say that all used together.
    pub(super) fn begin_totals(&mut self, written: Option<Totals>) {
        self.written = written;
    }

    /// The rows have come to say so much more of what all used together.
    pub(super) fn add_totals(&mut self, more: &Totals) {
        if let Some(written) = &mut self.written {
            written.add_all(more);
        }
    }

    /// The accounts after `organization`, in order.
    pub(super) fn after(&self, organization: Option<OrganizationId>) -> impl Iterator<Item = &Arc<DirtyAccount>> {
        let from = organization.map_or(Bound::Unbounded, Bound::Excluded);
        self.accounts.range((from, Bound::Unbounded)).map(|(_, dirty)| dirty)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<DirtyAccount>> {
        self.accounts.values()
    }

    /// Takes in what a block did to an account.
    pub(super) fn advance<'r>(
        &mut self,
        account: &Arc<Account>,
        sequence: u64,
        records: impl IntoIterator<Item = &'r Record>,
    ) {
        let Some(dirty) = self.accounts.get_mut(&account.id) else {
            let mut dirty = DirtyAccount::clean(account);
            dirty.take_in(sequence, records);
            return self.insert(dirty);
        };
        let dirty = Arc::make_mut(dirty);
        let had = dirty.entries;
        dirty.account = Arc::clone(account);
        dirty.take_in(sequence, records);
        self.entries += dirty.entries - had;
    }

    /// Takes in an account that was not here.
    pub(super) fn insert(&mut self, dirty: DirtyAccount) {
        self.entries += dirty.entries;
        self.accounts.insert(dirty.account.id, Arc::new(dirty));
    }

    /// Forgets an account: its rows are up to the journal.
    pub(super) fn remove(&mut self, organization: OrganizationId) {
        if let Some(dirty) = self.accounts.remove(&organization) {
            self.entries -= dirty.entries;
        }
    }
}

impl DirtyAccount {
    /// An account of which the rows lack nothing.
    pub(super) fn clean(account: &Arc<Account>) -> Self {
        Self {
            account: Arc::clone(account),
            first: 0,
            sequence: 0,
            derived: Derived::default(),
            entries: 0,
            changed: false,
        }
    }

    /// Takes in what a block did to what is derived; the account is after it already.
    pub(super) fn take_in<'r>(&mut self, sequence: u64, records: impl IntoIterator<Item = &'r Record>) {
        self.first = if self.first == 0 { sequence } else { self.first };
        self.sequence = sequence;
        for record in records {
            self.derived.add(self.account.id, &record.entry);
            self.entries += 1;
            self.changed |= is_change(&record.entry);
        }
    }
}

/// Whether an entry changes what organizations are listed by.
pub(super) fn is_change(entry: &Entry) -> bool {
    match &entry.what {
        What::Changed(change) => {
            let is_of_use = matches!(**change, Change::Reset { .. } | Change::Corrected(_) | Change::Granted(_));
            !is_of_use && !matches!(**change, Change::Extra { .. } | Change::Extras(_))
        }
        What::Due(effect) => {
            matches!(effect, Effect::TrialEnded { .. } | Effect::PlanChanged(_) | Effect::GraceEnded(_))
        }
        What::Decided(_)
        | What::Recorded(_)
        | What::Reservation(_)
        | What::Image(_)
        | What::Completed(_)
        | What::Noticed(_) => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use metergate_rules::account::Profile;
    use metergate_rules::id::{OrganizationKey, PlanId};
    use metergate_rules::outcome::What;
    use metergate_rules::period::Zone;
    use metergate_rules::time::{Span, Time};

    fn account(number: u8) -> Arc<Account> {
        let (id, at) = (OrganizationId([number; 16]), Time::from_micros(0));
        let profile = Profile {
            key: OrganizationKey::new(&format!("org-{number}")).unwrap(),
            name: String::new(),
            zone: Zone::utc(),
            test: false,
            metadata: String::new(),
            created_at: at,
        };
        let span = Span { start: at, end: Time::MAX };
        let windows = metergate_rules::account::OpenWindows { day: span, month: span, period: span };
        let created = Change::Created {
            profile: Arc::new(profile),
            plan: PlanId(1),
            status: metergate_rules::account::Status::Active,
            trial: None,
            anchor: metergate_rules::period::Anchor::at(at, &Zone::utc()),
            windows,
        };
        let entry = Entry { at, what: What::Changed(Box::new(created)) };
        Arc::new(metergate_rules::apply::create(id, &entry).unwrap())
    }

    /// Has a block touch an account.
    pub(in crate::store) fn dirty(all: &mut Dirty, number: u8, sequence: u64) {
        let span = Span { start: Time::from_micros(0), end: Time::MAX };
        let entry = Entry { at: span.start, what: What::Due(Effect::DayBegan(span)) };
        all.advance(&account(number), sequence, [&Record { key: None, fingerprint: 0, entry }]);
    }

    #[test]
    fn a_clone_stays_as_it_was() {
        let mut all = Dirty::default();
        dirty(&mut all, 1, 1);
        let seen = all.clone();
        dirty(&mut all, 1, 2);
        dirty(&mut all, 2, 2);
        all.remove(OrganizationId([2; 16]));
        assert_eq!((all.len(), all.entries()), (1, 2));
        assert_eq!(seen.get(OrganizationId([1; 16])).map(|dirty| (dirty.sequence, dirty.entries)), Some((1, 1)));
        assert_eq!(all.get(OrganizationId([1; 16])).map(|dirty| (dirty.first, dirty.sequence)), Some((1, 2)));
    }
}

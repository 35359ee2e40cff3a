//! An organization as it was: the fold of its entries up to a time, from how it stood at the end of a billing period.

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::id::OrganizationRef;
use metergate_rules::outcome::{Change, Entry, What};
use metergate_rules::time::Time;

use super::super::{Current, Report, refuse};
use crate::store::reader::ReadError;

/// Entries that are gone through at most.
const MOST_ENTRIES: usize = 500_000;

impl Report<'_> {
    /// The organization at a past time, with everything applied that had fallen due by then.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller, where the time lies in the future or before
    /// its creation, or where its entries are no longer all kept.
    pub(super) fn current_at(&self, organization: &OrganizationRef, at: Time) -> Result<Current<'_>, ReadError> {
        let account = self.view.account(self.scope, organization)?;
        if at > account.own_time(self.now) {
            return refuse("?at: this lies in the future");
        }
        let then = match () {
            // Nothing has happened since.
            () if account.time <= at => account,
            // Its clock may have been set back, so that its times say nothing of the order of its entries.
            () if account.profile.test => self.retold(&account, at)?,
            () if at < account.profile.created_at => return created_later(),
            () => self.past(&account, at)?,
        };
        self.settled(then, at)
    }

    /// The entries up to a time, on top of the last image from before it: what went before that may have gone.
    fn past(&self, account: &Account, at: Time) -> Result<Account, ReadError> {
        let (mut begin, mut looked) = (1, 0);
        self.view.records(account.id, u64::MAX, |sequence, _, record| {
            looked += 1;
            let is_it = matches!(&record.entry.what, What::Image(stood) if stood.time <= at);
            if is_it {
                begin = sequence;
            }
            !is_it && looked <= MOST_ENTRIES
        })?;
        check_number(looked)?;
        let (mut then, newest) = (None, self.view.rows().newest_block(account.id)?);
        self.view.records_between(account.id, (begin - 1, newest), |record| match record.entry {
            Entry { what: What::Image(stood), .. } if stood.time <= at => then = Some(*stood),
            entry => match &mut then {
                Some(then) if entry.at <= at => apply::apply(then, &entry),
                Some(_) => {}
                None => then = apply::create(account.id, &entry),
            },
        })?;
        then.map_or_else(gone, Ok)
    }

    /// A test organization whose clock is set for the first time is as if it had been created then: what came before it came by
    /// another time.
    fn retold(&self, account: &Account, at: Time) -> Result<Account, ReadError> {
        let entries = self.entries(account)?;
        let begun = entries.iter().enumerate().filter_map(|(i, entry)| Some((i, rebased_to(entry)?))).next_back();
        let (first, begin) = begun.unwrap_or((0, Time::MIN));
        let later = entries[first..].iter().rposition(|entry| rebased_to(entry).unwrap_or(entry.at) <= at);
        let Some(last) = later.filter(|_| begin <= at).map(|last| first + last) else { return created_later() };
        let created = entries.first().and_then(|created| apply::create(account.id, created));
        let Some(mut then) = created else { return gone() };
        entries[1..=last].iter().for_each(|entry| apply::apply(&mut then, entry));
        Ok(then)
    }

    /// All entries of an organization, the oldest first.
    fn entries(&self, account: &Account) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        self.view.records(account.id, u64::MAX, |_, _, record| {
            entries.push(record.entry);
            entries.len() <= MOST_ENTRIES
        })?;
        check_number(entries.len())?;
        entries.reverse();
        Ok(entries)
    }
}

fn check_number(entries: usize) -> Result<(), ReadError> {
    if entries <= MOST_ENTRIES {
        return Ok(());
    }
    refuse(format!("?at: more than {MOST_ENTRIES} entries would have to be gone through; ask for a later time"))
}

fn created_later<T>() -> Result<T, ReadError> {
    refuse("?at: the organization was created later")
}

fn gone<T>() -> Result<T, ReadError> {
    refuse("?at: what happened before then is no longer all kept; ask for a later time")
}

/// When it is as if the organization had been created, where the entry made it so.
fn rebased_to(entry: &Entry) -> Option<Time> {
    let What::Changed(change) = &entry.what else { return None };
    match &**change {
        Change::Clock { to, rebased: Some(_) } => Some(*to),
        _ => None,
    }
}

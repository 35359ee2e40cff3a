//! An organization as it was: the fold of its entries up to a time.

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::id::OrganizationRef;
use metergate_rules::outcome::{Change, Entry, What};
use metergate_rules::time::Time;

use super::super::{Current, Report, refuse};
use crate::store::reader::ReadError;

/// Entries that are folded at most.
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
        let entries = self.entries(&account)?;
        // A test organization whose clock is set for the first time is as if it had been created then: what came before it came
        // by another time.
        let begun = entries.iter().enumerate().filter_map(|(i, entry)| Some((i, rebased_to(entry)?))).next_back();
        let (first, begin) = begun.unwrap_or((0, Time::MIN));
        let later = entries[first..].iter().rposition(|entry| rebased_to(entry).unwrap_or(entry.at) <= at);
        let Some(last) = later.filter(|_| begin <= at).map(|last| first + last) else {
            return refuse("?at: the organization was created later");
        };
        let Some(mut then) = entries.first().and_then(|created| apply::create(account.id, created)) else {
            return refuse("?at: what happened first is no longer kept, so that only the present can be explained");
        };
        entries[1..=last].iter().for_each(|entry| apply::apply(&mut then, entry));
        self.settled(then, at)
    }

    /// All entries of an organization, the oldest first.
    fn entries(&self, account: &Account) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        self.view.records(account.id, u64::MAX, |_, _, record| {
            entries.push(record.entry);
            entries.len() <= MOST_ENTRIES
        })?;
        if entries.len() > MOST_ENTRIES {
            return refuse(format!(
                "?at: more than {MOST_ENTRIES} entries would have to be gone through; leave it out"
            ));
        }
        entries.reverse();
        Ok(entries)
    }
}

/// When it is as if the organization had been created, where the entry made it so.
fn rebased_to(entry: &Entry) -> Option<Time> {
    let What::Changed(change) = &entry.what else { return None };
    match &**change {
        Change::Clock { to, rebased: Some(_) } => Some(*to),
        _ => None,
    }
}

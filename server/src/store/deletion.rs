//! The end of an organization: alone in its commit, with all by which it is found. Rows that nobody finds any more go little
//! by little after it, also after a start.

use metergate_rules::account::Account;
use metergate_rules::audit::{Draft, Fields, Object};
use metergate_rules::command::Command;
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::time::Time;

use super::alone::{Alone, Force};
use super::audit::TEAM;
use super::batch::{Batch, Failure, Stop};
use super::checkpoint::stop_after_disk_failure;
use super::decided::Decided;
use super::ledger::Ledger;
use super::reader::{ReadError, View};
use super::writer::Writer;
use super::{After, Answer, ChangeRequest, KeptAnswer, ReceiptKey, Scope, StoreError};
use crate::catalogue::Snapshot;
use crate::catalogue::change::TeamRow;
use crate::catalogue::key::ApiKey;
use crate::clock::boot;
use crate::people::change::leave;
use crate::people::{People, PersonRow};

/// Rows of people, and of keys, that one commit changes at most.
const MOST: usize = 500;
/// About how many bytes a step adds to the write-ahead file.
pub(super) const STEP_BYTES: usize = 1024 * 1024;

/// Who and what goes with an organization in one commit.
#[derive(Default)]
struct Leaving {
    people: Vec<PersonRow>,
    keys: Vec<TeamRow>,
    after: Option<(People, Snapshot)>,
}

impl Leaving {
    fn of(organization: OrganizationId, people: &People, catalogue: &Snapshot) -> Result<Self, StoreError> {
        let mut remaining = people.clone();
        let rows = leave(&mut remaining, organization, MOST);
        let mut stored = catalogue.stored.clone();
        let is_bound = |key: &&ApiKey| key.organization == Some(organization);
        let bound: Vec<_> = stored.keys.values().filter(is_bound).take(MOST).map(|key| key.id.clone()).collect();
        bound.iter().for_each(|id| drop(stored.keys.remove(id)));
        let keys = bound.into_iter().map(TeamRow::KeyGone).collect();
        let snapshot = Snapshot::new(stored).map_err(|_| StoreError::Internal)?;
        Ok(Self { people: rows, keys, after: Some((remaining, snapshot)) })
    }

    const fn is_empty(&self) -> bool {
        self.people.is_empty() && self.keys.is_empty()
    }

    /// Together with what else a commit writes.
    fn in_commit(self, mut decided: Decided) -> (Decided, Force) {
        (decided.people, decided.team) = (self.people, self.keys);
        let (people, catalogue) = self.after.unzip();
        (decided, Force { catalogue, people, ..Force::default() })
    }
}

/// Some people and keys of a deleted organization that are left, if any are.
pub(super) fn leaving(
    organization: OrganizationId,
    ledger: &Ledger,
    now: Time,
) -> Result<Option<(Decided, Force)>, Failure> {
    let leaving = Leaving::of(organization, &ledger.people, &ledger.catalogue).map_err(|_| Failure::Panicked)?;
    Ok((!leaving.is_empty()).then(|| leaving.in_commit(Decided::nothing(now))))
}

/// With what the names of its imports begin: those of a credential that is bound to it, and those that the command line gives.
pub(super) fn of_imports(organization: OrganizationId, key: Option<&str>) -> Vec<String> {
    let named = key.map(|key| format!("import:{key}/"));
    [format!("{organization}/"), format!("import:{organization}/")].into_iter().chain(named).collect()
}

/// Decides the end of an organization.
pub(super) fn decide_deletion(mut batch: Batch<'_>, request: &ChangeRequest) -> Result<Alone, Stop> {
    match batch.decide_deletion(request)? {
        Known::Before(answer) => Ok(Alone::Before(answer)),
        Known::Not(organization, left, answer) => {
            let (decided, force) = left.in_commit(Decided::of(batch).deleting(organization));
            Ok(Alone::now(decided, force, answer))
        }
    }
}

/// Whether a deletion was made before under its key.
enum Known {
    Before(Answer),
    Not(OrganizationId, Box<Leaving>, Answer),
}

impl Writer {
    /// A step in which something of a deleted organization goes, else of what the audit log dropped, else of kept answers.
    /// Whether there was something to do.
    pub(super) fn forget(&mut self) -> Result<bool, Failure> {
        let Some(organization) = self.ledger.deleted.front().copied() else {
            return Ok(self.forget_cut()? || self.forget_answers()?);
        };
        self.forgot = boot();
        let result = self.forget_next(organization);
        result.inspect_err(|failure| self.tell(failure, "a deleted organization could not be forgotten yet"))?;
        Ok(true)
    }

    fn forget_next(&mut self, organization: OrganizationId) -> Result<(), Failure> {
        if let Some((decided, force)) = leaving(organization, &self.ledger, self.now())? {
            self.commit(decided)?;
            self.put_in_force(force);
            return Ok(());
        }
        let done = self.sqlite.forget_some(organization).inspect_err(stop_after_disk_failure)?;
        self.checkpointer.grown(STEP_BYTES);
        if done {
            self.ledger.deleted.pop_front();
        }
        Ok(())
    }
}

impl Batch<'_> {
    /// An answer is kept for operators alone: for who was a member there is nothing left. It is not given for another
    /// organization that has the key by now.
    fn decide_deletion(&mut self, request: &ChangeRequest) -> Result<Known, Stop> {
        let existing = self.resolve(&request.organization)?;
        let receipt = request.receipt.as_ref().filter(|_| request.caller.scope == Scope::Team);
        if let Some(answer) = self.kept(TEAM, receipt)? {
            return if existing.is_some() { Err(StoreError::Mismatch.into()) } else { Ok(Known::Before(answer)) };
        }
        let organization = self.admitted(&request.caller, &request.organization)?;
        let before = self.account(organization)?;
        if request.only_if_changes.is_some_and(|changes| changes != before.changes) {
            return Err(StoreError::Changed.into());
        }
        let (_, outcome) = self.run(organization, &Command::Delete, false)?;
        let leaving = Leaving::of(organization, &self.ledger.people, &self.ledger.catalogue)?;
        let members = self.ledger.people.members_after(organization, None).count();
        let keys = self.ledger.catalogue.stored.keys.values();
        let keys = keys.filter(|key| key.organization == Some(organization)).count();
        for draft in outcome.audit {
            let draft = counted(draft, members, keys);
            self.append_audit(TEAM, &draft, &request.caller.actor, &request.reason)?;
        }
        self.keep(organization, outcome.entries, None, 0)?;
        let account = self.account(organization)?;
        self.keys.insert(account.profile.key.clone(), None);
        let after = After {
            account: &account,
            reply: &outcome.reply,
            audit: &[],
            catalogue: &self.ledger.catalogue,
            now: account.own_time(self.now),
        };
        let answer = (request.respond)(&after);
        let keep = |key: &ReceiptKey| KeptAnswer { scope: TEAM, about: None, key: key.clone(), answer: answer.clone() };
        self.receipts.extend(receipt.map(keep));
        Ok(Known::Not(organization, Box::new(leaving), answer))
    }
}

impl View<'_> {
    /// The account of an organization, unless it is deleted.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if it cannot be read.
    pub fn account_if_there(&self, organization: OrganizationId) -> Result<Option<Account>, ReadError> {
        match self.account(Scope::Team, &OrganizationRef::Id(organization)) {
            Err(ReadError::Store(StoreError::UnknownOrganization)) => Ok(None),
            account => account.map(Some),
        }
    }
}

/// With how many people and keys went.
fn counted(draft: Draft, members: usize, keys: usize) -> Draft {
    let Object::Fields(before) = draft.before else { return draft };
    let count = |things: usize| i64::try_from(things).unwrap_or(i64::MAX);
    let more = Fields::default().with("members", count(members)).with("apiKeys", count(keys));
    Draft { before: Object::Fields(before.and(more)), ..draft }
}

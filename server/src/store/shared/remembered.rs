//! Accounts as their rows were when they were last seen under their locks. None of it counts until it was compared under one
//! again, or was found to be so still when the commit is written; where PostgreSQL cannot be reached it is all that is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use parking_lot::Mutex;

use super::Shared;
use crate::store::audit::chain_of;
use crate::store::error::{EngineError, unreadable};
use crate::store::inbox::Call;
use crate::store::known::Id;
use crate::store::ledger::{Head, Map};
use crate::store::postgres::Postgres;
use crate::store::postgres::lock::Locked;
use crate::store::postgres::write::Changed;
use crate::store::rollup::Carried;
use crate::store::{Request, Store, Work};

/// Accounts that a loop keeps in memory.
const MOST: usize = 250_000;

/// An account with its row's version and the last block that it holds.
struct Cached {
    version: i64,
    /// Whether the row surely was so: not since the connection ended, behind which another server may stand.
    is_sure: bool,
    sequence: u64,
    head: Head,
    account: Arc<Account>,
    carried: Arc<Carried>,
}

/// What is known of the rows.
#[derive(Default)]
pub(in crate::store) struct Remembered {
    accounts: Map<OrganizationId, Cached>,
    names: Map<OrganizationKey, OrganizationId>,
}

impl Remembered {
    /// Of these organizations the accounts that are known, if those are trusted, and of the others the versions that are known.
    pub(super) fn versions(
        &self,
        ids: &BTreeSet<OrganizationId>,
        are_trusted: bool,
    ) -> (Vec<Locked>, Vec<(OrganizationId, Option<i64>)>) {
        let (mut trusted, mut wanted) = (Vec::new(), Vec::new());
        for organization in ids.iter().copied() {
            match self.accounts.get(&organization).filter(|cached| cached.is_sure) {
                Some(Cached { version, sequence, head, .. }) if are_trusted => {
                    let (version, sequence, head) = (*version, *sequence, *head);
                    trusted.push(Locked { organization, version, sequence, head, account: None });
                }
                cached => wanted.push((organization, cached.map(|cached| cached.version))),
            }
        }
        (trusted, wanted)
    }

    /// Versions and last blocks of the accounts of these.
    pub(super) fn places(&self, ids: &BTreeSet<OrganizationId>) -> BTreeMap<OrganizationId, (i64, u64)> {
        let place = |id: &OrganizationId| {
            let cached = self.accounts.get(id)?;
            Some((*id, (cached.version, cached.sequence)))
        };
        ids.iter().filter_map(place).collect()
    }

    /// What a commit has changed is so from now on.
    pub(super) fn committed(&mut self, changed: &[Changed], deleted: Option<OrganizationId>) {
        for Changed { account, carried, seen, sequence, head, .. } in changed {
            let (version, sequence, head) = (seen.unwrap_or(0) + 1, *sequence, *head);
            let (account, carried) = (Arc::clone(account), Arc::clone(carried));
            let id = account.id;
            if seen.is_none() {
                self.names.insert(account.profile.key.clone(), id);
            }
            self.accounts.insert(id, Cached { version, is_sure: true, sequence, head, account, carried });
        }
        if let Some(organization) = deleted {
            self.accounts.remove(&organization);
            self.names.retain(|_, id| *id != organization);
        }
    }

    /// What was known may be another server's: an account is read again before it counts. Keys are compared with it then.
    pub(super) fn doubt(&mut self) {
        self.accounts.values_mut().for_each(|cached| cached.is_sure = false);
    }

    /// The same of these alone.
    pub(super) fn doubt_of<'i>(&mut self, ids: impl Iterator<Item = &'i OrganizationId>) {
        for id in ids {
            self.accounts.get_mut(id).into_iter().for_each(|cached| cached.is_sure = false);
        }
    }

    /// Makes room before a turn takes more in.
    fn make_room(&mut self) {
        if self.accounts.len().max(self.names.len()) > MOST {
            self.accounts.clear();
            self.names.clear();
        }
    }
}

impl Store {
    /// An account as this node saw it last, where others may have changed it since. An embedded store need not remember.
    pub fn last_seen(&self, organization: &OrganizationRef) -> Option<Arc<Account>> {
        match organization {
            OrganizationRef::Id(id) => self.newest(*id),
            OrganizationRef::Key(key) => {
                // Loops may know the key as that of different organizations, of which one has it no more.
                let named = self
                    .remembered
                    .iter()
                    .filter_map(|lane| lane.lock().names.get(key).copied())
                    .collect::<BTreeSet<_>>();
                let mut holders =
                    named.into_iter().filter_map(|id| self.newest(id)).filter(|one| one.profile.key == *key);
                holders.next().filter(|_| holders.next().is_none())
            }
        }
    }

    /// An account as the loop saw it that saw it last.
    fn newest(&self, id: OrganizationId) -> Option<Arc<Account>> {
        let seen = |lane: &Arc<Mutex<Remembered>>| {
            let memory = lane.lock();
            let cached = memory.accounts.get(&id)?;
            Some((cached.version, Arc::clone(&cached.account)))
        };
        self.remembered.iter().filter_map(seen).max_by_key(|(version, _)| *version).map(|(_, account)| account)
    }
}

impl Shared {
    /// Which organizations each call names, as far as they exist.
    pub(super) fn named(
        &mut self,
        session: &Postgres,
        calls: &[Call],
    ) -> Result<Vec<Vec<OrganizationId>>, EngineError> {
        let keys = calls.iter().flat_map(references).filter_map(|reference| match reference {
            OrganizationRef::Key(key) => Some(key),
            OrganizationRef::Id(_) => None,
        });
        let remembered = Arc::clone(&self.memory.remembered);
        let mut unknown: Vec<&str> = {
            let mut known = remembered.lock();
            known.make_room();
            keys.filter(|key| !known.names.contains_key(*key)).map(|key| key.as_str()).collect()
        };
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let found = session.organizations_of(&unknown)?;
            let keys = found.into_iter().filter_map(|(key, id)| Some((OrganizationKey::new(&key).ok()?, id)));
            remembered.lock().names.extend(keys);
        }
        let (known, used) = (remembered.lock(), &mut self.memory.used);
        used.clear();
        let mut found = |reference: &OrganizationRef| match reference {
            OrganizationRef::Id(id) => Some(*id),
            OrganizationRef::Key(key) => {
                let id = known.names.get(key).copied()?;
                used.push((key.clone(), id));
                Some(id)
            }
        };
        Ok(calls.iter().map(|call| references(call).filter_map(&mut found).collect()).collect())
    }

    /// What is held becomes the image on which is decided, and nothing else.
    pub(super) fn take_in(
        &mut self,
        locked: Vec<Locked>,
        missing: &[OrganizationId],
        skipped: &BTreeSet<OrganizationId>,
    ) -> Result<(), EngineError> {
        let (ledger, used) = (&mut self.ledger, std::mem::take(&mut self.memory.used));
        let mut memory = self.memory.remembered.lock();
        ledger.accounts.clear();
        ledger.carried.clear();
        ledger.heads.clear();
        ledger.keys.clear();
        for Locked { organization, version, sequence, head, account } in locked {
            let (account, carried) = match (account, memory.accounts.get(&organization)) {
                (Some((account, carried)), cached) => {
                    if cached.is_some_and(|cached| cached.is_sure) {
                        self.memory.others.met(false);
                    }
                    (Arc::new(account), Arc::new(carried))
                }
                (None, Some(cached)) => (Arc::clone(&cached.account), Arc::clone(&cached.carried)),
                (None, None) => return Err(unreadable("an account", "it came without its data")),
            };
            ledger.heads.insert(chain_of(organization), head);
            ledger.keys.insert(account.profile.key.clone(), organization);
            ledger.accounts.insert(organization, Arc::clone(&account));
            if !carried.is_empty() {
                ledger.carried.insert(organization, Arc::clone(&carried));
            }
            memory.accounts.insert(organization, Cached { version, is_sure: true, sequence, head, account, carried });
        }
        // An organization may have another key by now, or be gone; then the key may be another's.
        for gone in missing.iter().filter(|id| !skipped.contains(id)) {
            memory.accounts.remove(gone);
        }
        let mut is_stale = false;
        for (key, id) in used {
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
    pub(super) fn sought(&self, calls: &[Call]) -> Vec<(OrganizationId, u64)> {
        let (mut sought, remembered) = (BTreeSet::new(), self.memory.remembered.lock());
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
                    OrganizationRef::Key(key) => remembered.names.get(key).copied(),
                };
                if let (Some(organization), Some(id)) = (organization, id) {
                    sought.insert((organization, self.ledger.known.hash(organization, id)));
                }
            }
        }
        sought.into_iter().collect()
    }
}

/// The organizations that a call names.
fn references(call: &Call) -> impl Iterator<Item = &OrganizationRef> {
    let requests = match &call.work {
        Work::Requests(requests) => requests.as_slice(),
        _ => &[],
    };
    requests.iter().map(Request::organization)
}

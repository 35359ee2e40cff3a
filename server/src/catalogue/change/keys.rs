//! API keys: made, ended, followed by another.

use metergate_rules::audit::{Draft, Fields};
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::time::Time;

use super::{Changing, Decided, NewKey, TeamCommand, TeamReply, TeamRow, conflict, unknown};
use crate::catalogue::key::{self, ApiKey};
use crate::catalogue::{Snapshot, Stored};
use crate::store::StoreError;

/// Keys of an organization at most, ended ones too, that are made in its own name: their rows stay.
const MOST_OF_ORGANIZATION: usize = 1000;

/// Keys that were ended together.
pub struct Ended {
    /// What is stored after it.
    pub stored: Stored,
    /// What to write.
    pub rows: Vec<TeamRow>,
    /// What the audit log keeps of each, with the organization that the key was bound to.
    pub audit: Vec<(Option<OrganizationId>, Draft)>,
}

/// Ends every key that somebody made and that is in force.
///
/// # Errors
/// None but those of ending one by one.
pub fn end_made_by(snapshot: &Snapshot, maker: &str, now: Time) -> Result<Ended, StoreError> {
    let made = |key: &&ApiKey| key.is_valid(now) && key.created_by.as_deref() == Some(maker);
    let made: Vec<_> =
        snapshot.stored.keys.values().filter(made).map(|key| (key.id.clone(), key.organization)).collect();
    let stored = snapshot.stored.clone();
    let mut change = Changing { stored, rows: Vec::new(), messages: Vec::new(), actor: maker, now };
    let mut audit = Vec::new();
    for (id, organization) in made {
        let (_, draft) = change.revoke_key(&id)?;
        audit.extend(draft.map(|draft| (organization, draft)));
    }
    Ok(Ended { stored: change.stored, rows: change.rows, audit })
}

impl Changing<'_> {
    /// A key of another organization does not exist here.
    pub(super) fn of_organization(&mut self, organization: &OrganizationRef, command: &TeamCommand) -> Decided {
        let OrganizationRef::Id(own) = organization else { return Err(StoreError::Internal) };
        match command {
            TeamCommand::CreateKey(new) => {
                self.refuse_beyond_the_most(*own)?;
                self.create_key(&NewKey { organization: Some(organization.clone()), ..new.clone() })
            }
            TeamCommand::RotateKey(id, until) => {
                self.refuse_others(*own, id)?;
                self.refuse_beyond_the_most(*own)?;
                self.rotate_key(id, *until)
            }
            TeamCommand::RevokeKey(id) => {
                self.refuse_others(*own, id)?;
                self.revoke_key(id)
            }
            _ => Err(StoreError::Internal),
        }
    }

    fn refuse_others(&self, own: OrganizationId, id: &str) -> Result<(), StoreError> {
        let is_own = self.stored.keys.get(id).is_some_and(|key| key.organization == Some(own));
        if is_own { Ok(()) } else { unknown("unknown-key", "API key") }
    }

    fn refuse_beyond_the_most(&self, own: OrganizationId) -> Result<(), StoreError> {
        let count = self.stored.keys.values().filter(|key| key.organization == Some(own)).count();
        if count < MOST_OF_ORGANIZATION {
            return Ok(());
        }
        conflict(
            "too-many-keys",
            "the organization has made as many API keys as it may: ask an operator for another one",
        )
    }

    pub(super) fn create_key(&mut self, new: &NewKey) -> Decided {
        if new.expires_at.is_some_and(|end| end <= self.now) {
            let detail = "#/expiresAt: Send a time in the future.".to_owned();
            return Err(StoreError::Catalogue { code: "validation", status: 422, detail });
        }
        let organization = match &new.organization {
            Some(OrganizationRef::Id(id)) => Some(*id),
            Some(OrganizationRef::Key(_)) => return Err(StoreError::Internal),
            None => None,
        };
        let (id, secret) = key::generate();
        let made = ApiKey {
            hash: key::hash(&secret),
            name: new.name.clone(),
            scopes: new.scopes.clone(),
            organization,
            created_at: self.now,
            created_by: Some(self.actor.to_owned()),
            replaces: None,
            expires_at: new.expires_at,
            revoked_at: None,
            id: id.clone(),
        };
        let after = key_fields(&made);
        self.write_key(made);
        Ok((TeamReply::Key(id, Some(secret)), self.draft("key.create", "auth", Fields::default(), after)))
    }

    pub(super) fn revoke_key(&mut self, id: &str) -> Decided {
        let Some(old) = self.stored.keys.get(id).cloned() else { return unknown("unknown-key", "API key") };
        if old.revoked_at.is_some() {
            return Ok((TeamReply::Gone, None));
        }
        let before = key_fields(&old);
        let revoked = ApiKey { revoked_at: Some(self.now), ..old };
        let after = key_fields(&revoked);
        self.write_key(revoked);
        Ok((TeamReply::Gone, self.draft("key.revoke", "auth", before, after)))
    }

    pub(super) fn rotate_key(&mut self, id: &str, until: Time) -> Decided {
        let Some(old) = self.stored.keys.get(id).filter(|key| key.is_valid(self.now)).cloned() else {
            return unknown("unknown-key", "valid API key");
        };
        self.refuse_while_two_work(&old)?;
        let (new_id, secret) = key::generate();
        let made = ApiKey {
            id: new_id.clone(),
            hash: key::hash(&secret),
            created_at: self.now,
            created_by: Some(self.actor.to_owned()),
            replaces: Some(old.id.clone()),
            ..old.clone()
        };
        let ending = ApiKey { expires_at: Some(old.expires_at.map_or(until, |end| end.min(until))), ..old.clone() };
        let (before, after) = (key_fields(&old), key_fields(&made));
        self.write_key(ending);
        self.write_key(made);
        Ok((TeamReply::Key(new_id, Some(secret)), self.draft("key.rotate", "auth", before, after)))
    }

    /// A key and the one in whose place it was made are all that may work at a time; and one that has been followed ends soon,
    /// so that what were made from it now would end with it.
    fn refuse_while_two_work(&self, key: &ApiKey) -> Result<(), StoreError> {
        if let Some(next) = self.stored.keys.values().find(|next| next.replaces.as_ref() == Some(&key.id)) {
            let detail =
                format!("it was rotated already: go on with {}, which took its place, or make a new key", next.id);
            return conflict("already-rotated", &detail);
        }
        let before = key.replaces.as_ref().and_then(|id| self.stored.keys.get(id));
        if let Some(before) = before.filter(|before| before.is_valid(self.now)) {
            let detail =
                format!("{}, whose place it took, still works: revoke that first, or wait for its end", before.id);
            return conflict("rotation-under-way", &detail);
        }
        Ok(())
    }

    fn write_key(&mut self, key: ApiKey) {
        self.stored.keys.insert(key.id.clone(), key.clone());
        self.rows.push(TeamRow::Key(key));
    }
}

fn key_fields(key: &ApiKey) -> Fields {
    let scopes = key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect::<Vec<_>>();
    Fields::default()
        .with("id", key.id.as_str())
        .with("name", key.name.as_str())
        .with("scopes", scopes)
        .with("organization", key.organization.map(|id| id.to_string()))
        .with("expiresAt", key.expires_at)
        .with("revokedAt", key.revoked_at)
}

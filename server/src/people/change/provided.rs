//! Signing in by what an identity provider says.

use std::sync::Arc;

use metergate_rules::audit::Fields;

use super::{Changing, PeopleReply, conflict};
use crate::people::identity::{Identity, IdentityKey, Proof};
use crate::people::token::TokenHash;
use crate::people::{PersonRow, UserId};
use crate::store::StoreError;

/// Identities of a user at most.
const MOST_IDENTITIES: usize = 10;

impl Changing {
    /// Somebody signs in whom the provider knows as this user, or as nobody yet: then the identity becomes the user's, where
    /// [`Self::may_link`] allows it.
    pub(super) fn sign_in_by(
        &mut self,
        user: UserId,
        proof: &Proof,
        session: TokenHash,
    ) -> Result<PeopleReply, StoreError> {
        let known = self.people.user_by_identity(&proof.key).map(|user| user.id);
        if known.is_none() {
            self.may_link(user, proof)?;
        }
        if known.is_none_or(|known| known != user) {
            self.take_identity(user, proof)?;
        } else if proof.is_of(&self.user(user)?.email) {
            self.note_verified(user);
        }
        self.begin_session(user, session);
        let after = Fields::default().with("by", "provider").with("issuer", &*proof.key.issuer);
        self.note_of_user("session.sign_in", user, after.with("linked", known.is_none()));
        Ok(PeopleReply::User(user, false))
    }

    /// Anybody can register with the address of another, wait until that one comes by a provider, and then share their account:
    /// by the password, a session, a key of the organization. So an account whose address nobody has verified is linked only
    /// for a browser that is signed in to it, and no other proof moves it.
    fn may_link(&self, user: UserId, proof: &Proof) -> Result<(), StoreError> {
        if !proof.is_of(&self.user(user)?.email) {
            return conflict(
                "email-taken",
                "There is a user with this e-mail address, and the provider does not say that it is yours: sign in with the password.",
            );
        } else if !self.people.is_verified(user) && proof.signed_in != Some(user) {
            return conflict(
                "email-not-verified",
                "There is a user with this e-mail address of which nobody knows whose it is. If it is you, sign in with your password and then by the provider; else ask an operator for a link.",
            );
        }
        Ok(())
    }

    /// The identity becomes a user's, and the address is theirs where the provider says so.
    pub(super) fn take_identity(&mut self, user: UserId, proof: &Proof) -> Result<(), StoreError> {
        if self.people.user_by_identity(&proof.key).is_some() {
            return conflict("identity-taken", "The provider knows another user so: sign in again.");
        } else if self.people.identities_of(user).count() >= MOST_IDENTITIES {
            return conflict("too-many-identities", "The user is known to providers in as many ways as may be.");
        }
        let (key, created_at) = (proof.key.clone(), self.now);
        self.put(PersonRow::Identity(Arc::new(Identity { key, user, created_at })));
        if proof.is_of(&self.user(user)?.email) {
            self.note_verified(user);
        }
        Ok(())
    }

    pub(super) fn forget_identities(&mut self, user: UserId) {
        let keys: Vec<IdentityKey> = self.people.identities_of(user).cloned().collect();
        keys.into_iter().for_each(|key| self.put(PersonRow::IdentityGone(key)));
    }
}

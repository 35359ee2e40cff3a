//! Links that operators pass on, or that are sent to the address: another password, and that an address is somebody's own.

use std::sync::Arc;

use metergate_rules::audit::Fields;
use metergate_rules::role::Role;

use super::{Changing, PeopleReply, conflict, spent, unknown};
use crate::people::email::Email;
use crate::people::identity::Verified;
use crate::people::password::PasswordHash;
use crate::people::token::TokenHash;
use crate::people::{Opens, PersonRow, User, UserId};
use crate::store::StoreError;

impl Changing {
    pub(super) fn make_reset(&mut self, email: &Email, token: TokenHash) -> Result<PeopleReply, StoreError> {
        let user = self.user_of(email)?;
        Ok(self.pass_on("password-reset", Opens::Reset(user), token))
    }

    pub(super) fn make_verification(&mut self, email: &Email, token: TokenHash) -> Result<PeopleReply, StoreError> {
        let user = self.user_of(email)?;
        if self.people.is_verified(user) {
            return conflict("already-verified", "It is known already that the address is theirs.");
        }
        Ok(self.pass_on("email-verification", Opens::Verify(user, email.clone()), token))
    }

    fn user_of(&self, email: &Email) -> Result<UserId, StoreError> {
        self.people.user_by_email(email).map(|user| user.id).ok_or_else(unknown)
    }

    /// Told in the team's chain, which stays as it is when the user goes: so without what is personal.
    fn pass_on(&mut self, what: &'static str, opens: Opens, token: TokenHash) -> PeopleReply {
        let user = opens.user().map(|user| user.to_string());
        let link = self.link_for(opens, token);
        let after = Fields::default().with("user", user).with("link", what);
        self.note("member.invite", Fields::default(), after.with("expiresAt", link.expires_at));
        PeopleReply::Link(link)
    }

    /// Who opens the link must be signed in as the user for whom it is: the link alone shows that they read what comes to the
    /// address, and the session that the account is theirs. Whoever registered with the address of another has no link, and
    /// the other one no session.
    pub(super) fn verify(&mut self, link: TokenHash, user: UserId) -> Result<PeopleReply, StoreError> {
        let opens = self.people.link(&link, self.now).map(|link| link.opens.clone());
        let Some(Opens::Verify(of, email)) = opens else { return Err(spent()) };
        if of != user {
            let detail = "The link is for another user.".to_owned();
            return Err(StoreError::Catalogue { code: "not-invited", status: 403, detail });
        } else if self.user(user)?.email != email {
            return Err(spent());
        }
        self.put(PersonRow::LinkGone(link));
        self.note_verified(user);
        self.note_of_user("member.change", user, Fields::default().with("emailVerified", true));
        Ok(PeopleReply::User(user, false))
    }

    /// From now on it is known that a user's address is theirs.
    pub(super) fn note_verified(&mut self, user: UserId) {
        if self.people.is_verified(user) {
            return;
        }
        let Some(email) = self.people.user(user).map(|user| user.email.clone()) else { return };
        self.put(PersonRow::Verified(Arc::new(Verified { user, email, at: self.now })));
    }

    /// Whoever had the account before need not be whose address it is: what providers said of them counts no more, and what they
    /// have made of it opens nothing. An admin may have made portals for others by a key, so all go there; they last an hour.
    pub(super) fn take_over(&mut self, user: UserId) {
        self.forget_identities(user);
        let mut portals = Vec::new();
        for member in self.people.memberships(user) {
            let of = self.people.portals_of(member.organization);
            let gone = of.filter(|portal| member.role >= Role::Admin || portal.member == Some(user));
            portals.extend(gone.map(|portal| portal.token));
        }
        portals.into_iter().for_each(|token| self.put(PersonRow::PortalGone(token)));
        self.taken_over = Some(user);
    }

    /// Signs in by a link that an operator has made, who answers for to whom they gave it, or that was sent to the address alone.
    pub(super) fn use_link(
        &mut self,
        link: TokenHash,
        password: Option<&PasswordHash>,
        session: TokenHash,
    ) -> Result<PeopleReply, StoreError> {
        let opens = self.people.link(&link, self.now).map(|link| link.opens.clone());
        let (user, is_reset) = match opens {
            Some(Opens::SignIn(user)) => (user, false),
            Some(Opens::Reset(user)) => (user, true),
            _ => return Err(spent()),
        };
        let old = self.people.user(user).cloned().ok_or_else(spent)?;
        if is_reset && password.is_none() {
            let detail = "#/password: Choose another password.".to_owned();
            return Err(StoreError::Catalogue { code: "validation", status: 422, detail });
        }
        self.put(PersonRow::LinkGone(link));
        if let Some(password) = password {
            self.end_sessions(user);
            self.put(PersonRow::User(Arc::new(User { password: Some(password.clone()), ..(*old).clone() })));
        }
        if is_reset && !self.people.is_verified(user) {
            self.take_over(user);
        }
        if is_reset || old.is_administrator {
            self.note_verified(user);
        }
        self.begin_session(user, session);
        let after = Fields::default().with("by", if is_reset { "password-reset" } else { "link" });
        self.note_of_user("session.sign_in", user, after);
        Ok(PeopleReply::User(user, false))
    }
}

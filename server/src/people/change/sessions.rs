//! Signing up, in and out.

use std::sync::Arc;

use metergate_rules::audit::Fields;
use metergate_rules::id::OrganizationId;
use metergate_rules::role::Role;

use super::{Changing, Joins, MOST_ORGANIZATIONS, PeopleReply, conflict};
use crate::people::identity::Proof;
use crate::people::password::PasswordHash;
use crate::people::token::TokenHash;
use crate::people::{Member, Opens, PersonRow, User, UserId};
use crate::store::StoreError;

impl Changing {
    /// The entry of what this is a part of says the rest: of the creation of the organization, or that a member was added.
    pub(super) fn register(
        &mut self,
        user: &Arc<User>,
        joins: &Joins,
        session: TokenHash,
        proof: Option<&Proof>,
    ) -> Result<PeopleReply, StoreError> {
        if self.people.user_by_email(&user.email).is_some() {
            return conflict("email-taken", "There is a user with this e-mail address: sign in.");
        }
        self.new_user(user)?;
        if let Some(proof) = proof {
            self.take_identity(user.id, proof)?;
        }
        match joins {
            Joins::New(_) => self.become_owner(user.id)?,
            Joins::Invitation(link) => drop(self.accept(*link, user.id)?),
        }
        if !self.people.is_verified(user.id) {
            self.post(Opens::Verify(user.id, user.email.clone()));
        }
        self.begin_session(user.id, session);
        Ok(PeopleReply::User(user.id, false))
    }

    pub(super) fn found(&mut self, user: UserId) -> Result<PeopleReply, StoreError> {
        self.user(user)?;
        if self.people.memberships(user).count() >= MOST_ORGANIZATIONS {
            return conflict("too-many-organizations", "You are a member of as many organizations as you may be.");
        }
        self.become_owner(user)?;
        Ok(PeopleReply::Done)
    }

    fn become_owner(&mut self, user: UserId) -> Result<(), StoreError> {
        let (organization, created_at) = (self.organization()?, self.now);
        self.put(PersonRow::Member(Member { organization, user, role: Role::Owner, is_active: true, created_at }));
        Ok(())
    }

    pub(super) fn sign_in(
        &mut self,
        user: UserId,
        password: &PasswordHash,
        session: TokenHash,
    ) -> Result<PeopleReply, StoreError> {
        // It may have been changed while it was compared.
        if self.user(user)?.password.as_ref() != Some(password) {
            return conflict("password-changed", "The password was changed meanwhile.");
        }
        self.begin_session(user, session);
        self.note_of_user("session.sign_in", user, Fields::default());
        Ok(PeopleReply::User(user, false))
    }

    pub(super) fn sign_in_failed(&mut self, user: Option<UserId>, why: Option<&'static str>) -> PeopleReply {
        let why = why.map_or_else(Fields::default, |why| Fields::default().with("by", "provider").with("why", why));
        match user.filter(|user| self.people.user(*user).is_some()) {
            Some(user) => self.note_of_user("session.sign_in_failed", user, why),
            None => {
                let after = Fields::default().with("user", None::<String>).and(why);
                self.note("session.sign_in_failed", Fields::default(), after);
            }
        }
        PeopleReply::Done
    }

    pub(super) fn sign_out(&mut self, session: TokenHash) -> PeopleReply {
        if let Some(user) = self.people.session(&session, self.now).map(|(session, _)| session.user) {
            self.put(PersonRow::SessionGone(session));
            self.note_of_user("session.sign_out", user, Fields::default());
        }
        PeopleReply::Done
    }

    /// One entry for each organization of the user, since each has its own log; one for the team where they are in none, or
    /// are platform administrators.
    pub(super) fn note_of_user(&mut self, action: &'static str, user: UserId, more: Fields) {
        let active = self.people.memberships(user).filter(|member| member.is_active);
        let mut concerned: Vec<Option<OrganizationId>> = active.map(|member| Some(member.organization)).collect();
        if concerned.is_empty() || self.people.user(user).is_some_and(|user| user.is_administrator) {
            concerned.push(None);
        }
        for organization in concerned {
            self.organization = organization;
            let after = Fields::default().with("user", user.to_string()).and(more.clone());
            self.note(action, Fields::default(), after);
        }
    }
}

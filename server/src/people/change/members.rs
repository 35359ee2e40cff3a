//! Members of organizations.

use metergate_rules::audit::Fields;
use metergate_rules::role::Role;

use super::{Changing, MOST_MEMBERS, MOST_ORGANIZATIONS, PeopleReply, conflict, unknown};
use crate::people::email::Email;
use crate::people::token::TokenHash;
use crate::people::{Member, PersonRow, UserId};
use crate::store::StoreError;

impl Changing {
    pub(super) fn may_change(&self, before: Option<Role>, after: Option<Role>) -> Result<(), StoreError> {
        if self.role.may_change(before, after) { Ok(()) } else { Err(StoreError::Forbidden) }
    }

    fn member(&self, user: UserId) -> Result<Member, StoreError> {
        self.people.member(self.organization()?, user).copied().ok_or_else(unknown)
    }

    /// The change must leave an owner who can sign in and act.
    fn keeps_an_owner(&self, had: usize) -> Result<(), StoreError> {
        if had > 0 && self.people.active_owners(self.organization()?) == 0 {
            return conflict("last-owner", "An organization keeps at least one active owner: make another one first.");
        }
        Ok(())
    }

    pub(super) fn join(&mut self, user: UserId, role: Role) -> Result<(), StoreError> {
        let organization = self.organization()?;
        if self.people.member(organization, user).is_some() {
            return conflict("already-member", "They are a member already: change their role.");
        } else if self.people.members_after(organization, None).nth(MOST_MEMBERS - 1).is_some() {
            return conflict("too-many-members", "The organization has as many members as it may.");
        } else if self.people.memberships(user).nth(MOST_ORGANIZATIONS - 1).is_some() {
            return conflict("too-many-organizations", "They are a member of as many organizations as they may be.");
        }
        let member = Member { organization, user, role, is_active: true, created_at: self.now };
        self.put(PersonRow::Member(member));
        let after = self.fields(&member);
        self.note("member.add", Fields::default(), after);
        Ok(())
    }

    /// Anybody can register with any address, and whoever opens an invitation has shown nothing but that they have it. So only
    /// somebody whose address is known to be theirs becomes a member without being asked, and nobody becomes a user by it.
    pub(super) fn add_member(&mut self, email: &Email, role: Role, link: TokenHash) -> Result<PeopleReply, StoreError> {
        let known = self.people.user_by_email(email).map(|user| user.id);
        let Some(user) = known.filter(|user| self.people.is_verified(*user)) else {
            return self.invite(email, role, link);
        };
        self.may_change(None, Some(role))?;
        self.join(user, role)?;
        Ok(PeopleReply::User(user, false))
    }

    pub(super) fn change_member(
        &mut self,
        user: UserId,
        role: Option<Role>,
        is_active: Option<bool>,
    ) -> Result<PeopleReply, StoreError> {
        let old = self.member(user)?;
        let new = Member { role: role.unwrap_or(old.role), is_active: is_active.unwrap_or(old.is_active), ..old };
        self.may_change(Some(old.role), Some(new.role))?;
        if new != old {
            let had = self.people.active_owners(old.organization);
            self.put(PersonRow::Member(new));
            self.keeps_an_owner(had)?;
            let (before, after) = (self.fields(&old), self.fields(&new));
            self.note("member.change", before, after);
        }
        Ok(PeopleReply::User(user, false))
    }

    pub(super) fn remove_member(&mut self, user: UserId) -> Result<PeopleReply, StoreError> {
        let old = self.member(user)?;
        self.may_change(Some(old.role), None)?;
        let had = self.people.active_owners(old.organization);
        let before = self.fields(&old);
        self.put(PersonRow::MemberGone(old.organization, user));
        if self.people.choice(&old).is_some() {
            self.put(PersonRow::ChoiceGone(old.organization, user));
        }
        self.keeps_an_owner(had)?;
        self.note("member.remove", before, Fields::default());
        Ok(PeopleReply::Done)
    }

    fn fields(&self, member: &Member) -> Fields {
        let user = self.people.user(member.user);
        Fields::default()
            .with("user", member.user.to_string())
            .with("email", user.map(|user| user.email.as_str()))
            .with("name", user.map(|user| user.name.as_str()))
            .with("role", member.role.as_str())
            .with("active", member.is_active)
    }
}

//! Members of organizations, and those who are invited to be.

use std::collections::BTreeSet;

use metergate_rules::audit::Fields;
use metergate_rules::id::OrganizationId;
use metergate_rules::role::Role;

use super::{Changing, MOST_MAILED, MOST_MEMBERS, MOST_ORGANIZATIONS, PeopleReply, conflict, spent, unknown};
use crate::people::email::Email;
use crate::people::token::TokenHash;
use crate::people::{INVITATION, Link, Member, Opens, PersonRow, UserId};
use crate::store::StoreError;

impl Changing {
    fn may_change(&self, before: Option<Role>, after: Option<Role>) -> Result<(), StoreError> {
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

    fn join(&mut self, user: UserId, role: Role) -> Result<(), StoreError> {
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
        self.keeps_an_owner(had)?;
        self.note("member.remove", before, Fields::default());
        Ok(PeopleReply::Done)
    }

    /// A further invitation of the same address takes the place of the first.
    pub(super) fn invite(&mut self, email: &Email, role: Role, token: TokenHash) -> Result<PeopleReply, StoreError> {
        self.may_change(None, Some(role))?;
        let organization = self.organization()?;
        let known = self.people.user_by_email(email).map(|user| user.id);
        if known.is_some_and(|user| self.people.member(organization, user).is_some()) {
            return conflict("already-member", "They are a member already: change their role.");
        }
        let of = |opens: &Opens| matches!(opens, Opens::Invitation { organization: of, .. } if *of == organization);
        if self.people.links().filter(|link| of(&link.opens) && self.now < link.expires_at).count() >= MOST_MEMBERS {
            return conflict("too-many-invitations", "As many invitations are open as may be.");
        }
        self.may_mail(organization, email)?;
        let opens = Opens::Invitation { organization, email: email.clone(), role };
        let same = |old: &Opens| is_invitation(old, organization, email);
        self.forget_invitation(organization, email);
        self.post(opens.clone());
        let link = self.make_link(Link { token, opens, expires_at: self.now.plus(INVITATION) }, same);
        let after = Fields::default().with("email", email.as_str()).with("role", role.as_str());
        self.note("member.invite", Fields::default(), after.with("expiresAt", link.expires_at));
        Ok(PeopleReply::Link(link))
    }

    /// Anybody can register, and an invitation goes to anybody in the operator's name. So a member who has one mailed can be reached
    /// themselves, and only so many are open.
    fn may_mail(&self, organization: OrganizationId, email: &Email) -> Result<(), StoreError> {
        let Some(user) = self.by.filter(|_| self.mails) else { return Ok(()) };
        if !self.people.is_verified(user) {
            let detail = "Confirm your own e-mail address before you invite others: a link was mailed to you, and is again on request.";
            return Err(StoreError::Catalogue { code: "email-not-verified", status: 403, detail: detail.to_owned() });
        }
        let open = self.people.links().filter(|link| self.now < link.expires_at);
        let invited: BTreeSet<&Email> = open.filter_map(|link| invited(&link.opens, organization)).collect();
        if invited.len() >= MOST_MAILED && !invited.contains(email) {
            return conflict(
                "too-many-invitations",
                "100 invitations are open, as many as may be: wait until some are accepted or over, or ask an operator.",
            );
        }
        Ok(())
    }

    pub(super) fn accept(&mut self, link: TokenHash, user: UserId) -> Result<PeopleReply, StoreError> {
        let opens = self.people.link(&link, self.now).map(|link| link.opens.clone());
        let Some(Opens::Invitation { organization, email, role }) = opens else { return Err(spent()) };
        if self.user(user)?.email != email {
            let detail = "The invitation is for another e-mail address.".to_owned();
            return Err(StoreError::Catalogue { code: "not-invited", status: 403, detail });
        }
        self.organization = Some(organization);
        // The one that was sent goes with the one that was passed on: who is removed again does not come back by it.
        let all = self.people.links().filter(|link| is_invitation(&link.opens, organization, &email));
        let all: Vec<TokenHash> = all.map(|link| link.token).collect();
        all.into_iter().for_each(|token| self.put(PersonRow::LinkGone(token)));
        self.forget_invitation(organization, &email);
        self.join(user, role)?;
        Ok(PeopleReply::User(user, false))
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

/// Who is invited to this organization by what a link opens.
fn invited(opens: &Opens, of: OrganizationId) -> Option<&Email> {
    match opens {
        Opens::Invitation { organization, email, .. } if *organization == of => Some(email),
        _ => None,
    }
}

fn is_invitation(opens: &Opens, of: OrganizationId, to: &Email) -> bool {
    matches!(opens, Opens::Invitation { organization, email, .. } if *organization == of && email == to)
}

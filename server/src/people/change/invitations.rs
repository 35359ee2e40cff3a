//! Those who are invited to be members: by whom, again, no more; and that they accept.

use std::collections::BTreeSet;
use std::sync::Arc;

use metergate_rules::audit::Fields;
use metergate_rules::id::OrganizationId;
use metergate_rules::role::Role;

use super::{Changing, MOST_MAILED, MOST_MEMBERS, PeopleReply, conflict, spent, unknown};
use crate::people::email::Email;
use crate::people::token::TokenHash;
use crate::people::{INVITATION, InvitationId, Link, Opens, PersonRow, UserId};
use crate::store::StoreError;

impl Changing {
    /// A further invitation of the same address takes the place of the first.
    pub(super) fn invite(&mut self, email: &Email, role: Role, token: TokenHash) -> Result<PeopleReply, StoreError> {
        let organization = self.organization()?;
        let same = |link: &&Arc<Link>| is_invitation(&link.opens, organization, email);
        let old = self.people.invitation_links(organization, self.now).find(same).cloned();
        // What takes the place of an invitation ends it: so one needs the right to both.
        self.may_change(old.as_ref().and_then(|link| role_of(&link.opens)), Some(role))?;
        let known = self.people.user_by_email(email).map(|user| user.id);
        if known.is_some_and(|user| self.people.member(organization, user).is_some()) {
            return conflict("already-member", "They are a member already: change their role.");
        } else if self.people.invitations_after(organization, None, self.now).count() >= MOST_MEMBERS {
            return conflict(
                "too-many-invitations",
                "As many invitations are open as may be: withdraw some, or wait until some are accepted or over.",
            );
        }
        self.may_mail(organization, email)?;
        let (id, before) = (InvitationId::new(self.now), old.as_deref().map(fields).unwrap_or_default());
        Ok(self.send(Opens::Invitation { id, organization, email: email.clone(), role }, token, before, false))
    }

    /// They have another seven days, by another link: those before it open nothing any more.
    pub(super) fn invite_again(&mut self, id: InvitationId, token: TokenHash) -> Result<PeopleReply, StoreError> {
        let link = self.invitation(id)?;
        let Opens::Invitation { organization, email, role, .. } = &link.opens else { return Err(unknown()) };
        self.may_change(None, Some(*role))?;
        self.may_mail(*organization, email)?;
        Ok(self.send(link.opens.clone(), token, fields(&link), true))
    }

    /// Its links open nothing any more, and it is not mailed if it has not been yet.
    pub(super) fn withdraw(&mut self, id: InvitationId) -> Result<PeopleReply, StoreError> {
        let link = self.invitation(id)?;
        let Opens::Invitation { organization, email, role, .. } = &link.opens else { return Err(unknown()) };
        self.may_change(Some(*role), None)?;
        self.end_invitation(*organization, email);
        self.note("member.invite", fields(&link), Fields::default());
        Ok(PeopleReply::Done)
    }

    /// A link of an invitation of this organization that is open.
    fn invitation(&self, id: InvitationId) -> Result<Arc<Link>, StoreError> {
        self.people.invitation(self.organization()?, id, self.now).cloned().ok_or_else(unknown)
    }

    fn send(&mut self, opens: Opens, token: TokenHash, before: Fields, is_again: bool) -> PeopleReply {
        let whom = match &opens {
            Opens::Invitation { organization, email, .. } => Some((*organization, email.clone())),
            _ => None,
        };
        if let Some((organization, email)) = &whom {
            self.forget_invitation(*organization, email);
        }
        self.post(opens.clone());
        let link = self.link(token, opens, self.now.plus(INVITATION));
        let link = self.make_link(link, |old| whom.as_ref().is_some_and(|(of, email)| is_invitation(old, *of, email)));
        let after = fields(&link);
        self.note("member.invite", before, if is_again { after.with("again", true) } else { after });
        PeopleReply::Link(link)
    }

    /// The link that was sent goes with the one that was passed on.
    fn end_invitation(&mut self, organization: OrganizationId, email: &Email) {
        let all = self.people.links().filter(|link| is_invitation(&link.opens, organization, email));
        let all: Vec<TokenHash> = all.map(|link| link.token).collect();
        all.into_iter().for_each(|token| self.put(PersonRow::LinkGone(token)));
        self.forget_invitation(organization, email);
    }

    /// Anybody can register, and an invitation goes to anybody in the operator's name. So a member who has one mailed can be reached
    /// themselves, and only so many are open.
    fn may_mail(&self, organization: OrganizationId, email: &Email) -> Result<(), StoreError> {
        let Some(user) = self.by.filter(|_| self.mails) else { return Ok(()) };
        if !self.people.is_verified(user) {
            let detail = "Confirm your own e-mail address before you invite others: a link was mailed to you, and is again on request.";
            return Err(StoreError::Catalogue { code: "email-not-verified", status: 403, detail: detail.to_owned() });
        }
        let open = self.people.invitation_links(organization, self.now);
        let invited: BTreeSet<&Email> = open.filter_map(|link| invited(&link.opens)).collect();
        if invited.len() >= MOST_MAILED && !invited.contains(email) {
            return conflict(
                "too-many-invitations",
                "100 invitations are open, as many as may be: withdraw some, wait until some are accepted or over, or ask an operator.",
            );
        }
        Ok(())
    }

    pub(super) fn accept(&mut self, link: TokenHash, user: UserId) -> Result<PeopleReply, StoreError> {
        let opens = self.people.link(&link, self.now).map(|link| link.opens.clone());
        let Some(Opens::Invitation { organization, email, role, .. }) = opens else { return Err(spent()) };
        if self.user(user)?.email != email {
            let detail = "The invitation is for another e-mail address.".to_owned();
            return Err(StoreError::Catalogue { code: "not-invited", status: 403, detail });
        }
        self.organization = Some(organization);
        // Who is removed again does not come back by a link that is left.
        self.end_invitation(organization, &email);
        self.join(user, role)?;
        Ok(PeopleReply::User(user, false))
    }
}

/// What the audit log keeps of an invitation.
fn fields(link: &Link) -> Fields {
    let Opens::Invitation { email, role, .. } = &link.opens else { return Fields::default() };
    let fields = Fields::default().with("email", email.as_str()).with("role", role.as_str());
    fields.with("expiresAt", link.expires_at)
}

/// The role that an invitation gives.
const fn role_of(opens: &Opens) -> Option<Role> {
    match opens {
        Opens::Invitation { role, .. } => Some(*role),
        _ => None,
    }
}

/// Who is invited by what a link opens.
const fn invited(opens: &Opens) -> Option<&Email> {
    match opens {
        Opens::Invitation { email, .. } => Some(email),
        _ => None,
    }
}

fn is_invitation(opens: &Opens, of: OrganizationId, to: &Email) -> bool {
    matches!(opens, Opens::Invitation { organization, email, .. } if *organization == of && email == to)
}

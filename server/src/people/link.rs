//! Links that open something once, and the invitations among them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use metergate_rules::id::OrganizationId;
use metergate_rules::role::Role;
use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};

use super::email::Email;
use super::token::TokenHash;
use super::{People, User, UserId};

/// The identity of an invitation: a UUID of version 7. It stays the same when it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InvitationId(pub [u8; 16]);

impl InvitationId {
    /// A new one.
    pub fn new(now: Time) -> Self {
        Self(UserId::new(now).0)
    }

    /// The invitation of a text, in the form of a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        UserId::parse(text).map(|id| Self(id.0))
    }
}

impl std::fmt::Display for InvitationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&UserId(self.0), f)
    }
}

/// A link that opens something once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The hash of its token.
    pub token: TokenHash,
    /// What it opens.
    pub opens: Opens,
    /// From when it opens nothing.
    pub expires_at: Time,
    /// Who had it made, as the audit log names them.
    pub made_by: Arc<str>,
    /// When they did.
    pub made_at: Time,
}

/// What a link opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opens {
    /// Membership, for whoever has this address.
    Invitation {
        /// Which invitation: the link that is shown and the one that is mailed are of one.
        id: InvitationId,
        /// Of which organization.
        organization: OrganizationId,
        /// For whom.
        email: Email,
        /// With which role.
        role: Role,
    },
    /// A session.
    SignIn(UserId),
    /// A session, once a new password is chosen.
    Reset(UserId),
    /// That this address is the user's own.
    Verify(UserId, Email),
}

impl Opens {
    /// The user for whom it is; an invitation is for an address.
    pub const fn user(&self) -> Option<UserId> {
        match self {
            Self::SignIn(user) | Self::Reset(user) | Self::Verify(user, _) => Some(*user),
            Self::Invitation { .. } => None,
        }
    }

    /// The invitation that it accepts, with its organization.
    pub const fn invitation(&self) -> Option<(OrganizationId, InvitationId)> {
        match self {
            Self::Invitation { id, organization, .. } => Some((*organization, *id)),
            _ => None,
        }
    }

    /// The user who signs in by it, with no password or with another one.
    pub const fn signs_in(&self) -> Option<UserId> {
        match self {
            Self::SignIn(user) | Self::Reset(user) => Some(*user),
            _ => None,
        }
    }
}

impl People {
    /// Takes in a link.
    pub(super) fn take_link(&mut self, link: &Arc<Link>) {
        self.drop_link(&link.token);
        if let Some((organization, id)) = link.opens.invitation() {
            self.invitations.insert((organization, id, link.token));
        }
        self.links.insert(link.token, Arc::clone(link));
    }

    /// Takes in that a link has gone.
    pub(super) fn drop_link(&mut self, token: &TokenHash) {
        let gone = self.links.remove(token);
        if let Some((organization, id)) = gone.and_then(|old| old.opens.invitation()) {
            self.invitations.remove(&(organization, id, *token));
        }
    }

    /// The link of a token that opens something.
    pub fn link(&self, token: &TokenHash, now: Time) -> Option<&Arc<Link>> {
        self.links.get(token).filter(|link| now < link.expires_at)
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.values()
    }

    /// The links by which users can sign in now: of each the one that lasts longest.
    pub fn sign_in_links(&self, now: Time) -> BTreeMap<UserId, &Arc<Link>> {
        let mut longest = BTreeMap::<UserId, &Arc<Link>>::new();
        for link in self.links().filter(|link| now < link.expires_at) {
            let Some(user) = link.opens.signs_in() else { continue };
            let known = longest.entry(user).or_insert(link);
            if known.expires_at < link.expires_at {
                *known = link;
            }
        }
        longest
    }

    /// Whether a user can sign in again: a session alone ends, and a link that is used up opens nothing.
    pub fn can_sign_in(&self, user: UserId) -> bool {
        self.user(user).is_some_and(|user| user.password.is_some()) || self.identities_of(user).next().is_some()
    }

    /// Whether another administrator than this one can sign in, also by a link that is open.
    pub(super) fn others_come_in(&self, than: UserId, now: Time) -> bool {
        let is_other = |user: &User| user.is_administrator && user.id != than;
        let mut others = self.users_after(None).filter(|user| is_other(user));
        let mut linked = self.links().filter(|link| now < link.expires_at).filter_map(|link| link.opens.signs_in());
        others.any(|user| self.can_sign_in(user.id))
            || linked.any(|user| self.user(user).is_some_and(|user| is_other(user)))
    }

    /// The links by which an organization's invitations can be accepted now: of one that was mailed there are two.
    pub(super) fn invitation_links(&self, of: OrganizationId, now: Time) -> impl Iterator<Item = &Arc<Link>> {
        self.links_of_invitations(of, Bound::Included(InvitationId([0; 16])), now)
    }

    /// The invitations of an organization that are open, after one, in the order in which they were made: of each a link.
    pub fn invitations_after(
        &self,
        of: OrganizationId,
        after: Option<InvitationId>,
        now: Time,
    ) -> impl Iterator<Item = &Arc<Link>> {
        let from = after.map_or(Bound::Included(InvitationId([0; 16])), Bound::Excluded);
        let mut last = None;
        self.links_of_invitations(of, from, now).filter(move |link| {
            let id = link.opens.invitation();
            std::mem::replace(&mut last, id) != id
        })
    }

    /// A link of an invitation that is open.
    pub fn invitation(&self, of: OrganizationId, id: InvitationId, now: Time) -> Option<&Arc<Link>> {
        let next = self.links_of_invitations(of, Bound::Included(id), now).next();
        next.filter(|link| link.opens.invitation() == Some((of, id)))
    }

    fn links_of_invitations(
        &self,
        of: OrganizationId,
        from: Bound<InvitationId>,
        now: Time,
    ) -> impl Iterator<Item = &Arc<Link>> {
        let from = match from {
            Bound::Excluded(id) => Bound::Excluded((of, id, TokenHash([0xff; 32]))),
            Bound::Included(id) => Bound::Included((of, id, TokenHash([0; 32]))),
            Bound::Unbounded => Bound::Included((of, InvitationId([0; 16]), TokenHash([0; 32]))),
        };
        let to = Bound::Included((of, InvitationId([0xff; 16]), TokenHash([0xff; 32])));
        self.invitations.range((from, to)).filter_map(move |(_, _, token)| self.link(token, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::PersonRow;

    #[test]
    fn an_invitation_is_listed_once_until_it_is_over_or_its_last_link_has_gone() {
        let (mut people, of, now) = (People::default(), OrganizationId([7; 16]), Time::from_micros(1000));
        let link = |organization: [u8; 16], id: u8, token: u8, lasts: i64| {
            let (id, organization) = (InvitationId([id; 16]), OrganizationId(organization));
            let opens =
                Opens::Invitation { id, organization, email: Email::new("a@example.com").unwrap(), role: Role::Viewer };
            let (token, expires_at) = (TokenHash([token; 32]), now.plus(lasts));
            PersonRow::Link(Arc::new(Link { token, opens, expires_at, made_by: "key:a".into(), made_at: now }))
        };
        // Two links of the first, one that is over, one of a neighbour.
        for row in [
            link([7; 16], 1, 9, 50),
            link([7; 16], 1, 3, 50),
            link([7; 16], 2, 4, 0),
            link([7; 16], 3, 5, 70),
            link([8; 16], 4, 6, 70),
        ] {
            people.take(&row);
        }
        let listed = |people: &People, after: Option<u8>, now: Time| {
            let after = after.map(|id| InvitationId([id; 16]));
            let ids = people.invitations_after(of, after, now).filter_map(|link| link.opens.invitation());
            ids.map(|(_, id)| id.0[0]).collect::<Vec<_>>()
        };
        assert_eq!(listed(&people, None, now), [1, 3]);
        assert_eq!((listed(&people, Some(1), now), listed(&people, Some(3), now)), (vec![3], vec![]));
        assert_eq!(listed(&people, None, now.plus(50)), [3], "from its end on it is over");
        assert!(people.invitation(of, InvitationId([2; 16]), now).is_none());
        people.take(&PersonRow::LinkGone(TokenHash([9; 32])));
        assert_eq!(listed(&people, None, now), [1, 3], "its other link is there");
        people.take(&PersonRow::LinkGone(TokenHash([3; 32])));
        assert_eq!(listed(&people, None, now), [3]);
        assert!(people.invitation(of, InvitationId([3; 16]), now).is_some());
        assert_eq!(people.invitation_links(of, now).count(), 1);
    }
}

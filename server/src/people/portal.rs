//! Portals: the application lets somebody of one organization look into it, by a link that opens once and the session that
//! comes of it.

use metergate_rules::id::OrganizationId;
use metergate_rules::role::{Right, Role};
use metergate_rules::time::{HOUR, SECOND, Time};
use serde::{Deserialize, Serialize};

use super::token::TokenHash;
use super::{People, UserId};

/// How long a link can be opened at most, and where nothing is said, in microseconds.
pub const MOST_PORTAL_LINK: i64 = 900 * SECOND;
/// How long the session lasts that comes of it, in microseconds.
pub const PORTAL_SESSION: i64 = HOUR;

/// The identity of a portal: a UUID of version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortalId(pub [u8; 16]);

impl PortalId {
    /// A new one.
    pub fn new(now: Time) -> Self {
        Self(UserId::new(now).0)
    }

    /// The portal of a text, in the form of a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        UserId::parse(text).map(|id| Self(id.0))
    }
}

impl std::fmt::Display for PortalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&UserId(self.0), f)
    }
}

/// How far a portal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Its token is in a link, which opens it.
    Link,
    /// It was opened: its token is a session's.
    Session,
}

/// A look into one organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portal {
    /// Which it is; the same before and after it is opened.
    pub id: PortalId,
    /// The hash of its token now.
    pub token: TokenHash,
    /// Where it leads.
    pub organization: OrganizationId,
    /// The member for whom it is; without one it only reads.
    pub member: Option<UserId>,
    /// How far it is.
    pub stage: Stage,
    /// When the link was made.
    pub created_at: Time,
    /// From when the token is refused.
    pub expires_at: Time,
}

impl Portal {
    /// What it allows now; `None` where its member is one no more.
    pub fn role(&self, people: &People) -> Option<Role> {
        role(people, self.organization, self.member)
    }
}

/// A portal has the rights of its member, but never an owner's: admins make the keys that make portals, so that they could
/// become owners by one. Without a member it reads.
pub fn role(people: &People, organization: OrganizationId, member: Option<UserId>) -> Option<Role> {
    member.map_or(Some(Role::Viewer), |user| people.role(organization, user).map(|role| role.min(Role::Admin)))
}

/// Whether somebody in a portal can have this right at all: they are no person who is signed in.
pub fn can_have(right: Right) -> bool {
    right != Right::Person && right.is_of_member(Role::Admin)
}

//! Who asks, and what they may reach.

use std::sync::Arc;

use metergate_rules::id::OrganizationId;
use metergate_rules::role::{Right, Role};

use super::StoreError;
use crate::people::{People, UserId, portal};

/// What a credential may reach. Only authentication makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every organization.
    Team,
    /// This one; all others do not exist for it.
    Organization(OrganizationId),
    /// Those of which this user is a member with this right.
    Member {
        /// Who.
        user: UserId,
        /// What is needed.
        right: Right,
    },
    /// The organization of this portal, with this right of the member for whom it is.
    Portal {
        /// Where it leads.
        organization: OrganizationId,
        /// For whom; without a member it only reads.
        member: Option<UserId>,
        /// What is needed.
        right: Right,
    },
}

impl Scope {
    /// Whether the caller may reach this organization, with everybody as they are now.
    ///
    /// # Errors
    /// [`StoreError::UnknownOrganization`] where it does not exist for the caller, [`StoreError::Forbidden`] where their role
    /// in it does not suffice.
    pub fn admits(self, organization: OrganizationId, people: &People) -> Result<(), StoreError> {
        let right = match self {
            Self::Team => return Ok(()),
            Self::Organization(own) if own == organization => return Ok(()),
            Self::Organization(_) => return Err(StoreError::UnknownOrganization),
            Self::Member { right, .. } | Self::Portal { right, .. } => right,
        };
        match self.role(organization, people) {
            None => Err(StoreError::UnknownOrganization),
            Some(role) if right.is_of_member(role) => Ok(()),
            Some(_) => Err(StoreError::Forbidden),
        }
    }

    /// The role of a member, or of somebody in a portal; `None` for what is neither there.
    pub fn role(self, organization: OrganizationId, people: &People) -> Option<Role> {
        match self {
            Self::Team | Self::Organization(_) => None,
            Self::Member { user, .. } => people.role(organization, user),
            Self::Portal { organization: own, member, .. } if own == organization => {
                portal::role(people, organization, member)
            }
            Self::Portal { .. } => None,
        }
    }

    /// The member who asks, or for whom the portal is; `None` where it is nobody's of the organization.
    pub const fn member(self) -> Option<UserId> {
        match self {
            Self::Member { user, .. } => Some(user),
            Self::Portal { member, .. } => member,
            Self::Team | Self::Organization(_) => None,
        }
    }

    /// Whether it is of somebody of the organization, and so no operator's.
    pub const fn is_of_member(self) -> bool {
        matches!(self, Self::Member { .. } | Self::Portal { .. })
    }

    /// Whether the caller may change nothing while an organization is locked.
    pub const fn stops_at_locks(self) -> bool {
        matches!(self, Self::Member { right, .. } | Self::Portal { right, .. } if right.changes())
    }
}

/// Who asks for what.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What the credential may reach.
    pub scope: Scope,
    /// Who it is for the audit log, such as `key:backend`.
    pub actor: Arc<str>,
}

impl Caller {
    /// Whether it is a member of the organization, and so no operator.
    pub const fn is_member(&self) -> bool {
        self.scope.is_of_member()
    }
}

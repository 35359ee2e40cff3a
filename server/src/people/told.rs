//! Who of an organization is told by mail what happens to it (N5).

use metergate_rules::id::OrganizationId;
use metergate_rules::role::Role;

use super::{People, UserId};

/// How many are told of one thing at most.
const MOST: usize = 20;
/// What a delivery to one of them is to in place of an endpoint, before the user's id.
const PREFIX: &str = "mail:";

impl People {
    /// The owners and admins of an organization who are active and whose address is known to be their own: whoever registers with
    /// somebody else's has nothing sent there.
    pub fn told_by_mail(&self, organization: OrganizationId) -> impl Iterator<Item = UserId> {
        let members = self.members_after(organization, None).map(|(member, _)| member);
        let leads = members.filter(|member| member.is_active && matches!(member.role, Role::Owner | Role::Admin));
        leads.map(|member| member.user).filter(|user| self.is_verified(*user)).take(MOST)
    }
}

/// To what a delivery is that goes to a user by mail.
pub fn delivered_to(user: UserId) -> String {
    format!("{PREFIX}{user}")
}

/// The user to whom such a delivery goes.
pub fn user_of(delivered_to: &str) -> Option<UserId> {
    UserId::parse(delivered_to.strip_prefix(PREFIX)?)
}

//! Who of an organization is told by mail what happens to it (N5).

use std::cmp::Reverse;

use metergate_rules::id::OrganizationId;
use metergate_rules::notice::Topic;
use metergate_rules::role::Role;

use super::{Member, People, UserId};

/// How many are told of one thing at most.
const MOST: usize = 20;
/// What a delivery to one of them is to in place of an endpoint, before the user's id.
const PREFIX: &str = "mail:";

impl People {
    /// The members of an organization who want to be told of this, are active and no viewers, and whose address is known to be their
    /// own: whoever registers with somebody else's has nothing sent there. Where they are many those of the highest roles are told.
    pub fn told_by_mail(&self, organization: OrganizationId, topic: Topic) -> impl Iterator<Item = UserId> {
        let members = self.members_after(organization, None).map(|(member, _)| member);
        let mut told: Vec<&Member> = members.filter(|member| self.is_told(member, topic)).collect();
        told.sort_by_key(|member| Reverse(member.role));
        told.into_iter().map(|member| member.user).take(MOST)
    }

    /// Whether a member wants to be told of this by mail, and can be.
    pub fn is_told(&self, member: &Member, topic: Topic) -> bool {
        self.is_reached(member) && self.wants(member, topic)
    }

    /// Whether a member can be told anything by mail, as far as it depends on them.
    pub fn is_reached(&self, member: &Member) -> bool {
        member.is_active && member.role >= Role::Editor && self.is_verified(member.user)
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

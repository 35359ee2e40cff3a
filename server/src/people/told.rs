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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metergate_rules::time::Time;

    use super::*;
    use crate::people::choice::{MailChoice, Membership};
    use crate::people::identity::Verified;
    use crate::people::{Email, PersonRow, User};

    const OF: OrganizationId = OrganizationId([7; 16]);
    const AT: Time = Time::from_micros(1000);

    /// Members who have these roles and whose addresses are their own, in the order of their ids.
    fn members(roles: &[Role]) -> (People, Vec<Member>) {
        let (mut people, mut all) = (People::default(), Vec::new());
        for (nth, role) in (1..).zip(roles) {
            let (id, email) = (UserId([nth; 16]), Email::new(&format!("p{nth}@nowhere.example")).unwrap());
            let (name, password) = (format!("P{nth}"), None);
            let user = User { id, email: email.clone(), name, password, is_administrator: false, created_at: AT };
            let member = Member { organization: OF, user: id, role: *role, is_active: true, created_at: AT };
            people.take(&PersonRow::User(Arc::new(user)));
            people.take(&PersonRow::Verified(Arc::new(Verified { user: id, email, at: AT })));
            people.take(&PersonRow::Member(member));
            all.push(member);
        }
        (people, all)
    }

    fn chooses(people: &mut People, member: &Member, wanted: bool) {
        let chosen = Topic::ALL.into_iter().map(|topic| (topic, wanted)).collect();
        let choice = MailChoice { organization: OF, user: member.user, chosen };
        people.take(&PersonRow::Choice(Arc::new(choice)));
    }

    #[test]
    fn an_owner_is_told_however_many_editors_want_to_be_told_too() {
        let roles: Vec<Role> = std::iter::repeat_n(Role::Editor, MOST + 5).chain([Role::Owner]).collect();
        let (mut people, all) = members(&roles);
        all.iter().for_each(|member| chooses(&mut people, member, true));
        let told: Vec<UserId> = people.told_by_mail(OF, Topic::Lock).collect();
        assert_eq!((told.len(), told[0]), (MOST, all[MOST + 5].user));
        assert_eq!(told[1..], all[..MOST - 1].iter().map(|member| member.user).collect::<Vec<_>>());
    }

    #[test]
    fn who_has_refused_all_gets_no_mail_and_neither_does_a_stranger() {
        let (mut people, all) = members(&[Role::Owner, Role::Editor]);
        let [one, other] = [Membership::of(&all[0]), Membership::of(&all[1])];
        assert!(![one, other].iter().any(|of| people.gets_no_mail(of)), "editors may get them with another role");
        chooses(&mut people, &all[0], false);
        assert!(people.gets_no_mail(&one));
        assert!(!people.gets_no_mail(&other));
        assert!(people.gets_no_mail(&Membership { organization: OrganizationId([8; 16]), ..other }));
        assert!(people.gets_no_mail(&Membership { since: AT.plus(-1), ..other }), "that one is over");
    }
}

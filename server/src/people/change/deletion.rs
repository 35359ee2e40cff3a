//! Who was in an organization that is deleted.

use metergate_rules::id::OrganizationId;

use crate::people::{Member, Opens, People, PersonRow, UserId};

/// The next of the people who leave an organization that is deleted: its members, and all who are in no other organization
/// with everything of theirs; its invitations. About `most` rows.
pub fn leave(people: &mut People, organization: OrganizationId, most: usize) -> Vec<PersonRow> {
    let mut rows = Vec::new();
    let members: Vec<Member> = people.members_after(organization, None).map(|(member, _)| *member).take(most).collect();
    for member in members {
        if rows.len() >= most {
            break;
        }
        put(people, &mut rows, PersonRow::MemberGone(organization, member.user));
        let is_elsewhere = people.memberships(member.user).next().is_some();
        if !is_elsewhere && people.user(member.user).is_some_and(|user| !user.is_administrator) {
            forget(people, &mut rows, member.user);
        }
    }
    let gone = |opens: &Opens| match opens {
        Opens::Invitation { organization: of, .. } => *of == organization,
        Opens::SignIn(user) => people.user(*user).is_none(),
    };
    let room = most.saturating_sub(rows.len());
    let links: Vec<_> = people.links().filter(|link| gone(&link.opens)).map(|link| link.token).take(room).collect();
    links.into_iter().for_each(|token| put(people, &mut rows, PersonRow::LinkGone(token)));
    rows
}

/// A user goes with their sessions; links that would sign them in open nothing.
fn forget(people: &mut People, rows: &mut Vec<PersonRow>, user: UserId) {
    let sessions: Vec<_> = people.sessions_of(user).map(|session| session.token).collect();
    sessions.into_iter().for_each(|token| put(people, rows, PersonRow::SessionGone(token)));
    put(people, rows, PersonRow::UserGone(user));
}

fn put(people: &mut People, rows: &mut Vec<PersonRow>, row: PersonRow) {
    people.take(&row);
    rows.push(row);
}

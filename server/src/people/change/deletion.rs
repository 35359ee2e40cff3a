//! Who was in an organization that is deleted.

use metergate_rules::id::OrganizationId;

use crate::people::{Member, Opens, People, PersonRow, UserId};

/// The next of the people who leave an organization that is deleted: its members, and all who are in no other organization
/// with everything of theirs; its portals and invitations. About `most` rows.
pub fn leave(people: &mut People, organization: OrganizationId, most: usize) -> Vec<PersonRow> {
    let mut rows = Vec::new();
    let members: Vec<Member> = people.members_after(organization, None).map(|(member, _)| *member).take(most).collect();
    for member in members {
        if rows.len() >= most {
            break;
        }
        put(people, &mut rows, PersonRow::MemberGone(organization, member.user));
        if people.choice(&member).is_some() {
            put(people, &mut rows, PersonRow::ChoiceGone(organization, member.user));
        }
        let is_elsewhere = people.memberships(member.user).next().is_some();
        if !is_elsewhere && people.user(member.user).is_some_and(|user| !user.is_administrator) {
            forgotten(people, member.user).into_iter().for_each(|row| put(people, &mut rows, row));
        }
    }
    let room = most.saturating_sub(rows.len());
    let portals: Vec<_> = people.portals_of(organization).map(|portal| portal.token).take(room).collect();
    portals.into_iter().for_each(|token| put(people, &mut rows, PersonRow::PortalGone(token)));
    let gone = |opens: &Opens, people: &People| match opens {
        Opens::Invitation { organization: of, .. } => *of == organization,
        opens => opens.user().is_none_or(|user| people.user(user).is_none()),
    };
    let room = most.saturating_sub(rows.len());
    let links: Vec<_> =
        people.links().filter(|link| gone(&link.opens, people)).map(|link| link.token).take(room).collect();
    links.into_iter().for_each(|token| put(people, &mut rows, PersonRow::LinkGone(token)));
    let room = most.saturating_sub(rows.len());
    let letters: Vec<_> = people.letters().filter(|it| gone(it.opens(), people)).map(|it| it.id).take(room).collect();
    letters.into_iter().for_each(|id| put(people, &mut rows, PersonRow::LetterGone(id)));
    rows
}

/// What goes with a user: sessions, what providers know of them, that their address is theirs, and at last the user. Links that
/// are for them open nothing then.
pub(super) fn forgotten(people: &People, user: UserId) -> Vec<PersonRow> {
    let sessions = people.sessions_of(user).map(|session| PersonRow::SessionGone(session.token));
    let identities = people.identities_of(user).map(|key| PersonRow::IdentityGone(key.clone()));
    let rest = [PersonRow::VerifiedGone(user), PersonRow::UserGone(user)];
    sessions.chain(identities).chain(rest).collect()
}

fn put(people: &mut People, rows: &mut Vec<PersonRow>, row: PersonRow) {
    people.take(&row);
    rows.push(row);
}

//! Platform administrators.

use std::sync::Arc;

use metergate_rules::audit::Fields;

use super::deletion::forgotten;
use super::{Changing, PeopleReply, conflict, unknown};
use crate::people::token::TokenHash;
use crate::people::{Opens, PersonRow, User, UserId};
use crate::store::StoreError;

impl Changing {
    /// Anybody can register with any address. So whoever had one before signs in anew, by the link: only whom the caller hands it
    /// becomes an administrator, and no password takes the place of one without its owner's knowing. What providers said of them
    /// before counts no more; that the address is theirs, the caller answers for.
    pub(super) fn add_administrator(
        &mut self,
        candidate: &Arc<User>,
        link: TokenHash,
    ) -> Result<PeopleReply, StoreError> {
        let known = self.people.user_by_email(&candidate.email).cloned();
        if known.as_ref().is_some_and(|user| user.is_administrator) {
            return conflict(
                "already-administrator",
                "They are a platform administrator already. A link for another password lets them in: `metergate admin reset`.",
            );
        } else if known.is_some() && candidate.password.is_some() {
            return conflict(
                "email-taken",
                "There is a user with this e-mail address. Send no password: they choose one by the link in the answer.",
            );
        }
        let user = match known {
            Some(known) => User { password: candidate.password.clone(), is_administrator: true, ..(*known).clone() },
            None => (**candidate).clone(),
        };
        let (id, has_password) = (user.id, user.password.is_some());
        let after = fields(&user);
        self.end_sessions(id);
        if self.people.is_verified(id) {
            self.forget_identities(id);
        } else {
            self.take_over(id);
        }
        self.new_user(&Arc::new(user))?;
        self.note_verified(id);
        if !has_password {
            self.link_for(Opens::SignIn(id), link);
        }
        self.note("member.add", Fields::default(), after);
        Ok(PeopleReply::User(id, !has_password))
    }

    /// Their sessions end. Who is in no organization goes altogether. One stays who can come in: whoever is invited alone, and has
    /// no link any more, is none.
    pub(super) fn remove_administrator(&mut self, id: UserId) -> Result<PeopleReply, StoreError> {
        let user = self.people.user(id).filter(|user| user.is_administrator).cloned().ok_or_else(unknown)?;
        if !self.people.others_come_in(id, self.now) {
            return conflict(
                "last-administrator",
                "A team keeps at least one platform administrator who can sign in: add another one first, or have one who was added choose a password by a new link.",
            );
        }
        self.end_sessions(id);
        if self.people.memberships(id).next().is_none() {
            forgotten(&self.people, id).into_iter().for_each(|row| self.put(row));
        } else {
            self.put(PersonRow::User(Arc::new(User { is_administrator: false, ..(*user).clone() })));
        }
        self.note("member.remove", fields(&user), Fields::default());
        Ok(PeopleReply::Done)
    }
}

fn fields(user: &User) -> Fields {
    Fields::default()
        .with("user", user.id.to_string())
        .with("email", user.email.as_str())
        .with("name", user.name.as_str())
        .with("role", "administrator")
}

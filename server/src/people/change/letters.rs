//! Mails: who asks for one, and what becomes of it.

use std::sync::Arc;

use metergate_rules::audit::Fields;
use metergate_rules::id::OrganizationId;

use super::{Changing, PeopleReply, conflict};
use crate::people::email::Email;
use crate::people::letter::{Letter, LetterId, MOST_LETTERS};
use crate::people::token::TokenHash;
use crate::people::{Link, Opens, PersonRow, SIGN_IN_LINK, UserId};
use crate::store::StoreError;

impl Changing {
    /// A link that opens this is to be sent, where mail is. Whether that is new: of what waits already nothing more is sent.
    pub(super) fn post(&mut self, opens: Opens) -> bool {
        if !self.mails || self.people.letters().any(|letter| *letter.opens() == opens) {
            return false;
        } else if self.people.letters().count() >= MOST_LETTERS {
            tracing::warn!("as many mails wait as may; one is not written");
            return false;
        }
        self.put(PersonRow::Letter(Arc::new(Letter::new(opens, self.now))));
        true
    }

    /// Somebody asks for another password. Nothing tells whether there is such a user.
    pub(super) fn ask_reset(&mut self, email: &Email) -> PeopleReply {
        if let Some(user) = self.people.user_by_email(email).map(|user| user.id) {
            self.ask(user, "password-reset", Opens::Reset(user));
        }
        PeopleReply::Done
    }

    /// A user asks for a link by which they show that their address is theirs.
    pub(super) fn ask_verification(&mut self, user: UserId) -> Result<PeopleReply, StoreError> {
        let email = self.user(user)?.email.clone();
        if self.people.is_verified(user) {
            return conflict("already-verified", "It is known already that the address is theirs.");
        }
        self.ask(user, "email-verification", Opens::Verify(user, email));
        Ok(PeopleReply::Done)
    }

    fn ask(&mut self, user: UserId, what: &'static str, opens: Opens) {
        if self.post(opens) {
            let after = Fields::default().with("user", user.to_string()).with("link", what);
            self.note("member.invite", Fields::default(), after.with("by", "mail"));
        }
    }

    /// An invitation that waits to be sent is not sent any more.
    pub(super) fn forget_invitation(&mut self, organization: OrganizationId, email: &Email) {
        let of = |letter: &&Arc<Letter>| matches!(letter.opens(), Opens::Invitation { organization: of, email: to, .. } if *of == organization && to == email);
        let gone: Vec<LetterId> = self.people.letters().filter(of).map(|letter| letter.id).collect();
        gone.into_iter().for_each(|id| self.put(PersonRow::LetterGone(id)));
    }

    /// A letter is about to be sent with this link, in place of the one that was in it before. One that nobody needs any more goes.
    pub(super) fn begin_letter(&mut self, id: LetterId, token: TokenHash) -> PeopleReply {
        let Some(letter) = self.people.letter(id).cloned() else { return PeopleReply::Done };
        if let Some(old) = letter.link.filter(|old| self.people.link(old, self.now).is_some()) {
            self.put(PersonRow::LinkGone(old));
        }
        let link = match letter.opens() {
            // As long as the invitation itself, which may have been accepted or taken back.
            opens @ Opens::Invitation { .. } => {
                let own = self.people.links().filter(|link| link.opens == *opens && self.now < link.expires_at);
                own.max_by_key(|link| link.expires_at).map(|own| Link { token, ..(**own).clone() })
            }
            opens if self.is_needed(opens) => Some(self.link(token, opens.clone(), self.now.plus(SIGN_IN_LINK))),
            _ => None,
        };
        let Some(link) = link.filter(|_| !letter.is_over(self.now)) else {
            self.put(PersonRow::LetterGone(id));
            return PeopleReply::Done;
        };
        // An invitation's is beside the one that the inviter has.
        let replaces = link.opens.user().map(|_| link.opens.clone());
        let link = self.make_link(link, |old| Some(old) == replaces.as_ref());
        self.put(PersonRow::Letter(Arc::new(letter.tried(token, self.now))));
        PeopleReply::Link(link)
    }

    /// Whether a user still needs the link that they asked for.
    fn is_needed(&self, opens: &Opens) -> bool {
        match opens {
            Opens::Reset(user) => self.people.user(*user).is_some(),
            Opens::Verify(user, email) => {
                self.people.user(*user).is_some_and(|it| it.email == *email) && !self.people.is_verified(*user)
            }
            Opens::Invitation { .. } | Opens::SignIn(_) => false,
        }
    }

    /// A letter was sent, or cannot be.
    pub(super) fn end_letter(&mut self, id: LetterId) -> PeopleReply {
        if self.people.letter(id).is_some() {
            self.put(PersonRow::LetterGone(id));
        }
        PeopleReply::Done
    }
}

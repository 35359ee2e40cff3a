//! What members want to be told by mail (N5), and the links by which who gets a mail wants no more.
//!
//! Such a link is good for as long as the membership: a mail may be opened after years, and whoever wants no more of them must not
//! have to sign in. So its token is not stored but made, by a key of the installation, and does nothing else.

use hmac::{Hmac, KeyInit, Mac};
use metergate_rules::id::OrganizationId;
use metergate_rules::notice::Topic;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Member, People, UserId};
use crate::hex::{hex, unhex};

/// How every token begins.
const PREFIX: &str = "mgu_";
/// Keeps what is signed here apart from all else that is signed by the same key.
const CONTEXT: &[u8] = b"metergate-no-more-mails-1";

/// What a member has chosen; of all else they are told what is usual for their role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailChoice {
    /// Of which organization.
    pub organization: OrganizationId,
    /// Who.
    pub user: UserId,
    /// What they want, and what not; each topic once.
    pub chosen: Vec<(Topic, bool)>,
}

impl MailChoice {
    /// Whether they want it, where they have chosen so or so.
    pub fn of(&self, topic: Topic) -> Option<bool> {
        self.chosen.iter().find(|(chosen, _)| *chosen == topic).map(|(_, wanted)| *wanted)
    }
}

impl People {
    /// What a member has chosen of mails, if anything.
    pub fn choice(&self, member: &Member) -> Option<&MailChoice> {
        self.choices.get(&(member.organization, member.user)).map(|choice| &**choice)
    }

    /// Whether a member wants mails about this: as they have chosen, else as is usual for their role.
    pub fn wants(&self, member: &Member, topic: Topic) -> bool {
        let chosen = self.choice(member).and_then(|choice| choice.of(topic));
        chosen.unwrap_or_else(|| topic.is_usual(member.role))
    }

    /// Whether a member has refused this, so that they are not told of it whatever their role will be.
    pub fn has_refused(&self, member: &Member, topic: Topic) -> bool {
        self.choice(member).and_then(|choice| choice.of(topic)) == Some(false)
    }

    /// Whether somebody would get no mail about an organization in any case: they refused all, or are no member.
    pub fn gets_no_mail(&self, organization: OrganizationId, user: UserId) -> bool {
        let refused_all = |member| Topic::ALL.into_iter().all(|topic| self.has_refused(member, topic));
        self.member(organization, user).is_none_or(refused_all)
    }
}

/// The token of a link by which a member wants no more mails about an organization, whoever opens it.
pub fn token(key: &[u8; 16], organization: OrganizationId, user: UserId) -> String {
    let signature = signed(key, organization, user).finalize().into_bytes();
    format!("{PREFIX}{}{}{}", hex(&organization.0), hex(&user.0), hex(&signature))
}

/// Whose token this is, if it was made by this key; compared in constant time.
pub fn read(key: &[u8; 16], token: &str) -> Option<(OrganizationId, UserId)> {
    let bytes = token.strip_prefix(PREFIX).and_then(unhex::<64>)?;
    let (organization, rest) = bytes.split_first_chunk()?;
    let (user, signature) = rest.split_first_chunk()?;
    let (organization, user) = (OrganizationId(*organization), UserId(*user));
    signed(key, organization, user).verify_slice(signature).is_ok().then_some((organization, user))
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn signed(key: &[u8; 16], organization: OrganizationId, user: UserId) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(CONTEXT);
    mac.update(&organization.0);
    mac.update(&user.0);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_members_in_one_organization_and_no_other_key_makes_it() {
        let (organization, user, key) = (OrganizationId([7; 16]), UserId([8; 16]), [9; 16]);
        let made = token(&key, organization, user);
        assert_eq!(read(&key, &made), Some((organization, user)));
        assert_eq!(read(&[10; 16], &made), None);
        for place in PREFIX.len()..made.len() {
            let mut other = made.clone().into_bytes();
            other[place] = if other[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(read(&key, std::str::from_utf8(&other).unwrap()), None, "digit {place}");
        }
        for other in ["", PREFIX, &made[..made.len() - 1], &format!("{made}0"), &made.replace(PREFIX, "mgs_")] {
            assert_eq!(read(&key, other), None, "{other}");
        }
    }
}

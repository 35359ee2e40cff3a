//! What members want to be told by mail (N5), and the links by which who gets a mail wants no more.
//!
//! Such a link is good for as long as the membership: a mail may be opened after years, and whoever wants no more of them must not
//! have to sign in. So its token is not stored but made, by a key of the installation, and does nothing else. It names the membership
//! by its beginning, so that it says nothing of one that begins anew: whoever comes back is told what is usual until they say otherwise.

use hmac::{Hmac, KeyInit, Mac};
use metergate_rules::id::OrganizationId;
use metergate_rules::notice::Topic;
use metergate_rules::time::Time;
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

    /// The membership that one is, if it still goes on.
    pub fn member_since(&self, membership: &Membership) -> Option<&Member> {
        let member = self.member(membership.organization, membership.user);
        member.filter(|member| member.created_at == membership.since)
    }

    /// Whether nobody would get a mail by a membership in any case: they refused all, or it is over.
    pub fn gets_no_mail(&self, membership: &Membership) -> bool {
        let refused_all = |member| Topic::ALL.into_iter().all(|topic| self.has_refused(member, topic));
        self.member_since(membership).is_none_or(refused_all)
    }
}

/// A membership, apart from an earlier and a later one of the same user in the same organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Where.
    pub organization: OrganizationId,
    /// Whose.
    pub user: UserId,
    /// Since when.
    pub since: Time,
}

impl Membership {
    /// The one of a member.
    pub const fn of(member: &Member) -> Self {
        Self { organization: member.organization, user: member.user, since: member.created_at }
    }

    fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&self.organization.0);
        bytes[16..32].copy_from_slice(&self.user.0);
        bytes[32..].copy_from_slice(&self.since.micros().to_be_bytes());
        bytes
    }

    /// The token of a link by which a member wants no more mails about an organization, whoever opens it.
    pub fn token(&self, key: &[u8; 16]) -> String {
        let bytes = self.bytes();
        format!("{PREFIX}{}{}", hex(&bytes), hex(&signed(key, &bytes).finalize().into_bytes()))
    }

    /// Whose token this is, if it was made by this key; compared in constant time.
    pub fn read(key: &[u8; 16], token: &str) -> Option<Self> {
        let bytes = token.strip_prefix(PREFIX).and_then(unhex::<72>)?;
        let (named, signature) = bytes.split_first_chunk::<40>()?;
        let (organization, rest) = named.split_first_chunk()?;
        let (user, since) = rest.split_first_chunk()?;
        let since = Time::from_micros(i64::from_be_bytes(since.try_into().ok()?));
        let membership = Self { organization: OrganizationId(*organization), user: UserId(*user), since };
        signed(key, named).verify_slice(signature).is_ok().then_some(membership)
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn signed(key: &[u8; 16], named: &[u8; 40]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(CONTEXT);
    mac.update(named);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_membership_and_no_other_key_makes_it() {
        let (organization, user, key) = (OrganizationId([7; 16]), UserId([8; 16]), [9; 16]);
        let membership = Membership { organization, user, since: Time::from_micros(1_795_345_560_000_001) };
        let made = membership.token(&key);
        assert_eq!(Membership::read(&key, &made), Some(membership));
        assert_ne!(Membership { since: membership.since.plus(1), ..membership }.token(&key), made);
        assert_eq!(Membership::read(&[10; 16], &made), None);
        for place in PREFIX.len()..made.len() {
            let mut other = made.clone().into_bytes();
            other[place] = if other[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(Membership::read(&key, std::str::from_utf8(&other).unwrap()), None, "digit {place}");
        }
        for other in ["", PREFIX, &made[..made.len() - 1], &format!("{made}0"), &made.replace(PREFIX, "mgs_")] {
            assert_eq!(Membership::read(&key, other), None, "{other}");
        }
    }
}

//! Who somebody is to an identity provider, and which addresses are known to be whose.

use std::sync::Arc;

use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};

use super::UserId;
use super::email::Email;

/// The longest issuer and the longest subject in bytes (OpenID Connect Core, 2: a subject has at most 255).
pub const LONGEST_ISSUER: usize = 512;
/// See [`LONGEST_ISSUER`].
pub const LONGEST_SUBJECT: usize = 255;

/// What identifies somebody at all providers: never the address, which a provider may give to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IdentityKey {
    /// The provider.
    pub issuer: Arc<str>,
    /// By which the provider knows them.
    pub subject: Arc<str>,
}

impl IdentityKey {
    /// Of an issuer and a subject; `None` where one is empty or too long.
    pub fn new(issuer: &str, subject: &str) -> Option<Self> {
        let fits = |text: &str, most: usize| (1..=most).contains(&text.len()) && !text.chars().any(char::is_control);
        let valid = fits(issuer, LONGEST_ISSUER) && fits(subject, LONGEST_SUBJECT);
        valid.then(|| Self { issuer: issuer.into(), subject: subject.into() })
    }
}

/// A user's identity at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Who they are there.
    pub key: IdentityKey,
    /// Whose it is here.
    pub user: UserId,
    /// Since when.
    pub created_at: Time,
}

/// An address that is known to be its user's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Whose.
    pub user: UserId,
    /// Which: it says nothing of another one that they have later.
    pub email: Email,
    /// Since when.
    pub at: Time,
}

/// What a provider has said of somebody, in a token that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Who they are there.
    pub key: IdentityKey,
    /// Their address, where it gives one.
    pub email: Option<Email>,
    /// Whether the provider says that it is their own.
    pub is_verified: bool,
    /// The user as whom the browser was signed in that went to the provider and came back.
    pub signed_in: Option<UserId>,
}

impl Proof {
    /// Whether the provider says that this address is theirs.
    pub fn is_of(&self, email: &Email) -> bool {
        self.is_verified && self.email.as_ref() == Some(email)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_a_bounded_issuer_and_subject() {
        let long = "s".repeat(LONGEST_SUBJECT);
        assert!(IdentityKey::new("https://id.example.com", &long).is_some());
        for (issuer, subject) in [("", "s"), ("i", ""), ("i", &format!("{long}s")), ("i", "a\nb")] {
            assert_eq!(IdentityKey::new(issuer, subject), None, "{issuer} {subject}");
        }
    }
}

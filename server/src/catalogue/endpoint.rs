//! Webhook endpoints (N1): where the team wants to be told, of what, and the secrets by which a receiver knows that it is told
//! by us. Signatures are those of Standard Webhooks.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::Stored;
use crate::hex::hex;

/// What an endpoint is told when somebody tries it.
pub const TEST: &str = "webhook.test";
/// Endpoints of a team at most: each is looked at for every message.
pub const MOST_ENDPOINTS: usize = 100;

/// What an endpoint's id begins with.
const PREFIX: &str = "ep_";
/// What a secret begins with, as Standard Webhooks says.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret of ours; others may have 24 to 64.
const SECRET_BYTES: usize = 32;

/// Which endpoint: `ep_` and 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(String);

impl EndpointId {
    /// A new one.
    pub fn generate() -> Self {
        Self(format!("{PREFIX}{}", hex(&crate::random::bytes::<16>())))
    }

    /// The one that is named so, if any is.
    pub fn named(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for EndpointId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A secret by which messages are signed. It is shown to operators and never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SigningSecret(Vec<u8>);

/// The text is no secret: it is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is whsec_ and the base64 of 24 to 64 bytes")]
pub struct InvalidSecret;

impl TryFrom<String> for SigningSecret {
    type Error = InvalidSecret;

    fn try_from(text: String) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(InvalidSecret)?;
        let bytes = BASE64.decode(encoded).map_err(|_| InvalidSecret)?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(InvalidSecret) }
    }
}

impl From<SigningSecret> for String {
    fn from(secret: SigningSecret) -> Self {
        secret.shown()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a secret)")
    }
}

impl SigningSecret {
    /// A new one.
    pub fn generate() -> Self {
        Self(crate::random::bytes::<SECRET_BYTES>().to_vec())
    }

    /// As receivers have it: `whsec_` and base64.
    pub fn shown(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64.encode(&self.0))
    }

    /// `v1,` and the base64 of HMAC-SHA256 over id, time in seconds since 1970 and body, with dots between them.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    pub fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

/// The secrets of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// The newest.
    pub newest: SigningSecret,
    /// The one before it, while receivers go over to the newest; and until when messages are signed by it, too.
    pub older: Option<(SigningSecret, Time)>,
}

impl Secrets {
    /// One alone.
    pub fn generate() -> Self {
        Self { newest: SigningSecret::generate(), older: None }
    }

    /// The one before the newest, while it is in force.
    pub fn older(&self, now: Time) -> Option<(&SigningSecret, Time)> {
        self.older.as_ref().filter(|(_, end)| now < *end).map(|(secret, end)| (secret, *end))
    }

    /// Another newest one; the present one goes on until a time.
    #[must_use]
    pub fn rotated(&self, now: Time, until: Time) -> Self {
        let older = (now < until).then(|| (self.newest.clone(), until));
        Self { newest: SigningSecret::generate(), older }
    }

    /// The header `webhook-signature`: by every secret in force, the newest first.
    pub fn signatures(&self, id: &str, at: Time, body: &str) -> String {
        let seconds = at.micros().div_euclid(metergate_rules::time::SECOND);
        let older = self.older(at).map(|(secret, _)| secret);
        let each = std::iter::once(&self.newest).chain(older).map(|secret| secret.sign(id, seconds, body));
        each.collect::<Vec<_>>().join(" ")
    }
}

/// Why nothing is sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stopped {
    /// An operator has said so.
    Operator,
    /// It answered 410: it does not want to be told any more.
    Gone,
    /// For days nothing could be delivered to it.
    Failing,
}

impl Stopped {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// Whether an endpoint is told anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointState {
    /// It is.
    Enabled,
    /// Nothing is written for it, and nothing that waits is sent.
    Disabled {
        /// Since when.
        since: Time,
        /// Why.
        why: Stopped,
    },
}

/// An endpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointEntry {
    /// Which it is.
    pub id: EndpointId,
    /// Where it is: http or https.
    pub url: String,
    /// Of what it is told, in order; of everything where there is none.
    pub types: Vec<String>,
    /// What the team calls it; may be empty.
    pub description: String,
    /// Whether it is told anything.
    pub state: EndpointState,
    /// By what messages to it are signed.
    pub secrets: Secrets,
    /// When it was made.
    pub created_at: Time,
    /// When it was made, enabled again or led elsewhere: how it fared before counts no more.
    pub began_at: Time,
}

impl EndpointEntry {
    /// Whether something is sent to it.
    pub fn is_enabled(&self) -> bool {
        self.state == EndpointState::Enabled
    }

    /// Whether it is to be told of this.
    pub fn wants(&self, kind: &str) -> bool {
        self.is_enabled() && (self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind))
    }
}

impl Stored {
    /// The endpoints that are to be told of something of this type, in the order of their ids.
    pub fn wanting(&self, kind: &str) -> impl Iterator<Item = &EndpointEntry> {
        self.endpoints.values().filter(move |endpoint| endpoint.wants(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metergate_rules::time::SECOND;

    const VECTOR: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_message_is_signed_as_standard_webhooks_says() {
        let (id, body) = ("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", r#"{"email":"test@example.com","username":"test_user"}"#);
        let signed = secret(VECTOR).sign(id, 1_649_367_553, body);
        assert_eq!(signed, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn a_secret_is_read_as_it_is_shown_and_stands_in_no_log() {
        let made = SigningSecret::generate();
        assert_eq!(secret(&made.shown()), made);
        assert_eq!(secret(VECTOR).shown(), VECTOR);
        assert_eq!(format!("{made:?}"), "(a secret)");
        for bad in ["", "whsec_", "whsec_%", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_c2hvcnQ="] {
            assert!(SigningSecret::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn both_secrets_sign_while_one_follows_the_other() {
        let (now, end) = (Time::from_micros(10 * SECOND), Time::from_micros(20 * SECOND));
        let old = Secrets::generate();
        let new = old.rotated(now, end);
        let by = |secrets: &Secrets, at: Time| secrets.signatures("msg_1", at, "{}");
        let single = |secret: &SigningSecret, at: i64| secret.sign("msg_1", at, "{}");
        assert_eq!(by(&new, now), format!("{} {}", single(&new.newest, 10), single(&old.newest, 10)));
        assert_eq!(by(&new, end), single(&new.newest, 20), "the end is too late");
        assert_eq!(old.rotated(now, now).older, None);
        assert_ne!(new.newest, old.newest);
    }

    #[test]
    fn an_endpoint_is_told_what_it_wants_while_it_is_enabled() {
        let entry = |types: &[&str], state| EndpointEntry {
            id: EndpointId::generate(),
            url: "https://example.com".to_owned(),
            types: types.iter().map(|kind| (*kind).to_owned()).collect(),
            description: String::new(),
            state,
            secrets: Secrets::generate(),
            created_at: Time::from_micros(0),
            began_at: Time::from_micros(0),
        };
        let off = EndpointState::Disabled { since: Time::from_micros(0), why: Stopped::Failing };
        let entries = [
            entry(&[], EndpointState::Enabled),
            entry(&["usage.reset"], EndpointState::Enabled),
            entry(&["trial.ended"], EndpointState::Enabled),
            entry(&[], off),
        ];
        let wanting: Vec<bool> = entries.iter().map(|entry| entry.wants("usage.reset")).collect();
        assert_eq!(wanting, [true, true, false, false]);
        for entry in entries {
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<EndpointEntry>(&text).unwrap(), entry, "{text}");
        }
    }
}

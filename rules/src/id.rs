//! Names of things. Each kind has a type of its own, so that one cannot stand where another is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The identity of an organization: a UUID, version 7 where Metergate makes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrganizationId(pub [u8; 16]);

impl OrganizationId {
    /// The sixteen bytes of the UUID.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for OrganizationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for OrganizationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OrganizationId {
    type Err = InvalidId;

    /// Reads the hyphenated form, in either case.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { kind: "organization id", rule: "a UUID" };
        if text.len() != 36 || !text.is_ascii() || [8, 13, 18, 23].iter().any(|&i| text.as_bytes()[i] != b'-') {
            return Err(invalid);
        }
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let mut bytes = [0; 16];
        if digits.len() != 32 {
            return Err(invalid);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else { return Err(invalid) };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

/// A text is not a name of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: it must be {rule}")]
pub struct InvalidId {
    /// What it should have been.
    pub kind: &'static str,
    /// What such a name looks like.
    pub rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name, checked.
            ///
            /// # Errors
            #[doc = concat!("[`InvalidId`] unless it is ", $rule, ".")]
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId { kind: $kind, rule: $rule }) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

fn is_slug(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    first
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

fn is_organization_key(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:@-".contains(&b);
    // Of dots alone it would be a step in an address.
    let is_step = text.bytes().all(|b| b == b'.');
    (1..=128).contains(&text.len()) && !is_step && text.bytes().all(plain) && text.parse::<OrganizationId>().is_err()
}

/// Without control characters, so that it can stand in a header or a log line.
fn is_opaque(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
}

text_id! {
    /// The key that the team chose for an organization.
    OrganizationKey, "organization key", "1 to 128 of A-Z a-z 0-9 . _ : @ - and not a UUID", is_organization_key
}
text_id! {
    /// The key of a meter, such as `api_calls`.
    MeterKey, "meter key", "1 to 64 of a-z 0-9 _ - beginning with a letter", is_slug
}
text_id! {
    /// The key of a plan, such as `pro`.
    PlanKey, "plan key", "1 to 64 of a-z 0-9 _ - beginning with a letter", is_slug
}
text_id! {
    /// The id that a caller gives a decision, so that repeating it counts once.
    DecisionId, "decision id", "1 to 255 bytes without control characters", is_opaque
}
text_id! {
    /// The id of an event, unique within its source.
    EventId, "event id", "1 to 255 bytes without control characters", is_opaque
}
text_id! {
    /// Where an event comes from: the CloudEvents `source`.
    EventSource, "event source", "1 to 255 bytes without control characters", is_opaque
}
text_id! {
    /// The type of an event: the CloudEvents `type`. Meters choose events by it.
    EventType, "event type", "1 to 255 bytes without control characters", is_opaque
}
text_id! {
    /// The key by which a caller repeats a change safely: the `Idempotency-Key` header.
    IdempotencyKey, "idempotency key", "1 to 255 bytes without control characters", is_opaque
}

text_id! {
    /// Stripe's id of a subscription.
    SubscriptionId, "subscription id", "1 to 255 bytes without control characters", is_opaque
}
text_id! {
    /// Stripe's id of a customer.
    CustomerId, "customer id", "1 to 255 bytes without control characters", is_opaque
}
text_id! {
    /// Stripe's id of a price.
    PriceId, "price id", "1 to 255 bytes without control characters", is_opaque
}
text_id! {
    /// Stripe's id of an invoice.
    InvoiceId, "invoice id", "1 to 255 bytes without control characters", is_opaque
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);
    };
}

number_id! {
    /// The number that the store gave a meter; its key and definition are in the catalogue.
    MeterId
}
number_id! {
    /// The number that the store gave one version of a plan.
    PlanId
}
number_id! {
    /// The number of a grant within its organization, counted from 1 in the order of creation.
    GrantId
}

number_id! {
    /// The number of a reservation within its organization, counted from 1 in the order of creation.
    ReservationId
}

/// An organization as a caller names it: by its id or by its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OrganizationRef {
    /// By the UUID that Metergate gave it.
    Id(OrganizationId),
    /// By the key that the team gave it.
    Key(OrganizationKey),
}

impl FromStr for OrganizationRef {
    type Err = InvalidId;

    /// A UUID is an id, anything else a key: a key never has the form of a UUID.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => OrganizationKey::new(text).map(Self::Key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_is_named_by_uuid_or_key() {
        let uuid = "0192f3a4-5b6c-7d8e-9f00-112233445566";
        assert!(matches!(uuid.parse(), Ok(OrganizationRef::Id(id)) if id.to_string() == uuid));
        assert!(matches!("acme".parse(), Ok(OrganizationRef::Key(key)) if key.as_str() == "acme"));
        assert!(OrganizationKey::new(uuid).is_err());
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(bad.parse::<OrganizationRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn meter_keys_are_lower_case_words() {
        for (text, valid) in [("api_calls", true), ("a-1", true), ("1a", false), ("Api", false), ("", false)] {
            assert_eq!(MeterKey::new(text).is_ok(), valid, "{text:?}");
        }
    }
}

//! The audit log: one chain per organization and one for the team, in which each entry carries the hash of the one
//! before.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use sha2::{Digest, Sha256};

use crate::quantity::Decimal;
use crate::time::Time;

pub mod actions;

/// An entry before it has its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// When it happened.
    pub at: Time,
    /// What was done, such as `quota.grant`.
    pub action: Cow<'static, str>,
    /// The kind of thing it was done to, such as `quota`.
    pub category: Cow<'static, str>,
    /// Whether time did it, not the caller.
    pub by_system: bool,
    /// What stood before.
    pub before: Object,
    /// What stands now.
    pub after: Object,
    /// What else there is to say.
    pub details: Object,
}

impl Draft {
    /// A change by the caller.
    pub fn new(at: Time, action: &'static str, category: &'static str, before: Fields, after: Fields) -> Self {
        Self {
            at,
            action: action.into(),
            category: category.into(),
            by_system: false,
            before: Object::Fields(before),
            after: Object::Fields(after),
            details: Object::default(),
        }
    }
}

/// A JSON object in an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// Of values that the rules know.
    Fields(Fields),
    /// The text of one, as the application wrote it.
    Text(String),
}

impl Default for Object {
    fn default() -> Self {
        Self::Fields(Fields::default())
    }
}

/// Named values, in order; written as a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, Value)>);

/// A value in an audit entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A count.
    Int(i64),
    /// A quantity: decimal text, since it must be exact in every reader.
    Quantity(Decimal),
    /// Text.
    Text(String),
    /// A time.
    Time(Time),
    /// Several texts.
    List(Vec<String>),
}

impl Fields {
    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// Adds the values of `more`.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }
}

macro_rules! value_from {
    ($($from:ty => |$it:ident| $to:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($it: $from) -> Self {
                $to
            }
        })*
    };
}

value_from! {
    bool => |it| Self::Bool(it);
    i64 => |it| Self::Int(it);
    u32 => |it| Self::Int(i64::from(it));
    &str => |it| Self::Text(it.to_owned());
    String => |it| Self::Text(it);
    Time => |it| Self::Time(it);
    Decimal => |it| Self::Quantity(it);
    Vec<String> => |it| Self::List(it);
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(option: Option<T>) -> Self {
        option.map_or(Self::Null, Into::into)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(it) => serializer.serialize_bool(*it),
            Self::Int(it) => serializer.serialize_i64(*it),
            Self::Quantity(it) if it.decimals == 0 => serializer.serialize_i128(it.units),
            Self::Quantity(it) => serializer.collect_str(it),
            Self::Text(it) => serializer.serialize_str(it),
            Self::Time(it) => serializer.collect_str(it),
            Self::List(it) => it.serialize(serializer),
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A SHA-256 hash: the link of a chain.
pub type Hash = [u8; 32];

/// What stands before the first entry of a chain.
pub const GENESIS: Hash = [0; 32];

/// What of an entry goes into its hash.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// The chain: an organization's id, or sixteen zero bytes for the team's.
    pub chain: &'a [u8; 16],
    /// Its place in the chain, from 1.
    pub seq: u64,
    /// When, in microseconds since 1970.
    pub at: Time,
    /// The action.
    pub action: &'a str,
    /// The category.
    pub category: &'a str,
    /// Who did it.
    pub actor: &'a str,
    /// What stood before: the text of a JSON object.
    pub before: &'a str,
    /// What stands now: the text of a JSON object.
    pub after: &'a str,
    /// What else there is to say: the text of a JSON object.
    pub details: &'a str,
    /// Why; empty without one.
    pub reason: &'a str,
    /// Sixteen random bytes, kept with the entry until it is redacted.
    pub salt: &'a [u8; 16],
}

/// The hash of an entry that follows `previous`. Version 1 of the format:
///
/// SHA-256 over `metergate-audit-1`, the previous hash, the chain, the place and the time as big-endian integers, action
/// and category with their length before them, and of actor, before, after, details and reason each the SHA-256 of salt,
/// length and text. The latter may be personal: once text and salt are forgotten nobody can guess them from their hash,
/// and the chain still verifies.
pub fn seal(previous: &Hash, entry: &Sealed<'_>) -> Hash {
    seal_committed(previous, entry, &commitments(entry))
}

/// What stands in an entry's hash for what may be personal: for actor, before, after, details and reason.
pub type Commitments = [Hash; 5];

/// The salted hashes of what of an entry may be personal.
pub fn commitments(entry: &Sealed<'_>) -> Commitments {
    [entry.actor, entry.before, entry.after, entry.details, entry.reason].map(|text| commitment(entry.salt, text))
}

/// The hash of an entry of which only these are left of what may be personal: the entry's own texts and salt do not count.
pub fn seal_committed(previous: &Hash, entry: &Sealed<'_>, commitments: &Commitments) -> Hash {
    let mut hash = Sha256::new();
    hash.update(b"metergate-audit-1");
    hash.update(previous);
    hash.update(entry.chain);
    hash.update(entry.seq.to_be_bytes());
    hash.update(entry.at.micros().to_be_bytes());
    for text in [entry.action, entry.category] {
        update_with_length(&mut hash, text);
    }
    for commitment in commitments {
        hash.update(commitment);
    }
    hash.finalize().into()
}

/// The salted hash under which a text that may be personal enters its entry's hash.
pub fn commitment(salt: &[u8; 16], text: &str) -> Hash {
    let mut hash = Sha256::new();
    hash.update(salt);
    update_with_length(&mut hash, text);
    hash.finalize().into()
}

fn update_with_length(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Sealed<'static> = Sealed {
        chain: &[7; 16],
        seq: 1,
        at: Time::from_micros(1),
        action: "quota.grant",
        category: "quota",
        actor: "key:admin",
        before: "{}",
        after: r#"{"extra":5}"#,
        details: "{}",
        reason: "",
        salt: &[9; 16],
    };

    #[test]
    fn every_field_is_in_the_hash() {
        let sealed = seal(&GENESIS, &ENTRY);
        let others = [
            Sealed { chain: &[8; 16], ..ENTRY },
            Sealed { seq: 2, ..ENTRY },
            Sealed { at: Time::from_micros(2), ..ENTRY },
            Sealed { action: "quota.gran", category: "tquota", ..ENTRY },
            Sealed { category: "usage", ..ENTRY },
            Sealed { actor: "key:other", ..ENTRY },
            Sealed { before: "{ }", ..ENTRY },
            Sealed { after: "{}", ..ENTRY },
            Sealed { details: "", ..ENTRY },
            Sealed { reason: "x", ..ENTRY },
            Sealed { salt: &[1; 16], ..ENTRY },
        ];
        for other in others {
            assert_ne!(seal(&GENESIS, &other), sealed, "{other:?}");
        }
        assert_ne!(seal(&[1; 32], &ENTRY), sealed);
        assert_eq!(seal(&GENESIS, &ENTRY), sealed);
    }

    #[test]
    fn an_entry_keeps_its_hash_when_all_that_may_be_personal_is_forgotten() {
        let forgotten = Sealed { actor: "", before: "", after: "", details: "", reason: "", salt: &[0; 16], ..ENTRY };
        let left = commitments(&ENTRY);
        assert_eq!(seal_committed(&GENESIS, &forgotten, &left), seal(&GENESIS, &ENTRY));
        // What is left proves as much as the texts did.
        for part in 0..left.len() {
            let mut other = left;
            other[part][0] ^= 1;
            assert_ne!(seal_committed(&GENESIS, &forgotten, &other), seal(&GENESIS, &ENTRY), "{part}");
        }
    }
}

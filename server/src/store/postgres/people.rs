//! People as they are stored: each row under its kind and key, all of them read together.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Of, Postgres, at};
use crate::people::identity::{Identity, IdentityKey, Verified};
use crate::people::portal::Portal;
use crate::people::{Link, Member, People, PersonRow, Session, User};
use crate::store::error::{EngineError, unreadable};
use crate::store::seal::{seal, unseal};

/// Under what a row stands; what it holds, or nothing where it goes.
pub(super) struct Stored {
    pub(super) kind: &'static str,
    pub(super) key: Vec<u8>,
    pub(super) data: Option<Vec<u8>>,
}

impl Stored {
    fn with<T: Serialize>(kind: &'static str, key: Vec<u8>, content: &T) -> Result<Self, EngineError> {
        let content = postcard::to_allocvec(content).map_err(|error| unreadable("a person", error))?;
        let data = seal(&[kind.as_bytes(), &key], &content);
        Ok(Self { kind, key, data: Some(data) })
    }

    const fn without(kind: &'static str, key: Vec<u8>) -> Self {
        Self { kind, key, data: None }
    }

    pub(super) fn of(row: &PersonRow) -> Result<Self, EngineError> {
        match row {
            PersonRow::User(user) => Self::with("user", user.id.0.to_vec(), &**user),
            PersonRow::UserGone(user) => Ok(Self::without("user", user.0.to_vec())),
            PersonRow::Member(member) => Self::with("member", [member.organization.0, member.user.0].concat(), member),
            PersonRow::MemberGone(organization, user) => Ok(Self::without("member", [organization.0, user.0].concat())),
            PersonRow::Session(session) => Self::with("session", session.token.0.to_vec(), session),
            PersonRow::SessionGone(token) => Ok(Self::without("session", token.0.to_vec())),
            PersonRow::Link(link) => Self::with("link", link.token.0.to_vec(), &**link),
            PersonRow::LinkGone(token) => Ok(Self::without("link", token.0.to_vec())),
            PersonRow::Portal(portal) => Self::with("portal", portal.token.0.to_vec(), portal),
            PersonRow::PortalGone(token) => Ok(Self::without("portal", token.0.to_vec())),
            PersonRow::Identity(identity) => Self::with("identity", named(&identity.key), &**identity),
            PersonRow::IdentityGone(key) => Ok(Self::without("identity", named(key))),
            PersonRow::Verified(verified) => Self::with("verified", verified.user.0.to_vec(), &**verified),
            PersonRow::VerifiedGone(user) => Ok(Self::without("verified", user.0.to_vec())),
        }
    }
}

/// Its length keeps the issuer apart from the subject.
fn named(key: &IdentityKey) -> Vec<u8> {
    let length = (key.issuer.len() as u64).to_be_bytes();
    [&length[..], key.issuer.as_bytes(), key.subject.as_bytes()].concat()
}

fn read<T: DeserializeOwned>(kind: &str, key: &[u8], data: &[u8]) -> Result<T, EngineError> {
    let content = unseal(&[kind.as_bytes(), key], data).map_err(|error| unreadable("a person", error))?;
    postcard::from_bytes(content).map_err(|error| unreadable("a person", error))
}

fn person(kind: &str, key: &[u8], data: &[u8]) -> Result<PersonRow, EngineError> {
    Ok(match kind {
        "user" => PersonRow::User(Arc::new(read::<User>(kind, key, data)?)),
        "member" => PersonRow::Member(read::<Member>(kind, key, data)?),
        "session" => PersonRow::Session(read::<Session>(kind, key, data)?),
        "link" => PersonRow::Link(Arc::new(read::<Link>(kind, key, data)?)),
        "portal" => PersonRow::Portal(read::<Portal>(kind, key, data)?),
        "identity" => PersonRow::Identity(Arc::new(read::<Identity>(kind, key, data)?)),
        "verified" => PersonRow::Verified(Arc::new(read::<Verified>(kind, key, data)?)),
        other => return Err(unreadable("a person", format!("there is no kind {other}"))),
    })
}

impl Postgres {
    /// Everybody.
    pub(in crate::store) fn people(&self) -> Result<People, EngineError> {
        let mut people = People::default();
        // Users come before what they have.
        let sql = "SELECT kind, key, data FROM people ORDER BY kind <> 'user', kind, key";
        for row in self.rows(Of::Team, sql, &[])? {
            people.take(&person(at(&row, 0)?, at(&row, 1)?, at(&row, 2)?)?);
        }
        Ok(people)
    }
}

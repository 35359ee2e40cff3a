//! People as they are stored: each row under its kind and key, all of them read together.

use std::sync::Arc;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Of, Postgres, at};
use crate::people::choice::MailChoice;
use crate::people::identity::{Identity, IdentityKey, Verified};
use crate::people::letter::{Letter, LetterId};
use crate::people::portal::Portal;
use crate::people::token::TokenHash;
use crate::people::{Link, Member, People, PersonRow, Session, User, UserId};
use crate::store::error::{EngineError, unreadable};
use crate::store::seal::{seal, unseal};

/// Under what a row stands; what it holds, or nothing where it goes.
struct Stored {
    kind: &'static str,
    key: Vec<u8>,
    data: Option<Vec<u8>>,
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

    fn of(row: &PersonRow) -> Result<Self, EngineError> {
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
            PersonRow::Choice(choice) => {
                Self::with("mail-choice", [choice.organization.0, choice.user.0].concat(), &**choice)
            }
            PersonRow::ChoiceGone(organization, user) => {
                Ok(Self::without("mail-choice", [organization.0, user.0].concat()))
            }
            PersonRow::Letter(letter) => Self::with("letter", letter.id.0.to_vec(), &**letter),
            PersonRow::LetterGone(id) => Ok(Self::without("letter", id.0.to_vec())),
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
        "mail-choice" => PersonRow::Choice(Arc::new(read::<MailChoice>(kind, key, data)?)),
        "letter" => PersonRow::Letter(Arc::new(read::<Letter>(kind, key, data)?)),
        other => return Err(unreadable("a person", format!("there is no kind {other}"))),
    })
}

/// A row that has gone.
fn gone(kind: &str, key: &[u8]) -> Result<PersonRow, EngineError> {
    let broken = || unreadable("a person", format!("the key of a {kind} that has gone has {} bytes", key.len()));
    let token = || key.try_into().map(TokenHash).map_err(|_| broken());
    let user = || key.try_into().map(UserId).map_err(|_| broken());
    Ok(match kind {
        "user" => PersonRow::UserGone(user()?),
        "member" | "mail-choice" => {
            let (organization, user) = key.split_at_checked(16).ok_or_else(broken)?;
            let organization = OrganizationId(organization.try_into().map_err(|_| broken())?);
            let user = UserId(user.try_into().map_err(|_| broken())?);
            if kind == "member" {
                PersonRow::MemberGone(organization, user)
            } else {
                PersonRow::ChoiceGone(organization, user)
            }
        }
        "session" => PersonRow::SessionGone(token()?),
        "link" => PersonRow::LinkGone(token()?),
        "portal" => PersonRow::PortalGone(token()?),
        "identity" => PersonRow::IdentityGone(unnamed(key).ok_or_else(broken)?),
        "verified" => PersonRow::VerifiedGone(user()?),
        "letter" => PersonRow::LetterGone(key.try_into().map(LetterId).map_err(|_| broken())?),
        other => return Err(unreadable("a person", format!("there is no kind {other}"))),
    })
}

/// What [`named`] writes.
fn unnamed(key: &[u8]) -> Option<IdentityKey> {
    let (length, rest) = key.split_first_chunk()?;
    let (issuer, subject) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
    let text = |bytes| std::str::from_utf8(bytes).ok().map(Arc::from);
    Some(IdentityKey { issuer: text(issuer)?, subject: text(subject)? })
}

impl Postgres {
    /// Everybody.
    pub(in crate::store) fn people(&self) -> Result<People, EngineError> {
        let mut people = People::default();
        // Users come before what they have.
        let sql = "SELECT kind, key, data FROM people WHERE data IS NOT NULL ORDER BY kind <> 'user', kind, key";
        for row in self.rows(Of::Team, sql, &[])? {
            people.take(&person(at(&row, 0)?, at(&row, 1)?, at(&row, 2)?)?);
        }
        Ok(people)
    }

    /// Everybody, by who was there before and what has changed since.
    pub(in crate::store) fn people_since(&self, known: i64, before: &People) -> Result<People, EngineError> {
        let mut people = before.clone();
        // What has gone comes first, since what came may have taken its place.
        let sql = "SELECT kind, key, data FROM people WHERE changed > $1 ORDER BY data IS NOT NULL, kind <> 'user', kind, key";
        let mut came = Vec::new();
        for row in self.rows(Of::Team, sql, &[&known])? {
            let (kind, key): (&str, &[u8]) = (at(&row, 0)?, at(&row, 1)?);
            match at::<Option<&[u8]>>(&row, 2)? {
                Some(data) => came.push(person(kind, key, data)?),
                None => people.take(&gone(kind, key)?),
            }
        }
        // Nor may an address that one user has left be taken from whoever has it now.
        for row in &came {
            if let PersonRow::User(user) = row {
                people.take(&PersonRow::UserGone(user.id));
            }
        }
        came.iter().for_each(|row| people.take(row));
        Ok(people)
    }

    /// Writes what has changed, under the lock of the team's row, which the commit moves on by one.
    pub(super) fn write_person(&self, row: &PersonRow, now: Time) -> Result<(), EngineError> {
        let Stored { kind, key, data } = Stored::of(row)?;
        match data {
            Some(data) => {
                let sql = "INSERT INTO people (kind, key, data, changed) SELECT $1::text, $2::bytea, $3::bytea, people + 1 FROM team
                           ON CONFLICT (kind, key) DO UPDATE SET data = $3, changed = excluded.changed, gone_at = NULL";
                self.together(&[(sql, vec![&kind, &key, &data])])
            }
            None => {
                let sql = "UPDATE people SET data = NULL, changed = (SELECT people + 1 FROM team), gone_at = $3
                           WHERE kind = $1 AND key = $2";
                self.together(&[(sql, vec![&kind, &key, &now.micros()])])
            }
        }
        .map(drop)
    }

    /// Of what went before a time nobody is told any more; who has not heard of it reads all.
    pub(in crate::store) fn forget_people(&self, before: Time) -> Result<(), EngineError> {
        let sql = "WITH gone AS (DELETE FROM people WHERE gone_at < $1 RETURNING changed)
                   UPDATE team SET people_kept = greatest(people_kept, (SELECT max(changed) FROM gone))
                   WHERE EXISTS (SELECT 1 FROM gone)";
        self.rows(Of::Team, sql, &[&before.micros()]).map(drop)
    }
}

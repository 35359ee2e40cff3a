//! People as they are stored.

use std::sync::Arc;

use rusqlite::Transaction;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{EngineError, Sqlite, unreadable};
use crate::people::choice::MailChoice;
use crate::people::identity::{Identity, Verified};
use crate::people::letter::Letter;
use crate::people::portal::Portal;
use crate::people::{Link, Member, People, PersonRow, Session, User};
use crate::store::seal::{seal, unseal};

impl Sqlite {
    /// Everybody.
    ///
    /// # Errors
    /// [`EngineError`] if a row cannot be read, or is not what was written.
    pub fn people(&self) -> Result<People, EngineError> {
        let mut people = People::default();
        self.each_sealed("SELECT id, email, data FROM users", |user: User| {
            let columns = vec![user.id.0.to_vec(), user.email.as_str().as_bytes().to_vec()];
            people.take(&PersonRow::User(Arc::new(user)));
            columns
        })?;
        self.each_sealed("SELECT organization, user, data FROM members", |member: Member| {
            people.take(&PersonRow::Member(member));
            vec![member.organization.0.to_vec(), member.user.0.to_vec()]
        })?;
        self.each_sealed("SELECT token, data FROM sessions", |session: Session| {
            people.take(&PersonRow::Session(session));
            vec![session.token.0.to_vec()]
        })?;
        self.each_sealed("SELECT token, data FROM links", |link: Link| {
            let columns = vec![link.token.0.to_vec()];
            people.take(&PersonRow::Link(Arc::new(link)));
            columns
        })?;
        self.each_sealed("SELECT token, data FROM portals", |portal: Portal| {
            people.take(&PersonRow::Portal(portal));
            vec![portal.token.0.to_vec()]
        })?;
        self.each_sealed("SELECT issuer, subject, data FROM identities", |identity: Identity| {
            let columns = [&identity.key.issuer, &identity.key.subject].map(|text| text.as_bytes().to_vec());
            people.take(&PersonRow::Identity(Arc::new(identity)));
            columns.into()
        })?;
        self.each_sealed("SELECT user, data FROM verified_emails", |verified: Verified| {
            let columns = vec![verified.user.0.to_vec()];
            people.take(&PersonRow::Verified(Arc::new(verified)));
            columns
        })?;
        self.each_sealed("SELECT organization, user, data FROM mail_choices", |choice: MailChoice| {
            let columns = vec![choice.organization.0.to_vec(), choice.user.0.to_vec()];
            people.take(&PersonRow::Choice(Arc::new(choice)));
            columns
        })?;
        self.each_sealed("SELECT id, data FROM letters", |letter: Letter| {
            let columns = vec![letter.id.0.to_vec()];
            people.take(&PersonRow::Letter(Arc::new(letter)));
            columns
        })?;
        Ok(people)
    }

    /// Reads rows whose last column is sealed; `take` answers the columns that the row should be found by.
    fn each_sealed<T: DeserializeOwned>(
        &self,
        sql: &str,
        mut take: impl FnMut(T) -> Vec<Vec<u8>>,
    ) -> Result<(), EngineError> {
        let mut query = self.connection.prepare_cached(sql)?;
        let last = query.column_count() - 1;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let bytes = |column| row.get_ref(column).and_then(|value| Ok(value.as_bytes()?.to_vec()));
            let columns = (0..last).map(bytes).collect::<Result<Vec<Vec<u8>>, _>>()?;
            let (found, data) = (columns.iter().map(Vec::as_slice).collect::<Vec<_>>(), bytes(last)?);
            let content = unseal(&found, &data).map_err(|error| unreadable("a person", error))?;
            let content = postcard::from_bytes(content).map_err(|error| unreadable("a person", error))?;
            if take(content) != columns {
                return Err(unreadable("a person", "the row stands under another key"));
            }
        }
        Ok(())
    }
}

pub(super) fn write_person(transaction: &Transaction<'_>, row: &PersonRow) -> Result<(), EngineError> {
    let execute = |sql: &str, values: &[&dyn rusqlite::ToSql]| execute(transaction, sql, values);
    match row {
        PersonRow::User(user) => {
            let (id, email) = (user.id.0, user.email.as_str());
            let data = sealed(&[&id, email.as_bytes()], &**user)?;
            let sql = "INSERT INTO users (id, email, data) VALUES (?1, ?2, ?3)
                       ON CONFLICT (id) DO UPDATE SET email = ?2, data = ?3";
            execute(sql, &[&id, &email, &data])
        }
        PersonRow::UserGone(user) => execute("DELETE FROM users WHERE id = ?", &[&user.0]),
        PersonRow::Member(member) => {
            let (organization, user) = (member.organization.0, member.user.0);
            let data = sealed(&[&organization, &user], member)?;
            let sql = "INSERT OR REPLACE INTO members (organization, user, data) VALUES (?, ?, ?)";
            execute(sql, &[&organization, &user, &data])
        }
        PersonRow::MemberGone(organization, user) => {
            execute("DELETE FROM members WHERE organization = ? AND user = ?", &[&organization.0, &user.0])
        }
        PersonRow::Session(session) => {
            let data = sealed(&[&session.token.0], session)?;
            execute("INSERT OR REPLACE INTO sessions (token, data) VALUES (?, ?)", &[&session.token.0, &data])
        }
        PersonRow::SessionGone(token) => execute("DELETE FROM sessions WHERE token = ?", &[&token.0]),
        PersonRow::Link(link) => {
            let data = sealed(&[&link.token.0], &**link)?;
            execute("INSERT OR REPLACE INTO links (token, data) VALUES (?, ?)", &[&link.token.0, &data])
        }
        PersonRow::LinkGone(token) => execute("DELETE FROM links WHERE token = ?", &[&token.0]),
        PersonRow::Portal(portal) => {
            let data = sealed(&[&portal.token.0], portal)?;
            execute("INSERT OR REPLACE INTO portals (token, data) VALUES (?, ?)", &[&portal.token.0, &data])
        }
        PersonRow::PortalGone(token) => execute("DELETE FROM portals WHERE token = ?", &[&token.0]),
        PersonRow::Identity(identity) => {
            let (issuer, subject) = (&*identity.key.issuer, &*identity.key.subject);
            let data = sealed(&[issuer.as_bytes(), subject.as_bytes()], &**identity)?;
            let sql = "INSERT OR REPLACE INTO identities (issuer, subject, data) VALUES (?, ?, ?)";
            execute(sql, &[&issuer, &subject, &data])
        }
        PersonRow::IdentityGone(key) => {
            execute("DELETE FROM identities WHERE issuer = ? AND subject = ?", &[&&*key.issuer, &&*key.subject])
        }
        PersonRow::Verified(verified) => {
            let data = sealed(&[&verified.user.0], &**verified)?;
            execute("INSERT OR REPLACE INTO verified_emails (user, data) VALUES (?, ?)", &[&verified.user.0, &data])
        }
        PersonRow::VerifiedGone(user) => execute("DELETE FROM verified_emails WHERE user = ?", &[&user.0]),
        PersonRow::Choice(choice) => write_choice(transaction, choice),
        PersonRow::ChoiceGone(organization, user) => {
            execute("DELETE FROM mail_choices WHERE organization = ? AND user = ?", &[&organization.0, &user.0])
        }
        PersonRow::Letter(letter) => {
            let data = sealed(&[&letter.id.0], &**letter)?;
            execute("INSERT OR REPLACE INTO letters (id, data) VALUES (?, ?)", &[&letter.id.0, &data])
        }
        PersonRow::LetterGone(id) => execute("DELETE FROM letters WHERE id = ?", &[&id.0]),
    }
}

fn write_choice(transaction: &Transaction<'_>, choice: &MailChoice) -> Result<(), EngineError> {
    let (organization, user) = (choice.organization.0, choice.user.0);
    let data = sealed(&[&organization, &user], choice)?;
    let sql = "INSERT OR REPLACE INTO mail_choices (organization, user, data) VALUES (?, ?, ?)";
    execute(transaction, sql, &[&organization, &user, &data])
}

fn execute(transaction: &Transaction<'_>, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), EngineError> {
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn sealed<T: Serialize>(columns: &[&[u8]], content: &T) -> Result<Vec<u8>, EngineError> {
    let content = postcard::to_allocvec(content).map_err(|error| unreadable("a person", error))?;
    Ok(seal(columns, &content))
}

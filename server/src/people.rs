//! People: users, of which organizations they are members, their sessions, and links that open something once. A snapshot
//! behind `arc-swap` that every core reads; changed only through the store.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use metergate_rules::id::OrganizationId;
use metergate_rules::role::Role;
use metergate_rules::time::{DAY, Time};
use serde::{Deserialize, Serialize};

pub mod change;
pub mod choice;
pub mod email;
pub mod identity;
pub mod letter;
mod link;
pub mod password;
pub mod portal;
pub mod token;
pub mod told;

use choice::MailChoice;
use email::Email;
use identity::{Identity, IdentityKey, Verified};
use letter::{Letter, LetterId};
pub use link::{InvitationId, Link, Opens};
use password::PasswordHash;
use portal::{Portal, PortalId, Stage};
use token::TokenHash;

/// How long a session lasts, in microseconds.
pub const SESSION: i64 = 30 * DAY;
/// How long an invitation can be accepted, in microseconds.
pub const INVITATION: i64 = 7 * DAY;
/// How long a link signs somebody in, lets them choose another password, or says that an address is theirs, in microseconds.
pub const SIGN_IN_LINK: i64 = DAY;

/// The identity of a user: a UUID of version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserId(pub [u8; 16]);

impl UserId {
    /// A new one.
    pub fn new(now: Time) -> Self {
        let millis = u64::try_from(now.micros() / 1000).unwrap_or_default();
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &crate::random::bytes()).into_uuid().into_bytes())
    }

    /// The user as the audit log names them: without what is personal.
    pub fn actor(self) -> Arc<str> {
        format!("user:{self}").into()
    }

    /// The user of a text, in the form of a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<OrganizationId>().ok().map(|id| Self(id.0))
    }
}

impl std::fmt::Display for UserId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&OrganizationId(self.0), f)
    }
}

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who it is.
    pub id: UserId,
    /// The address by which they sign in.
    pub email: Email,
    /// Their name.
    pub name: String,
    /// Their password; none until they have chosen one.
    pub password: Option<PasswordHash>,
    /// Whether they are a platform administrator.
    pub is_administrator: bool,
    /// When they were made.
    pub created_at: Time,
}

/// What a user is in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where.
    pub organization: OrganizationId,
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// Whether they may do it now.
    pub is_active: bool,
    /// Since when they are a member.
    pub created_at: Time,
}

/// Somebody who is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The hash of its token.
    pub token: TokenHash,
    /// Who.
    pub user: UserId,
    /// Since when.
    pub created_at: Time,
    /// From when it is refused.
    pub expires_at: Time,
}

/// Everybody.
#[derive(Clone, Debug, Default)]
pub struct People {
    users: OrdMap<UserId, Arc<User>>,
    by_email: OrdMap<Email, UserId>,
    members: OrdMap<(OrganizationId, UserId), Member>,
    organizations: OrdSet<(UserId, OrganizationId)>,
    sessions: OrdMap<TokenHash, Session>,
    sessions_of: OrdSet<(UserId, TokenHash)>,
    links: OrdMap<TokenHash, Arc<Link>>,
    invitations: OrdSet<(OrganizationId, InvitationId, TokenHash)>,
    portals: OrdMap<TokenHash, Portal>,
    portals_of: OrdMap<(OrganizationId, PortalId), TokenHash>,
    identities: OrdMap<IdentityKey, Arc<Identity>>,
    identities_of: OrdSet<(UserId, IdentityKey)>,
    verified: OrdMap<UserId, Arc<Verified>>,
    choices: OrdMap<(OrganizationId, UserId), Arc<MailChoice>>,
    letters: OrdMap<LetterId, Arc<Letter>>,
}

/// A row that is written or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersonRow {
    /// A user, new or changed.
    User(Arc<User>),
    /// A user goes, with everything of theirs.
    UserGone(UserId),
    /// A member, new or changed.
    Member(Member),
    /// A member goes.
    MemberGone(OrganizationId, UserId),
    /// A session begins.
    Session(Session),
    /// A session ends.
    SessionGone(TokenHash),
    /// A link is made.
    Link(Arc<Link>),
    /// A link was used, or opens nothing any more.
    LinkGone(TokenHash),
    /// A portal is made or opened.
    Portal(Portal),
    /// A portal's token opens nothing any more.
    PortalGone(TokenHash),
    /// Somebody is known to a provider.
    Identity(Arc<Identity>),
    /// An identity is nobody's any more.
    IdentityGone(IdentityKey),
    /// An address is known to be its user's own.
    Verified(Arc<Verified>),
    /// That is known no more.
    VerifiedGone(UserId),
    /// A member has chosen what they are told by mail.
    Choice(Arc<MailChoice>),
    /// What they chose is forgotten.
    ChoiceGone(OrganizationId, UserId),
    /// A mail is to be sent, or was tried.
    Letter(Arc<Letter>),
    /// A mail was sent, or is not sent any more.
    LetterGone(LetterId),
}

impl People {
    /// Takes in a row.
    pub fn take(&mut self, row: &PersonRow) {
        match row {
            PersonRow::User(user) => {
                if let Some(old) = self.users.insert(user.id, Arc::clone(user)) {
                    self.by_email.remove(&old.email);
                }
                self.by_email.insert(user.email.clone(), user.id);
            }
            PersonRow::UserGone(id) => {
                if let Some(old) = self.users.remove(id) {
                    self.by_email.remove(&old.email);
                }
            }
            PersonRow::Member(member) => {
                self.members.insert((member.organization, member.user), *member);
                self.organizations.insert((member.user, member.organization));
            }
            PersonRow::MemberGone(organization, user) => {
                self.members.remove(&(*organization, *user));
                self.organizations.remove(&(*user, *organization));
            }
            PersonRow::Session(session) => {
                self.sessions.insert(session.token, *session);
                self.sessions_of.insert((session.user, session.token));
            }
            PersonRow::SessionGone(token) => {
                if let Some(old) = self.sessions.remove(token) {
                    self.sessions_of.remove(&(old.user, *token));
                }
            }
            PersonRow::Link(link) => self.take_link(link),
            PersonRow::LinkGone(token) => self.drop_link(token),
            PersonRow::Portal(portal) => {
                self.portals.insert(portal.token, *portal);
                self.portals_of.insert((portal.organization, portal.id), portal.token);
            }
            PersonRow::PortalGone(token) => {
                if let Some(old) = self.portals.remove(token) {
                    self.portals_of.remove(&(old.organization, old.id));
                }
            }
            PersonRow::Identity(identity) => {
                self.identities.insert(identity.key.clone(), Arc::clone(identity));
                self.identities_of.insert((identity.user, identity.key.clone()));
            }
            PersonRow::IdentityGone(key) => {
                if let Some(old) = self.identities.remove(key) {
                    self.identities_of.remove(&(old.user, key.clone()));
                }
            }
            PersonRow::Verified(verified) => drop(self.verified.insert(verified.user, Arc::clone(verified))),
            PersonRow::VerifiedGone(user) => drop(self.verified.remove(user)),
            PersonRow::Choice(choice) => {
                self.choices.insert((choice.organization, choice.user), Arc::clone(choice));
            }
            PersonRow::ChoiceGone(organization, user) => drop(self.choices.remove(&(*organization, *user))),
            PersonRow::Letter(letter) => drop(self.letters.insert(letter.id, Arc::clone(letter))),
            PersonRow::LetterGone(id) => drop(self.letters.remove(id)),
        }
    }

    /// Everybody, as rows: users come before what they have.
    pub fn rows(&self) -> impl Iterator<Item = PersonRow> {
        let users = self.users.values().map(|user| PersonRow::User(Arc::clone(user)));
        let members = self.members.values().map(|member| PersonRow::Member(*member));
        let sessions = self.sessions.values().map(|session| PersonRow::Session(*session));
        let links = self.links.values().map(|link| PersonRow::Link(Arc::clone(link)));
        let portals = self.portals.values().map(|portal| PersonRow::Portal(*portal));
        let identities = self.identities.values().map(|identity| PersonRow::Identity(Arc::clone(identity)));
        let verified = self.verified.values().map(|verified| PersonRow::Verified(Arc::clone(verified)));
        let choices = self.choices.values().map(|choice| PersonRow::Choice(Arc::clone(choice)));
        let letters = self.letters.values().map(|letter| PersonRow::Letter(Arc::clone(letter)));
        let had = users.chain(members).chain(sessions).chain(links).chain(portals).chain(identities);
        had.chain(verified).chain(choices).chain(letters)
    }

    /// A user.
    pub fn user(&self, id: UserId) -> Option<&Arc<User>> {
        self.users.get(&id)
    }

    /// The user with an address.
    pub fn user_by_email(&self, email: &Email) -> Option<&Arc<User>> {
        self.users.get(self.by_email.get(email)?)
    }

    /// The user whom a provider knows so.
    pub fn user_by_identity(&self, key: &IdentityKey) -> Option<&Arc<User>> {
        self.user(self.identities.get(key)?.user)
    }

    /// Whether a user's address is known to be their own.
    pub fn is_verified(&self, user: UserId) -> bool {
        let verified = self.verified.get(&user).map(|verified| &verified.email);
        verified.is_some() && verified == self.user(user).map(|user| &user.email)
    }

    /// What a user is to providers.
    fn identities_of(&self, user: UserId) -> impl Iterator<Item = &IdentityKey> {
        let least = (user, IdentityKey { issuer: "".into(), subject: "".into() });
        self.identities_of.range(least..).take_while(move |(of, _)| *of == user).map(|(_, key)| key)
    }

    /// Users in the order in which they were made, after one.
    pub fn users_after(&self, after: Option<UserId>) -> impl Iterator<Item = &Arc<User>> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.users.range((from, std::ops::Bound::Unbounded)).map(|(_, user)| user)
    }

    /// Who a user is in an organization.
    pub fn member(&self, organization: OrganizationId, user: UserId) -> Option<&Member> {
        self.members.get(&(organization, user))
    }

    /// The role that a user has in an organization now.
    pub fn role(&self, organization: OrganizationId, user: UserId) -> Option<Role> {
        self.member(organization, user).filter(|member| member.is_active).map(|member| member.role)
    }

    /// The members of an organization after one, in the order in which they became users.
    pub fn members_after(
        &self,
        organization: OrganizationId,
        after: Option<UserId>,
    ) -> impl Iterator<Item = (&Member, &Arc<User>)> {
        let from = match after {
            Some(user) => std::ops::Bound::Excluded((organization, user)),
            None => std::ops::Bound::Included((organization, UserId([0; 16]))),
        };
        let to = std::ops::Bound::Included((organization, UserId([0xff; 16])));
        self.members.range((from, to)).filter_map(|(_, member)| Some((member, self.user(member.user)?)))
    }

    /// Of what a user is a member, also where not active.
    pub fn memberships(&self, user: UserId) -> impl Iterator<Item = &Member> {
        let all = (user, OrganizationId([0; 16]))..=(user, OrganizationId([0xff; 16]));
        self.organizations.range(all).filter_map(|(user, organization)| self.member(*organization, *user))
    }

    /// The session of a token that is in force, with its user.
    pub fn session(&self, token: &TokenHash, now: Time) -> Option<(&Session, &Arc<User>)> {
        let session = self.sessions.get(token).filter(|session| now < session.expires_at)?;
        Some((session, self.user(session.user)?))
    }

    /// The sessions of a user, also those that have ended by themselves.
    fn sessions_of(&self, user: UserId) -> impl Iterator<Item = &Session> {
        let all = (user, TokenHash([0; 32]))..=(user, TokenHash([0xff; 32]));
        self.sessions_of.range(all).filter_map(|(_, token)| self.sessions.get(token))
    }

    /// A mail that waits.
    pub fn letter(&self, id: LetterId) -> Option<&Arc<Letter>> {
        self.letters.get(&id)
    }

    /// The mails that wait.
    pub fn letters(&self) -> impl Iterator<Item = &Arc<Letter>> {
        self.letters.values()
    }

    /// The portal of a token that is in force, at this stage, with what it allows.
    pub fn portal(&self, token: &TokenHash, stage: Stage, now: Time) -> Option<(&Portal, Role)> {
        let portal = self.portals.get(token).filter(|portal| portal.stage == stage && now < portal.expires_at)?;
        Some((portal, portal.role(self)?))
    }

    /// The portals of an organization, also those that are over.
    fn portals_of(&self, organization: OrganizationId) -> impl Iterator<Item = &Portal> {
        let all = (organization, PortalId([0; 16]))..=(organization, PortalId([0xff; 16]));
        self.portals_of.range(all).filter_map(|(_, token)| self.portals.get(token))
    }

    fn active_owners(&self, organization: OrganizationId) -> usize {
        let owns = |(member, _): &(&Member, &Arc<User>)| member.is_active && member.role == Role::Owner;
        self.members_after(organization, None).filter(owns).count()
    }
}

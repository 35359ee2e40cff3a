//! Changes of people: decided against everybody as they are, written with an entry in the chain of the organization, or of
//! the team where none is concerned.

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::audit::{Draft, Fields};
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::notice::Topic;
use metergate_rules::role::Role;
use metergate_rules::time::Time;

use super::choice::Membership;
use super::email::Email;
use super::identity::Proof;
use super::letter::LetterId;
use super::password::PasswordHash;
use super::portal::{Portal, PortalId};
use super::token::TokenHash;
use super::{InvitationId, Link, Opens, People, PersonRow, SESSION, SIGN_IN_LINK, Session, User, UserId};
use crate::catalogue::Snapshot;
use crate::store::audit::{TEAM, chain_of};
use crate::store::{Answer, Caller, ReceiptKey, StoreError};

mod administrators;
mod deletion;
mod invitations;
mod letters;
mod links;
mod mails;
mod members;
mod portals;
mod provided;
mod sessions;

pub use deletion::leave;

/// Users at most.
const MOST_USERS: usize = 1_000_000;
/// Sessions of a user at most: a further one ends the oldest.
const MOST_SESSIONS: usize = 20;
/// Organizations of a user at most.
const MOST_ORGANIZATIONS: usize = 100;
/// Members of an organization at most, and invitations that are open.
const MOST_MEMBERS: usize = 10_000;
/// Invitations of an organization that members have mailed, and that are open, at most.
const MOST_MAILED: usize = 100;

/// An organization that somebody wants to have.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: WishedKey,
}

/// The key of an organization to be.
#[derive(Clone, Debug)]
pub enum WishedKey {
    /// This one or none.
    Exactly(OrganizationKey),
    /// This or one that begins so.
    Like(String),
}

/// Where somebody who registers belongs.
#[derive(Clone, Debug)]
pub enum Joins {
    /// To an organization of their own.
    New(Wish),
    /// To the one that invited them.
    Invitation(TokenHash),
}

/// A change of people.
#[derive(Clone, Debug)]
pub enum PeopleCommand {
    /// Somebody signs up, and is signed in; with what a provider has said of them, where they came by one.
    Register(Arc<User>, Joins, TokenHash, Option<Arc<Proof>>),
    /// Somebody signs in whose password was found to be this one.
    SignIn(UserId, PasswordHash, TokenHash),
    /// Somebody signs in by what a provider has said of them. An identity that nobody has becomes this user's, if it may.
    SignInBy(UserId, Arc<Proof>, TokenHash),
    /// Somebody could not sign in: with the address of a user, or of nobody; what was wrong where it was by a provider.
    SignInFailed(Option<UserId>, Option<&'static str>),
    /// A session ends.
    SignOut(TokenHash),
    /// Somebody opens a link that signs them in, and may choose a password.
    UseLink(TokenHash, Option<PasswordHash>, TokenHash),
    /// A user makes an organization.
    Found(UserId, Wish),
    /// The user who has this address becomes a member, if it is known to be theirs. Anybody else is invited by the link.
    AddMember(OrganizationRef, Email, Role, TokenHash),
    /// A member gets another role, or is active or not.
    ChangeMember(OrganizationRef, UserId, Option<Role>, Option<bool>),
    /// A member is one no more.
    RemoveMember(OrganizationRef, UserId),
    /// A member chooses what they are told by mail.
    ChooseMails(OrganizationRef, UserId, Vec<(Topic, bool)>),
    /// Who got a mail by a membership wants no more of them.
    RefuseMails(Membership),
    /// Somebody is invited.
    Invite(OrganizationRef, Email, Role, TokenHash),
    /// Who is invited already gets another link, for another time.
    InviteAgain(OrganizationRef, InvitationId, TokenHash),
    /// Somebody is invited no more.
    Withdraw(OrganizationRef, InvitationId),
    /// A user accepts an invitation.
    Accept(TokenHash, UserId),
    /// A link is made with which the user who has this address chooses another password.
    MakeReset(Email, TokenHash),
    /// A link is made by which the user who has this address shows that it is theirs.
    MakeVerification(Email, TokenHash),
    /// A user opens such a link.
    Verify(TokenHash, UserId),
    /// The user who has this address, if there is one, is sent a link with which they choose another password.
    AskReset(Email),
    /// A user is sent a link by which they show that their address is theirs.
    AskVerification(UserId),
    /// A mail is about to be sent, with this link.
    BeginLetter(LetterId, TokenHash),
    /// It was sent, or cannot be.
    EndLetter(LetterId),
    /// A user becomes a platform administrator. They get the password that is given, or the link.
    AddAdministrator(Arc<User>, TokenHash),
    /// A platform administrator is one no more.
    RemoveAdministrator(UserId),
    /// The application wants a link into an organization, for a member or whoever has it.
    MakePortal(OrganizationRef, Portal),
    /// Somebody opens such a link.
    OpenPortal(TokenHash, TokenHash),
    /// The link, or what came of it, opens nothing any more.
    ClosePortal(OrganizationRef, PortalId),
}

/// A change, with who asks and how to answer.
pub struct PeopleRequest {
    /// Who asks.
    pub caller: Caller,
    /// Why; empty without a reason.
    pub reason: String,
    /// The key under which it may be repeated.
    pub receipt: Option<ReceiptKey>,
    /// What to change.
    pub command: PeopleCommand,
    /// Makes the answer. Called once more for the answer that is kept, without secrets.
    pub respond: PeopleRespond,
}

impl PeopleRequest {
    /// One without a reason.
    pub const fn new(
        caller: Caller,
        receipt: Option<ReceiptKey>,
        command: PeopleCommand,
        respond: PeopleRespond,
    ) -> Self {
        Self { caller, reason: String::new(), receipt, command, respond }
    }

    /// The same with a reason.
    #[must_use]
    pub fn because(self, reason: String) -> Self {
        Self { reason, ..self }
    }
}

/// Makes the answer to a change of people.
pub type PeopleRespond = Arc<dyn Fn(&PeopleAfter<'_>) -> Answer + Send + Sync>;

/// Everybody after a change.
pub struct PeopleAfter<'a> {
    /// As they are now.
    pub people: &'a People,
    /// The organization that it was about.
    pub account: Option<&'a Account>,
    /// Meters and plans.
    pub catalogue: &'a Snapshot,
    /// What was made.
    pub reply: &'a PeopleReply,
    /// When.
    pub now: Time,
    /// Whether tokens may be shown.
    pub shows_secrets: bool,
}

/// What a change made.
#[derive(Clone, Debug)]
pub enum PeopleReply {
    /// This user is signed in, or has been changed; whether a link for them was made.
    User(UserId, bool),
    /// A link was made.
    Link(Arc<Link>),
    /// A portal was made or opened.
    Portal(Portal),
    /// What was named is gone, or there is nothing to tell.
    Done,
}

/// What deciding a change gave.
pub struct PeopleOutcome {
    /// Everybody after it.
    pub people: People,
    /// What to write.
    pub rows: Vec<PersonRow>,
    /// What the audit log keeps, by chain.
    pub audit: Vec<([u8; 16], Draft)>,
    /// Whose account has come to whom its address belongs: keys that were made with it before end.
    pub taken_over: Option<UserId>,
    /// What to answer.
    pub reply: PeopleReply,
}

/// On what a change is decided.
pub struct Ground<'a> {
    /// Everybody as they are.
    pub people: &'a People,
    /// The organization that the command is about, or that was made for it.
    pub organization: Option<OrganizationId>,
    /// What the caller may do there: operators as much as owners.
    pub role: Role,
    /// The member who asks; `None` where an operator does.
    pub by: Option<UserId>,
    /// Who asks, as the audit log names them.
    pub actor: &'a Arc<str>,
    /// When.
    pub now: Time,
    /// Whether mail is sent.
    pub mails: bool,
}

/// Decides a change.
///
/// # Errors
/// [`StoreError::Catalogue`] where it makes no sense, [`StoreError::Forbidden`] where the caller's role does not suffice.
pub fn decide(ground: &Ground<'_>, command: &PeopleCommand) -> Result<PeopleOutcome, StoreError> {
    let mut change = Changing {
        people: ground.people.clone(),
        rows: Vec::new(),
        audit: Vec::new(),
        taken_over: None,
        organization: ground.organization,
        role: ground.role,
        by: ground.by,
        actor: Arc::clone(ground.actor),
        now: ground.now,
        mails: ground.mails,
    };
    let reply = match command {
        PeopleCommand::Register(user, joins, session, proof) => {
            change.register(user, joins, *session, proof.as_deref())?
        }
        PeopleCommand::SignIn(user, password, session) => change.sign_in(*user, password, *session)?,
        PeopleCommand::SignInBy(user, proof, session) => change.sign_in_by(*user, proof, *session)?,
        PeopleCommand::SignInFailed(user, why) => change.sign_in_failed(*user, *why),
        PeopleCommand::SignOut(session) => change.sign_out(*session),
        PeopleCommand::UseLink(link, password, session) => change.use_link(*link, password.as_ref(), *session)?,
        PeopleCommand::Found(user, _) => change.found(*user)?,
        PeopleCommand::AddMember(_, email, role, link) => change.add_member(email, *role, *link)?,
        PeopleCommand::ChangeMember(_, user, role, is_active) => change.change_member(*user, *role, *is_active)?,
        PeopleCommand::RemoveMember(_, user) => change.remove_member(*user)?,
        PeopleCommand::ChooseMails(_, user, chosen) => change.choose_mails(*user, chosen)?,
        PeopleCommand::RefuseMails(membership) => change.refuse_mails(membership),
        PeopleCommand::Invite(_, email, role, link) => change.invite(email, *role, *link)?,
        PeopleCommand::InviteAgain(_, invitation, link) => change.invite_again(*invitation, *link)?,
        PeopleCommand::Withdraw(_, invitation) => change.withdraw(*invitation)?,
        PeopleCommand::Accept(link, user) => change.accept(*link, *user)?,
        PeopleCommand::MakeReset(email, link) => change.make_reset(email, *link)?,
        PeopleCommand::MakeVerification(email, link) => change.make_verification(email, *link)?,
        PeopleCommand::Verify(link, user) => change.verify(*link, *user)?,
        PeopleCommand::AskReset(email) => change.ask_reset(email),
        PeopleCommand::AskVerification(user) => change.ask_verification(*user)?,
        PeopleCommand::BeginLetter(letter, link) => change.begin_letter(*letter, *link),
        PeopleCommand::EndLetter(letter) => change.end_letter(*letter),
        PeopleCommand::AddAdministrator(user, link) => change.add_administrator(user, *link)?,
        PeopleCommand::RemoveAdministrator(user) => change.remove_administrator(*user)?,
        PeopleCommand::MakePortal(_, portal) => change.make_portal(portal)?,
        PeopleCommand::OpenPortal(link, session) => change.open_portal(*link, *session)?,
        PeopleCommand::ClosePortal(_, portal) => change.close_portal(*portal)?,
    };
    let Changing { people, rows, audit, taken_over, .. } = change;
    Ok(PeopleOutcome { people, rows, audit, taken_over, reply })
}

struct Changing {
    people: People,
    rows: Vec<PersonRow>,
    audit: Vec<([u8; 16], Draft)>,
    taken_over: Option<UserId>,
    organization: Option<OrganizationId>,
    role: Role,
    by: Option<UserId>,
    actor: Arc<str>,
    now: Time,
    mails: bool,
}

impl Changing {
    fn put(&mut self, row: PersonRow) {
        self.people.take(&row);
        self.rows.push(row);
    }

    /// One entry of the organization's chain, or of the team's where none is concerned.
    fn note(&mut self, action: &'static str, before: Fields, after: Fields) {
        let chain = self.organization.map_or(TEAM, chain_of);
        self.audit.push((chain, Draft::new(self.now, action, "auth", before, after)));
    }

    fn organization(&self) -> Result<OrganizationId, StoreError> {
        self.organization.ok_or(StoreError::UnknownOrganization)
    }

    fn user(&self, id: UserId) -> Result<Arc<User>, StoreError> {
        self.people.user(id).cloned().ok_or_else(unknown)
    }

    fn new_user(&mut self, user: &Arc<User>) -> Result<(), StoreError> {
        if self.people.users_after(None).nth(MOST_USERS - 1).is_some() {
            return conflict("too-many-users", "There are as many users as there may be.");
        }
        self.put(PersonRow::User(Arc::clone(user)));
        Ok(())
    }

    /// Begins a session. Those of the user that are over go, and beyond the bound the oldest.
    fn begin_session(&mut self, user: UserId, token: TokenHash) {
        let mut old: Vec<Session> = self.people.sessions_of(user).copied().collect();
        old.sort_unstable_by_key(|session| session.created_at);
        let living = old.iter().filter(|session| self.now < session.expires_at).count();
        let mut surplus = (living + 1).saturating_sub(MOST_SESSIONS);
        for session in old {
            let over = session.expires_at <= self.now;
            if over || surplus > 0 {
                surplus -= usize::from(!over);
                self.put(PersonRow::SessionGone(session.token));
            }
        }
        let session = Session { token, user, created_at: self.now, expires_at: self.now.plus(SESSION) };
        self.put(PersonRow::Session(session));
    }

    fn end_sessions(&mut self, user: UserId) {
        let tokens: Vec<TokenHash> = self.people.sessions_of(user).map(|session| session.token).collect();
        tokens.into_iter().for_each(|token| self.put(PersonRow::SessionGone(token)));
    }

    /// A link that whoever asks has made.
    fn link(&self, token: TokenHash, opens: Opens, expires_at: Time) -> Link {
        Link { token, opens, expires_at, made_by: Arc::clone(&self.actor), made_at: self.now }
    }

    /// Makes a link in place of those that `replaces` names and of all that are over.
    fn make_link(&mut self, link: Link, replaces: impl Fn(&Opens) -> bool) -> Arc<Link> {
        let gone = |old: &&Arc<Link>| old.expires_at <= self.now || replaces(&old.opens);
        let gone: Vec<TokenHash> = self.people.links().filter(gone).map(|old| old.token).collect();
        gone.into_iter().for_each(|token| self.put(PersonRow::LinkGone(token)));
        let link = Arc::new(link);
        self.put(PersonRow::Link(Arc::clone(&link)));
        link
    }

    /// A link for one user, in place of an older one of the same kind.
    fn link_for(&mut self, opens: Opens, token: TokenHash) -> Arc<Link> {
        let same = opens.clone();
        let link = self.link(token, opens, self.now.plus(SIGN_IN_LINK));
        self.make_link(link, |old| *old == same)
    }
}

fn conflict<T>(code: &'static str, detail: &str) -> Result<T, StoreError> {
    Err(StoreError::Catalogue { code, status: 409, detail: detail.to_owned() })
}

fn unknown() -> StoreError {
    StoreError::Catalogue { code: "not-found", status: 404, detail: "There is no such thing here.".to_owned() }
}

/// A link that was used, is over, or never was: all the same to who opens it.
fn spent() -> StoreError {
    let detail = "This link was used already, or is over. Ask for another one.".to_owned();
    StoreError::Catalogue { code: "link-spent", status: 409, detail }
}

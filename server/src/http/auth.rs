//! Who calls, and what they may do. Only here is a [`Scope`] made.

use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::role::{KeyScope, Right, Users};
use metergate_rules::time::Time;
use subtle::ConstantTimeEq;

use super::error::ApiError;
use super::state::Shared;
use crate::catalogue::Snapshot;
use crate::catalogue::key;
use crate::people::User;
use crate::people::portal::{self, Portal, Stage};
use crate::people::token::{TokenHash, hash_of};
use crate::store::{Caller, Scope};

pub mod cookie;

/// What a caller has proved.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The id of its key; none for the administrator's, and for users.
    pub key_id: Option<Arc<str>>,
    /// The name of its key, or of the user.
    pub name: Arc<str>,
    holder: Holder,
    actor: Arc<str>,
}

#[derive(Clone, Debug)]
enum Holder {
    Key(Arc<[KeyScope]>, Scope),
    /// With the only organization that they are in, if it is only one.
    User(Arc<User>, TokenHash, Option<OrganizationId>),
    Portal(Portal),
}

/// Finds who calls: by the header `Authorization`, else by the cookie.
///
/// # Errors
/// 401 without a credential that is in force, 403 for a change by cookie that another site may have made a browser send.
pub fn authenticate(
    headers: &HeaderMap,
    method: &Method,
    shared: &Shared,
    snapshot: &Snapshot,
    now: Time,
) -> Result<Credential, ApiError> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        let token = shared.cookies.token(headers).ok_or_else(ApiError::unauthorized)?;
        let credential = of_session(token, shared, now)?;
        shared.cookies.refuse_other_sites(headers, method)?;
        return Ok(credential);
    };
    let (scheme, secret) =
        header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(ApiError::unauthorized)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::unauthorized());
    }
    of_secret(secret.trim(), shared, snapshot, now)
}

/// Whether there is something by which somebody may be known: a cookie, or what looks like a key or a session's token.
pub fn may_be_known(headers: &HeaderMap, shared: &Shared) -> bool {
    let Some(header) = headers.get(AUTHORIZATION) else { return shared.cookies.token(headers).is_some() };
    let secret = header.to_str().ok().and_then(|text| text.split_once(' ')).map(|(_, secret)| secret.trim());
    secret.is_some_and(|secret| key::id_of(secret).is_some() || hash_of(secret).is_some())
}

fn of_secret(secret: &str, shared: &Shared, snapshot: &Snapshot, now: Time) -> Result<Credential, ApiError> {
    if let Some(key) = snapshot.api_key(secret, now) {
        let scope = key.organization.map_or(Scope::Team, Scope::Organization);
        let actor: Arc<str> = format!("key:{}", key.name).into();
        let (key_id, name) = (Some(Arc::from(key.id.as_str())), Arc::from(key.name.as_str()));
        return Ok(Credential { key_id, name, holder: Holder::Key(key.scopes.as_slice().into(), scope), actor });
    }
    if bool::from(key::hash(secret).ct_eq(&shared.admin_key)) {
        return Ok(Credential {
            key_id: None,
            name: "administrator".into(),
            holder: Holder::Key([KeyScope::Admin].into(), Scope::Team),
            actor: "key:administrator".into(),
        });
    }
    of_session(hash_of(secret).ok_or_else(ApiError::unauthorized)?, shared, now)
}

fn of_session(token: TokenHash, shared: &Shared, now: Time) -> Result<Credential, ApiError> {
    let people = shared.store.people();
    if let Some((portal, _)) = people.portal(&token, Stage::Session, now) {
        let (holder, actor) = (Holder::Portal(*portal), format!("portal:{}", portal.id).into());
        return Ok(Credential { key_id: None, name: "portal".into(), holder, actor });
    }
    let (_, user) = people.session(&token, now).ok_or_else(ApiError::unauthorized)?;
    let mut active = people.memberships(user.id).filter(|member| member.is_active).map(|member| member.organization);
    let only = active.next().filter(|_| active.next().is_none());
    Ok(Credential {
        key_id: None,
        name: user.name.as_str().into(),
        holder: Holder::User(Arc::clone(user), token, only),
        actor: user.id.actor(),
    })
}

impl Credential {
    /// A platform administrator: one who is signed in, or an unbound key with scope `admin`.
    pub fn is_operator(&self) -> bool {
        self.may(Right::Operate).is_ok()
    }

    /// The names of its scopes; who is no key has none.
    pub fn scope_names(&self) -> Vec<&'static str> {
        match &self.holder {
            Holder::Key(scopes, _) => scopes.iter().map(|scope| scope.as_str()).collect(),
            Holder::User(..) | Holder::Portal(_) => Vec::new(),
        }
    }

    /// The only organization that exists for it, or of which the user is a member.
    pub fn organization(&self) -> Option<OrganizationRef> {
        match self.holder {
            Holder::Key(_, Scope::Organization(id))
            | Holder::User(.., Some(id))
            | Holder::Portal(Portal { organization: id, .. }) => Some(OrganizationRef::Id(id)),
            _ => None,
        }
    }

    /// The user who is signed in.
    pub const fn user(&self) -> Option<&Arc<User>> {
        match &self.holder {
            Holder::User(user, ..) => Some(user),
            Holder::Key(..) | Holder::Portal(_) => None,
        }
    }

    /// The session of the user who is signed in.
    pub const fn session(&self) -> Option<TokenHash> {
        match &self.holder {
            Holder::User(_, token, _) => Some(*token),
            Holder::Key(..) | Holder::Portal(_) => None,
        }
    }

    /// As whom it begins long work, and hears of it: the id of its key, the user, or the portal; none for the administrator's key.
    pub fn beginner(&self) -> Option<Arc<str>> {
        let is_key = matches!(self.holder, Holder::Key(..));
        self.key_id.clone().or_else(|| (!is_key).then(|| Arc::clone(&self.actor)))
    }

    /// Who it is, in the words of an answer: a user's e-mail address, else `key:<name>`.
    pub fn shown(&self) -> String {
        self.user().map_or_else(|| self.actor.to_string(), |user| user.email.to_string())
    }

    /// With a right: of a member it is known only once the organization is, which the scope looks after.
    ///
    /// # Errors
    /// 403 without it, whatever the organization.
    pub fn may(&self, right: Right) -> Result<Caller, ApiError> {
        let scope = match &self.holder {
            Holder::Key(scopes, scope) if right.is_of_key(scopes, *scope != Scope::Team) => *scope,
            Holder::User(user, ..) if user.is_administrator => Scope::Team,
            Holder::User(user, ..) if right.users() != Users::None => Scope::Member { user: user.id, right },
            Holder::Portal(Portal { organization, member, .. }) if portal::can_have(right) => {
                Scope::Portal { organization: *organization, member: *member, right }
            }
            _ => return Err(ApiError::forbidden(missing(right))),
        };
        Ok(Caller { scope, actor: Arc::clone(&self.actor) })
    }

    /// For entries of the application's own in the audit log (O6): written in the name of its key, or of the user.
    ///
    /// # Errors
    /// 403 without the right.
    pub fn may_append(&self) -> Result<Caller, ApiError> {
        let caller = self.may(Right::Append)?;
        let is_key = matches!(self.holder, Holder::Key(..));
        let actor = if is_key { format!("app:{}", self.name).into() } else { caller.actor };
        Ok(Caller { actor, ..caller })
    }
}

fn missing(right: Right) -> String {
    let scopes: Vec<_> = right.scopes().iter().map(|scope| scope.as_str()).collect();
    let key = match (right, scopes.is_empty()) {
        (Right::Person, _) => return "This needs somebody who is signed in.".to_owned(),
        (_, false) => format!("a key with scope {}", scopes.join(" or ")),
        (_, true) => "a platform administrator or a key with scope admin that is bound to no organization".to_owned(),
    };
    match right.users() {
        Users::From(least) => format!("This needs {key}, or a member with role {}.", least.as_str()),
        Users::None | Users::All => format!("This needs {key}."),
    }
}

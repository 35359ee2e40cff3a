//! Who calls, and what they may do. Only here is a [`Scope`] made.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use metergate_rules::id::OrganizationRef;
use metergate_rules::time::Time;
use subtle::ConstantTimeEq;

use super::error::ApiError;
use crate::catalogue::Snapshot;
use crate::catalogue::key::{self, KeyScope};
use crate::store::{Caller, Scope};

/// What a caller has proved.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The id of its key; none for the administrator's.
    pub key_id: Option<Arc<str>>,
    /// The name of its key.
    pub name: Arc<str>,
    scopes: Rights,
    scope: Scope,
    actor: Arc<str>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rights {
    ingest: bool,
    consume: bool,
    read: bool,
    admin: bool,
}

impl Rights {
    fn of(scopes: &[KeyScope]) -> Self {
        scopes.iter().fold(Self::default(), |mut rights, scope| {
            match scope {
                KeyScope::Ingest => rights.ingest = true,
                KeyScope::Consume => rights.consume = true,
                KeyScope::Read => rights.read = true,
                KeyScope::Admin => rights.admin = true,
            }
            rights
        })
    }
}

/// Finds who calls.
///
/// # Errors
/// 401 without a credential that is in force.
pub fn authenticate(
    headers: &HeaderMap,
    admin_key: &[u8; 32],
    snapshot: &Snapshot,
    now: Time,
) -> Result<Credential, ApiError> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, secret) = header.and_then(|text| text.split_once(' ')).ok_or_else(ApiError::unauthorized)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::unauthorized());
    }
    let secret = secret.trim();
    if let Some(key) = snapshot.api_key(secret, now) {
        let scope = key.organization.map_or(Scope::Team, Scope::Organization);
        let actor: Arc<str> = format!("key:{}", key.name).into();
        let (key_id, name) = (Some(Arc::from(key.id.as_str())), Arc::from(key.name.as_str()));
        return Ok(Credential { key_id, name, scopes: Rights::of(&key.scopes), scope, actor });
    }
    if bool::from(key::hash(secret).ct_eq(admin_key)) {
        let scopes = Rights::of(&[KeyScope::Admin]);
        return Ok(Credential {
            key_id: None,
            name: "administrator".into(),
            scopes,
            scope: Scope::Team,
            actor: "key:administrator".into(),
        });
    }
    Err(ApiError::unauthorized())
}

impl Credential {
    /// An unbound key with scope `admin`: a platform administrator.
    pub fn is_operator(&self) -> bool {
        self.scopes.admin && self.scope == Scope::Team
    }

    /// The names of its scopes.
    pub fn scope_names(&self) -> Vec<&'static str> {
        let Rights { ingest, consume, read, admin } = self.scopes;
        let all = [(ingest, "ingest"), (consume, "consume"), (read, "read"), (admin, "admin")];
        all.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
    }

    /// The only organization that exists for it.
    pub fn organization(&self) -> Option<OrganizationRef> {
        match self.scope {
            Scope::Team => None,
            Scope::Organization(id) => Some(OrganizationRef::Id(id)),
        }
    }

    /// For deciding (D1, D2).
    ///
    /// # Errors
    /// 403 without scope `consume`.
    pub fn may_consume(&self) -> Result<Caller, ApiError> {
        self.may(self.scopes.consume, "consume")
    }

    /// For recording events (M1).
    ///
    /// # Errors
    /// 403 without scope `ingest` or `consume`.
    pub fn may_record(&self) -> Result<Caller, ApiError> {
        self.may(self.scopes.ingest || self.scopes.consume, "ingest or consume")
    }

    /// For reading.
    ///
    /// # Errors
    /// 403 without scope `read`.
    pub fn may_read(&self) -> Result<Caller, ApiError> {
        self.may(self.scopes.read, "read")
    }

    /// For an organization's own audit log (O6): by its administrators and by operators.
    ///
    /// # Errors
    /// 403 without scope `admin`.
    pub fn may_administer(&self) -> Result<Caller, ApiError> {
        self.may(false, "admin")
    }

    /// For entries of the application's own in the audit log (O6): written in the name of its key.
    ///
    /// # Errors
    /// 403 without scope `ingest`.
    pub fn may_append(&self) -> Result<Caller, ApiError> {
        let caller = self.may(self.scopes.ingest, "ingest")?;
        Ok(Caller { actor: format!("app:{}", self.name).into(), ..caller })
    }

    /// For operators' commands.
    ///
    /// # Errors
    /// 403 unless the key has scope `admin` and is not bound to an organization.
    pub fn may_operate(&self) -> Result<Caller, ApiError> {
        if self.is_operator() {
            return Ok(self.caller());
        }
        Err(ApiError::forbidden(
            "This needs a platform administrator or a key with scope admin that is bound to no organization.",
        ))
    }

    fn may(&self, has: bool, needed: &str) -> Result<Caller, ApiError> {
        if has || self.scopes.admin {
            return Ok(self.caller());
        }
        Err(ApiError::forbidden(format!("This needs a key with scope {needed}.")))
    }

    fn caller(&self) -> Caller {
        Caller { scope: self.scope, actor: Arc::clone(&self.actor) }
    }
}

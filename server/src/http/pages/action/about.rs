//! What a form on an organization, and the call that it becomes, need to know.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use metergate_pages::answers::{Invitation, Key, Member, Organization, Paged};
use metergate_pages::forms::About as Facts;
use metergate_pages::typed::instant;
use serde_json::Value;

use super::super::sent::Typed;
use super::super::trouble::Trouble;
use super::super::visit::{Anybody, in_path, unless};

/// What else its form needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Limits,
    Grants,
    Member,
    Invitations,
    Key,
    Nothing,
}

/// Everything that a form and a call may need to know.
pub(super) struct About {
    facts: Facts,
    /// The version of the organization that all of it is of.
    pub(super) version: Option<String>,
    pub(super) sends_mail: bool,
    pub(super) members: Vec<Member>,
    pub(super) invitations: Vec<Invitation>,
    pub(super) keys: Vec<Key>,
}

impl std::ops::Deref for About {
    type Target = Facts;
    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl About {
    pub(super) fn path(&self, below: &str) -> String {
        format!("/v1/organizations/{}{below}", in_path(self.key()))
    }

    pub(super) fn chosen(&self, name: &str) -> String {
        self.facts.chosen.get(name).map_or_else(|| "-".to_owned(), |text| in_path(text))
    }

    pub(super) fn instant(&self, typed: &Typed, name: &str) -> Value {
        typed.text(name).map_or(Value::Null, |text| instant(text, &self.organization.time_zone).into())
    }
}

impl About {
    pub(super) fn named(&self, name: &str) -> &str {
        self.facts.chosen.get(name).map_or("", String::as_str)
    }
}

const NAMES: [&str; 13] = [
    "meter",
    "window",
    "grant",
    "member",
    "key",
    "entry",
    "plan",
    "subscription",
    "customer",
    "withDay",
    "keepOverrides",
    "preview",
    "invitation",
];

/// Reads what a form needs to know. `typed` says what is meant where that was sent; else the address does.
pub(super) async fn read(
    visitor: &Anybody,
    org: &str,
    base: String,
    needs: Needs,
    typed: &Typed,
) -> Result<About, Trouble> {
    let api = &visitor.api;
    let path = format!("/v1/organizations/{}", in_path(org));
    let found = api.answer(&path).await?;
    let (organization, version): (Organization, _) = (found.read()?, found.version());
    let named = |name: &str| typed.text(name).or_else(|| visitor.query(name));
    let chosen = NAMES.into_iter().filter_map(|name| Some((name.to_owned(), named(name)?.to_owned())));
    let chosen: BTreeMap<_, _> = chosen.collect();
    let is_of_limits = matches!(needs, Needs::Limits | Needs::Grants);
    let quota = match is_of_limits {
        true => api.get(&format!("{path}/quota?numbers=string")).await?,
        false => Default::default(),
    };
    let grants = match needs {
        Needs::Grants => api.all(&format!("{path}/grants?numbers=string")).await?,
        _ => Vec::new(),
    };
    let (meters, plans) = match is_of_limits {
        true => (api.all("/v1/meters").await?, api.all("/v1/plans").await?),
        false => (Vec::new(), Vec::new()),
    };
    let (mut members, mut keys) = (Vec::new(), Vec::new());
    if let (Needs::Member, Some(id)) = (needs, chosen.get("member")) {
        let found = api.get::<Member>(&format!("{path}/members/{}", in_path(id))).await;
        members.extend(unless(StatusCode::NOT_FOUND, found)?);
    }
    if let (Needs::Key, Some(id)) = (needs, chosen.get("key")) {
        keys = api.get::<Paged<Key>>(&format!("{path}/api-keys?search={}", in_path(id))).await?.data;
    }
    let mut invitations = Vec::new();
    if let (Needs::Invitations, Some(id)) = (needs, chosen.get("invitation")) {
        invitations = api.get::<Paged<Invitation>>(&format!("{path}/invitations?search={}", in_path(id))).await?.data;
    }
    let now = visitor.frame.now.clone();
    let facts = Facts { organization, quota, grants, meters, plans, chosen, base, now };
    Ok(About { facts, version, sends_mail: visitor.app.shared.mails, members, invitations, keys })
}

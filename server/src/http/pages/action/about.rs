//! What a form on an organization, and the call that it becomes, need to know.

use std::collections::BTreeMap;

use metergate_pages::answers::{Key, Member, Organization};
use metergate_pages::forms::{self, About as Facts};
use metergate_pages::typed::instant;
use serde_json::Value;

use super::super::sent::Typed;
use super::super::trouble::Trouble;
use super::super::visit::{Anybody, in_path};

/// What else its form needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Limits,
    Members,
    Keys,
    Nothing,
}

/// Everything that a form and a call may need to know.
pub(super) struct About {
    facts: Facts,
    pub(super) members: Vec<Member>,
    pub(super) keys: Vec<Key>,
}

impl std::ops::Deref for About {
    type Target = Facts;
    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl About {
    /// With what was typed in place of what the address says.
    pub(super) fn typed(mut self, typed: &Typed) -> Self {
        for name in ["meter", "window", "grant", "member", "key", "entry", "plan"] {
            if let Some(text) = typed.text(name) {
                self.facts.chosen.insert(name.to_owned(), text.to_owned());
            }
        }
        self
    }

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

/// Reads what a form needs to know.
pub(super) async fn read(visitor: &Anybody, org: &str, base: String, needs: Needs) -> Result<About, Trouble> {
    let api = &visitor.api;
    let path = format!("/v1/organizations/{}", in_path(org));
    let organization: Organization = api.get(&path).await?;
    let limits = if needs == Needs::Limits {
        Some((
            api.get(&format!("{path}/quota?numbers=string")).await?,
            api.all(&format!("{path}/grants?numbers=string")).await?,
        ))
    } else {
        None
    };
    let is_team = needs == Needs::Limits;
    let (quota, grants) = limits.unwrap_or_default();
    let meters = if is_team { api.all("/v1/meters").await? } else { Vec::new() };
    let plans = if is_team { api.all("/v1/plans").await? } else { Vec::new() };
    let members = if needs == Needs::Members { api.all(&format!("{path}/members")).await? } else { Vec::new() };
    let keys = if needs == Needs::Keys { api.all(&format!("{path}/api-keys")).await? } else { Vec::new() };
    let names = ["meter", "window", "grant", "member", "key", "entry", "plan"];
    let chosen = names.into_iter().filter_map(|name| Some((name.to_owned(), visitor.query(name)?.to_owned())));
    let chosen: BTreeMap<_, _> = chosen.collect();
    let now = visitor.frame.now.clone();
    let facts = forms::About { organization, quota, grants, meters, plans, chosen, base, now };
    Ok(About { facts, members, keys })
}

//! The audit log.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::audit::label;

/// That an entry was marked as resolved.
#[derive(Clone, Debug, Deserialize)]
pub struct Resolution {
    pub(crate) at: String,
    pub(crate) by: String,
    pub(crate) note: String,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditEntry {
    /// What the plans are called that it names, by their keys.
    #[serde(default, rename = "planNames")]
    pub(crate) plan_names: BTreeMap<String, String>,
    pub(crate) seq: u64,
    pub(crate) time: String,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) category: String,
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) before: Value,
    #[serde(default)]
    pub(crate) after: Value,
    #[serde(default)]
    pub(crate) details: Value,
    pub(crate) hash: String,
    #[serde(default)]
    pub(crate) redacted: bool,
    pub(crate) resolved: Option<Resolution>,
}

impl AuditEntry {
    /// Everybody whom it names, as actors: who did it, to whom, and who said that it is dealt with. What the application has written
    /// may name its own users.
    pub fn actors(&self) -> impl Iterator<Item = String> {
        let resolved = self.resolved.as_ref().map(|resolved| resolved.by.clone());
        let is_own = label(&self.action).is_some();
        let bodies = [&self.before, &self.after].into_iter().filter(move |_| is_own);
        let named = bodies.flat_map(|body| ["user", "member"].map(|name| &body[name]));
        let named = named.filter_map(Value::as_str).filter(|id| is_id(id)).map(|id| format!("user:{id}"));
        std::iter::once(self.actor.clone()).chain(resolved).chain(named)
    }

    /// Who did it, as people see it: whoever signs in is not known yet when they do. Of a link that somebody has asked for nobody
    /// knows who that was.
    pub(crate) fn subject(&self) -> String {
        let is_theirs = matches!(self.action.as_str(), "session.sign_in" | "session.sign_out");
        let user = self.after["user"].as_str().filter(|_| is_theirs && self.actor == "anonymous");
        user.map_or_else(|| self.actor.clone(), |user| format!("user:{user}"))
    }
}

/// Whether this is the id of a user.
fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// What the check of the audit log's chains found.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    pub(crate) chains: u64,
    pub(crate) entries: u64,
    #[serde(default)]
    pub(crate) checkpoints: u64,
    #[serde(default)]
    pub(crate) dropped: u64,
    pub(crate) well: bool,
    pub(crate) findings: Vec<Finding>,
    /// What asks for the next part; none at the end.
    pub next_cursor: Option<String>,
}

impl Verification {
    /// Together with the part that follows.
    #[must_use]
    pub fn and(mut self, next: Self) -> Self {
        self.chains += next.chains;
        self.entries += next.entries;
        self.checkpoints += next.checkpoints;
        self.dropped += next.dropped;
        self.well &= next.well;
        self.findings.extend(next.findings);
        self
    }
}

/// Something that is wrong with a chain.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    pub(crate) chain: String,
    pub(crate) seq: u64,
    pub(crate) problem: String,
    pub(crate) detail: String,
}

/// The ends of all chains, signed.
#[derive(Clone, Debug, Deserialize)]
pub struct Head {
    pub(crate) time: String,
    pub(crate) chains: u64,
    pub(crate) root: String,
    pub(crate) signature: String,
}

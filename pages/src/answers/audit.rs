//! The audit log.

use serde::Deserialize;
use serde_json::Value;

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
    /// Everybody whom it names: who did it, and who said that it is dealt with.
    pub fn actors(&self) -> impl Iterator<Item = &str> {
        let resolved = self.resolved.as_ref().map(|resolved| resolved.by.as_str());
        std::iter::once(self.actor.as_str()).chain(resolved)
    }
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

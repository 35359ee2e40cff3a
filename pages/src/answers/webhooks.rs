//! Webhook endpoints, and what is sent to them.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A webhook endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookEndpoint {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub url: String,
    /// Of what it is told; of everything where there is none.
    pub types: Vec<String>,
    /// What the team calls it.
    pub description: String,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Why not.
    pub disabled_reason: Option<String>,
    /// Since when not.
    pub disabled_at: Option<String>,
    /// The secret, where it was asked for.
    #[serde(default)]
    pub secret: Option<String>,
    /// Until when the secret before the newest is in force, too.
    pub old_secret_ends_at: Option<String>,
    /// When something was sent to it last.
    pub last_attempt_at: Option<String>,
    /// When it last took something.
    pub last_delivered_at: Option<String>,
    /// Since when it has taken nothing.
    pub failing_since: Option<String>,
    /// Until when it is left alone, since it could not keep up.
    #[serde(default)]
    pub rests_until: Option<String>,
    /// When it was made.
    pub created_at: String,
}

impl WebhookEndpoint {
    /// What people call it: its description, else where it is.
    pub fn name(&self) -> &str {
        if self.description.is_empty() { &self.url } else { &self.description }
    }

    /// Whether it answered that it does not want to hear anything any more.
    pub fn is_gone(&self) -> bool {
        self.disabled_reason.as_deref() == Some("gone")
    }

    /// Whether it was disabled by what it answered, and nobody has looked after it since.
    pub fn is_stopped(&self) -> bool {
        !self.enabled && self.disabled_reason.as_deref() != Some("operator")
    }
}

/// A message to a webhook endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDelivery {
    /// The message's id.
    pub id: String,
    /// The message's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The organization that it is about.
    pub organization: Option<String>,
    /// Where it stands.
    pub state: String,
    /// When the message was written.
    pub created_at: String,
    /// When it is tried next.
    pub next_attempt_at: Option<String>,
    /// How often it was tried.
    pub attempt_count: u32,
    /// The last tries.
    pub attempts: Vec<WebhookAttempt>,
    /// What is sent, byte for byte.
    pub body: Box<RawValue>,
}

/// One try.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookAttempt {
    /// From 1 on.
    pub number: u32,
    /// When it began.
    pub at: String,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// Milliseconds until the answer.
    pub duration_ms: u64,
    /// The beginning of the answer's body.
    pub response: String,
}
